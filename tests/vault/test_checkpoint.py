from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rts.entropy import ReplayedEntropy
from rts.refusal import Refusal
from rts.vault.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint, verify_checkpoint
from rts.vault.file_keyring import FileKeyring
from rts.vault.keyring import Keyring

CHECKPOINT = Checkpoint(bytes(range(16)), 3, bytes(32), datetime(2026, 11, 1, 8, 0, 0, 5, tzinfo=UTC))


def test_a_checkpoint_is_verified_with_the_public_key_alone(keyring: Keyring) -> None:
    text = sign_checkpoint(CHECKPOINT, keyring)
    lines = text.split("\n")
    assert lines[:5] == [
        "rts/audit/1/000102030405060708090a0b0c0d0e0f",
        "3",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "2026-11-01T08:00:00.000005Z",
        "",
    ]
    assert lines[5].startswith("— rts-audit ")
    assert parse_checkpoint(text) == CHECKPOINT
    assert verify_checkpoint(text, keyring.audit_public_key()) == CHECKPOINT


def test_a_checkpoint_of_another_installation_is_refused(keyring: Keyring, tmp_path: object) -> None:
    other = FileKeyring.create(keyring.path.with_name("other.json"), ReplayedEntropy(b"other"))
    with pytest.raises(Refusal) as refused:
        verify_checkpoint(sign_checkpoint(CHECKPOINT, other), keyring.audit_public_key())
    assert refused.value.rules == ("checkpoint.key",)


def test_a_checkpoint_with_another_count_is_refused(keyring: Keyring) -> None:
    text = sign_checkpoint(CHECKPOINT, keyring).replace("\n3\n", "\n2\n")
    with pytest.raises(Refusal) as refused:
        verify_checkpoint(text, keyring.audit_public_key())
    assert refused.value.rules == ("checkpoint.signature",)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(min_value=0), character=st.characters())
def test_any_changed_character_of_a_checkpoint_is_found(keyring: Keyring, place: int, character: str) -> None:
    text = sign_checkpoint(CHECKPOINT, keyring)
    place %= len(text)
    changed = text[:place] + character + text[place + 1 :]
    if changed != text:
        with pytest.raises(Refusal) as refused:
            verify_checkpoint(changed, keyring.audit_public_key())
        assert refused.value.code == "invalid"


def test_a_public_key_that_is_none_is_refused(keyring: Keyring) -> None:
    with pytest.raises(Refusal) as refused:
        verify_checkpoint(sign_checkpoint(CHECKPOINT, keyring), "no key")
    assert refused.value.rules == ("checkpoint.public_key",)
