"""Who can open a trial's lists besides the service: its unblinded statisticians, each with an own live key.

The keys file beside each list follows from the database: the list's data key, and whose keys are live now. It is
rewritten when a statistician comes or goes, registers or retires a key, and when a root key is rotated. Whoever was
left out and kept an old copy of the file can still open the list with it: the data key stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import select

from rts.access.permissions import UNBLINDED_ROLES
from rts.conduct.recipients import people_in
from rts.refusal import Refusal
from rts.store import locks
from rts.store.sealed_rows import key_from_text
from rts.store.tables import ListFile, Person, PersonKey, Trial
from rts.store.transaction import Transaction
from rts.vault import atomic_files
from rts.vault.keys_file import MODE, ListKeys, keys_for, read_keys, replace_keys
from rts.vault.person_keys import Person as Recipient


def who_may_open(tx: Transaction, trial: Trial) -> list[Recipient]:
    """The statisticians of `trial` who have a live key of their own, by user name."""
    names = {person.id: person.username for person in people_in(tx, trial, *UNBLINDED_ROLES)}
    held = select(PersonKey).where(PersonKey.person_id.in_(names), PersonKey.retired_at.is_(None))
    found = [Recipient(names[key.person_id], key.version, key.public_key) for key in tx.session.scalars(held)]
    return sorted(found, key=lambda recipient: recipient.person_id)


def renew_recipients(tx: Transaction, trials: list[Trial]) -> None:
    """Have every list of `trials` sealed to whoever may open it now, and to nobody else.

    Raises Refusal `unavailable` when the key, or the disk, cannot be had; all files are then as before.
    """
    locks.take(tx.session, locks.keys())
    for trial in trials:
        for found in tx.session.scalars(
            select(ListFile).where(ListFile.trial_id == trial.id).order_by(ListFile.list_id)
        ):
            renew_keys_file(tx, found)


def renew_keys_file(tx: Transaction, found: ListFile) -> bool:
    """Write the keys file of a list anew if it is not as the database would have it; returns whether it was.

    The caller holds the lock of keys. A file that is missing or damaged is made whole again.
    """
    trial, vault = found.trial, tx.store.vault
    path = keys_path(tx, trial, found)
    key = key_from_text(found.data_key)
    people = who_may_open(tx, trial)
    kept = _keys_in(path)
    wanted = [f"{person.person_id}/{person.key_version}" for person in people]
    had = _people_in(kept)
    if had == wanted and kept is not None and _is_wrapped_as(kept, vault.keyring.keyring_id, key.wrap):
        return False
    keys = keys_for(vault, trial.code, found.list_id, key, people, kept.recipients if kept else ())
    tx.on_rollback(partial(_put_back, path, path.read_bytes() if path.exists() else None))
    replace_keys(path, keys)
    if had != wanted:
        before, after = {"recipients": had}, {"recipients": wanted}
        tx.audit("list.recipients", "list", found.list_id, trial=trial, before=before, after=after)
    return True


@dataclass(frozen=True)
class ListRecipient:
    """Someone who can open a list offline. `username` is empty for the service; so is `fingerprint` (hex), and for a
    key that was never registered. `is_live` is False for a person's key that is not in use, and for another service.
    """

    username: str
    printed_name: str
    key_version: int
    fingerprint: str
    is_live: bool


def recipients_of(tx: Transaction, trial: Trial, found: ListFile) -> list[ListRecipient]:
    """Who can open a list, as its keys file says. Raises Refusal when the file is missing or damaged."""
    named = {
        (person.username, held.version): (person, held)
        for person, held in tx.session.execute(
            select(Person, PersonKey).join(PersonKey, PersonKey.person_id == Person.id)
        )
    }
    rows = []
    for recipient in read_keys(keys_path(tx, trial, found)).recipients:
        if recipient.kind == "keyring":
            rows.append(ListRecipient("", "", recipient.key_version, "", recipient.recipient_id == _keyring_id(tx)))
            continue
        person, held = named.get((recipient.recipient_id, recipient.key_version), (None, None))
        rows.append(
            ListRecipient(
                recipient.recipient_id,
                person.printed_name if person else recipient.recipient_id,
                recipient.key_version,
                held.fingerprint if held else "",
                held is not None and held.retired_at is None,
            )
        )
    return rows


def keys_path(tx: Transaction, trial: Trial, found: ListFile) -> Path:
    """Where the keys file of a list is."""
    return tx.store.lists / trial.code / f"{found.list_id}.keys"


def _keyring_id(tx: Transaction) -> str:
    return tx.store.vault.keyring.keyring_id


def _keys_in(path: Path) -> ListKeys | None:
    try:
        return read_keys(path)
    except Refusal as refusal:
        if refusal.code == "unavailable":
            raise
        return None


def _people_in(keys: ListKeys | None) -> list[str]:
    if keys is None:
        return []
    return [f"{each.recipient_id}/{each.key_version}" for each in keys.recipients if each.kind == "person"]


def _is_wrapped_as(keys: ListKeys, keyring_id: str, wrap: bytes) -> bool:
    return any(each.recipient_id == keyring_id and each.wrap == wrap for each in keys.recipients)


def _put_back(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        atomic_files.replace(path, content, MODE)
