"""One leader, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from rts.jobs.leader import LOCK, FileLock, is_anyone_leading, leadership_of, lock_file
from rts.store.database import open_engine


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


def test_of_two_schedulers_one_leads(engine: Engine) -> None:
    first, second = leadership_of(engine), leadership_of(engine)
    try:
        assert first.take()
        assert not second.take()
        assert first.take()
    finally:
        first.release()


def test_the_next_leads_once_the_first_lets_go(engine: Engine) -> None:
    first, second = leadership_of(engine), leadership_of(engine)
    first.take()

    first.release()

    assert second.take()
    assert not first.take()
    second.release()


def test_anyone_can_see_whether_a_scheduler_leads(engine: Engine) -> None:
    leadership = leadership_of(engine)
    before = is_anyone_leading(engine)
    leadership.take()
    during = is_anyone_leading(engine)
    leadership.release()

    assert (before, during, is_anyone_leading(engine)) == (False, True, False)


def test_a_lost_connection_ends_the_leadership_and_another_takes_over(postgresql_url: str) -> None:
    engine = open_engine(postgresql_url)
    first, second = leadership_of(engine), leadership_of(engine)
    first.take()
    with engine.connect() as connection:
        holder = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE objid::bigint = :low"
        connection.execute(text(holder), {"low": LOCK % 2**32})

    assert second.take()
    assert not first.take()
    assert not first.take()
    second.release()
    engine.dispose()


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
def test_a_removed_lock_file_does_not_leave_two_leaders(engine: Engine) -> None:
    first, second = FileLock(lock_file(engine)), FileLock(lock_file(engine))
    first.take()
    lock_file(engine).unlink()

    assert second.take()
    assert not first.take()
    second.release()
