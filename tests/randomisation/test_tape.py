"""Tapes: words in reserve for minimisation."""

import re
from dataclasses import replace
from fractions import Fraction

import pytest

from rts.randomisation.commitment import subject_leaf, tree_hash
from rts.randomisation.generation import SubjectListInputs, generate, scheme_of
from rts.randomisation.numbers import has_valid_check_digits
from rts.randomisation.streams import ListStreams
from rts.randomisation.tape import words_of_tape
from rts.refusal import Refusal
from rts.trial.procedures import Minimisation

MINIMISATION = Minimisation("range", (("sex", 1), ("age", 2)), Fraction(4, 5))
INPUTS = SubjectListInputs(
    seed=bytes(range(32)),
    list_id="T1",
    prefix="R",
    strata=("",),
    arms=(("xq", 1), ("zv", 1)),
    procedure=MINIMISATION,
    length=40,
)


def test_an_entry_of_a_tape_holds_a_word_of_its_stream_in_place_of_an_arm():
    blocks = ListStreams(INPUTS.seed, "rts/tape/1", "T1").blocks("draw")

    entries = list(generate(INPUTS).entries())

    assert "".join(entry.arm for entry in entries) == "".join(next(blocks).hex() for _ in range(10))
    assert [(entry.stratum, entry.position) for entry in entries] == [("", position) for position in range(1, 41)]
    assert all(has_valid_check_digits(entry.number) for entry in entries)


def test_small_words_keep_their_sixteen_digits():
    assert words_of_tape(2, iter([255, 2**64 - 1])) == ["00000000000000ff", "ffffffffffffffff"]


@pytest.mark.requirement("LIST-01")
def test_a_longer_tape_begins_with_the_words_of_the_shorter_one():
    longer = generate(replace(INPUTS, length=57))

    assert longer.arms[:40] == generate(INPUTS).arms


def test_neither_arms_nor_the_parameters_of_the_procedure_touch_a_tape():
    other = Minimisation("variance", (("site", 1),), Fraction(2, 3))

    assert generate(replace(INPUTS, arms=(("zv", 2), ("xq", 1)), procedure=other)) == generate(INPUTS)


def test_words_are_distinct_and_unlike_those_of_another_list():
    first, second = generate(replace(INPUTS, length=5_000)), generate(replace(INPUTS, length=5_000, list_id="T2"))

    assert len({*first.arms, *second.arms}) == 10_000
    assert all(re.fullmatch("[0-9a-f]{16}", word) for word in first.arms)


def test_the_commitment_is_over_an_empty_stratum_and_the_word():
    made = generate(INPUTS)
    leaves = [subject_leaf("", e.position, e.number, e.arm, e.salt) for e in made.entries()]

    assert made.commitment() == tree_hash(leaves).hex()
    assert scheme_of(MINIMISATION) == "rts/tape/1"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"strata": ("low", "high")}, [("list.strata.tape", "strata")]),
        ({"strata": ()}, [("list.strata.tape", "strata")]),
        ({"length": 0}, [("list.length.positive", "length")]),
        ({"arms": (("xq", 1),)}, [("list.arms.count", "arms")]),
        (
            {"procedure": Minimisation("range", (("sex", 1),), Fraction(1, 2))},
            [("procedure.probability.no_preference", "procedure.probability")],
        ),
    ],
)
def test_bad_inputs_are_refused_naming_field_and_rule(changed, expected):
    with pytest.raises(Refusal) as refusal:
        replace(INPUTS, **changed)

    assert [(failed.rule, failed.field) for failed in refusal.value.failed] == expected
