"""Which kits are sent and handed out, and that the choice does not tell the types apart."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.supply.picking import (
    ConsignmentPick,
    Lot,
    StockKit,
    SubjectPick,
    every_type_is_in_stock,
    pick_consignment,
    pick_for_subject,
    pick_lots,
)

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))["R22_fefo_pick"]
LOTS = [
    Lot(
        code=lot["lot"],
        expiry=date.fromisoformat(lot["expiry"]),
        released_in=frozenset(lot["released"]),
        quantity=lot["qty"],
        is_quarantined=lot["status"] == "quarantined",
    )
    for lot in CASES["lots"]
]
EARLY, LATE = date(2026, 7, 31), date(2027, 7, 31)
TODAY = date(2026, 5, 1)
GROUP = ("A", "P")


def kit(number: str, kit_type: str, expiry: date = EARLY, rank: int = 1, lot: str = "") -> StockKit:
    return StockKit(number, kit_type, lot or expiry.isoformat(), expiry, rank)


@pytest.mark.parametrize("row", CASES["rows"])
def test_lots_are_taken_first_expired_first_out(row: dict[str, Any]) -> None:
    picks, unfilled = pick_lots(
        LOTS, row["country"], date.fromisoformat(row["ship_date"]), row["DNS"], row["requested"]
    )
    assert [list(pick) for pick in picks] == row["picks"]
    assert unfilled == row["unfilled"]


def test_a_consignment_comes_from_the_earliest_lot_that_covers_every_type() -> None:
    depot = [
        *(kit(f"K{n}", "A", EARLY, n) for n in range(1, 5)),
        kit("K5", "P", EARLY, 5),
        *(kit(f"L{n}", GROUP[n % 2], LATE, n) for n in range(1, 9)),
    ]
    pick = pick_consignment(depot, {"A": 2, "P": 2}, TODAY, dns=60)
    assert (pick.numbers, pick.is_split, pick.unfilled) == (("L1", "L2", "L3", "L4"), False, {"A": 0, "P": 0})
    assert pick_consignment(depot, {"A": 2, "P": 1}, TODAY, dns=60).numbers == ("K1", "K2", "K5")


def test_a_lot_past_its_ship_date_is_passed_over() -> None:
    depot = [kit("K1", "A", EARLY), kit("L1", "A", LATE)]
    assert pick_consignment(depot, {"A": 1}, date(2026, 6, 1), dns=60).numbers == ("K1",)
    assert pick_consignment(depot, {"A": 1}, date(2026, 6, 2), dns=60).numbers == ("L1",)


def test_an_order_no_single_lot_covers_is_split_and_flagged() -> None:
    depot = [kit("K1", "A", EARLY), kit("L1", "A", LATE), kit("L2", "P", LATE)]
    pick = pick_consignment(depot, {"A": 2, "P": 2}, TODAY, dns=60)
    assert (pick.numbers, pick.is_split, pick.unfilled) == (("K1", "L1", "L2"), True, {"A": 0, "P": 1})


def test_kits_leave_by_pick_rank_and_are_listed_by_number() -> None:
    depot = [kit("K1", "A", rank=9), kit("K2", "A", rank=2), kit("K3", "P", rank=5), kit("K4", "A", rank=1)]
    assert pick_consignment(depot, {"A": 2, "P": 1}, TODAY, dns=60).numbers == ("K2", "K3", "K4")


def test_a_subject_gets_a_kit_of_the_earliest_class_that_holds_every_type() -> None:
    shelf = [kit("K1", "A", EARLY), kit("L1", "A", LATE, 2), kit("L2", "P", LATE, 1), kit("L3", "A", LATE, 1)]
    assert pick_for_subject(shelf, "A", GROUP, 1, TODAY, dnd=31) == SubjectPick(("L3",), possible_leak=False)
    assert pick_for_subject(shelf, "P", GROUP, 1, TODAY, dnd=31) == SubjectPick(("L2",), possible_leak=False)


def test_without_such_a_class_the_earliest_with_the_own_type_serves_and_is_flagged() -> None:
    shelf = [kit("K1", "A", EARLY), kit("L2", "P", LATE)]
    assert pick_for_subject(shelf, "P", GROUP, 1, TODAY, dnd=31) == SubjectPick(("L2",), possible_leak=True)
    assert pick_for_subject(shelf, "A", GROUP, 1, TODAY, dnd=31) == SubjectPick(("K1",), possible_leak=True)


def test_two_lots_of_one_expiry_are_two_classes() -> None:
    shelf = [kit("K1", "A", lot="X"), kit("K2", "P", lot="Y")]
    assert pick_for_subject(shelf, "A", GROUP, 1, TODAY, dnd=31).possible_leak


def test_several_kits_come_from_one_class_if_any_has_enough() -> None:
    shelf = [kit("K1", "A", EARLY, 1), kit("K2", "P", EARLY, 2)]
    shelf += [kit("L1", "A", LATE, 1), kit("L2", "A", LATE, 2), kit("L3", "P", LATE, 3), kit("L4", "P", LATE, 4)]
    assert pick_for_subject(shelf, "A", GROUP, 2, TODAY, dnd=31) == SubjectPick(("L1", "L2"), possible_leak=False)
    assert pick_for_subject(shelf, "A", GROUP, 3, TODAY, dnd=31) == SubjectPick(("K1", "L1", "L2"), possible_leak=True)
    assert pick_for_subject(shelf, "A", GROUP, 4, TODAY, dnd=31) == SubjectPick((), possible_leak=False)


@pytest.mark.requirement("EXP-02")
def test_a_kit_past_its_dispensing_day_is_not_handed_out() -> None:
    shelf = [kit("K1", "A"), kit("K2", "P")]
    assert pick_for_subject(shelf, "A", GROUP, 1, date(2026, 6, 30), dnd=31).numbers == ("K1",)
    assert pick_for_subject(shelf, "A", GROUP, 1, date(2026, 7, 1), dnd=31).numbers == ()


def test_the_stock_gate_asks_for_every_type() -> None:
    shelf = [kit("K1", "A", EARLY), kit("L2", "P", LATE)]
    assert every_type_is_in_stock(shelf, GROUP, 1, TODAY, dnd=31)
    assert not every_type_is_in_stock(shelf, GROUP, 2, TODAY, dnd=31)
    assert not every_type_is_in_stock(shelf, GROUP, 1, date(2026, 7, 1), dnd=31)


def test_picks_and_kits_print_as_sealed() -> None:
    picks = [kit("K1", "A"), ConsignmentPick((), False, {"A": 1}), SubjectPick((), False)]
    assert [repr(one) for one in picks] == ["<sealed>"] * 3


SHELVES = st.lists(
    st.tuples(st.sampled_from(GROUP), st.sampled_from([EARLY, LATE]), st.sampled_from(["X", "Y"])), max_size=10
).map(lambda rows: [kit(f"K{n}", label, expiry, 97 * n % 11, lot) for n, (label, expiry, lot) in enumerate(rows)])
EXCHANGED = {"A": "P", "P": "A"}


def exchanged(kits: list[StockKit]) -> list[StockKit]:
    return [replace(one, kit_type=EXCHANGED[one.kit_type]) for one in kits]


@pytest.mark.requirement("BLIND-02")
@given(SHELVES, st.integers(0, 3), st.integers(0, 3))
def test_exchanging_labels_sends_the_same_kits(kits: list[StockKit], first: int, second: int) -> None:
    pick = pick_consignment(kits, {"A": first, "P": second}, TODAY, dns=60)
    other = pick_consignment(exchanged(kits), {"A": second, "P": first}, TODAY, dns=60)
    assert (pick.numbers, pick.is_split) == (other.numbers, other.is_split)
    assert pick.unfilled == {"A": other.unfilled["P"], "P": other.unfilled["A"]}
    assert len(pick.numbers) + sum(pick.unfilled.values()) == first + second


@pytest.mark.requirement("BLIND-02")
@given(SHELVES, st.sampled_from(GROUP), st.integers(1, 2))
def test_exchanging_labels_hands_out_the_same_kit(kits: list[StockKit], own: str, quantity: int) -> None:
    pick = pick_for_subject(kits, own, GROUP, quantity, TODAY, dnd=31)
    assert pick == pick_for_subject(exchanged(kits), EXCHANGED[own], GROUP, quantity, TODAY, dnd=31)
    assert pick == pick_for_subject(kits[::-1], own, GROUP[::-1], quantity, TODAY, dnd=31)


@given(SHELVES, st.integers(1, 2))
def test_an_unflagged_pick_comes_from_the_same_class_whatever_the_subjects_type(
    kits: list[StockKit], quantity: int
) -> None:
    by_number = {one.number: one for one in kits}
    picks = [pick_for_subject(kits, own, GROUP, quantity, TODAY, dnd=31) for own in GROUP]
    classes = [{(by_number[number].expiry, by_number[number].lot) for number in pick.numbers} for pick in picks]
    if any(pick.numbers and not pick.possible_leak for pick in picks):
        assert classes[0] == classes[1]
        assert len(classes[0]) == 1
