"""How many subjects a site may yet randomise: the Poisson-gamma model of recruitment. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Arrivals:
    """Subjects of an arm that a site may randomise within a window of `span` days (the window times the arm's share).

    The site's daily rate has a gamma distribution (`shape`, `rate` in days: the prior's, plus the subjects randomised
    and the days the site was open), so that their number is negative binomial with size = shape and probability
    rate / (rate + span) (Anisimov & Fedorov 2007).
    """

    shape: float
    rate: float
    span: float

    def __post_init__(self) -> None:
        if not (self.shape > 0 and self.rate > 0 and self.span >= 0):
            raise ValueError("shape and rate must be positive, the span must not be negative")

    def _probabilities(self) -> Iterator[float]:
        """P(N = 0), P(N = 1), … without end."""
        if self.span == 0:
            yield 1.0
            while True:
                yield 0.0
        log_stop, log_go = (math.log(part / (self.rate + self.span)) for part in (self.rate, self.span))
        subjects = 0
        while True:
            # Through logarithms: for a region with hundreds of subjects the first terms underflow to zero.
            log_term = math.lgamma(self.shape + subjects) - math.lgamma(self.shape) - math.lgamma(subjects + 1)
            yield math.exp(log_term + self.shape * log_stop + subjects * log_go)
            subjects += 1

    def chance_of_more_than(self, subjects: int) -> float:
        """P(N > `subjects`); 1 below zero."""
        at_most = sum(share for _, share in zip(range(subjects + 1), self._probabilities(), strict=False))
        return max(0.0, 1.0 - at_most)

    def quantile(self, epsilon: float) -> int:
        """The (1 - `epsilon`) quantile: the smallest s with P(N > s) <= epsilon. Raises ValueError unless epsilon is
        from 1e-9 to below 1.
        """
        if not 1e-9 <= epsilon < 1:
            raise ValueError("epsilon must be from 1e-9 to below 1")
        below = 0.0
        for subjects, share in enumerate(self._probabilities()):
            below += share
            if 1.0 - below <= epsilon:
                return subjects
        raise AssertionError("the probabilities have no end")


def arrivals(
    prior_shape: float,
    prior_rate: float,
    *,
    randomised: int,
    exposure_days: float,
    window_days: float,
    arm_probability: float = 1.0,
) -> Arrivals:
    """What a site that has randomised `randomised` subjects in `exposure_days` may add in `window_days`, of an arm with
    this share. Raises ValueError for a prior, count, window or probability out of range.
    """
    if not (prior_shape > 0 and prior_rate > 0 and randomised >= 0 and exposure_days >= 0 and window_days >= 0):
        raise ValueError("the prior must be positive; subjects, exposure and window must not be negative")
    if not 0 <= arm_probability <= 1:
        raise ValueError("the arm's probability must be from 0 to 1")
    return Arrivals(prior_shape + randomised, prior_rate + exposure_days, window_days * arm_probability)
