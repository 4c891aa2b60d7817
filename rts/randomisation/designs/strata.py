"""What becomes of a procedure when the trial is stratified: each stratum has a sequence of its own, and the subjects
fall into the strata by chance.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import comb, sqrt

import numpy as np

from rts.randomisation.designs.profile import Floats, Profile

MOST_STRATA_SHOWN = 64


def usual_numbers_of_strata(n: int) -> tuple[int, ...]:
    """1, 2, 4 … `MOST_STRATA_SHOWN`, as far as Therneau's limit (`over_strata`) goes for `n` subjects."""
    return tuple(2**power for power in range(MOST_STRATA_SHOWN.bit_length()) if power == 0 or 2**power <= n / 2)


def overall_imbalance(found: Profile, numbers: Iterable[int]) -> dict[int, float]:
    """The standard deviation of D of the whole trial, by how many strata it has: as `over_strata` calculates it."""
    n = len(found.convergence)
    return {strata: sqrt(strata * float(_subjects_of_a_stratum(n, strata) @ found.square)) for strata in numbers}


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
        "sd_overall_imbalance": overall_imbalance(found, [strata])[strata],
        "E_abs_within_stratum": float(chance @ found.absolute),
        "therneau_limit_n_over_2": n / 2,
        "exceeds_therneau": strata > n / 2,
    }
    if found.observer is not None:
        figures["bayes_optimal_guess_hidden_sizes"] = _share(found.observer.guessed, chance, strata)
    if found.whole is not None:
        figures["expected_incomplete_blocks"] = strata * float(chance @ (1 - found.whole))
    return figures


# Asked for anew for each candidate; N + 1 fractions of numbers of thousands of digits.
@lru_cache(maxsize=16)
def _subjects_of_a_stratum(n: int, strata: int) -> Floats:
    """P(0, 1 … n subjects in a stratum): binomial. Divided as whole numbers, so that nothing is lost for large n."""
    everything = strata**n
    return np.array([comb(n, count) * (strata - 1) ** (n - count) / everything for count in range(n + 1)])


def _share(of_each_allocation: Floats, chance: Floats, strata: int) -> float:
    """The expected share of the trial's allocations, from the probability for each allocation of one stratum."""
    n = len(of_each_allocation)
    return strata * float(chance @ np.append(0, np.cumsum(of_each_allocation))) / n
