"""Designs side by side, for a trial's own number of subjects, ratio and strata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import hypot

from rts.randomisation.designs.measures import MEASURES, Value, check_design, measures_of, profile
from rts.randomisation.designs.simulation import check_simulation, simulate_minimisation
from rts.randomisation.designs.strata import over_strata, overall_imbalance, usual_numbers_of_strata
from rts.trial.procedures import (
    BiasedCoin,
    BigStick,
    Blocks,
    BlockUrn,
    CompleteRandomisation,
    Conditional,
    Maximal,
    Minimisation,
    PermutedBlocks,
    Procedure,
    RandomAllocationRule,
    Urn,
)
from rts.trial.secrecy import NeverPrinted

PREDICTABILITY_AND_BALANCE = ("cg_convergence", "sd_overall_imbalance", "E_max_abs_imbalance")
"""By the end alone, one block of everything would beat nearly all: it ends balanced and strays far on the way."""

RUNS = 1_000
"""How many trials are simulated for minimisation."""

_EQUAL = 1e-9
_MORE_IS_BETTER = {measure.name for measure in MEASURES if measure.more_is_better}


@dataclass(frozen=True, slots=True, repr=False)
class Row(NeverPrinted):
    """A procedure in a comparison.

    `values` are its measures over one sequence of all subjects, `strata` the figures of the stratified trial
    (`over_strata`; minimisation has no strata and its figures are those of the whole trial). `standard_errors`, by
    name, are those of simulated figures; calculated ones have none. `by_strata` is the overall imbalance by the number
    of strata (`overall_imbalance`); minimisation has none.
    """

    procedure: Procedure
    values: Mapping[str, Value]
    strata: Mapping[str, float]
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    by_strata: Mapping[int, float] = field(default_factory=dict)

    def figure(self, name: str) -> float | None:
        """A figure of the stratified trial where there is one of that name, else of one sequence; None if neither."""
        found = self.strata.get(name, self.values.get(name))
        return None if isinstance(found, dict) else found


def usual_candidates(
    n: int, ratio: Sequence[int] = (1, 1), strata: int = 1, factors: Mapping[str, Sequence[float]] | None = None
) -> list[Procedure]:
    """Procedures worth putting side by side for `n` subjects: those for two arms 1:1 only where that is the ratio,
    block sizes as multiples of the sum of the ratio, one block of everything only without strata, and where there are
    `factors` (as in `compare`) minimisation of all of them, equally weighed, the preferred arm with 4/5.
    """
    whole = sum(ratio)
    candidates: list[Procedure] = [
        PermutedBlocks((2 * whole,)),
        PermutedBlocks((2 * whole, 3 * whole)),
        PermutedBlocks((2 * whole, 3 * whole, 4 * whole)),
        PermutedBlocks((whole, 2 * whole, 3 * whole)),
    ]
    if strata == 1:
        candidates.append(RandomAllocationRule())
    candidates += [
        BigStick(3),
        BiasedCoin(Fraction(2, 3)),
        BlockUrn(3),
        Maximal(3),
        Urn(0, 1),
        Urn(1, 1),
        CompleteRandomisation(),
    ]
    offered = [candidate for candidate in candidates if not any(check_design(candidate, n, ratio))]
    if factors:
        minimisation = Minimisation("range", tuple((factor, 1) for factor in factors), Fraction(4, 5))
        if not any(check_simulation(minimisation, factors, n, ratio, RUNS)):
            offered.append(minimisation)
    return offered


def compare(
    candidates: Sequence[Procedure],
    n: int,
    *,
    ratio: Sequence[int] = (1, 1),
    strata: int = 1,
    factors: Mapping[str, Sequence[float]] | None = None,
    seed: int = 0,
    runs: int = RUNS,
) -> list[Row]:
    """A row for each candidate, in their order: `n` subjects in this ratio, who fall into `strata` equal strata.

    `factors`, `seed` and `runs` are for minimisation, which is simulated (`simulate_minimisation`) with those of the
    factors that it weighs. Raises Refusal (`invalid`) for a candidate that cannot allocate these subjects or cannot be
    measured.
    """
    return [
        _simulated(candidate, n, ratio, factors or {}, seed, runs)
        if isinstance(candidate, Minimisation)
        else _calculated(candidate, n, ratio, strata)
        for candidate in candidates
    ]


def _calculated(candidate: Conditional | Blocks, n: int, ratio: Sequence[int], strata: int) -> Row:
    found = profile(candidate, n, ratio)
    numbers = sorted({*usual_numbers_of_strata(n), strata})
    stratified, by_strata = over_strata(found, strata), overall_imbalance(found, numbers)
    return Row(candidate, measures_of(found, ratio), stratified, by_strata=by_strata)


def _simulated(
    candidate: Minimisation, n: int, ratio: Sequence[int], factors: Mapping[str, Sequence[float]], seed: int, runs: int
) -> Row:
    weighed = {factor: factors[factor] for factor, _ in candidate.weights if factor in factors}
    found = simulate_minimisation(candidate, weighed, n, ratio, seed=seed, runs=runs)
    overall = {"sd_overall_imbalance": found.values["sd_final_imbalance"]}
    errors = {"sd_overall_imbalance": found.standard_errors["sd_final_imbalance"], **found.standard_errors}
    return Row(candidate, found.values, overall, errors)


def dominated(rows: Sequence[Row], by: Sequence[str] = PREDICTABILITY_AND_BALANCE) -> list[tuple[int, ...]]:
    """For each row, the places (from 0) of the rows that dominate it: none of the figures named in `by` is worse and
    one is better. Figures that differ by less than two standard errors count as equal; a row that lacks one is
    compared with none.
    """
    return [tuple(place for place, other in enumerate(rows) if _dominates(other, row, by)) for row in rows]


def _dominates(other: Row, row: Row, by: Sequence[str]) -> bool:
    gains = [_gain(other, row, name) for name in by]
    return all(gain is not None and gain >= 0 for gain in gains) and any(gains)


def _gain(other: Row, row: Row, name: str) -> float | None:
    """By how much `other` is better in the figure `name`: 0 when that cannot be told, None when one has no such
    figure.
    """
    theirs, ours = other.figure(name), row.figure(name)
    if theirs is None or ours is None:
        return None
    gain = theirs - ours if name in _MORE_IS_BETTER else ours - theirs
    unsure = 2 * hypot(other.standard_errors.get(name, 0), row.standard_errors.get(name, 0))
    return gain if abs(gain) > max(unsure, _EQUAL) else 0.0
