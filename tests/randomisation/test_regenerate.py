"""Parameters of `regenerate`: unknown, missing and wrong keys are refused by name."""

import copy

import pytest

from rts.randomisation.generation import SubjectListInputs, generate
from rts.randomisation.regenerate import regenerate
from rts.refusal import Refusal
from rts.trial.procedures import procedure_from

SUBJECTS = {
    "seed": "00" * 32,
    "list_id": "L1",
    "prefix": "R",
    "strata": ["all"],
    "arms": [["xq", 1], ["zv", 1]],
    "block_sizes": [4],
    "length": 8,
}
KITS = {"seed": "00" * 32, "list_id": "K1", "prefix": "K", "kit_types": [["xq", 2], ["zv", 2]]}


WITH_PROCEDURE = {key: value for key, value in SUBJECTS.items() if key != "block_sizes"} | {
    "procedure": {"name": "big-stick", "imbalance": 2}
}
TAPE = {key: value for key, value in WITH_PROCEDURE.items() if key != "strata"} | {
    "procedure": {"name": "minimisation", "metric": "range", "weights": {"sex": 1}, "probability": "4/5"}
}


def refused(parameters):
    before = copy.deepcopy(parameters)
    with pytest.raises(Refusal) as refusal:
        regenerate(parameters)
    assert parameters == before
    assert refusal.value.code == "invalid"
    return [(failed.rule, failed.field) for failed in refusal.value.failed]


@pytest.mark.parametrize("parameters", [SUBJECTS, KITS, WITH_PROCEDURE, TAPE])
def test_an_unknown_key_is_named(parameters):
    assert refused(parameters | {"block_size": 4}) == [("list.parameters.unknown", "block_size")]


def test_block_sizes_beside_a_procedure_are_refused():
    assert refused(WITH_PROCEDURE | {"block_sizes": [4]}) == [("list.parameters.unknown", "block_sizes")]


def test_a_bad_procedure_is_refused_naming_field_and_rule():
    bad = {"name": "big-stick", "imbalance": 0}
    assert refused(WITH_PROCEDURE | {"procedure": bad}) == [("procedure.imbalance.range", "procedure.imbalance")]
    assert refused(WITH_PROCEDURE | {"procedure": "big-stick"}) == [("procedure.object", "procedure")]


def test_a_procedure_that_does_not_fit_the_arms_is_refused():
    assert refused(WITH_PROCEDURE | {"arms": [["xq", 2], ["zv", 1]]}) == [("list.arms.two_equal", "arms")]


def test_permuted_blocks_may_be_written_as_a_procedure():
    written = WITH_PROCEDURE | {"procedure": {"name": "permuted-blocks", "block_sizes": [4]}}
    for answer in ("rows", "commitment"):
        assert regenerate(written)[answer] == regenerate(SUBJECTS)[answer]


def test_the_random_allocation_rule_is_one_block_of_the_whole_length():
    written = WITH_PROCEDURE | {"procedure": {"name": "random-allocation-rule"}}
    assert regenerate(written)["rows"] == regenerate(SUBJECTS | {"block_sizes": [8]})["rows"]


@pytest.mark.parametrize("strata", [{}, {"strata": []}, {"strata": [""]}])
def test_a_tape_is_regenerated_with_its_words(strata):
    inputs = SubjectListInputs(
        bytes(32), "L1", "R", ("",), (("xq", 1), ("zv", 1)), procedure_from(TAPE["procedure"]), 8
    )
    made = generate(inputs)

    answer = regenerate(TAPE | strata)

    assert answer["commitment"] == made.commitment()
    assert [row[:2] for row in answer["rows"]] == [["", position] for position in range(1, 9)]
    assert [row[3] for row in answer["rows"]] == made.arms


def test_a_tape_has_no_strata():
    assert refused(TAPE | {"strata": ["low"]}) == [("list.strata.tape", "strata")]


@pytest.mark.parametrize("key", sorted(SUBJECTS))
def test_a_missing_key_of_a_subject_list_is_named(key):
    parameters = {name: value for name, value in SUBJECTS.items() if name != key}
    assert refused(parameters) == [("list.parameters.missing", key)]


@pytest.mark.parametrize("key", ["seed", "list_id", "prefix"])
def test_a_missing_key_of_a_kit_list_is_named(key):
    parameters = {name: value for name, value in KITS.items() if name != key}
    assert refused(parameters) == [("list.parameters.missing", key)]


def test_every_wrong_key_is_named_at_once():
    parameters = SUBJECTS | {"rows": [], "length": "8"}
    del parameters["prefix"]
    assert refused(parameters) == [
        ("list.parameters.unknown", "rows"),
        ("list.parameters.missing", "prefix"),
        ("list.parameters.shape", "length"),
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "00" * 31),
        ("seed", "0 " * 32),
        ("seed", 0),
        ("list_id", 7),
        ("prefix", None),
        ("strata", "all"),
        ("strata", [1]),
        ("arms", [["xq", 1], ["zv", 1.0]]),
        ("arms", [["xq", True], ["zv", 1]]),
        ("arms", {"xq": 1, "zv": 1}),
        ("arms", ["xq", "zv"]),
        ("block_sizes", 4),
        ("block_sizes", [4.0]),
        ("length", 8.0),
        ("length", True),
    ],
)
def test_a_value_of_the_wrong_shape_is_refused_for_its_key(key, value):
    assert refused(SUBJECTS | {key: value}) == [("list.parameters.shape", key)]


def test_kit_types_of_the_wrong_shape_are_refused():
    assert refused(KITS | {"kit_types": [["xq", "2"]]}) == [("list.parameters.shape", "kit_types")]


@pytest.mark.parametrize("parameters", [[], "{}", None])
def test_anything_but_an_object_is_refused(parameters):
    assert refused(parameters) == [("list.parameters.object", "")]


def test_the_parameters_come_back_unchanged_beside_the_list():
    parameters = copy.deepcopy(SUBJECTS)

    answer = regenerate(parameters)

    assert parameters == SUBJECTS
    assert list(answer) == [*SUBJECTS, "rows", "commitment"]
    assert len(answer["rows"]) == 8
