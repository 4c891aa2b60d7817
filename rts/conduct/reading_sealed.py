"""Reading the sealed detail of an audit event: for unblinded eyes, and itself on the trail."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.refusal import refuse, say
from rts.store.audit import SALT_BYTES, chain_of, sealed_context
from rts.store.sealed_rows import key_from_text
from rts.store.tables import AuditDetail, AuditEvent
from rts.store.transaction import Transaction
from rts.vault.vault import Opener


@dataclass(frozen=True)
class ReadSealedDetail:
    """Read what the event `number` of a trial's trail says in full."""

    trial: str
    number: int


@dataclass(frozen=True, repr=False)
class OpenedDetail:
    """What the event says, sealed or not. Prints as `<sealed>`."""

    done: Done
    detail: dict[str, Any]

    def __repr__(self) -> str:
        return "<sealed>"


def read_sealed_detail(tx: Transaction, actor: Actor, command: ReadSealedDetail, opener: Opener) -> OpenedDetail:
    """The detail of an event, whether it is sealed or not: the record of this reading, sealed itself, does not tell
    blinded readers which it was. Raises Refusal `not_found` for an unknown event or a removed detail.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.SEALED_VIEW, trial)
    chain = chain_of(tx, trial)
    detail = tx.session.scalar(
        select(AuditDetail)
        .join(AuditEvent, AuditEvent.id == AuditDetail.event_id)
        .where(AuditEvent.chain_id == chain.id, AuditEvent.number == command.number)
    )
    if detail is None:
        raise refuse("not_found", "event.unknown", say("There is nothing here with that name."))
    if detail.detail_box is not None:
        sealed = tx.store.vault.sealed(
            key_from_text(trial.data_key), detail.detail_box, sealed_context(chain.chain_id, command.number)
        )
        facts = json.loads(opener.open(sealed)[SALT_BYTES:])
    else:
        facts = json.loads(detail.detail or "{}")
    tx.audit("detail.opened", "event", str(command.number), trial=trial, sealed=True)
    return OpenedDetail(Done("read_sealed_detail", {"trial": trial.code, "number": str(command.number)}), facts)
