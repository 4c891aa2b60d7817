"""Minimisation: the arm of one subject from the factor levels, the subjects so far, and one word of a tape.

S. J. Pocock and R. Simon, Sequential treatment assignment with balancing for prognostic factors in the controlled
clinical trial, Biometrics 1975;31:103–115. All arithmetic is in exact fractions, so that an allocation replays on any
machine.

Only the factors that the procedure weighs count, each once, with the values used at randomisation. Nothing is added to
them: a site that is a factor is counted as that factor and not a second time on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from rts.randomisation.inputs import check_arms
from rts.randomisation.streams import falls_within
from rts.refusal import FailedRule, refuse_all, say
from rts.trial.procedures import Minimisation, check_for_list
from rts.trial.secrecy import NeverPrinted

_WORD = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, repr=False)
class MinimisedAllocation(NeverPrinted):
    """The arm of a subject, and the record from which it can be replayed: plain JSON values, fractions as texts.

    The record holds everything `minimise` was given (`arms`, `levels`, `counts`, `metric`, `weights`, `probability`,
    `word`) and what came of it: `scores` and `probabilities` in the order of the arms, and `arm`. It tells arms, so it
    is stored sealed.
    """

    arm: str
    record: dict[str, object]


def counts_at(
    levels: Mapping[str, str], arms: Sequence[str], earlier: Iterable[tuple[str, Mapping[str, str]]]
) -> dict[str, dict[str, int]]:
    """How many of the `earlier` subjects (arm, factor levels) each arm has at each of `levels`: by factor, then arm."""
    counts = {factor: dict.fromkeys(arms, 0) for factor in levels}
    for arm, earlier_levels in earlier:
        for factor, level in levels.items():
            counts[factor][arm] += earlier_levels[factor] == level
    return counts


def minimise(
    procedure: Minimisation,
    arms: Sequence[tuple[str, int]],
    levels: Mapping[str, str],
    counts: Mapping[str, Mapping[str, int]],
    word: str,
) -> MinimisedAllocation:
    """Allocate one subject (lists specification, section 4).

    `arms` are (code, ratio weight) in definition order; `levels` is the subject's level of each factor; `counts` is how
    many earlier subjects each arm has at that level, by factor, then arm (`counts_at`); `word` is that of the tape's
    next entry, 16 hex digits. Raises Refusal (`invalid`) that names every field and rule that fails.
    """
    refuse_all("invalid", _failed_rules(procedure, arms, levels, counts, word))
    scores = [_score(procedure, arms, counts, candidate) for candidate, _ in arms]
    probabilities = _probabilities(scores, procedure.probability)
    arm = _drawn([code for code, _ in arms], probabilities, int(word, 16))
    record: dict[str, object] = {
        "arms": [list(arm_and_weight) for arm_and_weight in arms],
        "levels": dict(levels),
        "counts": {factor: dict(by_arm) for factor, by_arm in counts.items()},
        "metric": procedure.metric,
        "weights": dict(procedure.weights),
        "probability": str(procedure.probability),
        "word": word,
        "scores": [str(score) for score in scores],
        "probabilities": [str(probability) for probability in probabilities],
        "arm": arm,
    }
    return MinimisedAllocation(arm, record)


def _score(
    procedure: Minimisation,
    arms: Sequence[tuple[str, int]],
    counts: Mapping[str, Mapping[str, int]],
    candidate: str,
) -> Fraction:
    """How unequal the arms would be at the subject's levels if `candidate` got the subject."""
    spread = _range if procedure.metric == "range" else _variance
    return sum(
        (
            weight * spread([Fraction(counts[factor][code] + (code == candidate), ratio) for code, ratio in arms])
            for factor, weight in procedure.weights
        ),
        Fraction(0),
    )


def _range(values: Sequence[Fraction]) -> Fraction:
    return max(values) - min(values)


def _variance(values: Sequence[Fraction]) -> Fraction:
    """The sample variance: over one less than the number of values."""
    mean = sum(values) / Fraction(len(values))
    return sum(((value - mean) ** 2 for value in values), Fraction(0)) / (len(values) - 1)


def _probabilities(scores: Sequence[Fraction], probability: Fraction) -> list[Fraction]:
    """The one arm with the lowest score gets `probability` and the others share the rest; of several, each an equal
    share of everything.
    """
    lowest = min(scores)
    preferred = scores.count(lowest)
    if preferred > 1:
        return [Fraction(score == lowest, preferred) for score in scores]
    others = (1 - probability) / (len(scores) - 1)
    return [probability if score == lowest else others for score in scores]


def _drawn(codes: Sequence[str], probabilities: Sequence[Fraction], word: int) -> str:
    """The first arm whose cumulative probability the word falls within; the last takes the rest."""
    cumulative = Fraction(0)
    for code, probability in zip(codes[:-1], probabilities, strict=False):
        cumulative += probability
        if falls_within(word, cumulative):
            return code
    return codes[-1]


def _failed_rules(
    procedure: Minimisation,
    arms: Sequence[tuple[str, int]],
    levels: Mapping[str, str],
    counts: Mapping[str, Mapping[str, int]],
    word: str,
) -> Iterator[FailedRule]:
    yield from check_arms(arms)
    yield from check_for_list(procedure, [weight for _, weight in arms], 1)
    factors = {factor for factor, _ in procedure.weights}
    if set(levels) != factors:
        message = say("levels must name the factors of the procedure, each once and no other")
        yield FailedRule("minimisation.levels", message, "levels")
    codes = {code for code, _ in arms}
    if set(counts) != factors or any(set(by_arm) != codes for by_arm in counts.values()):
        message = say("counts must name every factor of the procedure and in it every arm, and no other")
        yield FailedRule("minimisation.counts", message, "counts")
    if any(count < 0 for by_arm in counts.values() for count in by_arm.values()):
        yield FailedRule("minimisation.counts.negative", say("counts must be 0 or more"), "counts")
    if not _WORD.fullmatch(word):
        yield FailedRule("minimisation.word", say("word must be 16 hex digits in small letters"), "word")
