"""What can be known of the container image without building it."""

import fnmatch
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from rts.settings import Settings

ROOT = Path(__file__).parents[2]


def instructions(name: str) -> list[str]:
    """The arguments of every instruction called `name`, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    return [line.removeprefix(name).strip() for line in text.splitlines() if line.startswith(f"{name} ")]


def copied_from_the_checkout() -> list[str]:
    return [source for copy in instructions("COPY") if not copy.startswith("--from") for source in copy.split()[:-1]]


def test_everything_it_copies_is_in_the_checkout() -> None:
    assert copied_from_the_checkout() == [
        "requirements.txt",
        "requirements-build.txt",
        "pyproject.toml",
        "rts",
        "templates",
    ]
    assert [source for source in copied_from_the_checkout() if not (ROOT / source).exists()] == []


def test_its_build_is_handed_what_it_copies_and_nothing_else() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == set(copied_from_the_checkout())
    assert any(fnmatch.fnmatch("rts/trial/__pycache__", rule) for rule in rules if rule.startswith("**/"))


def test_it_runs_as_an_account_without_rights() -> None:
    assert instructions("USER") == ["10001"]
    assert "--uid 10001" in instructions("RUN")[-1]


def test_the_service_in_it_is_reached_from_outside_and_keeps_everything_on_the_volume(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for setting in instructions("ENV")[0].split():
        name, value = setting.split("=")
        if name.startswith("RTS_"):
            monkeypatch.setenv(name, value)

    settings = Settings()

    (volume,) = instructions("VOLUME")
    assert settings.host == "0.0.0.0"  # noqa: S104 a loopback address in a container is reached by nobody
    assert str(settings.port) == instructions("EXPOSE")[0]
    assert settings.database_address == f"sqlite:///{volume}/rts.sqlite"
    assert settings.keyring_path == Path(volume, "keyring.json")
    assert settings.lists_path == Path(volume, "allocation_lists")


def test_only_packages_with_known_hashes_are_installed() -> None:
    installs = [part for run in instructions("RUN") for part in run.split("&&") if "pip install" in part]
    assert len(installs) == 3
    assert all("--require-hashes" in install or "--no-index" in install for install in installs)


def test_its_command_is_one_that_rts_knows() -> None:
    from rts.cli import main

    program, command, *options = json.loads(instructions("CMD")[-1])

    assert program == "rts"
    main.commands[command].make_context(command, options).close()


@pytest.mark.parametrize(("status", "is_healthy"), [(200, True), (503, False)])
def test_its_health_check_tells_a_healthy_service_from_a_sick_one(status: int, is_healthy: bool) -> None:
    program, flag, source = json.loads(instructions("HEALTHCHECK")[0].split("CMD")[1])
    assert (program, flag) == ("python", "-c")
    asked = []

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        here = source.replace(f":{instructions('EXPOSE')[0]}/", f":{server.server_port}/")
        try:
            exec(here)  # noqa: S102 the very text the image runs
            was_healthy = True
        except OSError:
            was_healthy = False
        answering.join()

    assert asked == ["/health"]
    assert was_healthy is is_healthy
