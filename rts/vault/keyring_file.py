"""The keyring file: its form, who may read it, and how it is changed whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rts.refusal import Message, Refusal, refuse, say
from rts.vault import atomic_files

# Where the root keys are: in the file itself, or in a key service.
FILE_FORMAT = "rts/keyring/1"
TRANSIT_FORMAT = "rts/transit-keyring/1"
MODE = 0o600


@dataclass(frozen=True, repr=False)
class Keys:
    """What the file holds. Versions count from 1.

    `current_root_key` is the root key under which everything was wrapped when the last rotation was finished. With a
    key service `root_keys` is empty, and the audit keys and the server key are wrapped by it.
    """

    keyring_id: str
    current_root_key: int
    root_keys: dict[int, bytes]
    current_audit_key: int
    audit_keys: dict[int, bytes]
    server_key: bytes


def write_new(path: Path, keys: Keys, file_format: str) -> None:
    """Make a keyring file, mode 0600. Raises Refusal `conflict` when it exists, `unavailable` when the disk refuses."""
    atomic_files.write_new(path, _render(keys, file_format), MODE)


def change(path: Path, file_format: str, change_keys: Callable[[Keys], Keys]) -> Keys:
    """Put what `change_keys` makes of the file's present content in its place, in one step, and return it.

    Raises Refusal as `read` does, and `unavailable` when the disk refuses; the file is then as before.
    """
    with atomic_files.locked_directory(path.parent):
        # Read again under the lock: two changes at once must not lose a key that has wrapped something.
        keys = change_keys(read(path, file_format))
        atomic_files.replace(path, _render(keys, file_format), MODE)
    return keys


def _render(keys: Keys, file_format: str) -> bytes:
    """The content of a keyring file."""
    content = {
        "format": file_format,
        "keyring_id": keys.keyring_id,
        "current_root_key": keys.current_root_key,
        "root_keys": {str(version): b64encode(key).decode() for version, key in keys.root_keys.items()},
        "current_audit_key": keys.current_audit_key,
        "audit_keys": {str(version): b64encode(key).decode() for version, key in keys.audit_keys.items()},
        "server_key": b64encode(keys.server_key).decode(),
    }
    # Without a digest a flipped bit in the server key would go unseen and change every HMAC made with it.
    content["digest"] = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return json.dumps(content, indent=2).encode() + b"\n"


def read(path: Path, file_format: str) -> Keys:
    """What a keyring file holds.

    Raises Refusal `unavailable`, with the cure, for a file that is missing, that another user owns, that group or
    others can reach, that is damaged, or whose format is unknown or that of the other place of root keys.
    """
    try:
        with path.open("rb") as stream:
            # Asked of the open file, not of the name: the name may point elsewhere a moment later.
            facts = os.fstat(stream.fileno())
            content = stream.read()
    except FileNotFoundError:
        message = say("There is no keyring at %(path)s. Restore it from its backup, or give its place.", path=path)
        raise _unusable("keyring.missing", message) from None
    except OSError as problem:
        message = say("The keyring %(path)s cannot be read (%(reason)s).", path=path, reason=problem.strerror)
        raise _unusable("keyring.unreadable", message) from None
    if facts.st_uid != os.geteuid():
        message = say(
            "The keyring %(path)s belongs to another user. Give it to the user the service runs as (chown).", path=path
        )
        raise _unusable("keyring.owner", message)
    if stat.S_IMODE(facts.st_mode) & 0o077:
        message = say(
            "The keyring %(path)s can be reached by other users. Run: chmod 600 %(path)s - and if others may have "
            "read it, add a new root key.",
            path=path,
        )
        raise _unusable("keyring.mode", message)
    return _parse(path, content, file_format)


def _parse(path: Path, content: bytes, file_format: str) -> Keys:
    fields = _json_object(content)
    if fields is not None and fields.get("format") != file_format:
        raise _of_another_format(path, fields.get("format"))
    keys = None if fields is None else _keys_of(fields)
    if keys is None or _render(keys, file_format) != content:
        message = say("The keyring %(path)s is damaged or cut short. Restore it from its backup.", path=path)
        raise _unusable("keyring.damaged", message)
    return keys


def _of_another_format(path: Path, found: object) -> Refusal:
    if found == FILE_FORMAT:
        message = say("The keyring %(path)s holds its root keys itself, but RTS_KEYS names a key service.", path=path)
        return _unusable("keyring.place", message)
    if found == TRANSIT_FORMAT:
        message = say(
            "The root keys of the keyring %(path)s are in a key service: set RTS_KEYS=transit and its address.",
            path=path,
        )
        return _unusable("keyring.place", message)
    message = say("The keyring %(path)s has a format this version of RTS does not know.", path=path)
    return _unusable("keyring.format", message)


# The two below answer None instead of raising: a JSON error carries the whole document, here every key.
def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(content)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _keys_of(fields: dict[str, Any]) -> Keys | None:
    try:
        return Keys(
            keyring_id=fields["keyring_id"],
            current_root_key=fields["current_root_key"],
            root_keys={int(version): b64decode(key) for version, key in fields["root_keys"].items()},
            current_audit_key=fields["current_audit_key"],
            audit_keys={int(version): b64decode(key) for version, key in fields["audit_keys"].items()},
            server_key=b64decode(fields["server_key"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _unusable(rule: str, message: Message) -> Refusal:
    return refuse("unavailable", rule, message)
