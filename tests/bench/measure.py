"""What the benches share: a trial with stocked sites, the bare statements of a deed as its floor, and a table of
results.

Nothing here asserts a time. A figure is told beside a floor measured in the same run, so that a slow machine slows
both.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, select, text, update

from rts.access.permissions import Role
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.store.database import open_engine
from rts.store.tables import Kit, Site
from tests.world import GOOD_VALUES, World

RESULTS = Path("build/bench")
KITS_AT_A_SITE = 20


@dataclass(frozen=True)
class Timing:
    """Milliseconds of repeated runs of one thing: by the clock, and of those how many this process was computing (where
    that was measured).
    """

    name: str
    milliseconds: tuple[float, ...]
    computing: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def p95(self) -> float:
        return sorted(self.milliseconds)[int(0.95 * (len(self.milliseconds) - 1))]


@dataclass
class Report:
    """The rows of one bench, printed as a table and kept as JSON."""

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, timing: Timing, floor: Timing | None = None, **facts: Any) -> None:
        row: dict[str, Any] = {
            "what": timing.name,
            "n": len(timing.milliseconds),
            "median_ms": round(timing.median, 3),
            "p95_ms": round(timing.p95, 3),
        }
        if timing.computing:
            row["python_ms"] = round(statistics.median(timing.computing), 3)
        if floor is not None:
            row["floor_ms"] = round(floor.median, 3)
            row["ratio_to_floor"] = round(timing.median / floor.median, 2)
        self.rows.append({**row, **facts})

    def publish(self) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{self.title}.json").write_text(json.dumps(self.rows, indent=1))
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        widths = [max(len(name), *(len(str(row.get(name, ""))) for row in self.rows)) for name in columns]
        lines = [
            self.title,
            *(
                "  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True))
                for line in [columns, *[[row.get(name, "") for name in columns] for row in self.rows]]
            ),
        ]
        print("\n" + "\n".join(lines))  # noqa: T201  the table is what a bench is for


def time_each(name: str, runs: Sequence[Callable[[], Any]]) -> Timing:
    """How long each of `runs` takes."""
    taken, computing = [], []
    for run in runs:
        began, began_computing = time.perf_counter(), time.process_time()
        run()
        computing.append((time.process_time() - began_computing) * 1000)
        taken.append((time.perf_counter() - began) * 1000)
    return Timing(name, tuple(taken), tuple(computing))


def in_turns(
    names: tuple[str, str], first: Sequence[Callable[[], Any]], second: Sequence[Callable[[], Any]]
) -> tuple[Timing, Timing]:
    """How long each of two like sequences takes, one run of the first, one of the second, and so on."""
    turns = [(time_each("", [one]), time_each("", [other])) for one, other in zip(first, second, strict=True)]
    both = []
    for name, timings in zip(names, zip(*turns, strict=True), strict=True):
        milliseconds = tuple(timing.milliseconds[0] for timing in timings)
        both.append(Timing(name, milliseconds, tuple(timing.computing[0] for timing in timings)))
    return both[0], both[1]


Statement = tuple[str, Any]


@contextmanager
def recorded_statements(engine: Engine) -> Iterator[list[list[Statement]]]:
    """The statements that the engine sends, one list a transaction."""
    transactions: list[list[Statement]] = []

    def begun(_connection: Any) -> None:
        transactions.append([])

    def sent(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool) -> None:
        if not statement.startswith("BEGIN"):
            # Rows written by one long INSERT are told as many too, but travel as one set of parameters.
            transactions[-1].append((statement, (executemany and isinstance(parameters, list), parameters)))

    event.listen(engine, "begin", begun, insert=True)
    event.listen(engine, "before_cursor_execute", sent)
    try:
        yield transactions
    finally:
        event.remove(engine, "begin", begun)
        event.remove(engine, "before_cursor_execute", sent)


def replay(address: str, transactions: Sequence[Sequence[Statement]], name: str) -> Timing:
    """The floor: the same statements, bare, on a connection of the same driver with the same settings, one commit
    each.
    """
    engine = open_engine(address)
    connection = engine.raw_connection()
    cursor = connection.cursor()
    taken = []
    is_sqlite = engine.dialect.name == "sqlite"
    for statements in transactions:
        began = time.perf_counter()
        if is_sqlite:
            cursor.execute("BEGIN IMMEDIATE")
        for statement, (executemany, parameters) in statements:
            (cursor.executemany if executemany else cursor.execute)(statement, parameters)
            if cursor.description is not None:
                cursor.fetchall()
        connection.commit()
        taken.append((time.perf_counter() - began) * 1000)
    cursor.close()
    connection.close()
    engine.dispose()
    return Timing(name, tuple(taken))


def stock_every_site(world: World) -> list[str]:
    """Put kits of the first lot onto the shelf of every site, straight into the database; returns the sites' codes."""
    with world.store.engine.begin() as connection:
        if world.store.engine.dialect.name == "sqlite":
            connection.execute(text("SELECT 1"))
        sites = connection.execute(select(Site.id, Site.code).order_by(Site.code)).all()
        kits = connection.execute(select(Kit.id).where(Kit.state == "in_depot").order_by(Kit.position)).scalars().all()
        for index, (site_id, _code) in enumerate(sites):
            share = kits[index * KITS_AT_A_SITE : (index + 1) * KITS_AT_A_SITE]
            connection.execute(
                update(Kit).where(Kit.id.in_(share)).values(state="available", site_id=site_id, depot_id=None)
            )
        connection.execute(update(Site).values(state="open"))
    return [code for _id, code in sites]


def randomisations(world: World, sites: Sequence[str], each: int) -> list[Callable[[], Any]]:
    """Screen `each` subjects a site; returns the randomisations, not yet done."""
    runs: list[Callable[[], Any]] = []
    for _round in range(each):
        for site in sites:
            command = RandomiseSubject(world.stage.trial, world.screen(site), world.answers(), GOOD_VALUES)
            actor = world.stage.at_site(Role.INVESTIGATOR, site)
            runs.append(lambda command=command, actor=actor: world.do(randomise_subject, actor, command, sign=True))
    return runs
