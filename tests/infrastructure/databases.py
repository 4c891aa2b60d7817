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

    def create(self) -> str:
        """The address of a fresh migrated database."""
        ...

    def remove(self, address: str) -> None:
        """Remove the database at `address`."""
        ...


class SqliteDatabases:
    """SQLite files in folders of their own below `where`."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.template = where / "template.sqlite"
        upgrade(f"sqlite:///{self.template}")
        # What still stands in the write-ahead log would be missing from the copies.
        connection = pysqlite3.connect(str(self.template))
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()

    def create(self) -> str:
        file = Path(tempfile.mkdtemp(dir=self.where)) / "rts.sqlite"
        shutil.copyfile(self.template, file)
        return f"sqlite:///{file}"

    def remove(self, address: str) -> None:
        shutil.rmtree(Path(make_url(address).database or "").parent)


class PostgresqlDatabases:
    """Databases on the session's PostgreSQL server."""

    def __init__(self, server: PostgresqlServer) -> None:
        self.server = server
        self.template = server.create_database()
        upgrade(self.template)

    def create(self) -> str:
        return self.server.create_database(template=make_url(self.template).database or "")

    def remove(self, address: str) -> None:
        self.server.drop_database(address)
