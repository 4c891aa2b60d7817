"""Time of a randomisation beside its floor, and how it grows with the size of the trial."""

# ruff: noqa: S608  the tables are named here, not by anybody from outside

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.store.tables import AuditChain, AuditEvent, ListFile
from tests.bench.measure import (
    Report,
    in_turns,
    randomisations,
    recorded_statements,
    replay,
    stock_every_site,
    time_each,
)
from tests.world import World

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

MILLION = 1_000_000
EACH = 7  # randomisations a site: about as many as the trial's cap allows
WARM_UP = 20
GOAL_MS = 15.0
GOAL_GROWTH = 1.2


@contextmanager
def _staged(address: str, folder: Path, prepare: Callable[[World], None]) -> Iterator[tuple[World, list[Any]]]:
    """A trial with stocked sites, and its randomisations: the first have been done, the others not yet."""
    folder.mkdir()
    with World.make(address, folder, sites=None) as world:  # type: ignore[arg-type]
        world.do(release_lot, "quality", ReleaseLot(world.stage.trial, "BL-2601", "QP"))
        runs = randomisations(world, stock_every_site(world), EACH)
        prepare(world)
        time_each("warm-up", runs[:WARM_UP])
        yield world, runs[WARM_UP:]


def test_a_randomisation_beside_its_bare_statements(new_database: Callable[..., str], tmp_path: Path) -> None:
    with _staged(new_database(), tmp_path / "world", lambda _world: None) as (world, runs):
        kind = world.store.engine.dialect.name
        world.store.engine.dispose()
        before = new_database(world.database_url)
        with recorded_statements(world.store.engine) as transactions:
            deed = time_each(f"randomise, {kind}, one client", runs)
        floor = replay(before, transactions, f"bare statements, {kind}")
        report = Report(f"randomisation-{kind}")
        statements = round(sum(map(len, transactions)) / len(transactions), 1)
        report.add(deed, floor, statements=statements, **below(deed.median, GOAL_MS, "median ms"))
        report.publish()


def below(measured: float, goal: float, of_what: str) -> dict[str, Any]:
    """The goal of a row, and whether it was met."""
    return {"goal": f"{of_what} at most {goal:g}", "met": "yes" if measured <= goal else "no"}


def test_a_randomisation_among_a_million_entries_and_events(new_database: Callable[..., str], tmp_path: Path) -> None:
    """A trial that stays empty beside one that grows while its service runs, their deeds in turns: what else the
    machine does slows both alike. The connections keep the plans they made while both were small, and the database has
    counted nothing anew; then it has.
    """
    with (
        _staged(new_database(), tmp_path / "small", lambda _world: None) as (small, of_small),
        _staged(new_database(), tmp_path / "large", _count_nothing_anew) as (large, of_large),
    ):
        kind = large.store.engine.dialect.name
        report = Report(f"growth-{kind}")
        _grow(large)
        half = len(of_small) // 2
        parts = {"not counted anew": slice(half), "counted anew": slice(half, None)}
        for state, part in parts.items():
            if state == "counted anew":
                for world in (small, large):
                    _maintain(world, "ANALYZE")
            names = (f"randomise, {kind}, empty trial", f"randomise, {kind}, a million, {state}")
            empty, grown = in_turns(names, of_small[part], of_large[part])
            growth = grown.median / empty.median
            report.add(empty)
            report.add(grown, growth=round(growth, 2), **below(growth, GOAL_GROWTH, "growth"))
        report.publish()


def _maintain(world: World, *statements: str) -> None:
    with world.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _count_nothing_anew(world: World) -> None:
    """Until told: a planner that knows a small trial must not be misled by it in a large one."""
    if world.store.engine.dialect.name == "postgresql":
        tables = ("list_entry", "audit_event", "audit_detail")
        _maintain(world, *(f"ALTER TABLE {table} SET (autovacuum_enabled = false)" for table in tables))


COUNTING = "WITH RECURSIVE counting (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counting WHERE n + 1 < :many)"
ENTRIES = f"""INSERT INTO list_entry (list_id, stratum, position, record) {COUNTING}
    SELECT :list, :stratum, 1000 + n, :record FROM counting"""
EVENTS = f"""INSERT INTO audit_event (id, chain_id, number, at, actor, role, organisation, action, object_type,
    object_id, detail_digest, definition, software, hash) {COUNTING}
    SELECT :first_id + n, :chain, :first_number + n, :at, 'bench', 'service', 'RTS', 'bench', 'trial', 'bench',
    :digest, 1, '0', :digest FROM counting"""
DETAILS = f"""INSERT INTO audit_detail (event_id, salt, detail) {COUNTING}
    SELECT :first_id + n, :digest, '{{}}' FROM counting"""


def _grow(world: World) -> None:
    """A million list entries more in the active list and a million audit events more in the trial's chain."""
    is_postgresql = world.store.engine.dialect.name == "postgresql"
    with world.store.engine.connect().execution_options(rts_write=True) as connection, connection.begin():
        chain = connection.execute(select(AuditChain).where(AuditChain.trial_id.is_not(None))).one()
        active = select(ListFile.id).where(ListFile.kind == "subjects", ListFile.state == "active")
        list_id = connection.execute(active).scalar_one()
        strata = world.stage.definition.strata
        for stratum in strata:
            entries = {"many": MILLION // len(strata), "list": list_id, "stratum": stratum}
            connection.execute(text(ENTRIES), {**entries, "record": secrets.token_bytes(156)})
        first_id = connection.execute(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).scalar_one() + 1
        digest = secrets.token_hex(32)
        events = {"many": MILLION, "first_id": first_id, "digest": digest}
        connection.execute(
            text(EVENTS), {**events, "chain": chain.id, "first_number": chain.count + 1, "at": chain.last_at}
        )
        connection.execute(text(DETAILS), events)
        grown = text("UPDATE audit_chain SET count = count + :n WHERE id = :id")
        connection.execute(grown, {"n": MILLION, "id": chain.id})
        if is_postgresql:
            connection.execute(
                text("SELECT setval(pg_get_serial_sequence('audit_event', 'id'), max(id)) FROM audit_event")
            )
    # Written out now, and not while the deeds are timed.
    _maintain(world, "CHECKPOINT" if is_postgresql else "PRAGMA wal_checkpoint(TRUNCATE)")
