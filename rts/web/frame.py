"""What every page knows: the frame around its content, and how numbers, times and sentences are shown.

The app calls `install(app)` once and gives each page a `frame` (see `Frame`). Moments come in UTC and are shown in
the zone given; relative times are measured from the `now` given, so that a moved clock moves them too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import flask_babel
from flask import Flask

from rts.clock import local_date


@dataclass(frozen=True)
class Room:
    """An entry of the left rail (the bottom bar on a phone); `icon` is a name in `_macros/icons.html`."""

    label: str
    url: str
    icon: str
    current: bool = False


@dataclass(frozen=True)
class Frame:
    """What the base page `_frame.html` shows around the content.

    `environment` is `production`, `training` or `test`; `now` is UTC; `zone` is the IANA zone of the place shown;
    `language` is `en` or `zh_Hans`. Before sign-in `person`, `role`, `place` and `rooms` are empty.
    """

    environment: str
    now: datetime
    zone: str
    language: str
    version: str
    build: str
    sign_out_url: str
    language_url: str
    trial: str = ""
    place: str = ""
    person: str = ""
    role: str = ""
    home_url: str = "/"
    rooms: Sequence[Room] = ()


def install(app: Flask) -> None:
    """Give the templates of `app` the filters that the components use."""
    app.jinja_env.filters.update(
        local_time=local_time,
        local_day=local_day,
        zone_offset=zone_offset,
        utc_time=utc_time,
        utc_iso=utc_iso,
        relative_time=relative_time,
        relative_day=relative_day,
        weekday=weekday,
        trios=trios,
    )


def local_time(at: datetime, zone: str) -> str:
    """The moment `at` on the wall clock of `zone`: `2026-11-03 14:05`."""
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def local_day(at: datetime, zone: str) -> str:
    """The calendar day of the moment `at` in `zone`, ISO."""
    return local_date(at, zone).isoformat()


def zone_offset(at: datetime, zone: str) -> str:
    """The distance of `zone` from UTC at that moment: `UTC+8`, `UTC+5:30`, `UTC−3`, `UTC`."""
    offset = at.astimezone(ZoneInfo(zone)).utcoffset()
    minutes = 0 if offset is None else round(offset.total_seconds() / 60)
    if not minutes:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'+' if minutes > 0 else '−'}{hours}{f':{rest:02}' if rest else ''}"


def utc_time(at: datetime) -> str:
    """The moment in UTC, for the hover text: `2026-11-03 06:05:09 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def utc_iso(at: datetime) -> str:
    """The moment in UTC for the `datetime` attribute: `2026-11-03T06:05:09Z`."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def relative_time(at: datetime, now: datetime) -> str:
    """How far `at` is from `now` in the reader's language: `in 3 days`, `2 hours ago`, `now` within a minute."""
    distance = at - now
    if abs(distance.total_seconds()) < 60:
        return str(flask_babel.gettext("now"))
    return str(flask_babel.format_timedelta(distance, granularity="minute", threshold=1, add_direction=True))


def relative_day(day: date, today: date) -> str:
    """How many calendar days `day` is from `today`: `today`, `tomorrow`, `yesterday`, `in 3 days`, `3 days ago`."""
    days = (day - today).days
    if days == 0:
        return str(flask_babel.gettext("today"))
    if abs(days) == 1:
        return str(flask_babel.gettext("tomorrow") if days > 0 else flask_babel.gettext("yesterday"))
    if days > 0:
        return str(flask_babel.ngettext("in %(num)d day", "in %(num)d days", days))
    return str(flask_babel.ngettext("%(num)d day ago", "%(num)d days ago", -days))


def weekday(day: date | str) -> str:
    """The name of the weekday of a date or ISO text in the reader's language; empty when the text is no date."""
    if isinstance(day, str):
        try:
            day = date.fromisoformat(day.strip())
        except ValueError:
            return ""
    return str(flask_babel.format_date(day, "EEEE"))


def trios(number: str) -> list[str]:
    """`number` in pieces for the eye: runs of five or more digits in threes from the left, the rest as it is.

    The pieces joined are the number again. No run ends in a single digit: seven digits are 3, 2 and 2.
    Letters and dashes stay with the digits beside them: `R100482-7` is `R100` and `482-7`.
    """
    pieces = [""]
    for run in re.findall(r"[0-9]+|[^0-9]+", number):
        first, *others = _in_threes(run) if run.isdecimal() else [run]
        pieces[-1] += first
        pieces += others
    return pieces


def _in_threes(digits: str) -> list[str]:
    if len(digits) < 5:
        return [digits]
    pairs = [digits[-4:-2], digits[-2:]] if len(digits) % 3 == 1 else []
    return [digits[at : at + 3] for at in range(0, len(digits) - 2 * len(pairs), 3)] + pairs
