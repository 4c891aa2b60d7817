"""The unit of work: state, kit ledger, outgoing notices and audit events commit together or not at all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Insert, insert, or_, select
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from rts.clock import Clock
from rts.entropy import Entropy
from rts.refusal import Refusal, refuse, say
from rts.store import audit
from rts.store.database import BUSY_TIMEOUT_MS
from rts.store.tables import Base, Installation, ListFile, Site, Trial
from rts.vault.vault import Opener, Vault


class Doer(Protocol):
    """Who does a deed, as the audit trail names them: a person, or a service with its job run."""

    @property
    def name(self) -> str:
        """User name, or service and run."""
        ...

    @property
    def organisation(self) -> str:
        """The organisation they belong to."""
        ...


WRITER_TIMEOUT_S = BUSY_TIMEOUT_MS / 1000


def _no_answer() -> Refusal:
    return refuse(
        "unavailable",
        "store.unavailable",
        say("The database did not answer, so nothing was recorded. Try again; if it persists, tell the operator."),
    )


@dataclass
class Store:
    """The database with what a transaction needs beside it: clock, random source, vault, and the folder of sealed
    lists. `is_production` once the installation's row has said so: it never changes.
    """

    engine: Engine
    clock: Clock
    entropy: Entropy
    vault: Vault
    lists: Path
    is_production: bool = False
    # SQLite has one writer at a time and lets the others ask again and again, so that under load one of them may never
    # be heard: the threads of a process queue here instead, and wake each other.
    _writers: Lock = field(default_factory=Lock, repr=False, compare=False)

    @contextmanager
    def _turn(self, *, write: bool) -> Iterator[None]:
        if not write or self.engine.dialect.name != "sqlite":
            yield
            return
        if not self._writers.acquire(timeout=WRITER_TIMEOUT_S):
            raise _no_answer()
        try:
            yield
        finally:
            self._writers.release()

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Transaction]:
        """Begin a transaction; commit it when the block ends, roll back when it raises.

        A database that is full, locked or gone becomes a `Refusal` with code `unavailable`; a value that it cannot
        hold, one with code `invalid`.
        """
        options = {"rts_write": write}
        if self.engine.dialect.name == "postgresql":
            options["postgresql_readonly"] = not write
        try:
            with self._turn(write=write), Session(self.engine, expire_on_commit=False) as session:
                session.info["rts_write"] = write
                session.connection(execution_options=options)
                tx = Transaction(self, session)
                try:
                    yield tx
                    if write:
                        tx.finish()
                        session.commit()
                except BaseException:
                    tx.undo()
                    raise
                finally:
                    tx.close()
        except DataError as error:
            raise refuse(
                "invalid",
                "store.value",
                say("A value is too long, too large, or holds a character that cannot be stored."),
            ) from error
        except (DBAPIError, PoolTimeout) as error:
            if isinstance(error, OperationalError | PoolTimeout) or error.connection_invalidated:
                raise _no_answer() from error
            raise

    def environment(self) -> str:
        """`production`, `training` or `test`, as recorded when the database was made."""
        with self.transaction() as tx:
            return tx.installation.environment


@cache
def _into(table: type[Base]) -> Insert:
    return insert(table)


@dataclass
class Transaction:
    """One unit of work. `emergency` is set on the way to a code break and by `rts check` alone: a clock gone wrong must
    not stop them.

    `opened` counts what its openers opened, by kind of record; it ends in the audit trail.
    """

    store: Store
    session: Session
    emergency: bool = False
    opened: Counter[str] = field(default_factory=Counter)
    _events: list[audit.Draft] = field(default_factory=list)
    _openers: list[Opener] = field(default_factory=list)
    _undo: list[Callable[[], None]] = field(default_factory=list)
    _doer: Doer | None = None
    _role: str = ""

    @cached_property
    def now(self) -> datetime:
        """The moment of this transaction, in UTC, read once on first use."""
        return self.store.clock.now()

    @cached_property
    def connection(self) -> Connection:
        """The session's connection, for statements that need no objects: what the session still holds back is not
        written before them.
        """
        return self.session.connection()

    @cached_property
    def installation(self) -> Installation:
        """The installation's row. Raises Refusal when the database has not been set up."""
        row = self.session.get(Installation, 1)
        if row is None:
            raise refuse("unavailable", "installation.missing", say("This database is not set up: run rts db upgrade."))
        return row

    def act_as(self, doer: Doer, role: str) -> None:
        """Record who acts and in which role; `rts.access.require` calls it once the right is proven."""
        self._doer, self._role = doer, role

    def opener(self) -> Opener:
        """An opener for this transaction. What it opens is counted by kind in its first audit event.

        Raises RuntimeError in a transaction that may not write: the opening would leave no trace.
        """
        if not self.session.info["rts_write"]:
            raise RuntimeError("sealed values are opened in a write transaction only")
        opener = self.store.vault.opener(self._count_opening)
        self._openers.append(opener)
        return opener

    def _count_opening(self, context: str) -> None:
        self.opened[re.split("[ /]", context, maxsplit=1)[0]] += 1

    def audit(
        self,
        action: str,
        object_type: str,
        object_id: str,
        detail: dict[str, Any] | None = None,
        *,
        trial: Trial | None = None,
        site: Site | None = None,
        reason: str = "",
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
        definition: int | None = None,
        sealed: bool = False,
        mentions: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Queue an event; it is numbered, chained and written as the last thing before the commit.

        The detail holds `reason`, `before` and `after` beside the given facts; `sealed` keeps all of it for
        unblinded eyes. `mentions` are
        (kind, code) pairs of further subjects, kits and shipments it speaks of.
        An event about a list (`object_type` "list", `object_id` its id) names it by its commitment.
        """
        if self._doer is None:
            raise RuntimeError("an event needs a doer: call access.require or act_as first")
        facts = dict(detail or {})
        if object_type == "list":
            # Blinded people read and export the trail, and are told no list ids: here, so that no deed can forget it.
            object_id = self._commitment_of(trial, object_id)
            if not sealed:
                facts.pop("list", None)
        for name, value in (("reason", reason), ("before", before), ("after", after)):
            if value:
                facts[name] = value
        self._events.append(
            audit.Draft(
                trial=trial,
                actor=self._doer.name,
                role=self._role,
                organisation=self._doer.organisation,
                action=action,
                object_type=object_type,
                object_id=object_id,
                detail=facts,
                sealed=sealed,
                definition=definition,
                site_id=site.id if site else None,
                mentions=((object_type, object_id), *mentions),
            )
        )

    def _commitment_of(self, trial: Trial | None, name: str) -> str:
        """The commitment of the list with the id (or commitment) `name`. Raises LookupError when there is none."""
        commitment = self.session.scalar(
            select(ListFile.commitment).where(
                ListFile.trial_id == (trial.id if trial else None),
                or_(ListFile.list_id == name, ListFile.commitment == name),
            )
        )
        if commitment is None:
            raise LookupError("the list of an event is not on record")
        return commitment

    def on_rollback(self, undo: Callable[[], None]) -> None:
        """Have `undo` called if this transaction is rolled back: for what was changed outside the database."""
        self._undo.append(undo)

    def undo(self) -> None:
        """Take back what was changed outside the database, the latest first."""
        while self._undo:
            self._undo.pop()()

    def finish(self) -> None:
        """Write the queued events. Raises RuntimeError when something sealed was opened without any event to tell of
        it.
        """
        if self.opened:
            if not self._events:
                raise RuntimeError("a sealed value was opened and no audit event says so")
            self._events[0].detail["opened"] = dict(self.opened)
        self.session.flush()
        audit.append(self, self._events)
        self._events = []

    def insert(self, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
        """Write rows that this transaction neither reads nor changes again, in one statement and at once."""
        if rows:
            self.connection.execute(_into(table), rows)

    def close(self) -> None:
        """End every opener of this transaction."""
        for opener in self._openers:
            opener.close()

    def trial(self, code: str) -> Trial:
        """The trial named `code`. Raises Refusal `not_found`."""
        trial = self.session.scalar(select(Trial).where(Trial.code == code))
        if trial is None:
            raise refuse("not_found", "trial.unknown", say("There is no trial %(trial)s here.", trial=code), "trial")
        return trial

    def site(self, trial: Trial, code: str) -> Site:
        """The site named `code` in `trial`. Raises Refusal `not_found`."""
        site = self.session.scalar(select(Site).where(Site.trial_id == trial.id, Site.code == code))
        if site is None:
            raise refuse(
                "not_found", "site.unknown", say("There is no site %(site)s in this trial.", site=code), "site"
            )
        return site
