"""How much of a kit was taken, by the count of what came back. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Intake:
    """Units of one kit: how many were taken, and how many should have been; `expected` is None where nothing says."""

    taken: int
    expected: int | None

    @property
    def share(self) -> float | None:
        """Taken as a share of expected; above 1 when too many were. None where nothing was expected."""
        return self.taken / self.expected if self.expected else None


def intake(held: int, left: int, a_day: int | None, given_on: date, until: date) -> Intake:
    """What was taken of a kit that held `held` units, of which `left` came back.

    `a_day` units were to be taken on each day from `given_on` until the day before `until`: that of the next kit, or of
    the return if there was none; never more than the kit held. Raises ValueError when more came back than there was.
    """
    if not 0 <= left <= held:
        raise ValueError("more units came back than the kit held")
    expected = None if a_day is None else min(held, a_day * max(0, (until - given_on).days))
    return Intake(held - left, expected)
