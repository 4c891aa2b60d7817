"""Putting the parts of an installation together: keyring, vault, clock and database."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import inspect

from rts.clock import Clock, SystemClock
from rts.entropy import Entropy, SystemEntropy
from rts.refusal import refuse, say
from rts.settings import Settings
from rts.store.database import open_engine
from rts.store.tables import Installation
from rts.store.transaction import Store
from rts.vault.file_keyring import FileKeyring
from rts.vault.keyring import Keyring
from rts.vault.transit import Transit
from rts.vault.transit_keyring import TransitKeyring
from rts.vault.vault import Vault


def transit_of(settings: Settings) -> Transit | None:
    """The key service that the settings name; None when the keyring file holds the root keys itself.

    Raises Refusal `invalid` for an address that is none, or a token file that is not named.
    """
    if settings.keys == "file":
        return None
    if settings.transit_token_file is None:
        message = say("RTS_KEYS=transit needs RTS_TRANSIT_TOKEN_FILE, the file that holds the token.")
        raise refuse("invalid", "transit.token", message, "RTS_TRANSIT_TOKEN_FILE")
    return Transit(
        settings.transit_address,
        settings.transit_mount,
        settings.transit_key,
        settings.transit_token_file,
        settings.transit_ca_file,
        settings.transit_namespace,
    )


def load_keyring(path: Path, transit: Transit | None = None) -> Keyring:
    """The keyring at `path`. Raises Refusal when it is missing, readable by others, damaged, or of the other kind."""
    return FileKeyring.load(path) if transit is None else TransitKeyring.load(path, transit)


def _create_keyring(path: Path, transit: Transit | None, entropy: Entropy) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if transit is None:
        FileKeyring.create(path, entropy)
    else:
        TransitKeyring.create(path, transit, entropy)


def open_store(
    database: str,
    keyring_path: Path,
    lists: Path,
    *,
    create_keyring: bool = False,
    transit: Transit | None = None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> Store:
    """Open an installation. With `create_keyring`, a keyring is made when none exists (mode 0600). `transit` names the
    key service that holds the root keys, if one does.

    Raises Refusal when the keyring is missing, readable by others or damaged, or the database address is wrong.
    """
    entropy = entropy or SystemEntropy()
    if create_keyring and not keyring_path.exists():
        _create_keyring(keyring_path, transit, entropy)
    keyring = load_keyring(keyring_path, transit)
    engine = open_engine(database)
    return Store(engine, clock or SystemClock(), entropy, Vault(keyring, entropy), lists)


def open_installation(settings: Settings, *, create_keyring: bool = False) -> Store:
    """Open the installation that the settings name. Raises Refusal as `open_store` and `transit_of` do."""
    return open_store(
        settings.database_address,
        settings.keyring_path,
        settings.lists_path,
        create_keyring=create_keyring,
        transit=transit_of(settings),
    )


def follow_recorded_clock(store: Store) -> None:
    """Take over the clock offset of a training or test installation. Production runs on the computer's clock, for
    ever, so that it is asked once.
    """
    if not isinstance(store.clock, SystemClock) or store.is_production:
        return
    with store.transaction() as tx:
        if not inspect(tx.session.connection()).has_table(Installation.__tablename__):
            raise refuse("unavailable", "database.empty", say("This database has no tables yet: run rts db upgrade."))
        row = tx.session.get(Installation, 1)
        if row is not None:
            store.is_production = row.environment == "production"
            store.clock.offset = timedelta(seconds=0 if store.is_production else row.clock_offset)
