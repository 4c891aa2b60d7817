"""The keyring whose root keys stand in its file: whoever has a copy can use it. Back it up apart from the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rts.entropy import Entropy
from rts.vault import keyring_file
from rts.vault.boxes import KEY_BYTES, LENGTH_BYTES, open_box, seal_box
from rts.vault.keyring import Keyring, retired_root_key, unknown_root_key
from rts.vault.keyring_file import FILE_FORMAT, Keys
from rts.vault.sealed import WrappedKey


class FileKeyring(Keyring):
    """A keyring that needs nothing but its file."""

    __slots__ = ()
    FORMAT: ClassVar[str] = FILE_FORMAT

    @classmethod
    def create(cls, path: Path, entropy: Entropy) -> Self:
        """Make a new keyring file with fresh keys, mode 0600.

        Raises Refusal `conflict` when the file exists (a keyring is never overwritten), `unavailable` when it cannot be
        written.
        """
        keys = Keys(
            keyring_id=entropy.bytes(8).hex(),
            current_root_key=1,
            root_keys={1: entropy.bytes(KEY_BYTES)},
            current_audit_key=1,
            audit_keys={1: entropy.bytes(KEY_BYTES)},
            server_key=entropy.bytes(KEY_BYTES),
        )
        keyring_file.write_new(path, keys, cls.FORMAT)
        return cls(path, keys)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a keyring file. Raises Refusal `unavailable` as `keyring_file.read` does."""
        return cls(path, keyring_file.read(path, cls.FORMAT))

    def wrap(self, data_key: bytes, context: str, entropy: Entropy) -> WrappedKey:
        """Encrypt a data key under the newest root key, bound to `context`."""
        # Another process may have added a root key since this one read the file.
        root_keys = self._read_again().root_keys
        version = max(root_keys)
        bound_to = _binding(version, context)
        box = seal_box(AESGCM(root_keys[version]), data_key, bound_to, LENGTH_BYTES + KEY_BYTES, entropy)
        return WrappedKey(version, box, context)

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """The data key inside `wrapped`; raises as `Keyring.unwrap` says."""
        root_keys = self._keys.root_keys
        if wrapped.version not in root_keys:
            root_keys = self._read_again().root_keys
        root_key = root_keys.get(wrapped.version)
        if root_key is None:
            is_retired = 0 < wrapped.version < max(root_keys)
            raise retired_root_key(wrapped.version) if is_retired else unknown_root_key(wrapped.version)
        return open_box(AESGCM(root_key), wrapped.wrap, _binding(wrapped.version, wrapped.context))

    def root_keys(self) -> tuple[int, ...]:
        """The versions that unwrap now, the oldest first."""
        return tuple(sorted(self._read_again().root_keys))

    def add_root_key(self, entropy: Entropy) -> int:
        """Add a root key that wraps from now on; returns its version."""
        root_key = entropy.bytes(KEY_BYTES)
        self._change(lambda keys: replace(keys, root_keys=keys.root_keys | {max(keys.root_keys) + 1: root_key}))
        return max(self._keys.root_keys)

    def finish_rotation(self, version: int, entropy: Entropy) -> None:
        """Note that everything is wrapped by the root key `version` now."""
        self._change(lambda keys: replace(keys, current_root_key=version))

    def retire_root_keys(self, last: int) -> None:
        """Destroy the root keys up to version `last`: what they wrapped opens with an older copy of this file only.

        Raises ValueError for the current root key or a later one: everything is wrapped by it.
        """

        def without(keys: Keys) -> Keys:
            if last >= keys.current_root_key:
                raise ValueError("the current root key is never retired")
            return replace(keys, root_keys={version: key for version, key in keys.root_keys.items() if version > last})

        self._change(without)

    def _plain(self, name: str, kept: Callable[[Keys], bytes]) -> bytes:
        return kept(self._keys)

    def _sealed(self, name: str, key: bytes, entropy: Entropy) -> bytes:
        return key


def _binding(version: int, context: str) -> bytes:
    return f"rts/wrap/1\x00{version}\x00{context}".encode()
