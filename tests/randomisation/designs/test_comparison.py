"""Designs side by side: which are offered, what a row holds, and which dominate which."""

import os
import subprocess
import sys
from fractions import Fraction

import pytest

from rts.randomisation.designs.comparison import Row, compare, dominated, usual_candidates
from rts.randomisation.designs.measures import measure
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
)

MINIMISATION = Minimisation("range", (("sex", 1),), Fraction(4, 5))


# --- candidates ---


def test_twelve_procedures_are_offered_for_two_arms_one_to_one():
    assert usual_candidates(146) == [
        PermutedBlocks((4,)),
        PermutedBlocks((4, 6)),
        PermutedBlocks((4, 6, 8)),
        PermutedBlocks((2, 4, 6)),
        RandomAllocationRule(),
        BigStick(3),
        BiasedCoin(Fraction(2, 3)),
        BlockUrn(3),
        Maximal(3),
        Urn(0, 1),
        Urn(1, 1),
        CompleteRandomisation(),
    ]


@pytest.mark.parametrize(("ratio", "whole"), [((2, 1), 3), ((1, 1, 1), 3), ((3, 2, 1), 6)])
def test_only_blocks_in_multiples_of_the_ratio_are_offered_for_another(ratio, whole):
    assert usual_candidates(144, ratio, strata=4) == [
        PermutedBlocks((2 * whole,)),
        PermutedBlocks((2 * whole, 3 * whole)),
        PermutedBlocks((2 * whole, 3 * whole, 4 * whole)),
        PermutedBlocks((whole, 2 * whole, 3 * whole)),
    ]


def test_one_block_of_everything_is_offered_without_strata_only():
    assert RandomAllocationRule() in usual_candidates(146, strata=1)
    assert RandomAllocationRule() not in usual_candidates(146, strata=2)


def test_what_cannot_end_balanced_is_not_offered_for_an_odd_number_of_subjects():
    offered = usual_candidates(145)

    assert RandomAllocationRule() not in offered
    assert Maximal(3) not in offered
    assert len(offered) == 10


def test_minimisation_of_all_factors_is_offered_last_where_there_are_factors():
    assert usual_candidates(146, strata=4, factors={"sex": (1, 1), "site": (1,) * 8}) == [
        *usual_candidates(146, strata=4),
        Minimisation("range", (("sex", 1), ("site", 1)), Fraction(4, 5)),
    ]


def test_minimisation_is_not_offered_where_its_scores_could_not_be_compared_exactly():
    ratio, factors = (100, 99, 97), {"sex": (1, 1)}

    with pytest.raises(Refusal) as refusal:
        compare([MINIMISATION], 2000, ratio=ratio, factors=factors)

    assert refusal.value.rules == ("design.weights.large",)
    assert MINIMISATION not in usual_candidates(2000, ratio, factors=factors)


# --- rows ---


def test_each_candidate_has_a_row_with_its_measures_and_its_strata():
    rows = compare([PermutedBlocks((4,)), BigStick(3)], 60, strata=4)

    assert [row.procedure for row in rows] == [PermutedBlocks((4,)), BigStick(3)]
    assert rows[0].values == measure(PermutedBlocks((4,)), 60)
    assert rows[0].strata["mean_per_stratum"] == 15
    assert rows[0].standard_errors == {}
    assert rows[0].figure("cg_convergence") == rows[0].strata["cg_convergence"] != rows[0].values["cg_convergence"]
    assert rows[0].figure("loss") == rows[0].values["loss"]
    assert rows[0].figure("P_max") is None
    assert rows[1].figure("expected_incomplete_blocks") is None


def test_minimisation_is_simulated_and_has_standard_errors():
    rows = compare([PermutedBlocks((4,)), MINIMISATION], 40, factors={"sex": (1, 1)}, seed=5, runs=200)

    assert rows[0].standard_errors == {}
    assert rows[1].figure("sd_overall_imbalance") == rows[1].values["sd_final_imbalance"] > 0
    assert rows[1].standard_errors["sd_overall_imbalance"] == rows[1].standard_errors["sd_final_imbalance"] > 0


def test_minimisation_is_simulated_with_the_factors_that_it_weighs_and_no_other():
    factors = {"sex": (1, 1), "site": (1,) * 8}

    rows = compare([MINIMISATION], 40, factors=factors, runs=50) + compare(
        [MINIMISATION], 40, factors={"sex": (1, 1)}, runs=50
    )

    assert rows[0].values == rows[1].values


def test_the_overall_imbalance_stands_in_a_row_by_the_number_of_strata_the_trials_own_among_them():
    calculated, simulated = compare([PermutedBlocks((4,)), MINIMISATION], 40, strata=6, factors={"sex": (1, 1)}, runs=9)

    assert list(calculated.by_strata) == [1, 2, 4, 6, 8, 16]
    assert calculated.by_strata[6] == calculated.strata["sd_overall_imbalance"]
    assert simulated.by_strata == {}


def test_minimisation_without_its_factors_is_refused():
    with pytest.raises(Refusal) as refusal:
        compare([MINIMISATION], 40)

    assert refusal.value.rules == ("design.factors.names",)


def test_a_row_prints_nothing_of_the_procedure():
    assert repr(compare([BigStick(3)], 10)) == "[<sealed>]"


def test_linear_algebra_keeps_to_one_thread():
    """Threads that spin while they wait for each other made a comparison slow on a busy machine."""
    program = (
        "import rts.randomisation.designs.comparison, numpy\n"
        "numpy.linalg.eigvalsh(numpy.eye(600))\n"
        "print(open('/proc/self/status').read().split('Threads:')[1].split()[0])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout == "1\n"


# --- domination ---


def rows_of(*figures, errors=None):
    return [
        Row(
            CompleteRandomisation(),
            {"cg_convergence": guess, "sd_overall_imbalance": sd, "E_max_abs_imbalance": 3},
            {},
            errors or {},
        )
        for guess, sd in figures
    ]


def test_a_row_is_dominated_by_those_no_worse_in_anything_and_better_in_something():
    assert dominated(rows_of((0.70, 1.0), (0.60, 1.0), (0.60, 2.0), (0.50, 5.0))) == [(1,), (), (1,), ()]


def test_equal_rows_do_not_dominate_each_other():
    assert dominated(rows_of((0.6, 1.0), (0.6 + 1e-13, 1.0))) == [(), ()]


def test_differences_within_two_standard_errors_count_as_none():
    near = rows_of((0.60, 1.0), (0.61, 1.0), errors={"cg_convergence": 0.01})
    far = rows_of((0.60, 1.0), (0.63, 1.0), errors={"cg_convergence": 0.01})

    assert dominated(near) == [(), ()]
    assert dominated(far) == [(), (0,)]


def test_more_entropy_and_more_time_in_balance_are_better():
    rows = [
        Row(CompleteRandomisation(), {"entropy_per_alloc_nats": entropy, "mean_prob_exact_balance": balance}, {})
        for entropy, balance in ((0.5, 0.3), (0.6, 0.4))
    ]

    assert dominated(rows, by=("entropy_per_alloc_nats", "mean_prob_exact_balance")) == [(1,), ()]


def test_a_row_without_the_figure_is_compared_with_none():
    rows = [*rows_of((0.6, 1.0)), Row(CompleteRandomisation(), {"cg_convergence": 0.5}, {})]

    assert dominated(rows) == [(), ()]


def test_the_big_stick_dominates_the_biased_coin_of_two_thirds_in_146_subjects():
    rows = compare([BigStick(3), BiasedCoin(Fraction(2, 3)), PermutedBlocks((4,)), RandomAllocationRule()], 146)

    assert dominated(rows) == [(), (0,), (), ()]
    # One block of everything ends balanced: it wins by figures of the end alone.
    assert dominated(rows, by=("cg_convergence", "sd_overall_imbalance")) == [(3,), (0, 3), (3,), ()]
