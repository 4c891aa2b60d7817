"""When a consignment leaves, arrives and is received: cut-off, working days, ship and receiving days. Pure.

The cut-off and all depot days are the depot's local dates, the receipt is the site's local date; the caller converts.
Weekdays are ISO (1 = Monday). Dated lists say nothing after `known_until`: from then on weekdays alone decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from rts.refusal import refuse, say
from rts.trial.definition import Calendar, Depot

_LONGEST_CLOSURE_DAYS = 366


@dataclass(frozen=True)
class Delivery:
    """The ship date (depot), the carrier's arrival and the day the site receives it (site), all local dates."""

    ship: date
    arrival: date
    receipt: date


def is_working_day(calendar: Calendar, day: date) -> bool:
    """Whether work is done, and parcels are received, on `day`: an ordinary weekday not closed, or a make-up day."""
    return day in calendar.makeup or (day.isoweekday() in calendar.working_weekdays and day not in calendar.closed)


def is_ship_day(depot: Depot, day: date) -> bool:
    """Whether the depot hands parcels to the carrier on `day`: a ship weekday on which it works."""
    return day.isoweekday() in depot.ship_weekdays and is_working_day(depot.calendar, day)


def _first_day(start: date, fits: Callable[[date], bool]) -> date:
    for offset in range(_LONGEST_CLOSURE_DAYS + 1):
        if fits(start + timedelta(days=offset)):
            return start + timedelta(days=offset)
    raise refuse(
        "rule",
        "calendar.no_day",
        say("the calendar has no suitable day in the year from %(start)s on", start=start.isoformat()),
        "calendar",
    )


def earliest_ship_date(depot: Depot, request: datetime) -> date:
    """The first ship day for a request made at `request`, an aware datetime in the depot's zone.

    A request at or after the cut-off counts as made the next day, one on a day without work as made on the next working
    day; then `processing_days` working days pass. Raises ValueError for a naive datetime, Refusal (`rule`,
    `calendar.no_day`) when no such day comes within a year.
    """
    if request.tzinfo is None:
        raise ValueError("the request needs a time zone: the depot's")
    day = request.date() + timedelta(days=1 if request.time() >= depot.cut_off else 0)
    day = _first_day(day, lambda candidate: is_working_day(depot.calendar, candidate))
    for _ in range(depot.processing_days):
        day = _first_day(day + timedelta(days=1), lambda candidate: is_working_day(depot.calendar, candidate))
    return _first_day(day, lambda candidate: is_ship_day(depot, candidate))


def plan_delivery(
    depot: Depot, receiving: Calendar, transit_days: int, request: datetime, *, allow_dwell: bool = True
) -> Delivery:
    """Ship, arrival and receipt dates of a consignment requested at `request` (aware, depot-local).

    Transit counts calendar days. With `allow_dwell` a parcel that arrives on a closed day waits for the next receiving
    day; without (cold chain) it leaves only on a day from which it arrives on a receiving day. Raises as
    `earliest_ship_date`.
    """
    transit = timedelta(days=transit_days)
    ship = earliest_ship_date(depot, request)
    if not allow_dwell:
        ship = _first_day(ship, lambda day: is_ship_day(depot, day) and is_working_day(receiving, day + transit))
    arrival = ship + transit
    return Delivery(ship, arrival, _first_day(arrival, lambda day: is_working_day(receiving, day)))


def days_known(calendar: Calendar, today: date) -> int:
    """Days from `today` to the last day the dated lists cover; negative when they have run out."""
    return (calendar.known_until - today).days


def needs_new_dates(calendar: Calendar, today: date, notice_days: int) -> bool:
    """Whether the alarm should sound: fewer than `notice_days` days remain before the dated lists run out."""
    return days_known(calendar, today) < notice_days
