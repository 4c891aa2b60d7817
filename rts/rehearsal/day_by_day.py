"""A story played day by day: parcels in the morning, then people, then the night's orders."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time, timedelta
from time import perf_counter

from rts.access.actor import service
from rts.clock import HeldClock, local_date
from rts.conduct.expiring import SweepExpired, sweep_expired
from rts.conduct.resupplying import run_night
from rts.rehearsal.monitoring import Monitoring
from rts.rehearsal.parcels import Parcels
from rts.rehearsal.people import People
from rts.rehearsal.scene import Scene
from rts.rehearsal.staging import Stage
from rts.rehearsal.story import Story
from rts.store.tables import Shipment

LONGEST_TRIAL = timedelta(days=1500)  # a rehearsal that has not ended by then never would

# What is told while a rehearsal runs: steps done, steps in all, and words for the person who waits.
Progress = Callable[[int, int, str], None]


def unheard(_done: int, _total: int, _words: str) -> None:
    """Progress that nobody listens to."""


class Rehearsal:
    """Plays a story on a stage, day by day, on the clock in hand."""

    def __init__(
        self, stage: Stage, clock: HeldClock, story: Story, *, target: int, sites: tuple[str, ...], progress: Progress
    ) -> None:
        self.scene = Scene(stage, clock)
        self.story = story
        self.target = target
        self.progress = progress
        self.first_day = min(stage.definition.site(site).planned_opening for site in sites)
        self.parcels = Parcels(self.scene, story, sites, self.first_day)
        self.people = People(self.scene, story, sites, target)
        self.monitoring = Monitoring(self.scene, sites)

    def run(self) -> date:
        """Run every day until the last person has left the trial; returns that day."""
        today = self.first_day
        while not self.is_over:
            self.run_day(today)
            if today - self.first_day > LONGEST_TRIAL:
                raise RuntimeError("the rehearsal does not come to an end")
            today += timedelta(days=1)
        return today - timedelta(days=1)

    @property
    def is_over(self) -> bool:
        """Whether the target is reached and nobody is in screening or treatment."""
        people = self.people
        return people.target_reached_on is not None and all(course.state == "ended" for course in people.courses)

    @property
    def today(self) -> date:
        """The date in the first depot's zone."""
        return local_date(self.scene.clock.now(), self.scene.zone.key)

    def run_day(self, today: date) -> None:
        """One day in the plan's order: expiry at midnight, receipts, visits, randomisations, the night's orders."""
        self.begin_day(today)
        self.parcels.open_sites(today)
        self.parcels.receive(today)
        self.parcels.judge_quarantine(today)
        self.parcels.find_damage(today)
        self.scene.at(today, time(8, 45))
        self.parcels.pick_and_ship(Shipment.ship_on <= today)
        self.people.see_people(today)
        self.monitoring.visit_sites(today)
        self.scene.at(today, self.scene.definition.supply.night_run)
        self._order(today)
        randomised, finished = self.people.randomised, self.people.finished
        self.progress(
            randomised + finished,
            2 * self.target,
            f"day {(today - self.first_day).days}: {randomised} randomised, {finished} finished",
        )

    def begin_day(self, today: date) -> None:
        """Midnight: what has expired leaves the shelves."""
        self.scene.at(today, time(0, 5))
        self.scene.do(sweep_expired, service("expiry"), SweepExpired(self.scene.trial))

    def _order(self, today: date) -> None:
        started = perf_counter()
        report = run_night(self.scene.stage.store, service("resupply"), self.scene.trial, today)
        self.scene.took["run_night"].append(perf_counter() - started)
        self.scene.refusals.update(report.refused.values())
