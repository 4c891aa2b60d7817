"""What is due now: each job has a local time of day, and a run is owed for the last time it came round. Pure.

The installation's clock decides, which a training or test installation may move; a scheduler's own triggers follow the
computer's clock and would not notice. A moment is found anew from the date and zone each time, so daylight
saving moves it with the people there: a time that a spring night leaves out comes as much later as the clock jumped,
one that an autumn night repeats comes the first time only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

# A failed run is repeated after this long, then after twice as long, and so on, until its next moment comes.
FIRST_RETRY = timedelta(minutes=10)


@dataclass(frozen=True)
class JobKey:
    """A job, of one trial or one depot where it is theirs."""

    name: str
    trial_id: int | None = None
    depot_id: int | None = None


@dataclass(frozen=True)
class ScheduledJob:
    """A job that runs daily at the local time `at` in the IANA zone `zone`, for the first time after `since` (UTC)."""

    key: JobKey
    at: time
    zone: str
    since: datetime


@dataclass(frozen=True)
class LastRun:
    """The last run of a job: the moment it was for, when it began, and how many runs for that moment have failed."""

    scheduled_for: datetime
    started_at: datetime
    is_done: bool
    failures: int


@dataclass(frozen=True)
class DueJob:
    """A job to run now, for the moment `scheduled_for` (UTC)."""

    job: ScheduledJob
    scheduled_for: datetime


def latest_moment(at: time, zone: str, now: datetime) -> datetime:
    """The last moment (UTC) up to and including `now` at which clocks in `zone` showed `at`."""
    place = ZoneInfo(zone)
    day = now.astimezone(place).date() + timedelta(days=1)
    while True:
        moment = datetime.combine(day, at, place).astimezone(UTC)
        if moment <= now:
            return moment
        day -= timedelta(days=1)


def due_jobs(now: datetime, jobs: Iterable[ScheduledJob], last_runs: Mapping[JobKey, LastRun]) -> list[DueJob]:
    """The jobs to run at `now`, in the order given. Days missed are made up by one run, for the latest of them."""
    due = []
    for job in jobs:
        moment = latest_moment(job.at, job.zone, now)
        last = last_runs.get(job.key)
        if moment <= job.since:
            continue
        if last is not None and last.scheduled_for >= moment and (last.is_done or now < _next_attempt(last)):
            continue
        due.append(DueJob(job, moment))
    return due


def _next_attempt(last: LastRun) -> datetime:
    return last.started_at + FIRST_RETRY * (1 << max(0, min(last.failures - 1, 10)))
