"""What is installed is what was reviewed: pins with hashes, and a wheel that carries the service's data files."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import rts

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIREMENTS = ["requirements.txt", "requirements-dev.txt", "requirements-build.txt"]


def pins(file: str) -> dict[str, str]:
    """Package and version of every pin in `file`."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;]+)", (ROOT / file).read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize("file", REQUIREMENTS)
def test_every_pin_has_the_hash_of_its_files(file: str) -> None:
    entries = re.sub(r"\\\n\s*", "", (ROOT / file).read_text())
    lines = [line for line in entries.splitlines() if line and not line.lstrip().startswith("#")]
    assert len(lines) == len(pins(file)) > 0
    assert [line for line in lines if not re.search(r" --hash=sha256:[0-9a-f]{64}\b", line)] == []


@pytest.mark.parametrize("file", REQUIREMENTS)
def test_no_pin_says_where_to_fetch_it(file: str) -> None:
    assert re.findall(r"://|--(?:\w+-)*(?:index-url|find-links|trusted-host)|@ ", (ROOT / file).read_text()) == []


@pytest.mark.parametrize(
    ("file", "asked"),
    [
        ("requirements.txt", PROJECT["project"]["dependencies"]),
        (
            "requirements-dev.txt",
            PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"],
        ),
        ("requirements-build.txt", PROJECT["build-system"]["requires"]),
    ],
    ids=REQUIREMENTS,
)
def test_the_pins_are_those_the_project_asks_for(file: str, asked: list[str]) -> None:
    pinned = pins(file)
    unmet = [
        requirement
        for requirement in map(Requirement, asked)
        if pinned.get(canonicalize_name(requirement.name)) not in requirement.specifier
    ]
    assert unmet == []


def test_what_runs_is_what_was_tested() -> None:
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()


def test_every_pin_can_be_installed_on_debian_12() -> None:
    too_new = {
        name: needed
        for name in pins("requirements-dev.txt")
        if (needed := metadata(name)["Requires-Python"]) and "3.11.2" not in SpecifierSet(needed)
    }
    assert too_new == {}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (file,) = folder.glob("*.whl")
    return zipfile.Path(file)


def test_the_wheel_carries_every_file_of_the_service(wheel: zipfile.Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "rts", "templates"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    expected = [re.sub(r"^templates/", "rts/templates/", name) for name in tracked]
    assert len(expected) > 20
    assert [name for name in expected if not (wheel / name).is_file()] == []


def test_the_wheel_carries_nothing_else(wheel: zipfile.Path) -> None:
    assert {entry.name for entry in wheel.iterdir()} == {"rts", f"rts-{rts.__version__}.dist-info"}


def test_the_wheel_brings_the_command(wheel: zipfile.Path) -> None:
    entry_points = (wheel / f"rts-{rts.__version__}.dist-info" / "entry_points.txt").read_text()
    assert entry_points.split() == ["[console_scripts]", "rts", "=", "rts.cli:main"]
