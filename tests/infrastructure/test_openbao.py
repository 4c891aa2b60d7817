"""Where the tests' key service comes from; without one they fail and say what to install."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.infrastructure import openbao


def test_the_program_of_the_wheel_serves_when_no_other_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(openbao.PROGRAM_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")

    found = openbao.program()

    assert found.name == "bao"
    assert os.access(found, os.X_OK)


def test_a_program_that_is_named_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(openbao.PROGRAM_VARIABLE, "/opt/vault")

    assert openbao.program() == Path("/opt/vault")


def test_without_any_program_the_tests_fail_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(openbao.PROGRAM_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(openbao.OpenBaoMissingError, match="make setup installs it"):
        openbao.program()
