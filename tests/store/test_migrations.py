"""The schema's history, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import func, inspect, select

from rts.store import migrations
from rts.store.database import open_engine
from rts.store.tables import Base, Kit
from tests.world import World


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite'}"
    return str(request.getfixturevalue("postgresql_url"))


def revisions() -> list[str]:
    """Every revision, oldest first."""
    script = ScriptDirectory.from_config(migrations._config())
    return [revision.revision for revision in script.walk_revisions()][::-1]


def test_an_empty_database_is_brought_up_and_holds_what_the_code_says(empty_url: str) -> None:
    engine = open_engine(empty_url)

    migrations.upgrade(engine)

    assert set(inspect(engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    migrations.check(engine)  # raises at the first difference
    engine.dispose()


def test_a_second_upgrade_changes_nothing(empty_url: str) -> None:
    engine = open_engine(empty_url)
    migrations.upgrade(engine)

    migrations.upgrade(engine)

    migrations.check(engine)
    engine.dispose()


def test_every_step_upward_starts_from_the_one_before(empty_url: str) -> None:
    engine = open_engine(empty_url)

    for revision in revisions():
        migrations.upgrade(engine, revision)

    migrations.check(engine)
    engine.dispose()


def test_the_history_is_one_line() -> None:
    script = ScriptDirectory.from_config(migrations._config())

    assert len(script.get_heads()) == 1
    assert revisions()[0] == "0001"


def test_rows_of_a_running_trial_survive_the_way_up(world: World) -> None:
    """A later migration keeps what stands: the trial staged at the head goes on working after another upgrade."""
    subject = world.randomise("CN02")
    before = world.rows()

    migrations.upgrade(world.store.engine)

    assert world.rows() == before
    assert world.dispense(subject).startswith("K")
    with world.store.transaction() as tx:
        assert tx.session.scalar(select(func.count()).select_from(Kit)) == 1140
