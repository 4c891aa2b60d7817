"""The profile of a procedure for two arms 1:1 that is given by a conditional probability.

Such a procedure is a walk of D = n₁ − n₂. Exchanging the arms changes nothing, so |D| alone is followed, and each
figure is a sum over (allocations so far, |D|): no simulation.

|D| is even after an even number of allocations and odd after an odd one: of what belongs to i allocations, column c
stands for |D| = 2c + (i mod 2).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rts.randomisation.designs.profile import Floats, Foresight, Profile, Wholes, entropy
from rts.randomisation.procedures import probability_of_first
from rts.trial.procedures import HALF, Conditional

_NEGLIGIBLE = 1e-25
"""A difference less probable than this is not followed further. In a thousand allocations that leaves out less than
10⁻¹⁹ in all.
"""


def profile_of_walk(procedure: Conditional, length: int) -> Profile:
    """The profile of `procedure` over a stratum of `length` entries."""
    walk = _Walk(procedure, length)
    before = walk.reached[:-1]
    informed = Foresight(
        guessed=_expected(before, np.maximum(walk.ahead, walk.behind)),
        certain=_expected(before, (walk.ahead == 0) | (walk.behind == 0)),
        entropy=_expected(before, entropy(np.stack([walk.ahead, walk.behind]))),
    )
    square = _expected(walk.reached, walk.apart**2)
    return Profile(
        # The arm behind is guessed; while the arms are equal, either guess is right with one half.
        convergence=_expected(before, walk.behind),
        informed=informed,
        observer=informed,
        balanced=_expected(walk.reached, walk.apart == 0),
        absolute=_expected(walk.reached, walk.apart),
        square=square,
        whole=None,
        largest=_distribution_of_largest(walk),
        farthest=_farthest(procedure, length),
        loss=float(square[-1]) / length,
        covariance=_covariance(walk),
    )


class _Walk:
    """Tables with a row for each number of allocations so far: `reached`, P(|D|); `ahead` and `behind`, the
    probabilities that the arm ahead and the arm behind get the next (of equal arms either counts as the one ahead);
    `apart`, the |D| of each column.
    """

    def __init__(self, procedure: Conditional, length: int) -> None:
        row = np.ones(1)
        reached, ahead, behind = [row], [], []
        for taken in range(length):
            chances = [
                # What cannot be reached has no probability to ask for.
                probability_of_first(procedure, (taken + apart) // 2, (taken - apart) // 2, length) if p > 0 else HALF
                for apart, p in zip(range(taken % 2, taken + 1, 2), row.tolist(), strict=False)
            ]
            # Both divisions are of whole numbers, so neither is rounded to 0 or 1.
            ahead.append(np.array([chance.numerator / chance.denominator for chance in chances] + [0]))
            behind.append(
                np.array([(chance.denominator - chance.numerator) / chance.denominator for chance in chances] + [0])
            )
            row = _step(np.append(row, 0), ahead[-1], behind[-1], taken)
            row = row[: np.flatnonzero(row > _NEGLIGIBLE)[-1] + 1]
            reached.append(row)
        width = max(map(len, reached)) + 1
        self.reached, self.ahead, self.behind = (_table(rows, width) for rows in (reached, ahead, behind))
        self.apart = 2 * np.arange(width) + np.arange(length + 1)[:, np.newaxis] % 2


def _table(rows: list[Floats], width: int) -> Floats:
    return np.stack([np.pad(row[:width], (0, max(width - len(row), 0))) for row in rows])


def _step(now: Floats, ahead: Floats, behind: Floats, taken: int) -> Floats:
    """What stands in the columns of |D| after one more allocation than `taken`."""
    if taken % 2 == 0:
        after = now * ahead
        after[..., 0] += now[..., 0] * behind[0]
        after[..., :-1] += now[..., 1:] * behind[1:]
    else:
        after = now * behind
        after[..., 1:] += now[..., :-1] * ahead[:-1]
    return after


def _expected(probabilities: Floats, values: Floats | Wholes | NDArray[np.bool]) -> Floats:
    expected: Floats = (probabilities * values).sum(axis=1)
    return expected


def _distribution_of_largest(walk: _Walk) -> dict[Fraction, float]:
    """The distribution of the largest |D|, followed as P(largest |D| so far, |D| now): a row for each largest."""
    length, width = walk.ahead.shape
    joint = np.zeros((2 * width, width))
    joint[0, 0] = 1
    for taken in range(length):
        joint = _step(joint, walk.ahead[taken], walk.behind[taken], taken)
        # What has just stepped beyond its record stands one row on.
        apart = walk.apart[taken + 1]
        column = np.arange(apart[0] == 0, width)
        apart = apart[column]
        joint[apart, column] += joint[apart - 1, column]
        joint[apart - 1, column] = 0
    return {Fraction(record): float(p) for record, p in enumerate(joint.sum(axis=1)) if p > 0}


def _farthest(procedure: Conditional, length: int) -> Fraction:
    """The greatest |D|: where the procedure gets to when the arm ahead takes every subject that it may."""
    apart = farthest = 0
    for taken in range(length):
        may = probability_of_first(procedure, (taken + apart) // 2, (taken - apart) // 2, length) > 0
        apart += 1 if may else -1
        farthest = max(farthest, apart)
    return Fraction(farthest)


def _covariance(walk: _Walk) -> Floats:
    """E[TᵢTⱼ], which is the covariance because every T has mean 0.

    For each earlier i, the function d → E[Tᵢ; D = d] is carried along. It is odd, so it is kept for d > 0 (twice) and
    is 0 at d = 0: whatever is known of Tᵢ is forgotten where the arms are equal.
    """
    length = len(walk.ahead)
    covariance = np.eye(length)
    drift = walk.ahead - walk.behind
    if not drift.any():
        return covariance
    carried = np.zeros((length, walk.ahead.shape[1]))
    for taken in range(length):
        ahead, behind, now = walk.ahead[taken], walk.behind[taken], walk.reached[taken]
        covariance[taken, :taken] = covariance[:taken, taken] = carried[:taken] @ drift[taken]
        carried[:taken] = _step(carried[:taken], ahead, behind, taken)
        # Of the new allocation: what came up to d less what came down to it.
        carried[taken] = _step(now, ahead, -behind, taken)
        if taken % 2 == 0:
            carried[taken, 0] += now[0]  # from equal arms nothing comes down
        else:
            carried[: taken + 1, 0] = 0
    return covariance
