"""Scheme `rts/tape/1`: random words in reserve for allocation that depends on the subjects so far (minimisation).

The secret of an entry is its word; which arm it means is decided when a subject takes it (`minimisation`). The
algorithm never changes under this name; a changed one is `rts/tape/2` and stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

SCHEME = "rts/tape/1"

STRATUM = ""
"""The code of the one list-wide part of a tape."""


def words_of_tape(length: int, draw: Iterator[int]) -> list[str]:
    """The words of a tape by position, each as 16 hex digits."""
    return [f"{word:016x}" for word in islice(draw, length)]
