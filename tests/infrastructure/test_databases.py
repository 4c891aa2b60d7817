"""Every test of the store gets migrated databases of its own, on SQLite and on PostgreSQL."""

from collections.abc import Callable

import pytest
from sqlalchemy import inspect, make_url, text

from rts.store.database import open_engine


def tables(address: str) -> set[str]:
    engine = open_engine(address)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def create_table(address: str, name: str) -> None:
    engine = open_engine(address)
    try:
        with engine.connect().execution_options(rts_write=True) as connection:
            connection.execute(text(f"CREATE TABLE {name} (id integer)"))
            connection.commit()
    finally:
        engine.dispose()


def test_a_database_has_been_migrated(database_url: str) -> None:
    assert {"alembic_version", "kit", "audit_event"} <= tables(database_url)


def test_databases_of_one_test_are_apart(new_database: Callable[[], str]) -> None:
    first, second = new_database(), new_database()

    create_table(first, "left_behind")

    assert "left_behind" in tables(first)
    assert "left_behind" not in tables(second)
    assert "left_behind" not in tables(new_database())


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
def test_a_test_can_ask_for_sqlite_alone(database_url: str) -> None:
    assert make_url(database_url).get_backend_name() == "sqlite"


@pytest.mark.postgresql
@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
def test_a_test_can_ask_for_postgresql_alone(database_url: str) -> None:
    assert make_url(database_url).get_backend_name() == "postgresql"
