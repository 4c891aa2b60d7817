"""The page on trial definitions names every key that is read, says truly which must be there, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rts.trial import reading
from rts.trial.document import Document
from rts.trial.shipped import shipped_definition

PAGE = (Path(__file__).parents[2] / "docs" / "trial-definition.md").read_text("utf-8")
PUBLIC, RESTRICTED = shipped_definition("sirius")
PARTS: dict[str, tuple[str, Callable[[Document], Any]]] = {
    "public": (PUBLIC, reading._read_public),
    "restricted": (RESTRICTED, reading._read_restricted),
}
# What the trial names itself stands in the page under a word in capitals.
NAMED_BY_THE_TRIAL = {
    "calendars.china": "calendars.NAME",
    "visits.kits.standard": "visits.kits.LEVEL",
    "visits.kits.LEVEL.study-drug": "visits.kits.LEVEL.GROUP",
    "dosing.level_names.standard": "dosing.level_names.LEVEL",
    "dosing.kit_group_names.study-drug": "dosing.kit_group_names.GROUP",
    "dosing.units_a_kit.study-drug": "dosing.units_a_kit.GROUP",
    "dosing.units_a_day.standard": "dosing.units_a_day.LEVEL",
    "dosing.units_a_day.LEVEL.study-drug": "dosing.units_a_day.LEVEL.GROUP",
    **{
        f"trial.gate_names.{gate}": "trial.gate_names.GATE"
        for gate in ("ethics", "contract", "authority", "unblinding-access")
    },
}


def documented(part: str) -> dict[str, bool]:
    """Every key path that the page tells of in one part, and whether the file is refused without it."""
    _, public, restricted = re.split(r"^# The (?:public|restricted) part$", PAGE, flags=re.MULTILINE)
    found: dict[str, bool] = {}
    table = ""
    for line in {"public": public, "restricted": restricted}[part].splitlines():
        if line.startswith("### Tables of the"):
            table = ""
        elif heading := re.fullmatch(r"### `\[+([A-Za-z_.]+)\]+`", line):
            table = heading[1]
        elif row := re.match(r"\| `([A-Za-z_]+)` \|[^|]*\| ([^|]*?) \|", line):
            path = f"{table}.{row[1]}".strip(".")
            assert path not in found, f"{path} is told of twice"
            found[path] = row[2] == "needed"
    return found


def in_the_words_of_the_page(path: str) -> str:
    for own, told in NAMED_BY_THE_TRIAL.items():
        if path == own or path.startswith(f"{own}."):
            path = told + path.removeprefix(own)
    return path


def keys_read(part: str) -> set[str]:
    """Every key path that the reader asks for while it reads SIRIUS, names of the trial's own replaced."""
    text, read = PARTS[part]
    document = Document(part, text)
    read(document)
    paths = {
        ".".join([step for step in table.path if isinstance(step, str)] + [key])
        for table in document._tables
        for key in table.asked
    }
    names = {"calendars.NAME", "visits.kits.LEVEL", "dosing.units_a_day.LEVEL"}
    return {in_the_words_of_the_page(path) for path in paths} - names


@pytest.mark.parametrize("part", PARTS)
def test_every_key_is_documented_and_nothing_else(part: str) -> None:
    assert set(documented(part)) == keys_read(part)


def without(part: str, path: str) -> Document:
    """SIRIUS, with one key taken out of the last table that could hold it."""
    document = Document(part, PARTS[part][0])
    for told, own in {"NAME": "china", "LEVEL": "standard", "GROUP": "study-drug", "GATE": "ethics"}.items():
        path = path.replace(told, own)
    *tables, key = path.split(".")
    value: Any = document.values
    for step in tables:
        value = value.get(step, {})
        value = value[-1] if isinstance(value, list) else value
    value.pop(key, None)
    return document


@pytest.mark.parametrize(("part", "path"), [(part, path) for part in PARTS for path in documented(part)])
def test_a_key_is_called_needed_exactly_when_it_is_missed(part: str, path: str) -> None:
    document = without(part, path)

    PARTS[part][1](document)

    missing = {re.sub(r"\[[^]]*\]", "", mistake.path) for mistake in document.mistakes if mistake.rule == "key.missing"}
    assert (path in {in_the_words_of_the_page(found) for found in missing}) == documented(part)[path]


def test_examples_are_those_of_the_shipped_trial() -> None:
    examples = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

    assert len(examples) >= 4
    assert [example for example in examples if example not in PUBLIC + RESTRICTED] == []
