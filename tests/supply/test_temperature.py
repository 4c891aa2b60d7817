"""The files of temperature loggers, and what their readings come to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.refusal import Refusal
from rts.supply.temperature import (
    LARGEST_FILE,
    Period,
    Reading,
    StorageRange,
    gaps_in,
    periods_since,
    read_logger_file,
    readings_written,
    summarise,
    time_out_of_range,
    written,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
ROOM = StorageRange(Decimal("2.0"), Decimal("30.0"))
START = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def course(*points: tuple[float, str]) -> list[Reading]:
    """Readings from (minute, degrees Celsius)."""
    return [Reading(at(minute), Decimal(celsius)) for minute, celsius in points]


def read(text: str, zone: ZoneInfo = SHANGHAI) -> list[tuple[str, str]]:
    """What the text of a file comes to: moments in UTC, and degrees."""
    readings = read_logger_file(text.encode(), zone, NOW)
    return [(f"{one.at:%Y-%m-%d %H:%M:%S}", str(one.celsius)) for one in readings]


def refused(text: str | bytes, zone: ZoneInfo = SHANGHAI) -> tuple[str, ...]:
    with pytest.raises(Refusal) as found:
        read_logger_file(text if isinstance(text, bytes) else text.encode(), zone, NOW)
    assert found.value.code == "invalid"
    return found.value.rules


TWO = [("2026-03-01 02:00:00", "5.20"), ("2026-03-01 02:10:00", "-5.30")]


@pytest.mark.parametrize(
    "text",
    [
        "Timestamp,Temperature (°C)\n2026-03-01 10:00:00,5.2\n2026-03-01 10:10:00,-5.3\n",
        "Date/Time;Temp °C\r\n2026-03-01 10:00;5,2\r\n2026-03-01 10:10;-5,3\r\n",
        "时间\t温度(℃)\n2026/03/01 10:00\t5.2\n2026/03/01 10:10\t-5.3\n",
        'Date Time (DD.MM.YYYY);Celsius\n01.03.2026 10:00;"5,2 °C"\n01.03.2026 10:10;−5,3\n01.03.2026 10:20;\n',
        "No.,Date,Time,Temperature °C,Humidity %\n1,01-Mar-2026,10:00:00,5.2,40\n2,01-Mar-2026,10:10:00,-5.3,41\n",
        "Unit: °C\nTime,Date (MM/DD/YYYY),Temp °C\n10:00 AM,03/01/2026,5.2\n10:10 AM,03/01/2026,-5.3",
        "Serial;12345\nUnit;°C\nTime zone;UTC+8\n\ntime;temperature\n2026-03-01 10:10;-5.3\n2026-03-01 10:00;5.2\n",
        '"Plot Title: box 7"\n"#","Date Time, GMT+08:00","Temp, °C (LGR S/N: 1)"\n1,2026-03-01 10:00,5.2\n'
        "2,2026-03-01 10:10,-5.3\n",
        "Start time,2026-02-28 09:00,Max temp,8.0 °C\nTime,Temp °C\n2026-03-01 10:00,5.2\n2026-03-01 10:10,-5.3\n",
        "time,temp (°F)\n2026-03-01T02:00:00Z,41.36\n2026-03-01T10:10:00+08:00,22.46\n",
        "\ufefftime,temp °C\n2026-03-01 10:00,5.2\n2026-03-01 10:00,5.2\n2026-03-01 10:10,-5.3\n",
    ],
    ids=[
        "plain",
        "semicolon",
        "chinese",
        "dotted",
        "two-columns",
        "header-spells",
        "head",
        "hobo",
        "summary-above",
        "zones",
        "twice",
    ],
)
@pytest.mark.requirement("SHIP-05")
def test_files_of_common_loggers_are_read(text: str) -> None:
    assert read(text) == TWO


@pytest.mark.parametrize(
    ("encoding", "head"),
    [
        ("utf-8", "time,temp °C"),
        ("utf-16", "time,temp °C"),
        ("cp1252", "time,temp °C"),
        ("gb18030", "时间,温度(℃)"),
        ("gb18030", "Time,Temp(℃)"),
        ("gb18030", "时间,温度(C)"),
    ],
)
def test_the_encodings_of_loggers_are_read(encoding: str, head: str) -> None:
    content = f"{head}\n2026-03-01 10:00,5.2\n2026-03-01 10:10,-5.3\n".encode(encoding)

    assert [str(one.celsius) for one in read_logger_file(content, SHANGHAI, NOW)] == ["5.20", "-5.30"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "header"),
        ("a,b\n1,2\n", "header"),
        ("time,temp\n2026-03-01 10:00,5\n2026-03-01 10:10,5\n", "unit"),
        ("unit °C or °F\ntime,temp\n2026-03-01 10:00,5\n2026-03-01 10:10,5\n", "unit"),
        ("time UTC GMT+8,temp °C\n2026-03-01 10:00,5\n2026-03-01 10:10,5\n", "zone"),
        ("time,temp °C,temp 2 °C\n2026-03-01 10:00,5,6\n2026-03-01 10:10,5,6\n", "columns"),
        ("time local,time UTC,temp °C\n2026-03-01 10:00,2026-03-01 02:00,5\n", "columns"),
        ("time,temp °C\n2026-03-01 10:00,5\n", "readings"),
        ("time,temp °C\n2026-03-01 10:00,5\n2026-03-01 10:00,5\n", "readings"),
        ("time,temp °C\n2026-03-01 10:00,5\nyesterday,5\n", "time"),
        ("time,temp °C\n2026-03-01 10:00,5\n2026-02-30 10:00,5\n", "time"),
        ("time,temp °C\n2026-03-01 10:00,5\n,5\n2026-03-01 10:20,5\n", "time"),
        ("time,temp °C\n2026-03-01 10:00,5\n2026-03-01 25:00,5\n", "time"),
        ("time,temp °C\n2026-03-01 10:00 AM,5\n2026-03-01 13:00 PM,5\n", "time"),
        ("time,temp °C\n2026-03-01 10:00,5\n2026-03-01 10:10,Err\n", "value"),
        ("time,temp °C\n2026-03-01 10:00,5\n2026-03-01 10:10,5 °F\n", "value"),
        ("time,temp °C\n2026-03-01 10:00,5\n2026-03-01 10:10,999\n", "value"),
        ("time,temp °C\n2026-03-01 10:00,5,2\n2026-03-01 10:10,5,3\n", "cells"),
        ("time,temp °C\n2026-03-01 10:00,5\n2026-03-01 10:00,6\n", "twice"),
        ("time,temp °C\n01/02/2026 10:00,5\n02/02/2026 10:10,5\n", "day_or_month"),
        ("time,temp °C\n13/02/2026 10:00,5\n02/13/2026 10:10,5\n", "day_or_month"),
        ("time,temp °C\n13/02/26 10:00,5\n14/02/26 10:10,5\n", "year"),
        ("time,temp °C\n2026-03-31 10:00,5\n2026-03-31 20:01,5\n", "future"),
    ],
)
def test_what_is_ambiguous_or_wrong_is_refused_by_name(text: str, rule: str) -> None:
    assert refused(text) == (f"logger.{rule}",)


ROWS = st.lists(
    st.text(st.sampled_from('0123456789-/.:,; TZ+APM°CFMar\n"\u2212'), max_size=40)
    | st.sampled_from(["2026-03-01 10:00,5", "01/13/2026 1:00 PM;5,2", "2026-03-01T02:00:00Z\t-1"]),
    max_size=8,
)


@given(st.sampled_from(["time,temp °C", "Date;Time;Temp (F)", "Time (UTC+8)\tcelsius", "time,temp"]), ROWS)
def test_whatever_a_file_holds_it_is_read_or_refused(head: str, rows: list[str]) -> None:
    content = "\n".join([head, *rows]).encode()
    try:
        readings = read_logger_file(content, SHANGHAI, NOW)
    except Refusal:
        return
    moments = [reading.at for reading in readings]
    assert moments == sorted(set(moments))
    assert moments[-1] <= NOW


@given(st.binary(max_size=200))
def test_bytes_that_are_no_table_are_refused(content: bytes) -> None:
    with pytest.raises(Refusal):
        read_logger_file(content, SHANGHAI, NOW)


def test_a_reading_of_this_very_moment_is_not_in_the_future() -> None:
    assert len(read("time,temp °C\n2026-03-31 10:00,5\n2026-03-31 20:00,5\n")) == 2


def test_a_file_that_is_too_large_is_refused() -> None:
    assert refused(b"x" * (LARGEST_FILE + 1)) == ("logger.size",)


@pytest.mark.parametrize("hour", ["2026-03-29 02:30", "2025-10-26 02:30"])
def test_an_hour_at_which_the_clocks_were_changed_is_refused(hour: str) -> None:
    text = f"time,temp °C\n2025-10-01 10:00,5\n{hour},5\n"

    assert refused(text, ZoneInfo("Europe/Berlin")) == ("logger.changed_clocks",)


def test_the_day_comes_first_where_a_date_of_the_file_proves_it() -> None:
    found = read("time;temp °C\n03.02.2026 10:00;5,0\n13.02.2026 10:00;6,0\n")

    assert found == [("2026-02-03 02:00:00", "5.00"), ("2026-02-13 02:00:00", "6.00")]


def test_the_month_comes_first_where_a_date_of_the_file_proves_it() -> None:
    found = read("time,temp °C\n03/02/2026 10:00,5\n03/13/2026 10:00,6\n")

    assert found == [("2026-03-02 02:00:00", "5.00"), ("2026-03-13 02:00:00", "6.00")]


@pytest.mark.requirement("SHIP-05")
def test_each_reading_stands_for_the_time_nearer_to_it_than_to_any_other() -> None:
    # 0 to 5 minutes at 20, 5 to 15 at 31, 15 to 25 at 32, 25 to 35 at 1, 35 to 40 at 20
    found = summarise(course((0, "20"), (10, "31"), (20, "32"), (30, "1"), (40, "20")), ROOM)

    assert (found.readings, found.start, found.end) == (5, at(0), at(40))
    assert (found.lowest, found.highest) == (Decimal("1"), Decimal("32"))
    assert found.periods == (Period(at(5), at(25), "above"), Period(at(25), at(35), "below"))
    assert (found.above, found.below, found.longest) == (
        timedelta(minutes=20),
        timedelta(minutes=10),
        timedelta(minutes=20),
    )


def test_the_ends_of_the_range_are_within_it() -> None:
    found = summarise(course((0, "2.00"), (10, "30.00"), (20, "1.99"), (30, "30.01")), ROOM)

    assert found.periods == (Period(at(15), at(25), "below"), Period(at(25), at(30), "above"))


@pytest.mark.parametrize(
    ("points", "kinetic"),
    [
        # 10,000 / 293.15 = 34.11223 and 10,000 / 303.15 = 32.98697: e^-32.98697 (1 + e^-1.12526) / 2 = e^-33.39903;
        # 10,000 / 33.39903 = 299.410 K.
        ((("0", "20"), ("10", "30")), "26.26"),
        # A third of the time at 20, two thirds at 30: e^-32.98697 (2 + e^-1.12526) / 3 = e^-33.24205; 300.824 K.
        ((("0", "20"), ("10", "30"), ("15", "30")), "27.67"),
        ((("0", "25"), ("10", "25"), ("35", "25")), "25.00"),
    ],
)
def test_the_mean_kinetic_temperature_is_that_of_haynes(points: tuple[tuple[str, str], ...], kinetic: str) -> None:
    found = summarise(course(*((float(minute), celsius) for minute, celsius in points)), ROOM)

    assert found.mean_kinetic == Decimal(kinetic)


@given(st.lists(st.decimals("-20", "40", places=1), min_size=2, max_size=40))
def test_the_mean_kinetic_temperature_lies_between_the_mean_and_the_highest(degrees: list[Decimal]) -> None:
    found = summarise([Reading(at(10 * place), celsius) for place, celsius in enumerate(degrees)], ROOM)

    weights = [1, *[2] * (len(degrees) - 2), 1]
    mean = sum(weight * celsius for weight, celsius in zip(weights, degrees, strict=True)) / sum(weights)
    assert mean - Decimal("0.01") <= found.mean_kinetic <= found.highest + Decimal("0.01")


def test_a_gap_is_more_than_three_usual_intervals() -> None:
    regular = course((0, "20"), (10, "20"), (20, "20"), (50, "20"))
    gapped = course((0, "20"), (10, "20"), (20, "20"), (50.1, "31"), (60.1, "20"))

    assert gaps_in(regular) == ()
    assert gaps_in(gapped) == (Period(at(20), at(50.1), "unknown"),)
    # No reading stands for any of the gap: the one after it begins where it ends.
    assert summarise(gapped, ROOM).periods == (Period(at(50.1), at(55.1), "above"),)


def test_readings_are_kept_as_they_are_written() -> None:
    readings = course((0, "20"), (10.5, "-0.25"))

    assert written(readings) == "2026-03-01T00:00:00Z 20\n2026-03-01T00:10:30Z -0.25\n"
    assert readings_written(written(readings)) == tuple(readings)


def test_time_that_two_loggers_tell_of_counts_once() -> None:
    one = Period(at(0), at(30), "above")
    same = Period(at(10), at(20), "below")
    later = Period(at(25), at(40), "unknown")

    assert time_out_of_range([later, one, same]) == timedelta(minutes=40)
    assert time_out_of_range(periods_since([later, one, same], at(28))) == timedelta(minutes=12)
    assert time_out_of_range(periods_since([one], at(30))) == timedelta()
    assert time_out_of_range([]) == timedelta()
