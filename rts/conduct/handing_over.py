"""Handing a kit over: the pharmacist scans it, and only the number set aside is handed over."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor
from rts.access.permissions import Permission
from rts.conduct.dispensing import locked_place, outside_window, refuse_unless_in_treatment
from rts.conduct.perform import Done
from rts.conduct.places import subject_at
from rts.conduct.visits import definition_of_visit
from rts.randomisation.numbers import normal_number
from rts.refusal import refuse, refuse_all, say
from rts.store.ledger import Change, apply
from rts.store.tables import Dispensing
from rts.store.transaction import Transaction
from rts.supply.expiry import may_be_dispensed
from rts.supply.kits import KitState, Move


@dataclass(frozen=True)
class HandOver:
    """Hand a kit over: `kit` is the number scanned or typed from the box. `window_reason` is needed when the visit's
    window has ended since the kit was set aside.
    """

    trial: str
    subject: str
    visit: str
    kit: str
    window_reason: str = ""


def hand_over(tx: Transaction, actor: Actor, command: HandOver) -> Done:
    """Record that the scanned kit was handed over. Raises Refusal `kit.mismatch` for any other number, `kit.expiry`
    when it no longer lasts the interval, `visit.window` outside the window without a reason.
    """
    trial, site, subject = subject_at(tx, actor, Permission.DISPENSE, command.trial, command.subject)
    place = locked_place(tx, trial, site, subject)
    refuse_unless_in_treatment(subject)
    number = normal_number(command.kit)
    rows = tx.session.scalars(
        select(Dispensing)
        .where(
            Dispensing.subject_id == subject.id,
            Dispensing.visit == command.visit,
            Dispensing.state.in_(["assigned", "dispensed"]),
        )
        .order_by(Dispensing.slot)
    ).all()
    if not rows:
        raise refuse("conflict", "visit.not_prepared", say("No kit is set aside for this visit yet."), "visit")
    row = next((row for row in rows if row.kit.number == number), None)
    if row is None:
        raise refuse(
            "rule",
            "kit.mismatch",
            say(
                "Kit %(kit)s is not the kit for this subject and visit. Do not hand it over; scan the kit shown above.",
                kit=number,
            ),
            "kit",
        )
    if row.state == "dispensed":
        raise refuse("conflict", "kit.handed_over", say("Kit %(kit)s was handed over already.", kit=number), "kit")
    judged_by = definition_of_visit(tx, place.definition, row.visit, row.version_id)
    if not may_be_dispensed(place.today, row.kit.lot.expiry, judged_by.expiry.dnd_at(row.visit)):
        raise refuse(
            "rule",
            "kit.expiry",
            say("Kit %(kit)s no longer lasts until the end of the dosing interval. Ask for a replacement.", kit=number),
            "kit",
        )
    # A replacement comes when it comes: the window was kept or explained for the kit it stands for.
    if row.attempt == 1:
        reason = row.window_reason or command.window_reason
        refuse_all("rule", outside_window(place, subject, judged_by.visit(row.visit), reason))
        row.window_reason = reason.strip() or None
    apply(
        tx,
        [
            Change(
                row.kit_id,
                Move.DISPENSE,
                KitState.ASSIGNED,
                site_id=site.id,
                subject_id=subject.id,
                visit=command.visit,
                shipment_id=row.kit.shipment_id,
            )
        ],
        actor.name,
    )
    row.state, row.dispensed_at, row.dispensed_on, row.dispensed_by = "dispensed", tx.now, place.today, actor.name
    tx.audit(
        "kit.dispensed",
        "kit",
        number,
        {"subject": subject.code, "visit": command.visit, "on": place.today.isoformat()},
        trial=trial,
        site=site,
        reason=command.window_reason.strip(),
        before={"state": "assigned"},
        after={"state": "dispensed"},
        definition=place.version.version,
        mentions=(("subject", subject.code),),
    )
    return Done(
        "hand_over",
        {"trial": trial.code, "site": site.code, "subject": subject.code, "visit": command.visit, "kit": number},
    )
