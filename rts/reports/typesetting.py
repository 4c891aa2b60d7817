"""Documents as data, and as PDF/A-2b (ISO 19005-2) and PDF/UA-1 (ISO 14289-1) set by Typst.

Equal documents give equal bytes: nothing is taken from the machine, neither fonts nor time nor files. What people wrote
reaches the typesetter as JSON data and is never read as markup.
"""

from __future__ import annotations

import json
import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import typst

from rts.refusal import Message
from rts.translating import in_language
from rts.trial.secrecy import NeverPrinted
from rts.trial.texts import Text

_HERE = Path(__file__).parent
_TEMPLATE = _HERE / "document.typ"
_FONTS = _HERE / "fonts"
# Digests and codes are set with the third, which has printable ASCII alone.
_FONTS_OF_WORDS = ("NotoSans-Regular.ttf", "NotoSansCJKsc-Regular.otf")


@dataclass(frozen=True)
class Code:
    """A digest or code: set in a fixed width, never translated."""

    text: str


# Sentences are said in the document's language; anything else is set as it is.
Words = str | Message | Text | Code


@dataclass(frozen=True, repr=False)
class Paragraph(NeverPrinted):
    """A paragraph of prose."""

    words: Words


@dataclass(frozen=True, repr=False)
class Facts(NeverPrinted):
    """Names and values, one a line."""

    rows: tuple[tuple[Words, Words], ...]


@dataclass(frozen=True, repr=False)
class Table(NeverPrinted):
    """A table with its head; `figures` are the columns (from 0) that are aligned to the right."""

    head: tuple[Words, ...]
    rows: tuple[tuple[Words, ...], ...]
    figures: tuple[int, ...] = ()


@dataclass(frozen=True, repr=False)
class Plot(NeverPrinted):
    """A value after each of the entries 1, 2 … n as steps, in a panel with a title; `words` say it to whoever cannot
    see it.
    """

    title: Words
    values: tuple[float, ...]
    words: Words


@dataclass(frozen=True, repr=False)
class Plots(NeverPrinted):
    """Panels side by side, all with the scale from `low` to `high`."""

    panels: tuple[Plot, ...]
    low: float
    high: float


@dataclass(frozen=True, repr=False)
class Section(NeverPrinted):
    """A headed part of a document."""

    title: Words
    blocks: tuple[Paragraph | Facts | Table | Plots, ...]


@dataclass(frozen=True, repr=False)
class Document(NeverPrinted):
    """What a PDF says. `at` (UTC) is the date of the document, that of the latest record in it; `marks` stand at the
    head of every page: who may read it, and what installation it is of when that is not production.
    """

    title: Message
    subtitle: str | Text
    language: str
    at: datetime
    marks: tuple[Message, ...]
    sections: tuple[Section, ...]


def typeset(document: Document) -> bytes:
    """The document as a PDF."""
    return typst.compile(
        _TEMPLATE,
        font_paths=_fonts(),
        ignore_system_fonts=True,
        sys_inputs={"document": json.dumps(_as_data(document), ensure_ascii=False)},
        format="pdf",
        pdf_standards=["a-2b", "ua-1"],
        timestamp=document.at,
    )


def utc(moment: datetime) -> str:
    """A moment as documents write it, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[_FONTS])


def _as_data(document: Document) -> dict[str, Any]:
    def said(words: Words) -> Any:
        if isinstance(words, Code):
            return {"code": _settable(words.text, frozenset(range(0x20, 0x7F)))}
        text = in_language(words, document.language) if isinstance(words, (Message, Text)) else words
        return _settable(text, _covered())

    def block(found: Paragraph | Facts | Table | Plots) -> dict[str, Any]:
        match found:
            case Paragraph(words):
                return {"kind": "paragraph", "words": said(words)}
            case Facts(rows):
                return {"kind": "facts", "rows": [[said(name), said(value)] for name, value in rows]}
            case Table(head, rows, figures):
                cells = [[said(cell) for cell in row] for row in rows]
                return {"kind": "table", "head": [said(cell) for cell in head], "rows": cells, "figures": figures}
            case Plots(panels, low, high):
                shown = [
                    {
                        "title": said(panel.title),
                        "alt": said(panel.words),
                        "points": _steps(panel.values, low, high),
                        "last": len(panel.values),
                    }
                    for panel in panels
                ]
                zero = _share(0, low, high) if low <= 0 <= high else None
                return {"kind": "plots", "panels": shown, "low": f"{low:g}", "high": f"{high:g}", "zero": zero}

    at = document.at.astimezone(UTC)
    return {
        "title": said(document.title),
        "subtitle": said(document.subtitle),
        "language": "zh" if document.language == "zh_Hans" else "en",
        "at": [at.year, at.month, at.day, at.hour, at.minute, at.second],
        "marks": [said(mark) for mark in document.marks],
        "sections": [
            {"title": said(section.title), "blocks": [block(found) for found in section.blocks]}
            for section in document.sections
        ],
    }


# More points than this lie nearer together than a printer's dots.
_POINTS = 600


def _steps(values: tuple[float, ...], low: float, high: float) -> list[tuple[float, float]]:
    """The corners of the steps, across and up as shares of the panel, beginning with none. Of more values than there is
    room for, neighbours are drawn together as the least and the greatest of them.
    """
    taken = -(-len(values) // _POINTS)
    at, points = (0.0, _share(0, low, high)), []
    points.append(at)
    for start in range(0, len(values), taken):
        together = values[start : start + taken]
        across = (start + len(together)) / len(values)
        for value in (min(together), max(together), together[-1])[: 3 if taken > 1 else 1]:
            points += [(across, at[1]), (across, _share(value, low, high))]
            at = points[-1]
    return points


def _share(value: float, low: float, high: float) -> float:
    return round((value - low) / (high - low), 5)


def _settable(text: str, covered: frozenset[int]) -> str:
    """`text` with its accents composed; what no font has, and what would be invisible or turn the text around, as its
    code point: an empty box would hide what somebody signed.
    """
    composed = unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
    return "".join(one if one == "\n" or _is_shown(one, covered) else f"[U+{ord(one):04X}]" for one in composed)


def _is_shown(one: str, covered: frozenset[int]) -> bool:
    return ord(one) in covered and not unicodedata.category(one).startswith("C")


@cache
def _covered() -> frozenset[int]:
    """The code points that the fonts of words have."""
    return frozenset(code for name in _FONTS_OF_WORDS for code in _code_points((_FONTS / name).read_bytes()))


def _code_points(font: bytes) -> Iterator[int]:
    """The code points of an OpenType font, from its character map: format 12 when it has one, else format 4
    (OpenType 1.9, `cmap`).
    """
    tables = struct.unpack_from(">H", font, 4)[0]
    records = (struct.unpack_from(">4s3I", font, 12 + 16 * index) for index in range(tables))
    start = next(offset for tag, _, offset, _ in records if tag == b"cmap")
    count = struct.unpack_from(">H", font, start + 2)[0]
    offsets = {struct.unpack_from(">I", font, start + 8 + 8 * index)[0] + start for index in range(count)}
    maps = {struct.unpack_from(">H", font, at)[0]: at for at in offsets}
    if 12 in maps:
        (groups,) = struct.unpack_from(">I", font, maps[12] + 12)
        for first, last, _ in struct.iter_unpack(">3I", font[maps[12] + 16 : maps[12] + 16 + 12 * groups]):
            yield from range(first, last + 1)
        return
    at = maps[4]
    segments = struct.unpack_from(">H", font, at + 6)[0] // 2
    lasts = struct.unpack_from(f">{segments}H", font, at + 14)
    firsts = struct.unpack_from(f">{segments}H", font, at + 16 + 2 * segments)
    for first, last in zip(firsts[:-1], lasts[:-1], strict=True):  # the last segment is the map's end mark
        yield from range(first, last + 1)
