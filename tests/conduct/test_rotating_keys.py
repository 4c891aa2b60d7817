"""Root keys and audit keys: a rotation wraps everything anew and touches nothing else; old keys are retired by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import select

from rts.conduct.checkpointing import MakeCheckpoints, make_checkpoints
from rts.conduct.own_keys import RegisterOwnKey, register_own_key
from rts.conduct.perform import perform
from rts.conduct.rotating_keys import (
    AddRootKey,
    Rotation,
    Wrapped,
    add_root_key,
    retire_root_key,
    rotate_audit_key,
    rotate_root_key,
    wrapped_by_version,
)
from rts.conduct.unblinding import Unblinded, UnblindSubject, unblind_subject
from rts.entropy import ReplayedEntropy, SystemEntropy
from rts.installation import open_store
from rts.refusal import Refusal
from rts.rehearsal.staging import OPERATOR
from rts.store.checks import run_checks
from rts.store.sealed_rows import key_from_text
from rts.store.tables import AuditCheckpoint, ListEntry, ListFile, Trial
from rts.store.transaction import Store
from rts.vault.checkpoint import verify_checkpoint
from rts.vault.file_keyring import FileKeyring
from rts.vault.keys_file import read_keys
from rts.vault.offline import open_offline
from rts.vault.person_keys import create_person_key, unlock_person_key
from rts.vault.vault import Vault
from tests.store.damage import damage
from tests.world import World

PASSPHRASE = "correct horse battery"
DATA_KEYS, KEYS_FILES = 4, 3  # one of the trial, one of each of three lists


def unheard(_done: int, _total: int, _words: str) -> None:
    """Progress that nobody watches."""


def rotate(world: World, *, add_only: bool = False) -> Rotation:
    return rotate_root_key(world.store, OPERATOR, unheard, add_only=add_only)


def versions(world: World) -> dict[int, Wrapped]:
    with world.store.transaction() as tx:
        return wrapped_by_version(tx)


def records(world: World) -> list[bytes]:
    with world.store.transaction() as tx:
        return list(tx.session.scalars(select(ListEntry.record).order_by(ListEntry.id)))


def list_files(world: World) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in world.store.lists.rglob("*.rtslist")}


def another_process(world: World) -> Store:
    """The installation as another process opened it: with a keyring of its own."""
    place = world.database_url, world.store.vault.keyring.path, world.store.lists
    return open_store(*place, clock=world.clock, entropy=SystemEntropy())


def keys_file(world: World, list_id: str = "SIRIUS-R1") -> Path:
    return world.store.lists / "SIRIUS" / f"{list_id}.keys"


def test_a_rotation_wraps_everything_anew_and_touches_no_entry(world: World) -> None:
    sealed, entries = list_files(world), records(world)
    subject = world.randomise("CN02")

    done = rotate(world)

    assert done == Rotation(2, True, DATA_KEYS, KEYS_FILES)
    assert versions(world) == {2: Wrapped(DATA_KEYS, KEYS_FILES)}
    keyring = world.store.vault.keyring
    assert (keyring.root_keys(), keyring.current_root_key) == ((1, 2), 2)
    assert (list_files(world), records(world)) == (sealed, entries)
    assert run_checks(world.store) == []
    world.dispense(subject)
    world.randomise("CN02")
    event, detail = world.last_event("root_key.rotated")
    assert (event.object_id, event.actor, detail) == (
        "2",
        "operator",
        {"data_keys": DATA_KEYS, "keys_files": KEYS_FILES},
    )
    assert world.last_event("root_key.added")[0].object_id == "2"


def test_a_keys_file_keeps_its_other_recipients_through_a_rotation(world: World) -> None:
    private, public = create_person_key(PASSPHRASE, ReplayedEntropy(b"one"))
    world.do(register_own_key, "statistician.one", RegisterOwnKey(public), sign=True)
    before = read_keys(keys_file(world)).recipients

    rotate(world)

    after = read_keys(keys_file(world)).recipients
    assert (after[0].key_version, after[1:]) == (2, before[1:])
    list_path = keys_file(world).with_suffix(".rtslist")
    opened = open_offline(list_path, keys_file(world), unlock_person_key(private, PASSPHRASE), lambda _: None)
    assert len(list(opened.entries())) == 592


def test_an_unfinished_rotation_is_finished_and_no_further_key_is_made(world: World) -> None:
    assert rotate(world, add_only=True) == Rotation(2, True)
    assert versions(world) == {1: Wrapped(DATA_KEYS, KEYS_FILES)}
    assert rotate(world, add_only=True) == Rotation(2, False)

    assert rotate(world) == Rotation(2, False, DATA_KEYS, KEYS_FILES)

    assert world.store.vault.keyring.root_keys() == (1, 2)
    assert rotate(world).version == 3


def test_a_process_that_runs_meanwhile_goes_on_with_what_it_has_in_memory(world: World, tmp_path: Path) -> None:
    """Another process, with a keyring of its own that it read before, rotates three times while this one works."""
    other = open_store(
        world.database_url,
        world.store.vault.keyring.path,
        world.store.lists,
        clock=world.clock,
        entropy=SystemEntropy(),
    )
    for _ in range(3):
        world.randomise("CN02")
        rotate_root_key(other, OPERATOR, unheard)
    retire_root_key(other, OPERATOR, 3)
    subject = world.randomise("CN02")
    other.engine.dispose()

    assert world.dispense(subject).startswith("K")
    assert versions(world) == {4: Wrapped(DATA_KEYS, KEYS_FILES)}
    assert run_checks(world.store) == []


def test_rotations_beside_a_service_at_work_disturb_nothing(world: World) -> None:
    """Each side has a database connection and a keyring of its own, and neither waits for the other to be done."""
    subject = world.randomise("CN02")
    other = another_process(world)
    failed: list[BaseException] = []

    def rotate_again_and_again() -> None:
        try:
            for _ in range(3):
                rotate_root_key(other, OPERATOR, unheard)
            retire_root_key(other, OPERATOR, 2)
        except Refusal as refusal:
            failed.append(refusal)

    rotations = Thread(target=rotate_again_and_again)
    rotations.start()
    looks = 0
    while rotations.is_alive() or looks < 3:
        command = UnblindSubject("SIRIUS", subject, "a look while keys are rotated", False)
        assert isinstance(world.do(unblind_subject, "physician.cn02", command, sign=True), Unblinded)
        looks += 1
    rotations.join()
    other.engine.dispose()

    assert failed == []
    assert versions(world) == {4: Wrapped(DATA_KEYS, KEYS_FILES)}
    assert world.store.vault.keyring.root_keys() == (3, 4)
    assert run_checks(world.store) == []


def test_a_keys_file_that_the_database_does_not_know_is_wrapped_anew_too(world: World) -> None:
    """A generation was cut short after its files were written, before its row was."""
    orphan = keys_file(world, "SIRIUS-K9")
    content = json.loads(keys_file(world, "SIRIUS-K1").read_text())
    orphan.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    done = rotate(world)

    assert done == Rotation(2, True, DATA_KEYS, KEYS_FILES + 1)
    with pytest.raises(Refusal) as refused:
        retire_root_key(world.store, OPERATOR, 2)
    assert refused.value.rules == ("root_key.current",)
    retire_root_key(world.store, OPERATOR, 1)
    keys = read_keys(orphan)
    assert world.store.vault.keyring.unwrap(keys.for_keyring(world.store.vault.keyring))


def test_a_keys_file_of_another_installation_is_left_alone(world: World, tmp_path: Path) -> None:
    stranger = keys_file(world, "SIRIUS-K9")
    other = FileKeyring.create(tmp_path / "other.json", ReplayedEntropy(b"other"))
    content = json.loads(keys_file(world, "SIRIUS-K1").read_text())
    content["recipients"][0]["id"] = other.keyring_id
    stranger.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    before = stranger.read_bytes()

    assert rotate(world) == Rotation(2, True, DATA_KEYS, KEYS_FILES, ("SIRIUS/SIRIUS-K9.keys",))
    assert stranger.read_bytes() == before


def test_a_lost_keys_file_is_made_again(world: World) -> None:
    keys_file(world).unlink()

    rotate(world)

    assert run_checks(world.store) == []


def test_a_data_key_that_does_not_open_is_named_and_keeps_no_other_under_the_old_key(world: World) -> None:
    with world.store.transaction() as tx:
        broken = json.loads(tx.session.scalars(select(ListFile.data_key).where(ListFile.list_id == "SIRIUS-K2")).one())
    broken["context"] = "list SIRIUS/SIRIUS-K8"
    text = json.dumps(broken)
    damage(world.store.engine, f"UPDATE list_file SET data_key = '{text}' WHERE list_id = 'SIRIUS-K2'")  # noqa: S608

    with pytest.raises(Refusal, match="SIRIUS-K8 was left as it is") as refused:
        rotate(world)

    assert (refused.value.code, refused.value.rules) == ("unavailable", ("vault.open",))
    assert versions(world) == {1: Wrapped(1, 1), 2: Wrapped(DATA_KEYS - 1, KEYS_FILES - 1)}
    assert world.store.vault.keyring.current_root_key == 1
    found = run_checks(world.store)
    assert {finding.rule for finding in found} >= {"key.data_key", "list.keys"}
    assert "No root key opens the data key of list SIRIUS/SIRIUS-K8" in str(
        next(finding for finding in found if finding.rule == "key.data_key")
    )


def test_a_root_key_is_retired_once_nothing_is_wrapped_by_it(world: World) -> None:
    keyring = world.store.vault.keyring
    with world.refuses("not_found", "root_key.unknown"):
        retire_root_key(world.store, OPERATOR, 7)
    with world.refuses("conflict", "root_key.current"):
        retire_root_key(world.store, OPERATOR, 1)
    rotate(world, add_only=True)
    with world.refuses("conflict", "root_key.rotating"):
        retire_root_key(world.store, OPERATOR, 1)
    rotate(world)

    retire_root_key(world.store, OPERATOR, 1)

    assert keyring.root_keys() == (2,)
    assert world.last_event("root_key.retired")[0].object_id == "1"
    assert run_checks(world.store) == []
    with world.refuses("not_found", "root_key.unknown"):
        retire_root_key(world.store, OPERATOR, 1)


def test_a_root_key_that_still_wraps_something_is_not_retired(world: World) -> None:
    """A keys file from before the rotation was put back, say out of a backup of the lists."""
    old = keys_file(world).read_bytes()
    rotate(world)
    keys_file(world).write_bytes(old)

    with world.refuses("conflict", "root_key.in_use") as refused:
        retire_root_key(world.store, OPERATOR, 1)
    assert "Root key 1 still wraps 0 data keys and 1 keys files" in str(refused.value)
    assert world.store.vault.keyring.root_keys() == (1, 2)


def test_a_database_from_before_a_rotation_needs_the_keyring_from_before_the_retirement(
    world: World, tmp_path: Path
) -> None:
    with world.store.transaction() as tx:
        from_backup = key_from_text(tx.session.scalars(select(Trial.data_key)).one())
    rotate(world)
    copy = shutil.copy2(world.store.vault.keyring.path, tmp_path / "copy.json")
    retire_root_key(world.store, OPERATOR, 1)

    with pytest.raises(Refusal, match="Root key 1 was retired") as refused:
        FileKeyring.load(world.store.vault.keyring.path).unwrap(from_backup)
    assert refused.value.rules == ("keyring.retired",)
    assert len(FileKeyring.load(copy).unwrap(from_backup)) == 32


def test_nobody_but_the_operator_rotates(world: World) -> None:
    for who in ("administrator", "statistician.one", "manager"):
        with world.refuses("forbidden", "access.permission"):
            perform(world.store, add_root_key, world.who(who), AddRootKey())
    assert world.store.vault.keyring.root_keys() == (1,)


def test_a_new_audit_key_is_announced_under_a_signature_of_the_old_one(world: World) -> None:
    keyring = world.store.vault.keyring
    world.do(make_checkpoints, OPERATOR, MakeCheckpoints())
    first = keyring.audit_public_key()

    assert rotate_audit_key(world.store, OPERATOR) == 2

    second = keyring.audit_public_key()
    assert second != first
    event, detail = world.last_event("audit_key.added")
    assert detail == {"public_key": second}
    with world.store.transaction() as tx:
        texts = tx.session.scalars(
            select(AuditCheckpoint.text).where(AuditCheckpoint.chain_id == event.chain_id).order_by(AuditCheckpoint.id)
        ).all()
    covering = verify_checkpoint(texts[-1], first)
    assert covering.count >= event.number
    world.do(make_checkpoints, OPERATOR, MakeCheckpoints())
    with world.store.transaction() as tx:
        latest = tx.session.scalars(select(AuditCheckpoint.text).order_by(AuditCheckpoint.id.desc())).first()
    assert verify_checkpoint(latest or "", second)
    with pytest.raises(Refusal):
        verify_checkpoint(latest or "", first)
    assert run_checks(world.store) == []


def test_a_process_that_ran_before_signs_with_the_new_audit_key(world: World) -> None:
    other = open_store(
        world.database_url,
        world.store.vault.keyring.path,
        world.store.lists,
        clock=world.clock,
        entropy=SystemEntropy(),
    )
    rotate_audit_key(other, OPERATOR)
    new = other.vault.keyring.audit_public_key()
    other.engine.dispose()

    world.do(make_checkpoints, OPERATOR, MakeCheckpoints())

    with world.store.transaction() as tx:
        latest = tx.session.scalars(select(AuditCheckpoint.text).order_by(AuditCheckpoint.id.desc())).first()
    assert verify_checkpoint(latest or "", new)


def test_the_vault_of_a_running_process_opens_what_was_wrapped_since(world: World) -> None:
    """Its keyring was read before; its cache holds the data key under the old wrap."""
    before = Vault(FileKeyring.load(world.store.vault.keyring.path), SystemEntropy())
    rotate(world)
    with world.store.transaction() as tx:
        key = key_from_text(tx.session.scalars(select(Trial.data_key)).one())

    sealed = before.seal(key, b"text", "somewhere", 16)

    assert before.opener(lambda _: None).open(sealed) == b"text"
