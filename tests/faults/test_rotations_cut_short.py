"""A rotation killed between any two of its steps, on disk and in the database: everything opens, and the next run
finishes it.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from sqlalchemy import select

from rts.conduct.rotating_keys import Wrapped, retire_root_key, rotate_audit_key, rotate_root_key, wrapped_by_version
from rts.rehearsal.staging import OPERATOR
from rts.store.checks import run_checks
from rts.store.sealed_rows import key_from_text
from rts.store.tables import ListFile, Trial
from rts.store.transaction import Store
from rts.vault.keys_file import read_keys
from tests.infrastructure.databases import NewDatabase
from tests.processes import Place, die_before, forked
from tests.world import World


def unheard(_done: int, _total: int, _words: str) -> None:
    """Progress that nobody watches."""


def rotate(store: Store) -> None:
    rotate_root_key(store, OPERATOR, unheard)


def rotate_audit(store: Store) -> None:
    rotate_audit_key(store, OPERATOR)


def retire(store: Store) -> None:
    retire_root_key(store, OPERATOR, 1)


def killed(world: World, work: object, step: int) -> bool:
    """Whether a process doing `work` was killed before its `step`th step; False when it ended first."""

    def child() -> None:
        store = Place.of(world).open()
        die_before(store, step, files=True)
        work(store)  # type: ignore[operator]

    world.store.engine.dispose()  # a forked child must not share a connection
    with forked(child) as status:
        assert status in (0, -signal.SIGKILL)
        return status != 0


def opened_data_keys(store: Store) -> int:
    """How many data keys open, of the database and of the keys files; raises for one that does not."""
    with store.transaction() as tx:
        texts = [*tx.session.scalars(select(Trial.data_key)), *tx.session.scalars(select(ListFile.data_key))]
    keyring = store.vault.keyring
    wraps = [key_from_text(text) for text in texts]
    wraps += [read_keys(path).for_keyring(keyring) for path in store.lists.glob("*/*.keys")]
    return len([keyring.unwrap(wrap) for wrap in wraps])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_before_any_step_a_rotation_loses_nothing_and_the_next_run_finishes_it(
    world: World, new_database: NewDatabase, tmp_path: Path
) -> None:
    # On SQLite before each step; PostgreSQL differs in its statements only, and takes its time to copy a database.
    stride = 1 if new_database.kind == "sqlite" else 6
    deaths, finished_before_death, step = 0, 0, 1
    while True:
        folder = tmp_path / f"step-{step}"
        folder.mkdir()
        world.store.engine.dispose()
        with world.copy(new_database(world.database_url), folder) as copied:
            if not killed(copied, rotate, step):
                break
            deaths += 1
            store = Place.of(copied).open()
            assert opened_data_keys(store) == 7
            keyring = store.vault.keyring
            if (keyring.root_key_version, keyring.current_root_key) == (2, 2):
                finished_before_death += 1  # the keyring was in its place already
            else:
                rotate(store)
            with store.transaction() as tx:
                assert wrapped_by_version(tx) == {2: Wrapped(4, 3)}, step
            assert (keyring.root_keys(), keyring.current_root_key) == ((1, 2), 2)
            assert opened_data_keys(store) == 7
            # What a death leaves of a file half written: hidden, and never read.
            assert all(path.name.startswith(".") for path in folder.rglob("*.tmp"))
            if deaths % 10 == 0:
                assert run_checks(store) == []
            store.engine.dispose()
        step += stride
    assert deaths > 50 // stride
    assert finished_before_death <= 1


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
def test_killed_before_any_step_a_new_audit_key_is_put_to_use_by_the_next_run(
    world: World, new_database: NewDatabase, tmp_path: Path
) -> None:
    step = 1
    while True:
        folder = tmp_path / f"step-{step}"
        folder.mkdir()
        world.store.engine.dispose()
        with world.copy(new_database(world.database_url), folder) as copied:
            if not killed(copied, rotate_audit, step):
                break
            store = Place.of(copied).open()
            keyring = store.vault.keyring
            assert keyring.current_audit_key in (1, 2)
            if keyring.current_audit_key == 1:
                rotate_audit(store)
            assert (keyring.audit_keys(), keyring.current_audit_key) == ((1, 2), 2)
            assert copied.events("audit_key.added") >= 1
            if step % 10 == 0:
                assert run_checks(store) == []
            store.engine.dispose()
        step += 1
    assert step > 20


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
def test_killed_before_any_step_no_root_key_is_gone_without_a_trace(
    world: World, new_database: NewDatabase, tmp_path: Path
) -> None:
    rotate(world.store)
    step = 1
    while True:
        folder = tmp_path / f"step-{step}"
        folder.mkdir()
        world.store.engine.dispose()
        with world.copy(new_database(world.database_url), folder) as copied:
            if not killed(copied, retire, step):
                break
            store = Place.of(copied).open()
            assert opened_data_keys(store) == 7
            if store.vault.keyring.root_keys() == (2,):
                assert copied.events("root_key.retired") == 1
            else:
                retire(store)
            assert store.vault.keyring.root_keys() == (2,)
            store.engine.dispose()
        step += 1
    assert step > 10
