"""The keyring: one file that holds the installation's keys, readable by the service's own user only.

Root keys (AES-256, numbered, the current one marked) wrap data keys; the Ed25519 audit key signs checkpoints of the
audit trail; the server key makes purpose-bound HMACs. Whoever has this file and the database can read every arm: back
it up apart from the database. Losing it leaves only the statisticians' own keys to open the lists.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rts.entropy import Entropy
from rts.refusal import Message, Refusal, refuse, say
from rts.vault import atomic_files
from rts.vault.boxes import KEY_BYTES, LENGTH_BYTES, cannot_open, open_box, seal_box
from rts.vault.sealed import WrappedKey

FORMAT = "rts/keyring/1"
MODE = 0o600


@dataclass(frozen=True, repr=False)
class _Keys:
    """What the file holds. Versions count from 1."""

    keyring_id: str
    current_root_key: int
    root_keys: dict[int, bytes]
    current_audit_key: int
    audit_keys: dict[int, bytes]
    server_key: bytes


class Keyring:
    """The keys of one installation, as read from its keyring file. Says nothing of them in any text."""

    __slots__ = ("_keys", "path")

    def __init__(self, path: Path, keys: _Keys) -> None:
        self.path = path
        self._keys = keys

    def __repr__(self) -> str:
        return "<keyring>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a keyring cannot be copied or pickled")

    @classmethod
    def create(cls, path: Path, entropy: Entropy) -> Keyring:
        """Make a new keyring file with fresh keys, mode 0600.

        Raises Refusal `conflict` when the file exists (a keyring is never overwritten), `unavailable` when it cannot be
        written.
        """
        keys = _Keys(
            keyring_id=entropy.bytes(8).hex(),
            current_root_key=1,
            root_keys={1: entropy.bytes(KEY_BYTES)},
            current_audit_key=1,
            audit_keys={1: entropy.bytes(KEY_BYTES)},
            server_key=entropy.bytes(KEY_BYTES),
        )
        atomic_files.write_new(path, _render(keys), MODE)
        return cls(path, keys)

    @classmethod
    def load(cls, path: Path) -> Keyring:
        """Read a keyring file.

        Raises Refusal `unavailable`, with the cure, for a file that is missing, that another user owns, that group or
        others can reach, that is damaged, or whose format is unknown.
        """
        return cls(path, _read(path))

    @property
    def keyring_id(self) -> str:
        """The keyring's name among the recipients of a list: 16 hex digits, no secret."""
        return self._keys.keyring_id

    @property
    def root_key_version(self) -> int:
        """The version of the root key that wraps new data keys."""
        return self._keys.current_root_key

    def wrap(self, data_key: bytes, context: str, entropy: Entropy) -> WrappedKey:
        """Encrypt a data key under the current root key, bound to `context`."""
        version = self._keys.current_root_key
        cipher = AESGCM(self._keys.root_keys[version])
        box = seal_box(cipher, data_key, _wrap_binding(version, context), LENGTH_BYTES + KEY_BYTES, entropy)
        return WrappedKey(version, box, context)

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """The data key inside `wrapped`, whichever version of the root key wrapped it.

        Raises Refusal `unavailable` (rule `vault.open`) for another keyring's wrap or an edited one.
        """
        if wrapped.version not in self._keys.root_keys:
            # Another process may have added a root key since this one read the file.
            self._keys = _read(self.path)
        root_key = self._keys.root_keys.get(wrapped.version)
        if root_key is None:
            raise cannot_open()
        return open_box(AESGCM(root_key), wrapped.wrap, _wrap_binding(wrapped.version, wrapped.context))

    def add_root_key(self, entropy: Entropy) -> int:
        """Add a root key and make it the current one; returns its version. Older versions still unwrap."""
        with atomic_files.locked_directory(self.path.parent):
            # Read again under the lock: two rotations at once must not lose a key that has wrapped something.
            keys = _read(self.path)
            version = max(keys.root_keys) + 1
            root_keys = {**keys.root_keys, version: entropy.bytes(KEY_BYTES)}
            keys = replace(keys, current_root_key=version, root_keys=root_keys)
            atomic_files.replace(self.path, _render(keys), MODE)
        self._keys = keys
        return version

    def mac(self, purpose: str, data: bytes) -> bytes:
        """HMAC-SHA-256 of `data` under the server key, for one purpose only (32 bytes)."""
        if not purpose or "\x00" in purpose:
            raise ValueError("a purpose is a text without NUL")
        return hmac.digest(self._keys.server_key, purpose.encode() + b"\x00" + data, "sha256")

    def sign_checkpoint(self, body: bytes) -> bytes:
        """The Ed25519 signature (64 bytes, RFC 8032) of a checkpoint's body by the current audit key."""
        return self._audit_key().sign(body)

    def audit_public_key(self) -> str:
        """The public half of the current audit key as PEM text, for the people who verify checkpoints."""
        public = self._audit_key().public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def _audit_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._keys.audit_keys[self._keys.current_audit_key])


def _wrap_binding(version: int, context: str) -> bytes:
    return f"rts/wrap/1\x00{version}\x00{context}".encode()


def _render(keys: _Keys) -> bytes:
    content = {
        "format": FORMAT,
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


def _read(path: Path) -> _Keys:
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
    return _parse(path, content)


def _parse(path: Path, content: bytes) -> _Keys:
    fields = _json_object(content)
    if fields is not None and fields.get("format") != FORMAT:
        message = say("The keyring %(path)s has a format this version of RTS does not know.", path=path)
        raise _unusable("keyring.format", message)
    keys = None if fields is None else _keys_of(fields)
    if keys is None or _render(keys) != content:
        message = say("The keyring %(path)s is damaged or cut short. Restore it from its backup.", path=path)
        raise _unusable("keyring.damaged", message)
    return keys


# The two below answer None instead of raising: a JSON error carries the whole document, here every key.
def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(content)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _keys_of(fields: dict[str, Any]) -> _Keys | None:
    try:
        return _Keys(
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
