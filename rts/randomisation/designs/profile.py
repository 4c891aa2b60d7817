"""What a procedure does, allocation by allocation: the figures from which every measure is taken, and how they are
defined for any number of arms and any ratio.

`counts`, `chances` (conditional probabilities of the next arm) and `weights` (of the ratio, without a common factor)
have the arms along their first axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np
from numpy.typing import NDArray

from rts.trial.secrecy import NeverPrinted

Floats = NDArray[np.float64]
Wholes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, repr=False)
class Foresight(NeverPrinted):
    """What somebody who guesses knows of the next allocation, for each of the N allocations in order.

    `guessed` is the probability that the best guess is right, `certain` that the next arm is certain, `entropy` the
    expected entropy in nats.
    """

    guessed: Floats
    certain: Floats
    entropy: Floats


@dataclass(frozen=True, slots=True, repr=False)
class Profile(NeverPrinted):
    """The figures of one sequence of N allocations, begun at D = 0.

    For each of the N allocations: `convergence`, the probability that the convergence strategy guesses it; `informed`,
    the foresight of one who knows the full state, the size of the current block included; `observer`, that of one who
    knows the procedure and all earlier arms only (None where it is not calculated).

    After 0, 1 … N allocations: `balanced`, P(D = 0); `absolute`, E D; `square`, E d², with d the signed difference of
    two arms, of the pair of arms where it is largest; `whole`, the probability that no block is open (None: no blocks).

    Of the whole sequence: `largest`, the distribution of the largest D on the way; `farthest`, the greatest D there can
    be; `loss`, Atkinson's; `covariance` of T₁ … T_N, T = 1 for an arm and −1 for the others, of the arm with the
    largest variance.
    """

    convergence: Floats
    informed: Foresight
    observer: Foresight | None
    balanced: Floats
    absolute: Floats
    square: Floats
    whole: Floats | None
    largest: Mapping[Fraction, float]
    farthest: Fraction
    loss: float
    covariance: Floats


def difference_unit(weights: Wholes) -> int:
    """Every D is a multiple of 1 over this."""
    return lcm(*weights.ravel().tolist())


def difference(counts: Wholes, weights: Wholes) -> Wholes:
    """D, the imbalance, in units: the largest count less the smallest, each divided by the weight of its arm. For two
    arms 1:1 it is |n₁ − n₂|.
    """
    apart: Wholes = np.ptp(counts * (difference_unit(weights) // weights), axis=0)
    return apart


def guessed_by_convergence(counts: Wholes, chances: Floats, weights: Wholes) -> Floats:
    """The probability that the convergence strategy guesses right: it names the arm that is farthest behind its share
    of the allocations so far (nₖ/i − ρₖ smallest), each equally likely where there are several.
    """
    behind = counts * weights.sum() - counts.sum(axis=0) * weights
    named = behind == behind.min(axis=0)
    right: Floats = (chances * named).sum(axis=0) / named.sum(axis=0)
    return right


def entropy(chances: Floats) -> Floats:
    """The entropy of the next allocation, in nats."""
    nats: Floats = -(chances * np.log(np.where(chances > 0, chances, 1))).sum(axis=0)
    return nats


def subjects_lost(counts: Floats | Wholes, weights: Wholes) -> Floats:
    """Atkinson's loss when a sequence ends with these counts: N less the size of a trial exactly in the ratio that
    estimates the difference of the arms as well, N − 1/Σ(ρₖ²/nₖ). For two arms 1:1 it is D²/N.

    A. C. Atkinson, The distribution of loss in two-treatment biased-coin designs, Biostatistics 2003;4:179–193.
    """
    n = counts.sum(axis=0)
    share = weights / weights.sum()
    with np.errstate(divide="ignore"):
        # Σ(ρₖ − xₖ)²/xₖ, where xₖ = nₖ/N, is N·Σ(ρₖ²/nₖ) − 1 without its loss of digits.
        away = ((counts / n - share) ** 2 / (counts / n)).sum(axis=0)
    lost: Floats = n - n / (1 + away)
    return lost
