"""A subject brings a kit back, and the pharmacist counts what is left in it; or it is given up for lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select

from rts.access.actor import Actor
from rts.access.permissions import Permission
from rts.conduct.dispensing import locked_place
from rts.conduct.perform import Done
from rts.conduct.places import Place, subject_at
from rts.conduct.visits import first_version, group_of_slot
from rts.randomisation.numbers import normal_number
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store.ledger import Change, apply
from rts.store.tables import Dispensing, KitReturn, Subject
from rts.store.transaction import Transaction
from rts.supply.kits import KitState, Move


@dataclass(frozen=True)
class ReturnKit:
    """A kit came back on a day, local to the site, with so many `units` left in it; None where none are counted.

    Of a kit that came back before it is another count, and `remark` says why.
    """

    trial: str
    subject: str
    kit: str
    units: int | None
    returned_on: date
    remark: str = ""


@dataclass(frozen=True)
class WriteOffKit:
    """A kit that was handed over will not come back."""

    trial: str
    subject: str
    kit: str
    reason: str


def handed_over(tx: Transaction, subject: Subject, kit: str) -> Dispensing:
    """The kit of this number that was handed over to `subject`, replaced since or not. Raises Refusal `invalid`."""
    number = normal_number(kit)
    statement = select(Dispensing).where(Dispensing.subject_id == subject.id, Dispensing.dispensed_at.is_not(None))
    row = next((row for row in tx.session.scalars(statement) if row.kit.number == number), None)
    if row is None:
        message = say("Kit %(kit)s was not handed over to this subject.", kit=number)
        raise refuse("invalid", "kit.not_theirs", message, "kit")
    return row


def units_held(tx: Transaction, subject: Subject, row: Dispensing) -> int | None:
    """How many units the kit held when it was handed over; None where the definition counts none."""
    definition = first_version(tx, row)
    return definition.units_a_kit.get(group_of_slot(definition, subject.dose_level, row.visit, row.slot))


def check_return(tx: Transaction, place: Place, subject: Subject, command: ReturnKit) -> Dispensing:
    """The kit that is returned; the review page asks it too. Raises Refusal naming every rule that failed."""
    row = handed_over(tx, subject, command.kit)
    number, held = row.kit.number, units_held(tx, subject, row)
    failed = []
    if held is None and command.units is not None:
        failed.append(FailedRule("units.not_counted", say("Units of this kit are not counted."), "units"))
    elif held is not None and command.units is None:
        failed.append(FailedRule("units.missing", say("Count what is left in the kit; 0 if it is empty."), "units"))
    elif held is not None and command.units is not None and not 0 <= command.units <= held:
        message = say("A full kit holds %(held)d units; so many cannot be left.", held=held)
        failed.append(FailedRule("units.too_many", message, "units"))
    given_on = row.dispensed_on or place.today
    if not given_on <= command.returned_on <= place.today:
        message = say(
            "The kit was handed over on %(given)s: it came back on a day from then to today.",
            given=given_on.isoformat(),
        )
        failed.append(FailedRule("returned_on.range", message, "returned_on"))
    refuse_all("invalid", failed)
    if row.kit.state not in {KitState.DISPENSED, KitState.UNRETURNED, KitState.RETURNED}:
        message = say("What became of kit %(kit)s has been decided: it is not counted again.", kit=number)
        raise refuse("conflict", "kit.decided", message, "kit")
    if row.kit.state == KitState.RETURNED and not command.remark.strip():
        message = say("Kit %(kit)s came back before. Say why it is counted again.", kit=number)
        raise refuse("conflict", "kit.returned_before", message, "remark")
    return row


def return_kit(tx: Transaction, actor: Actor, command: ReturnKit) -> Done:
    """Record that a kit came back. It is never given to anybody again. Raises Refusal as `check_return`."""
    trial, site, subject = subject_at(tx, actor, Permission.DISPENSE, command.trial, command.subject)
    place = locked_place(tx, trial, site, subject)
    row = check_return(tx, place, subject, command)
    before = KitState(row.kit.state)
    move = Move.RECOUNT if before == KitState.RETURNED else Move.RETURN
    remark = command.remark.strip()
    apply(
        tx,
        [Change(row.kit_id, move, before, site_id=site.id, shipment_id=row.kit.shipment_id, reason=remark)],
        actor.name,
    )
    earlier = tx.session.scalar(select(func.count()).where(KitReturn.kit_id == row.kit_id)) or 0
    tx.session.add(
        KitReturn(
            kit_id=row.kit_id,
            number=earlier + 1,
            dispensing_id=row.id,
            units=command.units,
            returned_on=command.returned_on,
            remark=remark,
            recorded_at=tx.now,
            recorded_by=actor.name,
        )
    )
    tx.audit(
        "kit.recounted" if move == Move.RECOUNT else "kit.returned",
        "kit",
        row.kit.number,
        {"subject": subject.code, "units": command.units, "on": command.returned_on.isoformat()},
        trial=trial,
        site=site,
        reason=remark,
        before={"state": before},
        after={"state": "returned"},
        definition=place.version.version,
        mentions=(("subject", subject.code),),
    )
    return Done("return_kit", {"trial": trial.code, "site": site.code, "subject": subject.code, "kit": row.kit.number})


def check_write_off(tx: Transaction, subject: Subject, command: WriteOffKit) -> Dispensing:
    """The kit that is given up; the review page asks it too. Raises Refusal without a reason, or when the kit is not
    with the subject.
    """
    row = handed_over(tx, subject, command.kit)
    if not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    if row.kit.state != KitState.DISPENSED:
        message = say("Kit %(kit)s is not with the subject any more.", kit=row.kit.number)
        raise refuse("conflict", "kit.state", message, "kit")
    return row


def write_off_kit(tx: Transaction, actor: Actor, command: WriteOffKit) -> Done:
    """Record that a kit will not come back. Should it turn up, it is returned like any other."""
    trial, site, subject = subject_at(tx, actor, Permission.DISPENSE, command.trial, command.subject)
    place = locked_place(tx, trial, site, subject)
    row = check_write_off(tx, subject, command)
    reason = command.reason.strip()
    change = Change(
        row.kit_id,
        Move.WRITE_OFF,
        KitState.DISPENSED,
        site_id=site.id,
        shipment_id=row.kit.shipment_id,
        reason=reason,
    )
    apply(tx, [change], actor.name)
    tx.audit(
        "kit.unreturned",
        "kit",
        row.kit.number,
        {"subject": subject.code},
        trial=trial,
        site=site,
        reason=reason,
        before={"state": "dispensed"},
        after={"state": "unreturned"},
        definition=place.version.version,
        mentions=(("subject", subject.code),),
    )
    return Done(
        "write_off_kit", {"trial": trial.code, "site": site.code, "subject": subject.code, "kit": row.kit.number}
    )
