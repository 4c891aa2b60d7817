"""How a procedure for two arms in the ratio 1:1 decides: the conditional probability of its first arm.

`probability_of_first` is the one place that knows it. Generation, quality and operating characteristics all ask it, so
that none of them can differ from another.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from rts.trial.procedures import (
    HALF,
    BiasedCoin,
    BigStick,
    BlockUrn,
    CompleteRandomisation,
    Conditional,
    Maximal,
    Urn,
)


def probability_of_first(procedure: Conditional, n1: int, n2: int, length: int) -> Fraction:
    """The probability that the next subject gets the first arm, after `n1` subjects on the first and `n2` on the
    second arm of a stratum of `length` entries in all. Exact (lists specification, section 3).

    Raises ValueError for counts that the procedure never reaches where it then has no probability.
    """
    difference, taken = n1 - n2, n1 + n2
    match procedure:
        case CompleteRandomisation():
            return HALF
        case BigStick(imbalance):
            return HALF if abs(difference) < imbalance else Fraction(difference < 0)
        case BiasedCoin(probability):
            if difference == 0:
                return HALF
            return probability if difference < 0 else 1 - probability
        case BlockUrn(lam):
            if abs(difference) > lam:
                raise ValueError("the block urn never reaches these counts")
            balanced_sets = min(n1, n2)
            return Fraction(lam + balanced_sets - n1, 2 * lam + 2 * balanced_sets - taken)
        case Urn(alpha, beta):
            balls = 2 * alpha + beta * taken
            return Fraction(alpha + beta * n2, balls) if balls else HALF
        case Maximal(imbalance):
            all_completions = completions(imbalance, length, taken, difference)
            if taken >= length or all_completions == 0:
                raise ValueError("the maximal procedure never reaches these counts")
            return Fraction(completions(imbalance, length, taken + 1, difference + 1), all_completions)


def completions(imbalance: int, length: int, taken: int, difference: int) -> int:
    """In how many ways a stratum of `length` entries can go on to end balanced, never differing by more than
    `imbalance`, when after `taken` entries the arms differ by `difference`. Of the whole stratum: `taken` 0.
    """
    largest = min(imbalance, length)
    if taken > length or abs(difference) > largest:
        return 0
    return _completions_by_entries_left(largest, length)[length - taken][abs(difference)]


@lru_cache(maxsize=4)
def _completions_by_entries_left(imbalance: int, length: int) -> tuple[tuple[int, ...], ...]:
    """The table of `completions`: a row for each number of entries left, from 0; in it a count for each size of the
    difference, from 0. The sign does not matter, and a difference above `imbalance` has no completion.
    """
    row = (1,) + (0,) * imbalance
    rows = [row]
    for _ in range(length):
        row = tuple(
            row[abs(difference - 1)] + (row[difference + 1] if difference < imbalance else 0)
            for difference in range(imbalance + 1)
        )
        rows.append(row)
    return tuple(rows)
