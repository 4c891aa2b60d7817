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
from sqlalchemy import select

import rts
from rts.clock import utc_text
from rts.refusal import refuse, say
from rts.store import locks
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
    return hashlib.sha256(salt + rfc8785.dumps(detail)).hexdigest()


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
    column = AuditChain.trial_id
    condition = column.is_(None) if trial is None else column == trial.id
    chain = tx.session.scalar(select(AuditChain).where(condition).execution_options(populate_existing=True))
    if chain is None:
        raise LookupError("the audit chain was never started")
    return chain


def sealed_context(chain_id: str, number: int) -> str:
    """The associated data of a sealed detail."""
    return f"audit_detail/{chain_id}/{number}"


def append(tx: Transaction, drafts: list[Draft]) -> None:
    """Append `drafts` to their chains, the trials' chains first, under each chain's lock.

    Raises Refusal `unavailable` when the clock stands far behind the last event, except in an emergency.
    """
    trials = {draft.trial.id: draft.trial for draft in drafts if draft.trial is not None}
    groups: list[Trial | None] = [trials[number] for number in sorted(trials)]
    if any(draft.trial is None for draft in drafts):
        groups.append(None)
    for trial in groups:
        chain = chain_of(tx, trial)
        locks.take(tx.session, locks.audit_chain(chain.chain_id))
        chain = chain_of(tx, trial)
        for draft in drafts:
            if (draft.trial.id if draft.trial else None) == (trial.id if trial else None):
                _append_one(tx, chain, draft)
    tx.session.flush()


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


def _append_one(tx: Transaction, chain: AuditChain, draft: Draft) -> None:
    number = chain.count + 1
    salt = tx.store.entropy.bytes(SALT_BYTES)
    event = AuditEvent(
        chain_id=chain.id,
        number=number,
        at=_moment(tx, chain),
        actor=draft.actor,
        role=draft.role,
        organisation=draft.organisation,
        action=draft.action,
        object_type=draft.object_type,
        object_id=draft.object_id,
        detail_digest=detail_digest(salt, draft.detail),
        definition=draft.definition,
        software=rts.__version__,
        site_id=draft.site_id,
    )
    event.hash = next_hash(bytes.fromhex(chain.hash), header_of(event)).hex()
    tx.session.add(event)
    tx.session.flush()
    canonical = rfc8785.dumps(draft.detail)
    if draft.sealed:
        if draft.trial is None:
            raise ValueError("only a trial's events are sealed: the installation has no arms")
        sealed = tx.store.vault.seal(
            key_from_text(draft.trial.data_key), salt + canonical, sealed_context(chain.chain_id, number), SEALED_STEP
        )
        tx.session.add(AuditDetail(event_id=event.id, detail_box=sealed.box))
    else:
        tx.session.add(AuditDetail(event_id=event.id, salt=salt.hex(), detail=canonical.decode()))
    tx.session.add_all(
        AuditMention(event_id=event.id, kind=kind, code=code) for kind, code in sorted(set(draft.mentions))
    )
    chain.count, chain.hash, chain.last_at = number, event.hash, event.at
