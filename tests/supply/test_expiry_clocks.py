"""Boundaries of the three expiry clocks."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from rts.refusal import Refusal
from rts.supply.expiry import (
    expiry_classes,
    has_expired,
    is_counted,
    last_day_inclusive,
    last_day_strict,
    may_be_dispensed,
    may_be_shipped,
    read_expiry,
)

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))["R20_expiry_boundaries"]
DAY = timedelta(days=1)


@pytest.mark.requirement("EXP-02")
@pytest.mark.parametrize("row", CASES["rows"])
def test_clocks_stop_on_the_published_days(row: dict[str, Any]) -> None:
    expiry, days = date.fromisoformat(row["expiry"]), row["days"]
    inclusive = date.fromisoformat(row["last_date_inclusive_rule"])
    strict = date.fromisoformat(row["last_date_strict_rule"])

    assert (last_day_inclusive(expiry, days), last_day_strict(expiry, days)) == (inclusive, strict)
    assert [may_be_dispensed(day, expiry, days) for day in (inclusive, inclusive + DAY)] == [True, False]
    assert [may_be_shipped(day, expiry, days) for day in (inclusive, inclusive + DAY)] == [True, False]
    assert [is_counted(day, expiry, days) for day in (strict, strict + DAY)] == [True, False]


def test_a_kit_is_usable_through_its_expiry_date() -> None:
    assert not has_expired(date(2026, 7, 12), date(2026, 7, 12))
    assert has_expired(date(2026, 7, 13), date(2026, 7, 12))


def test_a_month_means_its_last_day() -> None:
    month = CASES["month_only_expiry"]
    assert read_expiry(month["label"]) == date.fromisoformat(month["interpreted_last_day"])
    assert read_expiry("2028-02") == date(2028, 2, 29)
    assert read_expiry("2028-02-28") == date(2028, 2, 28)


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-02-30", "07-2026", "2026-7", "2026-07-12 ", "0000-01"])
def test_an_unreadable_expiry_is_refused_by_field(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_expiry(text, "lot.expiry")
    assert (caught.value.code, caught.value.rules) == ("invalid", ("expiry.format",))
    assert caught.value.failed[0].field == "lot.expiry"


def test_classes_go_by_expiry_then_lot() -> None:
    kits = [("k1", 9, "B"), ("k2", 3, "C"), ("k3", 9, "A"), ("k4", 3, "C")]
    classes = expiry_classes(kits, lambda kit: (date(2026, 7, kit[1]), kit[2]))
    assert [[kit[0] for kit in members] for members in classes] == [["k2", "k4"], ["k3"], ["k1"]]
