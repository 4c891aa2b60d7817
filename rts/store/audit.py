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
from sqlalchemy import bindparam, insert, select, update

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


def chain_of(tx: Transaction, trial: Trial | None) -> AuditChain:
    """The chain of a trial (None: of the installation), read afresh. Raises LookupError when it was never started."""
    condition = AuditChain.trial_id.is_(None) if trial is None else AuditChain.trial_id == trial.id
    chain = tx.session.scalar(select(AuditChain).where(condition).execution_options(populate_existing=True))
    if chain is None:
        raise LookupError("the audit chain was never started")
    return chain


def sealed_context(chain_id: str, number: int) -> str:
    """The associated data of a sealed detail."""
    return f"audit_detail/{chain_id}/{number}"


@dataclass
class Head:
    """Where a chain stands, from when its row is locked until its new events are written."""

    id: int
    chain_id: str
    count: int
    hash: str
    last_at: str


# On SQLite the row is not locked: there the write transaction excludes every other writer.
_HEAD = select(
    AuditChain.id, AuditChain.chain_id, AuditChain.count, AuditChain.hash, AuditChain.last_at
).with_for_update(key_share=True)
_HEAD_OF_TRIAL = _HEAD.where(AuditChain.trial_id == bindparam("trial"))
_HEAD_OF_INSTALLATION = _HEAD.where(AuditChain.trial_id.is_(None))
_MOVE_HEAD = (
    update(AuditChain)
    .where(AuditChain.id == bindparam("chain"))
    .values(count=bindparam("new_count"), hash=bindparam("new_hash"), last_at=bindparam("new_last_at"))
)
_WRITE_EVENTS = insert(AuditEvent).returning(AuditEvent.number, AuditEvent.id)


def locked_head(tx: Transaction, trial_id: int | None) -> Head:
    """Where the chain of a trial (None: of the installation) stands; its row is locked until the transaction ends, so
    that nothing is added to it by anybody else. Raises LookupError when it was never started.
    """
    found = (
        tx.session.execute(_HEAD_OF_INSTALLATION)
        if trial_id is None
        else tx.session.execute(_HEAD_OF_TRIAL, {"trial": trial_id})
    )
    row = found.one_or_none()
    if row is None:
        raise LookupError("the audit chain was never started")
    return Head(*row)


def append(tx: Transaction, drafts: list[Draft]) -> None:
    """Append `drafts` to their chains, the trials' chains first; each chain's row is locked until the commit that
    follows.

    Raises Refusal `unavailable` when the clock stands far behind the last event, except in an emergency.
    """
    by_chain: dict[int | None, list[Draft]] = {}
    for draft in drafts:
        by_chain.setdefault(draft.trial.id if draft.trial else None, []).append(draft)
    for trial_id in sorted(by_chain, key=lambda trial_id: (trial_id is None, trial_id)):
        _append_to(tx, locked_head(tx, trial_id), by_chain[trial_id])


def _moment(tx: Transaction, head: Head) -> str:
    now = tx.store.clock.now()
    text = utc_text(now)
    if text >= head.last_at:
        return text
    last = datetime.strptime(head.last_at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    if last - now > CLOCK_TOLERANCE and not tx.emergency:
        raise refuse(
            "unavailable",
            "clock.behind",
            say(
                "The server's clock (%(now)s) stands before the last recorded event (%(last)s), so dates cannot "
                "be trusted and "
                "nothing was recorded. Tell the operator to set the clock.",
                now=text,
                last=head.last_at,
            ),
        )
    return head.last_at


def _append_to(tx: Transaction, head: Head, drafts: list[Draft]) -> None:
    head.last_at = _moment(tx, head)
    events, details = [], []
    for draft in drafts:
        head.count += 1
        salt, canonical = tx.store.entropy.bytes(SALT_BYTES), rfc8785.dumps(draft.detail)
        event = {
            "chain_id": head.id,
            "number": head.count,
            "at": head.last_at,
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
        head.hash = next_hash(bytes.fromhex(head.hash), header_of(AuditEvent(**event))).hex()
        events.append({**event, "hash": head.hash})
        details.append(_kept_detail(tx, head, draft, salt, canonical))
    # The events first, in one statement: the rows beside them hold their ids.
    written = tx.connection.execute(_WRITE_EVENTS, events)
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
    tx.connection.execute(
        _MOVE_HEAD,
        {"chain": head.id, "new_count": head.count, "new_hash": head.hash, "new_last_at": head.last_at},
    )


def _kept_detail(tx: Transaction, head: Head, draft: Draft, salt: bytes, canonical: bytes) -> dict[str, Any]:
    if not draft.sealed:
        return {"salt": salt.hex(), "detail": canonical.decode(), "detail_box": None}
    if draft.trial is None:
        raise ValueError("only a trial's events are sealed: the installation has no arms")
    key, context = key_from_text(draft.trial.data_key), sealed_context(head.chain_id, head.count)
    sealed = tx.store.vault.seal(key, salt + canonical, context, SEALED_STEP)
    return {"salt": None, "detail": None, "detail_box": sealed.box}
