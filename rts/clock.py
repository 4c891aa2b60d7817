"""The only source of the present moment.

Stored times are UTC; pages show the site's zone. Training and test installations may move the
clock (`rts.conduct.move_clock`), production never.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo


class Clock(Protocol):
    """Anything that tells the time, in UTC."""

    def now(self) -> datetime:
        """The present moment, timezone-aware, in UTC."""
        ...


class SystemClock:
    """The computer's clock, moved by `offset` (zero in production)."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset

    def now(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(UTC) + self.offset


class HeldClock:
    """A clock that stands still until it is told to move: rehearsals and tests."""

    def __init__(self, at: datetime) -> None:
        self.set(at)

    def now(self) -> datetime:
        """The moment last set, in UTC."""
        return self._at

    def set(self, at: datetime) -> None:
        """Put the clock to `at`. Raises ValueError for a naive datetime."""
        if at.tzinfo is None:
            raise ValueError("a clock is set to a datetime with its zone")
        self._at = at.astimezone(UTC)

    def advance(self, by: timedelta) -> None:
        """Move the clock forward by `by`."""
        self._at += by


def local_date(at: datetime, zone: str) -> date:
    """The calendar date of the moment `at` in the IANA zone `zone`."""
    return at.astimezone(ZoneInfo(zone)).date()


def utc_text(at: datetime) -> str:
    """`at` as `YYYY-MM-DDTHH:MM:SS.ffffffZ`, the form used in audit events and exports."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
