import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rts.entropy import ReplayedEntropy
from rts.refusal import Refusal
from rts.vault.boxes import box_length
from rts.vault.file_keyring import FileKeyring
from rts.vault.vault import Vault


def untraced(context: str) -> None:
    """The record of an opening that the test does not look at."""


def test_every_opening_is_recorded_before_anything_is_read(vault: Vault) -> None:
    sealed = vault.seal(vault.new_data_key("trial SIRIUS"), b"QZ", "subject.arm:1", 64)
    recorded: list[str] = []
    opener = vault.opener(recorded.append)
    assert opener.open(sealed) == b"QZ"
    assert opener.text(sealed) == "QZ"
    assert recorded == ["subject.arm:1", "subject.arm:1"]
    assert opener.openings == 2


@pytest.mark.requirement("UNBL-04")
def test_nothing_is_read_when_the_opening_cannot_be_recorded(vault: Vault) -> None:
    sealed = vault.seal(vault.new_data_key("trial SIRIUS"), b"QZ", "subject.arm:1", 64)

    def fail(context: str) -> None:
        raise OSError("no space left for the audit trail")

    opener = vault.opener(fail)
    with pytest.raises(OSError, match="no space left"):
        opener.open(sealed)
    assert opener.openings == 0


def test_a_closed_opener_refuses_and_records_nothing(vault: Vault) -> None:
    sealed = vault.seal(vault.new_data_key("trial SIRIUS"), b"QZ", "subject.arm:1", 64)
    recorded: list[str] = []
    with vault.opener(recorded.append) as opener:
        pass
    with pytest.raises(Refusal) as refused:
        opener.open(sealed)
    assert (refused.value.code, refused.value.rules) == ("forbidden", ("vault.closed",))
    assert recorded == []


def test_a_stored_box_opens_again_in_another_process(vault: Vault, entropy: ReplayedEntropy) -> None:
    key = vault.new_data_key("trial SIRIUS")
    box = vault.seal(key, b"QZ", "subject.arm:1", 64).box
    later = Vault(FileKeyring.load(vault.keyring.path), entropy)
    assert later.opener(untraced).open(later.sealed(key, box, "subject.arm:1")) == b"QZ"


def test_a_value_stays_readable_when_its_key_is_rewrapped(vault: Vault, entropy: ReplayedEntropy) -> None:
    key = vault.new_data_key("trial SIRIUS")
    box = vault.seal(key, b"QZ", "subject.arm:1", 64).box
    vault.keyring.add_root_key(entropy)
    rewrapped = vault.rewrap(key)
    assert rewrapped.version == 2
    assert vault.opener(untraced).open(vault.sealed(rewrapped, box, "subject.arm:1")) == b"QZ"


def test_the_length_of_a_box_tells_the_step_only(vault: Vault) -> None:
    key = vault.new_data_key("trial SIRIUS")
    lengths = {len(vault.seal(key, b"x" * size, "column:1", 64).box) for size in range(61)}
    assert lengths == {box_length(0, 64)} == {12 + 64 + 16}
    assert len(vault.seal(key, b"x" * 61, "column:1", 64).box) == 12 + 128 + 16


def test_equal_values_are_sealed_into_different_boxes(vault: Vault) -> None:
    key = vault.new_data_key("trial SIRIUS")
    assert vault.seal(key, b"QZ", "column:1", 64).box != vault.seal(key, b"QZ", "column:1", 64).box


def test_a_box_moved_to_another_row_or_key_or_keyring_does_not_open(
    vault: Vault, entropy: ReplayedEntropy, tmp_path: Path
) -> None:
    key, other_key = vault.new_data_key("trial SIRIUS"), vault.new_data_key("trial SIRIUS")
    box = vault.seal(key, b"QZ", "subject.arm:1", 64).box
    other = Vault(FileKeyring.create(tmp_path / "other.json", entropy), entropy)
    for holder, sealed in (
        (vault, vault.sealed(key, box, "subject.arm:2")),
        (vault, vault.sealed(other_key, box, "subject.arm:1")),
        (vault, vault.sealed(key, b"", "subject.arm:1")),
        (other, vault.sealed(key, box, "subject.arm:1")),
    ):
        with pytest.raises(Refusal) as refused:
            holder.opener(untraced).open(sealed)
        assert (refused.value.code, refused.value.rules) == ("unavailable", ("vault.open",))
        assert "QZ" not in str(refused.value)
        assert "subject" not in str(refused.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(plaintext=st.binary(max_size=200), pad_to=st.integers(1, 200), data=st.data())
def test_any_text_comes_back_and_any_edited_byte_is_found(
    vault: Vault, plaintext: bytes, pad_to: int, data: st.DataObject
) -> None:
    key = vault.new_data_key("trial SIRIUS")
    sealed = vault.seal(key, plaintext, "column:1", pad_to)
    opener = vault.opener(untraced)
    assert opener.open(sealed) == plaintext
    assert (len(sealed.box) - 28) % pad_to == 0
    edited = bytearray(sealed.box)
    edited[data.draw(st.integers(0, len(edited) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Refusal) as refused:
        opener.open(vault.sealed(key, bytes(edited), "column:1"))
    assert refused.value.rules == ("vault.open",)


def test_bytes_that_are_no_text_are_refused_without_being_shown(vault: Vault) -> None:
    sealed = vault.seal(vault.new_data_key("trial SIRIUS"), b"QZ\xff", "column:1", 64)
    with pytest.raises(Refusal) as refused:
        vault.opener(untraced).text(sealed)
    assert refused.value.rules == ("vault.open",)
    assert refused.value.__context__ is None


def test_a_thousand_values_open_fast_enough_for_a_page(vault: Vault) -> None:
    key = vault.new_data_key("trial SIRIUS")
    values = [vault.seal(key, b"QZ", f"kit.arm:{number}", 64) for number in range(1000)]
    recorded: list[str] = []
    opener = vault.opener(recorded.append)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for value in values:
            opener.open(value)
        times.append(time.perf_counter() - start)
    assert len(recorded) == 5000
    assert min(times) < 0.02
