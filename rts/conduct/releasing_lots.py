"""Releasing a blinded lot: from then on its kits may be requested."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.conduct.recalling_lots import lot_named, recall_of
from rts.refusal import refuse, say
from rts.store import definitions, locks
from rts.store.ledger import Change, apply
from rts.store.tables import Depot, Kit
from rts.store.transaction import Transaction
from rts.supply.kits import KitState, Move


@dataclass(frozen=True)
class ReleaseLot:
    """Release a blinded lot for shipping; `document` names the release certificate."""

    trial: str
    lot: str
    document: str


def release_lot(tx: Transaction, actor: Actor, command: ReleaseLot) -> Done:
    """Release a lot: from now on its kits may be requested. Raises Refusal without a document or when it is
    released.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LOT_RELEASE, trial)
    lot = lot_named(tx, trial, command.lot)
    if not command.document.strip():
        raise refuse("invalid", "document.missing", say("Name the release document."), "document")
    depot = tx.session.get_one(Depot, lot.depot_id)
    locks.take(tx.session, locks.depot_stock(trial.code, depot.code))
    tx.session.refresh(lot)
    if lot.released_at is not None:
        raise refuse("conflict", "lot.released", say("Blinded lot %(lot)s is released already.", lot=lot.code), "lot")
    if recall_of(tx, lot) is not None:
        raise refuse("rule", "lot.recalled", say("Blinded lot %(lot)s is recalled.", lot=lot.code), "lot")
    lot.released_at, lot.released_by, lot.release_document = tx.now, actor.name, command.document.strip()
    kit_ids = tx.session.scalars(
        select(Kit.id).where(Kit.blinded_lot_id == lot.id, Kit.state == KitState.PACKED).order_by(Kit.number)
    ).all()
    changes = [Change(kit_id, Move.RELEASE_LOT, KitState.PACKED, depot_id=lot.depot_id) for kit_id in kit_ids]
    apply(tx, changes, actor.name)
    tx.audit(
        "lot.released",
        "lot",
        lot.code,
        {"document": lot.release_document, "kits": len(kit_ids), "expiry": lot.expiry.isoformat()},
        trial=trial,
        definition=definitions.versions_of_trial(tx, trial)[0].version,
    )
    return Done("release_lot", {"trial": trial.code, "lot": lot.code})
