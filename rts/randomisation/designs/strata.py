"""What becomes of a procedure when the trial is stratified: each stratum has a sequence of its own, and the subjects
fall into the strata by chance.
"""

from __future__ import annotations

from math import comb, sqrt

import numpy as np

from rts.randomisation.designs.profile import Floats, Profile


def over_strata(found: Profile, strata: int) -> dict[str, float | bool]:
    """Figures of a trial whose subjects fall, each independently, into `strata` strata with equal probabilities.

    `found` is the profile of one stratum's list, as long as the whole trial. What the arms differ by in one stratum
    tells nothing of another, so the variances of D add up. Therneau's limit, cells as many as half the subjects, is
    where balance over many strata is lost (T. M. Therneau, How many stratification factors are “too many” to use in a
    randomization plan? Controlled Clinical Trials 1993;14:98–108).
    """
    n = len(found.convergence)
    chance = _subjects_of_a_stratum(n, strata)
    figures: dict[str, float | bool] = {
        "mean_per_stratum": n / strata,
        "cg_convergence": _share(found.convergence, chance, strata),
        "deterministic": _share(found.informed.certain, chance, strata),
        "sd_overall_imbalance": sqrt(strata * float(chance @ found.square)),
        "E_abs_within_stratum": float(chance @ found.absolute),
        "therneau_limit_n_over_2": n / 2,
        "exceeds_therneau": strata > n / 2,
    }
    if found.observer is not None:
        figures["bayes_optimal_guess_hidden_sizes"] = _share(found.observer.guessed, chance, strata)
    if found.whole is not None:
        figures["expected_incomplete_blocks"] = strata * float(chance @ (1 - found.whole))
    return figures


def _subjects_of_a_stratum(n: int, strata: int) -> Floats:
    """P(0, 1 … n subjects in a stratum): binomial. Divided as whole numbers, so that nothing is lost for large n."""
    everything = strata**n
    return np.array([comb(n, count) * (strata - 1) ** (n - count) / everything for count in range(n + 1)])


def _share(of_each_allocation: Floats, chance: Floats, strata: int) -> float:
    """The expected share of the trial's allocations, from the probability for each allocation of one stratum."""
    n = len(of_each_allocation)
    return strata * float(chance @ np.append(0, np.cumsum(of_each_allocation))) / n
