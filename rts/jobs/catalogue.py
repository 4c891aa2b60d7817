"""The jobs there are, when each is due, and what it does. Declared here, in code: none is stored or added at run time.

Each is a deed, or a few, done by a service named after the job and its run. What a job reports is read by
blinded people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, time

from sqlalchemy import select

from rts.access.actor import Actor, service
from rts.clock import local_date
from rts.conduct.checkpointing import MakeCheckpoints, make_checkpoints
from rts.conduct.expiring import SweepExpired, sweep_expired
from rts.conduct.perform import perform
from rts.conduct.reporting_overdue import ReportOverdue, report_overdue
from rts.conduct.resupplying import run_night
from rts.conduct.warning_of_calendars import WarnOfCalendars, warn_of_calendars
from rts.conduct.warning_of_lists import WarnOfLowLists, warn_of_low_lists
from rts.jobs.due import DueJob, JobKey, ScheduledJob
from rts.jobs.runs import last_success
from rts.refusal import Message, refuse, say
from rts.settings import Settings
from rts.store import definitions
from rts.store.tables import DefinitionVersion, Depot, Trial
from rts.store.transaction import Store, Transaction

# Local times of day: the sweep before the morning's first dispensing, the warnings before people sit down to work.
SWEEP_AT = time(0, 30)
WARN_AT = time(6, 0)
CHECKPOINT_AT = time(0, 0)  # UTC

RESUPPLY = "resupply"


@dataclass(frozen=True)
class Errand:
    """A job to do now: for which moment, by which service, for which trial and depot."""

    store: Store
    settings: Settings
    due: DueJob
    actor: Actor
    trial: str
    depot: str


def errand(store: Store, settings: Settings, due: DueJob, run: int) -> Errand:
    """The errand of the run number `run`."""
    key = due.job.key
    with store.transaction() as tx:
        trial = tx.session.get_one(Trial, key.trial_id).code if key.trial_id else ""
        depot = tx.session.get_one(Depot, key.depot_id).code if key.depot_id else ""
    return Errand(store, settings, due, service(f"{key.name} run {run}"), trial, depot)


def scheduled_jobs(tx: Transaction) -> list[ScheduledJob]:
    """Every daily job of the installation, in the order in which those due at once are run.

    A trial's jobs keep the time of its first depot, the night run that of each depot.
    """
    jobs = []
    loaded = select(DefinitionVersion.id).where(DefinitionVersion.trial_id == Trial.id).exists()
    for trial in tx.session.scalars(select(Trial).where(loaded).order_by(Trial.id)):
        definition = definitions.of_trial(tx, trial)
        zone = definition.depots[0].time_zone
        for name, at in (
            ("expiry", SWEEP_AT),
            ("overdue", WARN_AT),
            ("low_entries", WARN_AT),
            ("calendars", WARN_AT),
        ):
            jobs.append(ScheduledJob(JobKey(name, trial.id), at, zone, trial.created_at))
        rows = {row.code: row.id for row in tx.session.scalars(select(Depot).where(Depot.trial_id == trial.id))}
        jobs += [
            ScheduledJob(
                JobKey(RESUPPLY, trial.id, rows[depot.code]),
                definition.supply.night_run,
                depot.time_zone,
                trial.created_at,
            )
            for depot in definition.depots
        ]
    jobs.append(ScheduledJob(JobKey("checkpoint"), CHECKPOINT_AT, "UTC", tx.installation.created_at.astimezone(UTC)))
    return jobs


def _sweep(job: Errand) -> Message:
    done = perform(job.store, sweep_expired, job.actor, SweepExpired(job.trial))
    return say("%(count)s kits marked as expired.", count=done.ids["kits"])


def _report_overdue(job: Errand) -> Message:
    done = perform(job.store, report_overdue, job.actor, ReportOverdue(job.trial))
    return say("%(count)s shipments reported as overdue.", count=done.ids["shipments"])


def _warn_of_low_lists(job: Errand) -> Message:
    with job.store.transaction() as tx:
        since = last_success(tx, job.due.job.key)
    perform(job.store, warn_of_low_lists, job.actor, WarnOfLowLists(job.trial, since))
    # The same words whatever was found: how full a list is, is for unblinded eyes.
    return say("The statisticians are told when a list runs low.")


def _warn_of_calendars(job: Errand) -> Message:
    with job.store.transaction() as tx:
        since = last_success(tx, job.due.job.key)
    done = perform(job.store, warn_of_calendars, job.actor, WarnOfCalendars(job.trial, since))
    return say("%(count)s calendars reported as running out.", count=done.ids["places"])


def _resupply(job: Errand) -> Message:
    night = local_date(job.due.scheduled_for, job.due.job.zone)
    report = run_night(job.store, job.actor, job.trial, night, depot=job.depot)
    facts = {"night": night.isoformat(), "sites": report.looked_at, "shipments": len(report.shipments)}
    if report.refused:
        # Which rule stopped an order may depend on an arm: only that it failed is told.
        message = say(
            "Night of %(night)s: %(sites)d sites looked at, %(shipments)d shipments requested; the orders of "
            "%(failed)d sites failed and are tried again.",
            failed=len(report.refused),
            **facts,
        )
        raise refuse("unavailable", "resupply.unfinished", message)
    return say("Night of %(night)s: %(sites)d sites looked at, %(shipments)d shipments requested.", **facts)


def _checkpoint(job: Errand) -> Message:
    names = tuple(name.strip() for name in job.settings.checkpoint_recipients.split(",") if name.strip())
    done = perform(job.store, make_checkpoints, job.actor, MakeCheckpoints(names))
    return say(
        "%(chains)s chains signed, the checkpoints written to %(people)s people.",
        chains=done.ids["chains"],
        people=done.ids["recipients"],
    )


WORK: dict[str, Callable[[Errand], Message]] = {
    "expiry": _sweep,
    "overdue": _report_overdue,
    "low_entries": _warn_of_low_lists,
    "calendars": _warn_of_calendars,
    RESUPPLY: _resupply,
    "checkpoint": _checkpoint,
}
