"""What an observer foresees who knows the block sizes of a design and every earlier arm, but not the size drawn for a
block.

A block ends only where the arms stand exactly in their ratio: at a *balance*. So at a balance the observer's belief is
a vector: how probable it is that the current block began there, or one balance earlier (the sum of the ratio), or two.
What was allocated before tells nothing more. From one balance to the next lead finitely many *excursions*, and each
changes a belief in a known way: the distribution of beliefs is followed from balance to balance.

The number of different beliefs grows without end, but they crowd together. When there are too many, neighbours are
joined: their mean and second moments are kept, so what is lost is of the third order of their distance. Until then
(about 30 allocations of blocks of 4, 6 and 8) the figures are exact; after it, an entropy is off by less than 10⁻¹¹.
The best guess is exact for equal weights, where every belief leads to the same one, the arm behind; else it is off by
less than 10⁻⁹ in the mean with two arms, by about 10⁻⁸ with more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, perm, prod

import numpy as np
from numpy.typing import NDArray

from rts.randomisation.designs.profile import Floats, Foresight

_Counts = tuple[int, ...]

_MOST_BELIEFS = 2_000
_FINEST_DISTANCE = 2.0**-40
_NEGLIGIBLE = 1e-18
_SETTLED = 1e-11
# Beliefs that hold other beginnings possible are never joined: 2¹⁰ such sets still leave room among the most beliefs.
_MOST_BEGINNINGS = 10
_MOST_EXCURSIONS = 2_500


def can_be_foreseen(block_sizes: Sequence[int], ratio: Sequence[int]) -> bool:
    """Whether the foresight can be calculated in reasonable time: the longest block must not be too long."""
    excursions = prod(max(block_sizes) * weight // sum(ratio) + 1 for weight in ratio)
    return max(block_sizes) <= _MOST_BEGINNINGS * sum(ratio) and excursions <= _MOST_EXCURSIONS


def foresight_without_sizes(block_sizes: Sequence[int], ratio: Sequence[int], length: int) -> Foresight:
    """The foresight of this observer for each of `length` allocations.

    `ratio` are the weights of the arms without a common factor; each size is a multiple of their sum.
    """
    excursions = _Excursions(block_sizes, ratio)
    longest, step = max(block_sizes), sum(ratio)
    figures = np.zeros((3, length + longest))
    arriving: dict[int, list[_Beliefs]] = {0: [_Beliefs.at_the_start(longest // step)]}
    distance = _FINEST_DISTANCE
    for taken in range(0, length, step):
        if taken not in arriving:
            continue
        beliefs, distance = _joined(arriving.pop(taken), distance)
        for after, figure in zip(excursions.lengths, excursions.foresight(beliefs).T, strict=True):
            figures[:, taken + after] += figure
        for after, changed in excursions.ended(beliefs):
            arriving.setdefault(taken + after, []).append(changed)
        if _has_settled(figures[:, : taken + step], gcd(*block_sizes), 2 * longest):
            _repeat(figures, taken + step, gcd(*block_sizes))
            break
    guessed, certain, entropy = figures[:, :length]
    return Foresight(guessed, certain, entropy)


def _has_settled(figures: Floats, period: int, window: int) -> bool:
    """Whether the last figures are those of a period before: what has reached its steady state stays there."""
    if figures.shape[1] < 2 * window + period:
        return False
    return bool(np.all(np.abs(figures[:, -window:] - figures[:, -window - period : -period]) < _SETTLED))


def _repeat(figures: Floats, start: int, period: int) -> None:
    for place in range(start, figures.shape[1]):
        figures[:, place] = figures[:, place - period]


@dataclass(frozen=True, slots=True)
class _Beliefs:
    """Beliefs at one balance, a row each: `mass`, the probability of it; `mean`, how probable each beginning of the
    current block is; `moments`, the second moments about the mean of the beliefs that were joined, times their mass.
    """

    mass: Floats
    mean: Floats
    moments: Floats

    @classmethod
    def at_the_start(cls, beginnings: int) -> _Beliefs:
        """The certainty that a block begins here."""
        return cls(np.ones(1), np.eye(1, beginnings), np.zeros((1, beginnings, beginnings)))


def _joined(arriving: Sequence[_Beliefs], distance: float) -> tuple[_Beliefs, float]:
    """All that arrive at one balance, those within `distance` joined, and the distance by which it was done: larger
    than the one given when too many were left.
    """
    mass = np.concatenate([beliefs.mass for beliefs in arriving])
    mean = np.concatenate([beliefs.mean for beliefs in arriving])
    moments = np.concatenate([beliefs.moments for beliefs in arriving])
    while True:
        key = _cell(mean, distance)
        order = np.argsort(key, kind="stable")
        is_first = np.append(True, np.diff(key[order]) != 0)
        if is_first.sum() <= _MOST_BELIEFS:
            break
        distance *= 2
    starts, row = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    mass, mean, moments = mass[order], mean[order], moments[order]
    joined = np.add.reduceat(mass, starts)
    centre = np.add.reduceat(mass[:, np.newaxis] * mean, starts) / joined[:, np.newaxis]
    away = mean - centre[row]
    moments = moments + mass[:, np.newaxis, np.newaxis] * away[:, :, np.newaxis] * away[:, np.newaxis, :]
    return _Beliefs(joined, centre, np.add.reduceat(moments, starts)), distance


def _cell(mean: Floats, distance: float) -> NDArray[np.uint64]:
    """A number for each belief, equal for those that are in one cell of width `distance` and hold the same beginnings
    possible.
    """
    coordinates = 2 * np.round(mean / distance).astype(np.uint64) + (mean > 0)
    # A hash (multiplication modulo 2⁶⁴ by powers of an odd number): two cells with one number would just be joined.
    factors = np.array([pow(0x9E3779B97F4A7C15, power, 2**64) for power in range(1, mean.shape[1] + 1)], np.uint64)
    number: NDArray[np.uint64] = (coordinates * factors).sum(axis=1, dtype=np.uint64)
    return number


class _Excursions:
    """What can happen between a balance and the next one, told by the counts of the arms since."""

    def __init__(self, block_sizes: Sequence[int], ratio: Sequence[int]) -> None:
        self._sizes, self._ratio, self._step = block_sizes, ratio, sum(ratio)
        self._beginnings = range(max(block_sizes) // self._step)
        # Excursions that differ by the names of the arms alone tell the same.
        kinds: Counter[tuple[int, tuple[tuple[Fraction, ...], ...]]] = Counter()
        returns: Counter[int] = Counter()
        for counts, orders in self._orders():
            if any(counts) and self._is_balance(counts):
                returns[sum(counts)] += orders
            else:
                kinds[sum(counts), tuple(sorted(self._chances_of_next(counts)))] += orders
        self.lengths = [length for length, _ in kinds]
        """The number of allocations of each kind of excursion that is still under way."""
        self._orders_of_kind = np.array(list(kinds.values()), dtype=np.float64)
        # By kind, arm and beginning; given that the block that began there has not ended at the balance.
        self._chances = np.array([chances for _, chances in kinds], dtype=np.float64)
        self._survival = self._chances[0].sum(axis=0)
        self._chances /= self._survival
        self._changes = [(length, orders, self._change(length // self._step)) for length, orders in returns.items()]

    def _orders(self) -> Iterator[tuple[_Counts, int]]:
        """The counts of every excursion, from none, and in how many orders they come about with no balance between."""
        most = self._slots(max(self._sizes))
        reached: Counter[_Counts] = Counter({(0,) * len(most): 1})
        while reached:
            yield from reached.items()
            longer: Counter[_Counts] = Counter()
            for counts, orders in reached.items():
                if any(counts) and self._is_balance(counts):
                    continue
                for arm, count in enumerate(counts):
                    if count < most[arm]:
                        longer[*counts[:arm], count + 1, *counts[arm + 1 :]] += orders
            reached = longer

    def _slots(self, size: int) -> _Counts:
        """How often each arm stands in a block of `size`."""
        return tuple(size * weight // self._step for weight in self._ratio)

    def _is_balance(self, counts: _Counts) -> bool:
        length = sum(counts)
        return length % self._step == 0 and counts == self._slots(length)

    def _chances_of_next(self, counts: _Counts) -> Iterator[tuple[Fraction, ...]]:
        """For each arm, by the beginning of the current block: the probability of one order of `counts` since the
        balance, and of this arm next.
        """
        for arm in range(len(counts)):
            of_beginning = []
            for earlier in self._beginnings:
                before = self._slots(earlier * self._step)
                in_block = [a + b + (at == arm) for at, (a, b) in enumerate(zip(before, counts, strict=True))]
                of_size = (self._chance_of_order(in_block, size) for size in self._sizes)
                of_beginning.append(sum(of_size, Fraction(0)))
            yield tuple(of_beginning)

    def _chance_of_order(self, counts: Sequence[int], size: int) -> Fraction:
        """The probability that a block is of `size` and begins with the arms in one given order of `counts`."""
        slots = self._slots(size)
        if any(count > most for count, most in zip(counts, slots, strict=True)):
            return Fraction(0)
        orders = prod(perm(most, count) for count, most in zip(counts, slots, strict=True))
        return Fraction(orders, perm(size, sum(counts)) * len(self._sizes))

    def _change(self, steps: int) -> Floats:
        """What a return to balance after `steps` balance steps does to a belief, as a matrix."""
        change = np.eye(len(self._beginnings), k=-steps)
        for size in self._sizes:
            earlier = size // self._step - steps
            if earlier >= 0:
                change[0, earlier] += float(self._chance_of_order(self._slots(size), size))
        given_survival: Floats = change * self._survival[:, np.newaxis] / self._survival
        return given_survival

    def foresight(self, beliefs: _Beliefs) -> Floats:
        """What is foreseen in excursions from `beliefs`: best guess right, next arm certain, entropy, each by kind."""
        kinds, arms, beginnings = self._chances.shape
        # The last column stands for the excursion itself, whatever the next arm.
        chances = np.concatenate([self._chances, self._chances.sum(axis=1, keepdims=True)], axis=1)
        expected = (beliefs.mean @ chances.reshape(-1, beginnings).T).reshape(-1, kinds, arms + 1)
        pairs = chances[..., :, np.newaxis] * chances[..., np.newaxis, :]
        square = (beliefs.moments.reshape(-1, beginnings**2) @ pairs.reshape(-1, beginnings**2).T).reshape(
            expected.shape
        )
        possible = expected > 0
        # The mean of x·log x over the beliefs that were joined, to the second order: its second derivative is 1/x.
        surprise = beliefs.mass[:, np.newaxis, np.newaxis] * expected * np.log(np.where(possible, expected, 1))
        surprise += np.divide(square, 2 * expected, out=np.zeros_like(square), where=possible)
        of_kind = surprise.sum(axis=0)
        is_certain = possible[..., :-1].sum(axis=2) == 1
        foreseen: Floats = self._orders_of_kind * np.stack(
            [
                _best_guess(beliefs.mass, expected, square),
                beliefs.mass @ (expected[..., -1] * is_certain),
                of_kind[:, -1] - of_kind[:, :-1].sum(axis=1),
            ]
        )
        return foreseen

    def ended(self, beliefs: _Beliefs) -> Iterator[tuple[int, _Beliefs]]:
        """What `beliefs` become at the next balance, by the number of allocations until then."""
        for length, orders, change in self._changes:
            survival = change.sum(axis=0)
            chance = beliefs.mean @ survival
            possible = beliefs.mass * chance * orders > _NEGLIGIBLE
            mass, chance, moments = beliefs.mass[possible], chance[possible], beliefs.moments[possible]
            mean = beliefs.mean[possible] @ change.T / chance[:, np.newaxis]
            # Beliefs are divided by the probability of what happened: a deviation turns by change − mean·survival.
            turn = change - mean[:, :, np.newaxis] * survival
            moments = turn @ moments @ turn.transpose(0, 2, 1) * (orders / chance)[:, np.newaxis, np.newaxis]
            yield length, _Beliefs(mass * chance * orders, mean, moments)


def _best_guess(mass: Floats, expected: Floats, square: Floats) -> Floats:
    """The probability, by kind of excursion, that the best guess is right; arguments as in `foresight`."""
    guessed: Floats
    if expected.shape[2] != 3:
        guessed = mass @ expected[..., :-1].max(axis=2)
        return guessed
    # Of two arms: half of sum and |difference|. Joined beliefs can lead to different guesses: their differences are
    # taken as spread evenly, as widely as their variance says.
    first, second, either = np.moveaxis(expected, 2, 0)
    variance = 2 * (square[..., 0] + square[..., 1]) - square[..., 2]
    spread = np.sqrt(3 * np.maximum(variance, 0) / mass[:, np.newaxis])
    apart = np.abs(first - second)
    unsure = np.divide(apart**2 + spread**2, 2 * spread, out=apart.copy(), where=spread > apart)
    guessed = mass @ (either + unsure) / 2
    return guessed
