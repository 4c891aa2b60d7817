"""A definition file as it was typed: values with their lines, taken key by key, every mistake collected.

A missing or mistyped value is reported once and replaced by a placeholder, so that reading goes on and all mistakes are
named together. Rules that need a value ask `Document.is_sound` first and so never judge a placeholder.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import TypeVar

from rts.refusal import LANGUAGES, Message, say
from rts.trial.lines import Path, lines_of
from rts.trial.texts import Text, by_language, plain

Placeholder = TypeVar("Placeholder")

_CODE = re.compile(r"[!-~](?:[ -~]{0,38}[!-~])?")
_FILE_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_TOML_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)$")
_DATE_TOKEN = re.compile(r"\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:[Zz]|[+-]\d{2}:\d{2})?)?")

# Stands in for a date that is in no calendar, so that parsing can go on; it is never taken for a real one.
_NO_SUCH_DATE = date(1, 1, 1)


@dataclass(frozen=True)
class Mistake:
    """One mistake: the file it is in, its line (from 1), key path, stable rule code, and the sentence.

    `part` is `public` or `restricted`; `severity` is `error` (the definition is refused) or `warning` (it is accepted,
    a person should look). In the restricted part neither path nor message quotes what the file says: elements are
    named by position, never by code.
    """

    part: str
    line: int
    path: str
    rule: str
    message: Message
    severity: str = "error"


class Document:
    """A parsed TOML text with its lines and the mistakes found so far."""

    def __init__(self, part: str, text: str) -> None:
        self.part = part
        self.mistakes: list[Mistake] = []
        self.values: dict[str, object] = {}
        self.lines: dict[Path, int] = {}
        self.texts: dict[Path, Text] = {}
        self._unsound: list[Path] = []
        self._tables: list[Table] = []
        self._parse(text.removeprefix("\ufeff").replace("\r\n", "\n"))

    @property
    def is_readable(self) -> bool:
        """True when the text is TOML at all."""
        return () not in self._unsound

    @property
    def root(self) -> Table:
        """The outermost table."""
        return Table(self, (), self.values)

    def report(self, path: Path, rule: str, message: Message, *, warning: bool = False) -> None:
        """Record a mistake at `path`, or at the nearest thing around it that the file holds."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        severity = "warning" if warning else "error"
        line = self.lines.get(known, 1)
        self.mistakes.append(Mistake(self.part, line, self.shown(path), rule, message, severity))
        if not warning:
            self._unsound.append(path)

    def is_sound(self, *paths: Path) -> bool:
        """True when nothing at, above or beneath any of `paths` is in error."""
        return not any(unsound[: len(path)] == path[: len(unsound)] for unsound in self._unsound for path in paths)

    def report_unknown_keys(self) -> None:
        """Report every key that no reader asked for, in every table that was read."""
        for table in self._tables:
            table.report_unknown_keys()

    def take_table(self, table: Table) -> None:
        """Remember a table, to look for unknown keys in it afterwards."""
        self._tables.append(table)

    def mark_unsound(self, path: Path) -> None:
        """Keep rules away from `path`, whose mistake has been reported already."""
        self._unsound.append(path)

    def _parse(self, text: str) -> None:
        while True:
            try:
                self.values = tomllib.loads(text)
            except (ValueError, RecursionError) as error:  # also numbers too long, brackets too deep
                position = _TOML_POSITION.search(str(error))
                line = int(position[1]) if position else text.count("\n") + 1
                token = _date_at(text, line, int(position[2])) if position else None
                if token:
                    self._report_line(line, "date.impossible", say("no such date: check day and month"))
                    text = text[: token.start()] + _NO_SUCH_DATE.isoformat() + text[token.end() :]
                    continue
                # The parser's own words quote keys, which in the restricted part are codes.
                reason = _TOML_POSITION.sub("", str(error)) if self.part == "public" else ""
                message = say("not valid TOML: %(reason)s", reason=reason) if reason else say("not valid TOML")
                self._report_line(line, "toml.syntax", message)
                self._unsound.append(())
                return
            self.lines = lines_of(text)
            return

    def _report_line(self, line: int, rule: str, message: Message) -> None:
        self.mistakes.append(Mistake(self.part, line, "", rule, message))

    def shown(self, path: Path) -> str:
        """The path as people read it: `visits[W4].day`, or `visits[2].day` (from 1) without a code or if restricted."""
        shown = ""
        value: object = self.values
        for step in path:
            if isinstance(value, list) and isinstance(step, int):
                value = value[step] if step < len(value) else None
                name = element_name(value) if self.part == "public" else None
                shown += f"[{name or step + 1}]"
            else:
                value = value.get(str(step)) if isinstance(value, dict) else None
                shown += f".{step}" if shown else str(step)
        return shown


def _date_at(text: str, line: int, column: int) -> re.Match[str] | None:
    """The token that touches a position, both from 1, and looks like a date but is in no calendar; None without one.

    The parser stops at the token's start for 2026-02-30, but after its year for 2026-13-01.
    """
    line_start = sum(len(earlier) + 1 for earlier in text.split("\n")[: line - 1])
    position = line_start + column - 1
    tokens = _DATE_TOKEN.finditer(text, line_start)
    touching = next((token for token in tokens if token.start() <= position <= token.end()), None)
    # A real date beside a slip of syntax is not the mistake; replacing it would never end.
    return touching if touching and not _is_real(touching.group()) else None


def _is_real(token: str) -> bool:
    """True when a date-like token is a date, with or without a time, of the calendar."""
    try:
        datetime.fromisoformat(token)
    except ValueError:
        return False
    return True


def element_name(value: object) -> str | None:
    """What an element of an array of tables calls itself: its `code`, `id` or `name`; None when it has none."""
    if isinstance(value, dict):
        for key in ("code", "id", "name"):
            if isinstance(value.get(key), str) and value[key]:
                return str(value[key])
    return None


class Table:
    """One table of a document. Every method takes one key and returns its value, or a placeholder after reporting it.

    A key asked for without `default` must be there.
    """

    def __init__(self, document: Document, path: Path, values: dict[str, object]) -> None:
        self.document = document
        self.path = path
        self.values = values
        self.asked: set[str] = set()
        document.take_table(self)

    def at(self, key: str) -> Path:
        """The path of `key` in this table."""
        return (*self.path, key)

    def is_sound(self, *keys: str) -> bool:
        """True when nothing at or beneath any of `keys` is in error."""
        return self.document.is_sound(*(self.at(key) for key in keys))

    def report(self, key: str, rule: str, message: Message, *, warning: bool = False) -> None:
        """Record a mistake at `key`."""
        self.document.report(self.at(key), rule, message, warning=warning)

    def text(self, key: str, default: str | None = None) -> str:
        """A non-empty text."""
        value = self._take(key, default)
        if isinstance(value, str) and (value.strip() or value == default):
            return value
        return self._wrong(key, value, say("must be a text in quotes, not empty"), "")

    def code(self, key: str = "code", *, names_a_file: bool = False) -> str:
        """A code: printable ASCII, 1 to 40 characters; with `names_a_file` only letters, digits, `-` and `_`."""
        value = self.text(key)
        if value and not _CODE.fullmatch(value):
            self.report(key, "code.form", say("must be 1 to 40 printable ASCII characters, no space at either end"))
        elif value and names_a_file and not _FILE_CODE.fullmatch(value):
            self.report(key, "code.form", say("may hold only letters, digits, - and _, at most 40"))
        return value

    def whole(self, key: str, at_least: int = 0, at_most: int | None = None, default: int | None = None) -> int:
        """A whole number within bounds."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            return self._wrong(key, value, say("must be a whole number"), at_least)
        self._check_bounds(key, value, at_least, at_most)
        return value

    def number(self, key: str, at_least: float | None = None, above: float | None = None) -> float:
        """A finite number, whole or decimal."""
        value = self._take(key, None)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return self._wrong(key, value, say("must be a number"), 0.0)
        self._check_bounds(key, value, at_least, None)
        if above is not None and value <= above:
            self.report(key, "number.bounds", say("must be more than %(least)s", least=f"{above:g}"))
        return float(value)

    def optional_number(self, key: str) -> float | None:
        """A finite number, or None when the key is absent."""
        return self.number(key) if self._is_present(key) else None

    def optional_whole(self, key: str, at_least: int = 0) -> int | None:
        """A whole number, or None when the key is absent."""
        return self.whole(key, at_least) if self._is_present(key) else None

    def flag(self, key: str) -> bool:
        """`true` or `false`."""
        value = self._take(key, None)
        return value if isinstance(value, bool) else self._wrong(key, value, say("must be true or false"), False)

    def choice(self, key: str, options: Iterable[str], default: str | None = None) -> str:
        """One of `options`."""
        known = tuple(options)
        value = self.text(key, default)
        if value and value not in known:
            shown = ", ".join(known)
            self.report(key, "choice.unknown", say("must be one of: %(options)s", options=shown))
        return value

    def day(self, key: str) -> date:
        """A calendar date."""
        return self._as_day(self.at(key), self._take(key, None))

    def optional_day(self, key: str) -> date | None:
        """A calendar date, or None when the key is absent."""
        return self.day(key) if self._is_present(key) else None

    def days(self, key: str) -> tuple[date, ...]:
        """A list of calendar dates, possibly empty."""
        return tuple(self._as_day((*self.at(key), index), value) for index, value in enumerate(self._list(key)))

    def local_time(self, key: str) -> time:
        """A time of day without zone."""
        value = self._take(key, None)
        if isinstance(value, time):
            return value
        return self._wrong(key, value, say("must be a time such as 14:00:00, without quotes"), time(0))

    def words(self, key: str, default: str | None = None) -> Text:
        """A text for people: in quotes for every language alike, or a table of wordings by language."""
        return self._as_words(self.at(key), self._take(key, default), default)

    def list_of_words(self, key: str, default: tuple[str, ...] | None = None) -> tuple[Text, ...]:
        """A list of texts for people without repetition."""
        found: list[Text] = []
        for index, value in enumerate(self._list(key, default)):
            path = (*self.at(key), index)
            text = self._as_words(path, value)
            if text and text in found:
                self.document.report(path, "code.duplicate", say("is listed twice"))
            else:
                found.append(text)
        return tuple(found)

    def words_by_name(self, key: str) -> dict[str, Text]:
        """An optional table of texts for people, by name."""
        holder = self.table(key, optional=True)
        return {name: holder.words(name) for name in holder.values}

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of non-empty texts without repetition."""
        found: list[str] = []
        for index, value in enumerate(self._list(key, default)):
            path = (*self.at(key), index)
            if not isinstance(value, str) or not value.strip():
                self.document.report(path, "type.wrong", say("must be a text in quotes, not empty"))
            elif value in found:
                self.document.report(path, "code.duplicate", say("is listed twice"))
            else:
                found.append(value)
        return tuple(found)

    def wholes(self, key: str, at_least: int, at_most: int | None = None) -> tuple[int, ...]:
        """A list of distinct whole numbers within bounds, at least one."""
        found: list[int] = []
        values = self._list(key)
        if isinstance(self.values.get(key), list) and not values:
            self.report(key, "list.empty", say("must hold at least one number"))
        for index, value in enumerate(values):
            path = (*self.at(key), index)
            if isinstance(value, bool) or not isinstance(value, int):
                self.document.report(path, "type.wrong", say("must be a whole number"))
            elif value < at_least or (at_most is not None and value > at_most):
                self._report_bounds(path, at_least, at_most)
            elif value in found:
                self.document.report(path, "code.duplicate", say("is listed twice"))
            else:
                found.append(value)
        return tuple(found)

    def table(self, key: str, *, optional: bool = False) -> Table:
        """A table; with `optional` an absent one reads as empty."""
        value = self._take(key, {} if optional else None)
        if not isinstance(value, dict):
            value = self._wrong(key, value, say("must be a table"), {})
        return Table(self.document, self.at(key), value)

    def named_tables(self, key: str) -> dict[str, Table]:
        """A table of tables, by name, at least one."""
        holder = self.table(key)
        if not holder.values and isinstance(self.values.get(key), dict):
            self.report(key, "list.empty", say("must hold at least one table"))
        return {name: holder.table(name) for name in holder.values}

    def whole_by_name(self, key: str, at_least: int = 0) -> dict[str, int]:
        """An optional table of whole numbers, by name."""
        holder = self.table(key, optional=True)
        return {name: holder.whole(name, at_least) for name in holder.values}

    def tables(self, key: str, *, optional: bool = False) -> list[Table]:
        """An array of tables, at least one unless `optional`."""
        values = self._list(key, () if optional else None)
        if isinstance(self.values.get(key), list) and not values:
            self.report(key, "list.empty", say("must hold at least one table"))
        found: list[Table] = []
        for index, value in enumerate(values):
            path = (*self.at(key), index)
            if isinstance(value, dict):
                found.append(Table(self.document, path, value))
            else:
                self.document.report(path, "type.wrong", say("must be a table"))
        return found

    def report_unknown_keys(self) -> None:
        """Report the keys nobody asked for. A restricted file's unknown key is not quoted: it may be a code."""
        for key in self.values:
            if key in self.asked:
                continue
            near = get_close_matches(key, self.asked - self.values.keys(), 1) or get_close_matches(key, self.asked, 1)
            hidden = self.document.part == "restricted"
            if near and hidden:
                message = say("holds a key that is not known here; did you mean %(near)s?", near=near[0])
            elif hidden:
                message = say("holds a key that is not known here")
            elif near:
                message = say("%(key)s is not a known key here; did you mean %(near)s?", key=key, near=near[0])
            else:
                message = say("%(key)s is not a known key here", key=key)
            line = self.document.lines.get(self.at(key), 1)
            shown = self.document.shown(self.path if hidden else self.at(key))
            self.document.mistakes.append(Mistake(self.document.part, line, shown, "key.unknown", message))

    def _is_present(self, key: str) -> bool:
        self.asked.add(key)
        return key in self.values

    def _take(self, key: str, default: object) -> object:
        if self._is_present(key):
            return self.values[key]
        if default is None:
            self.report(key, "key.missing", say("%(key)s is missing", key=key))
        return default

    def _list(self, key: str, default: tuple[str, ...] | None = None) -> list[object]:
        value = self._take(key, list(default) if default is not None else None)
        return value if isinstance(value, list) else self._wrong(key, value, say("must be a list in [ ]"), [])

    def _as_words(self, path: Path, value: object, default: str | None = None) -> Text:
        if isinstance(value, str) and (value.strip() or value == default):
            text = plain(value)
        elif isinstance(value, dict) and value:
            text = by_language({str(language): self._wording(path, language, value[language]) for language in value})
        else:
            if value is not None:
                message = say("must be a text in quotes, not empty, or a table of them by language")
                self.document.report(path, "type.wrong", message)
            return plain("")
        self.document.texts[path] = text
        return text

    def _wording(self, path: Path, language: str, value: object) -> str:
        if language not in LANGUAGES:
            message = say("no such language; known are: %(known)s", known=", ".join(LANGUAGES))
            self.document.report((*path, language), "language.unknown", message)
        if isinstance(value, str) and value.strip():
            return value
        self.document.report((*path, language), "type.wrong", say("must be a text in quotes, not empty"))
        return ""

    def _as_day(self, path: Path, value: object) -> date:
        if isinstance(value, date) and not isinstance(value, datetime):
            if value == _NO_SUCH_DATE:
                self.document.mark_unsound(path)
            return value
        if value is not None:
            self.document.report(path, "type.wrong", say("must be a date such as 2026-01-31, without quotes"))
        return _NO_SUCH_DATE

    def _check_bounds(self, key: str, value: float, at_least: float | None, at_most: float | None) -> None:
        if (at_least is not None and value < at_least) or (at_most is not None and value > at_most):
            self._report_bounds(self.at(key), at_least, at_most)

    def _report_bounds(self, path: Path, at_least: float | None, at_most: float | None) -> None:
        if at_most is None:
            self.document.report(path, "number.bounds", say("must be at least %(least)s", least=f"{at_least:g}"))
        else:
            message = say("must be from %(least)s to %(most)s", least=f"{at_least:g}", most=f"{at_most:g}")
            self.document.report(path, "number.bounds", message)

    def _wrong(self, key: str, value: object, message: Message, placeholder: Placeholder) -> Placeholder:
        if value is not None:
            self.report(key, "type.wrong", message)
        return placeholder
