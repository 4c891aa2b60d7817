"""Where a rehearsal takes place."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import event, make_url

from rts.store.transaction import Store


@dataclass(frozen=True)
class Ground:
    """Where a rehearsal takes place: its database's address, its keyring and the folder of its lists."""

    database: str
    keyring: Path
    lists: Path


@contextmanager
def scratch_ground() -> Iterator[Ground]:
    """Ground that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="rts-rehearsal-") as name:
        folder = Path(name)
        yield Ground(f"sqlite:///{folder / 'rts.sqlite'}", folder / "keyring.json", folder / "allocation_lists")


def ground_at(database: str, keyring: Path | None = None, lists: Path | None = None) -> Ground:
    """Ground on the database at this address; what is not named lies beside its file, or in the working folder when the
    database is on a server. Several rehearsals may share a folder: each has lists of its own.
    """
    url = make_url(database)
    on_server = url.get_backend_name() != "sqlite"
    file = Path.cwd() / str(url.database) if on_server else Path(url.database or "rts.sqlite")
    file.parent.mkdir(parents=True, exist_ok=True)
    shared = file.parent / "allocation_lists"
    own = file.parent / f"{file.stem}-allocation_lists" if shared.exists() else shared
    return Ground(database, keyring or file.parent / "keyring.json", lists or own)


def do_not_wait_for_the_disk(store: Store) -> None:
    """Let commits to a SQLite database that can be made anew return before they are on the disk. Before its first use
    only.
    """
    if store.engine.dialect.name == "sqlite":
        event.listen(store.engine, "connect", lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"))
