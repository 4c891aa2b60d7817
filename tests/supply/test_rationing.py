"""Sharing out what a depot has among sites that need more: in two phases, and never one type without the others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.supply.blind_rules import BLIND_RULES, blinded
from rts.supply.rationing import BLIND, NONE_LEFT, ONE_LOT, Order, Share, SiteOrder, fit_to_lots, order_of, ration
from rts.supply.resupply import Buffers, TypeStock
from rts.supply.windows import Demand

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))["R19_rationing"]["cases"]
TODAY = date(2026, 5, 1)
FAR = date(2027, 5, 1)
EACH = "at_least_one_each"


def day(offset: int) -> date:
    return TODAY + timedelta(days=offset)


def poisson(mean: float) -> Callable[[int], float]:
    """P(N > kits) for a Poisson number of this mean."""
    return lambda kits: 1.0 - sum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(kits + 1))


def site(*lines: Order, rule: str = EACH) -> SiteOrder:
    return SiteOrder(lines, rule)


def pair(first: int, second: int, **more: Any) -> SiteOrder:
    """An order of two types of one group; `more` holds for both."""
    return site(Order("A", first, **more), Order("P", second, **more))


def kits(shares: list[Share]) -> list[dict[str, int]]:
    return [share.kits for share in shares]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_the_published_shares_leave_the_smallest_expected_shortage(case: dict[str, Any]) -> None:
    demands = [poisson(rate * case["window_days"]) for rate in case["daily_rate"]]
    orders = [
        site(Order("A", case["depot_available"], cover=stock, chance_of_more_than=more), rule="none")
        for stock, more in zip(case["site_on_hand_plus_transit"], demands, strict=True)
    ]

    shares = [share.kits["A"] for share in ration(orders, {"A": case["depot_available"]})]

    assert shares == case["min_expected_shortage_uncapped"]
    # The expected shortage of a site is the sum of P(demand > k) over all k from its stock on.
    shortage = sum(
        more(k)
        for more, stock, share in zip(demands, case["site_on_hand_plus_transit"], shares, strict=True)
        for k in range(stock + share, 60)
    )
    assert shortage == pytest.approx(case["expected_shortage_at_optimum"], rel=1e-9)


def test_a_depot_that_has_enough_serves_everybody_whole() -> None:
    assert ration([pair(3, 1), pair(2, 2)], {"A": 5, "P": 3}) == [
        Share({"A": 3, "P": 1}, {}),
        Share({"A": 2, "P": 2}, {}),
    ]


def test_dated_visits_come_first_and_the_earliest_before_all() -> None:
    rush = poisson(20.0)
    orders = [
        site(Order("A", 9, chance_of_more_than=rush)),
        site(Order("A", 9, dated=(day(20), day(2)))),
        site(Order("A", 9, dated=(day(9),))),
    ]

    assert [[share["A"] for share in kits(ration(orders, {"A": stock}))] for stock in (1, 2, 3, 4)] == [
        [0, 1, 0],
        [0, 1, 1],
        [0, 2, 1],
        [1, 2, 1],
    ]


def test_a_site_gets_no_more_for_its_dated_visits_than_it_ordered() -> None:
    orders = [site(Order("A", 1, dated=(day(1), day(2), day(3)))), site(Order("A", 2))]

    assert kits(ration(orders, {"A": 2})) == [{"A": 1}, {"A": 1}]


def test_where_needs_are_equal_the_site_named_first_is_served_first() -> None:
    orders = [site(Order("A", 1, dated=(day(3),)))] * 2

    assert ration(orders, {"A": 1}) == [Share({"A": 1}, {}), Share({"A": 0}, {"A": (NONE_LEFT,)})]


@pytest.mark.requirement("BLIND-03")
@pytest.mark.parametrize(("depot", "short"), [({"A": 0, "P": 99}, "A"), ({"A": 99, "P": 0}, "P")])
def test_where_one_type_cannot_be_had_nothing_of_the_group_is_given(depot: dict[str, int], short: str) -> None:
    (share,) = ration([pair(3, 2, dated=(day(1),))], depot)

    other = {"A": "P", "P": "A"}[short]
    assert share == Share({"A": 0, "P": 0}, {short: (NONE_LEFT,), other: (BLIND,)})


@pytest.mark.requirement("BLIND-03")
def test_the_last_set_goes_to_one_site_whole_and_not_one_type_to_each_of_two() -> None:
    first = site(Order("A", 2, dated=(day(2),)), Order("P", 1))
    second = site(Order("A", 1), Order("P", 2, dated=(day(1),)))

    assert kits(ration([first, second], {"A": 1, "P": 1})) == [{"A": 0, "P": 0}, {"A": 1, "P": 1}]


def test_another_group_is_sent_though_one_cannot_be() -> None:
    order = site(Order("A", 1, group="g"), Order("P", 1, group="g"), Order("R", 2, group="rescue"))

    (share,) = ration([order], {"P": 5, "R": 5})

    assert share.kits == {"A": 0, "P": 0, "R": 2}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("none", {"A": 5, "P": 2}),
        ("at_least_one_each", {"A": 5, "P": 2}),
        ("pad", {"A": 4, "P": 2}),
        ("ratio", {"A": 4, "P": 2}),
        ("equal", {"A": 2, "P": 2}),
    ],
)
def test_what_is_left_of_an_order_keeps_the_blind_rule(rule: str, expected: dict[str, int]) -> None:
    whole = {"none": (8, 3), "at_least_one_each": (8, 3), "pad": (8, 4), "ratio": (8, 4), "equal": (8, 8)}[rule]
    order = site(Order("A", whole[0], ratio=2), Order("P", whole[1], ratio=1), rule=rule)

    assert ration([order], {"A": 5, "P": 2})[0].kits == expected


def test_kits_are_given_out_in_whole_packs() -> None:
    assert ration([pair(8, 4, pack=4)], {"A": 7, "P": 6})[0].kits == {"A": 4, "P": 4}
    assert ration([pair(8, 4, pack=4)], {"A": 3, "P": 6})[0].kits == {"A": 0, "P": 0}


def test_what_is_urgent_is_read_from_the_sites_stock_and_schedule() -> None:
    stock = TypeStock(
        kit_type="A",
        on_hand=(FAR, day(20)),  # the second no longer counts
        in_transit=(),
        requested=(FAR,),
        demands=tuple(Demand(day(offset), 1, 31) for offset in (-5, 3, 12, 30)),
        buffers=Buffers(1, 2),
        group="g",
        dnc=38,
        pack=2,
        ratio=3,
    )
    chance = poisson(1.0)

    order = order_of(stock, 4, TODAY, 14, chance)

    assert order == Order("A", 4, (day(12),), -1, chance, "g", 2, 3)


# --- lots -----------------------------------------------------------------------------------------------------------


def test_a_share_that_a_lot_covers_stays_whole() -> None:
    share = Share({"A": 3, "P": 1}, {})

    assert fit_to_lots(pair(3, 1), share, [{"A": 3}, {"A": 2, "P": 9}, {"A": 9, "P": 9}]) == share


@pytest.mark.requirement("BLIND-03")
def test_a_share_that_no_lot_covers_is_cut_to_the_lot_that_gives_most() -> None:
    lots = [{"A": 9}, {"A": 1, "P": 5}, {"A": 2, "P": 1}, {"A": 2, "P": 1}]

    fitted = fit_to_lots(pair(9, 9), Share({"A": 4, "P": 2}, {"A": (NONE_LEFT,)}), lots)

    assert fitted == Share({"A": 1, "P": 2}, {"A": (NONE_LEFT, ONE_LOT)})
    assert fit_to_lots(pair(9, 9), Share({"A": 4, "P": 1}, {}), lots).kits == {"A": 2, "P": 1}


def test_where_no_lot_holds_every_type_the_share_comes_from_several() -> None:
    share = Share({"A": 2, "P": 2}, {})

    assert fit_to_lots(pair(2, 2), share, [{"A": 5}, {"P": 5}]) == share


# --- what always holds ----------------------------------------------------------------------------------------------

QUANTITIES = st.integers(0, 5)
URGENCIES = st.builds(
    dict,
    dated=st.lists(st.integers(-2, 9).map(day), max_size=3).map(tuple),
    cover=st.integers(-2, 3),
    chance_of_more_than=st.sampled_from([0.5, 1.0, 3.0]).map(poisson),
)


@st.composite
def site_orders(draw: st.DrawFn, rules: tuple[str, ...] = tuple(sorted(BLIND_RULES))) -> SiteOrder:
    """An order as a decision leaves it: under its blind rule, in whole packs."""
    pack = draw(st.integers(1, 2)) if (rule := draw(st.sampled_from(rules))) != "ratio" else 1
    lines = [Order(kit_type, 0, ratio=draw(st.integers(1, 2)), pack=pack, **draw(URGENCIES)) for kit_type in "AP"]
    quantities = blinded(rule, [pack * draw(QUANTITIES) for _ in lines], lines)
    return site(
        *(replace(line, quantity=quantity) for line, quantity in zip(lines, quantities, strict=True)), rule=rule
    )


DEPOTS = st.fixed_dictionaries({"A": st.integers(0, 12), "P": st.integers(0, 12)})


@given(st.lists(site_orders(), min_size=1, max_size=4), DEPOTS)
def test_no_more_is_given_than_was_ordered_or_is_there_and_every_share_keeps_its_blind_rule(
    orders: list[SiteOrder], depot: dict[str, int]
) -> None:
    shares = ration(orders, depot)

    for kit_type, stock in depot.items():
        assert sum(share.kits[kit_type] for share in shares) <= stock
    for order, share in zip(orders, shares, strict=True):
        given_kits = [share.kits[line.kit_type] for line in order.lines]
        assert all(0 <= has <= line.quantity for has, line in zip(given_kits, order.lines, strict=True))
        assert blinded(order.blind_rule, given_kits, order.lines) == given_kits
        # Whatever is cut has its reason, and nothing else has one.
        assert {line.kit_type for line in order.lines if share.kits[line.kit_type] < line.quantity} == set(
            share.reasons
        )


EXCHANGED = {"A": "P", "P": "A"}


def exchanged(order: SiteOrder) -> SiteOrder:
    return replace(order, lines=tuple(replace(line, kit_type=EXCHANGED[line.kit_type]) for line in order.lines[::-1]))


@pytest.mark.requirement("BLIND-02")
@given(st.lists(site_orders(), min_size=1, max_size=4), DEPOTS)
def test_exchanging_labels_exchanges_shares_and_nothing_else(orders: list[SiteOrder], depot: dict[str, int]) -> None:
    swapped = ration(
        [exchanged(order) for order in orders], {EXCHANGED[label]: stock for label, stock in depot.items()}
    )

    assert ration(orders, depot) == [
        Share(
            {EXCHANGED[label]: has for label, has in share.kits.items()},
            {EXCHANGED[label]: why for label, why in share.reasons.items()},
        )
        for share in swapped
    ]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.5, 1.0, 3.0])), min_size=2, max_size=3), st.integers(0, 6)
)
def test_no_other_sharing_leaves_a_smaller_expected_shortage(sites: list[tuple[int, float]], depot: int) -> None:
    orders = [site(Order("A", 6, cover=has, chance_of_more_than=poisson(mean)), rule="none") for has, mean in sites]

    def shortage(shares: tuple[int, ...]) -> float:
        return sum(
            poisson(mean)(k) for (has, mean), share in zip(sites, shares, strict=True) for k in range(has + share, 25)
        )

    found = shortage(tuple(share.kits["A"] for share in ration(orders, {"A": depot})))

    best = min(shortage(shares) for shares in product(range(7), repeat=len(sites)) if sum(shares) <= depot)
    assert found == pytest.approx(best, abs=1e-9)


LOTS = st.lists(DEPOTS, min_size=1, max_size=3)


@pytest.mark.requirement("BLIND-02")
@given(site_orders(), LOTS)
def test_a_fitted_share_comes_from_one_lot_unless_none_holds_every_type(
    order: SiteOrder, lots: list[dict[str, int]]
) -> None:
    total = {label: sum(lot[label] for lot in lots) for label in "AP"}
    share = ration([order], total)[0]

    fitted = fit_to_lots(order, share, lots)

    quantities = [fitted.kits[line.kit_type] for line in order.lines]
    assert blinded(order.blind_rule, quantities, order.lines) == quantities
    if any(all(has <= lot[label] for label, has in fitted.kits.items()) for lot in lots):
        return
    assert fitted == share
    assert all(ration([order], lot)[0].kits == {"A": 0, "P": 0} for lot in lots)


def test_orders_and_shares_print_as_sealed() -> None:
    assert [repr(one) for one in (Order("A", 1), pair(1, 1), Share({"A": 1}, {}))] == ["<sealed>"] * 3
