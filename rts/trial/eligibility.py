"""Which eligibility rules a person screened for a trial does not meet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import date

from rts.refusal import FailedRule, say
from rts.trial.definition import Criterion, Factor, TrialDefinition

# The oldest documented human age, rounded down: an earlier year of birth is a slip of the keyboard.
_OLDEST = 120


def failed_criteria(
    definition: TrialDefinition,
    answers: Mapping[str, bool],
    year_of_birth: int,
    consent_date: date,
    values: Mapping[str, float],
    edge_confirmed: bool,
    today: date,
) -> list[FailedRule]:
    """Every rule that fails, in the order of the form; an empty list when the person may be randomised.

    `answers` holds yes or no for each criterion with rule `confirm`, by code; `values` the entered value of each
    stratification factor, by code. `edge_confirmed` is the investigator's word that the age is right, needed only when
    some birthdays in the year of birth make it right and others do not. `today` is the site's local date.
    """
    return [
        *_failed_dates(year_of_birth, consent_date, today),
        *(
            failed
            for criterion in definition.criteria
            for failed in _failed_criterion(criterion, answers, year_of_birth, consent_date, values, edge_confirmed)
        ),
        *_unknown_names(definition, answers, values),
        *_failed_factors(definition, values),
    ]


def failed_values(definition: TrialDefinition, values: Mapping[str, float]) -> list[FailedRule]:
    """Every rule that entered stratification values break: one for each factor, within its bounds, and no other."""
    return [*_unknown_names(definition, {}, values), *_failed_factors(definition, values)]


def possible_ages(year_of_birth: int, on: date) -> tuple[int, ...]:
    """The ages in whole years that somebody born in `year_of_birth` can have on a date, youngest first.

    On 31 December every birthday of the year has passed, so there is one; on any other day there are two.
    """
    oldest = on.year - year_of_birth
    return (oldest,) if (on.month, on.day) == (12, 31) else (oldest - 1, oldest)


def is_edge_age(criterion: Criterion, year_of_birth: int, on: date) -> bool:
    """True when the birthday decides whether the age rule `criterion` is met."""
    fitting = [_is_within(criterion, age) for age in possible_ages(year_of_birth, on)]
    return any(fitting) and not all(fitting)


def _failed_dates(year_of_birth: int, consent_date: date, today: date) -> Iterator[FailedRule]:
    if consent_date > today:
        yield FailedRule("screening.consent_future", say("Date of consent is in the future"), "consent_date")
    if not consent_date.year - _OLDEST <= year_of_birth <= consent_date.year:
        message = say(
            "Year of birth must be from %(first)d to %(last)d",
            first=consent_date.year - _OLDEST,
            last=consent_date.year,
        )
        yield FailedRule("screening.year_of_birth", message, "year_of_birth")


def _failed_criterion(
    criterion: Criterion,
    answers: Mapping[str, bool],
    year_of_birth: int,
    consent_date: date,
    values: Mapping[str, float],
    edge_confirmed: bool,
) -> Iterator[FailedRule]:
    words = {"code": criterion.code, "criterion": criterion.text}
    if criterion.rule == "age":
        if not any(_is_within(criterion, age) for age in possible_ages(year_of_birth, consent_date)):
            yield FailedRule("eligibility.age", say("%(code)s not met: %(criterion)s", **words), "year_of_birth")
        elif is_edge_age(criterion, year_of_birth, consent_date) and not edge_confirmed:
            message = say(
                "%(code)s: the birthday decides whether this is met (%(criterion)s); the investigator must confirm it",
                **words,
            )
            yield FailedRule("eligibility.age_edge", message, "edge_confirmed")
    elif criterion.rule == "factor":
        # A missing or impossible value is named by its own rule.
        value = values.get(criterion.factor)
        if value is not None and not _is_within(criterion, value):
            message = say("%(code)s not met: %(criterion)s", **words)
            yield FailedRule(f"eligibility.{criterion.code}", message, f"values.{criterion.factor}")
    elif criterion.code not in answers:
        message = say("%(code)s is not answered: %(criterion)s", **words)
        yield FailedRule("eligibility.unanswered", message, f"answers.{criterion.code}")
    elif criterion.kind == "inclusion" and not answers[criterion.code]:
        message = say("%(code)s not met: %(criterion)s", **words)
        yield FailedRule(f"eligibility.{criterion.code}", message, f"answers.{criterion.code}")
    elif criterion.kind == "exclusion" and answers[criterion.code]:
        message = say("%(code)s excludes: %(criterion)s", **words)
        yield FailedRule(f"eligibility.{criterion.code}", message, f"answers.{criterion.code}")


def _failed_factors(definition: TrialDefinition, values: Mapping[str, float]) -> Iterator[FailedRule]:
    return (failed for factor in definition.factors for failed in _failed_value(factor, values))


def _failed_value(factor: Factor, values: Mapping[str, float]) -> Iterator[FailedRule]:
    field = f"values.{factor.code}"
    if factor.code not in values:
        yield FailedRule("stratum.missing", say("%(label)s is missing", label=factor.label), field)
        return
    value = values[factor.code]
    if not math.isfinite(value) or not factor.minimum <= value <= factor.maximum:
        message = say(
            "%(label)s must be from %(minimum)s to %(maximum)s %(unit)s",
            label=factor.label,
            minimum=f"{factor.minimum:g}",
            maximum=f"{factor.maximum:g}",
            unit=factor.unit,
        )
        yield FailedRule("stratum.bounds", message, field)
        return
    if not factor.fits_decimals(value):
        message = say("%(label)s has more than %(decimals)d decimals", label=factor.label, decimals=factor.decimals)
        yield FailedRule("stratum.decimals", message, field)


def _unknown_names(
    definition: TrialDefinition, answers: Mapping[str, bool], values: Mapping[str, float]
) -> Iterator[FailedRule]:
    asked = {criterion.code for criterion in definition.criteria if criterion.rule == "confirm"}
    for code in answers:
        if code not in asked:
            message = say("%(code)s is not a criterion that a person answers", code=code)
            yield FailedRule("eligibility.unknown", message, f"answers.{code}")
    factors = {factor.code for factor in definition.factors}
    for code in values:
        if code not in factors:
            message = say("%(code)s is not a stratification factor", code=code)
            yield FailedRule("stratum.unknown", message, f"values.{code}")


def _is_within(criterion: Criterion, value: float) -> bool:
    return (criterion.minimum is None or value >= criterion.minimum) and (
        criterion.maximum is None or value <= criterion.maximum
    )
