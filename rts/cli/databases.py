"""`rts db`: the tables of the database, and the first run."""

from __future__ import annotations

import click
from sqlalchemy import inspect, select

from rts.cli.door import Group, settings, sqlite_file
from rts.cli.installations import OPERATOR
from rts.conduct.installing import ENVIRONMENTS, set_up
from rts.installation import open_installation
from rts.settings import Settings
from rts.store.database import open_engine, upgrade
from rts.store.tables import Installation

NEW_KEYRING = """A new keyring was made: {path}
{whoever} can read every allocation; without it the service can read none.
Copy it now to a safe place of its own, never beside a backup of the database, and compare the copies (sha256sum).
Repeat this whenever a key is added."""

WHOEVER = {
    "file": "Whoever has it together with the database",
    "transit": "Whoever has it together with the database and the use of the key service",
}


@click.group(cls=Group)
def db() -> None:
    """The database."""


def _is_set_up(address: str) -> bool:
    engine = open_engine(address)
    try:
        if not inspect(engine).has_table(Installation.__tablename__):
            return False
        with engine.connect() as connection:
            return connection.execute(select(Installation.id)).first() is not None
    finally:
        engine.dispose()


def install(chosen: Settings, environment: str | None) -> None:
    """Bring the tables up to date; on the first run also make the keyring and fix what the installation is for.

    Raises Refusal when an installation that has data has lost its keyring, or is set up for something else.
    """
    address, keyring = chosen.database_address, chosen.keyring_path
    file = sqlite_file(address)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    is_first_run = (file is not None and not file.exists()) or not _is_set_up(address)
    # A keyring is made for a new installation only: for one that has data, a fresh keyring would open nothing.
    is_new_keyring = is_first_run and not keyring.exists()
    store = open_installation(chosen, create_keyring=is_first_run)
    try:
        upgrade(address)
        if is_first_run or environment is not None:
            set_up(store, environment or chosen.environment, OPERATOR)
        found = store.environment()
    finally:
        store.engine.dispose()
    click.echo(f"The database is up to date ({found} installation).", err=True)
    if is_new_keyring:
        click.echo(NEW_KEYRING.format(path=keyring.resolve(), whoever=WHOEVER[chosen.keys]), err=True)


@db.command("upgrade")
@click.option(
    "--environment", type=click.Choice(ENVIRONMENTS), help="Fixed on the first run. Default: RTS_ENVIRONMENT."
)
def upgrade_database(environment: str | None) -> None:
    """Make or upgrade the tables; on the first run also make the keyring and fix what the installation is for.

    Training and test installations take training and test lists only, and their clock can be moved.
    """
    install(settings(), environment)
