"""Scheme `rts/permuted-blocks/1`: blocks of random size, in each of which the arms keep their ratio exactly.

The algorithm never changes under this name; a changed one is `rts/permuted-blocks/2` and stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

from rts.randomisation.streams import arrange, draw_below

SCHEME = "rts/permuted-blocks/1"


def arms_of_stratum(
    arms: Sequence[tuple[str, int]], block_sizes: Sequence[int], length: int, sizes: Iterator[int], order: Iterator[int]
) -> list[str]:
    """The arm codes of one stratum by position, from the words of its two streams.

    `arms` are (code, ratio weight) in definition order, `block_sizes` in ascending order. The last block is cut at
    `length`, so that the length of a list tells nothing of its block sizes.
    """
    ratio_sum = sum(weight for _, weight in arms)
    slots = [[code for code, weight in arms for _ in range(size * weight // ratio_sum)] for size in block_sizes]
    choices = draw_below(len(slots), sizes) if len(slots) > 1 else repeat(0)
    sequence: list[str] = []
    while len(sequence) < length:
        sequence += arrange(slots[next(choices)], order)
    return sequence[:length]
