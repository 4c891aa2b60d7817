"""The configuration page tells of every setting, and of none that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

from rts.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_every_setting_is_documented_and_nothing_else() -> None:
    documented = set(re.findall(r"^\| `(RTS_[A-Z_]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))

    assert documented == {f"RTS_{name.upper()}" for name in Settings.model_fields}


def test_the_documented_defaults_of_numbers_and_words_are_the_real_ones() -> None:
    rows = dict(re.findall(r"^\| `(RTS_[A-Z_]+)` \|.*\| `([^`]+)` \|$", PAGE.read_text("utf-8"), re.MULTILINE))

    for name, shown in rows.items():
        default = Settings.model_fields[name.removeprefix("RTS_").lower()].default
        assert shown == str(default).lower() if isinstance(default, bool) else shown == str(default)
