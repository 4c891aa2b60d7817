"""The specification of lists is true: its example is computed here with HMAC and SHA-256 alone and made by both
programs, and a sealed file is opened as the page says, without the product.
"""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from rts.entropy import ReplayedEntropy
from rts.randomisation.regenerate import regenerate
from rts.vault.allocations import allocation_context, seal_allocation, write_allocation_file
from rts.vault.entries import ListEntry
from rts.vault.file_keyring import FileKeyring
from rts.vault.list_file import ListFileFacts, Manifest, write_list_file
from rts.vault.person_keys import Person, create_person_key, unlock_person_key
from rts.vault.vault import Vault
from tests.infrastructure import r

PAGE = (Path(__file__).parents[2] / "docs" / "list-specification.md").read_text("utf-8")
EXAMPLE_TEXT = PAGE.split("```json\n")[1].split("```")[0]
EXAMPLE: dict[str, Any] = json.loads(EXAMPLE_TEXT)
ANSWER = {"rows", "commitment"}
PASSPHRASE = "a horse that no battery staples"


def message(part: str, label: str, counter: int) -> bytes:
    name = "\x1f".join(("rts/permuted-blocks/1", EXAMPLE["list_id"], part, label))
    return name.encode() + b"\x00" + counter.to_bytes(8, "big")


def block(part: str, label: str, counter: int) -> str:
    return hmac.new(bytes.fromhex(EXAMPLE["seed"]), message(part, label, counter), sha256).hexdigest()


def leaf(row: list[Any]) -> bytes:
    return b"\x00" + bytes.fromhex(row[4]) + "\x1f".join(map(str, row[:4])).encode()


def test_the_example_is_what_both_programs_make(tmp_path: Path) -> None:
    (tmp_path / "example.json").write_text(EXAMPLE_TEXT, "utf-8")

    made = regenerate({key: value for key, value in EXAMPLE.items() if key not in ANSWER})
    in_r = r.run_second_program(tmp_path, "example.json")

    assert made == EXAMPLE
    assert in_r == (0, f"example.json: 10 entries agree, commitment {EXAMPLE['commitment']}\n", "")


def test_the_streams_of_the_example_are_plain_hmacs() -> None:
    shown = re.findall(r"^\| (\w*) ?\| (\w+) \| (\d) \| `([0-9a-f ]+)` \|$", PAGE, re.MULTILINE)

    assert len(shown) == 7
    for part, label, counter, words in shown:
        assert words.replace(" ", "") == block(part, label, int(counter))
    assert f"`{message('low', 'sizes', 0).hex()}`" in PAGE


def test_the_steps_of_the_example_follow_from_its_streams() -> None:
    first = int(block("", "numbers", 0)[:8], 16)
    assert f"{block('', 'numbers', 0)[:8]} is {first} and leaves {first % 9000} divided by 9000" in PAGE
    assert EXAMPLE["rows"][0][2] == f"R{1000 + first % 9000}{98 - (1000 + first % 9000) * 100 % 97:02d}"
    sizes = [
        2 + 2 * (int(block(part, "sizes", 0)[16 * at : 16 * at + 8], 16) % 2)
        for part in ("low", "high")
        for at in (0, 1)
    ]
    assert sizes == [2, 4, 4, 2]
    assert "".join(row[3] for row in EXAMPLE["rows"]) == "BA" + "BAA" + "ABBA" + "B"
    salts = block("", "salts", 0)
    assert [row[4] for row in EXAMPLE["rows"][:2]] == [salts[:32], salts[32:]]


def test_the_leaf_and_the_commitment_of_the_example_are_plain_hashes() -> None:
    def tree(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return leaves[0]
        split = max(2**power for power in range(8) if 2**power < len(leaves))
        return sha256(b"\x01" + tree(leaves[:split]) + tree(leaves[split:])).digest()

    leaves = [sha256(leaf(row)).digest() for row in EXAMPLE["rows"]]

    assert f"`{leaf(EXAMPLE['rows'][0]).hex()}`" in PAGE
    assert f"`{leaves[0].hex()}`" in PAGE
    assert tree(leaves).hex() == EXAMPLE["commitment"]


def test_the_program_in_sas_is_set_to_the_example_and_knows_true_answers() -> None:
    program = (Path(__file__).parents[2] / "docs" / "double-programming" / "permuted_blocks.sas").read_text("utf-8")
    settings = dict(re.findall(r"^%let (\w+) +=\s(.*?);", program, re.MULTILINE))
    data = [lines.split("\n") for lines in re.findall(r"datalines;\n(.*?)\n;", program, re.DOTALL)]
    answers = re.findall(r"(hmac_1|hmac_2|hash) ne '([0-9a-f]{64})'", program)

    assert {key: settings[key] for key in ("seed", "list_id", "prefix", "length", "commitment")} == {
        key: str(EXAMPLE[key]) for key in ("seed", "list_id", "prefix", "length", "commitment")
    }
    assert data == [EXAMPLE["strata"], [f"{weight} {code}" for code, weight in EXAMPLE["arms"]], ["2 4"]]
    assert dict(answers) == {
        "hmac_1": hmac.new(b"\x0b" * 20, b"Hi There", sha256).hexdigest(),
        "hmac_2": hmac.new(bytes(range(31)) + b" ", b"label" + bytes(8) + b" ", sha256).hexdigest(),
        "hash": sha256(b"\x00salt ").hexdigest(),
    }


@pytest.fixture
def private_key() -> tuple[str, str]:
    return create_person_key(PASSPHRASE, ReplayedEntropy(b"a statistician"))


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    entropy = ReplayedEntropy(b"the example")
    return Vault(FileKeyring.create(tmp_path / "keyring.json", entropy), entropy)


@pytest.fixture
def sealed(tmp_path: Path, vault: Vault, private_key: tuple[str, str]) -> ListFileFacts:
    """The example, sealed by the product for a keyring and for a person."""
    entries = [ListEntry(number, arm, bytes.fromhex(salt)) for _, _, number, arm, salt in EXAMPLE["rows"]]
    manifest = Manifest(
        scheme="rts/permuted-blocks/1",
        trial="TRIAL",
        definition_version=1,
        definition_digest="00" * 32,
        list_id=EXAMPLE["list_id"],
        purpose="test",
        kind="subjects",
        strata=tuple((stratum, EXAMPLE["length"]) for stratum in EXAMPLE["strata"]),
        commitment=EXAMPLE["commitment"],
        times_generated=1,
        generated_by="Chen Lihua",
        generated_at="2026-01-05T08:00:00.000000Z",
        software_version="1",
    )
    return write_list_file(tmp_path, manifest, entries, EXAMPLE, vault, [Person("chen", 3, private_key[1])])


def open_box(key: bytes, box: bytes, bound_to: bytes) -> bytes:
    plaintext = AESGCM(key).decrypt(box[:12], box[12:], bound_to)
    length = int.from_bytes(plaintext[:4], "big")
    assert not any(plaintext[4 + length :])
    return plaintext[4 : 4 + length]


def test_a_sealed_file_is_opened_as_the_page_says(
    sealed: ListFileFacts, private_key: tuple[str, str], tmp_path: Path
) -> None:
    keys = json.loads(sealed.keys_path.read_bytes())
    recipients = {recipient["kind"]: recipient for recipient in keys["recipients"]}
    context = f"list {keys['trial']}/{keys['list_id']}"
    person, keyring = recipients["person"], recipients["keyring"]
    data_key = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM).decrypt(
        b64decode(person["wrap"]),
        unlock_person_key(private_key[0], PASSPHRASE),
        f"rts/list-key/1\x00{person['id']}\x00{person['key_version']}\x00{context}".encode(),
    )
    root_key = b64decode(json.loads((tmp_path / "keyring.json").read_bytes())["root_keys"]["1"])
    bound_to = f"rts/wrap/1\x00{keyring['key_version']}\x00{context}".encode()
    assert open_box(root_key, b64decode(keyring["wrap"]), bound_to) == data_key

    content = sealed.path.read_bytes()
    head, _, records = content.partition(b"\x0a\x0a")
    manifest = json.loads(head)
    layout = manifest["layout"]
    assert (layout["records"], layout["record_bytes"]) == (10, 156)
    rows = []
    for stratum in manifest["strata"]:
        for position in range(1, stratum["entries"] + 1):
            box, records = records[:156], records[156:]
            place = sha256(head).digest() + b"\x00" + f"{stratum['code']}\x1f{position}".encode()
            entry = open_box(data_key, box, place)
            assert (len(entry), entry[120:]) == (124, bytes(4))
            number, arm = (entry[at].rstrip(b"\x00").decode() for at in (slice(0, 40), slice(40, 104)))
            rows.append([stratum["code"], position, number, arm, entry[104:120].hex()])
    assert rows == EXAMPLE["rows"]
    assert len(records) == layout["inputs_bytes"]
    assert json.loads(open_box(data_key, records, sha256(head).digest() + b"\x00\x1f0")) == EXAMPLE


def test_an_allocation_of_a_tape_is_opened_as_the_page_says(
    sealed: ListFileFacts, vault: Vault, tmp_path: Path
) -> None:
    """What is in the record does not matter to how it is opened, nor that the example is no tape."""
    record = {"arm": "B", "word": "00" * 8}
    context = allocation_context(bytes.fromhex(sealed.manifest_digest), 3)
    write_allocation_file(sealed.path, "R804810", seal_allocation(vault, sealed.key, context, record).box)

    box = (sealed.path.parent / "EXAMPLE-217.allocations" / "R804810").read_bytes()

    manifest = sealed.path.read_bytes().partition(b"\x0a\x0a")[0]
    place = sha256(manifest).digest() + b"\x00" + b"allocation\x1f3"
    assert len(box) == 12 + 8192 + 16
    assert json.loads(open_box(vault.keyring.unwrap(sealed.key), box, place)) == record
