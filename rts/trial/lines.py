"""Which line each key of a TOML text stands on.

`tomllib` gives values without positions, so a mistake found after parsing could not say where it is. No kept
library offers both, hence this small scanner. It reads only text that `tomllib` has accepted, so it follows
the structure (headers, keys, arrays, inline tables, strings, comments) and judges nothing.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?!")' r"|'''.*?'''(?!')" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_KEY = re.compile(r'"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'" r"|[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> dict[Path, int]:
    """The line (from 1) of every key, table and array element of a valid TOML `text`, by path.

    A path holds keys and, for array elements, indexes from 0. A table named by several headers has the line of its
    first mention. Raises nothing for text that `tomllib` accepts; other text is the caller's error.
    """
    return _Scanner(text).lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line_starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self.lines: dict[Path, int] = {}
        self.elements: dict[Path, int] = {}
        table: Path = ()
        while self._skip_blank() < len(text):
            if text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        """Read `[a.b]` or `[[a.b]]` and return the path of the table it opens."""
        start = self.at
        is_element = self.text.startswith("[[", self.at)
        self.at += 2 if is_element else 1
        keys = self._dotted_key()
        self.at += 2 if is_element else 1
        path: Path = ()
        for depth, key in enumerate(keys, start=1):
            path = self._note((*path, key), start)
            if is_element and depth == len(keys):
                self.elements[path] = self.elements.get(path, 0) + 1
            if path in self.elements:
                path = self._note((*path, self.elements[path] - 1), start)
        return path

    def _pair(self, table: Path) -> None:
        """Read `key = value` inside `table`."""
        start = self.at
        path = table
        for key in self._dotted_key():
            path = self._note((*path, key), start)
        self.at += 1
        self._skip_blank()
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self.text[self.at]
        string = _STRING.match(self.text, self.at)
        if string:
            self.at = string.end()
        elif opening in "[{":
            self.at += 1
            index = 0
            while self.text[self._skip_blank()] not in "]}":
                if opening == "[":
                    self._value(self._note((*path, index), self.at))
                    index += 1
                else:
                    self._pair(path)
                if self.text[self._skip_blank()] == ",":
                    self.at += 1
            self.at += 1
        else:
            bare = _BARE_VALUE.match(self.text, self.at)
            self.at = bare.end() if bare else self.at

    def _dotted_key(self) -> list[str]:
        """Read a key with its dots, up to the `=` or `]` behind it."""
        keys: list[str] = []
        while True:
            self._skip_blank()
            found = _KEY.match(self.text, self.at)
            if found is None:
                return keys
            self.at = found.end()
            keys.append(next(iter(tomllib.loads(f"{found.group()} = 0"))))
            if self.text[self._skip_blank()] != ".":
                return keys
            self.at += 1

    def _skip_blank(self) -> int:
        blank = _BLANK.match(self.text, self.at)
        self.at = blank.end() if blank else self.at
        return self.at

    def _note(self, path: Path, position: int) -> Path:
        self.lines.setdefault(path, bisect_right(self.line_starts, position))
        return path
