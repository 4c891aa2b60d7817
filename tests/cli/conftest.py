"""Running the command as people do: arguments in, exit code and text out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rts.cli import main

Rts = Callable[..., Result]


@pytest.fixture
def rts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rts:
    """`rts(*arguments, input=…)` in an empty folder, with no settings but those given."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE", "KEYRING", "LISTS", "HOME", "ENVIRONMENT"):
        monkeypatch.delenv(f"RTS_{name}", raising=False)

    def run(*arguments: object, input: str | None = None) -> Result:  # noqa: A002
        return CliRunner().invoke(main, [str(argument) for argument in arguments], input=input)

    return run
