"""What the second statistician is shown: a good list passes, and each fault is found."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.randomisation.generation import SubjectListInputs, generate
from rts.randomisation.kit_list import KitListInputs, generate_kits
from rts.randomisation.quality import imbalances, judge_imported_list, judge_kit_list, judge_subject_list
from rts.randomisation.subject_list import Entry
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

INPUTS = SubjectListInputs(
    seed=bytes(range(32)),
    list_id="L1",
    prefix="R",
    strata=("low", "high"),
    arms=(("xq", 1), ("zv", 1)),
    procedure=PermutedBlocks((4, 6)),
    length=21,
)
GOOD = list(generate(INPUTS).entries())
KIT_INPUTS = KitListInputs(seed=bytes(range(32)), list_id="K1", prefix="K", kit_types=(("xq", 30), ("zv", 20)))
GOOD_KITS = generate_kits(KIT_INPUTS).entries


def judge(entries, specification=INPUTS):
    return judge_subject_list(
        entries,
        prefix=specification.prefix,
        strata=specification.strata,
        arms=specification.arms,
        procedure=specification.procedure,
        length=specification.length,
    )


def judge_kits(kits):
    return judge_kit_list(kits, prefix=KIT_INPUTS.prefix, kit_types=KIT_INPUTS.kit_types)


def faults(quality):
    return [(finding.rule, finding.stratum) for finding in quality.findings]


def changed(entries, index, **values):
    return [*entries[:index], replace(entries[index], **values), *entries[index + 1 :]]


def stratum_of(arms):
    """A stratum written as a text of `x`, `z` and `w`, numbered like the good list."""
    codes = {"x": "xq", "z": "zv", "w": "wk"}
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
        procedure=PermutedBlocks(tuple(multiple * sum(weights) for multiple in multiples)),
        length=length,
    )
    assert faults(judge(list(generate(specification).entries()), specification)) == []


def test_the_figures_count_entries_arms_and_runs():
    specification = replace(INPUTS, strata=("all",), procedure=PermutedBlocks((4,)), length=10)

    (figures,) = judge(stratum_of("xzzxxxzzzx"), specification).figures

    assert (figures.stratum, figures.entries, figures.counts) == ("all", 10, (("xq", 5), ("zv", 5)))
    assert (figures.runs, figures.longest_run) == (5, 3)


def test_the_imbalance_of_two_arms_is_the_first_less_the_second():
    assert list(imbalances("xzzxxxz", [("x", 1), ("z", 1)])) == [1, 0, -1, 0, 1, 2, 1]
    assert list(imbalances("xz", [("x", 2), ("z", 2)])) == [1, 0]
    assert list(imbalances("x?z", [("x", 1), ("z", 1)])) == [1, 1, 0]


def test_the_imbalance_of_other_ratios_is_the_largest_count_less_the_smallest_by_weight():
    assert list(imbalances("xxz", [("x", 2), ("z", 1)])) == [0.5, 1, 0]
    assert list(imbalances("xzw", [("x", 1), ("z", 1), ("w", 1)])) == [1, 1, 0]


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
    specification = replace(INPUTS, strata=("all",), procedure=PermutedBlocks(sizes), length=len(arms))
    assert [rule for rule, _ in faults(judge(stratum_of(arms), specification))] == found


PROCEDURES = [
    CompleteRandomisation(),
    BigStick(2),
    BiasedCoin(Fraction(2, 3)),
    BlockUrn(2),
    Urn(0, 1),
    Maximal(3),
    RandomAllocationRule(),
]


@pytest.mark.requirement("LIST-06")
@pytest.mark.parametrize("procedure", PROCEDURES, ids=lambda procedure: procedure.name)
@given(seed=st.binary(min_size=32, max_size=32), pairs=st.integers(3, 30))
def test_a_generated_list_of_any_procedure_has_no_findings(procedure, seed, pairs):
    specification = replace(INPUTS, seed=seed, procedure=procedure, length=2 * pairs)
    assert faults(judge(list(generate(specification).entries()), specification)) == []


@pytest.mark.requirement("LIST-06")
@pytest.mark.parametrize(
    ("procedure", "arms", "position"),
    [
        (CompleteRandomisation(), "xxxxxxxx", None),
        (BiasedCoin(Fraction(2, 3)), "xxxxxxxx", None),
        (BigStick(2), "xxzzzzxx", None),
        (BigStick(2), "xxxzzzzx", 3),
        (BigStick(2), "xzxzzzzz", 7),
        (BlockUrn(2), "xxzzxzzx", None),
        (BlockUrn(2), "xxxzzzzx", 3),
        (Urn(0, 1), "xzxxxxxx", None),
        (Urn(0, 1), "xxzzxzxz", 2),
        (Maximal(2), "xxzzxzzx", None),
        (Maximal(2), "xxxzzzzx", 3),
        (Maximal(2), "xzxzxzxx", 8),
        (Maximal(2), "xzxzzxzz", 8),
        (BigStick(2), "xzwzzxzz", 3),
    ],
)
def test_an_entry_that_the_procedure_cannot_have_made_is_found(procedure, arms, position):
    specification = replace(INPUTS, strata=("all",), procedure=procedure, length=8)

    quality = judge(stratum_of(arms), specification)

    told = [str(finding.message) for finding in quality.findings if finding.rule == "quality.procedure"]
    expected = f"the procedure cannot have made entry {position} of this stratum"
    assert told == ([] if position is None else [expected])


def test_a_list_that_is_cut_or_goes_on_is_found_by_its_length():
    specification = replace(INPUTS, strata=("all",), procedure=Maximal(2), length=8)

    assert faults(judge(stratum_of("xxzzxz"), specification)) == [("quality.length", "all")]
    assert faults(judge(stratum_of("xxzzxzxzxx"), specification)) == [("quality.length", "all")]


@pytest.mark.requirement("LIST-06")
@pytest.mark.parametrize(
    ("arms", "found"),
    [("xxxxxzzzxxzz", ["quality.blocks"]), ("xxxxxxzzzzzz", []), ("xxxxxxxzzzzz", ["quality.blocks"])],
)
def test_the_random_allocation_rule_fills_the_whole_stratum_in_the_ratio(arms, found):
    specification = replace(INPUTS, strata=("all",), procedure=RandomAllocationRule(), length=12)
    assert [rule for rule, _ in faults(judge(stratum_of(arms), specification))] == found


TAPE = replace(
    INPUTS, strata=("",), procedure=Minimisation("range", (("sex", 1),), Fraction(4, 5)), list_id="T1", length=40
)
GOOD_TAPE = list(generate(TAPE).entries())


@pytest.mark.requirement("LIST-06")
@pytest.mark.parametrize(
    ("index", "values", "found"),
    [
        (0, {}, []),
        (0, {"arm": "xq"}, [("quality.word", "")]),
        (0, {"arm": "F" * 16}, [("quality.word", "")]),
        (0, {"arm": "0" * 15}, [("quality.word", "")]),
        (0, {"arm": GOOD_TAPE[7].arm}, [("quality.word.duplicate", "")]),
        (0, {"number": GOOD_TAPE[7].number}, [("quality.number.duplicate", "")]),
        (3, {"position": 3}, [("quality.position.duplicate", ""), ("quality.position.gap", "")]),
        (0, {"stratum": "low"}, [("quality.stratum", ""), ("quality.position.gap", ""), ("quality.length", "")]),
    ],
)
def test_a_tape_is_judged_by_its_words_numbers_and_positions(index, values, found):
    assert faults(judge(changed(GOOD_TAPE, index, **values), TAPE)) == found


def test_the_figures_of_a_tape_count_no_arms():
    (figures,) = judge(GOOD_TAPE, TAPE).figures
    assert (figures.stratum, figures.entries, figures.counts) == ("", 40, ())


# --- made elsewhere ---


def imported(arms, numbers):
    return [
        Entry("all", position, number, arm, bytes(16))
        for position, (arm, number) in enumerate(zip(arms, numbers, strict=True), start=1)
    ]


BLOCKS_OF_FOUR = PermutedBlocks((4,))


def judge_made_elsewhere(entries, *, has_check_digits=False, procedure=BLOCKS_OF_FOUR, length=30):
    return judge_imported_list(
        entries,
        prefix="R",
        strata=["all"],
        arms=[("xq", 1), ("zv", 1)],
        procedure=procedure,
        length=length,
        has_check_digits=has_check_digits,
    )


MIXED = ["xq", "zv", "zv", "xq"] * 10
UNTELLING = [f"R{7919 * place % 9973 + 10_000}" for place in range(1, 41)]


@pytest.mark.requirement("LIST-06")
@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        (UNTELLING, []),
        ([f"R{place}" for place in range(101, 141)], []),
        # All of the first arm below all of the second; even numbers for the first arm; the arm in one digit.
        ([f"R{place + 1000 * (arm == 'zv')}" for place, arm in enumerate(MIXED, start=101)], 2),
        ([f"R{2 * place + (arm == 'zv')}" for place, arm in enumerate(MIXED, start=101)], 1),
        ([f"R{number[1:3]}{'27'[arm == 'zv']}{number[3:]}" for number, arm in zip(UNTELLING, MIXED, strict=True)], 1),
    ],
    ids=["unrelated", "in order", "by size", "even and odd", "one digit"],
)
def test_numbers_made_elsewhere_that_tell_the_arm_are_found(numbers, found):
    quality = judge_made_elsewhere(imported(MIXED, numbers))
    assert faults(quality) == [("quality.number.tells_arm", "")] * (found or 0)


def test_a_list_too_short_to_judge_its_numbers_is_let_be():
    arms = ["xq"] * 14 + ["zv"] * 16
    entries = imported(arms, [f"R{place}" for place in range(101, 131)])
    assert faults(judge_made_elsewhere(entries, procedure=CompleteRandomisation())) == []


@pytest.mark.requirement("LIST-06")
@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"arm": "wk"}, [("quality.code", "all"), ("quality.blocks", "all")]),
        ({"arm": "zv"}, [("quality.blocks", "all")]),
        ({"number": UNTELLING[5]}, [("quality.number.duplicate", "")]),
        ({"number": "K123"}, [("quality.number.prefix", "")]),
        ({"stratum": "low"}, [("quality.stratum", ""), ("quality.position.gap", "all")]),
    ],
)
def test_a_faulty_entry_of_a_list_made_elsewhere_is_found(values, found):
    assert faults(judge_made_elsewhere(changed(imported(MIXED, UNTELLING), 0, **values))) == found


def test_check_digits_are_judged_when_the_numbers_have_them():
    entries = imported(MIXED, UNTELLING)

    assert faults(judge_made_elsewhere(entries)) == []
    assert ("quality.number.check_digits", "") in faults(judge_made_elsewhere(entries, has_check_digits=True))


def test_a_stratum_without_an_entry_is_found():
    assert faults(judge_made_elsewhere([], length=1)) == [("quality.length", "all")]


def test_a_stratum_made_elsewhere_may_be_longer_than_planned_and_not_shorter():
    entries = imported(MIXED, UNTELLING)

    assert faults(judge_made_elsewhere(entries, length=40)) == []
    assert faults(judge_made_elsewhere(entries, length=41)) == [("quality.length", "all")]


@pytest.mark.requirement("LIST-06")
@pytest.mark.parametrize(
    ("procedure", "arms", "found"),
    [
        (Maximal(2), ["xq", "zv", "zv", "xq"], []),
        (Maximal(2), ["xq", "zv", "zv"], [("quality.length", "all")]),
        (Maximal(2), ["xq", "xq", "xq", "zv", "zv", "zv"], [("quality.procedure", "all")]),
        (RandomAllocationRule(), ["xq", "xq", "zv", "zv"], []),
        (RandomAllocationRule(), ["xq", "zv", "zv", "zv"], [("quality.blocks", "all")]),
        (RandomAllocationRule(), ["xq", "zv", "zv"], [("quality.length", "all")]),
    ],
)
def test_a_list_made_elsewhere_is_one_that_its_procedure_can_have_made(procedure, arms, found):
    entries = imported(arms, UNTELLING[: len(arms)])
    assert faults(judge_made_elsewhere(entries, procedure=procedure, length=1)) == found


# --- whatever the procedure ---


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
