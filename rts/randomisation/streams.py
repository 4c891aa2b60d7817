"""The random words of a list: HMAC-SHA-256 in counter mode over the list's one seed.

Every use of randomness in a list has a stream of its own, named by scheme, list, part (a stratum, or nothing for the
whole list) and label. So the numbers a site can see share nothing with the words that decide the arms.

A word is 64 bits. It is held as an integer; compared as integers, words sort exactly as their 16 hex digits do as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count
from struct import Struct
from typing import TypeVar

from rts.trial.secrecy import NeverPrinted

SEED_LENGTH = 32
"""Length of a list's seed, in bytes."""

UNIT_SEPARATOR = "\x1f"
"""U+001F, which joins the parts of a stream's name and of a commitment's leaf. No code may contain it."""

_HASH_BLOCK = 64
_FOUR_WORDS = Struct(">4Q")
_HIGHS = 2**32

Slot = TypeVar("Slot")


@dataclass(frozen=True, slots=True, repr=False)
class ListStreams(NeverPrinted):
    """All streams of one list."""

    seed: bytes
    scheme: str
    list_id: str

    def blocks(self, label: str, part: str = "") -> Iterator[bytes]:
        """The endless 32-byte blocks of a stream: HMAC(seed, name of the stream ‖ 00 ‖ counter as 8 bytes big-endian).

        HMAC is written out (RFC 2104) so that key and name are hashed once a stream and not once a block.
        """
        name = UNIT_SEPARATOR.join((self.scheme, self.list_id, part, label)).encode()
        key = self.seed.ljust(_HASH_BLOCK, b"\0")
        inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + name + b"\0")
        outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
        for counter in count():
            message = inner.copy()
            message.update(counter.to_bytes(8, "big"))
            block = outer.copy()
            block.update(message.digest())
            yield block.digest()

    def words(self, label: str, part: str = "") -> Iterator[int]:
        """The endless 64-bit words of a stream, four a block."""
        return chain.from_iterable(map(_FOUR_WORDS.unpack, self.blocks(label, part)))


def draw_below(k: int, words: Iterable[int]) -> Iterator[int]:
    """Endless draws below `k` (0 included), each value equally likely; `words` is read one at a time.

    A word whose high half is k·⌊2³²/k⌋ or more is passed over, because a plain remainder would favour small values.
    Raises ValueError unless 1 ≤ k ≤ 2³².
    """
    if not 1 <= k <= _HIGHS:
        raise ValueError("k must be between 1 and 2**32")
    limit = k * (_HIGHS // k)
    for word in words:
        high = word >> 32
        if high < limit:
            yield high % k


def arrange(slots: Iterable[Slot], words: Iterator[int]) -> list[Slot]:
    """`slots` in random order: each takes the next word and they are sorted by word; equal words keep slot order."""
    # Sorting asks for the key of each slot once, in their order, and reads no word too many.
    return sorted(slots, key=lambda _slot: next(words))


def falls_within(word: int, share: Fraction) -> bool:
    """Whether `word` falls within the first `share` (0 to 1) of all words: its high half is below ⌊2³² · share⌋."""
    return word >> 32 < _HIGHS * share.numerator // share.denominator
