"""What a procedure does, position by position: the figures from which every measure is taken.

D is the difference of the arms: the largest count less the smallest, each divided by its arm's ratio weight (weights
without a common factor), so |n₁ − n₂| for two arms 1:1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rts.randomisation.secrecy import NeverPrinted

Floats = NDArray[np.float64]


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
