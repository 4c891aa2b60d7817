"""The keyring: the keys of one installation, in one file that the service's own user alone can read.

Root keys (AES-256, numbered) wrap data keys; the Ed25519 audit key signs checkpoints of the audit trail; the server key
makes purpose-bound HMACs. Where the root keys are is told by the two kinds of keyring: in the file itself
(`rts.vault.file_keyring`) or in a key service (`rts.vault.transit_keyring`). Whoever can use the keyring and has the
database can read every arm. Losing it leaves only the statisticians' own keys to open the lists.

A rotation is under way as long as the newest root key is not the current one: the file itself says so, so that a
rotation cut short at any point is finished by the next run.
"""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rts.entropy import Entropy
from rts.refusal import Refusal, refuse, say
from rts.vault import keyring_file
from rts.vault.boxes import KEY_BYTES
from rts.vault.keyring_file import Keys
from rts.vault.sealed import WrappedKey


class Keyring(ABC):
    """The keys of one installation. Says nothing of them in any text."""

    __slots__ = ("_keys", "path")
    FORMAT: ClassVar[str]

    def __init__(self, path: Path, keys: Keys) -> None:
        self.path = path
        self._keys = keys

    def __repr__(self) -> str:
        return "<keyring>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a keyring cannot be copied or pickled")

    @property
    def keyring_id(self) -> str:
        """The keyring's name among the recipients of a list: 16 hex digits, no secret."""
        return self._keys.keyring_id

    # --- root keys ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def wrap(self, data_key: bytes, context: str, entropy: Entropy) -> WrappedKey:
        """Encrypt a data key under the newest root key, bound to `context`."""

    @abstractmethod
    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """The data key inside `wrapped`, whichever version of the root key wrapped it.

        Raises Refusal `unavailable`: rule `keyring.retired` for a root key that was retired, `keyring.version` for one
        this keyring never had, `vault.open` for another keyring's wrap or an edited one.
        """

    @abstractmethod
    def root_keys(self) -> tuple[int, ...]:
        """The versions of the root keys that unwrap now, the oldest first; read anew, so that processes agree."""

    @abstractmethod
    def add_root_key(self, entropy: Entropy) -> int:
        """Add a root key that wraps from now on; returns its version. Older versions still unwrap.

        A rotation is then under way, until `finish_rotation`.
        """

    @abstractmethod
    def finish_rotation(self, version: int, entropy: Entropy) -> None:
        """Note that everything is wrapped by the root key `version` now."""

    @abstractmethod
    def retire_root_keys(self, last: int) -> None:
        """Destroy the root keys up to version `last`, none of which wraps anything in use."""

    @property
    def root_key_version(self) -> int:
        """The version of the newest root key, which wraps new data keys."""
        return self.root_keys()[-1]

    @property
    def current_root_key(self) -> int:
        """The root key under which everything was wrapped when the last rotation was finished."""
        return self._read_again().current_root_key

    # --- the server key and the audit keys ----------------------------------------------------------------------------

    def mac(self, purpose: str, data: bytes) -> bytes:
        """HMAC-SHA-256 of `data` under the server key, for one purpose only (32 bytes)."""
        if not purpose or "\x00" in purpose:
            raise ValueError("a purpose is a text without NUL")
        server_key = self._plain("server key", the_server_key)
        return hmac.digest(server_key, purpose.encode() + b"\x00" + data, "sha256")

    def sign_checkpoint(self, body: bytes) -> bytes:
        """The Ed25519 signature (64 bytes, RFC 8032) of a checkpoint's body by the current audit key."""
        return self._audit_key(self.current_audit_key).sign(body)

    @property
    def current_audit_key(self) -> int:
        """The version of the audit key that signs; read anew, so that processes agree."""
        return self._read_again().current_audit_key

    def audit_keys(self) -> tuple[int, ...]:
        """The versions of the audit keys, the oldest first. One after the current was made and does not sign yet."""
        return tuple(sorted(self._read_again().audit_keys))

    def audit_public_key(self, version: int | None = None) -> str:
        """The public half of an audit key (of the current one) as PEM text, for the people who verify checkpoints.

        Raises Refusal `not_found` for a version that this keyring never had.
        """
        if version is not None and version not in self.audit_keys():
            message = say("This keyring has no audit key %(version)d.", version=version)
            raise refuse("not_found", "keyring.audit_key", message, "version")
        public = self._audit_key(version or self.current_audit_key).public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def add_audit_key(self, entropy: Entropy) -> int:
        """Make the next audit key, which signs once `use_audit_key` says so; returns its version. One that waits
        already is kept.
        """
        version = self.current_audit_key + 1
        sealed = self._sealed(f"audit key {version}", entropy.bytes(KEY_BYTES), entropy)
        self._change(
            lambda keys: replace(keys, audit_keys=keys.audit_keys | {version: keys.audit_keys.get(version, sealed)})
        )
        return version

    def use_audit_key(self, version: int) -> None:
        """Let the audit key `version` sign from now on. The older ones stay, so that old checkpoints can be checked."""
        self._change(lambda keys: replace(keys, current_audit_key=version))

    def _audit_key(self, version: int) -> Ed25519PrivateKey:
        seed = self._plain(f"audit key {version}", the_audit_key(version))
        return Ed25519PrivateKey.from_private_bytes(seed)

    @abstractmethod
    def _plain(self, name: str, kept: Callable[[Keys], bytes]) -> bytes:
        """The key called `name`; `kept` finds what the file holds of it."""

    @abstractmethod
    def _sealed(self, name: str, key: bytes, entropy: Entropy) -> bytes:
        """What the file is to hold of the key called `name`."""

    # --- the file -----------------------------------------------------------------------------------------------------

    def _read_again(self) -> Keys:
        self._keys = keyring_file.read(self.path, self.FORMAT)
        return self._keys

    def _change(self, change_keys: Callable[[Keys], Keys]) -> None:
        self._keys = keyring_file.change(self.path, self.FORMAT, change_keys)


def the_server_key(keys: Keys) -> bytes:
    """What the file holds of the server key."""
    return keys.server_key


def the_audit_key(version: int) -> Callable[[Keys], bytes]:
    """What finds that which the file holds of the audit key `version`."""
    return lambda keys: keys.audit_keys[version]


def retired_root_key(version: int) -> Refusal:
    """The refusal for what only a retired root key would open."""
    message = say(
        "Root key %(version)d was retired, and what is to be opened was sealed under it. Take the copy of the keyring "
        "that was made before it was retired.",
        version=version,
    )
    return refuse("unavailable", "keyring.retired", message)


def unknown_root_key(version: int) -> Refusal:
    """The refusal for what a root key would open that this keyring never had."""
    message = say(
        "What is to be opened was sealed under root key %(version)d, which this keyring does not have: it is an older "
        "copy, or of another installation. Put the newest copy of the keyring in its place.",
        version=version,
    )
    return refuse("unavailable", "keyring.version", message)
