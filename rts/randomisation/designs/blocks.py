"""The profile of permuted blocks: any number of arms, any ratio, one block size or several drawn at random.

Each block has the arms exactly in their ratio. So the figures of an allocation depend on its place in its own block
alone, and a sequence is a renewal process: where a block ends, all begins again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import gcd, isqrt, lcm, prod

import numpy as np

from rts.randomisation.designs.observer import can_be_foreseen, foresight_without_sizes
from rts.randomisation.designs.profile import (
    Floats,
    Foresight,
    Profile,
    Wholes,
    difference,
    difference_unit,
    entropy,
    guessed_by_convergence,
    subjects_lost,
)

_NEGLIGIBLE = 1e-18
"""What a block exceeds with a probability less than this is not told apart when its largest difference is found."""


def profile_of_blocks(block_sizes: Sequence[int], ratio: Sequence[int], length: int) -> Profile:
    """The profile over `length` entries of blocks of `block_sizes`, each size equally likely, the last block cut.

    `ratio` are the weights of the arms; each size is a multiple of their sum.
    """
    # The names of the arms change nothing; with the largest arm last there is least to keep.
    weights = np.array(sorted(ratio)) // gcd(*ratio)
    blocks = [_Block(size, weights, length) for size in block_sizes]
    begun = _begun(block_sizes, length)

    def mixed(figures: Iterator[Floats]) -> Floats:
        """Of each allocation of the sequence, from those of each place in a block of each size."""
        return sum((np.convolve(begun, figure)[:length] for figure in figures), np.zeros(length)) / len(blocks)

    informed = Foresight(
        guessed=mixed(block.guessed for block in blocks),
        certain=mixed(block.certain for block in blocks),
        entropy=mixed(block.entropy for block in blocks),
    )
    return Profile(
        convergence=mixed(block.convergence for block in blocks),
        informed=informed,
        observer=informed if len(blocks) == 1 else _observer(block_sizes, weights.tolist(), length),
        balanced=np.append(1, mixed(block.balanced for block in blocks)),
        absolute=np.append(0, mixed(block.absolute for block in blocks)),
        square=np.append(0, mixed(block.square for block in blocks)),
        whole=begun,
        largest=_distribution_of_largest(blocks, length),
        farthest=max(block.farthest for block in blocks),
        loss=float(mixed(block.loss for block in blocks)[-1]),
        covariance=_covariance(begun, block_sizes, weights),
    )


def _observer(block_sizes: Sequence[int], weights: Sequence[int], length: int) -> Foresight | None:
    return foresight_without_sizes(block_sizes, weights, length) if can_be_foreseen(block_sizes, weights) else None


def work_of_block(size: int, ratio: Sequence[int], length: int) -> int:
    """About how many numbers the profile of a block of `size` is worked out from."""
    places = min(size, length)
    weights = [weight // gcd(*ratio) for weight in sorted(ratio)]
    slots = [min(size * weight // sum(weights), places) for weight in weights]
    differences = lcm(*weights) * min(size // sum(weights), isqrt(100 * places))
    return places * prod(count + 1 for count in slots[:-1]) * differences


class _Block:
    """One block, or as much of it as a sequence has room for.

    Of the allocations in it: `convergence`, and `guessed`, `certain` and `entropy` of one who knows its size. After
    each of them: `balanced`, `absolute`, `square`, `loss` if the sequence ends there, and `within`, the probability
    that D has not been more than 0, 1, 2 … times 1/`unit` so far. `farthest` is the greatest D there can be.
    """

    def __init__(self, size: int, weights: Wholes, length: int) -> None:
        self.size = size
        self.places = min(size, length)
        self.weights = weights[:, np.newaxis]
        self.unit = difference_unit(weights)
        self.slots = size * self.weights // self.weights.sum()
        most = np.minimum(self.slots, self.places)
        self.farthest = max(Fraction(*pair) for pair in zip(most[:, 0].tolist(), weights.tolist(), strict=True))
        # A cell stands for the counts of all arms but the last, whose count follows from the place.
        shape = tuple((most[:-1, 0] + 1).tolist())
        self.counts = np.indices(shape).reshape(len(shape), -1)
        self.steps = [prod(shape[arm + 1 :]) for arm in range(len(shape))]
        taken = np.arange(1, self.places + 1)
        self.square = taken * (size - taken) / (size - 1) / weights.sum() * (1 / weights[:2]).sum()
        self._follow_counts(length)
        self._follow_largest()

    def _at(self, place: int) -> tuple[Wholes, Wholes]:
        """The cells in which `place` allocations can stand, and the counts of the arms there."""
        last = place - self.counts.sum(axis=0)
        cells = np.flatnonzero((last >= 0) & (last <= self.slots[-1]))
        return cells, np.vstack([self.counts[:, cells], last[cells]])

    def _chances(self, counts: Wholes, place: int) -> Floats:
        chances: Floats = (self.slots - counts) / (self.size - place)
        return chances

    def _after(self, now: Floats, place: int) -> Floats:
        """What stands in the cells (first axis) after one allocation more than `place`."""
        cells, counts = self._at(place)
        after = np.zeros_like(now)
        for chance, step in zip(self._chances(counts, place), [*self.steps, 0], strict=True):
            may = chance > 0
            after[cells[may] + step] += (now[cells[may]].T * chance[may]).T
        return after

    def _follow_counts(self, length: int) -> None:
        """Place by place, how the counts of the arms are distributed: the multivariate hypergeometric distribution."""
        share = self.weights / self.weights.sum()
        figures = np.zeros((7, self.places))
        self.convergence, self.guessed, self.certain, self.entropy, self.balanced, self.absolute, self.loss = figures
        reached = np.zeros(int(self.unit * self.farthest) + 1)
        now = np.zeros(self.counts.shape[1])
        now[0] = 1
        for place in range(self.places):
            cells, counts = self._at(place)
            chances = self._chances(counts, place)
            p = now[cells]
            self.convergence[place] = p @ guessed_by_convergence(counts, chances, self.weights)
            self.guessed[place] = p @ chances.max(axis=0)
            self.certain[place] = p @ (chances.max(axis=0) == 1)
            self.entropy[place] = p @ entropy(chances)

            now = self._after(now, place)
            cells, counts = self._at(place + 1)
            p, apart = now[cells], difference(counts, self.weights)
            self.balanced[place] = p @ (apart == 0)
            self.absolute[place] = p @ apart / self.unit
            self.loss[place] = p @ subjects_lost(counts + (length - place - 1) * share, self.weights)
            reached += np.bincount(apart, p, minlength=len(reached))
        exceeded = np.append(np.cumsum(reached[:0:-1])[::-1], 0)
        self._most = int(np.argmax(exceeded < _NEGLIGIBLE))

    def _follow_largest(self) -> None:
        """Place by place, P(D has not been more than a limit so far, counts now): a column for each limit."""
        limits = np.arange(self._most + 1)
        self.within = np.zeros((self.places, len(limits)))
        now = np.zeros((self.counts.shape[1], len(limits)))
        now[0] = 1
        for place in range(self.places):
            now = self._after(now, place)
            cells, counts = self._at(place + 1)
            now[cells] *= difference(counts, self.weights)[:, np.newaxis] <= limits
            self.within[place] = now[cells].sum(axis=0)


def _begun(block_sizes: Sequence[int], length: int) -> Floats:
    """The probability that a block begins after 0, 1 … N allocations."""
    begun = np.zeros(length + 1)
    begun[0] = 1
    for taken in range(1, length + 1):
        begun[taken] = sum(begun[taken - size] for size in block_sizes if size <= taken) / len(block_sizes)
    return begun


def _distribution_of_largest(blocks: Sequence[_Block], length: int) -> dict[Fraction, float]:
    """The distribution of the largest D: blocks keep within a limit independently of each other."""
    limits = max(block.within.shape[1] for block in blocks)
    within = [np.pad(block.within, ((0, 0), (0, limits - block.within.shape[1])), mode="edge") for block in blocks]
    kept = np.ones((length + 1, limits))
    for left in range(1, length + 1):
        kept[left] = sum(
            table[min(block.size, left) - 1] * kept[max(left - block.size, 0)]
            for block, table in zip(blocks, within, strict=True)
        ) / len(blocks)
    of_each = np.diff(kept[length], prepend=0)
    unit = blocks[0].unit
    return {Fraction(limit, unit): float(p) for limit, p in enumerate(of_each) if p > 0}


def _covariance(begun: Floats, block_sizes: Sequence[int], weights: Wholes) -> Floats:
    """The covariance of the Ts. Allocations of one block hinder each other, those of different blocks do not: within a
    block of size s it is −v/(s − 1), v being the variance of a T, whatever the arm.
    """
    length = len(begun) - 1
    share = weights / weights.sum()
    variance = 4 * float((share * (1 - share)).max())
    begun_before = np.append(0, np.cumsum(begun))
    place = np.arange(length)
    together = np.zeros((length, length))
    for size in block_sizes:
        # The block of allocation i holds the later j too when it began at i or before, and after j − s.
        from_i, from_j = begun_before[place + 1], begun_before[np.maximum(place - size + 1, 0)]
        together += np.triu(np.maximum(from_i[:, np.newaxis] - from_j, 0), 1) / (size - 1) / len(block_sizes)
    return variance * (np.eye(length) - together - together.T)
