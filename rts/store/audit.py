"""The audit trail: numbered, hash-chained events, one chain per trial and one for the installation.

detail_digest = SHA-256(salt + RFC 8785 canonical JSON of the detail)
hash(n)       = SHA-256(hash(n-1) + RFC 8785 canonical JSON of {number, at, actor, role, organisation, action,
object, detail_digest, versions})
hash(0)       = SHA-256("rts/audit/1" + 00 + chain id)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import rfc8785
from sqlalchemy import insert, select

import rts
from rts.clock import utc_text
from rts.refusal import refuse, say
from rts.store.sealed_rows import key_from_text
from rts.store.tables import AuditChain, AuditDetail, AuditEvent, AuditMention, Trial

if TYPE_CHECKING:
    from rts.store.transaction import Transaction

SALT_BYTES = 32
# A clock this far behind the last event is wrong, not merely adjusted: expiry and windows would be judged on a false
# date.
CLOCK_TOLERANCE = timedelta(minutes=5)
# Sealed details are padded to this step so that their length tells nothing.
SEALED_STEP = 1024


@dataclass(frozen=True)
class Draft:
    """An event waiting for its number."""

    trial: Trial | None
    actor: str
    role: str
    organisation: str
    action: str
    object_type: str
    object_id: str
    detail: dict[str, Any] = field(repr=False)  # a sealed one names an arm
    sealed: bool
    definition: int | None
    site_id: int | None
    mentions: tuple[tuple[str, str], ...]


def first_hash(chain_id: bytes) -> bytes:
    """hash(0) of the chain named `chain_id` (16 bytes)."""
    return hashlib.sha256(b"rts/audit/1\x00" + chain_id).digest()


def detail_digest(salt: bytes, detail: dict[str, Any]) -> str:
    """The digest (hex) that binds `detail` into the chain."""
    return _digest(salt, rfc8785.dumps(detail))


def _digest(salt: bytes, canonical: bytes) -> str:
    return hashlib.sha256(salt + canonical).hexdigest()


def next_hash(previous: bytes, header: dict[str, Any]) -> bytes:
    """The hash of the event whose header is `header`, after the event with hash `previous`."""
    return hashlib.sha256(previous + rfc8785.dumps(header)).digest()


def header_of(event: AuditEvent) -> dict[str, Any]:
    """What an event's hash covers."""
    return {
        "number": event.number,
        "at": event.at,
        "actor": event.actor,
        "role": event.role,
        "organisation": event.organisation,
        "action": event.action,
        "object": {"type": event.object_type, "id": event.object_id},
        "detail_digest": event.detail_digest,
        "versions": {"definition": event.definition, "software": event.software},
    }


def start_chain(tx: Transaction, trial: Trial | None) -> AuditChain:
    """Begin the chain of a trial, or of the installation when `trial` is None."""
    chain_id = tx.store.entropy.bytes(16)
    chain = AuditChain(
        chain_id=chain_id.hex(),
        trial_id=trial.id if trial else None,
        count=0,
        hash=first_hash(chain_id).hex(),
        last_at="",
    )
    tx.session.add(chain)
    tx.session.flush()
    return chain


def chain_of(tx: Transaction, trial: Trial | None, *, locked: bool = False) -> AuditChain:
    """The chain of a trial (None: of the installation), read afresh; `locked` holds its row until the commit.

    Raises LookupError when it was never started.
    """
    column = AuditChain.trial_id
    statement = select(AuditChain).where(column.is_(None) if trial is None else column == trial.id)
    if locked:  # on SQLite nothing: there the write transaction excludes every other writer
        statement = statement.with_for_update(key_share=True)
    chain = tx.session.scalar(statement.execution_options(populate_existing=True))
    if chain is None:
        raise LookupError("the audit chain was never started")
    return chain


def sealed_context(chain_id: str, number: int) -> str:
    """The associated data of a sealed detail."""
    return f"audit_detail/{chain_id}/{number}"


def append(tx: Transaction, drafts: list[Draft]) -> None:
    """Append `drafts` to their chains, the trials' chains first; each chain's row is locked until the commit that
    follows.

    Raises Refusal `unavailable` when the clock stands far behind the last event, except in an emergency.
    """
    trials = {draft.trial.id for draft in drafts if draft.trial is not None}
    for trial_id in (*sorted(trials), None):
        own = [draft for draft in drafts if (draft.trial.id if draft.trial else None) == trial_id]
        if own:
            _append_to(tx, chain_of(tx, own[0].trial, locked=True), own)


def _moment(tx: Transaction, chain: AuditChain) -> str:
    now = tx.store.clock.now()
    text = utc_text(now)
    if text >= chain.last_at:
        return text
    last = datetime.strptime(chain.last_at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    if last - now > CLOCK_TOLERANCE and not tx.emergency:
        raise refuse(
            "unavailable",
            "clock.behind",
            say(
                "The server's clock (%(now)s) stands before the last recorded event (%(last)s), so dates cannot "
                "be trusted and "
                "nothing was recorded. Tell the operator to set the clock.",
                now=text,
                last=chain.last_at,
            ),
        )
    return chain.last_at


def _append_to(tx: Transaction, chain: AuditChain, drafts: list[Draft]) -> None:
    chain.last_at = _moment(tx, chain)
    events, details = [], []
    for number, draft in enumerate(drafts, start=chain.count + 1):
        salt, canonical = tx.store.entropy.bytes(SALT_BYTES), rfc8785.dumps(draft.detail)
        event = {
            "chain_id": chain.id,
            "number": number,
            "at": chain.last_at,
            "actor": draft.actor,
            "role": draft.role,
            "organisation": draft.organisation,
            "action": draft.action,
            "object_type": draft.object_type,
            "object_id": draft.object_id,
            "detail_digest": _digest(salt, canonical),
            "definition": draft.definition,
            "software": rts.__version__,
            "site_id": draft.site_id,
        }
        chain.hash = next_hash(bytes.fromhex(chain.hash), header_of(AuditEvent(**event))).hex()
        events.append({**event, "hash": chain.hash})
        details.append(_kept_detail(tx, chain, number, draft, salt, canonical))
    chain.count += len(drafts)
    tx.session.flush()
    # The events first, in one statement: the rows beside them hold their ids.
    written = tx.session.connection().execute(_INTO_EVENTS, events)
    ids = [event_id for _, event_id in sorted(written.all())]
    tx.insert(AuditDetail, [{"event_id": own, **detail} for own, detail in zip(ids, details, strict=True)])
    tx.insert(
        AuditMention,
        [
            {"event_id": own, "kind": kind, "code": code}
            for own, draft in zip(ids, drafts, strict=True)
            for kind, code in sorted(set(draft.mentions))
        ],
    )


_INTO_EVENTS = insert(AuditEvent).returning(AuditEvent.number, AuditEvent.id)


def _kept_detail(
    tx: Transaction, chain: AuditChain, number: int, draft: Draft, salt: bytes, canonical: bytes
) -> dict[str, Any]:
    if not draft.sealed:
        return {"salt": salt.hex(), "detail": canonical.decode(), "detail_box": None}
    if draft.trial is None:
        raise ValueError("only a trial's events are sealed: the installation has no arms")
    key, context = key_from_text(draft.trial.data_key), sealed_context(chain.chain_id, number)
    sealed = tx.store.vault.seal(key, salt + canonical, context, SEALED_STEP)
    return {"salt": None, "detail": None, "detail_box": sealed.box}
