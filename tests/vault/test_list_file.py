import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rts.entropy import ReplayedEntropy
from rts.randomisation.commitment import subject_leaf, tree_hash
from rts.refusal import Refusal
from rts.vault.entries import EntryContext, ListEntry, pack_entry, unpack_entry
from rts.vault.file_keyring import FileKeyring
from rts.vault.keys_file import read_keys
from rts.vault.list_file import RECORD_BYTES, ListFile, ListFileFacts, Manifest, open_inputs, write_list_file
from rts.vault.vault import Vault

SHORT_ARM = "QZ"
LONG_ARM = "XYLOPHONIC-WOMBAT-ARM-OF-FORTY-LETTERS.."
SEED = "5eed" * 16
INPUTS = {"seed": SEED, "block_sizes": [31337, 41414]}
ManifestOf = Callable[..., Manifest]


def untraced(context: str) -> None:
    """The record of an opening that the test does not look at."""


@pytest.fixture
def written(tmp_path: Path, vault: Vault, entries: list[ListEntry], manifest_of: ManifestOf) -> ListFileFacts:
    return write_list_file(tmp_path / "lists", manifest_of(entries), entries, INPUTS, vault)


def contents(file: ListFile, facts: ListFileFacts, vault: Vault) -> list[tuple[str, int, str, str, bytes, int]]:
    opened = file.entries(facts.key, vault.opener(untraced))
    return [
        (place.stratum, place.position, entry.number, entry.arm, entry.salt, entry.pick_rank) for place, entry in opened
    ]


def test_a_list_comes_back_as_it_was_sealed(written: ListFileFacts, vault: Vault) -> None:
    file = ListFile.read(written.path, written.digest)
    assert written.path.parts[-3:] == ("lists", "SIRIUS", "R1.rtslist")
    assert contents(file, written, vault) == [
        ("low", 1, "R100", SHORT_ARM, bytes([0]) * 16, 0),
        ("low", 2, "R101", LONG_ARM, bytes([1]) * 16, 0),
        ("low", 3, "R102", LONG_ARM, bytes([2]) * 16, 0),
        ("low", 4, "R103", SHORT_ARM, bytes([3]) * 16, 0),
        ("high", 1, "R104", SHORT_ARM, bytes([4]) * 16, 0),
        ("high", 2, "R105", LONG_ARM, bytes([5]) * 16, 0),
    ]
    opener = vault.opener(untraced)
    assert open_inputs(file.inputs(written.key), opener) == INPUTS
    assert file.meets_commitment(written.key, opener)


def test_a_kit_list_keeps_its_pick_ranks(
    tmp_path: Path, vault: Vault, kits: list[ListEntry], manifest_of: ManifestOf
) -> None:
    facts = write_list_file(tmp_path, manifest_of(kits, kind="kits", list_id="K1"), kits, INPUTS, vault)
    file = ListFile.read(facts.path)
    assert [row[:3] + row[5:] for row in contents(file, facts, vault)] == [
        ("", 1, "K100", 3),
        ("", 2, "K101", 2),
        ("", 3, "K102", 1),
    ]
    assert file.meets_commitment(facts.key, vault.opener(untraced))


def test_one_entry_is_read_without_the_others(written: ListFileFacts, vault: Vault) -> None:
    content = bytearray(written.path.read_bytes())
    start = content.index(b"\n\n") + 2
    content[start : start + 4 * RECORD_BYTES] = bytes(4 * RECORD_BYTES)
    written.path.write_bytes(content)
    recorded: list[str] = []
    sealed = ListFile.read(written.path).record(4, written.key)
    assert unpack_entry(vault.opener(recorded.append).open(sealed)).number == "R104"
    assert recorded == [f"list {written.manifest_digest} entry high/1"]


@pytest.mark.parametrize("index", [-1, 6])
def test_there_is_no_record_outside_the_list(written: ListFileFacts, index: int) -> None:
    with pytest.raises(IndexError):
        ListFile.read(written.path).record(index, written.key)


def test_a_record_copied_into_the_database_opens_there(written: ListFileFacts, vault: Vault) -> None:
    columns = [(place.stratum, place.position, box) for place, box in ListFile.read(written.path).boxes()]
    stratum, position, box = columns[5]
    context = EntryContext(bytes.fromhex(written.manifest_digest), stratum, position)
    opener = vault.opener(untraced)
    assert unpack_entry(opener.open(vault.sealed(written.key, box, context))).arm == LONG_ARM
    with pytest.raises(Refusal) as refused:
        opener.open(vault.sealed(written.key, box, replace(context, stratum="low")))
    assert refused.value.rules == ("vault.open",)


def test_a_record_is_bound_as_the_specification_says() -> None:
    context = EntryContext(b"\xaa" * 32, "low", 12)
    assert context.associated_data() == b"\xaa" * 32 + b"\x00low\x1f12"


def test_anyone_can_read_the_manifest_without_a_key(written: ListFileFacts) -> None:
    manifest = json.loads(written.path.read_bytes().partition(b"\n\n")[0])
    assert manifest["format"] == "rts/list-file/1"
    assert manifest["purpose"] == "test"
    assert manifest["generated_by"] == "王 statistician"
    assert manifest["strata"] == [{"code": "low", "entries": 4}, {"code": "high", "entries": 2}]
    assert manifest["layout"] == {"records": 6, "record_bytes": 156, "inputs_bytes": 12 + 4096 + 16}


@pytest.mark.requirement("LIST-03")
def test_neither_arm_nor_seed_nor_block_size_nor_number_stands_in_file_keys_or_repr(written: ListFileFacts) -> None:
    file = ListFile.read(written.path)
    shown = repr(written) + repr(file) + str(file) + repr(file.record(0, written.key)) + repr(next(file.boxes())[0])
    everything = written.path.read_bytes() + written.keys_path.read_bytes() + shown.encode()
    for secret in (SHORT_ARM + "\x00", LONG_ARM, SEED, "31337", "41414", "block_sizes", "R100"):
        assert secret.encode() not in everything
    assert bytes.fromhex(SEED) not in everything


def test_every_record_has_the_same_length_whatever_its_arm(written: ListFileFacts) -> None:
    assert {len(box) for _, box in ListFile.read(written.path).boxes()} == {RECORD_BYTES}
    short = pack_entry(ListEntry("R1", "A", bytes(16)))
    long = pack_entry(ListEntry("R" * 40, "A" * 40, bytes(16), 2**32 - 1))
    assert len(short) == len(long) == 124


def test_inputs_of_other_lengths_take_the_same_step(
    tmp_path: Path, vault: Vault, entries: list[ListEntry], manifest_of: ManifestOf
) -> None:
    sizes = set()
    for number, blocks in enumerate(([2], [4, 6, 8, 10] * 50)):
        manifest = manifest_of(entries, list_id=f"R{number}")
        facts = write_list_file(tmp_path, manifest, entries, {"seed": SEED, "block_sizes": blocks}, vault)
        sizes.add(facts.path.stat().st_size)
    assert len(sizes) == 1


# Any edit


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data())
def test_any_changed_byte_of_a_list_file_is_found(written: ListFileFacts, vault: Vault, data: st.DataObject) -> None:
    content = written.path.read_bytes()
    place = data.draw(st.one_of(st.integers(0, 1200), st.integers(0, len(content) - 1)))
    edited = bytearray(content)
    edited[place] ^= data.draw(st.integers(1, 255))
    path = written.path.with_name("edited.rtslist")
    path.write_bytes(edited)
    opener = vault.opener(untraced)
    with pytest.raises(Refusal) as refused:
        read_everything(path, written, opener)
    assert refused.value.code in {"invalid", "unavailable"}
    for secret in (SHORT_ARM, LONG_ARM, SEED, "31337"):
        assert secret not in str(refused.value)
    with pytest.raises(Refusal) as refused:
        ListFile.read(path, written.digest)
    assert refused.value.rules == ("list_file.digest",)


def read_everything(path: Path, facts: ListFileFacts, opener: object) -> None:
    file = ListFile.read(path)
    list(file.entries(facts.key, opener))  # type: ignore[arg-type]
    open_inputs(file.inputs(facts.key), opener)  # type: ignore[arg-type]


def swap_first_two(head: bytes, records: list[bytes], inputs: bytes) -> bytes:
    return head + b"".join([records[1], records[0], *records[2:]]) + inputs


def repeat_the_first(head: bytes, records: list[bytes], inputs: bytes) -> bytes:
    return head + b"".join([records[0], records[0], *records[2:]]) + inputs


def swap_strata(head: bytes, records: list[bytes], inputs: bytes) -> bytes:
    return head + b"".join([records[4], *records[1:4], records[0], records[5]]) + inputs


def name_another_purpose(head: bytes, records: list[bytes], inputs: bytes) -> bytes:
    return head.replace(b'"purpose": "test"', b'"purpose": "production"') + b"".join(records) + inputs


def name_another_commitment(head: bytes, records: list[bytes], inputs: bytes) -> bytes:
    manifest = json.loads(head)
    manifest["commitment"] = "00" * 32
    head = json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n\n"
    return head + b"".join(records) + inputs


@pytest.mark.parametrize(
    "edit", [swap_first_two, repeat_the_first, swap_strata, name_another_purpose, name_another_commitment]
)
def test_moved_records_and_a_wellformed_other_manifest_are_found_on_opening(
    written: ListFileFacts, vault: Vault, edit: Callable[[bytes, list[bytes], bytes], bytes]
) -> None:
    head, end, rest = written.path.read_bytes().partition(b"\n\n")
    records = [rest[start : start + RECORD_BYTES] for start in range(0, 6 * RECORD_BYTES, RECORD_BYTES)]
    written.path.write_bytes(edit(head + end, records, rest[6 * RECORD_BYTES :]))
    file = ListFile.read(written.path)
    with pytest.raises(Refusal) as refused:
        list(file.entries(written.key, vault.opener(untraced)))
    assert refused.value.rules == ("vault.open",)


def test_fewer_entries_with_a_manifest_to_match_are_found_on_opening(written: ListFileFacts, vault: Vault) -> None:
    head, end, rest = written.path.read_bytes().partition(b"\n\n")
    manifest = json.loads(head)
    manifest["strata"][1]["entries"] = 1
    manifest["layout"]["records"] = 5
    head = json.dumps(manifest, indent=2, ensure_ascii=False).encode()
    written.path.write_bytes(head + end + rest[: 5 * RECORD_BYTES] + rest[6 * RECORD_BYTES :])
    with pytest.raises(Refusal) as refused:
        contents(ListFile.read(written.path), written, vault)
    assert refused.value.rules == ("vault.open",)


@pytest.mark.parametrize(
    ("edit", "rule"),
    [
        (lambda content: content[:-1], "list_file.truncated"),
        (lambda content: content[:-RECORD_BYTES], "list_file.truncated"),
        (lambda content: content + b"\x00", "list_file.extended"),
        (lambda content: content[:300], "list_file.manifest"),
        (lambda content: b"", "list_file.manifest"),
        (lambda content: content.replace(b"rts/list-file/1", b"rts/list-file/2"), "list_file.format"),
        (lambda content: content.replace(b'"purpose": "test"', b'"purpose": "toast"'), "list_file.manifest"),
        (lambda content: content.replace(b'"list_id": "R1"', b'"list_id": 5'), "list_file.manifest"),
        (lambda content: content.replace(b'"trial"', b'"trail"'), "list_file.manifest"),
        (lambda content: b"[]" + content[content.index(b"\n\n") :], "list_file.manifest"),
    ],
)
def test_a_file_of_another_form_is_refused_with_what_is_wrong(
    written: ListFileFacts, edit: Callable[[bytes], bytes], rule: str
) -> None:
    written.path.write_bytes(edit(written.path.read_bytes()))
    with pytest.raises(Refusal, match=r"R1\.rtslist") as refused:
        ListFile.read(written.path)
    assert (refused.value.code, refused.value.rules) == ("invalid", (rule,))


def test_a_missing_list_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        ListFile.read(tmp_path / "R1.rtslist")
    assert (refused.value.code, refused.value.rules) == ("not_found", ("file.missing",))


def test_a_list_of_another_installation_does_not_open(
    written: ListFileFacts, entropy: ReplayedEntropy, tmp_path: Path
) -> None:
    other = Vault(FileKeyring.create(tmp_path / "other.json", entropy), entropy)
    with pytest.raises(Refusal) as refused:
        contents(ListFile.read(written.path), written, other)
    assert refused.value.rules == ("vault.open",)


# Writing


def test_a_list_file_is_never_overwritten(
    written: ListFileFacts, tmp_path: Path, vault: Vault, entries: list[ListEntry], manifest_of: ManifestOf
) -> None:
    before = written.path.read_bytes(), written.keys_path.read_bytes()
    with pytest.raises(Refusal) as refused:
        write_list_file(tmp_path / "lists", manifest_of(entries), entries, INPUTS, vault)
    assert (refused.value.code, refused.value.rules) == ("conflict", ("file.exists",))
    assert (written.path.read_bytes(), written.keys_path.read_bytes()) == before


def test_a_list_file_without_its_keys_is_not_overwritten_either(
    written: ListFileFacts, tmp_path: Path, vault: Vault, entries: list[ListEntry], manifest_of: ManifestOf
) -> None:
    before = written.path.read_bytes()
    written.keys_path.unlink()
    with pytest.raises(Refusal) as refused:
        write_list_file(tmp_path / "lists", manifest_of(entries), entries, INPUTS, vault)
    assert refused.value.rules == ("file.exists",)
    assert written.path.read_bytes() == before
    assert [path.name for path in written.path.parent.iterdir()] == ["R1.rtslist"]


@contextmanager
def files_of_at_most(length: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# 2,000 bytes are enough for the keys file, not for the list; 100 for neither.
@pytest.mark.parametrize("room", [100, 2000])
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, vault: Vault, entries: list[ListEntry], manifest_of: ManifestOf, room: int
) -> None:
    with files_of_at_most(room), pytest.raises(Refusal, match="could not be written") as refused:
        write_list_file(tmp_path / "lists", manifest_of(entries), entries, INPUTS, vault)
    assert (refused.value.code, refused.value.rules) == ("unavailable", ("file.write",))
    assert list((tmp_path / "lists" / "SIRIUS").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"list_id": "../R1"}, "list_id"),
        ({"list_id": ".R1"}, "list_id"),
        ({"trial": "SIR/IUS"}, "trial"),
        ({"purpose": "rehearsal"}, "purpose"),
        ({"kind": "boxes"}, "kind"),
        ({"definition_digest": "ab"}, "definition_digest"),
        ({"commitment": "00" * 32}, "commitment"),
        ({"strata": (("low", 3), ("low", 3))}, "strata"),
        ({"strata": (("", 6),)}, "strata"),
        ({"strata": (("low", 6), ("high", 0))}, "strata"),
        ({"strata": (("low", 5),)}, "strata"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused_by_field(
    tmp_path: Path,
    vault: Vault,
    entries: list[ListEntry],
    manifest_of: ManifestOf,
    changes: dict[str, object],
    field: str,
) -> None:
    with pytest.raises(Refusal) as refused:
        write_list_file(tmp_path / "lists", manifest_of(entries, **changes), entries, INPUTS, vault)
    assert refused.value.code == "invalid"
    assert [rule.field for rule in refused.value.failed] == [field]
    assert not (tmp_path / "lists").exists()


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (ListEntry("R1", "", bytes(16)), "arm"),
        (ListEntry("R1", LONG_ARM + "x", bytes(16)), "arm"),
        (ListEntry("R1", "QZ\n", bytes(16)), "arm"),
        (ListEntry("", "QZ", bytes(16)), "number"),
        (ListEntry("R1", "QZ", bytes(15)), "salt"),
        (ListEntry("R1", "QZ", bytes(16), -1), "pick_rank"),
    ],
)
def test_an_entry_that_breaks_a_rule_is_refused_without_its_value(entry: ListEntry, field: str) -> None:
    with pytest.raises(Refusal) as refused:
        pack_entry(entry)
    assert refused.value.failed[0].field == field
    assert "QZ" not in str(refused.value)
    assert LONG_ARM not in str(refused.value)


def test_an_open_entry_shows_nothing_and_is_never_compared() -> None:
    entry = ListEntry("R100", "QZ", bytes(16))
    assert repr(entry) == str(entry) == "<sealed>"
    with pytest.raises(TypeError, match="cannot be compared"):
        entry == entry  # noqa: B015
    with pytest.raises(TypeError, match="unhashable"):
        hash(entry)


def test_the_keys_file_names_the_keyring_as_recipient(written: ListFileFacts, vault: Vault) -> None:
    keys = read_keys(written.keys_path)
    assert [(recipient.recipient_id, recipient.kind) for recipient in keys.recipients] == [
        (vault.keyring.keyring_id, "keyring")
    ]
    assert keys.for_keyring(vault.keyring) == written.key


# Reading


def test_a_list_file_stays_the_one_that_was_opened_when_another_is_put_in_its_place(
    written: ListFileFacts, vault: Vault
) -> None:
    file = ListFile.read(written.path, written.digest)
    other = written.path.with_name("other")
    other.write_bytes(b"another file")
    other.replace(written.path)

    assert file.digest == written.digest
    assert file.meets_commitment(written.key, vault.opener(untraced))


def test_a_list_file_that_is_cut_while_it_is_read_is_refused(written: ListFileFacts, vault: Vault) -> None:
    file = ListFile.read(written.path, written.digest)
    with written.path.open("r+b") as stream:
        stream.truncate(len(written.path.read_bytes()) - 4096 - 5 * RECORD_BYTES)

    with pytest.raises(Refusal) as refused:
        list(file.boxes())

    assert (refused.value.code, refused.value.rules) == ("unavailable", ("file.cut",))


def test_a_manifest_longer_than_the_first_part_read_is_read_whole(
    tmp_path: Path, vault: Vault, manifest_of: ManifestOf
) -> None:
    entries = [ListEntry(f"R{number}", SHORT_ARM, bytes(16)) for number in range(4_000)]
    strata = tuple((f"stratum {number:032}", 1) for number in range(4_000))
    leaves = [subject_leaf(code, 1, e.number, e.arm, e.salt) for e, (code, _) in zip(entries, strata, strict=True)]
    manifest = manifest_of(entries, strata=strata, commitment=tree_hash(leaves).hex())

    facts = write_list_file(tmp_path / "lists", manifest, entries, INPUTS, vault)

    file = ListFile.read(facts.path, facts.digest)
    assert file.manifest == manifest
    assert unpack_entry(vault.opener(untraced).open(file.record(3_999, facts.key))).number == "R3999"
