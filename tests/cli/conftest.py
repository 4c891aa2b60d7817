"""Running the command as people do: arguments in, exit code and text out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rts.cli import main
from tests.world import PASSWORD

Rts = Callable[..., Result]

PEOPLE = (
    ("statistician.one", "Chen Lihua", "statistician"),
    ("statistician.two", "Marta Novak", "statistician"),
    ("manager", "Zhao Min", "trial_manager"),
)


@pytest.fixture
def rts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rts:
    """`rts(*arguments, input=…)` in an empty folder, with no settings but those given."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE", "KEYRING", "LISTS", "HOME", "ENVIRONMENT"):
        monkeypatch.delenv(f"RTS_{name}", raising=False)

    def run(*arguments: object, input: str | None = None) -> Result:  # noqa: A002
        return CliRunner().invoke(main, [str(argument) for argument in arguments], input=input)

    return run


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> tuple[object, ...]:
    """The options that name the installation of this test."""
    return ("--database", database_url, "--keyring", tmp_path / "keyring.json", "--lists", tmp_path / "lists")


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n", "utf-8")
    return path


@pytest.fixture
def ready(rts: Rts, place: tuple[object, ...], password_file: Path) -> tuple[object, ...]:
    """A training installation with SIRIUS loaded and three people; returns the options that name it."""
    assert rts("db", "upgrade", "--environment", "training", *place).exit_code == 0
    assert rts("trial", "load", "sirius", "--from", "2026-01-01", *place).exit_code == 0
    for username, name, role in PEOPLE:
        result = rts(
            "user", "add", username, "--name", name, "--organisation", "Sponsor", "--email", f"{username}@example.org",
            "--role", role, "--trial", "SIRIUS", "--password-file", password_file, "--keep-password", *place,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    return place
