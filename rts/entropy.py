"""The only source of random bytes for tokens, nonces, salts and seeds.

One injectable source, so that the blinding tests can run the same story twice with the same
non-secret randomness (rts.randomisation has its own specified streams, made from a seed).
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Protocol


class Entropy(Protocol):
    """Anything that gives random bytes."""

    def bytes(self, length: int) -> bytes:
        """`length` random bytes."""
        ...


class SystemEntropy:
    """The operating system's generator."""

    def bytes(self, length: int) -> bytes:
        """`length` bytes from `secrets`."""
        return secrets.token_bytes(length)


class ReplayedEntropy:
    """SHA-256 in counter mode over a seed: the same bytes every time. Rehearsals and tests only."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._counter = 0

    def bytes(self, length: int) -> bytes:
        """The next `length` bytes of the replayed stream."""
        out = b""
        while len(out) < length:
            out += hashlib.sha256(self._seed + self._counter.to_bytes(8, "big")).digest()
            self._counter += 1
        return out[:length]
