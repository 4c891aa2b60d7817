"""What the scheduled jobs did, and what about them needs a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute

from rts.access.actor import Actor
from rts.access.permissions import Permission
from rts.refusal import Message
from rts.store.kept_words import recalled
from rts.store.tables import Depot, JobRun, Notice, Trial
from rts.store.transaction import Transaction

# Every job runs daily: when none has begun for longer, no scheduler is at work.
SILENT_AFTER = timedelta(hours=26)
# A mail that failed this often has been tried for half an hour or longer.
STUCK_AFTER_ATTEMPTS = 6


@dataclass(frozen=True)
class RunRow:
    """One run: for which moment it was due, when it ran (UTC), how it ended (`running`, `done`, `failed`), and what it
    did, None while it runs.
    """

    id: int
    job: str
    trial: str
    depot: str
    scheduled_for: datetime
    started_at: datetime
    finished_at: datetime | None
    outcome: str
    message: Message | None


@dataclass(frozen=True)
class RunsPage:
    """The runs of one page, the latest first, and how many there are."""

    runs: tuple[RunRow, ...]
    total: int


@dataclass(frozen=True)
class Alarms:
    """What needs a person: the jobs whose latest run failed, mails that do not get through, and a scheduler that has
    begun nothing since `silent_since` (None: it is at work, or nothing is due yet).
    """

    failed: tuple[RunRow, ...]
    stuck_mails: int
    is_silent: bool
    silent_since: datetime | None


@dataclass(frozen=True)
class OutboxRow:
    """The mails of one kind: how many wait, how many were sent, and when the last was. Never what they say."""

    kind: str
    waiting: int
    stuck: int
    sent: int
    last_sent_at: datetime | None


def job_names(tx: Transaction) -> list[str]:
    """The names of the jobs that ever ran."""
    return list(tx.session.scalars(select(JobRun.job).distinct().order_by(JobRun.job)))


def runs_page(
    tx: Transaction, actor: Actor, *, job: str = "", outcome: str = "", page: int = 1, size: int = 50
) -> RunsPage:
    """Runs of the installation and of the trials in which `actor` may see jobs."""
    conditions = [_seen(JobRun.trial_id, actor)]
    if job:
        conditions.append(JobRun.job == job)
    if outcome:
        conditions.append(JobRun.outcome == outcome)
    total = tx.session.scalar(select(func.count()).select_from(JobRun).where(*conditions)) or 0
    return RunsPage(_rows(tx, *conditions, limit=size, offset=(page - 1) * size), total)


def alarms(tx: Transaction, actor: Actor) -> Alarms:
    """What needs a person now."""
    latest = (
        select(func.max(JobRun.id))
        .where(JobRun.outcome != "running")
        .group_by(JobRun.job, JobRun.trial_id, JobRun.depot_id)
    )
    failed = _rows(tx, _seen(JobRun.trial_id, actor), JobRun.id.in_(latest), JobRun.outcome == "failed", limit=50)
    stuck = (
        select(func.count())
        .select_from(Notice)
        .where(_seen(Notice.trial_id, actor), Notice.sent_at.is_(None), Notice.attempts >= STUCK_AFTER_ATTEMPTS)
    )
    last = tx.session.scalar(select(func.max(JobRun.started_at)))
    since = last or tx.installation.created_at
    is_silent = tx.now - since > SILENT_AFTER
    return Alarms(failed, tx.session.scalar(stuck) or 0, is_silent, last)


def outbox_rows(tx: Transaction, actor: Actor) -> list[OutboxRow]:
    """The outbox by kind of mail."""
    waits = Notice.sent_at.is_(None)
    rows = tx.session.execute(
        select(
            Notice.kind,
            func.count().filter(waits),
            func.count().filter(and_(waits, Notice.attempts >= STUCK_AFTER_ATTEMPTS)),
            func.count().filter(Notice.sent_at.is_not(None)),
            func.max(Notice.sent_at),
        )
        .where(_seen(Notice.trial_id, actor))
        .group_by(Notice.kind)
        .order_by(Notice.kind)
    )
    return [OutboxRow(kind, waiting, stuck, sent, last) for kind, waiting, stuck, sent, last in rows]


def _seen(column: InstrumentedAttribute[int | None], actor: Actor) -> ColumnElement[bool]:
    trials = {grant.trial_id for grant in actor.grants_of(Permission.JOBS_VIEW)}
    return true() if None in trials else or_(column.is_(None), column.in_(trials))


def _rows(tx: Transaction, *conditions: ColumnElement[bool], limit: int, offset: int = 0) -> tuple[RunRow, ...]:
    found = tx.session.execute(
        select(JobRun, Trial.code, Depot.code)
        .outerjoin(Trial, Trial.id == JobRun.trial_id)
        .outerjoin(Depot, Depot.id == JobRun.depot_id)
        .where(*conditions)
        .order_by(JobRun.id.desc())
        .limit(limit)
        .offset(offset)
    )
    return tuple(
        RunRow(
            run.id,
            run.job,
            trial or "",
            depot or "",
            run.scheduled_for,
            run.started_at,
            run.finished_at,
            run.outcome,
            recalled(run.message) if run.message else None,
        )
        for run, trial, depot in found
    )
