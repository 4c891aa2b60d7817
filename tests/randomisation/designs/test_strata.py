"""Strata: as published, and as counted out subject by subject."""

import json
from collections import defaultdict
from fractions import Fraction
from itertools import product
from math import sqrt
from pathlib import Path

import pytest

from rts.randomisation.designs.measures import measure, profile
from rts.randomisation.designs.strata import over_strata, overall_imbalance, usual_numbers_of_strata
from rts.trial.procedures import BlockUrn, Maximal, PermutedBlocks
from tests.randomisation.designs import enumeration

PUBLISHED = json.loads((Path(__file__).parent / "measures_reference.json").read_text("utf-8"))["strata_N146_block4"]


@pytest.mark.parametrize("strata", PUBLISHED)
def test_figures_of_146_subjects_in_blocks_of_four_are_those_published(strata):
    found = over_strata(profile(PermutedBlocks((4,)), 146), int(strata))

    assert found == {
        **found,
        **{name: pytest.approx(value, rel=0, abs=1e-10) for name, value in PUBLISHED[strata].items()},
    }


def counted_out(procedure, n, ratio, strata):
    """The figures, from every way to put `n` subjects into the strata and every sequence of each."""
    every = enumeration.paths(procedure, n, ratio)
    by_count = []
    for taken in range(n + 1):
        differences = defaultdict(Fraction)
        for path in every:
            begun = path.arms[:taken]
            differences[Fraction(begun.count(0), ratio[0]) - Fraction(begun.count(1), ratio[1])] += path.probability
        by_count.append(differences)
    certain = [sum(path.probability * (max(path.chances[i]) == 1) for path in every) for i in range(n)]
    square = within = deterministic = Fraction(0)
    ways = list(product(range(strata), repeat=n))
    for way in ways:
        counts = [way.count(stratum) for stratum in range(strata)]
        overall = {Fraction(0): Fraction(1)}
        for count in counts:
            summed = defaultdict(Fraction)
            for (so_far, p), (more, q) in product(overall.items(), by_count[count].items()):
                summed[so_far + more] += p * q
            overall = summed
        square += sum(p * difference**2 for difference, p in overall.items()) / len(ways)
        within += sum(p * abs(difference) for difference, p in by_count[counts[0]].items()) / len(ways)
        deterministic += sum(sum(certain[:count]) for count in counts) / n / len(ways)
    return {"sd_overall_imbalance": sqrt(square), "E_abs_within_stratum": within, "deterministic": deterministic}


@pytest.mark.parametrize(
    ("procedure", "n", "ratio", "strata"),
    [
        (PermutedBlocks((4,)), 7, (1, 1), 2),
        (PermutedBlocks((2, 4)), 5, (1, 1), 3),
        (PermutedBlocks((3,)), 5, (2, 1), 3),
        (BlockUrn(2), 6, (1, 1), 2),
        (Maximal(2), 6, (1, 1), 3),
    ],
)
def test_figures_are_those_of_every_way_to_fall_into_strata(procedure, n, ratio, strata):
    found = over_strata(profile(procedure, n, ratio), strata)

    for name, value in counted_out(procedure, n, ratio, strata).items():
        assert found[name] == pytest.approx(float(value), rel=0, abs=1e-12), name


def test_one_stratum_is_the_sequence_itself():
    found, alone = over_strata(profile(PermutedBlocks((4, 6)), 50), 1), measure(PermutedBlocks((4, 6)), 50)

    for name in ("cg_convergence", "bayes_optimal_guess_hidden_sizes", "deterministic"):
        assert found[name] == pytest.approx(alone[name], rel=0, abs=1e-12)
    assert found["sd_overall_imbalance"] == pytest.approx(alone["sd_final_imbalance"], rel=0, abs=1e-12)


def test_a_block_of_random_size_is_open_unless_one_ends_there():
    # Of two allocations: a block of two has ended, one of four has not.
    assert over_strata(profile(PermutedBlocks((2, 4)), 2), 1)["expected_incomplete_blocks"] == 0.5


def test_procedures_without_blocks_have_none_incomplete():
    assert "expected_incomplete_blocks" not in over_strata(profile(BlockUrn(2), 10), 2)


def test_the_overall_imbalance_is_told_by_number_of_strata_as_published():
    published = {int(strata): figures["sd_overall_imbalance"] for strata, figures in PUBLISHED.items()}

    found = overall_imbalance(profile(PermutedBlocks((4,)), 146), published)

    assert found == pytest.approx(published, rel=0, abs=1e-10)


@pytest.mark.parametrize(
    ("n", "numbers"),
    [
        (1, (1,)),
        (3, (1,)),
        (4, (1, 2)),
        (127, (1, 2, 4, 8, 16, 32)),
        (128, (1, 2, 4, 8, 16, 32, 64)),
        (1000, (1, 2, 4, 8, 16, 32, 64)),
    ],
)
def test_numbers_of_strata_double_up_to_half_the_subjects(n, numbers):
    assert usual_numbers_of_strata(n) == numbers


def test_half_as_many_cells_as_subjects_is_the_limit():
    assert over_strata(profile(BlockUrn(3), 20), 10)["exceeds_therneau"] is False
    assert over_strata(profile(BlockUrn(3), 20), 11)["exceeds_therneau"] is True
