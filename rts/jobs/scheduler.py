"""The scheduler: a process of its own that does what is due, minute by minute, if it is the leader.

APScheduler gives the ticks; what is due is decided by the installation's own clock (rts.jobs.due), which its
triggers do not know. Mail goes out on a tick of its own, so that a code break's notice never waits for a night run.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from types import FrameType

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from rts.access.actor import service
from rts.clock import SystemClock
from rts.installation import follow_recorded_clock
from rts.jobs.catalogue import WORK, errand, scheduled_jobs
from rts.jobs.due import DueJob, JobKey, due_jobs
from rts.jobs.leader import Leadership, leadership_of
from rts.jobs.runs import fail_interrupted_runs, finish_run, last_runs, last_success, start_run
from rts.notices.delivery import deliver_due, outbox_now
from rts.refusal import Message, Refusal, refuse, say
from rts.settings import Settings
from rts.store.transaction import Store
from rts.unexpected import places_of

log = logging.getLogger(__name__)

TICK_SECONDS = 60
WATCH_SECONDS = 0.5
DELIVERY = JobKey("delivery")
# Without a mail server there is nothing to try: the jobs page is reminded this often.
REMINDER = timedelta(days=1)


class Scheduler:
    """What one scheduler process does at each tick. Both ticks may run at once, each in its thread."""

    def __init__(self, store: Store, settings: Settings, leadership: Leadership) -> None:
        self._store = store
        self._settings = settings
        self._leadership = leadership
        self._was_leading = False
        self._guard = Lock()

    def run_due_jobs(self) -> int:
        """Run what is due, one job after the other; returns how many. Nothing when another scheduler leads."""
        done = 0
        if self._leads():
            with self._store.transaction() as tx:
                due = due_jobs(tx.now, scheduled_jobs(tx), last_runs(tx))
            for job in due:
                if not self._leads():
                    break
                run_job(self._store, self._settings, job)
                done += 1
        return done

    def deliver(self) -> None:
        """Send the mails that are due. A run is recorded when there is something to send."""
        if not self._leads():
            return
        with self._store.transaction() as tx:
            now, outbox, last = tx.now, outbox_now(tx), last_success(tx, DELIVERY)
        if not outbox.due:
            return
        if not self._settings.smtp_host and last is not None and now - last < REMINDER:
            return
        _record(self._store, DELIVERY, now, lambda run: _deliver(self._store, self._settings, run))

    def _leads(self) -> bool:
        """Whether this process leads. A new leader first closes the records of runs its predecessor died in."""
        with self._guard:
            leads = self._leadership.take()
            if leads:
                follow_recorded_clock(self._store)
                if not self._was_leading:
                    fail_interrupted_runs(self._store)
                    log.info("this scheduler leads")
            elif self._was_leading:
                log.warning("this scheduler leads no more")
            self._was_leading = leads
            return leads


def run_job(store: Store, settings: Settings, due: DueJob) -> None:
    """Run one job now and record the run, whatever becomes of it. An unexpected error is logged by its kind and place:
    what it says may hold an arm, and APScheduler would print it.
    """
    key = due.job.key
    _record(store, key, due.scheduled_for, lambda run: WORK[key.name](errand(store, settings, due, run)))


def _record(store: Store, key: JobKey, scheduled_for: datetime, work: Callable[[int], Message]) -> None:
    run = start_run(store, key, scheduled_for)
    outcome = "failed"
    message = say("Stopped by an unexpected error. The scheduler's log tells which.")
    try:
        message = work(run)
        outcome = "done"
    except Refusal as refusal:
        # What a sealed refusal says may depend on an arm.
        message = say("Refused; the audit trail tells why.") if refusal.sealed else refusal.failed[0].message
    except Exception as error:  # noqa: BLE001  the last door: beyond it APScheduler prints what the error says
        log.error("%s run %d: %s at %s", key.name, run, type(error).__name__, ", ".join(places_of(error)))
    finally:
        finish_run(store, run, outcome, message)
        log.info("%s run %d: %s", key.name, run, outcome)


def _deliver(store: Store, settings: Settings, run: int) -> Message:
    if not settings.smtp_host:
        with store.transaction() as tx:
            waiting = outbox_now(tx).waiting
        return say("No mail server is set (RTS_SMTP_HOST): %(count)d mails wait in the outbox.", count=waiting)
    delivery = deliver_due(store, settings, service(f"{DELIVERY.name} run {run}"))
    with store.transaction() as tx:
        stuck = outbox_now(tx).stuck
    facts = {"sent": delivery.sent, "failed": delivery.failed, "stuck": stuck, "error": delivery.unreachable}
    if stuck:
        message = say(
            "%(sent)d mails sent. %(stuck)d mails have not got through for half an hour or longer and are still tried. "
            "%(error)s",
            **facts,
        )
        raise refuse("unavailable", "mail.stuck", message)
    if delivery.unreachable:
        return say("The mail server cannot be reached; %(failed)d mails are tried again. %(error)s", **facts)
    if delivery.failed:
        return say("%(sent)d mails sent, %(failed)d refused by the mail server and tried again.", **facts)
    return say("%(sent)d mails sent.", **facts)


def run(store: Store, settings: Settings, *, parent: int | None = None, tick_seconds: float = TICK_SECONDS) -> None:
    """Be the scheduler until SIGTERM or SIGINT, or until the process number `parent`, which started this one, is
    gone. A job in hand is finished first. Call it in the main thread.
    """
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    leadership = leadership_of(store.engine)
    duties = Scheduler(store, settings, leadership)
    ticks = BackgroundScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )
    for tick in (duties.run_due_jobs, duties.deliver):
        ticks.add_job(
            tick,
            IntervalTrigger(seconds=tick_seconds, timezone=UTC),
            next_run_time=SystemClock().now(),
            name=tick.__name__,
        )
    try:
        ticks.start()
        # Asked for, not waited for: that a parent has died is told to nobody in a portable way.
        while not stopping and (parent is None or os.getppid() == parent):
            time.sleep(WATCH_SECONDS)
        ticks.shutdown()
    finally:
        leadership.release()
        for number, handler in before.items():
            signal.signal(number, handler)
