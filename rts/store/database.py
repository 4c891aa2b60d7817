"""The two databases, and how a connection to each begins a transaction.

SQLite: WAL, `BEGIN IMMEDIATE` for writes (a deferred one lets two requests read the same unused entry), foreign keys
on, and a
library without the WAL-reset corruption bug. PostgreSQL: READ COMMITTED; deeds lock first (rts.store.locks).
"""

from __future__ import annotations

from typing import Any

import pysqlite3
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url

from rts.refusal import refuse, say
from rts.store import migrations

# The WAL-reset bug (database corruption when two connections checkpoint at once) is mended in this release.
OLDEST_SQLITE = (3, 51, 3)

# How long a statement waits for a lock before the deed is refused as unavailable.
BUSY_TIMEOUT_MS = 15_000
# A physician must not wait long for the page that tells the way without a database.
CONNECT_TIMEOUT_S = 5


def open_engine(address: str) -> Engine:
    """An engine for a `sqlite:///FILE` or `postgresql://…` address. Raises Refusal for any other."""
    url = make_url(address)
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _open_sqlite(url)
    if backend == "postgresql":
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            # Whatever the server's default: under repeatable read a deed would not see what it waited for.
            isolation_level="READ COMMITTED",
            pool_size=10,
            max_overflow=20,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"options": f"-c lock_timeout={BUSY_TIMEOUT_MS}", "connect_timeout": CONNECT_TIMEOUT_S},
        )
    raise refuse(
        "invalid",
        "database.address",
        say("The database address must begin with sqlite:/// or postgresql://, not %(backend)s.", backend=backend),
        "database",
    )


def _open_sqlite(url: URL) -> Engine:
    if pysqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise refuse(
            "unavailable",
            "database.sqlite_version",
            say(
                "SQLite %(found)s can corrupt a database in WAL mode; %(wanted)s or later is needed.",
                found=pysqlite3.sqlite_version,
                wanted=".".join(map(str, OLDEST_SQLITE)),
            ),
        )
    engine = create_engine(url, module=pysqlite3, pool_size=20, max_overflow=20, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN is deferred; ours is written below
        for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("rts_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def upgrade(address: str) -> None:
    """Bring the database at `address` up to the newest schema."""
    engine = open_engine(address)
    try:
        migrations.upgrade(engine)
    finally:
        engine.dispose()
