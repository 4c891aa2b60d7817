"""The measures from their definitions, by writing down every possible sequence: slow, in exact fractions, and without
any step in common with the program.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import combinations
from math import gcd, log, sqrt
from typing import NamedTuple

import numpy as np

from rts.randomisation.procedures import probability_of_first
from rts.trial.procedures import PermutedBlocks, RandomAllocationRule


class Path(NamedTuple):
    """A sequence of arms (0, 1 …), its probability, and before each allocation the chances of all arms given everything
    known, hidden block size included. Sequences that differ by their block sizes only are paths of their own.
    """

    arms: tuple[int, ...]
    probability: Fraction
    chances: tuple[tuple[Fraction, ...], ...]


def paths(procedure, n, ratio):
    """Every path that can happen."""
    match procedure:
        case PermutedBlocks(sizes):
            found = _block_paths(sizes, n, ratio)
        case RandomAllocationRule():
            found = _block_paths((n,), n, ratio)
        case _:
            found = _conditional_paths(procedure, n)
    return list(found)


def _conditional_paths(procedure, n, arms=(), probability=Fraction(1), chances=()):
    if len(arms) == n:
        yield Path(arms, probability, chances)
        return
    first = probability_of_first(procedure, arms.count(0), arms.count(1), n)
    now = (first, 1 - first)
    for arm in (0, 1):
        if now[arm] > 0:
            yield from _conditional_paths(procedure, n, (*arms, arm), probability * now[arm], (*chances, now))


def _block_paths(sizes, n, ratio, left=(), arms=(), probability=Fraction(1), chances=()):
    if len(arms) == n:
        yield Path(arms, probability, chances)
    elif not any(left):
        for size in sizes:
            block = tuple(size * weight // sum(ratio) for weight in ratio)
            yield from _block_paths(sizes, n, ratio, block, arms, probability / len(sizes), chances)
    else:
        now = tuple(Fraction(slots, sum(left)) for slots in left)
        for arm, chance in enumerate(now):
            if chance > 0:
                rest = tuple(slots - (at == arm) for at, slots in enumerate(left))
                yield from _block_paths(sizes, n, ratio, rest, (*arms, arm), probability * chance, (*chances, now))


def measures(procedure, n, ratio=(1, 1)):
    """Every measure of `rts.randomisation.designs.measures`, by name."""
    every = paths(procedure, n, ratio)
    share = [Fraction(weight, sum(ratio)) for weight in ratio]

    def mean(of_path):
        return sum((path.probability * of_path(path) for path in every), Fraction(0))

    largest = defaultdict(Fraction)
    for path in every:
        largest[max(_difference(path.arms[:i], ratio) for i in range(1, n + 1))] += path.probability
    guesses = mean(lambda path: sum(_convergence_is_right(path.arms, i, share) for i in range(n)))
    pairs = list(combinations(range(len(ratio)), 2))
    scale = [weight // gcd(*ratio) for weight in ratio]
    square = max(
        mean(
            lambda path, a=a, b=b: (
                (Fraction(path.arms.count(a), scale[a]) - Fraction(path.arms.count(b), scale[b])) ** 2
            )
        )
        for a, b in pairs
    )
    return {
        "cg_convergence": guesses / n,
        "blackwell_hodges_excess": guesses - n * max(share),
        "cg_informed": mean(lambda path: sum(map(max, path.chances))) / n,
        "deterministic": mean(lambda path: sum(max(now) == 1 for now in path.chances)) / n,
        "entropy_per_alloc_nats": sum(path.probability * sum(map(_entropy, path.chances)) for path in every) / n,
        "mean_prob_exact_balance": mean(lambda p: sum(_difference(p.arms[:i], ratio) == 0 for i in range(1, n + 1)))
        / n,
        "E_max_abs_imbalance": sum(difference * p for difference, p in largest.items()),
        "P_max": {str(difference): p for difference, p in sorted(largest.items())},
        "max_possible": max(largest),
        "E_abs_final_imbalance": mean(lambda path: _difference(path.arms, ratio)),
        "sd_final_imbalance": sqrt(square),
        "P_final_balance": mean(lambda path: _difference(path.arms, ratio) == 0),
        "loss": mean(lambda path: _loss(path.arms, share)),
        "accidental_bias_max_eigenvalue": max(_largest_eigenvalue(every, arm) for arm in range(len(ratio))),
        **_of_observer(every, n, len(ratio)),
    }


def _of_observer(every, n, arms):
    """Of one who sees arms only: chances are those of a sequence among all that begin alike."""
    begins = defaultdict(Fraction)
    for path in every:
        for i in range(n + 1):
            begins[path.arms[:i]] += path.probability
    guessed = certain = Fraction(0)
    entropy = 0.0
    for begin, probability in begins.items():
        if len(begin) < n:
            now = [begins.get((*begin, arm), Fraction(0)) / probability for arm in range(arms)]
            guessed += probability * max(now)
            certain += probability * (max(now) == 1)
            entropy += probability * _entropy(now)
    return {
        "bayes_optimal_guess_hidden_sizes": guessed / n,
        "observer_deterministic": certain / n,
        "observer_entropy_per_alloc_nats": entropy / n,
    }


def _difference(arms, ratio):
    scaled = [Fraction(arms.count(arm) * gcd(*ratio), weight) for arm, weight in enumerate(ratio)]
    return max(scaled) - min(scaled)


def _convergence_is_right(arms, i, share):
    behind = [Fraction(arms[:i].count(arm), i) - share[arm] if i else 0 for arm in range(len(share))]
    named = [arm for arm, value in enumerate(behind) if value == min(behind)]
    return Fraction(arms[i] in named, len(named))


def _entropy(chances):
    return -sum(float(chance) * log(chance) for chance in chances if chance > 0)


def _loss(arms, share):
    counts = [arms.count(arm) for arm in range(len(share))]
    if 0 in counts:
        return len(arms)
    return len(arms) - 1 / sum(rho**2 / Fraction(count) for rho, count in zip(share, counts, strict=True))


def _largest_eigenvalue(every, arm):
    signs = np.array([[1 if other == arm else -1 for other in path.arms] for path in every], dtype=float)
    probabilities = np.array([float(path.probability) for path in every])
    mean = probabilities @ signs
    covariance = (signs.T * probabilities) @ signs - np.outer(mean, mean)
    return float(np.linalg.eigvalsh(covariance)[-1])
