"""The trace matrix: each regulatory behaviour, the tests that prove it, and how they ended in the last run.

The catalogue is `requirements.csv` beside this file. Tests name a behaviour with
`@pytest.mark.requirement("RAND-03")`; a test run writes
what it saw to `build/trace.json`, and `rts trace` puts the two together.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from rts.refusal import refuse, say

RESULTS = Path("build/trace.json")


@dataclass(frozen=True)
class Requirement:
    """One behaviour of the catalogue: id, group, what the system does, the rule it comes from, how an inspector
    checks it.
    """

    id: str
    group: str
    behaviour: str
    source: str
    how_checked: str


@dataclass(frozen=True)
class Traced:
    """A requirement with its tests: (test, outcome) in order; outcome is `passed`, `failed` or `skipped`."""

    requirement: Requirement
    tests: tuple[tuple[str, str], ...]

    @property
    def result(self) -> str:
        """`passed` when every test passed, `failed` when one did not, `untested` when there is none."""
        if not self.tests:
            return "untested"
        return "passed" if all(outcome == "passed" for _, outcome in self.tests) else "failed"


def catalogue() -> tuple[Requirement, ...]:
    """Every requirement, in the catalogue's order."""
    text = (files("rts.reports") / "requirements.csv").read_text("utf-8")
    return tuple(Requirement(**row) for row in csv.DictReader(text.splitlines()))


def trace(results: Path = RESULTS) -> tuple[Traced, ...]:
    """The matrix of the test run recorded in `results`. Raises Refusal when there is none, or it names an unknown
    requirement.
    """
    if not results.exists():
        raise refuse(
            "not_found",
            "trace.no_results",
            say("There is no %(file)s: run the tests first (make test).", file=str(results)),
            "results",
        )
    recorded: dict[str, dict[str, str]] = json.loads(results.read_text("utf-8"))
    known = {requirement.id for requirement in catalogue()}
    strangers = sorted(set(recorded) - known)
    if strangers:
        raise refuse(
            "invalid",
            "trace.unknown",
            say("Tests name requirements that the catalogue lacks: %(ids)s.", ids=", ".join(strangers)),
            "results",
        )
    return tuple(
        Traced(requirement, tuple(sorted(recorded.get(requirement.id, {}).items()))) for requirement in catalogue()
    )
