from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.web.charts import (
    BOTTOM,
    RIGHT,
    TOP,
    Bar,
    ExpiryRow,
    Mark,
    PlannedCount,
    RecruitmentRow,
    Segment,
    StockRow,
    Stripe,
    TemperatureRow,
    Tick,
    expiry_chart,
    recruitment_chart,
    stock_chart,
    temperature_chart,
    value_scale,
)

PLAN = (
    PlannedCount(date(2026, 1, 1), 0, 0, 0),
    PlannedCount(date(2026, 1, 11), 10, 5, 20),
)
# With a top of 20 the plotting area reaches from x 36 to 616 and from y 244 (zero) up to 16 (twenty).


@pytest.mark.parametrize(
    ("most", "scale"),
    [
        (0, (1, 1)),
        (1, (1, 1)),
        (5, (5, 1)),
        (6, (6, 2)),
        (10, (10, 2)),
        (11, (15, 5)),
        (26, (30, 10)),
        (146, (150, 50)),
        (1001, (1500, 500)),
    ],
)
def test_a_value_axis_has_at_most_five_whole_steps_of_one_two_or_five(most: int, scale: tuple[int, int]) -> None:
    assert value_scale(most) == scale


@given(st.integers(0, 10**7))
def test_a_value_axis_holds_its_largest_value(most: int) -> None:
    top, step = value_scale(most)
    assert top >= most
    assert top % step == 0
    assert 1 <= top // step <= 5


def test_recruitment_is_drawn_as_steps_beside_the_plan_and_its_band() -> None:
    chart = recruitment_chart(PLAN, [(date(2026, 1, 3), 2), (date(2026, 1, 5), 4)], date(2026, 1, 6), target=20)

    assert chart.band == "M36,244L616,16L616,187L36,244Z"
    assert chart.plan == "M36,244L616,130"
    assert chart.randomised == "M152,221.2H268V198.4H326"
    assert chart.latest == (326.0, 198.4)
    assert chart.target_at == 16.0
    assert chart.axes.today == 326.0
    assert chart.count == 4
    assert chart.rows == (
        RecruitmentRow(date(2026, 1, 1), 0, 0, 0, 0),
        RecruitmentRow(date(2026, 1, 11), 10, 5, 20, None),
    )


def test_the_value_axis_of_every_picture_starts_at_zero() -> None:
    today = date(2026, 1, 6)
    pictures = (
        recruitment_chart(PLAN, [], today),
        stock_chart([(today, 900)], today),
        expiry_chart([(today, (70,))], ("Available",), today),
    )
    for picture in pictures:
        assert picture.axes.up[0] == Tick(BOTTOM, "0")


def test_randomisations_after_today_are_not_drawn() -> None:
    chart = recruitment_chart(PLAN, [(date(2026, 1, 3), 2), (date(2026, 1, 9), 7)], date(2026, 1, 6))
    assert chart.count == 2
    assert chart.randomised == "M152,221.2H326"


def test_recruitment_without_plan_or_subjects_has_axes_and_nothing_else() -> None:
    chart = recruitment_chart([], [], date(2026, 1, 6))
    assert (chart.band, chart.plan, chart.randomised, chart.latest, chart.target_at) == ("", "", "", None, None)
    assert chart.rows == ()
    assert chart.axes.up == (Tick(244.0, "0"), Tick(16.0, "1"))
    assert chart.axes.across == (Tick(25.0, "01-06"), Tick(616.0, "01-07", minor=True))
    assert chart.axes.today == 25.0


def test_a_single_subject_today_is_drawn_as_a_point() -> None:
    chart = recruitment_chart([], [(date(2026, 1, 6), 1)], date(2026, 1, 6))
    assert chart.randomised == "M25,16H25"
    assert chart.latest == (25.0, 16.0)


def test_a_long_span_is_labelled_by_the_first_of_months() -> None:
    plan = [PlannedCount(date(2026, 1, 15), 0, 0, 0), PlannedCount(date(2026, 12, 31), 5, 5, 5)]
    labels = [tick.label for tick in recruitment_chart(plan, [], date(2026, 3, 1)).axes.across]
    assert labels == ["2026-02", "2026-04", "2026-06", "2026-08", "2026-10", "2026-12"]


@pytest.mark.parametrize(
    ("randomised", "says"),
    [
        ([(date(2026, 1, 3), 4), (date(2026, 1, 5), 3)], "cannot fall"),
        ([(date(2026, 1, 3), -1)], "cannot fall or be negative"),
        ([(date(2026, 1, 3), 1), (date(2026, 1, 3), 2)], "days must increase"),
    ],
)
def test_a_count_that_falls_or_days_out_of_order_are_refused(randomised: list[tuple[date, int]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        recruitment_chart(PLAN, randomised, date(2026, 1, 6))


def test_stock_is_drawn_as_steps_with_trigger_level_forecast_and_expiry_marks() -> None:
    chart = stock_chart(
        [(date(2026, 1, 1), 10), (date(2026, 1, 3), 4)],
        date(2026, 1, 6),
        trigger=5,
        level=20,
        forecast=[(date(2026, 1, 8), 2), (date(2026, 1, 11), 0)],
        expiries=[(date(2026, 1, 8), 2), (date(2026, 6, 30), 9)],
    )

    assert chart.stock == "M36,130H152V198.4H326"
    assert chart.forecast == "M326,198.4H442V221.2H616V244H616"
    assert (chart.trigger_at, chart.level_at) == (187.0, 16.0)
    assert chart.expiries == (Mark(442.0, date(2026, 1, 8), 2),)
    assert chart.rows == (
        StockRow(date(2026, 1, 1), 10, False),
        StockRow(date(2026, 1, 3), 4, False),
        StockRow(date(2026, 1, 8), 2, True),
        StockRow(date(2026, 1, 11), 0, True),
    )


def test_stock_without_data_shows_only_the_levels() -> None:
    chart = stock_chart([], date(2026, 1, 6), trigger=2, level=4)
    assert (chart.stock, chart.forecast, chart.rows) == ("", "", ())
    assert (chart.trigger_at, chart.level_at) == (130.0, 16.0)


def test_a_trigger_of_zero_is_drawn_on_the_axis_and_no_trigger_is_not() -> None:
    assert stock_chart([], date(2026, 1, 6), trigger=0).trigger_at == BOTTOM
    assert stock_chart([], date(2026, 1, 6)).trigger_at is None


def test_one_stock_count_today_is_a_point() -> None:
    chart = stock_chart([(date(2026, 1, 6), 3)], date(2026, 1, 6))
    assert chart.stock == "M25,16H25"
    assert chart.rows == (StockRow(date(2026, 1, 6), 3, False),)


def test_negative_stock_and_a_forecast_of_the_past_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        stock_chart([(date(2026, 1, 6), -1)], date(2026, 1, 6))
    with pytest.raises(ValueError, match="its first day is after today"):
        stock_chart([], date(2026, 1, 6), forecast=[(date(2026, 1, 6), 1)])


def test_expiry_bars_are_stacked_and_months_without_kits_are_kept() -> None:
    chart = expiry_chart(
        [(date(2026, 3, 31), (6, 4)), (date(2026, 1, 31), (5, 0))], ("Available", "Quarantined"), date(2026, 1, 1)
    )

    # Top 10: the area starts at x 36, each of the three months has 580 / 3 and each bar the largest width of 44.
    assert chart.bars == (
        Bar(date(2026, 1, 1), 5, 132.7, 124.0, (Segment(110.7, 130.0, 44, 114.0, 0),)),
        Bar(date(2026, 2, 1), 0, 326.0, 238.0, ()),
        Bar(
            date(2026, 3, 1), 10, 519.3, 10.0, (Segment(497.3, 107.2, 44, 136.8, 0), Segment(497.3, 16.0, 44, 91.2, 1))
        ),
    )
    assert chart.axes.today == 36.0
    assert [tick.label for tick in chart.axes.across] == ["2026-01", "2026-02", "2026-03"]
    assert chart.rows == (
        ExpiryRow(date(2026, 1, 1), (5, 0), 5),
        ExpiryRow(date(2026, 2, 1), (0, 0), 0),
        ExpiryRow(date(2026, 3, 1), (6, 4), 10),
    )


def test_stock_that_has_expired_stands_left_of_today() -> None:
    chart = expiry_chart([(date(2025, 11, 30), (2,))], ("Available",), date(2026, 1, 16))
    assert [bar.month for bar in chart.bars] == [date(2025, 11, 1), date(2025, 12, 1), date(2026, 1, 1)]
    assert chart.axes.today is not None
    assert chart.bars[0].label_x < chart.axes.today


def test_no_kits_give_an_empty_bar_for_this_month() -> None:
    chart = expiry_chart([], ("Available",), date(2026, 1, 16))
    assert [(bar.month, bar.total, bar.segments) for bar in chart.bars] == [(date(2026, 1, 1), 0, ())]
    assert chart.axes.up == (Tick(BOTTOM, "0"), Tick(TOP, "1"))


def test_a_month_given_twice_or_too_few_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="2026-03 occurs twice"):
        expiry_chart([(date(2026, 3, 1), (1,)), (date(2026, 3, 31), (1,))], ("Available",), date(2026, 1, 1))
    with pytest.raises(ValueError, match="1 counts for 2 series in 2026-03"):
        expiry_chart([(date(2026, 3, 1), (1,))], ("Available", "Quarantined"), date(2026, 1, 1))


days = st.dates(date(2020, 1, 1), date(2030, 12, 31))


@given(st.dictionaries(days, st.integers(0, 5000), max_size=30), days)
def test_every_step_and_mark_lies_inside_the_picture(stock: dict[date, int], today: date) -> None:
    chart = stock_chart(sorted(stock.items()), today)
    assert all(chart.axes.left <= tick.at <= RIGHT for tick in chart.axes.across)
    assert all(TOP <= tick.at <= BOTTOM for tick in chart.axes.up)
    assert len(chart.axes.across) <= 9
    assert [row.day for row in chart.rows] == sorted(day for day in stock if day <= today)


def at(hour: float) -> datetime:
    return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=hour)


def test_temperatures_are_a_line_between_the_ends_of_the_range_that_breaks_at_a_gap() -> None:
    readings = [(at(0), 20.0), (at(1), -5.0), (at(9), 40.0), (at(10), 20.0)]

    chart = temperature_chart(readings, (2.0, 30.0), out=[(at(0.5), at(1))], gaps=[(at(1), at(9))])

    # From −10 at the foot to 40 at the top; ten hours from x 47 to 616.
    assert [tick.label for tick in chart.axes.up] == ["−10", "0", "10", "20", "30", "40"]
    assert (chart.axes.left, chart.axes.up[0].at, chart.axes.up[-1].at) == (47, BOTTOM, TOP)
    assert chart.line == "M47,107.2L103.9,221.2M559.1,16L616,107.2"
    assert (chart.minimum_at, chart.maximum_at) == (189.3, 61.6)
    assert chart.out == (Stripe(75.5, 28.4),)
    assert chart.gaps == (Stripe(103.9, 455.2),)
    assert [tick.label for tick in chart.axes.across] == ["03-01", "02:00", "04:00", "06:00", "08:00", "10:00"]
    assert chart.rows[1] == TemperatureRow(at(1), 1, -5.0, -5.0)


def test_over_more_than_two_days_temperatures_are_told_by_day() -> None:
    readings = [(at(hour), float(hour % 24)) for hour in range(24 * 5)]

    chart = temperature_chart(readings, (2.0, 30.0))

    assert [(row.start, row.readings, row.lowest, row.highest) for row in chart.rows] == [
        (at(24 * day), 24, 0.0, 23.0) for day in range(5)
    ]
    assert [tick.label for tick in chart.axes.across] == ["03-01", "03-02", "03-03", "03-04", "03-05"]


def test_of_many_readings_only_what_shows_is_drawn() -> None:
    readings = [(at(minute / 60), 50.0 if minute == 7777 else 20.0) for minute in range(12_000)]

    chart = temperature_chart(readings, (2.0, 30.0))

    assert chart.line.count("L") < 4 * 580
    assert ",16L" in chart.line  # the one high reading


def test_times_out_of_range_that_cannot_be_told_apart_are_one_stripe() -> None:
    readings = [(at(hour), 20.0) for hour in range(1000)]
    out = [(at(hour), at(hour + 0.5)) for hour in range(100, 500)]

    chart = temperature_chart(readings, (2.0, 30.0), out)

    assert chart.out == (Stripe(94.1, 232.6),)


def test_one_reading_is_no_line() -> None:
    with pytest.raises(ValueError, match="two"):
        temperature_chart([(at(0), 20.0)], (2.0, 30.0))
