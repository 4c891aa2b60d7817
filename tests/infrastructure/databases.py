"""Fresh databases with the service's tables, cheap enough for every test: each is a copy of one migrated once."""

import shutil
import tempfile
from pathlib import Path
from typing import Protocol

import pysqlite3
from sqlalchemy import make_url

from rts.store.database import upgrade
from tests.infrastructure.postgresql import PostgresqlServer


class Databases(Protocol):
    """Makes fresh migrated databases of one kind and removes them."""

    def create(self, template: str = "") -> str:
        """The address of a fresh migrated database, or of a copy of the one at `template`, to which nobody may be
        connected.
        """
        ...

    def remove(self, address: str) -> None:
        """Remove the database at `address`."""
        ...


class SqliteDatabases:
    """SQLite files in folders of their own below `where`."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.template = f"sqlite:///{where / 'template.sqlite'}"
        upgrade(self.template)

    def create(self, template: str = "") -> str:
        original = make_url(template or self.template).database or ""
        # What still stands in the write-ahead log would be missing from the copy.
        connection = pysqlite3.connect(original)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
        file = Path(tempfile.mkdtemp(dir=self.where)) / "rts.sqlite"
        shutil.copyfile(original, file)
        return f"sqlite:///{file}"

    def remove(self, address: str) -> None:
        shutil.rmtree(Path(make_url(address).database or "").parent)


class PostgresqlDatabases:
    """Databases on the session's PostgreSQL server."""

    def __init__(self, server: PostgresqlServer) -> None:
        self.server = server
        self.template = server.create_database()
        upgrade(self.template)

    def create(self, template: str = "") -> str:
        return self.server.create_database(template=make_url(template or self.template).database or "")

    def remove(self, address: str) -> None:
        self.server.drop_database(address)


class NewDatabase:
    """Call it for the address of a fresh database of one `kind`, as often as a test needs one."""

    def __init__(self, kind: str, databases: Databases) -> None:
        self.kind = kind
        self._databases = databases
        self._made: list[str] = []

    def __call__(self, template: str = "") -> str:
        self._made.append(self._databases.create(template))
        return self._made[-1]

    def remove(self) -> None:
        """Remove what was made."""
        for address in self._made:
            self._databases.remove(address)
