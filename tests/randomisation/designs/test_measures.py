"""Measures: as published, as enumerated sequence by sequence, and refused by name."""

import json
from fractions import Fraction
from math import log
from pathlib import Path

import numpy as np
import pytest

from rts.randomisation.designs.measures import MEASURES, MOST_SUBJECTS, measure, profile
from rts.refusal import Refusal
from rts.trial.procedures import (
    BiasedCoin,
    BigStick,
    BlockUrn,
    CompleteRandomisation,
    Maximal,
    PermutedBlocks,
    RandomAllocationRule,
    Urn,
)
from tests.randomisation.designs import enumeration

REFERENCE = json.loads((Path(__file__).parent / "measures_reference.json").read_text("utf-8"))
TWO_THIRDS = Fraction(2, 3)
PUBLISHED = {
    "CR 1:1": CompleteRandomisation(),
    "RAR(12)": RandomAllocationRule(),
    "PBR(4) 1:1": PermutedBlocks((4,)),
    "PBR(6) 1:1": PermutedBlocks((6,)),
    "RPBR(4,6) 1:1": PermutedBlocks((4, 6)),
    "EBC(2/3)": BiasedCoin(TWO_THIRDS),
    "BSD(3)": BigStick(3),
    "UD(1,1)": Urn(1, 1),
    "MP(N=12,3)": Maximal(3),
    "MP(N=24,3)": Maximal(3),
    "BUD(lambda=3) 1:1": BlockUrn(3),
}
NOT_MEASURED = {"uncond_pA_all_half", "n_sequences"}


# --- as published ---


def test_nineteen_procedures_are_published():
    assert [len(REFERENCE["measures_N12"]), len(REFERENCE["measures_N24"])] == [10, 9]


@pytest.mark.parametrize(
    ("n", "name"), [(n, name) for n in (12, 24) for name in REFERENCE[f"measures_N{n}"]], ids=lambda value: str(value)
)
def test_every_measure_is_the_one_published(n, name):
    published = REFERENCE[f"measures_N{n}"][name]

    found = measure(PUBLISHED[name], n)

    assert published.keys() - NOT_MEASURED <= found.keys()
    for measured in published.keys() - NOT_MEASURED - {"P_max"}:
        value = published[measured]
        exact = Fraction(value["exact"]) if isinstance(value, dict) else value
        assert found[measured] == pytest.approx(float(exact), rel=0, abs=1e-12), measured
    for difference, probability in published["P_max"].items():
        assert found["P_max"][difference] == pytest.approx(probability, rel=0, abs=1e-12)
    assert sum(found["P_max"].values()) == pytest.approx(1, rel=0, abs=1e-12)


@pytest.mark.parametrize(
    ("procedure", "name"),
    [
        (PermutedBlocks((4,)), "PBR(4)"),
        (PermutedBlocks((4, 6)), "RPBR(4,6)"),
    ],
)
def test_guesses_tend_to_their_long_run_value(procedure, name):
    assert profile(procedure, 1200).convergence[-60:].mean() == pytest.approx(
        float(Fraction(REFERENCE["long_run_correct_guesses"][name])), rel=0, abs=1e-12
    )


def test_guesses_under_the_big_stick_and_the_maximal_procedure_tend_to_their_long_run_value():
    # 1/2 + 1/(4b) and 1/2 + 1/(2(m + 1)) in the middle of a long sequence.
    big_stick, maximal = profile(BigStick(3), 1000).convergence, profile(Maximal(3), 1000).convergence

    assert big_stick[498:500].mean() == pytest.approx(1 / 2 + 1 / 12, rel=0, abs=1e-12)
    assert maximal[498:500].mean() == pytest.approx(1 / 2 + 1 / 8, rel=0, abs=1e-12)


# --- as enumerated ---

ENUMERATED = [
    (CompleteRandomisation(), 9, (1, 1)),
    (BigStick(1), 7, (1, 1)),
    (BigStick(2), 10, (1, 1)),
    (BiasedCoin(Fraction(3, 4)), 9, (1, 1)),
    (BiasedCoin(Fraction(9, 10)), 10, (2, 2)),
    (BlockUrn(1), 7, (1, 1)),
    (BlockUrn(2), 10, (1, 1)),
    (Urn(0, 1), 9, (1, 1)),
    (Urn(0, 3), 2, (1, 1)),
    (Urn(1, 0), 6, (1, 1)),
    (Urn(2, 5), 9, (1, 1)),
    (Maximal(1), 8, (1, 1)),
    (Maximal(2), 10, (1, 1)),
    (Maximal(4), 8, (1, 1)),
    (CompleteRandomisation(), 1, (1, 1)),
    (PermutedBlocks((4,)), 1, (1, 1)),
    (PermutedBlocks((4,)), 9, (1, 1)),
    (PermutedBlocks((20,)), 7, (1, 1)),
    (PermutedBlocks((2, 4)), 9, (1, 1)),
    (PermutedBlocks((4, 6)), 10, (1, 1)),
    (PermutedBlocks((2, 4, 6)), 9, (1, 1)),
    (PermutedBlocks((4, 8)), 9, (2, 2)),
    (RandomAllocationRule(), 8, (1, 1)),
    (RandomAllocationRule(), 9, (2, 1)),
    (PermutedBlocks((3,)), 8, (2, 1)),
    (PermutedBlocks((3,)), 8, (1, 2)),
    (PermutedBlocks((3, 6)), 10, (2, 1)),
    (PermutedBlocks((5, 10)), 9, (3, 2)),
    (PermutedBlocks((4, 8)), 9, (3, 1)),
    (PermutedBlocks((3,)), 7, (1, 1, 1)),
    (PermutedBlocks((3, 6)), 6, (1, 1, 1)),
    (PermutedBlocks((4, 8)), 7, (1, 2, 1)),
    (PermutedBlocks((6,)), 7, (3, 2, 1)),
    (PermutedBlocks((4,)), 6, (1, 1, 1, 1)),
]


@pytest.mark.parametrize(
    ("procedure", "n", "ratio"),
    ENUMERATED,
    ids=[f"{procedure.name} {n} {ratio} {place}" for place, (procedure, n, ratio) in enumerate(ENUMERATED)],
)
def test_every_measure_is_that_of_all_sequences_written_down(procedure, n, ratio):
    expected = enumeration.measures(procedure, n, ratio)

    found = measure(procedure, n, ratio)

    assert list(found) == [named.name for named in MEASURES]
    assert found.keys() == expected.keys()
    assert found["P_max"] == pytest.approx({key: float(p) for key, p in expected["P_max"].items()}, rel=0, abs=1e-12)
    for name in found.keys() - {"P_max"}:
        assert found[name] == pytest.approx(float(expected[name]), rel=0, abs=1e-12), name


# --- what must hold for any length ---


@pytest.mark.parametrize("procedure", [PermutedBlocks((4, 6, 8)), BiasedCoin(TWO_THIRDS), Urn(0, 1), BlockUrn(3)])
def test_the_covariance_matrix_is_one_of_plus_and_minus_one(procedure):
    covariance = profile(procedure, 150).covariance

    assert np.diag(covariance) == pytest.approx(np.ones(150), rel=0, abs=1e-12)
    assert np.array_equal(covariance, covariance.T)
    # The variance of the sum of the Ts is that of D at the end.
    assert covariance.sum() == pytest.approx(profile(procedure, 150).square[-1], rel=1e-10)


def test_complete_randomisation_of_a_thousand_subjects_has_its_known_values():
    found = measure(CompleteRandomisation(), 1000)

    assert found["loss"] == pytest.approx(1, abs=1e-10)
    assert found["sd_final_imbalance"] == pytest.approx(1000**0.5, abs=1e-9)
    assert found["entropy_per_alloc_nats"] == pytest.approx(log(2), abs=1e-12)
    assert found["accidental_bias_max_eigenvalue"] == pytest.approx(1, abs=1e-12)
    assert found["max_possible"] == 1000
    assert sum(found["P_max"].values()) == pytest.approx(1, abs=1e-12)


def test_a_maximal_procedure_that_allows_every_difference_is_the_random_allocation_rule():
    maximal, rule = measure(Maximal(20), 20), measure(RandomAllocationRule(), 20)

    assert maximal.keys() == rule.keys()
    assert maximal.pop("P_max") == pytest.approx(rule.pop("P_max"), rel=0, abs=1e-12)
    assert maximal == pytest.approx(rule, rel=0, abs=1e-12)


def test_one_who_knows_more_guesses_better_and_is_surprised_less():
    for sizes in [(4, 6), (2, 4, 6), (4, 6, 8)]:
        found = measure(PermutedBlocks(sizes), 60)

        assert found["cg_informed"] >= found["bayes_optimal_guess_hidden_sizes"] - 1e-12
        assert found["deterministic"] > found["observer_deterministic"]
        assert found["entropy_per_alloc_nats"] < found["observer_entropy_per_alloc_nats"]


@pytest.mark.parametrize(("sizes", "ratio"), [((4, 6, 8), (1, 1)), ((3, 6, 9), (1, 1, 1))])
def test_in_an_equal_ratio_the_arm_behind_is_the_best_guess(sizes, ratio):
    found = measure(PermutedBlocks(sizes), 146, ratio)

    assert found["bayes_optimal_guess_hidden_sizes"] == pytest.approx(found["cg_convergence"], rel=0, abs=1e-12)


def test_what_an_observer_of_very_long_blocks_foresees_is_left_out():
    found = measure(PermutedBlocks((4, 60)), 100)

    missing = {named.name for named in MEASURES} - found.keys()
    assert missing == {
        "bayes_optimal_guess_hidden_sizes",
        "observer_deterministic",
        "observer_entropy_per_alloc_nats",
    }


def test_each_measure_has_a_title_a_meaning_and_a_source_of_its_own():
    assert len({str(named.title) for named in MEASURES}) == len({str(named.meaning) for named in MEASURES}) == 17
    assert all(named.source for named in MEASURES)


# --- refused ---


def refused(procedure, n, ratio=(1, 1)):
    with pytest.raises(Refusal) as refusal:
        measure(procedure, n, ratio)
    assert refusal.value.code == "invalid"
    return [(failed.rule, failed.field) for failed in refusal.value.failed]


@pytest.mark.parametrize(
    ("procedure", "n", "ratio", "rule", "field"),
    [
        (BigStick(3), 0, (1, 1), "design.n.range", "n"),
        (BigStick(3), MOST_SUBJECTS + 1, (1, 1), "design.n.range", "n"),
        (PermutedBlocks((4,)), 20, (1,), "design.ratio.range", "ratio"),
        (PermutedBlocks((4,)), 20, (1, 0), "design.ratio.range", "ratio"),
        (PermutedBlocks((202,)), 20, (101, 101), "design.ratio.range", "ratio"),
        (BigStick(3), 20, (2, 1), "list.arms.two_equal", "ratio"),
        (Urn(1, 1), 20, (1, 1, 1), "list.arms.two_equal", "ratio"),
        (PermutedBlocks((4,)), 20, (2, 1), "list.block_sizes.multiple", "procedure.block_sizes"),
        (RandomAllocationRule(), 21, (1, 1), "list.length.multiple", "n"),
        (Maximal(3), 21, (1, 1), "list.length.even", "n"),
        (RandomAllocationRule(), 2000, (1, 1, 1, 1), "design.blocks.work", "procedure"),
        (PermutedBlocks(tuple(range(1200, 1400, 2))), 2000, (1, 1), "design.blocks.work", "procedure"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(procedure, n, ratio, rule, field):
    assert refused(procedure, n, ratio) == [(rule, field)]
