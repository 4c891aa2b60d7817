"""A design as JSON: measured, or refused with every wrong key."""

import copy
import json

import pytest

from rts.randomisation.designs.measures import measure
from rts.randomisation.designs.written import measure_written
from rts.refusal import Refusal
from rts.trial.procedures import PermutedBlocks, procedure_from

BIG_STICK = {"procedure": {"name": "big-stick", "imbalance": 3}, "n": 12}


def refused(design):
    before = copy.deepcopy(design)
    with pytest.raises(Refusal) as refusal:
        measure_written(design)
    assert design == before
    assert refusal.value.code == "invalid"
    return [(failed.rule, failed.field) for failed in refusal.value.failed]


@pytest.mark.parametrize(
    "procedure",
    [
        {"name": "permuted-blocks", "block_sizes": [4, 6]},
        {"name": "random-allocation-rule"},
        {"name": "complete"},
        {"name": "big-stick", "imbalance": 3},
        {"name": "biased-coin", "probability": "2/3"},
        {"name": "block-urn", "lambda": 3},
        {"name": "urn", "alpha": 1, "beta": 1},
        {"name": "maximal", "imbalance": 3},
    ],
    ids=lambda procedure: procedure["name"],
)
def test_a_design_comes_back_with_its_measures(procedure):
    design = {"procedure": procedure, "n": 12}

    answer = json.loads(json.dumps(measure_written(design)))

    assert answer == {**design, **measure(procedure_from(procedure), 12)}


def test_a_ratio_can_be_given():
    design = {"procedure": {"name": "permuted-blocks", "block_sizes": [3]}, "n": 9, "ratio": [2, 1]}

    assert measure_written(design) == {**design, **measure(PermutedBlocks((3,)), 9, (2, 1))}


@pytest.mark.parametrize("design", [[], "{}", None])
def test_anything_but_an_object_is_refused(design):
    assert refused(design) == [("design.object", "")]


def test_every_wrong_key_is_named_at_once():
    assert refused({"procedure": BIG_STICK["procedure"], "strata": 2, "ratio": [1, "1"]}) == [
        ("design.unknown", "strata"),
        ("design.missing", "n"),
        ("design.shape", "ratio"),
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [("n", "12"), ("n", 12.0), ("n", True), ("n", None), ("ratio", 1), ("ratio", [1, 1.0]), ("ratio", None)],
)
def test_a_value_of_the_wrong_shape_is_refused_for_its_key(key, value):
    assert refused(BIG_STICK | {key: value}) == [("design.shape", key)]


@pytest.mark.parametrize(
    ("changed", "rule", "field"),
    [
        ({"procedure": "big-stick"}, "procedure.object", "procedure"),
        ({"procedure": {"name": "big-tree"}}, "procedure.name.known", "procedure.name"),
        ({"procedure": {"name": "big-stick"}}, "procedure.missing", "procedure.imbalance"),
        ({"procedure": {"name": "biased-coin", "probability": 0.6}}, "procedure.shape", "procedure.probability"),
        ({"procedure": {"name": "big-stick", "imbalance": 0}}, "procedure.imbalance.range", "procedure.imbalance"),
        ({"n": 0}, "design.n.range", "n"),
        ({"ratio": [2, 1]}, "list.arms.two_equal", "ratio"),
        ({"ratio": []}, "design.ratio.range", "ratio"),
        (
            {"procedure": {"name": "minimisation", "metric": "range", "weights": {"sex": 1}, "probability": "4/5"}},
            "design.minimisation",
            "procedure.name",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(changed, rule, field):
    assert refused(BIG_STICK | changed) == [(rule, field)]
