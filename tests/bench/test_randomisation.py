"""Time of a randomisation beside its floor, and how it grows with the size of the trial."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.store.tables import AuditChain, AuditDetail, AuditEvent, ListEntry, ListFile
from tests.bench.measure import Report, Timing, randomisations, recorded_statements, replay, stock_every_site, time_each
from tests.world import World

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

MILLION = 1_000_000
BATCH = 20_000
EACH = 5
EVENT = {
    "actor": "bench",
    "role": "service",
    "organisation": "RTS",
    "action": "bench",
    "object_type": "trial",
    "object_id": "bench",
    "detail_digest": "0" * 64,
    "definition": 1,
    "software": "0",
    "hash": "0" * 64,
    "site_id": None,
}


def _staged(address: str, folder: Path) -> tuple[World, list[str]]:
    world = World.make(address, folder, sites=None)  # type: ignore[arg-type]
    world.do(release_lot, "quality", ReleaseLot(world.stage.trial, "BL-2601", "QP"))
    return world, stock_every_site(world)


def test_a_randomisation_beside_its_bare_statements(new_database: Callable[..., str], tmp_path: Path) -> None:
    with _staged(new_database(), tmp_path)[0] as world:
        kind = world.store.engine.dialect.name
        sites = [site.code for site in world.stage.definition.sites]
        runs = randomisations(world, sites, EACH)
        time_each("warm-up", runs[:5])
        before = _copy(new_database, world)
        with recorded_statements(world.store.engine) as transactions:
            deed = time_each(f"randomise, {kind}, one client", runs[5:])
        floor = replay(before, transactions, f"bare statements, {kind}")
        report = Report(f"randomisation-{kind}")
        report.add(deed, floor, statements=round(sum(map(len, transactions)) / len(transactions), 1))
        report.publish()


def _copy(new_database: Callable[..., str], world: World) -> str:
    world.store.engine.dispose()
    return new_database(world.database_url)


def _grow(world: World) -> None:
    """A million list entries more in the active list and a million audit events more in the trial's chain."""
    with world.store.engine.begin() as connection:
        chain = connection.execute(select(AuditChain).where(AuditChain.trial_id.is_not(None))).one()
        active = select(ListFile.id).where(ListFile.kind == "subjects", ListFile.state == "active")
        list_id = connection.execute(active).scalar_one()
        first_event = connection.execute(text("SELECT max(id) FROM audit_event")).scalar_one() + 1
        strata = world.stage.definition.strata
        record = secrets.token_bytes(156)
        for start in range(0, MILLION, BATCH):
            batch = range(start, start + BATCH)
            entries = [
                {"list_id": list_id, "stratum": strata[n % 4], "position": 1000 + n // 4, "record": record}
                for n in batch
            ]
            connection.execute(insert(ListEntry), entries)
            events = [
                {
                    **EVENT,
                    "id": first_event + n,
                    "chain_id": chain.id,
                    "number": chain.count + 1 + n,
                    "at": chain.last_at,
                }
                for n in batch
            ]
            connection.execute(insert(AuditEvent), events)
            details = [{"event_id": first_event + n, "salt": "0" * 64, "detail": "{}"} for n in batch]
            connection.execute(insert(AuditDetail), details)
        grown = text("UPDATE audit_chain SET count = count + :n WHERE id = :id")
        connection.execute(grown, {"n": MILLION, "id": chain.id})
        if world.store.engine.dialect.name == "postgresql":
            connection.execute(
                text("SELECT setval(pg_get_serial_sequence('audit_event', 'id'), (SELECT max(id) FROM audit_event))")
            )
    with world.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def test_a_randomisation_among_a_million_entries_and_events(new_database: Callable[..., str], tmp_path: Path) -> None:
    report = None
    timings: list[Timing] = []
    for size in ("empty", "a million"):
        folder = tmp_path / size.replace(" ", "-")
        folder.mkdir()
        with _staged(new_database(), folder)[0] as world:
            kind = world.store.engine.dialect.name
            report = report or Report(f"growth-{kind}")
            if size != "empty":
                _grow(world)
            runs = randomisations(world, [site.code for site in world.stage.definition.sites], EACH)
            time_each("warm-up", runs[:5])
            timings.append(time_each(f"randomise, {kind}, trial {size}", runs[5:]))
    if report is not None:
        report.add(timings[0])
        report.add(timings[1], timings[0], goal_ratio=1.2)
        report.publish()
