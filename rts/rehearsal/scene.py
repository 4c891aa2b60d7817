"""What everybody in a rehearsal shares: the stage, the clock in hand, and how deeds are done and counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, datetime, time
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

from rts.access.actor import Actor
from rts.clock import HeldClock
from rts.conduct.perform import perform
from rts.refusal import Refusal
from rts.rehearsal.staging import Stage
from rts.trial.definition import TrialDefinition


class Scene:
    """A stage and its clock. `took` keeps the seconds of each deed, `refusals` counts failed rules by code."""

    def __init__(self, stage: Stage, clock: HeldClock) -> None:
        self.stage = stage
        self.clock = clock
        self.zone = ZoneInfo(stage.definition.depots[0].time_zone)
        self.refusals: Counter[str] = Counter()
        self.took: dict[str, list[float]] = defaultdict(list)

    @property
    def trial(self) -> str:
        """The trial's code."""
        return self.stage.trial

    @property
    def definition(self) -> TrialDefinition:
        """The trial's definition."""
        return self.stage.definition

    def at(self, on: date, at: time) -> None:
        """Set the clock, in the first depot's zone."""
        self.clock.set(datetime.combine(on, at, self.zone))

    def at_minute(self, on: date, minute: int) -> None:
        """Set the clock to a minute of the day, counted from midnight."""
        self.at(on, time(minute // 60, minute % 60))

    def do(self, deed: Callable[..., Any], actor: Actor, command: Any, *, sign: bool = False, key: str = "") -> Any:
        """Perform a deed, note how long it took, and count the rules of a refusal before raising it."""
        started = perf_counter()
        try:
            outcome = perform(
                self.stage.store,
                deed,
                actor,
                command,
                key=key or None,
                confirmation=self.stage.signed(actor) if sign else None,
            )
        except Refusal as refusal:
            self.refusals.update(refusal.rules)
            raise
        self.took[deed.__name__].append(perf_counter() - started)
        return outcome

    def refused(self, *rules: str, deed: Callable[..., Any], actor: Actor, command: Any, sign: bool = False) -> bool:
        """Whether the deed is refused for one of `rules`; any other refusal is a fault and raised."""
        try:
            self.do(deed, actor, command, sign=sign)
        except Refusal as refusal:
            if set(refusal.rules) <= set(rules):
                return True
            raise
        return False
