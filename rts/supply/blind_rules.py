"""The rules that keep an order from telling the types of a blinding group apart: each raises the smaller orders.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class Blinding(Protocol):
    """What a blind rule needs to know of a kit type: its blinding group, its pack size, its allocation weight."""

    @property
    def group(self) -> str:
        """The blinding group."""

    @property
    def pack(self) -> int:
        """Kits of a pack."""

    @property
    def ratio(self) -> int:
        """The allocation weight."""


def to_packs(quantity: int, pack: int) -> int:
    """`quantity` raised to whole packs of `pack` kits."""
    return -(-quantity // pack) * pack


def _as_needed(orders: Sequence[int], stocks: Sequence[Blinding]) -> list[int]:
    return list(orders)


def _at_least_one_each(orders: Sequence[int], stocks: Sequence[Blinding]) -> list[int]:
    return [max(order, stock.pack) for order, stock in zip(orders, stocks, strict=True)]


def _padded(orders: Sequence[int], stocks: Sequence[Blinding]) -> list[int]:
    half = -(-max(orders) // 2)
    return [max(order, to_packs(half, stock.pack)) for order, stock in zip(orders, stocks, strict=True)]


def _in_ratio(orders: Sequence[int], stocks: Sequence[Blinding]) -> list[int]:
    blocks = max(-(-order // stock.ratio) for order, stock in zip(orders, stocks, strict=True))
    return [blocks * stock.ratio for stock in stocks]


def _equal(orders: Sequence[int], stocks: Sequence[Blinding]) -> list[int]:
    return [max(orders)] * len(orders)


BLIND_RULES: dict[str, Callable[[Sequence[int], Sequence[Blinding]], list[int]]] = {
    "none": _as_needed,
    "at_least_one_each": _at_least_one_each,
    "pad": _padded,
    "ratio": _in_ratio,
    "equal": _equal,
}


def blinded(rule: str, orders: Sequence[int], stocks: Sequence[Blinding]) -> list[int]:
    """The orders raised by the blind rule, group by group; a group of which nothing is ordered stays at nothing."""
    result = list(orders)
    for group in {stock.group for stock in stocks}:
        members = [index for index, stock in enumerate(stocks) if stock.group == group]
        wanted = [orders[index] for index in members]
        if any(wanted):
            raised = BLIND_RULES[rule](wanted, [stocks[index] for index in members])
            for index, quantity in zip(members, raised, strict=True):
                result[index] = quantity
    return result
