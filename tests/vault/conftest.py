from collections.abc import Callable
from pathlib import Path

import pytest

from rts.entropy import ReplayedEntropy
from rts.randomisation.commitment import kit_leaf, subject_leaf, tree_hash
from rts.vault.entries import ListEntry
from rts.vault.file_keyring import FileKeyring
from rts.vault.keyring import Keyring
from rts.vault.list_file import Manifest
from rts.vault.vault import Vault

# Nonsense words that stand nowhere else, so that a leak is found by searching for them.
SHORT_ARM = "QZ"
LONG_ARM = "XYLOPHONIC-WOMBAT-ARM-OF-FORTY-LETTERS.."
STRATA = (("low", 4), ("high", 2))


@pytest.fixture
def entropy() -> ReplayedEntropy:
    return ReplayedEntropy(b"vault tests")


@pytest.fixture
def keyring(tmp_path: Path, entropy: ReplayedEntropy) -> Keyring:
    return FileKeyring.create(tmp_path / "keyring.json", entropy)


@pytest.fixture
def vault(keyring: Keyring, entropy: ReplayedEntropy) -> Vault:
    return Vault(keyring, entropy)


@pytest.fixture
def entries() -> list[ListEntry]:
    arms = [SHORT_ARM, LONG_ARM, LONG_ARM, SHORT_ARM, SHORT_ARM, LONG_ARM]
    return [ListEntry(f"R{100 + index}", arm, bytes([index]) * 16) for index, arm in enumerate(arms)]


@pytest.fixture
def kits() -> list[ListEntry]:
    return [ListEntry(f"K{100 + index}", SHORT_ARM, bytes([index]) * 16, 3 - index) for index in range(3)]


@pytest.fixture
def manifest_of() -> Callable[..., Manifest]:
    def make(entries: list[ListEntry], **changes: object) -> Manifest:
        is_kits = changes.get("kind") == "kits"
        strata = (("", len(entries)),) if is_kits else STRATA
        places = [(code, position) for code, count in strata for position in range(1, count + 1)]
        leaves = [
            kit_leaf(position, entry.number, entry.arm, entry.pick_rank, entry.salt)
            if is_kits
            else subject_leaf(code, position, entry.number, entry.arm, entry.salt)
            for entry, (code, position) in zip(entries, places, strict=False)
        ]
        values: dict[str, object] = {
            "scheme": "rts/permuted-blocks/1",
            "trial": "SIRIUS",
            "definition_version": 1,
            "definition_digest": "ab" * 32,
            "list_id": "R1",
            "purpose": "test",
            "kind": "subjects",
            "strata": strata,
            "commitment": tree_hash(leaves).hex(),
            "times_generated": 1,
            "generated_by": "王 statistician",
            "generated_at": "2026-11-01T08:00:00.000000Z",
            "software_version": "1.0",
        }
        return Manifest(**(values | changes))  # type: ignore[arg-type]

    return make
