"""Preparing a visit: the system sets its kits aside."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from rts.access.actor import Actor
from rts.access.permissions import Permission
from rts.conduct.dispensing import (
    arm_of,
    locked_place,
    note_pick,
    outside_window,
    randomised_on,
    refuse_unless_in_treatment,
)
from rts.conduct.kits_at_site import group_of_type, opened_shelf, set_aside
from rts.conduct.perform import Done
from rts.conduct.places import subject_at
from rts.conduct.visits import given_up, names_visit, place_of_visit, reached_visits, schedule_of
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import definitions
from rts.store.sealed_rows import open_kits
from rts.store.transaction import Transaction
from rts.supply.windows import due_date
from rts.vault.vault import Opener


@dataclass(frozen=True)
class PrepareVisit:
    """Set the kits of a visit aside. `window_reason` is needed outside the visit's window."""

    trial: str
    subject: str
    visit: str
    window_reason: str = ""


def prepare_visit(tx: Transaction, actor: Actor, command: PrepareVisit, opener: Opener) -> Done:
    """Set aside the kits of `visit`: all of them, or those given up before and not replaced then. Raises Refusal for a
    subject not in treatment, a visit out of order, or a date outside the window without a reason.
    """
    trial, site, subject = subject_at(tx, actor, Permission.DISPENSE, command.trial, command.subject)
    place = locked_place(tx, trial, site, subject)
    refuse_unless_in_treatment(subject)
    lacking = given_up(tx, subject, command.visit)
    judged = place_of_visit(tx, place, lacking[0]) if lacking else place
    if not names_visit(judged.definition, command.visit):
        raise refuse(
            "invalid", "visit.unknown", say("The definition has no visit %(visit)s.", visit=command.visit), "visit"
        )
    visit = judged.definition.visit(command.visit)
    reached = reached_visits(tx, [subject.id])[subject.id]
    if visit.code in reached and reached[visit.code].is_closed:
        raise refuse(
            "conflict",
            "visit.done",
            say("Kits for %(visit)s are set aside or dispensed already.", visit=visit.label),
            "visit",
        )
    visits, _closed = schedule_of(tx, place.definition, reached)
    others = [other.day for other in visits if other.code in reached and other.code != visit.code]
    failed = []
    if not any(visit.kits.get(subject.dose_level, {}).values()):
        failed.append(
            FailedRule("visit.no_kits", say("Nothing is dispensed at %(visit)s.", visit=visit.label), "visit")
        )
    if others and visit.day <= max(others):
        failed.append(FailedRule("visit.order", say("Visits go in order: a later one is done already."), "visit"))
    # A replacement comes when it comes: the window was kept or explained for the kit it stands for.
    if not lacking:
        failed += outside_window(place, subject, visit, command.window_reason)
    refuse_all("rule", failed)
    restricted = definitions.open_restricted(tx, trial, judged.version, opener)
    # The group is told by the kit itself: a later version may number the kits of a visit otherwise.
    slots: dict[str, list[int]] = defaultdict(list)
    for row, opened in zip(lacking, open_kits(tx, [row.kit for row in lacking], opener), strict=True):
        slots[group_of_type(restricted, opened.kit_type)].append(row.slot)
    kits = set_aside(
        tx,
        judged,
        restricted,
        opened_shelf(tx, site, opener),
        subject,
        arm_of(tx, subject, opener),
        visit,
        actor.name,
        window_reason=command.window_reason.strip() or None,
        slots=slots if lacking else None,
    )
    tx.audit(
        "visit.prepared",
        "subject",
        subject.code,
        {
            "visit": visit.code,
            "due_on": due_date(randomised_on(subject), visit).isoformat(),
            "kits": list(kits.numbers),
        },
        trial=trial,
        site=site,
        reason=command.window_reason.strip(),
        definition=place.version.version,
        mentions=tuple(("kit", number) for number in kits.numbers),
    )
    note_pick(tx, place, subject, visit.code, kits)
    return Done("prepare_visit", {"trial": trial.code, "site": site.code, "subject": subject.code, "visit": visit.code})
