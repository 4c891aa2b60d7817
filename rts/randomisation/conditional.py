"""Scheme `rts/conditional/1`: two arms 1:1, each entry decided by a conditional probability of the first arm.

The algorithm never changes under this name; a changed one is `rts/conditional/2` and stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from rts.randomisation.procedures import probability_of_first
from rts.randomisation.streams import falls_within
from rts.trial.procedures import Conditional

SCHEME = "rts/conditional/1"


def arms_of_stratum(procedure: Conditional, arms: Sequence[str], length: int, draw: Iterator[int]) -> list[str]:
    """The arm codes of one stratum by position, from the words of its stream; `arms` are the two codes in definition
    order.
    """
    first, second = arms
    n1 = n2 = 0
    sequence = []
    for word in islice(draw, length):
        if falls_within(word, probability_of_first(procedure, n1, n2, length)):
            sequence.append(first)
            n1 += 1
        else:
            sequence.append(second)
            n2 += 1
    return sequence
