"""What minimisation made of the words of a tape, sealed: one record for each subject who took an entry.

A tape tells no arm: the arm stands in such a record alone. So each is kept in the database and, for the way that needs
no database, as a file beside the list, `<list id>.allocations/<randomisation number>`.

Every record is padded to the same length, so that its length tells nothing of the arm or of the counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rts.refusal import Refusal
from rts.vault import atomic_files
from rts.vault.entries import EntryContext
from rts.vault.keys_file import MODE
from rts.vault.sealed import Sealed, WrappedKey
from rts.vault.vault import Opener, Vault

PAD_TO = 8192
# A tape's only stratum is the empty one, so this place is taken by none of its entries.
_PART = "allocation"


def allocation_context(manifest_digest: bytes, position: int) -> EntryContext:
    """The place that the record of the entry at `position` of a tape is bound to."""
    return EntryContext(manifest_digest, _PART, position)


def seal_allocation(vault: Vault, key: WrappedKey, context: EntryContext, record: Mapping[str, object]) -> Sealed:
    """Seal the record of an allocation under the list's data key."""
    return vault.seal(key, json.dumps(record, sort_keys=True).encode(), context, PAD_TO)


def open_allocation(sealed: Sealed, opener: Opener) -> dict[str, Any]:
    """The record of an allocation. Raises Refusal `unavailable` when it was altered."""
    record: dict[str, Any] = json.loads(opener.text(sealed))
    return record


def write_allocation_file(list_path: Path, number: str, box: bytes) -> None:
    """Put the sealed record of `number` beside the list file at `list_path`, durably.

    It takes the place of an earlier one: a deed that was broken off after this left a record for a number that was
    never given to anybody. Raises Refusal `unavailable` when the disk refuses.
    """
    folder = _folder(list_path)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as problem:
        raise atomic_files.disk_refused(folder, problem) from None
    atomic_files.replace(folder / number, box, MODE)


def read_allocation_file(list_path: Path, number: str) -> bytes | None:
    """The sealed record of `number` beside the list file at `list_path`; None when there is none.

    Raises Refusal `unavailable` when it cannot be read.
    """
    try:
        return atomic_files.read(_folder(list_path) / number)
    except Refusal as refusal:
        if refusal.code == "not_found":
            return None
        raise


def numbers_beside(list_path: Path) -> list[str]:
    """The numbers of which a record stands beside the list file at `list_path`, in ascending order."""
    folder = _folder(list_path)
    return sorted(file.name for file in folder.iterdir() if file.name[0] != ".") if folder.is_dir() else []


def _folder(list_path: Path) -> Path:
    return list_path.with_suffix(".allocations")
