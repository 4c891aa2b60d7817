"""`<list id>.keys`: the wrapped data key of a sealed list, once for each recipient, beside the list file.

The only part of a list that is ever replaced: when a root key is rotated, or a statistician comes or goes.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rts.refusal import Refusal, refuse, say
from rts.vault import atomic_files
from rts.vault.keyring import Keyring
from rts.vault.person_keys import Person, wrap_for_person
from rts.vault.sealed import WrappedKey
from rts.vault.vault import Vault

FORMAT = "rts/list-keys/1"
# Useless without a recipient's own key, so it may be read and copied as the list file is.
MODE = 0o644


@dataclass(frozen=True)
class Recipient:
    """Someone who can open the list: `kind` is `keyring` or `person`; `key_version` that of the recipient's key."""

    recipient_id: str
    kind: str
    key_version: int
    wrap: bytes = field(repr=False)


@dataclass(frozen=True)
class ListKeys:
    """What a keys file says."""

    trial: str
    list_id: str
    recipients: tuple[Recipient, ...]

    def for_keyring(self, keyring: Keyring) -> WrappedKey:
        """The data key as wrapped for `keyring`. Raises Refusal `unavailable` when it is no recipient."""
        for recipient in self.recipients:
            if recipient.kind == "keyring" and recipient.recipient_id == keyring.keyring_id:
                return WrappedKey(recipient.key_version, recipient.wrap, key_context(self.trial, self.list_id))
        raise not_a_recipient(self.list_id)


def key_context(trial: str, list_id: str) -> str:
    """What the data key of a list is bound to."""
    return f"list {trial}/{list_id}"


def keys_for(
    vault: Vault,
    trial: str,
    list_id: str,
    key: WrappedKey,
    people: Sequence[Person],
    kept: Sequence[Recipient] = (),
) -> ListKeys:
    """The recipients of a list whose data key is `key`: the vault's keyring and `people`, each bound to this list.

    A wrap that is among `kept` is taken over: the data key is unwrapped only when somebody is added, so that taking
    somebody away never waits for a key service. Raises Refusal `invalid` for a public key that is none, or a person
    named twice.
    """
    ids = [person.person_id for person in people]
    if len(set(ids)) < len(ids):
        raise refuse("invalid", "keys_file.recipients", say("A recipient of a list is named once."), "recipients")
    wraps = {(each.recipient_id, each.key_version): each for each in kept if each.kind == "person"}
    added = [person for person in people if (person.person_id, person.key_version) not in wraps]
    if added:
        data_key = vault.keyring.unwrap(key)
        for person in added:
            wrap = wrap_for_person(data_key, person, key.context)
            wraps[person.person_id, person.key_version] = Recipient(
                person.person_id, "person", person.key_version, wrap
            )
    service = Recipient(vault.keyring.keyring_id, "keyring", key.version, key.wrap)
    return ListKeys(trial, list_id, (service, *(wraps[person.person_id, person.key_version] for person in people)))


def render_keys(keys: ListKeys) -> bytes:
    """The content of the keys file."""
    content = {
        "format": FORMAT,
        "trial": keys.trial,
        "list_id": keys.list_id,
        "recipients": [
            {
                "id": recipient.recipient_id,
                "kind": recipient.kind,
                "key_version": recipient.key_version,
                "wrap": b64encode(recipient.wrap).decode("ascii"),
            }
            for recipient in keys.recipients
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"


def read_keys(path: Path) -> ListKeys:
    """Read a keys file.

    Raises Refusal `not_found` when there is none, `unavailable` when the disk refuses, `invalid` when it is damaged,
    edited or of an unknown format.
    """
    content = atomic_files.read(path)
    try:
        fields: dict[str, Any] = json.loads(content)
        if fields["format"] != FORMAT:
            message = say("%(name)s has a format this version of RTS does not know.", name=path.name)
            raise refuse("invalid", "keys_file.format", message)
        keys = ListKeys(
            fields["trial"],
            fields["list_id"],
            tuple(
                Recipient(entry["id"], entry["kind"], entry["key_version"], b64decode(entry["wrap"]))
                for entry in fields["recipients"]
            ),
        )
        is_as_written = render_keys(keys) == content
    except (ValueError, KeyError, TypeError):
        is_as_written = False
    if not is_as_written:
        message = say("%(name)s is damaged or was edited. Restore it from a copy.", name=path.name)
        raise refuse("invalid", "keys_file.damaged", message)
    return keys


def replace_keys(path: Path, keys: ListKeys) -> None:
    """Put `keys` in the place of the keys file; the list file stays as it is.

    The data key is the same, so a person left out who kept an old keys file can still open the list with it.
    Raises Refusal `unavailable` when the disk refuses; the file is then as before.
    """
    atomic_files.replace(path, render_keys(keys), MODE)


def rewrap(path: Path, vault: Vault) -> bool:
    """Wrap a keys file for the newest root key; the wraps of people stay byte for byte. Returns whether it was another.

    Raises Refusal as `read_keys` does, and `unavailable` when this keyring cannot open the list or the disk refuses;
    the file is then as before.
    """
    keys = read_keys(path)
    key = keys.for_keyring(vault.keyring)
    if key.version == vault.keyring.root_key_version:
        return False
    newest = vault.rewrap(key)
    service = Recipient(vault.keyring.keyring_id, "keyring", newest.version, newest.wrap)
    others = [each for each in keys.recipients if (each.recipient_id, each.kind) != (service.recipient_id, "keyring")]
    replace_keys(path, ListKeys(keys.trial, keys.list_id, (service, *others)))
    return True


def not_a_recipient(list_id: str) -> Refusal:
    """The refusal for a key that is none of a list's recipients."""
    message = say("This key is none of the recipients of the list %(list_id)s.", list_id=list_id)
    return refuse("unavailable", "keys_file.recipient", message)
