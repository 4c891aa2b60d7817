import hashlib
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rts.entropy import ReplayedEntropy
from rts.refusal import Refusal
from rts.vault import keys_file
from rts.vault.entries import ListEntry
from rts.vault.file_keyring import FileKeyring
from rts.vault.keys_file import keys_for, read_keys, replace_keys, rewrap
from rts.vault.list_file import ListFileFacts, Manifest, write_list_file
from rts.vault.offline import open_offline
from rts.vault.person_keys import Person, PublicKey, create_person_key, read_public_key, unlock_person_key
from rts.vault.sealed import WrappedKey
from rts.vault.vault import Vault

PASSPHRASE = "correct horse battery"
INPUTS = {"seed": "5eed" * 16, "block_sizes": [4, 6]}
ManifestOf = Callable[..., Manifest]


def untraced(context: str) -> None:
    """The record of an opening that the test does not look at."""


@pytest.fixture(scope="module")
def statistician() -> tuple[str, Person]:
    private_text, public_text = create_person_key(PASSPHRASE, ReplayedEntropy(b"statistician"))
    return private_text, Person("stat-1", 1, public_text)


@pytest.fixture(scope="module")
def successor() -> tuple[str, Person]:
    private_text, public_text = create_person_key(PASSPHRASE, ReplayedEntropy(b"successor"))
    return private_text, Person("stat-2", 1, public_text)


@pytest.fixture
def written(
    tmp_path: Path,
    vault: Vault,
    entries: list[ListEntry],
    manifest_of: ManifestOf,
    statistician: tuple[str, Person],
) -> ListFileFacts:
    return write_list_file(tmp_path, manifest_of(entries), entries, INPUTS, vault, [statistician[1]])


@pytest.mark.requirement("UNBL-06")
def test_a_statistician_opens_one_number_with_no_server(
    written: ListFileFacts, vault: Vault, statistician: tuple[str, Person]
) -> None:
    vault.keyring.path.unlink()
    recorded: list[str] = []
    private_key = unlock_person_key(statistician[0], PASSPHRASE)
    opened = open_offline(written.path, written.keys_path, private_key, recorded.append)
    assert opened.arm_of(" r103 ") == "QZ"
    assert len(recorded) == 6
    assert opened.inputs() == INPUTS
    assert repr(opened) == "<opened list>"


def test_the_keyring_opens_the_list_offline_too(written: ListFileFacts, vault: Vault) -> None:
    opened = open_offline(written.path, written.keys_path, FileKeyring.load(vault.keyring.path), untraced)
    assert opened.arm_of("R104") == "QZ"


def test_a_number_that_the_list_does_not_have_is_refused(written: ListFileFacts, vault: Vault) -> None:
    opened = open_offline(written.path, written.keys_path, vault.keyring, untraced)
    with pytest.raises(Refusal) as refused:
        opened.arm_of("R999")
    assert (refused.value.code, refused.value.rules) == ("not_found", ("list.number",))


def test_a_key_that_is_no_recipient_opens_nothing(
    written: ListFileFacts, successor: tuple[str, Person], tmp_path: Path, entropy: ReplayedEntropy
) -> None:
    other_keyring = FileKeyring.create(tmp_path / "other.json", entropy)
    for key in (unlock_person_key(successor[0], PASSPHRASE), other_keyring):
        with pytest.raises(Refusal) as refused:
            open_offline(written.path, written.keys_path, key, untraced)
        assert refused.value.rules == ("keys_file.recipient",)


def test_rotation_replaces_the_wrap_of_the_service_only(
    written: ListFileFacts, vault: Vault, entropy: ReplayedEntropy, statistician: tuple[str, Person]
) -> None:
    list_before, keys_before = written.path.read_bytes(), read_keys(written.keys_path)
    vault.keyring.add_root_key(entropy)
    assert rewrap(written.keys_path, vault)
    keys = read_keys(written.keys_path)
    assert written.path.read_bytes() == list_before
    assert [(each.recipient_id, each.kind, each.key_version) for each in keys.recipients] == [
        (vault.keyring.keyring_id, "keyring", 2),
        ("stat-1", "person", 1),
    ]
    assert keys.recipients[1] == keys_before.recipients[1]
    for key in (vault.keyring, unlock_person_key(statistician[0], PASSPHRASE)):
        assert open_offline(written.path, written.keys_path, key, untraced).arm_of("R100") == "QZ"
    assert not rewrap(written.keys_path, vault)
    assert read_keys(written.keys_path) == keys


def test_a_recipient_left_out_opens_the_list_with_an_old_copy_only(
    written: ListFileFacts,
    vault: Vault,
    statistician: tuple[str, Person],
    successor: tuple[str, Person],
    tmp_path: Path,
) -> None:
    old_copy = tmp_path / "old.keys"
    old_copy.write_bytes(written.keys_path.read_bytes())
    keys = read_keys(written.keys_path)
    replace_keys(written.keys_path, keys_for(vault, keys.trial, keys.list_id, written.key, [successor[1]]))
    private_key = unlock_person_key(statistician[0], PASSPHRASE)
    with pytest.raises(Refusal) as refused:
        open_offline(written.path, written.keys_path, private_key, untraced)
    assert refused.value.rules == ("keys_file.recipient",)
    assert open_offline(written.path, old_copy, private_key, untraced).arm_of("R100") == "QZ"
    successor_key = unlock_person_key(successor[0], PASSPHRASE)
    assert open_offline(written.path, written.keys_path, successor_key, untraced).arm_of("R100") == "QZ"


def test_a_wrap_that_is_kept_needs_no_root_key(
    written: ListFileFacts, vault: Vault, statistician: tuple[str, Person]
) -> None:
    kept = read_keys(written.keys_path).recipients
    sealed_elsewhere = WrappedKey(1, b"no wrap", written.key.context)
    keys = keys_for(vault, "SIRIUS", "R1", sealed_elsewhere, [statistician[1]], kept)
    assert keys.recipients[1] == kept[1]


def test_keys_for_people_who_are_none_are_refused(
    written: ListFileFacts, vault: Vault, statistician: tuple[str, Person]
) -> None:
    person = statistician[1]
    for people, rule in (
        ([Person("stat-2", 1, "no key")], "person_key.public"),
        ([Person("stat-2", 1, vault.keyring.audit_public_key())], "person_key.public"),
        ([person, person], "keys_file.recipients"),
    ):
        with pytest.raises(Refusal) as refused:
            keys_for(vault, "SIRIUS", "R1", written.key, people)
        assert (refused.value.code, refused.value.rules) == ("invalid", (rule,))


def test_the_keys_of_another_list_are_refused(
    written: ListFileFacts, tmp_path: Path, vault: Vault, entries: list[ListEntry], manifest_of: ManifestOf
) -> None:
    other = write_list_file(tmp_path, manifest_of(entries, list_id="R2"), entries, INPUTS, vault)
    with pytest.raises(Refusal) as refused:
        open_offline(written.path, other.keys_path, vault.keyring, untraced)
    assert refused.value.rules == ("keys_file.list",)
    # Nor does a wrap work that was carried over under the right name.
    carried = other.keys_path.read_text().replace('"R2"', '"R1"')
    written.keys_path.write_text(carried)
    with pytest.raises(Refusal) as refused:
        open_offline(written.path, written.keys_path, vault.keyring, untraced)
    assert refused.value.rules == ("vault.open",)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data())
def test_any_changed_byte_outside_the_other_recipients_is_found(
    tmp_path: Path,
    vault: Vault,
    written: ListFileFacts,
    data: st.DataObject,
) -> None:
    replace_keys(written.keys_path, keys_for(vault, "SIRIUS", "R1", written.key, []))
    content = bytearray(written.keys_path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    edited = tmp_path / "edited.keys"
    edited.write_bytes(content)
    with pytest.raises(Refusal):
        open_offline(written.path, edited, vault.keyring, untraced)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "keys_file.damaged"),
        (b"[]", "keys_file.damaged"),
        (b'{"format": "rts/list-keys/9"}', "keys_file.format"),
        (b'{"format": "rts/list-keys/1"}', "keys_file.damaged"),
    ],
)
def test_a_keys_file_of_another_form_is_refused(written: ListFileFacts, content: bytes, rule: str) -> None:
    written.keys_path.write_bytes(content)
    with pytest.raises(Refusal) as refused:
        keys_file.read_keys(written.keys_path)
    assert (refused.value.code, refused.value.rules) == ("invalid", (rule,))


def test_a_private_key_needs_its_passphrase(statistician: tuple[str, Person]) -> None:
    private_key = unlock_person_key(statistician[0].replace("\n", "\r\n"), PASSPHRASE)
    assert private_key.private_bytes_raw() not in b64decode("".join(statistician[0].split("\n")[1:-2]))
    with pytest.raises(Refusal) as refused:
        unlock_person_key(statistician[0], "another passphrase")
    assert (refused.value.code, refused.value.rules) == ("wrong_password", ("person_key.passphrase",))


def test_a_damaged_private_key_is_refused(statistician: tuple[str, Person]) -> None:
    lines = statistician[0].split("\n")
    other = "A" if lines[2][0] != "A" else "B"
    with pytest.raises(Refusal) as refused:
        unlock_person_key("\n".join([*lines[:2], other + lines[2][1:], *lines[3:]]), PASSPHRASE)
    assert refused.value.code == "wrong_password"


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN RTS PERSON KEY 1-----\nAAAA\n"])
def test_a_text_that_is_no_private_key_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        unlock_person_key(text, PASSPHRASE)
    assert (refused.value.code, refused.value.rules) == ("invalid", ("person_key.private",))


def test_a_short_passphrase_is_refused(entropy: ReplayedEntropy) -> None:
    with pytest.raises(Refusal) as refused:
        create_person_key("elevenchars", entropy)
    assert refused.value.failed[0].field == "passphrase"


def test_a_fingerprint_is_the_same_however_the_key_was_pasted(statistician: tuple[str, Person]) -> None:
    pem = statistician[1].public_key
    raw = load_pem_public_key(pem.encode()).public_bytes_raw()  # type: ignore[union-attr]
    expected = PublicKey(pem, hashlib.sha256(raw).hexdigest())
    assert read_public_key(pem) == expected
    assert read_public_key("\n\n" + pem.replace("\n", "\r\n") + "\n") == expected


LOW_ORDER = [0, 1, 325606250916557431795983626356110631294008115727848805560023387167927233504]


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_public_key_whose_secrets_everybody_could_tell_is_refused(point: int) -> None:
    """Points of low order on Curve25519: the secret shared with them is zero."""
    key = X25519PublicKey.from_public_bytes(point.to_bytes(32, "little"))
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(Refusal) as refused:
        read_public_key(pem)
    assert (refused.value.code, refused.value.rules) == ("invalid", ("person_key.public",))


def test_a_private_key_given_for_the_public_one_is_refused_with_a_warning(statistician: tuple[str, Person]) -> None:
    for private in (statistician[0], "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(Refusal, match="belongs on your own computer") as refused:
            read_public_key(private)
        assert refused.value.rules == ("person_key.private_sent",)
        assert private.split("\n")[1] not in str(refused.value)
