"""Deeds in processes of their own, as two servers do them: for races, and for deaths between two statements."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event

from rts.access.actor import Actor
from rts.access.sign_in import Confirmation
from rts.clock import HeldClock
from rts.conduct.perform import perform
from rts.installation import open_store
from rts.refusal import Refusal
from rts.store import locks
from rts.store.transaction import Store
from tests.world import World

SPAWN = multiprocessing.get_context("spawn")
PATIENCE_SECONDS = 60
# Long enough for the other process to come to the same place, short enough for one that waits for a lock.
MEETING_SECONDS = 1.5


@dataclass(frozen=True)
class Request:
    """One deed that a process is to do, by its place (`module:function`)."""

    deed: str
    actor: Actor
    command: Any
    key: str | None = None

    def do(self, store: Store) -> str:
        """Do it, signed; returns `done`, `again`, or the rules that refused it."""
        confirmation = None if self.actor.person_id is None else Confirmation(self.actor.person_id)
        try:
            outcome = perform(
                store, _named(self.deed), self.actor, self.command, key=self.key, confirmation=confirmation
            )
        except Refusal as refusal:
            return " ".join(refusal.rules)
        return "again" if outcome.again else "done"


@dataclass(frozen=True)
class Place:
    """Where a process finds the installation, and what time it is there."""

    address: str
    folder: Path
    at: datetime

    @classmethod
    def of(cls, world: World) -> Place:
        return cls(world.database_url, world.store.lists.parent, world.clock.now())

    def open(self) -> Store:
        return open_store(self.address, self.folder / "keyring.json", self.folder / "lists", clock=HeldClock(self.at))


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


# The write transaction of SQLite, and the audit chain's row on PostgreSQL. A kit's row stays locked: the last guard.
LOCKING = {"sqlite": ("BEGIN IMMEDIATE", "BEGIN"), "postgresql": ("FOR NO KEY UPDATE", "")}


def _switch_the_locks_off(store: Store) -> None:
    locks.take = lambda _session, *_names: None
    locking, plain = LOCKING[store.engine.dialect.name]

    @event.listens_for(store.engine, "before_cursor_execute", retval=True)
    def _plainly(*arguments: Any) -> tuple[str, Any]:
        statement, parameters = arguments[2], arguments[3]
        return statement.replace(locking, plain), parameters


def _meet_after(place: str, barrier: Any) -> None:
    """Make every call of the function at `place` wait, with its answer in hand, until the other process has one too."""
    module, _, name = place.partition(":")
    original = _named(place)

    def meeting(*arguments: Any, **named: Any) -> Any:
        found = original(*arguments, **named)
        # The other cannot come when it waits for this one's lock: that is what locks are for.
        with suppress(threading.BrokenBarrierError):
            barrier.wait(MEETING_SECONDS)
        return found

    setattr(importlib.import_module(module), name, meeting)


def _work(
    place: Place, requests: Sequence[Request], start: Any, answers: Any, locked: bool, meet_after: str, meeting: Any
) -> None:
    store = place.open()
    if not locked:
        _switch_the_locks_off(store)
    if meet_after:
        _meet_after(meet_after, meeting)
    start.wait(PATIENCE_SECONDS)
    for request in requests:
        answers.put(request.do(store))
    store.engine.dispose()


def race(
    world: World, first: Sequence[Request], second: Sequence[Request], *, locked: bool = True, meet_after: str = ""
) -> list[str]:
    """Do both lists of requests at once, in two processes; returns all answers, sorted.

    With `meet_after` (`module:function`) the processes wait for each other once, right after that call, so that both
    act on what they read before either has written.
    """
    start, meeting, answers = SPAWN.Barrier(2), SPAWN.Barrier(2), SPAWN.Queue()
    place = Place.of(world)
    workers = [
        SPAWN.Process(target=_work, args=(place, requests, start, answers, locked, meet_after, meeting))
        for requests in (first, second)
    ]
    for worker in workers:
        worker.start()
    got = sorted(answers.get(timeout=PATIENCE_SECONDS) for _ in [*first, *second])
    for worker in workers:
        worker.join(PATIENCE_SECONDS)
        assert worker.exitcode == 0
        worker.close()
    return got


def die_before(store: Store, step: int, *, files: bool = False) -> None:
    """Kill this process, as the system would, before it sends its `step`th SQL statement (commits included). With
    `files`, flushing a file and putting it in its place are steps as well.
    """
    taken = 0

    def count(*_arguments: Any) -> None:
        nonlocal taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(store.engine, "before_cursor_execute", count)
    event.listen(store.engine, "commit", count)
    if files:
        os.fsync = _counted(os.fsync, count)
        Path.replace = _counted(Path.replace, count)  # type: ignore[method-assign]


def _counted(original: Any, count: Any) -> Any:
    def counted(*arguments: Any) -> Any:
        count()
        return original(*arguments)

    return counted


def statements_sent(world: World, request: Request) -> int:
    """How many SQL statements, commits included, doing `request` takes."""
    sent = 0

    def count(*_arguments: Any) -> None:
        nonlocal sent
        sent += 1

    for name in ("before_cursor_execute", "commit"):
        event.listen(world.store.engine, name, count)
    assert request.do(world.store) == "done"
    for name in ("before_cursor_execute", "commit"):
        event.remove(world.store.engine, name, count)
    return sent


@contextmanager
def forked(work: Any) -> Iterator[int]:
    """Run `work` in a forked child and give its exit status: the signal that killed it as a negative number."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    yield os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dies_before(place: Place, request: Request, statement: int) -> bool:
    """Whether a process doing `request` was killed before its `statement`th statement; False when it ended first."""

    def work() -> None:
        store = place.open()
        die_before(store, statement)
        request.do(store)

    with forked(work) as status:
        assert status in (0, -signal.SIGKILL)
        return status != 0
