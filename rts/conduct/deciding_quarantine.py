"""Quality's decision on a kit in quarantine: back to the shelf, or rejected."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.conduct.places import place_of
from rts.conduct.recalling_lots import is_recalled
from rts.randomisation.numbers import normal_number
from rts.refusal import refuse, say
from rts.store import locks
from rts.store.ledger import Change, apply
from rts.store.tables import Dispensing, Kit, Site, Trial
from rts.store.transaction import Transaction
from rts.supply.kits import KitState, Move


@dataclass(frozen=True)
class DecideQuarantine:
    """Release a quarantined kit to the shelf or reject it; `document` names the decision."""

    trial: str
    kit: str
    release: bool
    document: str


def check_decision(tx: Transaction, kit: Kit, command: DecideQuarantine) -> Site:
    """The site of a kit in quarantine on which this may be decided; the review page asks it too. Raises Refusal without
    a document, when the kit is not in quarantine, or for releasing one that was set aside for a subject.
    """
    if not command.document.strip():
        raise refuse("invalid", "document.missing", say("Name the decision document."), "document")
    if kit.state != KitState.QUARANTINED or kit.site_id is None:
        raise refuse("conflict", "kit.state", say("Kit %(kit)s is not in quarantine.", kit=kit.number), "kit")
    if command.release and tx.session.scalar(select(Kit.id).where(Kit.id == kit.id, is_recalled())):
        message = say(
            "The lot of kit %(kit)s is recalled: reject it, or wait for the end of the recall.", kit=kit.number
        )
        raise refuse("rule", "lot.recalled", message, "release")
    if command.release and tx.session.scalar(select(Dispensing.id).where(Dispensing.kit_id == kit.id)):
        raise refuse(
            "rule",
            "kit.was_set_aside",
            say(
                "Kit %(kit)s was set aside for a subject once. Given to another, it would tell that both have the same "
                "treatment: reject it.",
                kit=kit.number,
            ),
            "release",
        )
    return tx.session.get_one(Site, kit.site_id)


def kit_named(tx: Transaction, trial: Trial, number: str) -> Kit:
    """The kit `number` of a trial. Raises Refusal `not_found`."""
    kit = tx.session.scalar(select(Kit).where(Kit.trial_id == trial.id, Kit.number == normal_number(number)))
    if kit is None:
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    return kit


def decide_quarantine(tx: Transaction, actor: Actor, command: DecideQuarantine) -> Done:
    """Carry out a quality decision on one kit. Raises Refusal as `check_decision`, and for an unknown kit."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.QUARANTINE_DECIDE, trial)
    kit = kit_named(tx, trial, command.kit)
    if kit.site_id is not None:  # a kit in quarantine stays at its site, so its lock is the right one
        locks.take(tx.session, locks.site_stock(trial.code, tx.session.get_one(Site, kit.site_id).code))
        tx.session.refresh(kit)
    site = check_decision(tx, kit, command)
    move = Move.RELEASE_FROM_QUARANTINE if command.release else Move.REJECT
    apply(
        tx,
        [
            Change(
                kit.id,
                move,
                KitState.QUARANTINED,
                site_id=site.id,
                shipment_id=kit.shipment_id,
                reason=command.document.strip(),
            )
        ],
        actor.name,
    )
    tx.audit(
        "kit.released_from_quarantine" if command.release else "kit.rejected",
        "kit",
        kit.number,
        {"document": command.document.strip()},
        trial=trial,
        site=site,
        before={"state": "quarantined"},
        after={"state": kit.state},
        definition=place_of(tx, site).version.version,
    )
    return Done("decide_quarantine", {"trial": trial.code, "site": site.code, "kit": kit.number})
