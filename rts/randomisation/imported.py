"""Scheme `rts/imported/1`: a list that a statistician made elsewhere, read from a CSV file.

The file has a header line and the four columns stratum, position, number and arm, in this order, separated by commas:
what PROC EXPORT of SAS and `write.csv(…, row.names = FALSE)` of R write. Lines end in LF or CRLF; cells may be quoted;
a byte order mark at the very beginning is passed over, since spreadsheets and SAS write one. Everything else has to be
printable ASCII.

Rows may stand in any order: their positions say which entry they are, so a file that was sorted, filtered or cut on its
way is found out. Numbers are taken as given: the list's prefix and 1 to 11 digits. Whoever hands the file over says
whether the last two are ISO 7064 MOD 97-10 check digits as on numbers made here; if so, all have to be right.

A refusal names line and column and repeats no cell, because a line tells an arm.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from rts.randomisation.inputs import check_codes, check_entry_count, check_prefix, check_seed, check_strata
from rts.randomisation.numbers import draw_salts, has_valid_check_digits
from rts.randomisation.streams import ListStreams
from rts.randomisation.subject_list import SubjectList
from rts.refusal import FailedRule, Message, refuse, refuse_all, say
from rts.trial.secrecy import NeverPrinted

SCHEME = "rts/imported/1"
COLUMNS = ("stratum", "position", "number", "arm")

MOST_MISTAKES_TOLD = 100
"""A file that is wrong throughout is told by its first lines."""

_BYTE_ORDER_MARK = "\ufeff"
_FORMULA_SIGNS = ("=", "+", "-", "@")
_POSITION = re.compile(r"[1-9][0-9]{0,7}")
_DIGITS = re.compile(r"[0-9]{1,11}")


@dataclass(frozen=True, slots=True, repr=False)
class ImportedListInputs(NeverPrinted):
    """What an imported list is checked against, and the fresh seed of its salts.

    `seed` is 32 bytes; `strata` and `arms` are codes in definition order; `has_check_digits` says whether the numbers
    end in check digits. Raises Refusal (`invalid`) that names every field and rule that fails.
    """

    seed: bytes
    list_id: str
    prefix: str
    strata: tuple[str, ...]
    arms: tuple[str, ...]
    has_check_digits: bool

    def __post_init__(self) -> None:
        refuse_all("invalid", self._failed_rules())

    def _failed_rules(self) -> Iterator[FailedRule]:
        yield from check_seed(self.seed)
        yield from check_codes("list_id", (self.list_id,))
        yield from check_prefix(self.prefix)
        yield from check_strata(self.strata)
        if len(self.arms) < 2:
            yield FailedRule("list.arms.count", say("arms must name at least two arms"), "arms")
        yield from check_codes("arms", self.arms)


def read_imported_list(inputs: ImportedListInputs, text: str) -> SubjectList:
    """The list that `text` holds, with salts of its own.

    Raises Refusal (`invalid`) that names what is wrong, each by its line; nothing is taken from a file with a mistake.
    """
    rows = _rows(text)
    refuse_all("invalid", islice(_failed_rows(rows, inputs), MOST_MISTAKES_TOLD))
    refuse_all("invalid", islice(_failed_places(rows, inputs), MOST_MISTAKES_TOLD))
    order = {stratum: place for place, stratum in enumerate(inputs.strata)}
    rows.sort(key=lambda row: (order[row.stratum], int(row.position)))
    lengths = dict.fromkeys(inputs.strata, 0)
    for row in rows:
        lengths[row.stratum] += 1
    streams = ListStreams(inputs.seed, SCHEME, inputs.list_id)
    return SubjectList(
        tuple(lengths.items()),
        [row.number for row in rows],
        [row.arm for row in rows],
        draw_salts(len(rows), streams.blocks("salts")),
    )


@dataclass(frozen=True, slots=True, repr=False)
class _Row(NeverPrinted):
    line: int
    stratum: str
    position: str
    number: str
    arm: str


def _rows(text: str) -> list[_Row]:
    """The rows below the header. Raises Refusal for a text that is not such a CSV file."""
    lines = text.removeprefix(_BYTE_ORDER_MARK).replace("\r\n", "\n").removesuffix("\n").split("\n")
    if lines == [""]:
        raise refuse("invalid", "import.empty", say("the file is empty"), "file")
    if "," not in lines[0] and any(delimiter in lines[0] for delimiter in ";\t|"):
        raise _line_refused(1, "import.delimiter", say("columns must be separated by commas"))
    refuse_all("invalid", islice(_failed_lines(lines), MOST_MISTAKES_TOLD))
    reader = csv.reader(lines, strict=True)
    cells: list[list[str]] = []
    try:
        for row in reader:
            cells.append(row)
            if reader.line_num > len(cells):
                raise _line_refused(len(cells), "import.quoted_newline", say("a quoted cell does not end on its line"))
    except csv.Error:
        # Not told in the module's words, which can hold a cell. A quote that nothing closes ends here too.
        raise _line_refused(len(cells) + 1, "import.csv", say("this is not a line of CSV")) from None
    _check_header(cells[0])
    refuse_all("invalid", islice(_failed_widths(cells), MOST_MISTAKES_TOLD))
    if len(cells) == 1:
        raise refuse("invalid", "import.no_rows", say("the file has a header line and no rows"), "file")
    return [_Row(line, *row) for line, row in enumerate(cells[1:], start=2)]


def _failed_lines(lines: Sequence[str]) -> Iterator[FailedRule]:
    for line, content in enumerate(lines, start=1):
        if not content:
            yield _failed(line, "import.blank_line", say("the line is empty"))
        elif not (content.isascii() and content.isprintable()):
            yield _failed(line, "import.characters", say("only printable ASCII characters are allowed"))


def _check_header(header: Sequence[str]) -> None:
    for column in COLUMNS:
        if column not in header:
            raise _line_refused(1, "import.column_missing", say("the column %(column)s is missing", column=column))
    if len(header) > len(COLUMNS):
        message = say("only the columns %(columns)s are allowed (R: row.names = FALSE)", columns=", ".join(COLUMNS))
        raise _line_refused(1, "import.column_extra", message)
    if tuple(header) != COLUMNS:
        message = say("the columns must stand in the order %(columns)s", columns=", ".join(COLUMNS))
        raise _line_refused(1, "import.column_order", message)


def _failed_widths(cells: Sequence[Sequence[str]]) -> Iterator[FailedRule]:
    for line, row in enumerate(cells, start=1):
        if len(row) != len(COLUMNS):
            message = say("%(count)s cells belong on a line, not %(found)s", count=len(COLUMNS), found=len(row))
            yield _failed(line, "import.cells", message)


def _failed_rows(rows: Sequence[_Row], inputs: ImportedListInputs) -> Iterator[FailedRule]:
    """What is wrong within single rows."""
    yield from check_entry_count("file", len(rows))
    for row in rows:
        for column in COLUMNS:
            problem = _problem(column, getattr(row, column), inputs)
            if problem is not None:
                rule, message = problem
                yield _failed(row.line, f"import.{column}.{rule}", message, column)


def _problem(column: str, cell: str, inputs: ImportedListInputs) -> tuple[str, Message] | None:
    """The first thing that is wrong with one cell: the rest of a rule's code, and the sentence."""
    if not cell:
        return "empty", say("%(column)s is empty", column=column)
    if cell.startswith(_FORMULA_SIGNS):
        return "formula", say("%(column)s begins with = + - or @, as a formula of a spreadsheet does", column=column)
    if cell != cell.strip():
        return "spaces", say("%(column)s begins or ends with a space", column=column)
    match column:
        case "stratum" if cell not in inputs.strata:
            return "unknown", say("stratum is none of the definition's")
        case "position" if not _POSITION.fullmatch(cell):
            return "whole", say("position must be a whole number from 1")
        case "arm" if cell not in inputs.arms:
            return "unknown", say("arm is none of the definition's")
        case "number":
            return _problem_of_number(cell, inputs)
    return None


def _problem_of_number(number: str, inputs: ImportedListInputs) -> tuple[str, Message] | None:
    digits = number.removeprefix(inputs.prefix)
    if digits == number:
        return "prefix", say("number must begin with the prefix of the list")
    if not _DIGITS.fullmatch(digits):
        return "digits", say("number must be the prefix and 1 to 11 digits")
    if inputs.has_check_digits and not has_valid_check_digits(number):
        return "check_digits", say("number has wrong check digits")
    return None


def _failed_places(rows: Sequence[_Row], inputs: ImportedListInputs) -> Iterator[FailedRule]:
    """What is wrong between rows that are right in themselves: numbers and positions twice, and gaps."""
    lines_of_numbers: dict[str, int] = {}
    lines_of_places: dict[tuple[str, int], int] = {}
    for row in rows:
        earlier = lines_of_numbers.setdefault(row.number, row.line)
        if earlier != row.line:
            message = say("number is that of line %(earlier)s", earlier=earlier)
            yield _failed(row.line, "import.number.duplicate", message, "number")
        earlier = lines_of_places.setdefault((row.stratum, int(row.position)), row.line)
        if earlier != row.line:
            message = say("stratum and position are those of line %(earlier)s", earlier=earlier)
            yield _failed(row.line, "import.position.duplicate", message, "position")
    for stratum in inputs.strata:
        positions = {position for found, position in lines_of_places if found == stratum}
        if not positions:
            message = say("stratum %(stratum)s of the definition has no row", stratum=stratum)
            yield FailedRule("import.stratum.missing", message, "stratum")
        for position in range(1, max(positions, default=0)):
            if position not in positions:
                message = say(
                    "stratum %(stratum)s: position %(position)s is missing", stratum=stratum, position=position
                )
                yield FailedRule("import.position.gap", message, "position")


def _failed(line: int, rule: str, problem: Message, column: str = "file") -> FailedRule:
    return FailedRule(rule, say("line %(line)s: %(problem)s", line=line, problem=problem), column)


def _line_refused(line: int, rule: str, problem: Message) -> Exception:
    failed = _failed(line, rule, problem)
    return refuse("invalid", failed.rule, failed.message, failed.field)
