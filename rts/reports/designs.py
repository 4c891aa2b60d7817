"""Procedures side by side for a trial's own subjects, ratio and strata: for unblinded statisticians alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rts.conduct.reviewing_lists import PlannedDesign
from rts.randomisation.designs.advice import Advice, advise
from rts.randomisation.designs.comparison import Row, compare, dominated, usual_candidates
from rts.trial.procedures import Procedure


@dataclass(frozen=True, repr=False)
class DesignLine:
    """A candidate: its figures, what speaks against it, and the lines (from 1) that are better in every respect."""

    procedure: Procedure
    row: Row
    advice: tuple[Advice, ...]
    dominated_by: tuple[int, ...]
    is_planned: bool

    def __repr__(self) -> str:
        return "<sealed>"


def design_lines(question: PlannedDesign, further: Sequence[Procedure] = ()) -> tuple[DesignLine, ...]:
    """The planned procedure first, then `further` ones, then the usual candidates, each once.

    Minimisation is simulated with every level of a factor equally frequent, and always from the same seed.

    Raises Refusal `invalid` for a further procedure that cannot allocate these subjects.
    """
    factors = {factor: (1.0,) * count for factor, count in question.levels.items()}
    usual = usual_candidates(question.n, question.ratio, question.strata, factors)
    candidates = tuple(dict.fromkeys((question.planned, *further, *usual)))
    rows = _rows(candidates, question.n, question.ratio, question.strata, tuple(factors.items()))
    return tuple(
        DesignLine(
            candidate,
            row,
            tuple(advise(candidate, question.n, ratio=question.ratio, strata=question.strata, sites=question.sites)),
            tuple(place + 1 for place in better),
            candidate == question.planned,
        )
        for candidate, row, better in zip(candidates, rows, dominated(rows), strict=True)
    )


def numbers_of_strata(lines: Sequence[DesignLine]) -> tuple[int, ...]:
    """The numbers of strata that the overall imbalance is told for, ascending; none where all is minimisation."""
    return next((tuple(line.row.by_strata) for line in lines if line.row.by_strata), ())


@lru_cache(maxsize=8)
def _rows(
    candidates: tuple[Procedure, ...],
    n: int,
    ratio: tuple[int, ...],
    strata: int,
    factors: tuple[tuple[str, tuple[float, ...]], ...],
) -> list[Row]:
    """Calculated once for a page that is looked at again: the figures are those of the procedures alone."""
    return compare(candidates, n, ratio=ratio, strata=strata, factors=dict(factors))
