"""What the pages point to exists: files, headings, commands and options, make targets, tests."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from rts.cli import main

ROOT = Path(__file__).parents[2]
PAGES = {
    str(page.relative_to(ROOT)): page.read_text("utf-8")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}


def links(text: str) -> list[str]:
    """The targets of links and images, without those on the web."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as they are made from the words."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def words_of_code(text: str) -> list[list[str]]:
    """Every command line in code, as words: indented or fenced blocks, with continued lines joined, and code in a
    sentence.
    """
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    is_fenced = False
    found = []
    for line in lines:
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            found.append(line)
        else:
            found += re.findall(r"`([^`]+)`", line)
    return [shlex.split(line, comments=True) for line in found if re.search(r"(^|[\s/])(rts|make) ", line)]


def rts_commands(text: str) -> list[list[str]]:
    """Every use of `rts`, from the first word after it up to the end of that command. Before it stand settings only:
    `rts` is also the name of a user, a database and an image.
    """
    found = []
    for words in words_of_code(text):
        command: list[str] = []
        for word in [*words, ";"]:
            if word in {"&&", "|", ";", ">"}:
                if command and (command[0] == "rts" or command[0].endswith("/bin/rts")):
                    found.append(command[1:])
                command = []
            elif command or "=" not in word:
                command.append(word)
    return found


@pytest.mark.parametrize("name", PAGES)
def test_every_link_and_image_of_a_page_leads_somewhere(name: str) -> None:
    page = ROOT / name
    for target in links(PAGES[name]):
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{name} links to {target}, which does not exist"
        assert linked.is_relative_to(ROOT), f"{name} links out of the repository: {target}"
        if anchor:
            assert anchor in anchors(linked.read_text("utf-8")), (
                f"{name} links to {target}, a heading that is not there"
            )


def test_every_page_of_the_folder_is_linked_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in links(index.read_text("utf-8"))}

    assert {ROOT / name for name in PAGES if name.startswith("docs/")} - {index} == {
        page for page in linked if page.suffix == ".md" and page.name != "README.md"
    }


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_a_page_exists_with_its_options(name: str) -> None:
    for words in rts_commands(PAGES[name]):
        command: click.Command = main
        rest = list(words)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            step = command.commands.get(rest[0])
            # In a table of what several commands share, COMMAND stands for any of them.
            if step is None and rest[0] == "COMMAND":
                break
            assert step is not None, f"{name}: there is no command rts {' '.join(words)}"
            command, rest = step, rest[1:]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
        unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
        assert not unknown, f"{name}: rts {' '.join(words)} has no {', '.join(unknown)}"


def test_every_command_stands_in_the_manual() -> None:
    def leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        if isinstance(command, click.Group):
            return [leaf for name, inner in command.commands.items() for leaf in leaves(inner, (*path, name))]
        return [path]

    told = rts_commands(PAGES["docs/commands.md"])

    assert [path for path in leaves(main) if not any(tuple(words[: len(path)]) == path for words in told)] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_of_a_page_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):(?!=)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    for words in words_of_code(PAGES[name]):
        if "make" in words:
            named = [word for word in words[words.index("make") + 1 :] if re.fullmatch("[a-z]+", word)]
            assert set(named) <= targets, f"{name}: make {' '.join(named)}"


@pytest.mark.parametrize("name", PAGES)
def test_every_path_of_the_repository_that_a_page_names_exists(name: str) -> None:
    named = re.findall(r"`((?:rts|tests|templates|docs|\.ci)/[\w./-]*[a-z_/])`", PAGES[name])

    assert [path for path in named if not (ROOT / path).exists()] == []
