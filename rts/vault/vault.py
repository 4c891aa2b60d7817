"""Sealing and opening values under data keys that the keyring wraps."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import lru_cache
from types import TracebackType

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rts.entropy import Entropy
from rts.refusal import refuse, say
from rts.vault.boxes import KEY_BYTES, cannot_open, open_box, seal_box
from rts.vault.keyring import Keyring
from rts.vault.sealed import Context, Sealed, WrappedKey, associated_data

# One data key per list and per trial: with more of them in use at once, some are unwrapped again.
CACHED_DATA_KEYS = 256


class Opener:
    """The right to read sealed values. A function that is handed one can see arms; no other can.

    `record` is called with the context of a value before the value is read: what it records is the trace of
    the opening, and when it raises nothing is read.
    """

    def __init__(self, cipher_of: Callable[[WrappedKey], AESGCM], record: Callable[[str], None]) -> None:
        self._cipher_of = cipher_of
        self._record = record
        self._closed = False
        self.openings = 0

    def __repr__(self) -> str:
        return "<opener>"

    def open(self, sealed: Sealed) -> bytes:
        """The plaintext of `sealed`.

        Raises Refusal `forbidden` when this opener is closed, `unavailable` (rule `vault.open`) when the value was
        altered, moved, or sealed with another key.
        """
        if self._closed:
            raise refuse("forbidden", "vault.closed", say("This opening of sealed values has ended."))
        self._record(str(sealed.context))
        self.openings += 1
        return open_box(self._cipher_of(sealed.key), sealed.box, associated_data(sealed.context))

    def text(self, sealed: Sealed) -> str:
        """The plaintext of `sealed`, a UTF-8 text. Raises as `open` does, also when the plaintext is no text."""
        text = _utf8(self.open(sealed))
        if text is None:
            raise cannot_open()
        return text

    def close(self) -> None:
        """End the right to open: every later attempt is refused."""
        self._closed = True

    def __enter__(self) -> Opener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _utf8(plaintext: bytes) -> str | None:
    try:
        return plaintext.decode()
    except UnicodeDecodeError:
        # Not raised further: the error carries the plaintext.
        return None


class Vault:
    """Seals values with data keys of this installation's keyring and hands out openers."""

    def __init__(self, keyring: Keyring, entropy: Entropy) -> None:
        self.keyring = keyring
        self._entropy = entropy
        self._cipher_of = lru_cache(maxsize=CACHED_DATA_KEYS)(lambda key: AESGCM(keyring.unwrap(key)))

    def __repr__(self) -> str:
        return "<vault>"

    def new_data_key(self, context: str) -> WrappedKey:
        """A fresh AES-256 data key, wrapped under the current root key and bound to `context` (say `trial SIRIUS`)."""
        return self.keyring.wrap(self._entropy.bytes(KEY_BYTES), context, self._entropy)

    def check(self, key: WrappedKey) -> None:
        """Raise Refusal, as the keyring's `unwrap` does, when no root key opens `key`; the data key goes nowhere."""
        self.keyring.unwrap(key)

    def are_one_key(self, one: WrappedKey, other: WrappedKey) -> bool:
        """Whether two wraps hold the same data key. Raises Refusal as the keyring's `unwrap` does."""
        return hmac.compare_digest(self.keyring.unwrap(one), self.keyring.unwrap(other))

    def rewrap(self, key: WrappedKey) -> WrappedKey:
        """The same data key under the current root key; what it sealed stays as it is."""
        return self.keyring.wrap(self.keyring.unwrap(key), key.context, self._entropy)

    def seal(self, key: WrappedKey, plaintext: bytes, context: Context, pad_to: int) -> Sealed:
        """Seal `plaintext`, padded to a multiple of `pad_to` bytes, bound to `context` (table, column, permanent id).

        Choose `pad_to` so that all values of the column take one step, whichever arm they name (4 bytes are for the
        length).
        """
        box = seal_box(self._cipher_of(key), plaintext, associated_data(context), pad_to, self._entropy)
        return Sealed(box, context, key)

    def sealed(self, key: WrappedKey, box: bytes, context: Context) -> Sealed:
        """The sealed value of a stored column: its bytes, and the context rebuilt from where it stands."""
        return Sealed(box, context, key)

    def opener(self, record: Callable[[str], None]) -> Opener:
        """An opener whose every opening is first told to `record`, by its context."""
        return Opener(self._cipher_of, record)
