"""One leader: of all schedulers of an installation one runs the jobs, the others wait to take over.

PostgreSQL: a session-level advisory lock on a connection held open; the server frees it when the connection ends. A
pooler that shares connections between transactions breaks this, so the address must lead to the server itself.
SQLite: a lock on a file beside the database, freed by the operating system when the process ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from pathlib import Path
from threading import Lock
from typing import Protocol

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

log = logging.getLogger(__name__)

LOCK = int.from_bytes(hashlib.sha256(b"rts/scheduler").digest()[:8], "big", signed=True)


class Leadership(Protocol):
    """The right to run the jobs."""

    def take(self) -> bool:
        """Whether this process leads, having tried to become the leader if it did not."""
        ...

    def release(self) -> None:
        """Stop leading, so that another may."""
        ...


def leadership_of(engine: Engine) -> Leadership:
    """The leadership of the installation whose database `engine` reaches; not yet taken."""
    if engine.dialect.name == "postgresql":
        return AdvisoryLock(engine)
    return FileLock(lock_file(engine))


def is_anyone_leading(engine: Engine) -> bool:
    """Whether some scheduler of this installation holds the leadership now."""
    if engine.dialect.name != "postgresql":
        probe = FileLock(lock_file(engine))
        is_free = probe.take()
        probe.release()
        return not is_free
    statement = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database AND d.datname = current_database() "
        "WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid::bigint = :high AND objid::bigint = :low"
    )
    number = LOCK % 2**64
    with engine.connect() as connection:
        return bool(connection.scalar(statement, {"high": number >> 32, "low": number % 2**32}))


def lock_file(engine: Engine) -> Path:
    """The lock file beside a SQLite database."""
    return Path(f"{engine.url.database}.scheduler.lock")


class FileLock:
    """Leadership by a locked file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._guard = Lock()

    def take(self) -> bool:
        """Whether the lock is held, having tried. A lock file that was removed is no longer the one others see."""
        with self._guard:
            if self._descriptor is not None:
                if self._is_still_there(self._descriptor):
                    return True
                self._drop()
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._descriptor = descriptor
            return True

    def release(self) -> None:
        """Give the lock back."""
        with self._guard:
            self._drop()

    def _drop(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_still_there(self, descriptor: int) -> bool:
        try:
            return self._path.stat().st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False


class AdvisoryLock:
    """Leadership by an advisory lock of PostgreSQL, on a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        # Not from the pool: the connection must live as long as the leadership, and end with it.
        self._engine = create_engine(engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._connection: Connection | None = None
        self._guard = Lock()

    def take(self) -> bool:
        """Whether the lock is held, having tried. A lost connection means the lock is lost with it."""
        with self._guard:
            try:
                if self._connection is not None:
                    self._connection.execute(text("SELECT 1"))
                    return True
                return self._try()
            except DBAPIError as error:
                # The text of the error may hold the address with its password.
                log.warning("the database does not answer: %s", type(error).__name__)
                self._drop()
                return False

    def release(self) -> None:
        """Give the lock back and close the connection.

        Unlocked first: a server notices a closed connection in its own time, and until then nobody else could lead.
        """
        with self._guard:
            if self._connection is not None:
                try:
                    self._connection.execute(text("SELECT pg_advisory_unlock_all()"))
                except DBAPIError as error:
                    log.warning("the database does not answer: %s", type(error).__name__)
            self._drop()

    def _try(self) -> bool:
        connection = self._engine.connect()
        self._connection = connection
        # A server that ends idle sessions would make leaders come and go.
        connection.execute(text("SET idle_session_timeout = 0"))
        if connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": LOCK}):
            return True
        self._drop()
        return False

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
