"""The trace matrix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rts.refusal import Refusal
from rts.reports.tracing import catalogue, trace


def test_the_catalogue_has_139_requirements_with_distinct_ids() -> None:
    assert len(catalogue()) == len({requirement.id for requirement in catalogue()}) == 139


def test_each_requirement_is_told_with_its_tests_and_result(tmp_path: Path) -> None:
    results = tmp_path / "trace.json"
    results.write_text(
        json.dumps({"RAND-03": {"b": "passed", "a": "passed"}, "RAND-04": {"c": "failed", "d": "passed"}})
    )

    traced = {row.requirement.id: row for row in trace(results)}

    assert traced["RAND-03"].tests == (("a", "passed"), ("b", "passed"))
    assert traced["RAND-03"].result == "passed"
    assert traced["RAND-04"].result == "failed"
    assert traced["RAND-05"].result == "untested"


def test_a_test_that_names_an_unknown_requirement_is_refused(tmp_path: Path) -> None:
    results = tmp_path / "trace.json"
    results.write_text(json.dumps({"RAND-99": {"a": "passed"}}))

    with pytest.raises(Refusal) as refusal:
        trace(results)

    assert refusal.value.rules == ("trace.unknown",)


def test_without_a_test_run_there_is_nothing_to_trace(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refusal:
        trace(tmp_path / "none.json")

    assert refusal.value.rules == ("trace.no_results",)
