"""What happens to people and parcels in a rehearsal, drawn from one seed. Pure.

Every person, parcel and box has a stream of chance of its own, named after it: the story is the same whatever the
system answers, in whatever order it works, and whichever arm anybody is in.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

from rts.trial.definition import Factor, Level, TrialDefinition

Item = TypeVar("Item")

SLICE = 2**53  # the numbers a float holds exactly
FEMALE_SHARE = 0.9  # lupus is a disease of women, nine in ten
AGES = (20, 63)  # clear of the edge years of an 18 to 65 rule
VALUE_SPAN = 10.0  # how far beyond a cut point the values of an open-ended level are drawn
CODE_BREAK_AMONG = (3, 12)  # whose code is broken: the third to twelfth person randomised
OPENING_HOURS = {"visit": (9 * 60, 12 * 60), "consent": (12 * 60, 13 * 60), "randomisation": (13 * 60, 17 * 60)}


@dataclass(frozen=True)
class Chances:
    """How likely each event is, and within which days. SIRIUS's numbers as they were planned.

    `replacement` and `box_kept` (a kit never comes back) are per visit, `kit_damage` per kit received, `shipment_loss`
    and `excursion` per shipment, `slip` per handing-over or randomisation (a mistyped number, a forgotten answer, a
    double click). Days are inclusive; `left_over` are units in a kit that comes back.
    """

    screening_days: tuple[int, int] = (7, 21)
    screen_failure: float = 0.25
    dropout_per_28_days: float = 0.02
    replacement: float = 0.01
    replacement_days: tuple[int, int] = (1, 14)
    left_over: tuple[int, int] = (0, 4)
    box_kept: float = 0.02
    kit_damage: float = 0.005
    shipment_loss: float = 0.003
    excursion: float = 0.01
    excursion_days: tuple[int, int] = (3, 10)
    excursion_rejected: float = 0.3
    slip: float = 0.01


PLANNED = Chances()


class Chance:
    """An endless stream of chance: SHA-256 in counter mode over the seed and the stream's name."""

    def __init__(self, seed: int, *name: object) -> None:
        self._name = "\x1f".join(["rts/rehearsal/1", str(seed), *map(str, name)]).encode()
        self._counter = 0

    def share(self) -> float:
        """A number from 0 up to, but not including, 1."""
        block = hashlib.sha256(self._name + b"\x00" + self._counter.to_bytes(8, "big")).digest()
        self._counter += 1
        return (int.from_bytes(block[:8], "big") >> 11) / SLICE

    def happens(self, probability: float) -> bool:
        """Whether an event of this probability happens."""
        return self.share() < probability

    def whole(self, first: int, last: int) -> int:
        """A whole number from `first` to `last`, both included."""
        return first + int(self.share() * (last - first + 1))

    def one_of(self, items: Sequence[Item]) -> Item:
        """One of `items`."""
        return items[self.whole(0, len(items) - 1)]

    def wait(self, rate: float) -> float:
        """The waiting time for the next event of a Poisson process with `rate` events per unit of time."""
        return -math.log1p(-self.share()) / rate


@dataclass(frozen=True)
class Person:
    """Somebody who gives consent at a site, and all that will happen to them.

    Minutes count from midnight. `shifts` are days from a visit's due date, by visit code. `days_in_treatment` is when
    they drop out, if the treatment lasts as long. `replaced_after`: the days after a visit on which its kit proves lost
    or spoilt. `left_over` are the units left in the kit of a visit when it comes back, without `never_returned` ones.
    The last three are slips of those who look after them.
    """

    site: str
    number: int
    consent_on: date
    consent_minute: int
    screening_days: int
    fails_screening: bool
    failed_criterion: str
    year_of_birth: int
    sex: str
    values: dict[str, float]
    randomisation_minute: int
    visit_minute: int
    shifts: dict[str, int]
    days_in_treatment: int
    replaced_after: dict[str, int]
    left_over: dict[str, int]
    never_returned: frozenset[str]
    mistyped_visits: frozenset[str]
    forgets_an_answer: bool
    clicks_twice: bool


@dataclass(frozen=True)
class ParcelFate:
    """What happens to a shipment; `decision_days` after the receipt of an excursion its kits are judged."""

    is_lost: bool
    has_excursion: bool
    decision_days: int
    is_rejected: bool


@dataclass(frozen=True)
class BoxFate:
    """What happens to a kit: damaged when it arrives, or `shelf_days` later if it still lies there; or nothing."""

    arrives_damaged: bool
    shelf_days: int | None


@dataclass(frozen=True)
class CodeBreakPlan:
    """Whose code is broken (counted by order of randomisation from 1), and how many days after randomisation."""

    nth_randomised: int
    days_after: int


@dataclass(frozen=True)
class Story:
    """The story of one seed for one trial."""

    definition: TrialDefinition
    seed: int
    chances: Chances = PLANNED

    def people_of(self, site: str) -> Iterator[Person]:
        """Those who come to `site`, in order, without end: a Poisson process from its planned opening.

        The planned rate is that of randomisations; screenings are more frequent by the share that fails.
        """
        place = self.definition.site(site)
        rate = place.planned_rate / (1 - self.chances.screen_failure)
        arrivals = Chance(self.seed, "arrivals", site)
        elapsed = 0.0
        number = 0
        while True:
            elapsed += arrivals.wait(rate)
            number += 1
            yield self._person(site, number, place.planned_opening + timedelta(days=int(elapsed)))

    def _person(self, site: str, number: int, consent_on: date) -> Person:
        chances, definition = self.chances, self.definition

        def stream(*name: object) -> Chance:
            return Chance(self.seed, "person", site, number, *name)

        who, screening, course = stream("who"), stream("screening"), stream("course")
        answered = [criterion.code for criterion in definition.criteria if criterion.rule == "confirm"]
        handing_over = [visit for visit in definition.visits if any(visit.kits.values())]
        daily_dropout = -math.log1p(-chances.dropout_per_28_days) / 28
        return Person(
            site=site,
            number=number,
            consent_on=consent_on,
            consent_minute=who.whole(*OPENING_HOURS["consent"]),
            year_of_birth=consent_on.year - who.whole(*AGES),
            sex="female" if who.happens(FEMALE_SHARE) else "male",
            values={factor.code: _value(stream("value", factor.code), factor) for factor in definition.factors},
            screening_days=screening.whole(*chances.screening_days),
            fails_screening=screening.happens(chances.screen_failure),
            failed_criterion=screening.one_of(answered),
            randomisation_minute=screening.whole(*OPENING_HOURS["randomisation"]),
            forgets_an_answer=screening.happens(chances.slip),
            clicks_twice=screening.happens(chances.slip),
            visit_minute=course.whole(*OPENING_HOURS["visit"]),
            days_in_treatment=1 + int(course.wait(daily_dropout)),
            shifts={
                visit.code: stream("shift", visit.code).whole(-visit.window_before, visit.window_after)
                for visit in definition.visits
            },
            replaced_after={
                visit.code: chance.whole(*chances.replacement_days)
                for visit in handing_over
                if (chance := stream("replacement", visit.code)).happens(chances.replacement)
            },
            left_over={visit.code: stream("left over", visit.code).whole(*chances.left_over) for visit in handing_over},
            never_returned=frozenset(
                visit.code for visit in handing_over if stream("box kept", visit.code).happens(chances.box_kept)
            ),
            mistyped_visits=frozenset(
                visit.code for visit in handing_over if stream("typing", visit.code).happens(chances.slip)
            ),
        )

    def parcel(self, site: str, nth: int) -> ParcelFate:
        """What happens to the `nth` shipment to `site`, counted from 1."""
        chance = Chance(self.seed, "parcel", site, nth)
        return ParcelFate(
            is_lost=chance.happens(self.chances.shipment_loss),
            has_excursion=chance.happens(self.chances.excursion),
            decision_days=chance.whole(*self.chances.excursion_days),
            is_rejected=chance.happens(self.chances.excursion_rejected),
        )

    def box(self, site: str, nth: int, place: int) -> BoxFate:
        """What happens to the kit at `place` (by kit number, from 1) in the `nth` shipment to `site`.

        Half of the damage shows on receipt, half on the shelf within a month.
        """
        chance = Chance(self.seed, "box", site, nth, place)
        is_damaged, shows_on_receipt, days = (
            chance.happens(self.chances.kit_damage),
            chance.happens(0.5),
            chance.whole(1, 28),
        )
        return BoxFate(is_damaged and shows_on_receipt, days if is_damaged and not shows_on_receipt else None)

    def code_break(self) -> CodeBreakPlan:
        """The one emergency of the trial."""
        chance = Chance(self.seed, "code break")
        return CodeBreakPlan(chance.whole(*CODE_BREAK_AMONG), chance.whole(5, 60))


def _value(chance: Chance, factor: Factor) -> float:
    """A value of a stratification factor: each level is as likely as the others."""
    level: Level = chance.one_of(factor.levels)
    step = 10.0**-factor.decimals
    low = factor.minimum if level.at_least is None else level.at_least
    high = factor.maximum if level.below is None else level.below - step
    high = min(high, low + VALUE_SPAN)
    return round(low + chance.whole(0, round((high - low) / step)) * step, factor.decimals)
