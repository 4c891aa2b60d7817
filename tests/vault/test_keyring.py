import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rts.entropy import ReplayedEntropy, SystemEntropy
from rts.refusal import Refusal
from rts.vault.file_keyring import FileKeyring
from rts.vault.keyring import Keyring
from rts.vault.sealed import WrappedKey


def test_a_new_keyring_can_be_read_by_its_owner_only(keyring: Keyring) -> None:
    assert keyring.path.stat().st_mode & 0o777 == 0o600
    assert FileKeyring.load(keyring.path).keyring_id == keyring.keyring_id


def test_a_keyring_is_never_overwritten(keyring: Keyring) -> None:
    before = keyring.path.read_bytes()
    with pytest.raises(Refusal) as refused:
        FileKeyring.create(keyring.path, SystemEntropy())
    assert (refused.value.code, refused.value.rules) == ("conflict", ("file.exists",))
    assert keyring.path.read_bytes() == before
    assert [path.name for path in keyring.path.parent.iterdir()] == ["keyring.json"]


def test_of_many_first_runs_at_once_one_makes_the_keyring(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"

    def create(number: int) -> str:
        try:
            return FileKeyring.create(path, ReplayedEntropy(bytes([number]))).keyring_id
        except Refusal as refused:
            return refused.code

    with ThreadPoolExecutor(16) as pool:
        outcomes = sorted(pool.map(create, range(16)))
    assert outcomes.count("conflict") == 15
    assert FileKeyring.load(path).keyring_id in outcomes
    assert [found.name for found in tmp_path.iterdir()] == ["keyring.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o666])
def test_a_keyring_that_others_can_reach_is_refused_with_the_cure(keyring: Keyring, mode: int) -> None:
    keyring.path.chmod(mode)
    with pytest.raises(Refusal, match="chmod 600") as refused:
        FileKeyring.load(keyring.path)
    assert (refused.value.code, refused.value.rules) == ("unavailable", ("keyring.mode",))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_keyring_of_another_user_is_refused(keyring: Keyring) -> None:
    os.chown(keyring.path, 65534, -1)
    with pytest.raises(Refusal, match="belongs to another user") as refused:
        FileKeyring.load(keyring.path)
    assert refused.value.rules == ("keyring.owner",)


def test_a_missing_keyring_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="There is no keyring") as refused:
        FileKeyring.load(tmp_path / "keyring.json")
    assert (refused.value.code, refused.value.rules) == ("unavailable", ("keyring.missing",))


def test_a_keyring_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        FileKeyring.load(tmp_path)
    assert refused.value.rules == ("keyring.unreadable",)


def test_a_keyring_of_an_unknown_format_is_refused(keyring: Keyring) -> None:
    keyring.path.write_text(keyring.path.read_text().replace("rts/keyring/1", "rts/keyring/9"))
    with pytest.raises(Refusal) as refused:
        FileKeyring.load(keyring.path)
    assert refused.value.rules == ("keyring.format",)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_keyring_cut_short_or_with_any_byte_changed_is_refused(keyring: Keyring, data: st.DataObject) -> None:
    whole = keyring.path.read_bytes()
    damaged = bytearray(whole)
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        del damaged[place:]
    else:
        damaged[place] ^= data.draw(st.integers(1, 255))
    keyring.path.write_bytes(damaged)
    try:
        with pytest.raises(Refusal) as refused:
            FileKeyring.load(keyring.path)
    finally:
        keyring.path.write_bytes(whole)
    assert refused.value.code == "unavailable"
    for key in json.loads(whole)["root_keys"].values():
        assert key not in str(refused.value)


def test_a_keyring_shows_nothing_and_cannot_be_pickled(keyring: Keyring) -> None:
    assert repr(keyring) == str(keyring) == "<keyring>"
    assert "object at" in repr(keyring._keys)
    with pytest.raises(TypeError):
        pickle.dumps(keyring)


def test_a_data_key_comes_back_from_its_wrap_after_rotation(keyring: Keyring, entropy: ReplayedEntropy) -> None:
    old = keyring.wrap(b"k" * 32, "trial SIRIUS", entropy)
    assert keyring.add_root_key(entropy) == 2
    new = keyring.wrap(b"k" * 32, "trial SIRIUS", entropy)
    assert (old.version, new.version) == (1, 2)
    reloaded = FileKeyring.load(keyring.path)
    assert reloaded.root_key_version == 2
    assert [reloaded.unwrap(old), reloaded.unwrap(new)] == [b"k" * 32, b"k" * 32]
    assert keyring.path.stat().st_mode & 0o777 == 0o600


def test_a_running_process_finds_a_root_key_that_another_one_added(keyring: Keyring, entropy: ReplayedEntropy) -> None:
    other = FileKeyring.load(keyring.path)
    other.add_root_key(entropy)
    assert keyring.unwrap(other.wrap(b"k" * 32, "trial SIRIUS", entropy)) == b"k" * 32


def test_rotations_at_once_lose_no_key(keyring: Keyring, entropy: ReplayedEntropy) -> None:
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda _: FileKeyring.load(keyring.path).add_root_key(SystemEntropy()), range(8)))
    assert sorted(versions) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_wrap_opens_for_its_own_context_version_and_keyring_only(
    keyring: Keyring, entropy: ReplayedEntropy, tmp_path: Path
) -> None:
    wrapped = keyring.wrap(b"k" * 32, "trial SIRIUS", entropy)
    keyring.add_root_key(entropy)
    other = FileKeyring.create(tmp_path / "other.json", entropy)
    for holder, changed, rule in (
        (keyring, WrappedKey(1, wrapped.wrap, "trial OTHER"), "vault.open"),
        (keyring, WrappedKey(2, wrapped.wrap, "trial SIRIUS"), "vault.open"),
        (keyring, WrappedKey(7, wrapped.wrap, "trial SIRIUS"), "keyring.version"),
        (keyring, WrappedKey(0, wrapped.wrap, "trial SIRIUS"), "keyring.version"),
        (keyring, WrappedKey(1, wrapped.wrap[:-1], "trial SIRIUS"), "vault.open"),
        (other, wrapped, "vault.open"),
    ):
        with pytest.raises(Refusal) as refused:
            holder.unwrap(changed)
        assert (refused.value.code, refused.value.rules) == ("unavailable", (rule,))


def test_a_mac_depends_on_purpose_data_and_keyring(keyring: Keyring, tmp_path: Path) -> None:
    other = FileKeyring.create(tmp_path / "other.json", ReplayedEntropy(b"other"))
    macs = {keyring.mac("seed", b"x"), keyring.mac("request", b"x"), keyring.mac("seed", b"y"), other.mac("seed", b"x")}
    assert {len(mac) for mac in macs} == {32}
    assert len(macs) == 4
    assert keyring.mac("seed", b"x") == FileKeyring.load(keyring.path).mac("seed", b"x")


def test_a_process_that_read_the_file_before_wraps_under_the_newest_root_key(
    keyring: Keyring, entropy: ReplayedEntropy
) -> None:
    FileKeyring.load(keyring.path).add_root_key(entropy)
    assert keyring.wrap(b"k" * 32, "trial SIRIUS", entropy).version == 2


def test_a_rotation_is_under_way_until_the_file_says_that_it_is_finished(
    keyring: Keyring, entropy: ReplayedEntropy
) -> None:
    assert (keyring.root_key_version, keyring.current_root_key) == (1, 1)
    keyring.add_root_key(entropy)
    assert (keyring.root_key_version, FileKeyring.load(keyring.path).current_root_key) == (2, 1)
    keyring.finish_rotation(2, entropy)
    assert (keyring.root_key_version, FileKeyring.load(keyring.path).current_root_key) == (2, 2)


def test_a_retired_root_key_is_gone_from_the_file_and_named_when_it_is_missed(
    keyring: Keyring, entropy: ReplayedEntropy, tmp_path: Path
) -> None:
    old = keyring.wrap(b"k" * 32, "trial SIRIUS", entropy)
    keyring.add_root_key(entropy)
    keyring.finish_rotation(2, entropy)
    copy = tmp_path / "copy.json"
    copy.write_bytes(keyring.path.read_bytes())
    copy.chmod(0o600)
    keyring.retire_root_keys(1)
    assert keyring.root_keys() == (2,)
    assert list(json.loads(keyring.path.read_text())["root_keys"]) == ["2"]
    for holder in (keyring, FileKeyring.load(keyring.path)):
        with pytest.raises(Refusal, match="Root key 1 was retired") as refused:
            holder.unwrap(old)
        assert (refused.value.code, refused.value.rules) == ("unavailable", ("keyring.retired",))
    assert FileKeyring.load(copy).unwrap(old) == b"k" * 32
    assert keyring.add_root_key(entropy) == 3


def test_the_current_root_key_is_never_retired(keyring: Keyring, entropy: ReplayedEntropy) -> None:
    keyring.add_root_key(entropy)
    before = keyring.path.read_bytes()
    for version in (1, 2):
        with pytest.raises(ValueError, match="never retired"):
            keyring.retire_root_keys(version)
    assert keyring.path.read_bytes() == before


def test_a_new_audit_key_signs_once_it_is_put_to_use(keyring: Keyring, entropy: ReplayedEntropy) -> None:
    running, first = FileKeyring.load(keyring.path), keyring.audit_public_key()
    assert (keyring.add_audit_key(entropy), keyring.add_audit_key(entropy)) == (2, 2)
    assert (keyring.audit_keys(), keyring.audit_public_key(), running.audit_public_key()) == ((1, 2), first, first)
    second = keyring.audit_public_key(2)
    keyring.use_audit_key(2)
    assert second != first
    assert (running.audit_public_key(), running.audit_public_key(1)) == (second, first)
    with pytest.raises(Refusal) as refused:
        keyring.audit_public_key(3)
    assert (refused.value.code, refused.value.rules) == ("not_found", ("keyring.audit_key",))


def test_a_file_without_root_keys_is_not_taken_for_one_that_holds_them(keyring: Keyring) -> None:
    keyring.path.write_text(keyring.path.read_text().replace("rts/keyring/1", "rts/transit-keyring/1"))
    with pytest.raises(Refusal, match="RTS_KEYS=transit") as refused:
        FileKeyring.load(keyring.path)
    assert refused.value.rules == ("keyring.place",)
