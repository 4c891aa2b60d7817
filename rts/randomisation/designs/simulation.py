"""The measures of minimisation, by simulation: what it does depends on who comes, and cannot be summed up exactly.

All simulated trials go forward side by side, one subject at a time. Their scores are compared as whole numbers, so as
exactly as `rts.randomisation.minimisation` compares its fractions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import gcd, inf, sqrt

import numpy as np

from rts.randomisation.designs.measures import check_design
from rts.randomisation.designs.profile import (
    Floats,
    Wholes,
    difference,
    difference_unit,
    entropy,
    guessed_by_convergence,
    subjects_lost,
)
from rts.refusal import FailedRule, refuse_all, say
from rts.trial.procedures import Minimisation
from rts.trial.secrecy import NeverPrinted

MOST_RUNS = 100_000


@dataclass(frozen=True, slots=True, repr=False)
class SimulatedMeasures(NeverPrinted):
    """Estimates by name of measure, and the standard error of each."""

    values: Mapping[str, float]
    standard_errors: Mapping[str, float]


def simulate_minimisation(
    procedure: Minimisation,
    factors: Mapping[str, Sequence[float]],
    n: int,
    ratio: Sequence[int] = (1, 1),
    *,
    seed: int,
    runs: int = 1_000,
) -> SimulatedMeasures:
    """Measures of `runs` simulated trials of `n` subjects each; equal arguments give equal estimates.

    `factors` gives, for each factor that the procedure weighs, how often each of its levels occurs (any positive
    numbers); subjects have their levels independently of each other and of their other levels. The convergence strategy
    looks at the whole trial; `cg_informed` is the guess of one who knows every subject's levels and arm. Raises Refusal
    (`invalid`) that names every field and rule that fails.
    """
    refuse_all("invalid", check_simulation(procedure, factors, n, ratio, runs))
    generator = np.random.Generator(np.random.PCG64(seed))
    weights = np.array(ratio)[:, np.newaxis] // gcd(*ratio)
    run = np.arange(runs)
    level_shares = {factor: np.array(shares)[:, np.newaxis] / sum(shares) for factor, shares in factors.items()}
    # The arms come first, as everywhere; then levels, then runs.
    so_far = {factor: np.zeros((len(ratio), len(shares), runs), np.int64) for factor, shares in factors.items()}
    counts = np.zeros((len(ratio), runs), np.int64)
    convergence, informed, certain, uncertain, balanced, largest = np.zeros((6, runs))
    for _ in range(n):
        levels = {factor: _drawn(share, generator.random(runs)) for factor, share in level_shares.items()}
        at_levels = {factor: so_far[factor][:, level, run] for factor, level in levels.items()}
        chances = chances_of_next(at_levels, procedure, weights)
        convergence += guessed_by_convergence(counts, chances, weights)
        informed += chances.max(axis=0)
        certain += chances.max(axis=0) == 1
        uncertain += entropy(chances)
        arm = _drawn(chances, generator.random(runs))
        counts[arm, run] += 1
        for factor, level in levels.items():
            so_far[factor][arm, level, run] += 1
        apart = difference(counts, weights) / difference_unit(weights)
        balanced += apart == 0
        largest = np.maximum(largest, apart)
    pairs = [(counts[a] / weights[a] - counts[b] / weights[b]) ** 2 for a, b in combinations(range(len(ratio)), 2)]
    square = max(pairs, key=np.mean)
    estimated = {
        "cg_convergence": convergence / n,
        "blackwell_hodges_excess": convergence - n * max(ratio) / sum(ratio),
        "cg_informed": informed / n,
        "deterministic": certain / n,
        "entropy_per_alloc_nats": uncertain / n,
        "mean_prob_exact_balance": balanced / n,
        "E_max_abs_imbalance": largest,
        "E_abs_final_imbalance": apart,
        "P_final_balance": apart == 0,
        "loss": subjects_lost(counts, weights),
    }
    values = {name: float(of_run.mean()) for name, of_run in estimated.items()}
    errors = {name: float(of_run.std(ddof=1)) / sqrt(runs) for name, of_run in estimated.items()}
    # The error of a root is that of what stands under it, over twice the root.
    values["sd_final_imbalance"] = root = sqrt(square.mean())
    errors["sd_final_imbalance"] = float(square.std(ddof=1)) / sqrt(runs) / (2 * root) if root > 0 else 0.0
    return SimulatedMeasures(values, errors)


def chances_of_next(at_levels: Mapping[str, Wholes], procedure: Minimisation, weights: Wholes) -> Floats:
    """The probability of each arm for the next subject of every run (arms, runs), when at the subject's level of each
    factor the arms have these counts (lists specification, section 4).
    """
    arms = len(weights)
    scaled = difference_unit(weights) // weights
    of_factor = dict(procedure.weights)
    scores = np.zeros((arms, next(iter(at_levels.values())).shape[1]), np.int64)
    for arm in range(arms):
        for factor, counts in at_levels.items():
            values = (counts + (np.arange(arms) == arm)[:, np.newaxis]) * scaled
            # The sample variance but for a factor that all arms share.
            spread = (
                np.ptp(values, axis=0)
                if procedure.metric == "range"
                else arms * (values**2).sum(axis=0) - values.sum(axis=0) ** 2
            )
            scores[arm] += of_factor[factor] * spread
    preferred = scores == scores.min(axis=0)
    several = preferred.sum(axis=0)
    probability = float(procedure.probability)
    alone = np.where(preferred, probability, (1 - probability) / (arms - 1))
    chances: Floats = np.where(several == 1, alone, preferred / several)
    return chances


def _drawn(chances: Floats, draws: Floats) -> Wholes:
    """For each draw the first whose cumulative chance lies above it; the last takes the rest."""
    cumulative = np.cumsum(chances, axis=0)
    below: Wholes = (draws >= cumulative[:-1]).sum(axis=0)
    return below


def check_simulation(
    procedure: Minimisation, factors: Mapping[str, Sequence[float]], n: int, ratio: Sequence[int], runs: int
) -> Iterator[FailedRule]:
    """Whether such trials can be simulated (`simulate_minimisation`)."""
    failed = list(check_design(procedure, n, ratio))
    yield from failed
    if failed:
        return
    if set(factors) != {factor for factor, _ in procedure.weights}:
        message = say("factors must name the factors of the procedure, each once and no other")
        yield FailedRule("design.factors.names", message, "factors")
    if not all(shares and all(0 < share < inf for share in shares) for shares in factors.values()):
        message = say("factors: every factor needs a level, and every level a share above 0")
        yield FailedRule("design.factors.shares", message, "factors")
    largest = difference_unit(np.array(ratio)) * (n + 1)
    if sum(weight for _, weight in procedure.weights) * (len(ratio) * largest) ** 2 >= 2**63:
        message = say("procedure.weights are too large to compare scores exactly with so many subjects in this ratio")
        yield FailedRule("design.weights.large", message, "procedure.weights")
    if not 2 <= runs <= MOST_RUNS:
        yield FailedRule("design.runs.range", say("runs must be between 2 and %(most)s", most=MOST_RUNS), "runs")
