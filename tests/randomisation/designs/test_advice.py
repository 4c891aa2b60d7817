"""Advice: each weakness of a design is named, with its reason, and a sound design has none."""

from fractions import Fraction

import pytest

from rts.randomisation.designs.advice import advise
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
    procedure_from,
)

MINIMISATION = Minimisation("range", (("sex", 1),), Fraction(4, 5))


def advice(procedure, n=146, **trial):
    return [(found.rule, found.gravity) for found in advise(procedure, n, **trial)]


@pytest.mark.parametrize(
    ("procedure", "trial"),
    [
        (PermutedBlocks((4, 6)), {}),
        (PermutedBlocks((4, 6)), {"strata": 4, "sites": 20}),
        (PermutedBlocks((6, 9)), {"ratio": (2, 1)}),
        (BigStick(3), {"strata": 4}),
        (Maximal(3), {}),
        (BlockUrn(3), {}),
        (RandomAllocationRule(), {}),
    ],
)
def test_nothing_speaks_against_a_sound_design(procedure, trial):
    assert advice(procedure, **trial) == []


def test_a_block_of_two_is_warned_of():
    assert advice(PermutedBlocks((2, 4, 6))) == [("blocks.two", "warning")]


@pytest.mark.parametrize(("sizes", "ratio"), [((3, 6), (2, 1)), ((3, 6), (1, 1, 1)), ((4, 8), (2, 2))])
def test_a_block_as_short_as_the_ratio_is_warned_of(sizes, ratio):
    assert advice(PermutedBlocks(sizes), ratio=ratio) == [("blocks.short", "warning")]


def test_one_block_size_alone_is_warned_of():
    assert advice(PermutedBlocks((4,))) == [("blocks.one_size", "warning")]
    assert advice(PermutedBlocks((2,))) == [("blocks.two", "warning"), ("blocks.one_size", "warning")]


def test_fewer_than_four_blocks_a_cell_are_warned_of():
    # 146 subjects in blocks of up to 6: 6 cells of 24 and more are enough, 7 are not.
    assert advice(PermutedBlocks((4, 6)), strata=6) == []
    assert advice(PermutedBlocks((4, 6)), strata=7) == [("strata.many", "warning")]
    # A big stick of 3 is as a block of 6.
    assert advice(BigStick(3), strata=6) == []
    assert advice(BigStick(3), strata=7) == [("strata.many", "warning")]


def test_one_cell_is_never_too_many():
    assert advice(PermutedBlocks((4, 6)), 10) == []


def test_more_cells_than_half_the_subjects_are_refused():
    assert advice(PermutedBlocks((4, 6)), strata=73) == [("strata.many", "warning")]
    assert advice(PermutedBlocks((4, 6)), strata=74) == [("strata.too_many", "refused")]


def test_sites_count_as_cells_when_they_are_a_stratum():
    assert advice(PermutedBlocks((4, 6)), strata=4, sites=20, by_site=False) == []
    assert advice(PermutedBlocks((4, 6)), strata=4, sites=20, by_site=True) == [
        ("strata.too_many", "refused"),
        ("strata.site", "warning"),
    ]


def test_sites_with_fewer_than_two_blocks_each_are_warned_of():
    # 146 subjects at 12 sites are 12 a site, two blocks of 6; at 13 they are 11.
    assert advice(PermutedBlocks((4, 6)), sites=12, by_site=True) == [("strata.many", "warning")]
    assert advice(PermutedBlocks((4, 6)), sites=13, by_site=True) == [
        ("strata.many", "warning"),
        ("strata.site", "warning"),
    ]


def test_a_block_of_the_whole_stratum_is_never_finished_in_strata():
    assert advice(RandomAllocationRule(), strata=2) == [("strata.many", "warning")]


@pytest.mark.parametrize("procedure", [CompleteRandomisation(), BiasedCoin(Fraction(2, 3)), Urn(1, 1), MINIMISATION])
def test_procedures_without_a_bound_to_the_imbalance_are_to_be_confirmed(procedure):
    assert advice(procedure) == [("balance.no_bound", "confirm")]


def test_minimisation_in_an_unequal_ratio_is_to_be_confirmed():
    assert advice(MINIMISATION, ratio=(2, 1)) == [
        ("ratio.not_at_every_step", "confirm"),
        ("balance.no_bound", "confirm"),
    ]


def test_minimisation_has_no_cells():
    assert advice(MINIMISATION, strata=100) == [("balance.no_bound", "confirm")]


@pytest.mark.parametrize("ratio", [(2, 1), (1, 1, 1)])
def test_procedures_for_two_arms_one_to_one_are_refused_for_others(ratio):
    assert advice(BigStick(3), ratio=ratio) == [("list.arms.two_equal", "refused")]


def test_what_no_list_can_be_made_of_is_refused():
    assert advice(PermutedBlocks((4, 5))) == [("list.block_sizes.multiple", "refused")]
    assert advice(Maximal(3), 145) == [("list.length.even", "refused")]


def test_deterministic_minimisation_cannot_even_be_written():
    with pytest.raises(Refusal) as refusal:
        procedure_from({"name": "minimisation", "metric": "range", "weights": {"sex": 1}, "probability": "1"})

    assert refusal.value.rules == ("procedure.probability.range",)


def test_the_reason_is_told_in_the_numbers_of_the_trial():
    many, site = advise(PermutedBlocks((4, 6)), 146, sites=20, by_site=True)

    assert str(many.message).startswith("20 cells for 146 subjects leave fewer than four blocks of 6 a cell")
    assert str(site.message).startswith("Stratifying by site with about 7 subjects a site")
    assert repr(many) == "<sealed>"
