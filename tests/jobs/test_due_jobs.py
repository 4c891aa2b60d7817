"""When a job is due: a pure question of the installation's clock, the job's local time and its last run."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.jobs.due import JobKey, LastRun, ScheduledJob, due_jobs, latest_moment

KEY = JobKey("resupply", 1, 1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SHANGHAI = ScheduledJob(KEY, time(21, 0), "Asia/Shanghai", LONG_AGO)  # 13:00 UTC


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def done(moment: str) -> dict[JobKey, LastRun]:
    return {KEY: LastRun(at(moment), at(moment), is_done=True, failures=0)}


def failed(moment: str, started: str, failures: int) -> dict[JobKey, LastRun]:
    return {KEY: LastRun(at(moment), at(started), is_done=False, failures=failures)}


def moments(now: str, last: dict[JobKey, LastRun], job: ScheduledJob = SHANGHAI) -> list[datetime]:
    return [due.scheduled_for for due in due_jobs(at(now), [job], last)]


def test_a_job_is_due_from_its_very_moment_on() -> None:
    yesterday = done("2026-01-05 13:00")

    assert moments("2026-01-06 12:59:59", yesterday) == []
    assert moments("2026-01-06 13:00:00", yesterday) == [at("2026-01-06 13:00")]


def test_a_job_that_has_run_is_not_due_again_before_its_next_moment() -> None:
    assert moments("2026-01-06 13:01", done("2026-01-06 13:00")) == []
    assert moments("2026-01-07 12:59", done("2026-01-06 13:00")) == []


def test_a_run_late_at_night_still_stands_for_its_own_evening() -> None:
    late = "2026-01-06 17:30"  # 1:30 of the 7th in Shanghai

    assert moments(late, done("2026-01-05 13:00")) == [at("2026-01-06 13:00")]


def test_days_missed_are_made_up_by_one_run_for_the_latest() -> None:
    assert moments("2026-02-06 02:00", done("2026-01-05 13:00")) == [at("2026-02-05 13:00")]


def test_a_new_trial_owes_no_run_for_the_time_before_it() -> None:
    new = ScheduledJob(KEY, time(21, 0), "Asia/Shanghai", at("2026-01-06 13:00"))

    assert moments("2026-01-07 12:59", {}, new) == []
    assert moments("2026-01-07 13:00", {}, new) == [at("2026-01-07 13:00")]


def test_each_depot_keeps_its_own_local_time() -> None:
    shanghai = ScheduledJob(JobKey("resupply", 1, 1), time(21, 0), "Asia/Shanghai", LONG_AGO)
    new_york = ScheduledJob(JobKey("resupply", 1, 2), time(21, 0), "America/New_York", LONG_AGO)
    last = {
        shanghai.key: LastRun(at("2026-01-05 13:00"), at("2026-01-05 13:00"), is_done=True, failures=0),
        new_york.key: LastRun(at("2026-01-06 02:00"), at("2026-01-06 02:00"), is_done=True, failures=0),
    }

    at_nine_in_shanghai = due_jobs(at("2026-01-06 13:00"), [shanghai, new_york], last)

    assert [due.job for due in at_nine_in_shanghai] == [shanghai]


def test_midnight_belongs_to_the_day_it_begins() -> None:
    midnight = ScheduledJob(KEY, time(0, 0), "Asia/Shanghai", LONG_AGO)

    assert moments("2026-01-05 15:59:59", {}, midnight) == [at("2026-01-04 16:00")]
    assert moments("2026-01-05 16:00:00", {}, midnight) == [at("2026-01-05 16:00")]


def test_a_time_that_the_spring_night_leaves_out_comes_an_hour_later_that_night() -> None:
    # Berlin, 29 March 2026: 2:00 becomes 3:00 at 1:00 UTC.
    assert latest_moment(time(2, 30), "Europe/Berlin", at("2026-03-29 12:00")) == at("2026-03-29 01:30")
    assert latest_moment(time(2, 30), "Europe/Berlin", at("2026-03-29 01:29")) == at("2026-03-28 01:30")


def test_a_time_that_the_autumn_night_repeats_comes_once() -> None:
    # Berlin, 25 October 2026: 3:00 becomes 2:00 at 1:00 UTC; 2:30 is shown at 0:30 and at 1:30 UTC.
    job = ScheduledJob(KEY, time(2, 30), "Europe/Berlin", LONG_AGO)
    first = at("2026-10-25 00:30")

    assert moments("2026-10-25 00:30", done("2026-10-24 00:30"), job) == [first]
    assert moments("2026-10-25 01:30", done("2026-10-25 00:30"), job) == []
    assert moments("2026-10-26 01:30", done("2026-10-25 00:30"), job) == [at("2026-10-26 01:30")]


@pytest.mark.parametrize(("failures", "minutes"), [(1, 10), (2, 20), (3, 40), (4, 80)])
def test_a_failed_run_is_repeated_after_a_growing_pause(failures: int, minutes: int) -> None:
    last = failed("2026-01-06 13:00", "2026-01-06 13:05", failures)
    again = at("2026-01-06 13:05") + timedelta(minutes=minutes)

    assert due_jobs(again - timedelta(seconds=1), [SHANGHAI], last) == []
    assert [due.scheduled_for for due in due_jobs(again, [SHANGHAI], last)] == [at("2026-01-06 13:00")]


def test_the_next_moment_waits_for_no_pause() -> None:
    assert moments("2026-01-07 13:00", failed("2026-01-06 13:00", "2026-01-07 12:59", 9)) == [at("2026-01-07 13:00")]


def test_jobs_due_together_run_in_the_order_of_the_catalogue() -> None:
    jobs = [ScheduledJob(JobKey(name), time(6, 0), "UTC", LONG_AGO) for name in ("overdue", "calendars", "checkpoint")]

    assert [due.job for due in due_jobs(at("2026-01-06 06:00"), jobs, {})] == jobs


@given(
    now=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001
    zone=st.sampled_from(["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
)
def test_the_latest_moment_is_never_ahead_nor_two_days_back_and_finds_itself_again(
    now: datetime, zone: str, hour: int, minute: int
) -> None:
    moment_now = now.replace(tzinfo=UTC)

    moment = latest_moment(time(hour, minute), zone, moment_now)

    assert timedelta() <= moment_now - moment < timedelta(days=1, hours=2)
    assert latest_moment(time(hour, minute), zone, moment) == moment
