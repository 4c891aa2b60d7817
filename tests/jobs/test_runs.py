"""The record of runs, and what a crash leaves of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from rts.jobs.due import JobKey, LastRun
from rts.jobs.runs import fail_interrupted_runs, finish_run, last_runs, last_success, start_run
from rts.refusal import say
from rts.store.tables import JobRun
from tests.world import World

MOMENT = datetime(2026, 1, 6, 13, 0, tzinfo=UTC)
CHECKPOINT = JobKey("checkpoint")


def outcomes(world: World) -> list[tuple[str, str]]:
    with world.store.transaction() as tx:
        return [(row.outcome, row.message) for row in tx.session.scalars(select(JobRun).order_by(JobRun.id))]


def test_a_run_is_on_record_before_it_has_ended(world: World) -> None:
    start_run(world.store, CHECKPOINT, MOMENT)

    assert outcomes(world) == [("running", "")]


def test_a_run_that_a_crash_interrupted_is_marked_failed_by_the_next_leader(world: World) -> None:
    finish_run(world.store, start_run(world.store, CHECKPOINT, MOMENT), "done", say("fine"))
    start_run(world.store, CHECKPOINT, MOMENT + timedelta(days=1))

    assert fail_interrupted_runs(world.store) == 1

    assert [outcome for outcome, _ in outcomes(world)] == ["done", "failed"]
    assert fail_interrupted_runs(world.store) == 0


def test_a_run_declared_dead_stays_so_when_it_ends_after_all(world: World) -> None:
    run = start_run(world.store, CHECKPOINT, MOMENT)
    fail_interrupted_runs(world.store)

    finish_run(world.store, run, "done", say("late"))

    assert [outcome for outcome, _ in outcomes(world)] == ["failed"]


def test_the_last_run_of_each_job_is_told_with_its_failures(world: World) -> None:
    began = world.clock.now()
    finish_run(world.store, start_run(world.store, CHECKPOINT, MOMENT - timedelta(days=1)), "failed", say("x"))
    finish_run(world.store, start_run(world.store, CHECKPOINT, MOMENT), "failed", say("x"))
    world.clock.advance(timedelta(minutes=10))
    finish_run(world.store, start_run(world.store, CHECKPOINT, MOMENT), "failed", say("x"))
    finish_run(world.store, start_run(world.store, JobKey("expiry", 1), MOMENT), "done", say("x"))

    with world.store.transaction() as tx:
        found = last_runs(tx)
        success = last_success(tx, JobKey("expiry", 1)), last_success(tx, CHECKPOINT)

    later = began + timedelta(minutes=10)
    assert found == {
        CHECKPOINT: LastRun(MOMENT, later, is_done=False, failures=2),
        JobKey("expiry", 1): LastRun(MOMENT, later, is_done=True, failures=0),
    }
    assert success == (later, None)
