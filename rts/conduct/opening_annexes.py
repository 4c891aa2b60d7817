"""The unblinded annex of a list: frequencies, runs, balance and block sizes.

It is sealed as the list is because it is part of the list: it follows from the sealed file alone, and whoever can open
that, here or offline, makes the same annex to the byte. Nothing of it is stored, so that no file's size tells anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.lists import judged, list_named, read_file
from rts.randomisation import tape
from rts.randomisation.quality import ListQuality, imbalances
from rts.store.sealed_rows import key_from_text
from rts.store.transaction import Transaction
from rts.vault.entries import EntryContext, ListEntry
from rts.vault.list_file import ListFile as SealedFile
from rts.vault.list_file import Manifest, open_inputs
from rts.vault.vault import Opener


@dataclass(frozen=True)
class OpenAnnex:
    """Open the annex of a list."""

    trial: str
    list_id: str


@dataclass(frozen=True, repr=False)
class ListAnnex:
    """What the annex is made of. `balance` is the imbalance after each entry, by stratum in list order; there is none
    in a list of kits, and none in a tape, which holds no arms.
    """

    manifest: Manifest
    file_digest: str
    inputs: dict[str, Any]
    quality: ListQuality
    balance: dict[str, tuple[float, ...]]

    def __repr__(self) -> str:
        return "<sealed>"


def open_annex(tx: Transaction, actor: Actor, command: OpenAnnex, opener: Opener) -> ListAnnex:
    """Open the whole list. Raises Refusal for a blinded person, or a file that is not as it was sealed."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.SEALED_VIEW, trial)
    found = list_named(tx, trial, command.list_id)
    sealed, key = read_file(tx, trial, found), key_from_text(found.data_key)
    annex = annex_of(sealed, open_inputs(sealed.inputs(key), opener), sealed.entries(key, opener))
    tx.audit("list.reviewed", "list", found.list_id, {"commitment": found.commitment}, trial=trial)
    return annex


def annex_of(
    sealed: SealedFile, inputs: dict[str, Any], entries: Iterable[tuple[EntryContext, ListEntry]]
) -> ListAnnex:
    """The annex of an opened list file: in the service and offline alike."""
    opened = list(entries)
    balance: dict[str, tuple[float, ...]] = {}
    if sealed.manifest.kind == "subjects" and sealed.manifest.scheme != tape.SCHEME:
        arms = [(code, weight) for code, weight in inputs["arms"]]
        by_stratum: dict[str, list[str]] = {stratum: [] for stratum, _ in sealed.manifest.strata}
        for place, entry in opened:
            by_stratum[place.stratum].append(entry.arm)
        balance = {stratum: tuple(imbalances(sequence, arms)) for stratum, sequence in by_stratum.items()}
    return ListAnnex(sealed.manifest, sealed.digest, inputs, judged(sealed.manifest, inputs, opened), balance)
