"""Allocation procedures: conditional probabilities as published, and every bad parameter refused by name."""

import json
from fractions import Fraction
from itertools import product
from math import comb
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.randomisation.procedures import completions, probability_of_first
from rts.refusal import Refusal
from rts.trial.procedures import (
    BiasedCoin,
    BigStick,
    BlockUrn,
    CompleteRandomisation,
    Maximal,
    Minimisation,
    PermutedBlocks,
    RandomAllocationRule,
    Urn,
    check_for_list,
    procedure_from,
)

REFERENCE = json.loads((Path(__file__).parent / "procedures_reference.json").read_text("utf-8"))
PATH = REFERENCE["conditional_probabilities"]["path"]
TWO_THIRDS = Fraction(2, 3)
CONDITIONAL = [
    CompleteRandomisation(),
    BigStick(3),
    BiasedCoin(TWO_THIRDS),
    BlockUrn(3),
    Urn(1, 1),
    Urn(0, 1),
    Maximal(3),
]


def steps_along(path, procedure):
    """The probability of the first arm before each allocation of `path`."""
    probabilities = []
    for entry in range(len(path)):
        n1 = path[:entry].count("A")
        probabilities.append(probability_of_first(procedure, n1, entry - n1, len(path)))
    return probabilities


def probability_of_path(path, procedure):
    """The probability of a whole sequence; nothing is asked beyond an impossible step."""
    whole = Fraction(1)
    for entry, arm in enumerate(path):
        n1 = path[:entry].count("A")
        of_first = probability_of_first(procedure, n1, entry - n1, len(path))
        whole *= of_first if arm == "A" else 1 - of_first
        if whole == 0:
            break
    return whole


# --- conditional probabilities ---


@pytest.mark.parametrize(
    ("name", "procedure"),
    [
        ("EBC(2/3)", BiasedCoin(TWO_THIRDS)),
        ("BSD(3)", BigStick(3)),
        ("UD(1,1)", Urn(1, 1)),
        ("MP(N=14,3)", Maximal(3)),
        ("BUD(lambda=3) 1:1", BlockUrn(3)),
    ],
)
def test_conditional_probabilities_along_a_path_are_those_published(name, procedure):
    expected = [Fraction(text) for text in REFERENCE["conditional_probabilities"]["p_first_arm"][name]]

    assert len(expected) == 14
    assert steps_along(PATH, procedure) == expected


@pytest.mark.parametrize("procedure", CONDITIONAL, ids=lambda procedure: procedure.name)
def test_over_all_sequences_the_probabilities_sum_to_one(procedure):
    assert sum(probability_of_path("".join(path), procedure) for path in product("AB", repeat=8)) == 1


@pytest.mark.parametrize("procedure", CONDITIONAL, ids=lambda procedure: procedure.name)
def test_exchanging_the_arms_exchanges_the_probabilities(procedure):
    exchanged = str.maketrans("AB", "BA")
    for arms in product("AB", repeat=8):
        path = "".join(arms)
        assert probability_of_path(path, procedure) == probability_of_path(path.translate(exchanged), procedure)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [((0, 1, 2), "1/2"), ((3,), "0")],
)
def test_the_big_stick_is_fair_below_its_imbalance_and_forces_there(differences, expected):
    for difference in differences:
        probability = probability_of_first(BigStick(3), 5 + difference, 5, 100)
        assert probability == Fraction(expected)
        assert probability_of_first(BigStick(3), 5, 5 + difference, 100) == 1 - probability


def test_an_urn_without_balls_gives_the_first_subject_a_fair_coin_and_the_second_the_other_arm():
    urn = Urn(0, 1)

    assert probability_of_first(urn, 0, 0, 10) == Fraction(1, 2)
    assert (probability_of_first(urn, 1, 0, 10), probability_of_first(urn, 0, 1, 10)) == (0, 1)


def test_an_urn_that_adds_no_ball_is_complete_randomisation():
    assert probability_of_first(Urn(1, 0), 7, 2, 10) == Fraction(1, 2)


def test_a_block_urn_of_one_ball_an_arm_is_blocks_of_two():
    assert [str(step) for step in steps_along("ABBAAB", BlockUrn(1))] == ["1/2", "0", "1/2", "1", "1/2", "0"]


# --- the maximal procedure ---


@pytest.mark.parametrize("length", [12, 24])
def test_the_maximal_procedure_has_as_many_sequences_as_published(length):
    assert completions(3, length, 0, 0) == REFERENCE["maximal_procedure_sequences_imbalance_3"][str(length)]


@pytest.mark.parametrize("imbalance", [1, 2, 3, 5])
def test_every_sequence_of_the_maximal_procedure_is_equally_likely(imbalance):
    likelihoods = [probability_of_path("".join(path), Maximal(imbalance)) for path in product("AB", repeat=10)]

    possible = [likelihood for likelihood in likelihoods if likelihood]
    assert len(possible) == completions(imbalance, 10, 0, 0)
    assert set(possible) == {Fraction(1, len(possible))}


def test_with_the_widest_imbalance_the_maximal_procedure_is_the_random_allocation_rule():
    assert completions(500, 1000, 0, 0) == comb(1000, 500)
    assert probability_of_first(Maximal(500), 300, 200, 1000) == Fraction(200, 500)


def paths_by_reflection(imbalance, left, difference):
    """The number of completions by the reflection principle, another way than the recurrence."""
    total = 0
    for turn in range(-left, left + 1):
        for sign, start in ((1, difference), (-1, 2 * (imbalance + 1) - difference)):
            rise = left - start + 4 * turn * (imbalance + 1)
            if rise % 2 == 0 and 0 <= rise // 2 <= left:
                total += sign * comb(left, rise // 2)
    return total


@given(imbalance=st.integers(1, 12), taken=st.integers(0, 40), difference=st.integers(-12, 12))
def test_completions_are_those_of_the_reflection_principle(imbalance, taken, difference):
    expected = paths_by_reflection(imbalance, 40 - taken, difference) if abs(difference) <= imbalance else 0
    assert completions(imbalance, 40, taken, difference) == expected


@pytest.mark.parametrize("procedure", [Maximal(3), BlockUrn(3)])
def test_counts_that_are_never_reached_are_an_error(procedure):
    with pytest.raises(ValueError, match="never reaches these counts"):
        probability_of_first(procedure, 4, 0, 20)


def test_no_completion_is_left_beyond_the_last_entry():
    assert completions(3, 20, 21, 1) == 0


# --- as written in JSON ---


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"name": "complete"}, CompleteRandomisation()),
        ({"name": "big-stick", "imbalance": 3}, BigStick(3)),
        ({"name": "biased-coin", "probability": "2/3"}, BiasedCoin(TWO_THIRDS)),
        ({"name": "biased-coin", "probability": "0.8"}, BiasedCoin(Fraction(4, 5))),
        ({"name": "block-urn", "lambda": 2}, BlockUrn(2)),
        ({"name": "urn", "alpha": 0, "beta": 1}, Urn(0, 1)),
        ({"name": "urn", "alpha": 1, "beta": 0}, Urn(1, 0)),
        ({"name": "maximal", "imbalance": 3}, Maximal(3)),
        ({"name": "permuted-blocks", "block_sizes": [6, 4]}, PermutedBlocks((4, 6))),
        ({"name": "random-allocation-rule"}, RandomAllocationRule()),
        (
            {"name": "minimisation", "metric": "range", "weights": {"sex": 1, "age": 2}, "probability": "4/5"},
            Minimisation("range", (("sex", 1), ("age", 2)), Fraction(4, 5)),
        ),
    ],
)
def test_a_procedure_is_read_from_plain_values(written, expected):
    assert procedure_from(written) == expected


MINIMISATION = {"name": "minimisation", "metric": "range", "weights": {"sex": 1}, "probability": "4/5"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("complete", [("procedure.object", "procedure")]),
        (None, [("procedure.object", "procedure")]),
        ({}, [("procedure.name.known", "procedure.name")]),
        ({"name": "coin"}, [("procedure.name.known", "procedure.name")]),
        ({"name": ["complete"]}, [("procedure.name.known", "procedure.name")]),
        ({"name": "complete", "imbalance": 3}, [("procedure.unknown", "procedure.imbalance")]),
        ({"name": "big-stick"}, [("procedure.missing", "procedure.imbalance")]),
        ({"name": "big-stick", "imbalance": 0}, [("procedure.imbalance.range", "procedure.imbalance")]),
        ({"name": "big-stick", "imbalance": -3}, [("procedure.imbalance.range", "procedure.imbalance")]),
        ({"name": "big-stick", "imbalance": 10**9}, [("procedure.imbalance.range", "procedure.imbalance")]),
        ({"name": "big-stick", "imbalance": 3.0}, [("procedure.shape", "procedure.imbalance")]),
        ({"name": "big-stick", "imbalance": True}, [("procedure.shape", "procedure.imbalance")]),
        ({"name": "big-stick", "imbalance": "3"}, [("procedure.shape", "procedure.imbalance")]),
        (
            {"name": "big-stick", "limit": 3},
            [("procedure.unknown", "procedure.limit"), ("procedure.missing", "procedure.imbalance")],
        ),
        ({"name": "biased-coin", "probability": 0.75}, [("procedure.shape", "procedure.probability")]),
        ({"name": "biased-coin", "probability": 1}, [("procedure.shape", "procedure.probability")]),
        ({"name": "biased-coin", "probability": "1/0"}, [("procedure.shape", "procedure.probability")]),
        ({"name": "biased-coin", "probability": "two thirds"}, [("procedure.shape", "procedure.probability")]),
        ({"name": "biased-coin", "probability": "6e-1"}, [("procedure.shape", "procedure.probability")]),
        ({"name": "biased-coin", "probability": " 2/3"}, [("procedure.shape", "procedure.probability")]),
        ({"name": "biased-coin", "probability": "-2/3"}, [("procedure.shape", "procedure.probability")]),
        ({"name": "biased-coin", "probability": "0"}, [("procedure.probability.range", "procedure.probability")]),
        ({"name": "biased-coin", "probability": "1/3"}, [("procedure.probability.range", "procedure.probability")]),
        ({"name": "biased-coin", "probability": "1/2"}, [("procedure.probability.range", "procedure.probability")]),
        ({"name": "biased-coin", "probability": "1"}, [("procedure.probability.range", "procedure.probability")]),
        ({"name": "biased-coin", "probability": "5/4"}, [("procedure.probability.range", "procedure.probability")]),
        (
            {"name": "biased-coin", "probability": "0.999999999999"},
            [("procedure.probability.range", "procedure.probability")],
        ),
        ({"name": "block-urn", "lambda": 0}, [("procedure.lambda.range", "procedure.lambda")]),
        (
            {"name": "block-urn", "lam": 1},
            [("procedure.unknown", "procedure.lam"), ("procedure.missing", "procedure.lambda")],
        ),
        ({"name": "urn", "alpha": 0, "beta": 0}, [("procedure.alpha.empty_urn", "procedure.alpha")]),
        ({"name": "urn", "alpha": -1, "beta": 1}, [("procedure.alpha.range", "procedure.alpha")]),
        ({"name": "urn", "alpha": 1, "beta": -1}, [("procedure.beta.range", "procedure.beta")]),
        ({"name": "maximal", "imbalance": 0}, [("procedure.imbalance.range", "procedure.imbalance")]),
        ({"name": "permuted-blocks", "block_sizes": []}, [("list.block_sizes.count", "block_sizes")]),
        ({"name": "permuted-blocks", "block_sizes": [4, 4]}, [("list.block_sizes.distinct", "block_sizes")]),
        ({"name": "permuted-blocks", "block_sizes": [0]}, [("list.block_sizes.range", "block_sizes")]),
        ({"name": "permuted-blocks", "block_sizes": [4.0]}, [("procedure.shape", "procedure.block_sizes")]),
        ({"name": "permuted-blocks", "block_sizes": 4}, [("procedure.shape", "procedure.block_sizes")]),
        (MINIMISATION | {"metric": "sum"}, [("procedure.metric.known", "procedure.metric")]),
        (MINIMISATION | {"metric": 1}, [("procedure.shape", "procedure.metric")]),
        (MINIMISATION | {"weights": {}}, [("procedure.weights.factors", "procedure.weights")]),
        (MINIMISATION | {"weights": {"sex": 0}}, [("procedure.weights.range", "procedure.weights")]),
        (MINIMISATION | {"weights": {"sex": 0.5}}, [("procedure.shape", "procedure.weights")]),
        (MINIMISATION | {"weights": [1, 1]}, [("procedure.shape", "procedure.weights")]),
        (MINIMISATION | {"probability": "1"}, [("procedure.probability.range", "procedure.probability")]),
        (MINIMISATION | {"probability": "0"}, [("procedure.probability.range", "procedure.probability")]),
    ],
)
def test_a_bad_procedure_is_refused_naming_field_and_rule(written, expected):
    with pytest.raises(Refusal) as refusal:
        procedure_from(written)

    assert refusal.value.code == "invalid"
    assert [(failed.rule, failed.field) for failed in refusal.value.failed] == expected
    assert all(failed.field in str(failed.message) for failed in refusal.value.failed)


def test_a_factor_weighed_twice_is_refused():
    with pytest.raises(Refusal) as refusal:
        Minimisation("range", (("sex", 1), ("sex", 2)), Fraction(4, 5))
    assert refusal.value.rules == ("procedure.weights.factors",)


# --- for a list ---


@pytest.mark.parametrize(
    ("procedure", "weights", "length", "expected"),
    [
        (PermutedBlocks((4, 6)), (1, 1), 21, []),
        (PermutedBlocks((4, 5)), (1, 1), 20, [("list.block_sizes.multiple", "block_sizes")]),
        (RandomAllocationRule(), (2, 1), 21, []),
        (RandomAllocationRule(), (2, 1), 20, [("list.length.multiple", "length")]),
        (BigStick(3), (1, 1), 21, []),
        (BigStick(3), (2, 2), 21, []),
        (BigStick(3), (2, 1), 21, [("list.arms.two_equal", "arms")]),
        (Urn(1, 1), (1, 1, 1), 21, [("list.arms.two_equal", "arms")]),
        (Maximal(3), (1, 1), 20, []),
        (Maximal(10), (1, 1), 20, []),
        (Maximal(3), (1, 1), 21, [("list.length.even", "length")]),
        (Maximal(3), (1, 1), 1002, [("list.length.maximal", "length")]),
        (Minimisation("range", (("sex", 1),), TWO_THIRDS), (2, 1, 1), 20, []),
        (Minimisation("range", (("sex", 1),), Fraction(1, 2)), (1, 1, 1), 20, []),
        (
            Minimisation("range", (("sex", 1),), Fraction(1, 2)),
            (1, 1),
            20,
            [("procedure.probability.no_preference", "procedure.probability")],
        ),
    ],
)
def test_what_a_list_of_a_procedure_must_have(procedure, weights, length, expected):
    assert [(failed.rule, failed.field) for failed in check_for_list(procedure, weights, length)] == expected


def test_a_procedure_never_prints_its_parameters():
    printed = f"{BigStick(7717)} {PermutedBlocks((7717,))!r} {[BiasedCoin(Fraction(7717, 10000))]}"
    assert printed == "<sealed> <sealed> [<sealed>]"
