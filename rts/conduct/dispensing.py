"""Dispensing: the system sets a kit aside for the visit, the pharmacist scans it, and only the right number is
handed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.kits_at_site import kits_on_the_shelf, opened_shelf, set_aside
from rts.conduct.perform import Done
from rts.conduct.places import Place, place_of, subject_at
from rts.conduct.visits import definition_of_visit, held_visits, names_visit, place_of_visit, visits_of
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.states import STATES
from rts.store import definitions, locks
from rts.store.ledger import Change, apply
from rts.store.sealed_rows import OpenedKit, open_entry, open_kits
from rts.store.tables import Dispensing, ListEntry, Site, Subject, Trial
from rts.store.transaction import Transaction
from rts.supply.expiry import may_be_dispensed
from rts.supply.kits import KitState, Move
from rts.supply.windows import due_date, is_in_window, window
from rts.trial.definition import RestrictedDefinition, Visit
from rts.vault.vault import Opener

FATES = {"damaged": Move.REPORT_DAMAGED, "lost": Move.REPORT_LOST}


@dataclass(frozen=True)
class PrepareVisit:
    """Set the kits of a visit aside. `window_reason` is needed outside the visit's window."""

    trial: str
    subject: str
    visit: str
    window_reason: str = ""


def _in_treatment(subject: Subject) -> None:
    if subject.state != "randomised":
        raise refuse(
            "rule",
            "subject.not_in_treatment",
            say(
                "Subject %(subject)s is not in treatment (%(state)s), so no kit is dispensed.",
                subject=subject.code,
                state=STATES[subject.state],
            ),
            "subject",
        )


def _locked(tx: Transaction, trial: Trial, site: Site, subject: Subject) -> Place:
    """The place as it is once the site's kits are locked: expiry and windows are judged after the wait, not before."""
    locks.take(tx.session, locks.site_stock(trial.code, site.code))
    tx.session.refresh(subject)
    return place_of(tx, site)


def _arm_of(tx: Transaction, subject: Subject, opener: Opener) -> str:
    entry = tx.session.scalars(select(ListEntry).where(ListEntry.subject_id == subject.id)).one()
    return open_entry(tx, entry, opener).arm


def _outside_window(place: Place, subject: Subject, visit: Visit, reason: str) -> list[FailedRule]:
    """What speaks against dispensing today: a date outside the visit's window, unless a reason is given."""
    randomised_on = _randomised_on(subject)
    if reason.strip() or is_in_window(place.today, randomised_on, visit):
        return []
    first, last = window(randomised_on, visit)
    message = say(
        "Today (%(today)s) is outside the window of %(visit)s, %(first)s to %(last)s. Give the reason to go on.",
        today=place.today.isoformat(),
        visit=visit.label,
        first=first.isoformat(),
        last=last.isoformat(),
    )
    return [FailedRule("visit.window", message, "window_reason")]


def _randomised_on(subject: Subject) -> date:
    if subject.randomised_on is None:
        raise RuntimeError("a subject in treatment has a date of randomisation")
    return subject.randomised_on


def prepare_visit(tx: Transaction, actor: Actor, command: PrepareVisit, opener: Opener) -> Done:
    """Set aside the kits of `visit`. Raises Refusal for a subject not in treatment, a visit out of order, or a date
    outside the window without a reason.
    """
    trial, site, subject = subject_at(tx, actor, Permission.DISPENSE, command.trial, command.subject)
    place = _locked(tx, trial, site, subject)
    _in_treatment(subject)
    if not names_visit(place.definition, command.visit):
        raise refuse(
            "invalid", "visit.unknown", say("The definition has no visit %(visit)s.", visit=command.visit), "visit"
        )
    visit = place.definition.visit(command.visit)
    held = held_visits(tx, subject)
    if visit.code in held:
        raise refuse(
            "conflict",
            "visit.done",
            say("Kits for %(visit)s are set aside or dispensed already.", visit=visit.label),
            "visit",
        )
    reached = [v.day for v in visits_of(tx, place.definition, held.items()) if v.code in held]
    failed = []
    if not any(visit.kits.get(subject.dose_level, {}).values()):
        failed.append(
            FailedRule("visit.no_kits", say("Nothing is dispensed at %(visit)s.", visit=visit.label), "visit")
        )
    if reached and visit.day <= max(reached):
        failed.append(FailedRule("visit.order", say("Visits go in order: a later one is done already."), "visit"))
    failed += _outside_window(place, subject, visit, command.window_reason)
    refuse_all("rule", failed)
    kits = set_aside(
        tx,
        place,
        definitions.open_restricted(tx, trial, place.version, opener),
        opened_shelf(tx, site, opener),
        subject,
        _arm_of(tx, subject, opener),
        visit,
        actor.name,
        window_reason=command.window_reason.strip() or None,
    )
    tx.audit(
        "visit.prepared",
        "subject",
        subject.code,
        {
            "visit": visit.code,
            "due_on": due_date(_randomised_on(subject), visit).isoformat(),
            "kits": list(kits.numbers),
        },
        trial=trial,
        site=site,
        reason=command.window_reason.strip(),
        definition=place.version.version,
        mentions=tuple(("kit", number) for number in kits.numbers),
    )
    _note_pick(tx, place, subject, visit.code, kits.possible_leak)
    return Done("prepare_visit", {"trial": trial.code, "site": site.code, "subject": subject.code, "visit": visit.code})


def _note_pick(tx: Transaction, place: Place, subject: Subject, visit: str, possible_leak: bool) -> None:
    """Tell the unblinded whether the choice of a kit may have told an arm; written every time, since its absence
    would tell too.
    """
    tx.audit(
        "kits.picked",
        "subject",
        subject.code,
        {"visit": visit, "possible_leak": possible_leak},
        trial=place.site.trial,
        site=place.site,
        definition=place.version.version,
        sealed=True,
    )


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


def normal_number(text: str) -> str:
    """A kit number as people type it (grouped, small letters) in the form lists hold it."""
    return "".join(text.split()).replace("-", "").upper()


def hand_over(tx: Transaction, actor: Actor, command: HandOver) -> Done:
    """Record that the scanned kit was handed over. Raises Refusal `kit.mismatch` for any other number, `kit.expiry`
    when it no longer lasts the interval, `visit.window` outside the window without a reason.
    """
    trial, site, subject = subject_at(tx, actor, Permission.DISPENSE, command.trial, command.subject)
    place = _locked(tx, trial, site, subject)
    _in_treatment(subject)
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
        refuse_all("rule", _outside_window(place, subject, judged_by.visit(row.visit), reason))
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


def replace_kit(tx: Transaction, actor: Actor, command: ReplaceKit, opener: Opener) -> Done:
    """Close the old kit with its reason and set another aside. A kit handed over keeps its state: what happens to it
    afterwards is accounted apart.
    """
    trial, site, subject = subject_at(tx, actor, Permission.DISPENSE, command.trial, command.subject)
    place = _locked(tx, trial, site, subject)
    _in_treatment(subject)
    number = normal_number(command.kit)
    failed = []
    if command.fate not in {*FATES, "expired"}:
        failed.append(FailedRule("fate.unknown", say("Choose lost, damaged or expired."), "fate"))
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    row = next(
        (
            row
            for row in tx.session.scalars(
                select(Dispensing).where(
                    Dispensing.subject_id == subject.id, Dispensing.state.in_(["assigned", "dispensed"])
                )
            )
            if row.kit.number == number
        ),
        None,
    )
    if row is None:
        failed.append(FailedRule("kit.not_theirs", say("Kit %(kit)s is not a kit of this subject.", kit=number), "kit"))
    elif row.state == "dispensed" and command.fate == "expired":
        failed.append(
            FailedRule(
                "fate.handed_over", say("A kit that was handed over is replaced when it is lost or damaged."), "fate"
            )
        )
    refuse_all("invalid", failed)
    if row is None:
        raise RuntimeError("a missing kit was refused above")
    judged = place_of_visit(tx, place, row)
    visit = judged.definition.visit(row.visit)
    if row.state == "assigned":
        if command.fate == "expired":
            if may_be_dispensed(place.today, row.kit.lot.expiry, judged.definition.expiry.dnd_at(visit.code)):
                raise refuse(
                    "rule",
                    "kit.in_date",
                    say("Kit %(kit)s lasts the dosing interval and can be handed over.", kit=number),
                    "fate",
                )
            move = Move.QUARANTINE
            row.state = "put_back"
        else:
            move = FATES[command.fate]
            row.state = "replaced"
        change = Change(
            row.kit_id,
            move,
            KitState.ASSIGNED,
            site_id=site.id,
            shipment_id=row.kit.shipment_id,
            reason=command.reason.strip(),
        )
        apply(tx, [change], actor.name)
    else:
        row.state = "replaced"
    row.ended_at, row.end_reason = tx.now, f"{command.fate}: {command.reason.strip()}"
    tx.session.flush()
    restricted = definitions.open_restricted(tx, trial, judged.version, opener)
    group = _group_of(restricted, open_kits(tx, [row.kit], opener)[0])
    kits = set_aside(
        tx,
        judged,
        restricted,
        opened_shelf(tx, site, opener),
        subject,
        _arm_of(tx, subject, opener),
        visit,
        actor.name,
        window_reason=row.window_reason,
        slots={group: [row.slot]},
    )
    tx.audit(
        "kit.replaced",
        "kit",
        number,
        {"subject": subject.code, "visit": visit.code, "fate": command.fate, "new_kits": list(kits.numbers)},
        trial=trial,
        site=site,
        reason=command.reason.strip(),
        definition=place.version.version,
        mentions=(("subject", subject.code), *(("kit", new) for new in kits.numbers)),
    )
    _note_pick(tx, place, subject, visit.code, kits.possible_leak)
    return Done("replace_kit", {"trial": trial.code, "site": site.code, "subject": subject.code, "visit": visit.code})


def _group_of(restricted: RestrictedDefinition, kit: OpenedKit) -> str:
    """The group of a kit: told by the kit itself, since a later version may number the slots of a visit otherwise."""
    return next(kit_type.group for kit_type in restricted.kit_types if kit_type.code == kit.kit_type)


@dataclass(frozen=True)
class ReportKit:
    """A kit on the site's shelf was found lost or damaged."""

    trial: str
    site: str
    kit: str
    fate: str
    reason: str


def report_kit(tx: Transaction, actor: Actor, command: ReportKit) -> Done:
    """Take a kit off the shelf for good. Raises Refusal when it is not on this site's shelf."""
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.SITE_STOCK, trial, site)
    locks.take(tx.session, locks.site_stock(trial.code, site.code))
    number = normal_number(command.kit)
    failed = []
    if command.fate not in FATES:
        failed.append(FailedRule("fate.unknown", say("Choose lost or damaged."), "fate"))
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    kit = next((kit for kit in kits_on_the_shelf(tx, site) if kit.number == number), None)
    if kit is None:
        failed.append(
            FailedRule("kit.not_on_shelf", say("Kit %(kit)s is not on the shelf of this site.", kit=number), "kit")
        )
    refuse_all("invalid", failed)
    if kit is None:
        raise RuntimeError("a missing kit was refused above")
    apply(
        tx,
        [
            Change(
                kit.id,
                FATES[command.fate],
                KitState.AVAILABLE,
                site_id=site.id,
                shipment_id=kit.shipment_id,
                reason=command.reason.strip(),
            )
        ],
        actor.name,
    )
    tx.audit(
        f"kit.{command.fate}",
        "kit",
        number,
        trial=trial,
        site=site,
        reason=command.reason.strip(),
        before={"state": "available"},
        after={"state": command.fate},
        definition=place_of(tx, site).version.version,
    )
    return Done("report_kit", {"trial": trial.code, "site": site.code, "kit": number})
