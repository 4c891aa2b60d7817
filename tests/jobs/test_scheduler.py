"""The scheduler as it really runs: processes of their own, killed and replaced."""

from __future__ import annotations

import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from rts.clock import SystemClock
from rts.conduct.installing import MoveClock, move_clock, set_up
from rts.conduct.perform import perform
from rts.installation import follow_recorded_clock, open_store
from rts.jobs.due import JobKey
from rts.jobs.leader import is_anyone_leading
from rts.jobs.runs import start_run
from rts.rehearsal.staging import OPERATOR
from rts.store.tables import JobRun
from rts.store.transaction import Store

PATIENCE_SECONDS = 30
CHECKOUT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "tests.jobs.scheduler_process"]


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Iterator[Store]:
    """An installation of the test kind on the computer's clock, without a trial."""
    store = open_store(database_url, tmp_path / "keyring.json", tmp_path / "lists", create_keyring=True)
    set_up(store, "test", OPERATOR)
    yield store
    store.engine.dispose()


@pytest.fixture
def start(installation: Store, database_url: str, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a scheduler on the installation; those still running are killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start_one() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*PROGRAM, database_url, str(tmp_path)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Read what a scheduler says until `words` come."""
    assert process.stdout is not None
    deadline = time.monotonic() + PATIENCE_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            line = process.stdout.readline()
            if words in line:
                return
            if not line:
                break
    raise AssertionError(f"the scheduler did not say {words!r}")


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def outcomes(store: Store, job: str) -> list[str]:
    with store.transaction() as tx:
        return list(tx.session.scalars(select(JobRun.outcome).where(JobRun.job == job).order_by(JobRun.id)))


def test_of_two_processes_one_leads_and_the_other_takes_over_when_it_is_killed(
    installation: Store, start: Callable[[], subprocess.Popen[str]]
) -> None:
    first = start()
    wait_for(first, "this scheduler leads")
    second = start()
    start_run(installation, JobKey("expiry"), datetime(2026, 1, 6, tzinfo=UTC))  # what the first is in the middle of
    time.sleep(2)
    assert outcomes(installation, "expiry") == ["running"]

    first.kill()

    wait_for(second, "this scheduler leads")
    wait_until(lambda: outcomes(installation, "expiry") == ["failed"])
    assert is_anyone_leading(installation.engine)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_scheduler_and_frees_the_leadership(
    installation: Store, start: Callable[[], subprocess.Popen[str]], number: int
) -> None:
    process = start()
    wait_for(process, "this scheduler leads")

    process.send_signal(number)

    wait_for(process, "stopped")
    assert process.wait(PATIENCE_SECONDS) == 0
    assert not is_anyone_leading(installation.engine)


def test_what_is_due_after_the_clock_was_moved_runs_at_the_next_tick(
    installation: Store, start: Callable[[], subprocess.Popen[str]]
) -> None:
    wait_for(start(), "this scheduler leads")
    assert outcomes(installation, "checkpoint") == []

    perform(installation, move_clock, OPERATOR, MoveClock(int(timedelta(days=3).total_seconds())))

    wait_until(lambda: outcomes(installation, "checkpoint") == ["done"])
    with installation.transaction() as tx:
        made_for = tx.session.scalar(select(func.max(JobRun.scheduled_for)))
    assert isinstance(installation.clock, SystemClock)
    follow_recorded_clock(installation)
    assert made_for == installation.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)


def test_a_scheduler_ends_when_the_process_that_started_it_is_gone(
    installation: Store, database_url: str, tmp_path: Path
) -> None:
    starter = "import os, subprocess, sys;subprocess.Popen([*sys.argv[1:], str(os.getpid())]); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", starter, *PROGRAM, database_url, str(tmp_path)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        wait_for(parent, "this scheduler leads")

        parent.kill()

        wait_for(parent, "stopped")
        wait_until(lambda: not is_anyone_leading(installation.engine))
