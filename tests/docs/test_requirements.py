"""The page on requirements says of each row of the catalogue whose it is, once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from rts.reports.tracing import catalogue

PAGE = (Path(__file__).parents[2] / "docs" / "validation" / "requirements.md").read_text("utf-8")


def test_every_requirement_has_one_place() -> None:
    rows = re.findall(r"^\| (?:Software|Both|Sponsor|Not yet) \| (.*) \|$", PAGE, re.MULTILINE)
    placed = Counter(requirement for row in rows for requirement in row.split(", "))

    assert len(rows) == 4
    assert placed == Counter(requirement.id for requirement in catalogue())
