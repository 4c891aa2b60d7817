"""The cases a second programmer evaluates."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from rts.refusal import Refusal
from rts.supply.evaluate import evaluate

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))["R24_resupply_engine"]["cases"]


@pytest.mark.requirement("SHIP-06")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_published_cases_are_met(case: dict[str, Any]) -> None:
    assert evaluate([case]) == [{"name": case["name"], **case["expected"]}]


def test_absent_values_are_zero_none_or_empty() -> None:
    (answer,) = evaluate([{"today": 0, "kit_types": {"A": {"min": 1, "max": 2}}}])
    assert answer == {
        "per_type": {"A": {"usable": 0, "trigger_level": 1, "resupply_level": 2, "fires": True, "need": 2}},
        "order": {"A": 2},
    }


def test_requested_kits_count_whatever_their_expiry_and_new_subjects_raise_both_levels() -> None:
    kit_type = {"requested": [5, 5], "in_transit": [5], "DNC": 10, "new_short": 1, "new_long": 3, "min": 1, "max": 2}
    (answer,) = evaluate([{"today": 0, "kit_types": {"A": kit_type}}])
    assert answer["per_type"] == {"A": {"usable": 2, "trigger_level": 2, "resupply_level": 5, "fires": True, "need": 3}}


def test_consignment_limits_move_by_whole_ratio_blocks() -> None:
    case = copy.deepcopy(CASES[3])
    assert evaluate([{**case, "min_total": 10}])[0]["order"] == {"A": 8, "P": 4}
    assert evaluate([{**case, "max_total": 8}])[0]["order"] == {"A": 4, "P": 2}
    assert evaluate([{**case, "min_total": None, "max_total": None}])[0]["order"] == {"A": 6, "P": 3}


@pytest.mark.parametrize(
    ("change", "rule", "field"),
    [
        ({"max_totl": 3}, "case.unknown", "cases[0].max_totl"),
        ({"scope": "some"}, "case.value", "cases[0].scope"),
        ({"trigger": "eq"}, "case.value", "cases[0].trigger"),
        ({"today": "now"}, "case.value", "cases[0].today"),
        ({"today": True}, "case.value", "cases[0].today"),
        ({"min_total": -1}, "case.value", "cases[0].min_total"),
        ({"short_window": 9, "long_window": 8}, "case.value", "cases[0].short_window"),
        ({"equalise": {"A": 1, "P": 1}}, "case.value", "cases[0].equalise"),
        ({"equalise": {"A": 0}}, "case.value", "cases[0].equalise"),
        ({"kit_types": []}, "case.value", "cases[0].kit_types"),
        ({"kit_types": {"A": {"max": 2}}}, "case.missing", "cases[0].kit_types.A.min"),
        ({"kit_types": {"A": {"min": 3, "max": 2}}}, "case.value", "cases[0].kit_types.A.min"),
        ({"kit_types": {"A": {"min": 1, "max": 2, "DND": 1}}}, "case.unknown", "cases[0].kit_types.A.DND"),
        ({"kit_types": {"A": {"min": 1, "max": 2, "pack": 0}}}, "case.value", "cases[0].kit_types.A.pack"),
        ({"kit_types": {"A": {"min": 1, "max": 2, "on_hand": 4}}}, "case.value", "cases[0].kit_types.A.on_hand"),
        (
            {"kit_types": {"A": {"min": 1, "max": 2, "on_hand": [10**9]}}},
            "case.value",
            "cases[0].kit_types.A.on_hand[0]",
        ),
        ({"kit_types": {"A": {"min": 1, "max": 2, "visits": [[1]]}}}, "case.value", "cases[0].kit_types.A.visits[0]"),
    ],
)
def test_a_case_that_means_nothing_is_refused_by_name(change: dict[str, Any], rule: str, field: str) -> None:
    with pytest.raises(Refusal) as caught:
        evaluate([{"today": 0, "kit_types": {"A": {"min": 1, "max": 2}}, **change}])
    assert (caught.value.code, caught.value.rules, caught.value.failed[0].field) == ("invalid", (rule,), field)


def test_a_case_without_a_day_and_a_file_that_is_no_list_are_refused() -> None:
    with pytest.raises(Refusal, match=r"cases\[0\].today is missing"):
        evaluate([{"kit_types": {}}])
    with pytest.raises(Refusal, match="must be a list"):
        evaluate({"cases": []})
