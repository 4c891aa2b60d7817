"""Visit due dates, visit windows and the kits they will need. Pure; every date is the site's local date."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from rts.trial.definition import ExpiryRules, Visit


@dataclass(frozen=True)
class Demand:
    """Kits that a subject will need: the due date, how many, and the do-not-dispense clock (days) of that visit."""

    due: date
    quantity: int
    dnd: int = 0


@dataclass(frozen=True)
class SubjectSchedule:
    """What resupply needs to know of a subject: randomised when, on which dose level, which visits are closed.

    `closed_visits` are codes of visits dispensed or recorded as missed; `has_ended` is true once withdrawn or
    completed.
    """

    randomised_on: date
    dose_level: str
    closed_visits: frozenset[str]
    has_ended: bool = False


def due_date(randomised_on: date, visit: Visit) -> date:
    """The day a visit is due: `visit.day` days after randomisation."""
    return randomised_on + timedelta(days=visit.day)


def window(randomised_on: date, visit: Visit) -> tuple[date, date]:
    """First and last day of a visit's window, both included."""
    due = due_date(randomised_on, visit)
    return due - timedelta(days=visit.window_before), due + timedelta(days=visit.window_after)


def is_in_window(on: date, randomised_on: date, visit: Visit) -> bool:
    """Whether `on` lies in the visit's window."""
    first, last = window(randomised_on, visit)
    return first <= on <= last


def open_visits(visits: Sequence[Visit], closed: Collection[str]) -> tuple[Visit, ...]:
    """Visits still to come, by day: not closed, and after the last closed one.

    A visit left open before a closed one was skipped: visits go in order, so its kit will not be asked for.
    """
    reached = max((visit.day for visit in visits if visit.code in closed), default=None)
    ahead = [visit for visit in visits if reached is None or visit.day > reached]
    return tuple(sorted(ahead, key=lambda visit: visit.day))


def next_visit(visits: Sequence[Visit], closed: Collection[str]) -> Visit | None:
    """The next visit of a subject whose visits `closed` are done; None when none is left."""
    return next(iter(open_visits(visits, closed)), None)


def demands_of(
    subject: SubjectSchedule, visits: Sequence[Visit], group: str, expiry: ExpiryRules
) -> tuple[Demand, ...]:
    """Kits of a blinding group that the subject's open visits need, by due date; overdue ones keep their past date.

    Withdrawn and completed subjects need none. Which kit type that is, only the holder of an opener can add.
    """
    if subject.has_ended:
        return ()
    return tuple(
        Demand(due_date(subject.randomised_on, visit), quantity, expiry.dnd_at(visit.code))
        for visit in open_visits(visits, subject.closed_visits)
        if (quantity := visit.quantity(subject.dose_level, group)) > 0
    )
