"""Temperatures that kits were exposed to: reading the file of a data logger, and what its readings come to. Pure.

Every figure is weighted by time in one way: a reading stands for the time that is nearer to it than to any other
reading, so between two readings for half of the time before it and half of the time after it. Where two neighbouring
readings are more than `GAP_INTERVALS` usual intervals apart nothing is known of the time between: it is a gap, no
reading stands for any of it, and it counts as time out of range only if a person says so.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from itertools import pairwise, product
from statistics import median
from string import ascii_letters
from typing import Any

from rts.refusal import Message, Refusal, refuse, say

DELTA_H_OVER_R = 83.144 / 0.0083144
"""Activation energy over gas constant, in kelvin: 83.144 kJ/mol, "based upon many common organic reactions", over
0.0083144 kJ/(mol K), which is 10,000 K (USP <1079.2> Mean Kinetic Temperature; Haynes 1971)."""

ZERO_CELSIUS = 273.15
GAP_INTERVALS = 3
"""How many usual intervals (the median of all) two readings may be apart: more is a gap."""

LARGEST_FILE = 500_000
"""Bytes: a reading every five minutes for about a month and a half."""

HUNDREDTH = Decimal("0.01")
COLDEST, HOTTEST = Decimal("-200"), Decimal("200")
"""What a logger can measure, in degrees Celsius."""

MINUS = "\u2212"


@dataclass(frozen=True)
class Reading:
    """What a logger measured: a moment, in UTC, and degrees Celsius in hundredths."""

    at: datetime
    celsius: Decimal


@dataclass(frozen=True)
class StorageRange:
    """The temperatures, in degrees Celsius, that kits may be kept at; both ends are within it."""

    minimum: Decimal
    maximum: Decimal

    def side(self, celsius: Decimal) -> str:
        """`below`, `above` or empty for within."""
        return "below" if celsius < self.minimum else "above" if celsius > self.maximum else ""


@dataclass(frozen=True)
class Period:
    """A time out of range: `below` or `above` it, or `unknown` where the logger has no readings."""

    start: datetime
    end: datetime
    side: str

    @property
    def length(self) -> timedelta:
        """How long it lasted."""
        return self.end - self.start


@dataclass(frozen=True)
class Summary:
    """What the readings of a logger come to; temperatures in degrees Celsius.

    `mean_kinetic` is the mean kinetic temperature (Haynes). `periods` are the times below and above the range,
    `gaps` those without readings.
    """

    readings: int
    start: datetime
    end: datetime
    lowest: Decimal
    highest: Decimal
    mean_kinetic: Decimal
    periods: tuple[Period, ...]
    gaps: tuple[Period, ...]

    @property
    def below(self) -> timedelta:
        """Time below the range."""
        return sum((period.length for period in self.periods if period.side == "below"), timedelta())

    @property
    def above(self) -> timedelta:
        """Time above the range."""
        return sum((period.length for period in self.periods if period.side == "above"), timedelta())

    @property
    def longest(self) -> timedelta:
        """The longest time without a break below or above the range."""
        return max((period.length for period in self.periods), default=timedelta())


def summarise(readings: Sequence[Reading], storage: StorageRange) -> Summary:
    """The figures of at least two readings in the order of time.

    The mean kinetic temperature is (ΔH/R) / −ln(Σ wᵢ·exp(−ΔH/(R·Tᵢ)) / Σ wᵢ), Tᵢ in kelvin, wᵢ the seconds that
    reading i stands for; with equal intervals and equal weights it is the equation of USP <1079.2>.
    """
    spans = _spans(readings)
    weights = [(end - start).total_seconds() for start, end in spans]
    rates = (math.exp(-DELTA_H_OVER_R / (float(reading.celsius) + ZERO_CELSIUS)) for reading in readings)
    mean = math.fsum(weight * rate for weight, rate in zip(weights, rates, strict=True)) / math.fsum(weights)
    kinetic = DELTA_H_OVER_R / -math.log(mean) - ZERO_CELSIUS
    periods: list[Period] = []
    for reading, (start, end) in zip(readings, spans, strict=True):
        side = storage.side(reading.celsius)
        if not side:
            continue
        if periods and periods[-1].end == start and periods[-1].side == side:
            start = periods.pop().start
        periods.append(Period(start, end, side))
    return Summary(
        len(readings),
        readings[0].at,
        readings[-1].at,
        min(reading.celsius for reading in readings),
        max(reading.celsius for reading in readings),
        Decimal(str(kinetic)).quantize(HUNDREDTH),
        tuple(periods),
        gaps_in(readings),
    )


def gaps_in(readings: Sequence[Reading]) -> tuple[Period, ...]:
    """The times without readings, longer than `GAP_INTERVALS` usual intervals."""
    longest = _longest_interval(readings)
    return tuple(
        Period(before.at, after.at, "unknown") for before, after in pairwise(readings) if after.at - before.at > longest
    )


def written(readings: Iterable[Reading]) -> str:
    """Readings as they are kept: a line each, the moment in UTC, a space, degrees Celsius."""
    return "".join(f"{reading.at:%Y-%m-%dT%H:%M:%S}Z {reading.celsius}\n" for reading in readings)


def readings_written(text: str) -> tuple[Reading, ...]:
    """Readings from what `written` made of them."""
    lines = (line.split(" ") for line in text.splitlines())
    return tuple(Reading(datetime.fromisoformat(at), Decimal(celsius)) for at, celsius in lines)


def periods_since(periods: Iterable[Period], since: datetime) -> tuple[Period, ...]:
    """What of `periods` comes after `since`."""
    return tuple(Period(max(period.start, since), period.end, period.side) for period in periods if period.end > since)


def time_out_of_range(periods: Iterable[Period]) -> timedelta:
    """How long it was out of range by any of `periods`, of several loggers or files: time that two of them tell of
    counts once.
    """
    total, reached = timedelta(), None
    for period in sorted(periods, key=lambda period: period.start):
        start = period.start if reached is None else max(period.start, reached)
        if period.end > start:
            total += period.end - start
            reached = period.end
    return total


def _longest_interval(readings: Sequence[Reading]) -> timedelta:
    seconds = median((after.at - before.at).total_seconds() for before, after in pairwise(readings))
    return timedelta(seconds=GAP_INTERVALS * seconds)


def _spans(readings: Sequence[Reading]) -> list[tuple[datetime, datetime]]:
    """The time that each reading stands for."""
    longest = _longest_interval(readings)
    starts, ends = [readings[0].at], []
    for before, after in pairwise(readings):
        is_gap = after.at - before.at > longest
        middle = before.at + (after.at - before.at) / 2
        ends.append(before.at if is_gap else middle)
        starts.append(after.at if is_gap else middle)
    return list(zip(starts, [*ends, readings[-1].at], strict=True))


# --- the file of a logger -------------------------------------------------------------------------------------------

_TIME = re.compile(r"time|date|时间|日期", re.IGNORECASE)
_ONLY_DATE = re.compile(r"date(?!.*time)|日期(?!.*时间)", re.IGNORECASE)
_TEMPERATURE = re.compile(r"temp|°|℃|℉|celsius|fahrenheit|温度", re.IGNORECASE)
_OTHER_QUANTITY = re.compile(r"dew|humid|%|露点|湿度|alarm|limit|报警", re.IGNORECASE)
_UNITS = {
    "C": re.compile(r"[°º˚]\s*C|℃|celsius|\(C\)|\[C\]|摄氏", re.IGNORECASE),
    "F": re.compile(r"[°º˚]\s*F|℉|fahrenheit|\(F\)|\[F\]|华氏", re.IGNORECASE),
}
_ZONE = re.compile(r"\b(?:UTC|GMT)(?:\s*([+\-\u2212])\s*(\d{1,2})(?::?(\d{2}))?)?(?![\w])", re.IGNORECASE)
_NUMBER = re.compile(r"([+\-\u2212]?\d{1,4})(?:[.,](\d{1,6}))?\s*(?:[°º˚]\s*[CF]|℃|℉)?", re.IGNORECASE)
_DATE = r"(?P<a>\d{4}|\d{1,2}|[A-Za-z]{3})(?P<sep>[-/. ])(?P<b>\d{1,2}|[A-Za-z]{3})(?P=sep)(?P<c>\d{4}|\d{1,2})"
_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
    r"\s*(?P<zone>Z|[+\-]\d{2}:?\d{2})?"
)
_MOMENT = re.compile(rf"{_DATE}[T ,]+{_CLOCK}")
_LETTERS = frozenset(ascii_letters)
_VALUE = re.compile(r"[+\-\u2212]?\d+(?:[.,]\d+)?\s*(?:[°º˚]\s*[CF]|℃|℉)?$|\d+[-/.:]\d+[-/.:]\d+")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_HEADER_WITHIN = 100  # lines: loggers write about themselves first


@dataclass(frozen=True)
class _Layout:
    """Where the columns are, and what the head of the file says of them."""

    times: tuple[int, ...]
    temperature: int
    columns: int
    unit: str
    zone: tzinfo | None
    order: str  # "dmy" or "mdy" when the header spells it


def read_logger_file(content: bytes, zone: tzinfo, now: datetime) -> tuple[Reading, ...]:
    """The readings of a logger's CSV file, each moment once, in the order of time.

    Columns are found by their headers; `;`, `,` and tab separate them; a decimal comma is read. °C or °F is said by the
    header or above it. Dates are year first, or with the month's name, or day and month in an order that the header
    spells or that some date of the file proves: it is never guessed. Times are in the zone that the file gives, else in
    `zone`. Raises Refusal `invalid` for a file that is too large, not understood or ambiguous, for two readings of one
    moment that differ, and for times after `now`.
    """
    if len(content) > LARGEST_FILE:
        raise _wrong(
            "size", say("The file is larger than %(most)d kB. Export a shorter time.", most=LARGEST_FILE // 1000)
        )
    rows, layout = _rows_of(content)
    moments, values = [], []
    for line, row in rows:
        cells = [row[index].strip() if index < len(row) else "" for index in (*layout.times, layout.temperature)]
        if not cells[-1]:
            continue  # an empty line, or an event without a reading
        if any(cell.strip() for cell in row[layout.columns :]):
            raise _wrong("cells", say("Line %(line)d has more cells than the header.", line=line))
        match = _MOMENT.fullmatch(" ".join(cells[:-1]))
        if match is None:
            raise _wrong("time", say("Line %(line)d: this date and time are not understood.", line=line))
        moments.append((line, match))
        values.append(_celsius(cells[-1], layout.unit, line))
    if len(moments) < 2:
        raise _wrong("readings", say("The file holds fewer than two readings."))
    order = layout.order or _proven_order([match for _, match in moments])
    found: dict[datetime, Decimal] = {}
    for (line, match), celsius in zip(moments, values, strict=True):
        at = _moment(match, order, layout.zone or zone, line)
        if at > now:
            raise _wrong("future", say("Line %(line)d: its time is still to come.", line=line))
        if found.setdefault(at, celsius) != celsius:
            raise _wrong("twice", say("Line %(line)d: another reading of the same moment differs.", line=line))
    if len(found) < 2:
        raise _wrong("readings", say("The file holds fewer than two readings."))
    return tuple(Reading(at, found[at]) for at in sorted(found))


def _wrong(rule: str, message: Message) -> Refusal:
    return refuse("invalid", f"logger.{rule}", message, "file")


def _rows_of(content: bytes) -> tuple[list[tuple[int, list[str]]], _Layout]:
    """The rows below the header with their line numbers (from 1), and what the head of the file says.

    A file does not say how it is encoded: it is read so that its header can be understood, if possible with a unit.
    """
    is_utf_16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    encodings = ("utf-16",) if is_utf_16 else ("utf-8-sig", "cp1252", "gb18030")
    understood: _Table | None = None
    for encoding, delimiter in product(encodings, "\t;,"):
        table = _table_of(content, encoding, delimiter)
        if table is not None and table.units:
            return table.rows, _layout(table)
        understood = understood or table
    if understood is None:
        raise _wrong("header", say("The file has no line that names a column of times and one of temperatures."))
    return understood.rows, _layout(understood)


@dataclass(frozen=True)
class _Table:
    """A file read in one way: its lines above the header, the header with its columns, and the rows below."""

    above: list[str]
    header: list[str]
    times: list[int]
    temperatures: list[int]
    rows: list[tuple[int, list[str]]]

    @property
    def units(self) -> set[str]:
        """The units that the header names, or else the lines above it."""
        return _said([self.header[self.temperatures[0]]], _unit_of) or _said(self.above, _unit_of)


def _table_of(content: bytes, encoding: str, delimiter: str) -> _Table | None:
    """The file as it reads with this encoding and delimiter; None when it then has no header."""
    try:
        rows = _split(content.decode(encoding), delimiter)
    except UnicodeDecodeError:
        return None
    for index, (_, row) in enumerate(rows[:_HEADER_WITHIN]):
        columns = _columns(row)
        if columns:
            return _Table([" ".join(cells) for _, cells in rows[:index]], row, *columns, rows[index + 1 :])
    return None


def _split(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(), delimiter=delimiter, strict=False)
    try:
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise _wrong("csv", say("The file is not a table of text.")) from error


def _columns(header: Sequence[str]) -> tuple[list[int], list[int]] | None:
    """The columns of times and of temperatures; None when the line is no header, which holds names and no values."""
    if any(_VALUE.match(cell.strip()) for cell in header):
        return None
    temperatures = [
        index for index, cell in enumerate(header) if _TEMPERATURE.search(cell) and not _OTHER_QUANTITY.search(cell)
    ]
    times = [index for index, cell in enumerate(header) if _TIME.search(cell) and index not in temperatures]
    return (times, temperatures) if times and temperatures else None


def _layout(table: _Table) -> _Layout:
    header, times, temperatures = table.header, list(table.times), table.temperatures
    if len(temperatures) > 1:
        raise _wrong("columns", say("The file has several columns of temperatures. Export one probe at a time."))
    if len(times) == 2 and _ONLY_DATE.search(header[times[1]]) and not _ONLY_DATE.search(header[times[0]]):
        times.reverse()
    if len(times) > 2 or (len(times) == 2 and not _ONLY_DATE.search(header[times[0]])):
        raise _wrong("columns", say("The file has several columns of times. Export one, in the local time or UTC."))
    if len(table.units) != 1:
        raise _wrong("unit", say("The file does not say whether its temperatures are in °C or °F."))
    zones = _said([header[index] for index in times], _zone_of) or _said(table.above, _zone_of)
    if len(zones) > 1:
        raise _wrong("zone", say("The file names several time zones."))
    spelled = re.sub("[^dmy]+", "", " ".join(header[index] for index in times).lower().replace("time", ""))
    order = next((name for name in ("dmy", "mdy") if re.search(f"{name[0]}+{name[1]}+{name[2]}+", spelled)), "")
    columns = max(index for index, cell in enumerate(header) if cell.strip()) + 1
    return _Layout(tuple(times), temperatures[0], columns, table.units.pop(), next(iter(zones), None), order)


def _said(texts: Iterable[str], of: Callable[[str], set[Any]]) -> set[Any]:
    return {value for text in texts for value in of(text)}


def _unit_of(text: str) -> set[str]:
    return {unit for unit, pattern in _UNITS.items() if pattern.search(text)}


def _zone_of(text: str) -> set[tzinfo]:
    return {_offset(match[1], match[2], match[3]) for match in _ZONE.finditer(text)}


def _offset(sign: str | None, hours: str | None, minutes: str | None) -> tzinfo:
    ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if ahead >= timedelta(hours=24):
        raise _wrong("zone", say("The file names a time zone that there is not."))
    return timezone(ahead if sign == "+" or not ahead else -ahead)


def _celsius(cell: str, unit: str, line: int) -> Decimal:
    """Degrees Celsius in hundredths; a cell may repeat the unit of the header, and no other."""
    match = _NUMBER.fullmatch(cell)
    if match is None or not _unit_of(cell) <= {unit}:
        raise _wrong("value", say("Line %(line)d: “%(cell)s” is not a temperature.", line=line, cell=cell[:20]))
    value = Decimal(f"{match[1].replace(MINUS, '-')}.{match[2] or 0}")
    if unit == "F":
        value = (value - 32) * 5 / 9
    if not COLDEST <= value <= HOTTEST:
        raise _wrong("value", say("Line %(line)d: “%(cell)s” is not a temperature.", line=line, cell=cell[:20]))
    return value.quantize(HUNDREDTH)


def _proven_order(moments: Sequence[re.Match[str]]) -> str:
    """Whether the day or the month comes first, as some date with a number above 12 proves; empty where years come
    first or months have names.
    """
    numeric = [match for match in moments if len(match["a"]) < 4 and not {match["a"][0], match["b"][0]} & _LETTERS]
    if not numeric:
        return ""
    day_first = any(int(match["a"]) > 12 for match in numeric)
    month_first = any(int(match["b"]) > 12 for match in numeric)
    if day_first == month_first:
        message = say(
            "Dates such as %(date)s: the file does not show whether the day or the month comes first. "
            "Export it with the year first.",
            date=numeric[0][0].split()[0],
        )
        raise _wrong("day_or_month", message)
    return "dmy" if day_first else "mdy"


def _moment(match: re.Match[str], order: str, zone: tzinfo, line: int) -> datetime:
    first, second, third = match["a"], match["b"], match["c"]
    if len(first) == 4:
        year, month, day = first, second, third
    elif order == "mdy" or not first.isdigit():
        month, day, year = first, second, third
    else:
        day, month, year = first, second, third
    if len(year) != 4:
        message = say(
            "Line %(line)d: the year has two digits. Export dates with the year first, in four digits.", line=line
        )
        raise _wrong("year", message)
    hour = int(match["hour"])
    half = (match["half"] or "").replace(".", "").lower()
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0) if 1 <= hour <= 12 else 99
    try:
        on = date(int(year), int(month) if month.isdigit() else _MONTHS.index(month.lower()) + 1, int(day))
        at = time(hour, int(match["minute"]), int(match["second"] or 0))
    except ValueError as error:
        raise _wrong("time", say("Line %(line)d: there is no such date or time.", line=line)) from error
    if match["zone"]:
        return datetime.fromisoformat(f"{on.isoformat()}T{at.isoformat()}{match['zone']}").astimezone(UTC)
    local = datetime.combine(on, at, zone)
    # Where clocks are put back an hour comes twice, where they are put forward one is left out.
    if len({local.replace(fold=fold).utcoffset() for fold in (0, 1)}) > 1:
        message = say("Line %(line)d: the clocks were changed at this hour. Export the file in UTC.", line=line)
        raise _wrong("changed_clocks", message)
    return local.astimezone(UTC)
