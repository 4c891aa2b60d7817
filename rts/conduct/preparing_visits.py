"""Preparing a visit: the system sets its kits aside."""

from __future__ import annotations

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
from rts.conduct.kits_at_site import opened_shelf, set_aside
from rts.conduct.perform import Done
from rts.conduct.places import subject_at
from rts.conduct.visits import held_visits, names_visit, visits_of
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import definitions
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
    """Set aside the kits of `visit`. Raises Refusal for a subject not in treatment, a visit out of order, or a date
    outside the window without a reason.
    """
    trial, site, subject = subject_at(tx, actor, Permission.DISPENSE, command.trial, command.subject)
    place = locked_place(tx, trial, site, subject)
    refuse_unless_in_treatment(subject)
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
    failed += outside_window(place, subject, visit, command.window_reason)
    refuse_all("rule", failed)
    kits = set_aside(
        tx,
        place,
        definitions.open_restricted(tx, trial, place.version, opener),
        opened_shelf(tx, site, opener),
        subject,
        arm_of(tx, subject, opener),
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
            "due_on": due_date(randomised_on(subject), visit).isoformat(),
            "kits": list(kits.numbers),
        },
        trial=trial,
        site=site,
        reason=command.window_reason.strip(),
        definition=place.version.version,
        mentions=tuple(("kit", number) for number in kits.numbers),
    )
    note_pick(tx, place, subject, visit.code, kits.possible_leak)
    return Done("prepare_visit", {"trial": trial.code, "site": site.code, "subject": subject.code, "visit": visit.code})
