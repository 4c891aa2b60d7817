"""Who gets what when a depot cannot fill every order. Pure.

All orders of a night are collected first, then the depot's kits are given out kit by kit: in the first phase to the
dated visits of enrolled subjects, the earliest first; in the second to the site and kit type with the largest
P(demand > cover), which leaves the smallest expected shortage (greedy is optimal for this separable convex aim). A site
is only ever given what the blind rule allows: where one type of a group cannot be had, the site gets nothing of that
group, since a consignment of the other types alone would tell which is short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from rts.supply.blind_rules import blinded
from rts.supply.kits import Sealed
from rts.supply.resupply import TypeStock, unmet_by_date, usable_kits

# Why a site gets less of a type than was ordered.
NONE_LEFT = "none_left"
BLIND = "blind"
ONE_LOT = "one_lot"


def no_more(_kits: int) -> float:
    """The chance that a site without new subjects needs more kits than it has."""
    return 0.0


@dataclass(frozen=True, repr=False)
class Order(Sealed):
    """What a site has ordered of one kit type, and how urgent it is.

    `dated` are the due dates of enrolled subjects' kits that the site's own kits do not cover, one each. `cover` is the
    number of the site's usable kits beyond its scheduled visits (negative: they do not suffice), and
    `chance_of_more_than` gives the probability that subjects yet to come need more kits than a number. `group`, `pack`
    and `ratio` are what the blind rule asks for.
    """

    kit_type: str
    quantity: int
    dated: tuple[date, ...] = ()
    cover: int = 0
    chance_of_more_than: Callable[[int], float] = no_more
    group: str = ""
    pack: int = 1
    ratio: int = 1


@dataclass(frozen=True, repr=False)
class SiteOrder(Sealed):
    """The order of one site: a line for each kit type, under its blind rule."""

    lines: tuple[Order, ...]
    blind_rule: str


@dataclass(frozen=True, repr=False)
class Share(Sealed):
    """What one site is given, and the reasons why not more, by kit type; a type that is given whole has none."""

    kits: dict[str, int]
    reasons: dict[str, tuple[str, ...]]


def order_of(
    stock: TypeStock, quantity: int, today: date, horizon: int, chance_of_more_than: Callable[[int], float]
) -> Order:
    """The order of `quantity` kits for a site with this stock; visits due within `horizon` days of `today` count as
    scheduled, overdue ones included.
    """
    usable = usable_kits(stock, today)
    due = [demand for demand in stock.demands if (demand.due - today).days <= horizon]
    return Order(
        kit_type=stock.kit_type,
        quantity=quantity,
        dated=tuple(demand.due for demand in unmet_by_date(usable, due, today)),
        cover=len(usable) - sum(demand.quantity for demand in due),
        chance_of_more_than=chance_of_more_than,
        group=stock.group,
        pack=stock.pack,
        ratio=stock.ratio,
    )


def ration(orders: Sequence[SiteOrder], depot: Mapping[str, int]) -> list[Share]:
    """Give out the kits of `depot` (by type) among the sites, and say why each got no more.

    Where dates or chances are equal the site named first is served first: name them in an order that favours none.
    """
    asked: Counter[str] = Counter()
    for order in orders:
        asked.update({line.kit_type: line.quantity for line in order.lines})
    if all(kits <= depot.get(kit_type, 0) for kit_type, kits in asked.items()):
        return [Share({line.kit_type: line.quantity for line in order.lines}, {}) for order in orders]
    left = dict(depot)
    given = [[0] * len(order.lines) for order in orders]
    reasons: list[dict[str, tuple[str, ...]]] = [{} for _ in orders]

    def give(site: int, place: int) -> bool:
        """One pack more of a type, with what the blind rule then asks of the others; False when it cannot be had."""
        lines = orders[site].lines
        wanted = list(given[site])
        wanted[place] += lines[place].pack
        raised = blinded(orders[site].blind_rule, wanted, lines)
        more = [
            min(quantity, line.quantity) - has for quantity, line, has in zip(raised, lines, given[site], strict=True)
        ]
        lacking = [line.kit_type for line, kits in zip(lines, more, strict=True) if kits > left.get(line.kit_type, 0)]
        if lacking:
            reasons[site][lines[place].kit_type] = (NONE_LEFT if lines[place].kit_type in lacking else BLIND,)
            return False
        for at, (line, kits) in enumerate(zip(lines, more, strict=True)):
            given[site][at] += kits
            left[line.kit_type] = left.get(line.kit_type, 0) - kits
        return True

    def wants_more(site: int, place: int) -> bool:
        line = orders[site].lines[place]
        return given[site][place] < line.quantity and line.kit_type not in reasons[site]

    dated = sorted(
        (due, site, place, number)
        for site, order in enumerate(orders)
        for place, line in enumerate(order.lines)
        for number, due in enumerate(sorted(line.dated), start=1)
    )
    for _due, site, place, number in dated:
        if given[site][place] < number and wants_more(site, place):
            give(site, place)

    def chance(site: int, place: int) -> float:
        line = orders[site].lines[place]
        spare = line.cover + given[site][place]
        return 1.0 if spare < 0 else line.chance_of_more_than(spare)

    everywhere = [(site, place) for site, order in enumerate(orders) for place in range(len(order.lines))]
    while wanting := [(site, place) for site, place in everywhere if wants_more(site, place)]:
        give(*max(wanting, key=lambda one: (chance(*one), -one[0])))

    return [
        Share({line.kit_type: kits for line, kits in zip(order.lines, quantities, strict=True)}, why)
        for order, quantities, why in zip(orders, given, reasons, strict=True)
    ]


def fit_to_lots(order: SiteOrder, share: Share, lots: Sequence[Mapping[str, int]]) -> Share:
    """A site's share so that each blinding group can come from one blinded lot: whole where a lot covers it, else the
    most that the blind rule allows out of one lot. Only where no lot holds every type, so that nothing at all could be
    sent, it stays whole and the group's kits come from several lots: a possible leak.

    `lots` are the depot's kits by type, the earliest to expire first. Two lots in a box, one of which holds a single
    type or more of it, would tell types by what stands on the labels.
    """
    kits, reasons = dict(share.kits), dict(share.reasons)
    for group in dict.fromkeys(line.group for line in order.lines):
        lines = tuple(replace(line, quantity=share.kits[line.kit_type]) for line in order.lines if line.group == group)
        fits = _most_of_one_lot(replace(order, lines=lines), lots)
        for kit_type, quantity in fits.items():
            if quantity < kits[kit_type]:
                kits[kit_type], reasons[kit_type] = quantity, (*reasons.get(kit_type, ()), ONE_LOT)
    return Share(kits, reasons)


def _most_of_one_lot(order: SiteOrder, lots: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """What the first lot that covers an order gives, else the one that gives most; the order itself if none gives
    anything.
    """
    whole = {line.kit_type: line.quantity for line in order.lines}
    best: dict[str, int] = {}
    for lot in lots:
        fits = ration([order], lot)[0].kits
        if fits == whole:
            return whole
        if sum(fits.values()) > sum(best.values()):
            best = fits
    return best or whole
