"""The tests' PostgreSQL is a real server, each test has a database of its own, and a missing server is a failure."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.infrastructure import postgresql


def tables(address: str) -> list[str]:
    with psycopg.connect(address) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()
    return [name for (name,) in rows]


def test_a_database_is_empty_and_a_test_s_own(
    postgresql_url: str, postgresql_server: postgresql.PostgresqlServer
) -> None:
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE TABLE left_behind (id int)")
    another = postgresql_server.create_database()
    try:
        assert tables(postgresql_url) == ["left_behind"]
        assert tables(another) == []
    finally:
        postgresql_server.drop_database(another)


def test_a_database_is_dropped_although_someone_is_still_connected(
    postgresql_server: postgresql.PostgresqlServer,
) -> None:
    address = postgresql_server.create_database()
    still_connected = psycopg.connect(address)
    try:
        postgresql_server.drop_database(address)
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(address)
    finally:
        still_connected.close()


def test_the_server_named_in_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(postgresql.ADDRESS_VARIABLE, "postgresql://rts@db.example/postgres")

    assert postgresql.PostgresqlServer(tmp_path).address() == "postgresql://rts@db.example/postgres"
    assert list(tmp_path.iterdir()) == []


def test_the_server_in_the_wheel_serves_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(postgresql.ADDRESS_VARIABLE, raising=False)
    monkeypatch.setattr(postgresql, "programs_of_the_system", lambda: None)
    home = postgresql.make_home()
    try:
        with psycopg.connect(postgresql.PostgresqlServer(home).create_database()) as connection:
            assert connection.execute("SELECT 6 * 7").fetchone() == (42,)
            assert connection.info.server_version >= 180000
    finally:
        postgresql.remove_home(home)
    assert not home.exists()


def test_no_server_at_all_is_an_error_that_says_what_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(postgresql.ADDRESS_VARIABLE, raising=False)
    monkeypatch.setattr(postgresql, "programs_of_the_system", lambda: None)
    monkeypatch.setattr(postgresql, "programs_of_the_wheel", lambda: None)

    with pytest.raises(postgresql.PostgresqlMissingError, match="RTS_TEST_POSTGRESQL_URL is not set"):
        postgresql.PostgresqlServer(tmp_path).address()


@pytest.fixture
def temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files that the server's account may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield folder


def test_the_server_of_a_session_that_was_killed_is_stopped_by_the_next(
    monkeypatch: pytest.MonkeyPatch, temporary_folder: Path, pytestconfig: pytest.Config
) -> None:
    monkeypatch.delenv(postgresql.ADDRESS_VARIABLE, raising=False)
    start_and_die = (
        "import os, signal; from tests.infrastructure import postgresql as p;"
        "p.PostgresqlServer(p.make_home()).address(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", start_and_die], cwd=pytestconfig.rootpath, check=False)
    assert killed.returncode == -signal.SIGKILL
    (abandoned,) = temporary_folder.iterdir()
    connection = psycopg.connect((abandoned / "address").read_text())
    try:
        postgresql.stop_abandoned_servers()

        assert list(temporary_folder.iterdir()) == []
        with pytest.raises(psycopg.OperationalError, match="terminat"):
            connection.execute("SELECT 1")
    finally:
        connection.close()


def test_what_a_power_cut_left_of_a_server_is_removed(
    monkeypatch: pytest.MonkeyPatch, temporary_folder: Path, pytestconfig: pytest.Config
) -> None:
    monkeypatch.delenv(postgresql.ADDRESS_VARIABLE, raising=False)
    start_and_die_with_the_server = (
        "import os, signal; from pathlib import Path; from tests.infrastructure import postgresql as p;"
        "home = p.make_home(); p.PostgresqlServer(home).address();"
        "os.kill(int((home / 'data/postmaster.pid').read_text().split()[0]), signal.SIGKILL);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", start_and_die_with_the_server], cwd=pytestconfig.rootpath, check=False)
    (abandoned,) = temporary_folder.iterdir()
    pid_file = abandoned / "data" / "postmaster.pid"
    assert pid_file.exists()
    pid_file.write_text("\n".join([str(os.getpid()), *pid_file.read_text().splitlines()[1:]]))  # given anew meanwhile

    postgresql.stop_abandoned_servers()

    assert list(temporary_folder.iterdir()) == []


def test_the_server_of_a_session_that_still_runs_is_left_alone(temporary_folder: Path) -> None:
    home = postgresql.make_home()

    postgresql.stop_abandoned_servers()

    assert list(temporary_folder.iterdir()) == [home]
