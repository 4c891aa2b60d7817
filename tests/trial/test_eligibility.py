from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.refusal import FailedRule
from rts.trial.eligibility import failed_criteria, possible_ages
from rts.trial.reading import read_definition
from tests.trial.texts import PUBLIC

sirius = read_definition(PUBLIC)
RIGHT = {c.code: c.kind == "inclusion" for c in sirius.criteria if c.rule == "confirm"}
VALUES = {"SLEDAI": 8.0, "STEROID": 7.5}
TODAY = date(2026, 3, 10)


def failed(
    *,
    answers: dict[str, bool] | None = None,
    born: int = 1986,
    consent: date = TODAY,
    values: dict[str, float] | None = None,
    edge: bool = False,
    today: date = TODAY,
) -> list[FailedRule]:
    return failed_criteria(
        sirius,
        RIGHT if answers is None else answers,
        born,
        consent,
        VALUES if values is None else values,
        edge,
        today,
    )


def rules(found: list[FailedRule]) -> list[str]:
    return [rule.rule for rule in found]


@pytest.mark.requirement("RAND-01")
def test_a_person_who_meets_every_criterion_fails_none() -> None:
    assert failed() == []


@pytest.mark.parametrize("code", sorted(RIGHT))
def test_each_wrong_answer_is_named_with_its_criterion(code: str) -> None:
    (rule,) = failed(answers=RIGHT | {code: not RIGHT[code]})

    assert (rule.rule, rule.field) == (f"eligibility.{code}", f"answers.{code}")
    assert str(rule.message).startswith(f"{code} ")
    assert str(next(c.text for c in sirius.criteria if c.code == code)) in str(rule.message)


@pytest.mark.parametrize("code", sorted(RIGHT))
def test_each_criterion_must_be_answered(code: str) -> None:
    answers = {other: answer for other, answer in RIGHT.items() if other != code}

    (rule,) = failed(answers=answers)

    assert (rule.rule, rule.field) == ("eligibility.unanswered", f"answers.{code}")


@pytest.mark.parametrize("code", ["I01", "I06", "X99"])
def test_an_answer_to_what_no_person_answers_is_refused(code: str) -> None:
    assert rules(failed(answers=RIGHT | {code: True})) == ["eligibility.unknown"]


@pytest.mark.parametrize(
    ("born", "consent", "without_word", "with_word"),
    [
        # 10 March 2026: who was born in 2009 is 16 or 17, in 2008 17 or 18, in 2007 18 or 19.
        (2009, date(2026, 3, 10), ["eligibility.age"], ["eligibility.age"]),
        (2008, date(2026, 3, 10), ["eligibility.age_edge"], []),
        (2007, date(2026, 3, 10), [], []),
        # Born in 1961 64 or 65, in 1960 65 or 66, in 1959 66 or 67.
        (1961, date(2026, 3, 10), [], []),
        (1960, date(2026, 3, 10), ["eligibility.age_edge"], []),
        (1959, date(2026, 3, 10), ["eligibility.age"], ["eligibility.age"]),
        # On 31 December nobody's birthday is still to come: one age only.
        (2008, date(2026, 12, 31), [], []),
        (2009, date(2026, 12, 31), ["eligibility.age"], ["eligibility.age"]),
        (1961, date(2026, 12, 31), [], []),
        (1960, date(2026, 12, 31), ["eligibility.age"], ["eligibility.age"]),
        # The day before, the last birthday is still to come.
        (2008, date(2026, 12, 30), ["eligibility.age_edge"], []),
        (1960, date(2026, 12, 30), ["eligibility.age_edge"], []),
        # On 1 January only those born on that day have had theirs.
        (2008, date(2026, 1, 1), ["eligibility.age_edge"], []),
        (1960, date(2026, 1, 1), ["eligibility.age_edge"], []),
        # Leap day, as consent and as possible birthday (1958 + 66 = 2024, 2006 + 18 = 2024).
        (2006, date(2024, 2, 29), ["eligibility.age_edge"], []),
        (2007, date(2024, 2, 29), ["eligibility.age"], ["eligibility.age"]),
        (1958, date(2024, 2, 29), ["eligibility.age_edge"], []),
        (1957, date(2024, 2, 29), ["eligibility.age"], ["eligibility.age"]),
    ],
)
def test_age_is_refused_only_when_no_birthday_makes_it_right(
    born: int, consent: date, without_word: list[str], with_word: list[str]
) -> None:
    today = date(2026, 12, 31)

    assert rules(failed(born=born, consent=consent, today=today, edge=False)) == without_word
    assert rules(failed(born=born, consent=consent, today=today, edge=True)) == with_word


@given(st.dates(date(1900, 1, 1), date(2060, 12, 31)), st.dates(date(1950, 1, 1), date(2060, 12, 31)))
def test_the_true_age_is_always_among_the_possible_ones(birthday: date, on: date) -> None:
    age = on.year - birthday.year - ((on.month, on.day) < (birthday.month, birthday.day))

    assert age in possible_ages(birthday.year, on)


@given(st.integers(1900, 2060), st.dates(date(1950, 1, 1), date(2060, 12, 31)))
def test_each_possible_age_belongs_to_some_birthday(born: int, on: date) -> None:
    ages = {on.year - born - ((on.month, on.day) < (month, day)) for month, day in ((1, 1), (12, 31))}

    assert set(possible_ages(born, on)) == ages


def test_consent_may_be_today_and_not_tomorrow() -> None:
    assert failed(consent=TODAY) == []

    (rule,) = failed(consent=date(2026, 3, 11))
    assert (rule.rule, rule.field) == ("screening.consent_future", "consent_date")


@pytest.mark.parametrize(
    ("born", "expected"),
    [
        (2027, ["screening.year_of_birth", "eligibility.age"]),
        (2026, ["eligibility.age"]),
        (1906, ["eligibility.age"]),
        (1905, ["screening.year_of_birth", "eligibility.age"]),
    ],
)
def test_a_year_of_birth_after_consent_or_beyond_any_age_is_refused(born: int, expected: list[str]) -> None:
    assert rules(failed(born=born)) == expected


@pytest.mark.requirement("RAND-09")
@pytest.mark.parametrize(
    ("factor", "value", "expected"),
    [
        ("SLEDAI", 4, []),
        ("SLEDAI", 3, ["stratum.bounds"]),
        ("SLEDAI", 9, []),
        ("SLEDAI", 9.5, ["stratum.decimals"]),
        ("SLEDAI", 10, []),
        ("SLEDAI", 105, []),
        ("SLEDAI", 106, ["stratum.bounds"]),
        ("SLEDAI", float("nan"), ["stratum.bounds"]),
        ("SLEDAI", float("inf"), ["stratum.bounds"]),
        ("STEROID", 0, []),
        ("STEROID", -0.1, ["eligibility.I06", "stratum.bounds"]),
        ("STEROID", 9.9, []),
        ("STEROID", 9.99, ["stratum.decimals"]),
        ("STEROID", 10.0, []),
        ("STEROID", 20, []),
        ("STEROID", 20.1, ["eligibility.I06", "stratum.bounds"]),
    ],
)
def test_a_stratum_value_must_be_within_bounds_and_decimals(factor: str, value: float, expected: list[str]) -> None:
    found = failed(values=VALUES | {factor: value})

    assert rules(found) == expected
    assert {rule.field for rule in found} <= {f"values.{factor}"}


def test_a_missing_and_an_unknown_stratum_value_are_named() -> None:
    found = failed(values={"SLEDAI": 8, "WEIGHT": 60})

    assert [(rule.rule, rule.field) for rule in found] == [
        ("stratum.unknown", "values.WEIGHT"),
        ("stratum.missing", "values.STEROID"),
    ]


@pytest.mark.requirement("RAND-01")
def test_every_failed_rule_is_named_at_once() -> None:
    answers = {code: answer for code, answer in RIGHT.items() if code != "I03"} | {"I02": False, "E04": True}

    found = failed(answers=answers, born=2010, consent=date(2026, 3, 11), values={"SLEDAI": 3, "STEROID": 21})

    assert rules(found) == [
        "screening.consent_future",
        "eligibility.age",
        "eligibility.I02",
        "eligibility.unanswered",
        "eligibility.I06",
        "eligibility.E04",
        "stratum.bounds",
        "stratum.bounds",
    ]
