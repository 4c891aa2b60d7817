"""Putting the parts of an installation together: keyring, vault, clock and database."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import inspect

from rts.clock import Clock, SystemClock
from rts.entropy import Entropy, SystemEntropy
from rts.refusal import refuse, say
from rts.store.database import open_engine
from rts.store.tables import Installation
from rts.store.transaction import Store
from rts.vault.keyring import Keyring
from rts.vault.vault import Vault


def open_store(
    database: str,
    keyring_path: Path,
    lists: Path,
    *,
    create_keyring: bool = False,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> Store:
    """Open an installation. With `create_keyring`, a keyring is made when none exists (mode 0600).

    Raises Refusal when the keyring is missing, readable by others or damaged, or the database address is wrong.
    """
    entropy = entropy or SystemEntropy()
    if create_keyring and not keyring_path.exists():
        keyring_path.parent.mkdir(parents=True, exist_ok=True)
        Keyring.create(keyring_path, entropy)
    keyring = Keyring.load(keyring_path)
    engine = open_engine(database)
    return Store(engine, clock or SystemClock(), entropy, Vault(keyring, entropy), lists)


def follow_recorded_clock(store: Store) -> None:
    """Take over the clock offset of a training or test installation. Production runs on the computer's clock."""
    if not isinstance(store.clock, SystemClock):
        return
    with store.transaction() as tx:
        if not inspect(tx.session.connection()).has_table(Installation.__tablename__):
            raise refuse("unavailable", "database.empty", say("This database has no tables yet: run rts db upgrade."))
        row = tx.session.get(Installation, 1)
        if row is not None and row.environment != "production":
            store.clock.offset = timedelta(seconds=row.clock_offset)
