"""Replacing a kit of a subject: the old one's end is recorded, and another is set aside if there is one."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor
from rts.access.permissions import Permission
from rts.conduct.dispensing import arm_of, locked_place, note_pick, refuse_unless_in_treatment
from rts.conduct.kits_at_site import FATES, group_of_type, opened_shelf, set_aside_if_there
from rts.conduct.perform import Done
from rts.conduct.places import Place, subject_at
from rts.conduct.visits import LIVE, definition_of_visit, place_of_visit
from rts.randomisation.numbers import normal_number
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import definitions
from rts.store.ledger import Change, apply
from rts.store.sealed_rows import open_kits
from rts.store.tables import Dispensing, Subject
from rts.store.transaction import Transaction
from rts.supply.expiry import may_be_dispensed
from rts.supply.kits import KitState, Move
from rts.vault.vault import Opener

EXPIRED = "expired"
"""The fate of a kit set aside that no longer lasts the dosing interval."""


@dataclass(frozen=True)
class ReplaceKit:
    """Give another kit of the same treatment for one that was lost or damaged (`fate`), or that no longer lasts the
    interval (`expired`).
    """

    trial: str
    subject: str
    kit: str
    fate: str
    reason: str


def check_replacement(tx: Transaction, place: Place, subject: Subject, command: ReplaceKit) -> Dispensing:
    """The kit of `subject` that may be given up for this reason; the review page asks it too. Raises Refusal naming
    every rule that failed. What lies on the shelf is not asked: a kit is lost whether or not there is another.
    """
    refuse_unless_in_treatment(subject)
    number = normal_number(command.kit)
    failed = []
    if command.fate not in {*FATES, EXPIRED}:
        failed.append(FailedRule("fate.unknown", say("Choose lost, damaged or expired."), "fate"))
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    statement = select(Dispensing).where(Dispensing.subject_id == subject.id, Dispensing.state.in_(LIVE))
    row = next((row for row in tx.session.scalars(statement) if row.kit.number == number), None)
    if row is None:
        failed.append(FailedRule("kit.not_theirs", say("Kit %(kit)s is not a kit of this subject.", kit=number), "kit"))
    elif row.state == "dispensed" and command.fate == EXPIRED:
        failed.append(
            FailedRule(
                "fate.handed_over", say("A kit that was handed over is replaced when it is lost or damaged."), "fate"
            )
        )
    refuse_all("invalid", failed)
    if row is None:
        raise RuntimeError("a missing kit was refused above")
    dnd = definition_of_visit(tx, place.definition, row.visit, row.version_id).expiry.dnd_at(row.visit)
    if command.fate == EXPIRED and may_be_dispensed(place.today, row.kit.lot.expiry, dnd):
        raise refuse(
            "rule",
            "kit.in_date",
            say("Kit %(kit)s lasts the dosing interval and can be handed over.", kit=number),
            "fate",
        )
    return row


def replace_kit(tx: Transaction, actor: Actor, command: ReplaceKit, opener: Opener) -> Done:
    """Record what became of the old kit, and set another aside if the shelf holds a suitable one; if not, the visit is
    open again and prepared once kits have come. A kit handed over keeps its state: what happens to it afterwards is
    accounted apart. Raises Refusal as `check_replacement`.
    """
    trial, site, subject = subject_at(tx, actor, Permission.DISPENSE, command.trial, command.subject)
    place = locked_place(tx, trial, site, subject)
    row = check_replacement(tx, place, subject, command)
    judged = place_of_visit(tx, place, row)
    visit = judged.definition.visit(row.visit)
    if row.state == "assigned":
        change = Change(
            row.kit_id,
            Move.QUARANTINE if command.fate == EXPIRED else FATES[command.fate],
            KitState.ASSIGNED,
            site_id=site.id,
            shipment_id=row.kit.shipment_id,
            reason=command.reason.strip(),
        )
        apply(tx, [change], actor.name)
    row.state = "put_back" if command.fate == EXPIRED else "replaced"
    row.ended_at, row.end_reason = tx.now, f"{command.fate}: {command.reason.strip()}"
    tx.session.flush()
    restricted = definitions.open_restricted(tx, trial, judged.version, opener)
    # The group is told by the kit itself: a later version may number the kits of a visit otherwise.
    (opened,) = open_kits(tx, [row.kit], opener)
    kits = set_aside_if_there(
        tx,
        judged,
        restricted,
        opened_shelf(tx, site, opener),
        subject,
        arm_of(tx, subject, opener),
        visit,
        actor.name,
        window_reason=row.window_reason,
        slots={group_of_type(restricted, opened.kit_type): [row.slot]},
    )
    numbers = () if kits is None else kits.numbers
    tx.audit(
        "kit.replaced",
        "kit",
        row.kit.number,
        {"subject": subject.code, "visit": visit.code, "fate": command.fate, "new_kits": list(numbers)},
        trial=trial,
        site=site,
        reason=command.reason.strip(),
        definition=place.version.version,
        mentions=(("subject", subject.code), *(("kit", new) for new in numbers)),
    )
    note_pick(tx, place, subject, visit.code, kits)
    return Done("replace_kit", {"trial": trial.code, "site": site.code, "subject": subject.code, "visit": visit.code})
