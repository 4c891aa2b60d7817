"""The keyring whose root keys stay in a key service (`rts.vault.transit`): a copy of its file opens nothing alone.

The file holds the keyring's id, and the audit keys and the server key wrapped by the service. They are unwrapped when
first needed and kept in memory, as data keys are: a service that was lost stops what a process has not opened yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from rts.entropy import Entropy
from rts.refusal import Refusal, refuse, say
from rts.vault import keyring_file
from rts.vault.boxes import KEY_BYTES, cannot_open
from rts.vault.keyring import Keyring, the_audit_key, the_server_key
from rts.vault.keyring_file import TRANSIT_FORMAT, Keys
from rts.vault.sealed import WrappedKey
from rts.vault.transit import Transit, version_of


class TransitKeyring(Keyring):
    """A keyring that asks a key service for every wrap."""

    __slots__ = ("_opened", "_transit")
    FORMAT: ClassVar[str] = TRANSIT_FORMAT

    def __init__(self, path: Path, keys: Keys, transit: Transit) -> None:
        super().__init__(path, keys)
        self._transit = transit
        self._opened: dict[str, bytes] = {}

    @classmethod
    def create(cls, path: Path, transit: Transit, entropy: Entropy) -> Self:
        """Make a new keyring file, mode 0600, its keys wrapped by the service.

        Raises Refusal `conflict` when the file exists, `unavailable` when it cannot be written, or when the service is
        not there, has no such key, or does not bind what it wraps.
        """
        # Asked before anything is wrapped: an engine whose policy allows it would make a key of that name by itself.
        newest = transit.versions()[-1]
        keyring = cls(path, Keys(entropy.bytes(8).hex(), newest, {}, 1, {}, b""), transit)
        audit_key = keyring._sealed("audit key 1", entropy.bytes(KEY_BYTES), entropy)
        server_key = keyring._sealed("server key", entropy.bytes(KEY_BYTES), entropy)
        keyring._keys = replace(keyring._keys, audit_keys={1: audit_key}, server_key=server_key)
        keyring._check_binding()
        keyring_file.write_new(path, keyring._keys, cls.FORMAT)
        return keyring

    @classmethod
    def load(cls, path: Path, transit: Transit) -> Self:
        """Read a keyring file; the service is asked when it is needed. Raises Refusal as `keyring_file.read` does."""
        return cls(path, keyring_file.read(path, cls.FORMAT), transit)

    def wrap(self, data_key: bytes, context: str, entropy: Entropy) -> WrappedKey:
        """Let the service encrypt a data key, bound to `context` and this keyring."""
        wrap = self._transit.encrypt(data_key, self._binding(context))
        return WrappedKey(version_of(wrap), wrap.encode("ascii"), context)

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """The data key inside `wrapped`; raises as `Keyring.unwrap` and `Transit.decrypt` say."""
        wrap = wrapped.wrap.decode("ascii", "replace")
        if version_of(wrap) != wrapped.version:
            raise cannot_open()
        return self._transit.decrypt(wrap, self._binding(wrapped.context))

    def root_keys(self) -> tuple[int, ...]:
        """The versions that the service decrypts now, the oldest first."""
        return self._transit.versions()

    def add_root_key(self, entropy: Entropy) -> int:
        """Let the service add a version to its key; returns it."""
        self._transit.rotate()
        return self.root_key_version

    def finish_rotation(self, version: int, entropy: Entropy) -> None:
        """Wrap the keys in the file anew, and note that everything is wrapped by the root key `version` now."""
        audit_keys = {
            number: self._renewed(f"audit key {number}", the_audit_key(number)) for number in self.audit_keys()
        }
        server_key = self._renewed("server key", the_server_key)
        self._change(
            lambda keys: replace(
                keys, current_root_key=version, audit_keys=keys.audit_keys | audit_keys, server_key=server_key
            )
        )

    def retire_root_keys(self, last: int) -> None:
        """Let the service decrypt with no version up to `last` any longer. What it holds of them, it keeps: deleting
        them for good (`trim`) is the service's own business.

        Raises ValueError for the current root key or a later one: everything is wrapped by it.
        """
        if last >= self.current_root_key:
            raise ValueError("the current root key is never retired")
        self._transit.allow_from(last + 1)

    def _plain(self, name: str, kept: Callable[[Keys], bytes]) -> bytes:
        if name not in self._opened:
            # A rotation may have wrapped it anew since this process read the file, and retired what it was wrapped by.
            wrap = kept(self._read_again())
            self._opened[name] = self._transit.decrypt(wrap.decode("ascii", "replace"), self._binding(name))
        return self._opened[name]

    def _sealed(self, name: str, key: bytes, entropy: Entropy) -> bytes:
        return self._transit.encrypt(key, self._binding(name)).encode("ascii")

    def _renewed(self, name: str, kept: Callable[[Keys], bytes]) -> bytes:
        return self._transit.encrypt(self._plain(name, kept), self._binding(name)).encode("ascii")

    def _binding(self, context: str) -> bytes:
        # With its id, so that two installations that share a root key cannot open each other's.
        return f"rts/wrap/1\x00{self.keyring_id}\x00{context}".encode()

    def _check_binding(self) -> None:
        """Refuse a key service that opens a wrap whatever it was bound to."""
        try:
            self._transit.decrypt(self._keys.server_key.decode("ascii"), self._binding("something else"))
        except Refusal as refusal:
            if refusal.rules != ("vault.open",):
                raise
        else:
            message = say("The key service opens a data key whatever it was bound to, so it must not be used.")
            raise refuse("unavailable", "transit.binding", message)
