"""Due dates, windows, the next visit and the kits a subject will need."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from rts.supply.windows import (
    Demand,
    SubjectSchedule,
    demands_of,
    due_date,
    is_in_window,
    next_visit,
    open_visits,
    window,
)
from rts.trial.definition import ExpiryRules, Visit


def visit(code: str, day: int, quantity: int = 1, width: int = 3) -> Visit:
    return Visit(code, code, day, width, width, {"standard": {"study-drug": quantity}} if quantity else {})


VISITS = (visit("W0", 0, width=0), visit("W4", 28), visit("W8", 56, quantity=2), visit("W24", 168, quantity=0))
EXPIRY = ExpiryRules(dnd=31, dnc=38, dns=60, dnd_by_visit={"W8": 62})
START = date(2028, 2, 1)
SUBJECT = SubjectSchedule(START, "standard", frozenset({"W0"}))


def test_a_visit_is_due_its_days_after_randomisation() -> None:
    assert due_date(START, VISITS[1]) == date(2028, 2, 29)
    assert window(START, VISITS[1]) == (date(2028, 2, 26), date(2028, 3, 3))


def test_both_ends_of_a_window_are_in_it() -> None:
    days = [date(2028, 2, 25), date(2028, 2, 26), date(2028, 3, 3), date(2028, 3, 4)]
    assert [is_in_window(day, START, VISITS[1]) for day in days] == [False, True, True, False]


def test_visits_go_in_order_and_a_skipped_one_is_not_offered_again() -> None:
    assert next_visit(VISITS[::-1], ()) == VISITS[0]
    assert next_visit(VISITS, {"W0"}) == VISITS[1]
    assert open_visits(VISITS, {"W0", "W8"}) == (VISITS[3],)
    assert next_visit(VISITS, {"W24"}) is None


def test_open_visits_ask_for_kits_on_their_due_dates_overdue_ones_included() -> None:
    assert demands_of(SUBJECT, VISITS, "study-drug", EXPIRY) == (
        Demand(date(2028, 2, 29), 1, 31),
        Demand(date(2028, 3, 28), 2, 62),
    )


def test_other_groups_and_dose_levels_ask_for_nothing() -> None:
    assert demands_of(SUBJECT, VISITS, "rescue", EXPIRY) == ()
    assert demands_of(replace(SUBJECT, dose_level="half"), VISITS, "study-drug", EXPIRY) == ()


def test_withdrawn_and_completed_subjects_ask_for_nothing() -> None:
    assert demands_of(replace(SUBJECT, has_ended=True), VISITS, "study-drug", EXPIRY) == ()
