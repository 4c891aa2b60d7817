"""What every test may ask for: databases, a mail server, a browser. Each is the real thing; missing means failing."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.infrastructure import chromium, mail, network, postgresql

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.infrastructure.databases import Databases, NewDatabase
    from tests.world import World

# A busy machine makes an example slow, not wrong.
hypothesis.settings.register_profile("rts", deadline=None, print_blob=True)
hypothesis.settings.load_profile("rts")

MEMORY = Path("/dev/shm")  # noqa: S108  a file system, in which every name is made by tempfile
ROOM = 4 * 2**30

POSTGRESQL_HOME = pytest.StashKey[Path]()

sqlite_and_postgresql = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


def pytest_configure(config: pytest.Config) -> None:
    """The session's first process makes the folder in which its workers find, or start, the one PostgreSQL server."""
    worker = getattr(config, "workerinput", None)
    measured = config.getoption("markexpr") == "bench"
    if worker is None and not measured and "TMPDIR" not in os.environ and _has_room(MEMORY):
        # Databases are written through to the disk at every commit; in memory that costs nothing. Workers inherit it.
        # What is measured stays on the disk, as it will in use.
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None
    config.stash[POSTGRESQL_HOME] = Path(worker["postgresql_home"]) if worker else postgresql.make_home()


def _has_room(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > ROOM


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:  # type: ignore[no-untyped-def]
    node.workerinput["postgresql_home"] = str(node.config.stash[POSTGRESQL_HOME])


def pytest_unconfigure(config: pytest.Config) -> None:
    """The first process stops the server, after all its workers are done."""
    if not hasattr(config, "workerinput"):
        postgresql.remove_home(config.stash[POSTGRESQL_HOME])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser or PostgreSQL by what it asks for, so that no mark can be forgotten."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        for fixture, mark in (("browser", "browser"), ("postgresql_server", "postgresql")):
            if fixture in fixtures:
                item.add_marker(mark)
        for mark in item.iter_markers("requirement"):
            item.user_properties.append(("requirement", mark.args[0]))


_TRACED: dict[str, dict[str, str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep how each test that proves a requirement ended; a failed set-up or tear-down is a failed test."""
    for name, value in report.user_properties:
        if name == "requirement" and (report.when == "call" or report.outcome != "passed"):
            tests = _TRACED.setdefault(str(value), {})
            if tests.get(report.nodeid) != "failed":
                tests[report.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what `rts trace` reads, once: in the process that saw all reports."""
    if hasattr(session.config, "workerinput") or not _TRACED:
        return
    file = session.config.rootpath / "build" / "trace.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(_TRACED, indent=1, sort_keys=True))


@pytest.fixture(autouse=True)
def _umask_outlives_no_test() -> Iterator[None]:
    """The command `rts` makes files for its own account alone; called within a test, it must not change the next
    one.
    """
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(autouse=True, scope="session")
def _statements_are_compiled_once() -> Iterator[None]:
    """All engines of one kind share a dialect and what it has compiled: each test opens its own, and would else compile
    every statement of the service anew.
    """
    from rts.store import database

    make, firsts = database.create_engine, {}

    def create_engine(url: Any, **options: Any) -> Any:
        engine = make(url, **options)
        first = firsts.setdefault(engine.dialect.name, engine)
        engine.dialect = engine.pool._dialect = first.dialect
        engine._compiled_cache = first._compiled_cache
        return engine

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(database, "create_engine", create_engine)
        yield


@pytest.fixture(autouse=True, scope="session")
def _network_is_banned() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        network.ban_network(monkeypatch)
        yield


@pytest.fixture(scope="session")
def postgresql_server(pytestconfig: pytest.Config) -> postgresql.PostgresqlServer:
    """The session's PostgreSQL server; most tests want `database_url` instead."""
    return postgresql.PostgresqlServer(pytestconfig.stash[POSTGRESQL_HOME])


@pytest.fixture
def postgresql_url(postgresql_server: postgresql.PostgresqlServer) -> Iterator[str]:
    """The address of a PostgreSQL database with nothing in it, for this test alone."""
    address = postgresql_server.create_database()
    yield address
    postgresql_server.drop_database(address)


@pytest.fixture(scope="session")
def _sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> "Databases":
    from tests.infrastructure.databases import SqliteDatabases

    return SqliteDatabases(tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="session")
def _postgresql_databases(postgresql_server: postgresql.PostgresqlServer) -> Iterator["Databases"]:
    from tests.infrastructure.databases import PostgresqlDatabases

    databases = PostgresqlDatabases(postgresql_server)
    yield databases
    databases.remove(databases.template)


@pytest.fixture(params=sqlite_and_postgresql)
def new_database(request: pytest.FixtureRequest) -> Iterator["NewDatabase"]:
    """Call it for the address of a fresh migrated database, as often as the test needs one; runs once on each kind.

    For one kind only: `@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)`.
    """
    from tests.infrastructure.databases import NewDatabase

    made = NewDatabase(request.param, request.getfixturevalue(f"_{request.param}_databases"))
    yield made
    made.remove()


@pytest.fixture
def database_url(new_database: "NewDatabase") -> str:
    """The address of a fresh migrated database; the test runs once on SQLite and once on PostgreSQL."""
    return new_database()


@pytest.fixture
def mail_server() -> Iterator[mail.MailServer]:
    """A running SMTP server that keeps what it receives."""
    server = mail.MailServer("127.0.0.1", mail.free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Chromium, started once per process; most tests want `browser_page` or `phone_page`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = chromium.launch(playwright)
        yield running
        running.close()


@pytest.fixture
def browser_page(browser: "Browser") -> Iterator["Page"]:
    """A page as wide as a pharmacy PC's: 1280 pixels."""
    with chromium.open_page(browser, chromium.DESKTOP) as page:
        yield page


@pytest.fixture
def phone_page(browser: "Browser") -> Iterator["Page"]:
    """A page as wide as a phone, 390 pixels, touched rather than clicked."""
    with chromium.open_page(browser, chromium.PHONE, touch=True) as page:
        yield page


@pytest.fixture(autouse=True, scope="session")
def _cheap_passwords() -> Iterator[None]:
    """Argon2id at its smallest cost: what tests prove of passwords does not depend on 64 MiB a hash."""
    from argon2 import PasswordHasher

    from rts.access import passwords

    full = passwords.hasher
    passwords.hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    yield
    passwords.hasher = full


def _stage(databases: "Databases", folder: Path) -> Iterator["World"]:
    """SIRIUS staged and supplied once for all tests, with nobody connected to its database."""
    from tests.world import World

    address = databases.create()
    with World.make(address, folder) as staged:
        staged.supply("CN02", "CN03")
    yield staged
    databases.remove(address)


@pytest.fixture(scope="session")
def _sqlite_stage(
    _sqlite_databases: "Databases", _cheap_passwords: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["World"]:
    yield from _stage(_sqlite_databases, tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="session")
def _postgresql_stage(
    _postgresql_databases: "Databases", _cheap_passwords: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["World"]:
    yield from _stage(_postgresql_databases, tmp_path_factory.mktemp("stage"))


@pytest.fixture
def world(request: pytest.FixtureRequest, new_database: "NewDatabase", tmp_path: Path) -> Iterator["World"]:
    """SIRIUS staged on a database of its own, with sites CN02 and CN03 supplied and open. Runs on both databases."""
    stage: World = request.getfixturevalue(f"_{new_database.kind}_stage")
    with stage.copy(new_database(stage.database_url), tmp_path) as copied:
        yield copied
