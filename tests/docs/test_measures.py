"""The statistician's page tells of every measure with its source, and its example is what the program calculates."""

from __future__ import annotations

import re
from pathlib import Path

from rts.randomisation.designs.comparison import compare, usual_candidates
from rts.randomisation.designs.measures import MEASURES

PAGE = (Path(__file__).parents[2] / "docs" / "statistician.md").read_text("utf-8")


def test_every_measure_is_documented_with_its_source_and_nothing_else() -> None:
    table = PAGE[PAGE.index("| measure |") :].split("\n\n")[0]
    documented = re.findall(r"^\| `(\w+)` \| .+ \| ([^|]+) \|$", table, re.MULTILINE)

    assert documented == [(measure.name, measure.source) for measure in MEASURES]


def test_the_table_of_designs_is_calculated() -> None:
    heading, _, *rows = PAGE[PAGE.index("| design |") :].split("\n\n")[0].splitlines()
    names = re.findall(r"`(\w+)`", heading)

    calculated = [[f"{row.values[name]:.3f}" for name in names] for row in compare(usual_candidates(146), 146)]

    assert [row.strip("| ").split(" | ")[1:] for row in rows] == calculated
