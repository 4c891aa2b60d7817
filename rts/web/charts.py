"""The geometry of the pictures: data in, coordinates and table rows out. No I/O, no clock, no wording.

`templates/_macros/charts.html` draws what these functions return as SVG, with the same data as a table below.
Lengths are in SVG user units of a fixed view box; days are the local dates of the site, depot or trial shown.
Every value axis starts at zero; that of temperatures holds it.
A picture for blinded people never has one series or line per kit type or arm:
the caller passes totals, or series by state, site or depot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

WIDTH = 640
HEIGHT = 280
TOP = 16
RIGHT = WIDTH - 24
BOTTOM = HEIGHT - 36
DIGIT = 11
"""Width kept for one digit of a value label, wide enough for the larger letters used on a phone."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its coordinate and label; `minor` marks may lose their label on a narrow screen."""

    at: float
    label: str
    minor: bool = False


@dataclass(frozen=True)
class Axes:
    """The plotting area (edges in user units), the marks along it, and where today is (None when outside)."""

    left: float
    right: float
    top: float
    bottom: float
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    today: float | None
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True)
class PlannedCount:
    """What the plan expects by the end of `day`: the middle and the edges of its band, in subjects."""

    day: date
    planned: float
    low: float
    high: float


@dataclass(frozen=True)
class RecruitmentRow:
    """One table row under the recruitment picture; `randomised` is None for days still to come."""

    day: date
    planned: float
    low: float
    high: float
    randomised: int | None


@dataclass(frozen=True)
class RecruitmentChart:
    """Cumulative randomised subjects beside the plan. Paths are SVG path data, empty when there is nothing to draw."""

    axes: Axes
    band: str
    plan: str
    randomised: str
    latest: tuple[float, float] | None
    target_at: float | None
    target: int | None
    count: int
    rows: tuple[RecruitmentRow, ...]


@dataclass(frozen=True)
class StockRow:
    """One table row under the stock picture: kits at the end of `day`, and whether that is a forecast."""

    day: date
    kits: int
    forecast: bool


@dataclass(frozen=True)
class Mark:
    """A mark at the foot of the stock picture: `kits` expire on `day`, drawn at `at`."""

    at: float
    day: date
    kits: int


@dataclass(frozen=True)
class StockChart:
    """Stock by day as steps, its forecast, the trigger and resupply levels, and the days on which kits expire."""

    axes: Axes
    stock: str
    forecast: str
    trigger: int | None
    trigger_at: float | None
    level: int | None
    level_at: float | None
    expiries: tuple[Mark, ...]
    rows: tuple[StockRow, ...]


@dataclass(frozen=True)
class Segment:
    """One rectangle of a bar; `series` counts from 0 and chooses the pattern."""

    x: float
    y: float
    width: float
    height: float
    series: int


@dataclass(frozen=True)
class Bar:
    """The bar of one month with its total and where the total is written."""

    month: date
    total: int
    label_x: float
    label_y: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class ExpiryRow:
    """One table row under the expiry picture: kits of each series that expire in `month`, and their sum."""

    month: date
    kits: tuple[int, ...]
    total: int


@dataclass(frozen=True)
class ExpiryChart:
    """Stock by the month in which it expires, one bar a month, stacked by series; months without kits are shown."""

    axes: Axes
    series: tuple[str, ...]
    bars: tuple[Bar, ...]
    rows: tuple[ExpiryRow, ...]


def value_scale(most: float) -> tuple[int, int]:
    """Top and step of a value axis from zero that holds `most`: whole steps of 1, 2 or 5 × 10ⁿ, at most five."""
    magnitude = 1
    while True:
        for factor in (1, 2, 5):
            step = factor * magnitude
            steps = max(1, -int(-most // step))
            if steps <= 5:
                return steps * step, step
        magnitude *= 10


def recruitment_chart(
    plan: Sequence[PlannedCount],
    randomised: Sequence[tuple[date, int]],
    today: date,
    target: int | None = None,
) -> RecruitmentChart:
    """Cumulative randomised subjects against the plan with its band.

    `randomised` holds the cumulative count at the end of each day on which it changed; it is carried on to `today`.
    Raises ValueError when days do not increase or a count is negative or falls.
    """
    _require_increasing([point.day for point in plan], "plan")
    _require_increasing([day for day, _ in randomised], "randomised")
    counts = [count for _, count in randomised]
    if any(later < earlier for earlier, later in pairwise([0, *counts])):
        raise ValueError("randomised: a cumulative count cannot fall or be negative")
    days = [point.day for point in plan] + [day for day, _ in randomised]
    most = max([*(point.high for point in plan), *counts, target or 0], default=0)
    scale = _Scale(days, today, most)
    band = ""
    if plan:
        upper = [(scale.x(point.day), scale.y(point.high)) for point in plan]
        lower = [(scale.x(point.day), scale.y(point.low)) for point in reversed(plan)]
        band = _line([*upper, *lower]) + "Z"
    seen = [(day, count) for day, count in randomised if day <= today]
    count = seen[-1][1] if seen else 0
    return RecruitmentChart(
        axes=scale.axes(today),
        band=band,
        plan=_line([(scale.x(point.day), scale.y(point.planned)) for point in plan]),
        randomised=_steps(scale, seen, until=today),
        latest=(scale.x(today), scale.y(count)) if seen else None,
        target_at=scale.y(target) if target else None,
        target=target,
        count=count,
        rows=tuple(
            RecruitmentRow(
                point.day,
                point.planned,
                point.low,
                point.high,
                _count_on(seen, point.day) if point.day <= today else None,
            )
            for point in plan
        ),
    )


def stock_chart(
    stock: Sequence[tuple[date, int]],
    today: date,
    *,
    trigger: int | None = None,
    level: int | None = None,
    forecast: Sequence[tuple[date, int]] = (),
    expiries: Sequence[tuple[date, int]] = (),
) -> StockChart:
    """Kits in stock by day as steps, with the trigger and resupply levels and the days on which kits expire.

    `stock` holds the count from each day on which it changed and is carried on to `today`; `forecast` likewise for
    days after today. Raises ValueError when days do not increase or a count is negative.
    """
    _require_increasing([day for day, _ in stock], "stock")
    _require_increasing([day for day, _ in forecast], "forecast")
    if any(kits < 0 for _, kits in [*stock, *forecast, *expiries]):
        raise ValueError("stock: a count of kits cannot be negative")
    if forecast and forecast[0][0] <= today:
        raise ValueError("forecast: its first day is after today")
    days = [day for day, _ in [*stock, *forecast]]
    most = max([*(kits for _, kits in [*stock, *forecast]), trigger or 0, level or 0], default=0)
    scale = _Scale(days, today, most)
    seen = [(day, kits) for day, kits in stock if day <= today]
    ahead = [(today, seen[-1][1]), *forecast] if seen and forecast else list(forecast)
    return StockChart(
        axes=scale.axes(today),
        stock=_steps(scale, seen, until=today),
        forecast=_steps(scale, ahead, until=scale.last if ahead else today),
        trigger=trigger,
        trigger_at=None if trigger is None else scale.y(trigger),
        level=level,
        level_at=None if level is None else scale.y(level),
        expiries=tuple(Mark(scale.x(day), day, kits) for day, kits in expiries if scale.first <= day <= scale.last),
        rows=tuple(
            [StockRow(day, kits, False) for day, kits in seen] + [StockRow(day, kits, True) for day, kits in forecast]
        ),
    )


def expiry_chart(
    kits: Sequence[tuple[date, Sequence[int]]],
    series: Sequence[str],
    today: date,
) -> ExpiryChart:
    """Kits by the month in which they expire, stacked in the order of `series`.

    The day of each date is ignored; months between the first (or today's) and the last without kits get empty bars.
    Raises ValueError when a month occurs twice, a count is negative, or there are not as many counts as series.
    """
    by_month: dict[date, tuple[int, ...]] = {}
    for day, counts in kits:
        month = day.replace(day=1)
        if month in by_month:
            raise ValueError(f"kits: the month {month:%Y-%m} occurs twice")
        if len(counts) != len(series):
            raise ValueError(f"kits: {len(counts)} counts for {len(series)} series in {month:%Y-%m}")
        if any(count < 0 for count in counts):
            raise ValueError("kits: a count of kits cannot be negative")
        by_month[month] = tuple(counts)
    this_month = today.replace(day=1)
    months = [min([*by_month, this_month])]
    while months[-1] < max([*by_month, this_month]):
        months.append(_month_after(months[-1]))
    rows = tuple(
        ExpiryRow(month, counts, sum(counts))
        for month in months
        for counts in [by_month.get(month, (0,) * len(series))]
    )
    top, step = value_scale(max(row.total for row in rows))
    left = _left_of(top)
    slot = (RIGHT - left) / len(months)
    thickness = min(slot * 0.64, 44)
    bars = []
    for place, row in enumerate(rows):
        middle = left + slot * (place + 0.5)
        segments = []
        below = 0
        for index, count in enumerate(row.kits):
            if count:
                high, low = _height(below + count, top), _height(below, top)
                segments.append(
                    Segment(round(middle - thickness / 2, 1), high, round(thickness, 1), round(low - high, 1), index)
                )
            below += count
        bars.append(Bar(row.month, row.total, round(middle, 1), round(_height(row.total, top) - 6, 1), tuple(segments)))
    days_in_month = (_month_after(this_month) - this_month).days
    today_at = left + slot * (months.index(this_month) + (today.day - 1) / days_in_month)
    every = -(-len(months) // 8)
    across = tuple(
        Tick(round(left + slot * (place + 0.5), 1), f"{month:%Y-%m}", minor=(place // every) % 2 == 1)
        for place, month in enumerate(months)
        if place % every == 0
    )
    axes = Axes(left, RIGHT, TOP, BOTTOM, across, _value_ticks(top, step), round(today_at, 1))
    return ExpiryChart(axes, tuple(series), tuple(bars), rows)


class _Scale:
    """Days across and counts up, as coordinates in the plotting area."""

    def __init__(self, days: Sequence[date], today: date, most: float) -> None:
        self.first = min([*days, today])
        self.last = max([*days, today, self.first + timedelta(days=1)])
        self.top, self.step = value_scale(most)
        self.left = _left_of(self.top)

    def x(self, day: date) -> float:
        return round(self.left + (RIGHT - self.left) * (day - self.first).days / (self.last - self.first).days, 1)

    def y(self, value: float) -> float:
        return _height(value, self.top)

    def axes(self, today: date) -> Axes:
        days = _tick_days(self.first, self.last)
        whole_months = (self.last - self.first).days > 70
        across = tuple(
            Tick(self.x(day), f"{day:%Y-%m}" if whole_months else f"{day:%m-%d}", minor=place % 2 == 1)
            for place, day in enumerate(days)
        )
        return Axes(self.left, RIGHT, TOP, BOTTOM, across, _value_ticks(self.top, self.step), self.x(today))


@dataclass(frozen=True)
class Point:
    """A numbered point of a trade-off picture; `label_x` is where its number stands, `is_marked` the one in question,
    `is_beaten` one that another point beats in every respect.
    """

    number: int
    x: float
    y: float
    label_x: float
    is_marked: bool
    is_beaten: bool


@dataclass(frozen=True)
class TradeOffChart:
    """Points by two figures of which less is better both times: the nearer to the corner, the better."""

    axes: Axes
    points: tuple[Point, ...]


def trade_off_chart(values: Sequence[tuple[float, float]], marked: int, beaten: Sequence[bool]) -> TradeOffChart:
    """Points at (across, up), numbered from 1; `marked` is the place (from 0) of the one in question.

    Raises ValueError for a negative value.
    """
    if any(value < 0 for point in values for value in point):
        raise ValueError("trade-off: both figures start at zero")
    top, step_up = value_scale(max((up for _, up in values), default=0))
    far, step_across = value_scale(max((across for across, _ in values), default=0))
    left = _left_of(top)

    def x(value: float) -> float:
        return round(left + (RIGHT - left) * value / far, 1)

    across = tuple(Tick(x(value), str(value)) for value in range(0, far + 1, step_across))
    return TradeOffChart(
        Axes(left, RIGHT, TOP, BOTTOM, across, _value_ticks(top, step_up), None),
        tuple(
            Point(place + 1, x(right), _height(up, top), x(right) + 9, place == marked, beaten[place])
            for place, (right, up) in enumerate(values)
        ),
    )


@dataclass(frozen=True)
class Stripe:
    """A stretch of time: `x` and `width` of the rectangle that is drawn for it."""

    x: float
    width: float


@dataclass(frozen=True)
class TemperatureRow:
    """One table row under the temperature picture: what was measured from `start` (local) to the next row's."""

    start: datetime
    readings: int
    lowest: float
    highest: float


@dataclass(frozen=True)
class TemperatureChart:
    """A logger's readings as a line that breaks at gaps, between the ends of the allowed range."""

    axes: Axes
    line: str
    minimum: float
    minimum_at: float
    maximum: float
    maximum_at: float
    out: tuple[Stripe, ...]
    gaps: tuple[Stripe, ...]
    rows: tuple[TemperatureRow, ...]


TIME_STEPS = tuple(timedelta(hours=hours) for hours in (1, 2, 4, 6, 12, 24, 48, 96, 168, 336, 672))


def temperature_chart(
    readings: Sequence[tuple[datetime, float]],
    allowed: tuple[float, float],
    out: Sequence[tuple[datetime, datetime]] = (),
    gaps: Sequence[tuple[datetime, datetime]] = (),
) -> TemperatureChart:
    """Temperatures by time, with the `allowed` minimum and maximum, times `out` of range and `gaps` without readings.

    Moments are local, in one zone; values in degrees Celsius. Of the readings that share a column of the picture the
    lowest and the highest are drawn. Raises ValueError for fewer than two readings.
    """
    if len(readings) < 2:
        raise ValueError("readings: a line needs two")
    first, last = readings[0][0], readings[-1][0]
    values = [value for _, value in readings]
    above, below = max(0.0, allowed[1], *values), -min(0.0, allowed[0], *values)
    _, step = value_scale(above + below)
    top, foot = -int(-above // step) * step, int(-(-below // step)) * step
    left = _left_of(max(top, 10 * foot))

    def x(at: datetime) -> float:
        return round(left + (RIGHT - left) * ((at - first) / (last - first)), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value + foot) / (top + foot), 1)

    def stripes(times: Sequence[tuple[datetime, datetime]]) -> tuple[Stripe, ...]:
        """A stripe for each time; those that cannot be told apart in the picture are one."""
        found: list[Stripe] = []
        for start, end in times:
            begin, until = x(start), max(x(end), x(start) + 1)
            if found and begin - (found[-1].x + found[-1].width) < 1:
                begin = found.pop().x
            found.append(Stripe(begin, round(until - begin, 1)))
        return tuple(found)

    pieces: list[list[tuple[float, float]]] = [[]]
    after_gap = {end for _, end in gaps}
    for at, value in readings:
        if at in after_gap:
            pieces.append([])
        pieces[-1].append((x(at), y(value)))
    up = tuple(Tick(y(value), f"{value:,}".replace("-", "−")) for value in range(-foot, top + 1, step))
    return TemperatureChart(
        axes=Axes(left, RIGHT, TOP, BOTTOM, _time_ticks(first, last, x), up, None),
        line="".join(_line(_thinned(piece)) for piece in pieces),
        minimum=allowed[0],
        minimum_at=y(allowed[0]),
        maximum=allowed[1],
        maximum_at=y(allowed[1]),
        out=stripes(out),
        gaps=stripes(gaps),
        rows=_temperature_rows(readings),
    )


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of the points of each whole column the first, the lowest, the highest and the last: the line looks the same."""
    columns: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        columns.setdefault(int(point[0]), []).append(point)
    kept: list[tuple[float, float]] = []
    for column in columns.values():
        ends = {0, len(column) - 1}
        heights = [height for _, height in column]
        ends |= {heights.index(min(heights)), heights.index(max(heights))}
        kept += [column[place] for place in sorted(ends)]
    return kept


def _time_ticks(first: datetime, last: datetime, x: Callable[[datetime], float]) -> tuple[Tick, ...]:
    """Up to about seven moments to label, from local midnight on: times of day, or days once there are more."""
    step = next((step for step in TIME_STEPS if (last - first) / step <= 7), TIME_STEPS[-1])
    form = "%H:%M" if step < timedelta(days=1) else "%m-%d"
    at = first.replace(hour=0, minute=0, second=0, microsecond=0)
    found: list[Tick] = []
    while at <= last:
        if at >= first:
            label = f"{at:%m-%d}" if form == "%H:%M" and (at.hour, at.minute) == (0, 0) else f"{at:{form}}"
            found.append(Tick(x(at), label, minor=len(found) % 2 == 1))
        at += step
    return tuple(found)


def _temperature_rows(readings: Sequence[tuple[datetime, float]]) -> tuple[TemperatureRow, ...]:
    """The readings by hour on spans of up to two days, else by day."""
    by_hour = readings[-1][0] - readings[0][0] <= timedelta(days=2)
    found: dict[datetime, list[float]] = {}
    for at, value in readings:
        start = at.replace(minute=0, second=0, microsecond=0)
        found.setdefault(start if by_hour else start.replace(hour=0), []).append(value)
    return tuple(TemperatureRow(start, len(values), min(values), max(values)) for start, values in found.items())


def _left_of(top: int) -> float:
    return 14 + DIGIT * len(f"{top:,}")


def _height(value: float, top: int) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * value / top, 1)


def _value_ticks(top: int, step: int) -> tuple[Tick, ...]:
    return tuple(Tick(_height(value, top), f"{value:,}") for value in range(0, top + 1, step))


def _tick_days(first: date, last: date) -> list[date]:
    """Up to about eight days to label: every so many days on short spans, firsts of months on long ones."""
    span = (last - first).days
    if span <= 70:
        apart = next(days for days in (1, 2, 7, 14) if span // days <= 7)
        return [first + timedelta(days=days) for days in range(0, span + 1, apart)]
    months = []
    month = first if first.day == 1 else _month_after(first)
    while month <= last:
        months.append(month)
        month = _month_after(month)
    return months[:: -(-len(months) // 8)]


def _month_after(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _count_on(steps: Sequence[tuple[date, int]], day: date) -> int:
    return max((count for changed, count in steps if changed <= day), default=0)


def _line(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if place else 'M'}{x:g},{y:g}" for place, (x, y) in enumerate(points))


def _steps(scale: _Scale, values: Sequence[tuple[date, int]], until: date) -> str:
    if not values:
        return ""
    day, value = values[0]
    path = f"M{scale.x(day):g},{scale.y(value):g}"
    for day, value in values[1:]:
        path += f"H{scale.x(day):g}V{scale.y(value):g}"
    return path + f"H{scale.x(until):g}"


def _require_increasing(days: Sequence[date], name: str) -> None:
    if any(later <= earlier for earlier, later in pairwise(days)):
        raise ValueError(f"{name}: days must increase")
