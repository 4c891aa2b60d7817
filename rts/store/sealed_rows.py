"""The sealed records of list entries and kits: how a row becomes a `Sealed`, and what it says once opened.

Functions that take an `Opener` are the only ones that see an arm or a kit type.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy.orm import joinedload

from rts.randomisation import tape
from rts.refusal import refuse, say
from rts.store.tables import BlindedLot, Kit, ListEntry, ListFile
from rts.supply.picking import StockKit
from rts.vault.allocations import allocation_context, open_allocation
from rts.vault.entries import EntryContext, unpack_entry
from rts.vault.entries import ListEntry as OpenedEntry
from rts.vault.sealed import Sealed, WrappedKey
from rts.vault.vault import Opener

if TYPE_CHECKING:
    from rts.store.transaction import Transaction


def key_to_text(key: WrappedKey) -> str:
    """A wrapped data key as the text of a column."""
    return json.dumps({"version": key.version, "wrap": base64.b64encode(key.wrap).decode(), "context": key.context})


def key_from_text(text: str) -> WrappedKey:
    """The wrapped data key of a column."""
    fields = json.loads(text)
    return WrappedKey(fields["version"], base64.b64decode(fields["wrap"]), fields["context"])


def manifest_digest(list_file: ListFile) -> bytes:
    """SHA-256 of a list's manifest, which binds every record to its list."""
    return bytes.fromhex(list_file.manifest_digest)


def sealed_entry(tx: Transaction, entry: ListEntry) -> Sealed:
    """An entry's record, sealed."""
    context = EntryContext(manifest_digest(entry.list), entry.stratum, entry.position)
    return tx.store.vault.sealed(key_from_text(entry.list.data_key), entry.record, context)


def open_entry(tx: Transaction, entry: ListEntry, opener: Opener) -> OpenedEntry:
    """What an entry says: randomisation number, arm code (of a tape: the word), salt."""
    return unpack_entry(opener.open(sealed_entry(tx, entry)))


def arm_allocated(tx: Transaction, entry: ListEntry, opener: Opener) -> str:
    """The arm code of the subject who took `entry`: what the list says, or what minimisation made of a tape's word.

    Raises Refusal `unavailable` for a tape's entry whose allocation is missing.
    """
    if entry.stratum != tape.STRATUM:
        return open_entry(tx, entry, opener).arm
    if entry.minimised is None:
        raise refuse("unavailable", "allocation.missing", say("What was allocated with this number is missing."))
    context = allocation_context(manifest_digest(entry.list), entry.position)
    sealed = tx.store.vault.sealed(key_from_text(entry.list.data_key), entry.minimised.record, context)
    arm: str = open_allocation(sealed, opener)["arm"]
    return arm


@dataclass(frozen=True, repr=False)
class OpenedKit:
    """A kit with its type and secret pick rank read; prints as `<sealed>`."""

    kit: Kit
    kit_type: str
    pick_rank: int
    expiry: date
    lot: str

    def __repr__(self) -> str:
        return "<sealed>"

    def as_stock(self) -> StockKit:
        """The kit as the picking rules take it."""
        return StockKit(self.kit.number, self.kit_type, self.lot, self.expiry, self.pick_rank)


# For statements that read kits to be opened: with each comes what opening it needs of its list and lot.
TO_OPEN = (
    joinedload(Kit.list).load_only(ListFile.data_key, ListFile.manifest_digest),
    joinedload(Kit.lot).load_only(BlindedLot.code, BlindedLot.expiry),
)


def open_kits(tx: Transaction, kits: list[Kit], opener: Opener) -> list[OpenedKit]:
    """`kits` with their types read. The caller chooses them by place and state only, so that what is opened depends
    on no arm.
    """
    keys: dict[int, tuple[WrappedKey, bytes]] = {}
    opened = []
    for kit in kits:
        if kit.list_id not in keys:
            keys[kit.list_id] = key_from_text(kit.list.data_key), manifest_digest(kit.list)
        key, digest = keys[kit.list_id]
        entry = unpack_entry(
            opener.open(tx.store.vault.sealed(key, kit.record, EntryContext(digest, "", kit.position)))
        )
        opened.append(OpenedKit(kit, entry.arm, entry.pick_rank, kit.lot.expiry, kit.lot.code))
    return opened
