"""Verifying an audit trail, offline or in the database, by its hashes and by a signed checkpoint.

An export is JSON Lines, each line the RFC 8785 canonical JSON of an object: first
`{"chain_id", "count", "exported_at", "format", "trial"}`, then one a event in order: what its hash covers, `hash`, and
one of three: `detail` with its `salt`; `"sealed": true` for a detail that reveals an arm; neither, for a detail that
was removed.

Of a sealed detail nothing is exported, neither ciphertext nor length nor salt. Which events say so is told by their
action alone (`SEALED_ACTIONS`), so that the mark itself tells nothing, and nobody hides a plain detail by calling it
sealed: the action stands in the hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import rfc8785

from rts.refusal import Message, Refusal, refuse, say
from rts.store.audit import detail_digest, first_hash, next_hash
from rts.vault.checkpoint import Checkpoint, verify_checkpoint

FORMAT = "rts/audit-export/1"

# What deeds seal. A refusal is sealed only when a failed rule depends on an arm; were the others exported with their
# details, a refusal without would name itself.
SEALED_ACTIONS = frozenset(
    {
        "allocation.taken",
        "consignment.chosen",
        "detail.opened",
        "kits.picked",
        "list.document_issued",
        "lists.checked",
        "refused",
    }
)

# The event that removes a detail: its object is the event whose detail is gone, its detail names two approvers.
REMOVAL_ACTION = "detail.removed"

_HEADER_KEYS = frozenset(
    {"number", "at", "actor", "role", "organisation", "action", "object", "detail_digest", "versions"}
)
_FIRST_LINE_KEYS = frozenset({"format", "chain_id", "trial", "count", "exported_at"})
# Of a trail that is wrong from some event on, this many findings say enough.
MOST_FINDINGS = 200


@dataclass(frozen=True)
class Finding:
    """One thing found wrong: a stable rule code and a sentence that names no arm."""

    rule: str
    message: Message

    def __str__(self) -> str:
        return str(self.message)


@dataclass(frozen=True)
class RecordedEvent:
    """An event as it was found: its header, its stated hash (hex), and what is left of its detail.

    `actual_digest` is the digest computed from the detail that is there (None: no detail, or one that was not opened);
    `is_sealed` says that the detail is there and sealed. `detail` is the plain detail.
    """

    header: dict[str, Any]
    hash: str
    actual_digest: str | None
    is_sealed: bool
    detail: dict[str, Any] | None


@dataclass
class ChainReader:
    """Follows a chain from its first event, collecting what is wrong. Feed it every event, then ask `end`."""

    chain_id: bytes
    checkpoints: tuple[Checkpoint, ...] = ()
    count: int = 0
    highest: int = 0
    head: bytes = b""
    last_at: str = ""
    findings: list[Finding] = field(default_factory=list)
    _missing: list[int] = field(default_factory=list)
    _removed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.head = first_hash(self.chain_id)
        self._compare_with_checkpoints()

    def read(self, event: RecordedEvent) -> None:
        """Take the next event of the chain."""
        self.count += 1
        number = event.header["number"]
        if number != self.count:
            self._found(
                "audit.number",
                say(
                    "Event %(number)s stands where event %(expected)d belongs: an event was removed, inserted or "
                    "moved.",
                    number=number,
                    expected=self.count,
                ),
            )
            if isinstance(number, int) and number > 0:
                self.count = number  # one gap is one finding, not one for every later event
        self.highest = max(self.highest, self.count)
        if next_hash(self.head, event.header).hex() != event.hash:
            self._found(
                "audit.hash",
                say(
                    "Event %(number)s does not fit the event before it: it was edited, inserted or moved, or one "
                    "before it was removed.",
                    number=number,
                ),
            )
        if event.header["at"] < self.last_at:
            self._found("audit.time", say("Event %(number)s is dated before the event before it.", number=number))
        self._read_detail(event)
        self.last_at = event.header["at"]
        # The stated hash, so that an edited event is one finding and not one for every later event.
        self.head = bytes.fromhex(event.hash)
        self._compare_with_checkpoints()

    def _read_detail(self, event: RecordedEvent) -> None:
        number, action = event.header["number"], event.header["action"]
        if event.is_sealed and action not in SEALED_ACTIONS:
            self._found(
                "audit.detail_hidden",
                say(
                    "The detail of event %(number)s is called sealed, but details of this kind never are.",
                    number=number,
                ),
            )
        if event.actual_digest is not None and event.actual_digest != event.header["detail_digest"]:
            self._found(
                "audit.detail",
                say("The detail of event %(number)s is not the one that was recorded: it was replaced.", number=number),
            )
        elif event.actual_digest is None and not event.is_sealed:
            self._missing.append(number)
        elif action == REMOVAL_ACTION and event.detail is not None:
            self._read_removal(event)

    def _read_removal(self, event: RecordedEvent) -> None:
        detail = event.detail or {}
        approvers = detail.get("approvers")
        is_approved = (
            isinstance(approvers, list) and len(approvers) == 2 and all(approvers) and approvers[0] != approvers[1]
        )
        target = event.header["object"]
        removed = detail.get("number")
        if is_approved and isinstance(removed, int) and target == {"type": "event", "id": str(removed)}:
            self._removed.add(removed)
        else:
            self._found(
                "audit.removal",
                say(
                    "Event %(number)s removes a detail, but does not name the event and two different approvers.",
                    number=event.header["number"],
                ),
            )

    def end(self) -> list[Finding]:
        """Everything that is wrong, once the last event was read."""
        for number in self._missing:
            if number not in self._removed:
                self._found(
                    "audit.detail_missing",
                    say(
                        "The detail of event %(number)s is missing, and no event says that it was removed.",
                        number=number,
                    ),
                )
        for checkpoint in self.checkpoints:
            if checkpoint.chain_id != self.chain_id:
                self._found("audit.other_chain", say("The checkpoint is of another audit trail."))
            elif checkpoint.count > self.highest:
                self._found(
                    "audit.truncated",
                    say(
                        "The trail ends at event %(count)d, but %(signed)d were signed for: its tail is missing.",
                        count=self.highest,
                        signed=checkpoint.count,
                    ),
                )
        return self.findings

    def _compare_with_checkpoints(self) -> None:
        for checkpoint in self.checkpoints:
            if (checkpoint.chain_id, checkpoint.count) == (self.chain_id, self.count) and checkpoint.head != self.head:
                self._found(
                    "audit.checkpoint",
                    say(
                        "Up to event %(count)d this is not the trail that was signed for: it was written anew.",
                        count=checkpoint.count,
                    ),
                )

    def _found(self, rule: str, message: Message) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(rule, message))


@dataclass(frozen=True)
class Verification:
    """What verifying an export found. `signed` events are covered by the checkpoint, `events` were read."""

    events: int
    signed: int
    findings: tuple[Finding, ...]


def verify_export(lines: Iterable[str], checkpoint: str, public_key: str) -> Verification:
    """Verify the lines of an export against a checkpoint's text and the installation's public audit key (PEM).

    A checkpoint by another key or an altered one is a finding. Raises Refusal `invalid` when the export, the
    checkpoint or the key is not such a thing at all.
    """
    found: list[Finding] = []
    signed: tuple[Checkpoint, ...] = ()
    try:
        signed = (verify_checkpoint(checkpoint, public_key),)
    except Refusal as refusal:
        if refusal.rules[0] not in {"checkpoint.key", "checkpoint.signature"}:
            raise
        found = [Finding(failed.rule, failed.message) for failed in refusal.failed]
    numbered = enumerate(lines, start=1)
    first = _first_line(numbered)
    reader = ChainReader(bytes.fromhex(first["chain_id"]), signed, findings=found)
    read = 0
    for event in _events(numbered, reader):
        reader.read(event)
        read += 1
    findings = reader.end()
    if first["count"] != read:
        findings.append(
            Finding(
                "audit.count",
                say(
                    "The export says that it holds %(said)d events; it holds %(read)d.", said=first["count"], read=read
                ),
            )
        )
    return Verification(read, signed[0].count if signed else 0, tuple(findings))


def _first_line(numbered: Iterator[tuple[int, str]]) -> dict[str, Any]:
    values = _canonical(next(numbered, (1, ""))[1])
    is_header = (
        values is not None
        and values.keys() == _FIRST_LINE_KEYS
        and values["format"] == FORMAT
        and isinstance(values["count"], int)
        and isinstance(values["chain_id"], str)
        and _is_hex(values["chain_id"], 32)
    )
    if values is None or not is_header:
        raise refuse("invalid", "export.form", say("This is not an export of an audit trail."), "export")
    return values


def _events(numbered: Iterator[tuple[int, str]], reader: ChainReader) -> Iterator[RecordedEvent]:
    for line, text in numbered:
        event = _event(_canonical(text))
        if event is not None:
            yield event
        elif len(reader.findings) < MOST_FINDINGS:
            message = say("Line %(line)d of the export is not an event as RTS writes it.", line=line)
            reader.findings.append(Finding("audit.form", message))


def _event(values: dict[str, Any] | None) -> RecordedEvent | None:
    if values is None or not _HEADER_KEYS | {"hash"} <= values.keys():
        return None
    header = {name: values[name] for name in _HEADER_KEYS}
    rest = {name: value for name, value in values.items() if name not in _HEADER_KEYS}
    stated = rest.pop("hash")
    texts = [stated, *(header[name] for name in ("at", "actor", "role", "organisation", "action", "detail_digest"))]
    if not all(isinstance(text, str) for text in texts) or not _is_hex(stated, 64):
        return None
    if type(header["number"]) is not int:
        return None
    if not rest:
        return RecordedEvent(header, stated, None, False, None)
    if rest == {"sealed": True}:
        return RecordedEvent(header, stated, None, True, None)
    salt, detail = rest.get("salt"), rest.get("detail")
    if rest.keys() != {"salt", "detail"} or not isinstance(detail, dict):
        return None
    if not isinstance(salt, str) or not _is_hex(salt, 64):
        return None
    return RecordedEvent(header, stated, detail_digest(bytes.fromhex(salt), detail), False, detail)


def _canonical(line: str) -> dict[str, Any] | None:
    """The object in a line, if it is written in the one canonical way: else two readers could see two things in it."""
    text = line.rstrip("\n")
    try:
        values = json.loads(text)
        is_canonical = isinstance(values, dict) and rfc8785.dumps(values).decode() == text
    except (ValueError, rfc8785.CanonicalizationError):
        return None
    return values if is_canonical else None


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and all(digit in "0123456789abcdef" for digit in text)
