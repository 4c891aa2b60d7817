"""Minimisation simulated: by the same rule that allocates, repeatable, and in line with what is known exactly."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.randomisation.designs.measures import measure
from rts.randomisation.designs.simulation import MOST_RUNS, chances_of_next, simulate_minimisation
from rts.randomisation.minimisation import minimise
from rts.refusal import Refusal
from rts.trial.procedures import BiasedCoin, Minimisation

FACTORS = {"stage": (1, 1, 1), "sex": (1, 1)}
BY_RANGE = Minimisation("range", (("stage", 2), ("sex", 1)), Fraction(4, 5))


@given(
    metric=st.sampled_from(["range", "variance"]),
    ratio=st.sampled_from([(1, 1), (2, 1), (1, 1, 1), (3, 2), (1, 2, 1, 1)]),
    weights=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    counts=st.lists(st.integers(0, 6), min_size=8, max_size=8),
)
def test_chances_are_those_by_which_a_subject_is_allocated(metric, ratio, weights, counts):
    procedure = Minimisation(metric, (("stage", weights[0]), ("sex", weights[1])), Fraction(4, 5))
    codes = "abcd"[: len(ratio)]
    at_levels = {factor: counts[place : place + len(ratio)] for place, factor in ((0, "stage"), (4, "sex"))}
    allocated = minimise(
        procedure,
        tuple(zip(codes, ratio, strict=True)),
        {"stage": "II", "sex": "f"},
        {factor: dict(zip(codes, of_arms, strict=True)) for factor, of_arms in at_levels.items()},
        "0" * 16,
    )

    chances = chances_of_next(
        {factor: np.array(of_arms)[:, np.newaxis] for factor, of_arms in at_levels.items()},
        procedure,
        np.array(ratio)[:, np.newaxis],
    )

    expected = [float(Fraction(text)) for text in allocated.record["probabilities"]]
    assert chances[:, 0] == pytest.approx(expected, rel=0, abs=1e-15)


@pytest.mark.parametrize("metric", ["range", "variance"])
def test_one_factor_with_one_level_is_the_biased_coin(metric):
    exact = measure(BiasedCoin(Fraction(2, 3)), 60)

    found = simulate_minimisation(
        Minimisation(metric, (("all", 1),), Fraction(2, 3)), {"all": (1,)}, 60, seed=1, runs=4000
    )

    assert found.values.keys() == found.standard_errors.keys()
    for name, value in found.values.items():
        assert value == pytest.approx(exact[name], rel=0, abs=4 * found.standard_errors[name] + 1e-12), name
    # Errors that are too large would let anything pass.
    assert 0 < found.standard_errors["cg_convergence"] < 0.001
    assert 0 < found.standard_errors["sd_final_imbalance"] < 0.05


def test_levels_come_as_often_as_they_are_said_to():
    # With one level as good as never seen, two levels are one.
    exact = measure(BiasedCoin(Fraction(2, 3)), 40)

    found = simulate_minimisation(
        Minimisation("range", (("sex", 1),), Fraction(2, 3)), {"sex": (1, 1e-12)}, 40, seed=2, runs=2000
    )

    assert found.values["cg_convergence"] == pytest.approx(
        exact["cg_convergence"], abs=4 * found.standard_errors["cg_convergence"]
    )


def test_equal_seeds_give_equal_estimates_and_others_do_not():
    first, again, other = (simulate_minimisation(BY_RANGE, FACTORS, 30, seed=seed, runs=50) for seed in (7, 7, 8))

    assert first.values == again.values
    assert first.values != other.values


def test_the_ratio_is_kept_on_the_whole():
    found = simulate_minimisation(BY_RANGE, FACTORS, 90, (2, 1), seed=3, runs=400)
    by_chance = simulate_minimisation(
        Minimisation("range", (("stage", 2), ("sex", 1)), Fraction(51, 100)), FACTORS, 90, (2, 1), seed=3, runs=400
    )

    assert found.values["sd_final_imbalance"] < by_chance.values["sd_final_imbalance"] / 2


def refused(procedure=BY_RANGE, factors=FACTORS, n=30, ratio=(1, 1), runs=50):
    with pytest.raises(Refusal) as refusal:
        simulate_minimisation(procedure, factors, n, ratio, seed=1, runs=runs)
    assert refusal.value.code == "invalid"
    return [(failed.rule, failed.field) for failed in refusal.value.failed]


@pytest.mark.parametrize(
    ("changed", "rule", "field"),
    [
        ({"n": 0}, "design.n.range", "n"),
        ({"ratio": (1,)}, "design.ratio.range", "ratio"),
        (
            {"procedure": Minimisation("range", (("stage", 1), ("sex", 1)), Fraction(1, 2))},
            "procedure.probability.no_preference",
            "procedure.probability",
        ),
        ({"factors": {"stage": (1, 1)}}, "design.factors.names", "factors"),
        ({"factors": {"stage": (1, 1), "sex": (1,), "age": (1,)}}, "design.factors.names", "factors"),
        ({"factors": {"stage": (1, 0), "sex": (1,)}}, "design.factors.shares", "factors"),
        ({"factors": {"stage": (), "sex": (1,)}}, "design.factors.shares", "factors"),
        ({"factors": {"stage": (float("nan"),), "sex": (1,)}}, "design.factors.shares", "factors"),
        ({"runs": 1}, "design.runs.range", "runs"),
        ({"runs": MOST_RUNS + 1}, "design.runs.range", "runs"),
        ({"ratio": (97, 89, 83), "n": 2000}, "design.weights.large", "procedure.weights"),
    ],
)
def test_what_cannot_be_simulated_is_refused_by_name(changed, rule, field):
    assert refused(**changed) == [(rule, field)]
