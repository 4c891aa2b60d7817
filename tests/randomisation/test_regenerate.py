"""Parameters of `regenerate`: unknown, missing and wrong keys are refused by name."""

import copy

import pytest

from rts.randomisation.regenerate import regenerate
from rts.refusal import Refusal

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


def refused(parameters):
    before = copy.deepcopy(parameters)
    with pytest.raises(Refusal) as refusal:
        regenerate(parameters)
    assert parameters == before
    assert refusal.value.code == "invalid"
    return [(failed.rule, failed.field) for failed in refusal.value.failed]


@pytest.mark.parametrize("parameters", [SUBJECTS, KITS])
def test_an_unknown_key_is_named(parameters):
    assert refused(parameters | {"block_size": 4}) == [("list.parameters.unknown", "block_size")]


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
