"""`rts keys` as people use it: an own key from its making to an opened list, rotation, retirement, a key service."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Rts
from tests.infrastructure.openbao import ROOT_TOKEN, OpenBao
from tests.world import PASSWORD, World

Options = tuple[object, ...]
PASSPHRASE = "a horse that no battery staples"


@pytest.fixture
def options(world: World) -> Options:
    """The options that name the staged world's installation."""
    address = world.store.engine.url.render_as_string(hide_password=False)
    return "--database", address, "--keyring", world.store.vault.keyring.path, "--lists", world.store.lists


@pytest.fixture
def passphrase_file(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\n", "utf-8")
    return path


@pytest.mark.requirement("UNBL-06")
def test_a_statistician_makes_a_key_registers_it_and_opens_a_list_where_there_is_no_server(
    rts: Rts,
    ready: Options,
    password_file: Path,
    passphrase_file: Path,
    tmp_path: Path,
) -> None:
    made = rts("keys", "person", "new", "my.key", "--passphrase-file", passphrase_file)
    fingerprint = made.stdout.splitlines()[2].removeprefix("fingerprint").strip()
    signed = ("--as", "statistician.one", "--password-file", password_file, *ready)
    registered = rts("keys", "person", "register", "my.public.pem", *signed)
    approved_document = ("--known-to", "the unblinded statisticians", "--document", "plan 1.0")
    specified = rts("list", "specify", "SIRIUS", "SIRIUS-R1", *approved_document, *signed)
    generated = rts("list", "generate", "SIRIUS", "SIRIUS-R1", *signed)
    codes = [result.exit_code for result in (made, registered, specified, generated)]
    assert codes == [0, 0, 0, 0], registered.output + specified.output + generated.output
    assert registered.stdout == f"Registered as key 1 of statistician.one. Compare: {fingerprint}\n"
    assert re.fullmatch(r"([0-9a-f]{4} ){15}[0-9a-f]{4}", fingerprint)
    assert rts("keys", "person", "fingerprint", "my.public.pem").stdout == f"{fingerprint}\n"

    # Another computer: the list, its keys file and one's own key; neither keyring nor database.
    sealed = next((tmp_path / "lists").rglob("SIRIUS-R1.rtslist"))
    away = tmp_path / "away"
    away.mkdir()
    for file in (sealed, sealed.with_suffix(".keys"), tmp_path / "my.key"):
        (away / file.name).write_bytes(file.read_bytes())
    with_key = ("--key", "my.key", "--passphrase-file", passphrase_file)
    whole = _alone(away, "list", "open", "SIRIUS-R1.rtslist", "--all", *with_key)
    rows = [line.split(",") for line in whole.stdout.splitlines()[1:]]
    number, arm, treatment = rows[0][2:]
    one = _alone(away, "list", "open", "SIRIUS-R1.rtslist", "--number", number.lower(), *with_key)
    assert (whole.returncode, one.returncode) == (0, 0), whole.stderr + one.stderr
    assert len(rows) == 592
    assert one.stdout == f"{number}: {arm}, {treatment}\n"
    assert "Report it now" in one.stderr

    shown = rts("list", "inspect", sealed, "--json")
    assert json.loads(shown.stdout)["recipients"][1] == "person statistician.one"


def _alone(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with no settings and no installation near."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RTS_")}
    return subprocess.run(
        [sys.executable, "-m", "rts.cli", *map(str, arguments)],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_private_half_is_for_its_owner_alone_and_locked_by_the_passphrase(
    rts: Rts, passphrase_file: Path, tmp_path: Path
) -> None:
    made = rts("keys", "person", "new", "my.key", input=f"{PASSPHRASE}\n{PASSPHRASE}\n")

    private, public = tmp_path / "my.key", tmp_path / "my.public.pem"
    assert made.exit_code == 0
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private.read_text().startswith("-----BEGIN RTS PERSON KEY 1-----\n")
    assert public.read_text().startswith("-----BEGIN PUBLIC KEY-----\n")
    assert PASSPHRASE not in made.output
    assert not [line for line in private.read_text().split("\n")[1:-2] if line in made.output]


@pytest.mark.parametrize(
    ("typed", "code"), [(f"{PASSPHRASE}\nanother sentence\n", 130), ("short\nshort\n", 3)], ids=["twice", "short"]
)
def test_a_passphrase_mistyped_or_short_makes_no_key(rts: Rts, tmp_path: Path, typed: str, code: int) -> None:
    assert rts("keys", "person", "new", "my.key", input=typed).exit_code == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("exists", ["my.key", "my.public.pem"])
def test_a_key_is_never_written_over_another(rts: Rts, passphrase_file: Path, tmp_path: Path, exists: str) -> None:
    (tmp_path / exists).write_text("kept")

    refused = rts("keys", "person", "new", "my.key", "--passphrase-file", passphrase_file)

    assert (refused.exit_code, "[file.exists]" in refused.stderr) == (5, True)
    assert {path.name for path in tmp_path.iterdir()} == {"passphrase", exists}
    assert (tmp_path / exists).read_text() == "kept"


def test_the_passphrase_is_no_argument(rts: Rts) -> None:
    assert "--passphrase " not in rts("keys", "person", "new", "--help").output


def test_a_wrong_passphrase_opens_nothing(rts: Rts, world: World, passphrase_file: Path, tmp_path: Path) -> None:
    rts("keys", "person", "new", "my.key", "--passphrase-file", passphrase_file)
    sealed = world.store.lists / "SIRIUS" / "SIRIUS-R1.rtslist"

    wrong = rts("list", "open", sealed, "--key", "my.key", "--all", input="not the passphrase\n")
    stranger = rts("list", "open", sealed, "--key", "my.key", "--all", "--passphrase-file", passphrase_file)

    assert (wrong.exit_code, wrong.stdout) == (8, "")
    assert (stranger.exit_code, stranger.stdout) == (9, "")
    assert "[keys_file.recipient]" in stranger.stderr


def test_a_key_is_listed_replaced_and_retired(
    rts: Rts, world: World, options: Options, passphrase_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    signed = ("--as", "statistician.one", "--password-file", tmp_path / "password", *options)
    for name in ("one", "two"):
        rts("keys", "person", "new", f"{name}.key", "--passphrase-file", passphrase_file)
        assert rts("keys", "person", "register", f"{name}.public.pem", *signed).exit_code == 0
    again = rts("keys", "person", "register", "two.public.pem", *signed)
    private = rts("keys", "person", "register", "two.key", *signed)
    retired = rts("keys", "person", "retire", "statistician.one", "--reason", "left", *options)
    gone = rts("keys", "person", "retire", "statistician.one", "--reason", "left", *options)

    assert (again.exit_code, private.exit_code, retired.exit_code, gone.exit_code) == (5, 3, 0, 6)
    assert "belongs on your own computer" in private.stderr
    assert retired.stdout == "Key 2 of statistician.one is retired.\n"
    rows = json.loads(rts("keys", "person", "list", "--json", *options).stdout)
    assert [(row["person"], row["version"], bool(row["retired_at"])) for row in rows] == [
        ("statistician.one", 1, True),
        ("statistician.one", 2, True),
    ]
    shown = rts("keys", "person", "list", *options).stdout
    assert shown.count("\n") == 2
    assert "key 1   retired" in shown


def test_root_keys_are_rotated_in_two_steps_listed_and_retired(rts: Rts, world: World, options: Options) -> None:
    added = rts("keys", "rotate", "--add-only", *options)
    between = rts("keys", "list", *options)
    rotated = rts("keys", "rotate", *options)
    early = rts("keys", "retire", "2", *options)
    retired = rts("keys", "retire", "1", *options)
    after = json.loads(rts("keys", "list", "--json", *options).stdout)

    assert [result.exit_code for result in (added, between, rotated, early, retired)] == [0, 0, 0, 5, 0]
    assert added.stdout == "Root key 2 was added.\n"
    assert f"Copy the keyring {world.store.vault.keyring.path.resolve()} now" in added.stderr
    assert "root key   1   older    wraps 4 data keys and 3 keys files" in between.stdout
    assert "root key   2   newest   wraps 0 data keys and 0 keys files" in between.stdout
    assert "run rts keys rotate" in between.stderr
    assert rotated.stdout == ("Root key 2 wraps everything now: 4 data keys and 3 keys files were wrapped anew.\n")
    assert "no further root key was made" in rotated.stderr
    assert after["root_keys"] == [
        {"version": 1, "state": "retired", "data_keys": 0, "keys_files": 0},
        {"version": 2, "state": "newest", "data_keys": 4, "keys_files": 3},
    ]
    assert (after["rotation_under_way"], after["current_audit_key"]) == (False, 1)
    assert rts("check", *options).stdout == "clean\n"


def test_an_export_is_verified_across_a_change_of_the_audit_key(
    rts: Rts, world: World, options: Options, tmp_path: Path
) -> None:
    def signed_and_exported(name: str) -> tuple[object, ...]:
        rts("audit", "export", "--out", f"{name}.jsonl", *options)
        rts("audit", "checkpoint", "--out", f"{name}.txt", *options)
        return "audit", "verify", f"{name}.jsonl", "--checkpoint", f"{name}.txt", "--public-key"

    verify_before = signed_and_exported("before")
    rotated = rts("keys", "rotate-audit", *options)
    verify_after = signed_and_exported("after")
    rts("audit", "key", "--out", "new.pem", *options)
    rts("audit", "key", "--version", "1", "--out", "old.pem", *options)
    unknown = rts("audit", "key", "--version", "3", *options)

    assert rotated.stdout.startswith("Audit key 2 signs from now on.")
    assert [rts(*verify_before, key).exit_code for key in ("old.pem", "new.pem")] == [0, 1]
    assert [rts(*verify_after, key).exit_code for key in ("old.pem", "new.pem")] == [1, 0]
    # Whoever trusts the old key finds the new one in the trail that the old one signed for.
    named = [json.loads(line) for line in (tmp_path / "after.jsonl").read_text().splitlines()]
    added = next(event for event in named if event.get("action") == "audit_key.added")
    assert added["detail"]["public_key"] == (tmp_path / "new.pem").read_text()
    assert unknown.exit_code == 6
    assert rts("check", *options).stdout == "clean\n"


# --- with a key service ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    server = OpenBao(tmp_path_factory.mktemp("openbao")).start()
    yield server
    server.stop()


@pytest.fixture
def with_service(rts: Rts, bao: OpenBao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The settings of an installation whose root keys are in the key service; returns the token's file."""
    token_file = bao.transit().token_file
    monkeypatch.setenv("RTS_HOME", str(tmp_path / "home"))
    for name, value in {
        "RTS_KEYS": "transit",
        "RTS_TRANSIT_ADDRESS": bao.address,
        "RTS_TRANSIT_TOKEN_FILE": str(token_file),
    }.items():
        monkeypatch.setenv(name, value)
    return token_file


def test_an_installation_begins_with_its_root_keys_in_a_key_service(
    rts: Rts, with_service: Path, bao: OpenBao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = rts("db", "upgrade", "--environment", "training")
    loaded = rts("trial", "load", "sirius", "--from", "2026-01-01")
    may_not = rts("keys", "rotate")
    operator = tmp_path / "operator-token"
    operator.write_text(ROOT_TOKEN)
    operator.chmod(0o600)
    monkeypatch.setenv("RTS_TRANSIT_TOKEN_FILE", str(operator))
    rotated = rts("keys", "rotate")

    assert (first.exit_code, loaded.exit_code, may_not.exit_code, rotated.exit_code) == (0, 0, 9, 0), rotated.stderr
    assert "the use of the key service can read every allocation" in first.stderr
    assert "[transit.denied]" in may_not.stderr
    assert rotated.stdout == "Root key 2 wraps everything now: 1 data keys and 0 keys files were wrapped anew.\n"
    assert rts("check").stdout == "clean\n"
    token = with_service.read_text().strip()
    for result in (first, loaded, may_not, rotated):
        assert token not in result.output
        assert ROOT_TOKEN not in result.output
    monkeypatch.setenv("RTS_KEYS", "file")
    other = rts("check")
    assert (other.exit_code, "set RTS_KEYS=transit" in other.stderr) == (9, True)


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("RTS_TRANSIT_ADDRESS", "http://bao.example.org:8200", "transit.address"),
        ("RTS_TRANSIT_ADDRESS", "", "transit.address"),
        ("RTS_TRANSIT_TOKEN_FILE", None, "transit.token"),
        ("RTS_KEYS", "kms", "settings.value"),
    ],
)
def test_wrong_settings_of_a_key_service_are_named_and_nothing_is_made(
    rts: Rts,
    with_service: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
    value: str | None,
    rule: str,
) -> None:
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)

    refused = rts("db", "upgrade")

    assert refused.exit_code == 3
    assert f"[{rule}" in refused.stderr
    assert variable in refused.stderr
    assert not list(tmp_path.rglob("keyring.json"))
