"""The three expiry clocks of a kit, counted in days before its last usable day. Pure.

A kit is usable through its expiry date (to 23:59 of it, in the site's zone). Do-not-dispense and do-not-ship are
inclusive (allowed while date <= expiry - days); do-not-count is strict (counted while date < expiry - days), so that a
kit leaves the count one day before it leaves dispensing. Dates are local: the site's, or the depot's for shipping.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import TypeVar

from rts.refusal import refuse, say

Item = TypeVar("Item")


def last_day_inclusive(expiry: date, days: int) -> date:
    """The last date on which date <= expiry - `days`: the last day to dispense (DND) or ship (DNS)."""
    return expiry - timedelta(days=days)


def last_day_strict(expiry: date, days: int) -> date:
    """The last date on which date < expiry - `days`: the last day a kit is counted (DNC)."""
    return expiry - timedelta(days=days + 1)


def may_be_dispensed(on: date, expiry: date, dnd: int) -> bool:
    """Whether a kit at the site may be handed over on `on`."""
    return (expiry - on).days >= dnd


def may_be_shipped(ship_date: date, expiry: date, dns: int) -> bool:
    """Whether a kit in the depot may leave on `ship_date`."""
    return (expiry - ship_date).days >= dns


def is_counted(today: date, expiry: date, dnc: int) -> bool:
    """Whether a kit at the site or in transit counts as stock on `today`."""
    return (expiry - today).days > dnc


def has_expired(today: date, expiry: date) -> bool:
    """Whether the last usable day is over on `today`."""
    return today > expiry


def read_expiry(text: str, field: str = "expiry") -> date:
    """The last usable day for `YYYY-MM-DD`, or for `YYYY-MM`, which means the last day of that month.

    Raises Refusal (`invalid`, `expiry.format`) for anything else.
    """
    match = re.fullmatch(r"([0-9]{4})-([0-9]{2})(?:-([0-9]{2}))?", text)
    if match:
        year, month, day = int(match[1]), int(match[2]), match[3]
        try:
            return date(year, month, int(day) if day else calendar.monthrange(year, month)[1])
        except ValueError:
            pass  # an impossible date is refused below like any other unreadable text
    raise refuse("invalid", "expiry.format", say("the expiry must be a date YYYY-MM-DD or a month YYYY-MM"), field)


def expiry_classes(items: Iterable[Item], key: Callable[[Item], tuple[date, str]]) -> list[list[Item]]:
    """`items` gathered into classes that look alike on the shelf, earliest expiry first, then by blinded lot.

    `key` gives an item's (expiry, blinded lot). The lot belongs to the class because it can be read on the label: two
    lots of one expiry, one of which holds a single type at the site, would otherwise tell that type.
    """
    classes: dict[tuple[date, str], list[Item]] = {}
    for item in items:
        classes.setdefault(key(item), []).append(item)
    return [classes[name] for name in sorted(classes)]
