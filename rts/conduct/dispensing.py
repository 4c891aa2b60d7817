"""What the deeds around a visit share (preparing_visits, handing_over, replacing_kits): whether a subject is in
treatment, and what speaks against dispensing today.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import select

from rts.conduct.kits_at_site import SetAside
from rts.conduct.places import Place, place_of
from rts.refusal import FailedRule, refuse, say
from rts.states import STATES
from rts.store import locks
from rts.store.sealed_rows import arm_allocated
from rts.store.tables import ListEntry, Site, Subject, Trial
from rts.store.transaction import Transaction
from rts.supply.windows import is_in_window, window
from rts.trial.definition import Visit
from rts.vault.vault import Opener


def refuse_unless_in_treatment(subject: Subject) -> None:
    """Refuse a subject who is not in treatment (`rule`, `subject.not_in_treatment`)."""
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


def locked_place(tx: Transaction, trial: Trial, site: Site, subject: Subject) -> Place:
    """The place as it is once the site's kits are locked: expiry and windows are judged after the wait, not before."""
    locks.take(tx.session, locks.site_stock(trial.code, site.code))
    tx.session.refresh(subject)
    return place_of(tx, site)


def arm_of(tx: Transaction, subject: Subject, opener: Opener) -> str:
    """The arm of a randomised subject, opened from the list."""
    entry = tx.session.scalars(select(ListEntry).where(ListEntry.subject_id == subject.id)).one()
    return arm_allocated(tx, entry, opener)


def outside_window(place: Place, subject: Subject, visit: Visit, reason: str) -> list[FailedRule]:
    """What speaks against dispensing today: a date outside the visit's window, unless a reason is given."""
    start = randomised_on(subject)
    if reason.strip() or is_in_window(place.today, start, visit):
        return []
    first, last = window(start, visit)
    message = say(
        "Today (%(today)s) is outside the window of %(visit)s, %(first)s to %(last)s. Give the reason to go on.",
        today=place.today.isoformat(),
        visit=visit.label,
        first=first.isoformat(),
        last=last.isoformat(),
    )
    return [FailedRule("visit.window", message, "window_reason")]


def randomised_on(subject: Subject) -> date:
    """The site-local date on which a subject in treatment was randomised."""
    if subject.randomised_on is None:
        raise RuntimeError("a subject in treatment has a date of randomisation")
    return subject.randomised_on


def note_pick(tx: Transaction, place: Place, subject: Subject, visit: str, kits: SetAside | None) -> None:
    """Tell the unblinded whether the choice of kits may have told an arm, or that there was none; written every time,
    since its absence would tell too.
    """
    tx.audit(
        "kits.picked",
        "subject",
        subject.code,
        {"visit": visit, "possible_leak": kits is not None and kits.possible_leak, "lacking": kits is None},
        trial=place.site.trial,
        site=place.site,
        definition=place.version.version,
        sealed=True,
    )
