"""Resupply of one site: trigger, need, cover near expiry, packs, blind rules, consignment limits."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, time, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.supply.blind_rules import BLIND_RULES
from rts.supply.resupply import (
    Buffers,
    Policy,
    TypeStock,
    buffers_of,
    decide_resupply,
    kits_for_screened,
    policy_of,
    unmet_demands,
)
from rts.supply.windows import Demand
from rts.trial.definition import SupplyClass, SupplyRules

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
TODAY = date(2026, 5, 1)
FAR = date(2027, 5, 1)
RULES = SupplyRules(
    policy="predictive",
    fires="le",
    scope="all",
    blind_rule="at_least_one_each",
    short_window=14,
    long_window=42,
    new_subjects=False,
    prior_shape=1.2,
    prior_rate=40.0,
    epsilon=0.01,
    loss_allowance=1,
    pack=1,
    minimum_consignment=2,
    maximum_consignment=60,
    overdue_after_days=5,
    night_run=time(2, 0),
    classes=(SupplyClass("low", 2, 1, 2, 1, 3),),
)


def day(offset: int) -> date:
    return TODAY + timedelta(days=offset)


def stock(
    kit_type: str, on_hand: int = 0, minimum: int = 0, maximum: int = 0, due: tuple[int, ...] = (), **more: Any
) -> TypeStock:
    given_values: dict[str, Any] = {
        "on_hand": (FAR,) * on_hand,
        "in_transit": (),
        "requested": (),
        "demands": tuple(Demand(day(offset), 1, 31) for offset in due),
        "buffers": Buffers(minimum, maximum),
    }
    return TypeStock(kit_type=kit_type, **{**given_values, **more})


def order(policy: Policy, *stocks: TypeStock) -> dict[str, int]:
    return decide_resupply(stocks, policy, TODAY).order


@pytest.mark.parametrize("row", CASES["R25_screened_virtual_blocks"]["rows"])
def test_screened_subjects_ask_for_whole_ratio_blocks(row: dict[str, Any]) -> None:
    assert kits_for_screened(row["ratio"], row["screened_expected_in_window"], row["screen_failure"]) == row["kits"]


def test_a_decimal_screen_failure_adds_no_block_by_rounding() -> None:
    assert kits_for_screened({"A": 4, "P": 3}, 10, 0.3) == {"A": 4, "P": 3}


@pytest.mark.parametrize("row", CASES["R23_expiry_aware_cover"]["rows"])
def test_demands_take_the_kit_that_expires_first(row: dict[str, Any]) -> None:
    kits = [(day(start), day(end)) for start, end in row["kits_available_from_to"]]
    unmet, left = unmet_demands(kits, [Demand(day(offset), 1) for offset in row["demand_days"]])
    assert [demand.due for demand in unmet] == [day(offset) for offset in row["unmet_days"]]
    assert left == [(day(start), day(end)) for start, end in row["kits_left_unused"]]


@given(
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 15)), max_size=5),
    st.lists(st.integers(0, 15), max_size=5),
)
def test_no_other_matching_leaves_fewer_demands_unmet(spans: list[tuple[int, int]], due: list[int]) -> None:
    kits = [(day(start), day(start + length)) for start, length in spans]
    unmet, _ = unmet_demands(kits, [Demand(day(offset), 1) for offset in due])

    def can_all_be_met(wanted: tuple[int, ...], free: tuple[tuple[date, date], ...]) -> bool:
        if not wanted:
            return True
        return any(
            start <= day(wanted[0]) <= end and can_all_be_met(wanted[1:], free[:index] + free[index + 1 :])
            for index, (start, end) in enumerate(free)
        )

    fewest = next(
        len(due) - size
        for size in range(len(due), -1, -1)
        if any(can_all_be_met(chosen, tuple(kits)) for chosen in combinations(due, size))
    )
    assert len(unmet) == fewest


def test_requested_kits_count_so_that_no_request_is_doubled() -> None:
    tonight = stock("A", on_hand=1, minimum=2, maximum=4)
    assert order(Policy(), tonight) == {"A": 3}
    assert order(Policy(), replace(tonight, requested=(FAR, FAR, FAR))) == {"A": 0}


def test_overdue_visits_and_todays_count_in_every_window_but_not_under_plain_minimum_and_maximum() -> None:
    site = stock("A", on_hand=9, due=(-3, 0, 1, 14, 15, 42, 43))
    (line,) = decide_resupply([site], Policy(short_window=14, long_window=42), TODAY).per_type
    assert (line.pd_short, line.pd_long) == (4, 6)
    (line,) = decide_resupply([site], Policy(), TODAY).per_type
    assert (line.pd_short, line.pd_long) == (0, 0)


def test_usable_at_the_trigger_fires_or_not_as_set() -> None:
    site = stock("A", on_hand=2, minimum=2, maximum=5)
    assert order(Policy(fires="le"), site) == {"A": 3}
    assert order(Policy(fires="lt"), site) == {"A": 0}


def test_a_kit_expiring_before_its_visit_is_replaced_though_the_count_suffices() -> None:
    soon = (day(45), day(45))
    site = stock("A", due=(10, 20), on_hand=0, dnc=38)
    site = replace(site, on_hand=soon)
    (line,) = decide_resupply([site], Policy(short_window=14, long_window=42, fires="lt"), TODAY).per_type
    assert (line.usable, line.trigger, line.level) == (2, 1, 2)
    assert (line.fired, line.unmet_short, line.unmet_long) == (False, 0, 1)
    assert (line.need, line.order) == (1, 0)

    later = decide_resupply([site], Policy(short_window=21, long_window=42, fires="lt"), TODAY).per_type[0]
    assert (later.fired, later.unmet_short, later.order) == (False, 1, 1)

    counted_only = Policy(short_window=21, long_window=42, fires="lt", covers_expiry=False)
    assert order(counted_only, site) == {"A": 0}


def test_when_no_need_is_left_nothing_is_ordered_whatever_fired() -> None:
    policy = Policy(minimum_consignment=4)
    decision = decide_resupply([stock("A", 2, 2, 2), stock("P", 3, 1, 1)], policy, TODAY)
    assert [line.fired for line in decision.per_type] == [True, False]
    assert decision.order == {"A": 0, "P": 0}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("all", {"A": 3, "P": 1, "R": 2}), ("group", {"A": 3, "P": 1, "R": 0}), ("fired", {"A": 3, "P": 0, "R": 0})],
)
def test_scope_says_whose_needs_are_sent(scope: str, expected: dict[str, int]) -> None:
    site = (stock("A", 1, 2, 4, group="g"), stock("P", 3, 2, 4, group="g"), stock("R", 3, 2, 5, group="rescue"))
    assert order(Policy(scope=scope, blind_rule="none"), *site) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("none", {"A": 7, "P": 0}),
        ("at_least_one_each", {"A": 7, "P": 1}),
        ("pad", {"A": 7, "P": 4}),
        ("ratio", {"A": 8, "P": 4}),
        ("equal", {"A": 7, "P": 7}),
    ],
)
def test_each_blind_rule_raises_the_smaller_orders(rule: str, expected: dict[str, int]) -> None:
    site = (stock("A", 0, 2, 7, ratio=2), stock("P", 7, 2, 7, ratio=1))
    assert order(Policy(blind_rule=rule), *site) == expected


def test_whole_packs_are_sent_and_a_type_added_for_the_blind_comes_as_a_pack() -> None:
    assert order(Policy(), stock("A", 0, 2, 5, pack=4), stock("P", 9, 2, 5, pack=4)) == {"A": 8, "P": 4}


def test_the_minimum_consignment_is_filled_with_whole_blocks() -> None:
    site = (stock("A", 4, 4, 5, ratio=2), stock("P", 9, 2, 5, ratio=1))
    assert order(Policy(minimum_consignment=5), *site) == {"A": 3, "P": 2}
    assert order(Policy(minimum_consignment=6), *site) == {"A": 5, "P": 3}


def test_the_maximum_consignment_cuts_whole_blocks_and_keeps_one_of_each() -> None:
    site = (stock("A", 0, 2, 9), stock("P", 8, 2, 9))
    decision = decide_resupply(site, Policy(maximum_consignment=6), TODAY)
    assert decision.order == {"A": 5, "P": 1}
    assert [line.cut for line in decision.per_type] == [4, 0]


def test_buffers_fall_to_the_loss_allowance_after_the_last_subject() -> None:
    low = RULES.class_of("low")
    assert buffers_of(RULES, low, is_recruiting=True) == Buffers(1, 3)
    assert buffers_of(RULES, low, is_recruiting=False) == Buffers(1, 1)


def test_minimum_and_maximum_policy_has_no_windows_and_keeps_its_levels() -> None:
    rules = replace(RULES, policy="minmax")
    assert (policy_of(rules).short_window, policy_of(rules).long_window) == (0, 0)
    assert buffers_of(rules, rules.class_of("low"), is_recruiting=False) == Buffers(1, 2)
    assert (policy_of(RULES).short_window, policy_of(RULES).long_window) == (14, 42)


def test_inputs_and_results_print_as_sealed() -> None:
    site = stock("A", 0, 2, 6)
    decision = decide_resupply([site], Policy(), TODAY)
    assert [f"{site}", f"{decision!r}", f"{decision.per_type[0]!r}"] == ["<sealed>"] * 3


STOCKS = st.builds(
    TypeStock,
    kit_type=st.just(""),
    on_hand=st.lists(st.integers(0, 90).map(day), max_size=5).map(tuple),
    in_transit=st.lists(st.integers(0, 90).map(day), max_size=3).map(tuple),
    requested=st.lists(st.integers(60, 90).map(day), max_size=3).map(tuple),
    demands=st.lists(
        st.builds(Demand, due=st.integers(-5, 60).map(day), quantity=st.integers(1, 2), dnd=st.just(31)), max_size=5
    ).map(tuple),
    buffers=st.builds(lambda low, more: Buffers(low, low + more), st.integers(0, 4), st.integers(0, 5)),
    group=st.sampled_from(["g", "h"]),
    dnc=st.integers(0, 40),
    new_short=st.integers(0, 2),
    new_long=st.integers(2, 4),
    pack=st.integers(1, 3),
    ratio=st.integers(1, 3),
)
POLICIES = st.builds(
    Policy,
    fires=st.sampled_from(["le", "lt"]),
    scope=st.sampled_from(["all", "group", "fired"]),
    blind_rule=st.sampled_from(sorted(BLIND_RULES)),
    short_window=st.sampled_from([0, 14]),
    long_window=st.sampled_from([14, 42]),
    minimum_consignment=st.integers(0, 12),
    maximum_consignment=st.none() | st.integers(0, 20),
)


@pytest.mark.requirement("BLIND-02")
@given(STOCKS, STOCKS, STOCKS, POLICIES)
def test_exchanging_labels_exchanges_results_and_nothing_else(
    first: TypeStock, second: TypeStock, third: TypeStock, policy: Policy
) -> None:
    one = decide_resupply(
        [replace(first, kit_type="A"), replace(second, kit_type="P"), replace(third, kit_type="R")], policy, TODAY
    )
    other = decide_resupply(
        [replace(third, kit_type="R"), replace(second, kit_type="A"), replace(first, kit_type="P")], policy, TODAY
    )
    exchange = {"A": "P", "P": "A", "R": "R"}
    by_label = {line.kit_type: line for line in other.per_type}
    assert [replace(by_label[exchange[line.kit_type]], kit_type=line.kit_type) for line in one.per_type] == list(
        one.per_type
    )


@given(STOCKS, STOCKS, POLICIES)
def test_an_order_keeps_within_the_maximum_and_never_covers_more_than_it_says(
    first: TypeStock, second: TypeStock, policy: Policy
) -> None:
    decision = decide_resupply([replace(first, kit_type="A"), replace(second, kit_type="P")], policy, TODAY)
    lines = decision.per_type
    if policy.maximum_consignment is not None:
        assert sum(line.order for line in lines) <= policy.maximum_consignment
    for line, site in zip(lines, (first, second), strict=True):
        assert 0 <= line.order == line.after_minimum - line.cut
        assert line.usable + line.not_counted == len(site.on_hand + site.in_transit + site.requested)
        assert line.need >= max(line.level - line.usable, line.unmet_long)
        assert line.after_blind_rule >= line.after_packs
    if not any(line.fired or line.unmet_short for line in lines):
        assert decision.order == {"A": 0, "P": 0}


@pytest.mark.parametrize(
    "setting",
    [{"fires": "eq"}, {"scope": "site"}, {"blind_rule": "open"}, {"short_window": 15, "long_window": 14}],
)
def test_a_policy_that_means_nothing_is_a_mistake(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting)).split("_")[0]):
        Policy(**setting)


@pytest.mark.parametrize("setting", [{"pack": 0}, {"ratio": 0}, {"minimum": 3, "maximum": 2}])
def test_impossible_stock_settings_are_mistakes(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        stock("A", **setting)


def test_a_kit_type_given_twice_is_a_mistake_that_does_not_name_it() -> None:
    with pytest.raises(ValueError, match=r"^a kit type is given twice$"):
        order(Policy(), stock("A"), stock("A"))
