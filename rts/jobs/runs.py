"""The record of what ran: a row for every run, begun before it starts and ended whatever becomes of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import case, func, select, update

from rts.jobs.due import JobKey, LastRun
from rts.refusal import Message, say
from rts.store.kept_words import kept
from rts.store.tables import JobRun
from rts.store.transaction import Store, Transaction


def start_run(store: Store, key: JobKey, scheduled_for: datetime) -> int:
    """Record that a run begins; returns its number."""
    with store.transaction(write=True) as tx:
        run = JobRun(
            job=key.name,
            trial_id=key.trial_id,
            depot_id=key.depot_id,
            scheduled_for=scheduled_for,
            started_at=tx.now,
            outcome="running",
            message="",
        )
        tx.session.add(run)
        tx.session.flush()
        return run.id


def finish_run(store: Store, run: int, outcome: str, message: Message) -> None:
    """Record how a run ended: `done` or `failed`, in words that hold no secret and no arm.

    A run that another leader has declared dead in the meantime stays so.
    """
    with store.transaction(write=True) as tx:
        tx.session.execute(
            update(JobRun)
            .where(JobRun.id == run, JobRun.outcome == "running")
            .values(finished_at=tx.now, outcome=outcome, message=kept(message))
        )


def fail_interrupted_runs(store: Store) -> int:
    """Mark the runs that a scheduler left unfinished when it died; returns how many. Only for a new leader."""
    message = say("The scheduler stopped in the middle of this run. It is repeated; what was done is not done twice.")
    with store.transaction(write=True) as tx:
        ended = tx.session.scalars(
            update(JobRun)
            .where(JobRun.outcome == "running")
            .values(finished_at=tx.now, outcome="failed", message=kept(message))
            .returning(JobRun.id)
        )
        return len(ended.all())


def last_runs(tx: Transaction) -> dict[JobKey, LastRun]:
    """The last run of every job, by the moment it was for."""
    latest = select(
        JobRun.job, JobRun.trial_id, JobRun.depot_id, func.max(JobRun.scheduled_for).label("scheduled_for")
    ).group_by(JobRun.job, JobRun.trial_id, JobRun.depot_id)
    moment = latest.subquery()
    rows = tx.session.execute(
        select(
            JobRun.job,
            JobRun.trial_id,
            JobRun.depot_id,
            JobRun.scheduled_for,
            func.max(JobRun.started_at),
            func.max(case((JobRun.outcome == "done", 1), else_=0)),
            func.sum(case((JobRun.outcome == "failed", 1), else_=0)),
        )
        .join(
            moment,
            (JobRun.job == moment.c.job)
            & JobRun.trial_id.is_not_distinct_from(moment.c.trial_id)
            & JobRun.depot_id.is_not_distinct_from(moment.c.depot_id)
            & (JobRun.scheduled_for == moment.c.scheduled_for),
        )
        .group_by(JobRun.job, JobRun.trial_id, JobRun.depot_id, JobRun.scheduled_for)
    )
    return {
        JobKey(name, trial, depot): LastRun(scheduled_for, started_at, bool(done), failures)
        for name, trial, depot, scheduled_for, started_at, done, failures in rows
    }


def last_success(tx: Transaction, key: JobKey) -> datetime | None:
    """When the last run of a job that ended well had begun (UTC)."""
    return tx.session.scalar(
        select(func.max(JobRun.started_at)).where(
            JobRun.job == key.name,
            JobRun.trial_id.is_not_distinct_from(key.trial_id),
            JobRun.depot_id.is_not_distinct_from(key.depot_id),
            JobRun.outcome == "done",
        )
    )
