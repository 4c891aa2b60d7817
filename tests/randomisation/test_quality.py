"""What the second statistician is shown: a good list passes, and each fault is found."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.randomisation.kit_list import KitListInputs, generate_kits
from rts.randomisation.permuted_blocks import PermutedBlocks, generate
from rts.randomisation.quality import judge_kit_list, judge_subject_list
from rts.randomisation.subject_list import Entry

INPUTS = PermutedBlocks(
    seed=bytes(range(32)),
    list_id="L1",
    prefix="R",
    strata=("low", "high"),
    arms=(("xq", 1), ("zv", 1)),
    block_sizes=(4, 6),
    length=21,
)
GOOD = generate(INPUTS).entries
KIT_INPUTS = KitListInputs(seed=bytes(range(32)), list_id="K1", prefix="K", kit_types=(("xq", 30), ("zv", 20)))
GOOD_KITS = generate_kits(KIT_INPUTS).entries


def judge(entries, specification=INPUTS):
    return judge_subject_list(
        entries,
        prefix=specification.prefix,
        strata=specification.strata,
        arms=specification.arms,
        block_sizes=specification.block_sizes,
        length=specification.length,
    )


def judge_kits(kits):
    return judge_kit_list(kits, prefix=KIT_INPUTS.prefix, kit_types=KIT_INPUTS.kit_types)


def faults(quality):
    return [(finding.rule, finding.stratum) for finding in quality.findings]


def changed(entries, index, **values):
    return [*entries[:index], replace(entries[index], **values), *entries[index + 1 :]]


def stratum_of(arms):
    """A stratum written as a text of `x` and `z`, numbered like the good list."""
    codes = {"x": "xq", "z": "zv"}
    return [
        Entry("all", position, GOOD[position - 1].number, codes[letter], bytes(16))
        for position, letter in enumerate(arms, start=1)
    ]


@pytest.mark.requirement("LIST-06")
@given(
    seed=st.binary(min_size=32, max_size=32),
    weights=st.lists(st.integers(1, 3), min_size=2, max_size=3),
    multiples=st.sets(st.integers(1, 3), min_size=1),
    length=st.integers(1, 60),
)
def test_a_generated_list_has_no_findings(seed, weights, multiples, length):
    specification = replace(
        INPUTS,
        seed=seed,
        arms=tuple((f"arm {place}", weight) for place, weight in enumerate(weights)),
        block_sizes=tuple(multiple * sum(weights) for multiple in multiples),
        length=length,
    )
    assert faults(judge(generate(specification).entries, specification)) == []


def test_the_figures_count_entries_arms_and_the_longest_run():
    specification = replace(INPUTS, strata=("all",), block_sizes=(4,), length=10)

    (figures,) = judge(stratum_of("xzzxxxzzzx"), specification).figures

    assert (figures.stratum, figures.entries, figures.counts) == ("all", 10, (("xq", 5), ("zv", 5)))
    assert figures.longest_run == 3


@pytest.mark.requirement("LIST-06")
@pytest.mark.parametrize(
    ("sizes", "arms", "found"),
    [
        ((4,), "xxzzxzxz", []),
        ((4,), "xxzzxz", []),
        ((4,), "xxzzzz", []),
        ((4,), "xxzzxxx", ["quality.blocks"]),
        ((4,), "xxxzzz", ["quality.blocks"]),
        ((4,), "xxxzxzzz", ["quality.blocks"]),
        ((4, 6), "xxxzzz", []),
        ((4, 6), "xxxzzzxxzz", []),
        ((4, 6), "xxzzxxxzzz", []),
        ((4, 6), "xxzzxxxx", ["quality.blocks"]),
        ((4, 6), "xxxxzzzz", ["quality.blocks"]),
        ((4, 6), "xzxzxzxz", []),
    ],
)
def test_a_stratum_that_no_blocks_can_make_is_found(sizes, arms, found):
    specification = replace(INPUTS, strata=("all",), block_sizes=sizes, length=len(arms))
    assert [rule for rule, _ in faults(judge(stratum_of(arms), specification))] == found


@pytest.mark.requirement("LIST-06")
def test_a_missing_entry_is_a_gap():
    found = faults(judge([entry for entry in GOOD if (entry.stratum, entry.position) != ("high", 3)]))
    assert ("quality.length", "high") in found
    assert ("quality.position.gap", "high") in found
    assert all(stratum == "high" for _, stratum in found)


@pytest.mark.requirement("LIST-06")
def test_a_position_given_twice_is_found():
    found = faults(judge([*GOOD, replace(GOOD[0], number="R100008")]))
    assert ("quality.position.duplicate", "low") in found
    assert ("quality.length", "low") in found


@pytest.mark.requirement("LIST-06")
@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"number": GOOD[5].number}, [("quality.number.duplicate", "")]),
        ({"number": "R432816"}, [("quality.number.check_digits", "")]),
        ({"number": "K" + GOOD[0].number[1:]}, [("quality.number.prefix", "")]),
        ({"arm": "wk"}, [("quality.code", "low"), ("quality.blocks", "low")]),
    ],
)
def test_a_faulty_entry_is_found(values, found):
    assert faults(judge(changed(GOOD, 0, **values))) == found


def test_an_entry_of_a_stratum_nobody_defined_is_found():
    found = faults(judge([*GOOD, Entry("middle", 1, "R100008", "xq", bytes(16))]))
    assert found == [("quality.stratum", "")]


@pytest.mark.requirement("LIST-06")
def test_the_order_in_which_entries_are_given_does_not_matter():
    assert judge(GOOD[::-1]) == judge(GOOD)
    assert faults(judge(GOOD)) == []


def test_a_generated_kit_list_has_no_findings_and_its_figures():
    quality = judge_kits(GOOD_KITS)

    assert faults(quality) == []
    (figures,) = quality.figures
    assert (figures.stratum, figures.entries, figures.counts) == ("", 50, (("xq", 30), ("zv", 20)))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"number": GOOD_KITS[5].number}, ["quality.number.duplicate"]),
        ({"rank": 51}, ["quality.pick_rank.gap"]),
        ({"position": 2}, ["quality.position.duplicate", "quality.position.gap"]),
        ({"kit_type": "wk"}, ["quality.code", "quality.quantity"]),
    ],
)
def test_a_faulty_kit_is_found(values, found):
    assert [rule for rule, _ in faults(judge_kits(changed(GOOD_KITS, 0, **values)))] == found


def test_findings_and_figures_never_print_a_code():
    quality = judge_kits(changed(GOOD_KITS, 0, kit_type="wk"))

    printed = [repr(quality), repr(quality.figures[0]), *(repr(finding) for finding in quality.findings)]

    assert printed == ["<sealed>"] * 4
    assert not any(code in str(f.message) for f in quality.findings for code in ("xq", "zv", "wk"))
