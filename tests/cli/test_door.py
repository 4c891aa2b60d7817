"""Exit codes, messages and options that every command shares."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rts.cli import main
from rts.cli.door import EXIT_CODES
from rts.refusal import Refusal, refuse, say
from tests.cli.conftest import Rts

CODES = ("invalid", "forbidden", "not_found", "conflict", "rule", "unavailable", "wrong_password")


def every_command(group: click.Group = main, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += every_command(command, (*path, name))
        else:
            found.append(((*path, name), command))
    return found


def test_every_command_takes_a_database_a_keyring_and_a_folder_of_lists() -> None:
    lacking = [
        path
        for path, command in every_command()
        if not {"database", "keyring", "lists"} <= {parameter.name for parameter in command.params}
    ]
    assert len(every_command()) > 20
    assert lacking == []


def test_every_command_is_described_in_the_manual() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "commands.md").read_text("utf-8")
    assert [path for path, _ in every_command() if f"rts {' '.join(path)}" not in manual] == []
    for code in (*EXIT_CODES.values(), 0, 1, 2, 70, 130):
        assert f"| {code} |" in manual


def test_every_kind_of_refusal_has_an_exit_code_of_its_own() -> None:
    assert set(EXIT_CODES) == set(CODES)
    assert len({*EXIT_CODES.values(), 0, 1, 2, 70, 130}) == len(CODES) + 5


def failing(error: BaseException) -> click.Command:
    @click.command("failing")
    def command() -> None:
        raise error

    return command


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


@pytest.mark.parametrize("code", CODES)
def test_a_refusal_ends_with_its_code_and_its_sentence(rts: Rts, broken: pytest.MonkeyPatch, code: str) -> None:
    refusal: Refusal = refuse(code, "some.rule", say("Not %(what)s.", what="so"), "field")
    broken.setitem(main.commands, "failing", failing(refusal))

    result = rts("failing")

    assert (result.exit_code, result.stdout, result.stderr) == (EXIT_CODES[code], "", "Not so. [some.rule, field]\n")


def test_an_unexpected_error_shows_a_reference_and_no_value(rts: Rts, broken: pytest.MonkeyPatch) -> None:
    broken.setitem(main.commands, "failing", failing(RuntimeError("the arm is XYLOPHONE")))

    result = rts("failing")

    log, sentence = result.stderr.splitlines()
    entry = json.loads(log)
    assert result.exit_code == 70
    assert (entry["event"], entry["kind"]) == ("unexpected", "RuntimeError")
    assert sentence.endswith(f"Tell the operator the reference {entry['reference']}.")
    assert "XYLOPHONE" not in result.output
    assert "Traceback" not in result.output


def test_a_stopped_command_says_so(rts: Rts, broken: pytest.MonkeyPatch) -> None:
    broken.setitem(main.commands, "failing", failing(KeyboardInterrupt()))

    result = rts("failing")

    assert (result.exit_code, result.stderr) == (130, "Stopped.\n")


def test_a_missing_database_is_not_made_by_mistake(rts: Rts, tmp_path: Path) -> None:
    result = rts("check", "--database", f"sqlite:///{tmp_path / 'slip.sqlite'}")

    assert result.exit_code == EXIT_CODES["not_found"]
    assert "run rts db upgrade" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["nonsense", "mysql://host/name"])
def test_a_wrong_database_address_is_refused_by_name(rts: Rts, address: str) -> None:
    result = rts("check", "--database", address)

    assert result.exit_code == EXIT_CODES["invalid"]
    assert "[database.address, database]" in result.stderr


def test_a_database_server_that_does_not_answer_is_told_without_its_password(rts: Rts, tmp_path: Path) -> None:
    rts("db", "upgrade", "--database", f"sqlite:///{tmp_path / 'rts.sqlite'}")
    place = ("--database", "postgresql://someone:sesame@127.0.0.1:1/none", "--keyring", tmp_path / "keyring.json")

    check, upgrade = rts("check", *place), rts("db", "upgrade", *place)

    assert [check.exit_code, upgrade.exit_code] == [EXIT_CODES["unavailable"]] * 2
    assert "did not answer" in check.stderr
    assert "[database.unreachable, database]" in upgrade.stderr
    assert "sesame" not in check.output + upgrade.output


def test_a_wrong_setting_is_named(rts: Rts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTS_PORT", "many")

    result = rts("check")

    assert result.exit_code == EXIT_CODES["invalid"]
    assert "RTS_PORT" in result.stderr


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "rts.cli", "--version"], capture_output=True, text=True)

    assert (done.returncode, done.stdout.split()[0]) == (0, "rts,")
