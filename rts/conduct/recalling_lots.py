"""Recall of a blinded lot: one deed blocks every kit of it, wherever it lies; what subjects have is called back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Exists, Select, exists, select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission, Role
from rts.conduct.closing_shipments import call_off
from rts.conduct.perform import Done
from rts.conduct.places import supply_locks
from rts.conduct.recipients import people_in
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import definitions, locks, outbox
from rts.store.ledger import Change, apply
from rts.store.tables import BlindedLot, Depot, Dispensing, Kit, LotRecall, Shipment, ShipmentKit, Site, Trial
from rts.store.transaction import Transaction
from rts.supply.kits import KitState, Move

READY = (KitState.IN_DEPOT, KitState.AVAILABLE, KitState.ASSIGNED)

RECALLED = "recalled"
"""Why a kit that had been set aside was put back."""


@dataclass(frozen=True)
class RecallLot:
    """Recall a blinded lot, by a document of the sponsor's."""

    trial: str
    lot: str
    document: str
    reason: str


@dataclass(frozen=True)
class EndRecall:
    """End a recall: `lifted`, what was blocked may be used again; `rejected`, it never is."""

    trial: str
    lot: str
    how: str
    document: str


def lot_named(tx: Transaction, trial: Trial, code: str) -> BlindedLot:
    """The blinded lot of this code. Raises Refusal `not_found`."""
    lot = tx.session.scalar(select(BlindedLot).where(BlindedLot.trial_id == trial.id, BlindedLot.code == code))
    if lot is None:
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    return lot


def recall_of(tx: Transaction, lot: BlindedLot) -> LotRecall | None:
    """The recall of `lot` that has not ended; None when there is none."""
    return tx.session.scalar(select(LotRecall).where(LotRecall.blinded_lot_id == lot.id, LotRecall.ended_at.is_(None)))


def is_recalled() -> Exists:
    """Whether the lot of a kit is recalled."""
    return exists().where(LotRecall.blinded_lot_id == Kit.blinded_lot_id, LotRecall.ended_at.is_(None))


def block(tx: Transaction, kits: Sequence[Kit], doer: str, reason: str) -> None:
    """Take kits that lie ready, at a site or in a depot, out of use. One that had been set aside for a subject leaves a
    visit open again.
    """
    for row in tx.session.scalars(
        select(Dispensing).where(Dispensing.kit_id.in_([kit.id for kit in kits]), Dispensing.state == "assigned")
    ):
        row.state, row.ended_at, row.end_reason = "put_back", tx.now, RECALLED
    changes = [
        Change(
            kit.id,
            Move.RECALL_IN_DEPOT if kit.state == KitState.IN_DEPOT else Move.RECALL,
            KitState(kit.state),
            depot_id=kit.depot_id,
            site_id=kit.site_id,
            shipment_id=kit.shipment_id,
            reason=reason,
        )
        for kit in kits
    ]
    apply(tx, changes, doer)


def check_recall(tx: Transaction, lot: BlindedLot, command: RecallLot) -> None:
    """What speaks against a recall; the review page asks it too. Raises Refusal naming every rule that failed."""
    failed = []
    if not command.document.strip():
        failed.append(FailedRule("document.missing", say("Name the document that orders the recall."), "document"))
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    refuse_all("invalid", failed)
    if recall_of(tx, lot) is not None:
        raise refuse("conflict", "lot.recalled", say("Blinded lot %(lot)s is recalled.", lot=lot.code), "lot")


def recall_lot(tx: Transaction, actor: Actor, command: RecallLot) -> Done:
    """Block every kit of a lot at once, call off its shipments that have not left, and write to whoever keeps its kits
    or has subjects with them. What is on its way is blocked when it arrives; what is in quarantine stays there and is
    not released meanwhile. Raises Refusal as `check_recall`.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LOT_RECALL, trial)
    lot = lot_named(tx, trial, command.lot)
    _lock_everything(tx, trial)
    check_recall(tx, lot, command)
    document, reason = command.document.strip(), command.reason.strip()
    waiting = tx.session.scalars(
        select(Shipment)
        .where(
            Shipment.state.in_(["requested", "picked"]),
            Shipment.id.in_(
                select(ShipmentKit.shipment_id)
                .join(Kit, Kit.id == ShipmentKit.kit_id)
                .where(Kit.blinded_lot_id == lot.id)
            ),
        )
        .order_by(Shipment.number)
    ).all()
    for shipment in waiting:
        call_off(tx, trial, shipment, document, actor.name)
    of_lot = select(Kit).where(Kit.blinded_lot_id == lot.id)
    held = tx.session.scalars(of_lot.where(Kit.state.in_(READY)).order_by(Kit.id)).all()
    block(tx, held, actor.name, document)
    tx.session.add(
        LotRecall(blinded_lot_id=lot.id, reason=reason, document=document, recalled_at=tx.now, recalled_by=actor.name)
    )
    sites = list(tx.session.scalars(select(Site).where(Site.id.in_(_sites_with(lot))).order_by(Site.code)))
    tx.audit(
        "lot.recalled",
        "lot",
        lot.code,
        {
            "document": document,
            "kits": len(held),
            "sites": [site.code for site in sites],
            "shipments": [shipment.number for shipment in waiting],
        },
        trial=trial,
        reason=reason,
        definition=definitions.versions_of_trial(tx, trial)[0].version,
    )
    _write_to(tx, trial, lot, sites)
    return Done("recall_lot", {"trial": trial.code, "lot": lot.code})


def _lock_everything(tx: Transaction, trial: Trial) -> None:
    sites = tx.session.scalars(select(Site).where(Site.trial_id == trial.id))
    locks.take(tx.session, *supply_locks(tx, trial, *sites))


def _sites_with(lot: BlindedLot) -> Select[int | None]:
    """The sites that have, expect, or have handed out kits of `lot`."""
    return select(Kit.site_id).where(Kit.blinded_lot_id == lot.id, Kit.site_id.is_not(None)).distinct()


def _write_to(tx: Transaction, trial: Trial, lot: BlindedLot, sites: list[Site]) -> None:
    people = {person.id: person for person in people_in(tx, trial, Role.SUPPLY_MANAGER, Role.TRIAL_MANAGER)}
    for site in sites:
        people |= {person.id: person for person in people_in(tx, trial, Role.PHARMACIST, Role.INVESTIGATOR, site=site)}
    for depot in tx.session.scalars(select(Depot).where(Depot.trial_id == trial.id).order_by(Depot.code)):
        people |= {person.id: person for person in people_in(tx, trial, Role.DEPOT_OPERATOR, depot=depot)}
    outbox.write(
        tx,
        "recall",
        trial,
        sorted(people.values(), key=lambda person: person.username),
        say("%(trial)s: blinded lot %(lot)s is recalled", trial=trial.code, lot=lot.code),
        say(
            "Every kit of blinded lot %(lot)s is blocked: hand none of them over. Sign in to see which kits lie with "
            "you, and which subjects have one and must bring it back.",
            lot=lot.code,
        ),
    )


def check_end(tx: Transaction, lot: BlindedLot, command: EndRecall) -> LotRecall:
    """The recall that may end; the review page asks it too. Raises Refusal naming every rule that failed."""
    failed = []
    if command.how not in {"lifted", "rejected"}:
        failed.append(FailedRule("recall.how", say("Choose whether the kits may be used again."), "how"))
    if not command.document.strip():
        failed.append(FailedRule("document.missing", say("Name the decision document."), "document"))
    refuse_all("invalid", failed)
    recall = recall_of(tx, lot)
    if recall is None:
        raise refuse("conflict", "lot.not_recalled", say("Blinded lot %(lot)s is not recalled.", lot=lot.code), "lot")
    return recall


def end_recall(tx: Transaction, actor: Actor, command: EndRecall) -> Done:
    """End a recall. What had been set aside for a subject is rejected even when it is lifted: given to another, it
    would tell that both have the same treatment. Raises Refusal as `check_end`.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LOT_RECALL, trial)
    lot = lot_named(tx, trial, command.lot)
    _lock_everything(tx, trial)
    recall = check_end(tx, lot, command)
    document = command.document.strip()
    blocked = [KitState.RECALLED, KitState.RECALLED_IN_DEPOT]
    if command.how == "rejected":
        blocked.append(KitState.QUARANTINED)
    was_set_aside = exists().where(Dispensing.kit_id == Kit.id)
    statement = select(Kit, was_set_aside).where(Kit.blinded_lot_id == lot.id, Kit.state.in_(blocked))
    changes = []
    for kit, is_spoilt in tx.session.execute(statement.order_by(Kit.id)):
        lifted = Move.LIFT_RECALL if kit.state == KitState.RECALLED else Move.LIFT_IN_DEPOT
        changes.append(
            Change(
                kit.id,
                Move.REJECT if command.how == "rejected" or is_spoilt else lifted,
                KitState(kit.state),
                depot_id=kit.depot_id,
                site_id=kit.site_id,
                shipment_id=kit.shipment_id,
                reason=document,
            )
        )
    apply(tx, changes, actor.name)
    recall.how, recall.end_document, recall.ended_at, recall.ended_by = command.how, document, tx.now, actor.name
    tx.audit(
        "lot.recall_lifted" if command.how == "lifted" else "lot.recall_rejected",
        "lot",
        lot.code,
        {"document": document, "kits": len(changes)},
        trial=trial,
        definition=definitions.versions_of_trial(tx, trial)[0].version,
    )
    return Done("end_recall", {"trial": trial.code, "lot": lot.code})
