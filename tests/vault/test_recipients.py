from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rts.entropy import ReplayedEntropy
from rts.refusal import Refusal
from rts.vault import keys_file
from rts.vault.entries import ListEntry
from rts.vault.file_keyring import FileKeyring
from rts.vault.keys_file import read_keys, rewrap
from rts.vault.list_file import ListFileFacts, Manifest, write_list_file
from rts.vault.offline import open_offline
from rts.vault.person_keys import Person, create_person_key, unlock_person_key
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


def test_rotation_replaces_the_keys_file_only(
    written: ListFileFacts,
    vault: Vault,
    entropy: ReplayedEntropy,
    statistician: tuple[str, Person],
    successor: tuple[str, Person],
) -> None:
    list_before = written.path.read_bytes()
    vault.keyring.add_root_key(entropy)
    key = rewrap(written.keys_path, vault, [successor[1]])
    assert key.version == 2
    assert written.path.read_bytes() == list_before
    assert [(each.recipient_id, each.kind, each.key_version) for each in read_keys(written.keys_path).recipients] == [
        (vault.keyring.keyring_id, "keyring", 2),
        ("stat-2", "person", 1),
    ]
    opened = open_offline(written.path, written.keys_path, unlock_person_key(successor[0], PASSPHRASE), untraced)
    assert opened.arm_of("R100") == "QZ"
    with pytest.raises(Refusal):
        open_offline(written.path, written.keys_path, unlock_person_key(statistician[0], PASSPHRASE), untraced)


def test_a_rotation_that_is_refused_leaves_the_keys_file_as_it_was(
    written: ListFileFacts, vault: Vault, statistician: tuple[str, Person]
) -> None:
    before = written.keys_path.read_bytes()
    person = statistician[1]
    for people, rule in (
        ([Person("stat-2", 1, "no key")], "person_key.public"),
        ([Person("stat-2", 1, vault.keyring.audit_public_key())], "person_key.public"),
        ([person, person], "keys_file.recipients"),
    ):
        with pytest.raises(Refusal) as refused:
            rewrap(written.keys_path, vault, people)
        assert (refused.value.code, refused.value.rules) == ("invalid", (rule,))
        assert written.keys_path.read_bytes() == before


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
    rewrap(written.keys_path, vault, [])
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
