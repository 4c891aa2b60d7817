"""Cut-off, processing, ship days and receiving days over the Chinese holidays of 2026."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rts.refusal import Refusal
from rts.supply.calendars import Delivery, days_known, is_ship_day, is_working_day, needs_new_dates, plan_delivery
from rts.trial.definition import Calendar, Depot

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))["R21_shipping_calendar"]
PUBLISHED = CASES["calendar"]
CALENDAR = Calendar(
    working_weekdays=(1, 2, 3, 4, 5),
    closed=tuple(date.fromisoformat(day) for day in PUBLISHED["closed_dates"]),
    makeup=tuple(date.fromisoformat(day) for day in PUBLISHED["makeup_workdays"]),
    known_until=date(2026, 12, 31),
)
DEPOT = Depot(
    code="DEP-SH",
    name="Shanghai",
    city="Shanghai",
    country="CN",
    time_zone="Asia/Shanghai",
    cut_off=time.fromisoformat(PUBLISHED["cut_off_local"]),
    processing_days=PUBLISHED["processing_days"],
    ship_weekdays=tuple(PUBLISHED["ship_weekdays"]),
    calendar=CALENDAR,
)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai"))


@pytest.mark.parametrize("row", CASES["rows"], ids=lambda row: row["request_local"])
def test_a_consignment_leaves_and_arrives_on_the_published_days(row: dict[str, Any]) -> None:
    request = local(row["request_local"])
    dwell = plan_delivery(DEPOT, CALENDAR, row["transit_days"], request)
    cold = plan_delivery(DEPOT, CALENDAR, row["transit_days"], request, allow_dwell=False)

    expected = row["allow_weekend_dwell"]
    assert dwell == Delivery(
        *(date.fromisoformat(expected[name]) for name in ("ship", "carrier_arrival", "site_receipt"))
    )
    expected = row["no_dwell_cold_chain"]
    assert (cold.ship, cold.receipt) == tuple(date.fromisoformat(expected[name]) for name in ("ship", "site_receipt"))
    assert cold.arrival == cold.receipt


def test_a_request_on_a_free_day_counts_as_made_on_the_next_working_day() -> None:
    sunday, monday = (plan_delivery(DEPOT, CALENDAR, 1, local(f"2026-01-{day}T09:00")) for day in (11, 12))
    assert sunday == monday
    assert sunday.ship == date(2026, 1, 13)


def test_a_makeup_day_is_worked_and_receives_but_does_not_ship() -> None:
    makeup = date(2026, 2, 14)
    assert is_working_day(CALENDAR, makeup)
    assert not is_ship_day(DEPOT, makeup)
    assert not is_working_day(CALENDAR, date(2026, 2, 16))


def test_a_depot_that_never_ships_is_refused_instead_of_searched_for_ever() -> None:
    with pytest.raises(Refusal) as caught:
        plan_delivery(replace(DEPOT, ship_weekdays=()), CALENDAR, 1, local("2026-01-05T09:00"))
    assert caught.value.rules == ("calendar.no_day",)


def test_a_request_without_a_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="time zone"):
        plan_delivery(DEPOT, CALENDAR, 1, local("2026-01-05T09:00").replace(tzinfo=None))


def test_the_alarm_sounds_before_the_dated_lists_run_out() -> None:
    assert days_known(CALENDAR, date(2026, 12, 1)) == 30
    assert not needs_new_dates(CALENDAR, date(2026, 12, 1), notice_days=30)
    assert needs_new_dates(CALENDAR, date(2026, 12, 2), notice_days=30)
    assert days_known(CALENDAR, date(2027, 1, 2)) == -2
