"""After the database lock two people release a list: from then on it may be revealed, and anyone can verify that every
subject got what was committed to.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.conduct.lists import MEANINGS, list_named, read_file
from rts.conduct.perform import Done
from rts.randomisation.commitment import inclusion_path, kit_leaf, subject_leaf
from rts.randomisation.verification import KIT_COLUMNS, SUBJECT_COLUMNS
from rts.refusal import refuse, say
from rts.store import locks
from rts.store.sealed_rows import key_from_text
from rts.store.tables import ListFile, ListRelease, Trial
from rts.store.transaction import Transaction
from rts.vault.entries import EntryContext, ListEntry
from rts.vault.vault import Opener


@dataclass(frozen=True)
class AskForRelease:
    """Ask for the release of a list. `document` names the record of the database lock."""

    trial: str
    list_id: str
    document: str


def ask_for_release(tx: Transaction, actor: Actor, command: AskForRelease, confirmation: Confirmation | None) -> Done:
    """The first of two signatures, by an unblinded statistician. Raises Refusal while the list, or a subject list of
    the trial, is still in use, and when the release was asked for already.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.SEALED_VIEW, trial)
    locks.take(tx.session, locks.randomisation(trial.code))
    found = list_named(tx, trial, command.list_id)
    document = command.document.strip()
    if not document:
        raise refuse("invalid", "release.document", say("Name the record of the database lock."), "document")
    _refuse_in_use(tx, trial, found)
    if release_of(tx, found) is not None:
        raise refuse("conflict", "release.asked", say("The release of this list was asked for already."), "list_id")
    record = _record(trial, found, document)
    sign(tx, actor, confirmation, MEANINGS["ask_release"], "list", found.list_id, record, trial=trial, time_zone="UTC")
    tx.session.add(ListRelease(list_id=found.id, document=document, asked_at=tx.now, asked_by=actor.name))
    tx.audit("list.release_asked", "list", found.list_id, {"document": document}, trial=trial)
    return Done("ask_for_release", {"trial": trial.code, "list": found.list_id})


@dataclass(frozen=True)
class ConfirmRelease:
    """Release a list whose release another person asked for."""

    trial: str
    list_id: str


def confirm_release(tx: Transaction, actor: Actor, command: ConfirmRelease, confirmation: Confirmation | None) -> Done:
    """The second signature, by whoever may activate lists. Raises Refusal when nobody asked, or the same person did."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LIST_ACTIVATE, trial)
    locks.take(tx.session, locks.randomisation(trial.code))
    found = list_named(tx, trial, command.list_id)
    release = release_of(tx, found)
    if release is None:
        message = say("Nobody has asked for the release of this list.")
        raise refuse("conflict", "release.not_asked", message, "list_id")
    if release.confirmed_at is not None:
        raise refuse("conflict", "release.confirmed", say("This list is released already."), "list_id")
    if actor.name == release.asked_by:
        raise refuse("rule", "release.two_people", say("A list is released by two different people."))
    _refuse_in_use(tx, trial, found)
    record = _record(trial, found, release.document)
    meaning = MEANINGS["confirm_release"]
    sign(tx, actor, confirmation, meaning, "list", found.list_id, record, trial=trial, time_zone="UTC")
    release.confirmed_at, release.confirmed_by = tx.now, actor.name
    tx.audit("list.released", "list", found.list_id, {"document": release.document}, trial=trial)
    return Done("confirm_release", {"trial": trial.code, "list": found.list_id})


def _record(trial: Trial, found: ListFile, document: str) -> dict[str, str]:
    return {"trial": trial.code, "list": found.list_id, "commitment": found.commitment, "document": document}


def _refuse_in_use(tx: Transaction, trial: Trial, found: ListFile) -> None:
    if found.kind == "subjects" and found.state != "closed":
        raise refuse("rule", "release.open", say("Only a closed list is released."), "list_id")
    if found.kind == "kits" and found.state != "active":
        raise refuse("rule", "release.unused", say("This kit list was never put to use."), "list_id")
    in_use = select(ListFile.id).where(
        ListFile.trial_id == trial.id, ListFile.kind == "subjects", ListFile.state == "active"
    )
    if tx.session.scalar(in_use.limit(1)) is not None:
        # A released kit list would tell the arms of those who are still randomised.
        raise refuse("rule", "release.open", say("A subject list is still in use: close it first."), "list_id")


def release_of(tx: Transaction, found: ListFile) -> ListRelease | None:
    """The release of a list, asked for or confirmed; None when nobody has asked."""
    return tx.session.scalar(select(ListRelease).where(ListRelease.list_id == found.id))


@dataclass(frozen=True)
class RevealList:
    """Open a released list whole."""

    trial: str
    list_id: str


@dataclass(frozen=True, repr=False)
class RevealedList:
    """A released list: the columns and rows of the reveal file, in list order."""

    done: Done
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        return "<sealed>"


def reveal_list(tx: Transaction, actor: Actor, command: RevealList, opener: Opener) -> RevealedList:
    """The whole list, to be published. Raises Refusal until two people have released it."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.SEALED_VIEW, trial)
    found = list_named(tx, trial, command.list_id)
    release = release_of(tx, found)
    if release is None or release.confirmed_at is None:
        raise refuse("rule", "reveal.not_released", say("This list has not been released by two people."), "list_id")
    tx.audit("list.revealed", "list", found.list_id, {"commitment": found.commitment}, trial=trial)
    done = Done("reveal_list", {"trial": trial.code, "list": found.list_id})
    entries = read_file(tx, trial, found).entries(key_from_text(found.data_key), opener)
    return RevealedList(done, _columns(found), tuple(_row(found, *each) for each in entries))


def _columns(found: ListFile) -> tuple[str, ...]:
    return SUBJECT_COLUMNS if found.kind == "subjects" else KIT_COLUMNS


def _row(found: ListFile, place: EntryContext, entry: ListEntry) -> tuple[str, ...]:
    """An entry as the reveal file writes it."""
    if found.kind == "subjects":
        return place.stratum, str(place.position), entry.number, entry.arm, entry.salt.hex()
    return str(place.position), entry.number, entry.arm, str(entry.pick_rank), entry.salt.hex()


def _leaf(found: ListFile, place: EntryContext, entry: ListEntry) -> bytes:
    if found.kind == "subjects":
        return subject_leaf(place.stratum, place.position, entry.number, entry.arm, entry.salt)
    return kit_leaf(place.position, entry.number, entry.arm, entry.pick_rank, entry.salt)


@dataclass(frozen=True)
class ProveEntry:
    """Prove one entry of a list, found by its randomisation or kit number, against the published commitment."""

    trial: str
    list_id: str
    number: str


@dataclass(frozen=True, repr=False)
class ProvedEntry:
    """An entry with its salt and the hashes on the way from its leaf to the commitment."""

    done: Done
    proof: dict[str, object]

    def __repr__(self) -> str:
        return "<sealed>"


def prove_entry(tx: Transaction, actor: Actor, command: ProveEntry, opener: Opener) -> ProvedEntry:
    """The leaf and its path (RFC 6962, 2.1.1). Raises Refusal for a blinded person or an unknown number."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.SEALED_VIEW, trial)
    found = list_named(tx, trial, command.list_id)
    wanted = command.number.strip().upper()
    entries = list(read_file(tx, trial, found).entries(key_from_text(found.data_key), opener))
    index = next((at for at, (_, entry) in enumerate(entries) if entry.number == wanted), None)
    if index is None:
        raise refuse("not_found", "list.number", say("This list has no number %(number)s.", number=wanted), "number")
    tx.audit("list.entry_proved", "list", found.list_id, {"number": wanted}, trial=trial)
    proof = {
        "trial": trial.code,
        "list": found.list_id,
        "kind": found.kind,
        "commitment": found.commitment,
        "entry": dict(zip(_columns(found), _row(found, *entries[index]), strict=True)),
        "index": index,
        "entries": len(entries),
        "path": [step.hex() for step in inclusion_path([_leaf(found, *each) for each in entries], index)],
    }
    return ProvedEntry(Done("prove_entry", {"trial": trial.code, "list": found.list_id}), proof)
