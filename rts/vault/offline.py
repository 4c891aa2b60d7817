"""The way to a list that needs no server: a list file, its keys file, and one recipient's key.

It is the fallback of emergency unblinding: randomisation number in, one treatment arm code out. For a tape, whose
entries are words, the allocations stand in a folder beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rts.randomisation import imported, tape
from rts.randomisation.regenerate import PARAMETERS
from rts.refusal import refuse, say
from rts.vault.allocations import allocation_context, open_allocation, read_allocation_file
from rts.vault.entries import EntryContext, ListEntry
from rts.vault.keyring import Keyring
from rts.vault.keys_file import ListKeys, key_context, not_a_recipient, read_keys
from rts.vault.list_file import ListFile, open_inputs
from rts.vault.person_keys import unwrap_for_person
from rts.vault.sealed import Sealed, WrappedKey
from rts.vault.vault import Opener


@dataclass(frozen=True, repr=False)
class OpenedList:
    """A list file together with the right to read it."""

    path: Path
    file: ListFile
    key: WrappedKey
    opener: Opener

    def __repr__(self) -> str:
        return "<opened list>"

    def arm_of(self, number: str) -> str:
        """The arm code (or kit type) of one randomisation or kit number, which may be typed in small letters.

        Raises Refusal `not_found` when the list has no such number, or it is a tape's and was given to nobody,
        `unavailable` when a record was altered.
        """
        wanted = number.strip().upper()
        # All records are opened whatever is found, so that neither time nor trace tells the position.
        found = [each for each in self.entries() if each[1].number.upper() == wanted]
        if len(found) != 1:
            message = say("This list has no number %(number)s.", number=wanted)
            raise refuse("not_found", "list.number", message, "number")
        arm = self.arm_at(*found[0])
        if arm is None:
            message = say(
                "Minimisation decides the arm when a subject takes the number, and of %(number)s no record stands "
                "beside the list.",
                number=wanted,
            )
            raise refuse("not_found", "list.not_allocated", message, "number")
        return arm

    def arm_at(self, place: EntryContext, entry: ListEntry) -> str | None:
        """The arm code (or kit type) of an entry; of a tape what minimisation made of it, None before a subject took
        it. Raises Refusal `unavailable` when that record was altered or cannot be read.
        """
        if self.file.manifest.scheme != tape.SCHEME:
            return entry.arm
        box = read_allocation_file(self.path, entry.number)
        if box is None:
            return None
        context = allocation_context(place.manifest_digest, place.position)
        arm: str = open_allocation(Sealed(box, context, self.key), self.opener)["arm"]
        return arm

    def entries(self) -> Iterator[tuple[EntryContext, ListEntry]]:
        """Place and content of every entry, in list order."""
        return self.file.entries(self.key, self.opener)

    def inputs(self) -> dict[str, Any]:
        """Seed, block sizes and all other inputs of the list."""
        return open_inputs(self.file.inputs(self.key), self.opener)

    def as_regenerated(self) -> dict[str, object]:
        """The list in the shape in which `rts.randomisation.regenerate` answers: plain JSON values that a second
        programmer compares with a list of their own making.

        Nothing is made anew here: the parameters and rows are those that were sealed, the commitment is the manifest's.
        Raises Refusal `invalid` for an imported list: no program makes it from parameters.
        """
        if self.file.manifest.scheme == imported.SCHEME:
            message = say("This list was imported: it was made elsewhere, and there is nothing here to make it from.")
            raise refuse("invalid", "list.is_imported", message)
        inputs, entries = self.inputs(), list(self.entries())
        answer: dict[str, object] = {key: inputs[key] for key in PARAMETERS if key in inputs}
        if self.file.manifest.kind == "kits":
            answer["rows"] = [[entry.number, entry.arm, entry.pick_rank] for _, entry in entries]
            answer["salts"] = [entry.salt.hex() for _, entry in entries]
        else:
            answer["rows"] = [
                [place.stratum, place.position, entry.number, entry.arm, entry.salt.hex()] for place, entry in entries
            ]
        answer["commitment"] = self.file.manifest.commitment
        return answer


def open_offline(
    list_path: Path, keys_path: Path, key: X25519PrivateKey | Keyring, record: Callable[[str], None]
) -> OpenedList:
    """Open a list with a statistician's unlocked private key, or with the service's keyring.

    `record` is called before each record is read. Raises Refusal as `ListFile.read` and `read_keys` do, `invalid`
    when the keys file is another list's, `unavailable` when the key is none of the recipients' or a wrap was altered.
    """
    file, keys = ListFile.read(list_path), read_keys(keys_path)
    if (keys.trial, keys.list_id) != (file.manifest.trial, file.manifest.list_id):
        message = say("%(name)s holds the keys of another list.", name=keys_path.name)
        raise refuse("invalid", "keys_file.list", message)
    wrapped, data_key = _unwrap_by_keyring(keys, key) if isinstance(key, Keyring) else _unwrap_by_person(keys, key)
    cipher = AESGCM(data_key)
    return OpenedList(list_path, file, wrapped, Opener(lambda _: cipher, record))


def _unwrap_by_keyring(keys: ListKeys, keyring: Keyring) -> tuple[WrappedKey, bytes]:
    wrapped = keys.for_keyring(keyring)
    return wrapped, keyring.unwrap(wrapped)


def _unwrap_by_person(keys: ListKeys, private_key: X25519PrivateKey) -> tuple[WrappedKey, bytes]:
    context = key_context(keys.trial, keys.list_id)
    for recipient in keys.recipients:
        if recipient.kind == "person":
            data_key = unwrap_for_person(
                recipient.wrap, private_key, recipient.recipient_id, recipient.key_version, context
            )
            if data_key is not None:
                return WrappedKey(recipient.key_version, recipient.wrap, context), data_key
    raise not_a_recipient(keys.list_id)
