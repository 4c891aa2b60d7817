"""The resupply decision for one site, with everything needed to explain it afterwards. Pure.

Kit types are plain labels that the caller opened, so inputs and results print as `<sealed>`. The decision is symmetric
in the types: exchanging two labels exchanges the results and changes nothing else. Dates are the site's local dates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from rts.supply.blind_rules import BLIND_RULES, blinded, to_packs
from rts.supply.expiry import is_counted
from rts.supply.kits import Sealed
from rts.supply.windows import Demand
from rts.trial.definition import SupplyClass, SupplyRules


@dataclass(frozen=True)
class Policy:
    """How a site is resupplied; the fields mean what they mean in SupplyRules. Windows in days, consignments in kits of
    all types.

    `maximum_consignment` None: no limit. `covers_expiry`: near expiry, needs are found by interval cover and not by
    count alone.
    """

    fires: str = "le"
    scope: str = "all"
    blind_rule: str = "at_least_one_each"
    short_window: int = 0
    long_window: int = 0
    minimum_consignment: int = 0
    maximum_consignment: int | None = None
    covers_expiry: bool = True

    def __post_init__(self) -> None:
        if self.fires not in ("le", "lt"):
            raise ValueError("fires must be le or lt")
        if self.scope not in ("all", "group", "fired"):
            raise ValueError("scope must be all, group or fired")
        if self.blind_rule not in BLIND_RULES:
            raise ValueError("blind_rule must be one of " + ", ".join(BLIND_RULES))
        if not 0 <= self.short_window <= self.long_window:
            raise ValueError("short_window and long_window must satisfy 0 <= short <= long")


@dataclass(frozen=True)
class Buffers:
    """Minimum and maximum buffer of each kit type, in kits; under the min/max policy these are the trigger and the
    level."""

    minimum: int
    maximum: int


@dataclass(frozen=True, repr=False)
class TypeStock(Sealed):
    """What the site has and will need of one kit type.

    `on_hand`, `in_transit` and `requested` hold each kit's expiry; on hand means available, or assigned to a visit that
    is still among `demands`. `demands` are those of enrolled subjects; `new_short` and `new_long` are kits for subjects
    not yet randomised. `dnc` in days. `ratio` is the allocation weight, `group` the blinding group.
    """

    kit_type: str
    on_hand: tuple[date, ...]
    in_transit: tuple[date, ...]
    requested: tuple[date, ...]
    demands: tuple[Demand, ...]
    buffers: Buffers
    group: str = ""
    dnc: int = 0
    new_short: int = 0
    new_long: int = 0
    pack: int = 1
    ratio: int = 1

    def __post_init__(self) -> None:
        if self.pack < 1 or self.ratio < 1:
            raise ValueError("pack and ratio must be at least 1")
        if not 0 <= self.buffers.minimum <= self.buffers.maximum:
            raise ValueError("buffers must satisfy 0 <= minimum <= maximum")


@dataclass(frozen=True, repr=False)
class TypeExplanation(Sealed):
    """Why so many kits of one type are ordered: every quantity of the decision, in kits.

    `fired` tells of the trigger only; `unmet_short` and `unmet_long` are demands that no usable kit covers by date. The
    order grows and shrinks through `after_packs`, `after_blind_rule` and `after_minimum` to `order`; `cut` is what the
    maximum consignment took away.
    """

    kit_type: str
    on_hand: int
    in_transit: int
    requested: int
    not_counted: int
    usable: int
    pd_short: int
    pd_long: int
    new_short: int
    new_long: int
    buffer_minimum: int
    buffer_maximum: int
    trigger: int
    level: int
    fired: bool
    unmet_short: int
    unmet_long: int
    need: int
    after_packs: int
    after_blind_rule: int
    after_minimum: int
    order: int
    cut: int


@dataclass(frozen=True, repr=False)
class Decision(Sealed):
    """The order for one site and its explanation, one line a kit type in the order given. Whether the depot can fill it
    is for `rts.supply.rationing` to say.
    """

    per_type: tuple[TypeExplanation, ...]

    @property
    def order(self) -> dict[str, int]:
        """Kits to send by kit type."""
        return {line.kit_type: line.order for line in self.per_type}


def policy_of(rules: SupplyRules) -> Policy:
    """The policy a trial's rules set. Under `minmax` there are no windows: plain minimum and maximum."""
    predicts = rules.policy == "predictive"
    return Policy(
        fires=rules.fires,
        scope=rules.scope,
        blind_rule=rules.blind_rule,
        short_window=rules.short_window if predicts else 0,
        long_window=rules.long_window if predicts else 0,
        minimum_consignment=rules.minimum_consignment,
        maximum_consignment=rules.maximum_consignment,
    )


def buffers_of(rules: SupplyRules, supply_class: SupplyClass, *, is_recruiting: bool) -> Buffers:
    """Buffers of a site's class; after the last subject is randomised the predictive ones fall to the loss
    allowance."""
    if rules.policy == "minmax":
        return Buffers(supply_class.minimum, supply_class.maximum)
    if is_recruiting:
        return Buffers(supply_class.buffer_minimum, supply_class.buffer_maximum)
    return Buffers(rules.loss_allowance, rules.loss_allowance)


def kits_for_screened(ratio: Mapping[str, int], screened: float, screen_failure: float) -> dict[str, int]:
    """Kits by arm for subjects now in screening at a site that is itself a stratum: whole ratio blocks.

    blocks = ceil(screened * (1 - screen failure) / sum of the ratio). Whole blocks keep the request blind.
    """
    # Exact decimals: in binary 10 * (1 - 0.3) is a hair off 7, which would add a block.
    randomised = Fraction(str(screened)) * (1 - Fraction(str(screen_failure)))
    blocks = math.ceil(randomised / sum(ratio.values()))
    return {arm: weight * blocks for arm, weight in ratio.items()}


def unmet_demands(
    kits: Sequence[tuple[date, date]], demands: Sequence[Demand]
) -> tuple[list[Demand], list[tuple[date, date]]]:
    """Demands that no kit covers, by date, and the kits left over, by expiry. A kit is (available from, expiry).

    In date order each unit of demand takes the usable kit with the earliest expiry: available, and dispensable under
    the visit's DND. With one DND this is Glover's rule for convex bipartite matching, so the number unmet is the true
    minimum.
    """
    left = sorted(kits, key=lambda kit: (kit[1], kit[0]))
    unmet: list[Demand] = []
    for demand in sorted(demands, key=lambda one: (one.due, one.dnd)):
        for _ in range(demand.quantity):
            for position, (available, expiry) in enumerate(left):
                if available <= demand.due and (expiry - demand.due).days >= demand.dnd:
                    del left[position]
                    break
            else:
                unmet.append(Demand(demand.due, 1, demand.dnd))
    return unmet, left


def _due_within(demands: Sequence[Demand], today: date, days: int) -> list[Demand]:
    """Demands due up to `days` from today, overdue ones and today's included. A window of zero is no window."""
    return [demand for demand in demands if (demand.due - today).days <= days] if days > 0 else []


def usable_kits(stock: TypeStock, today: date) -> list[date]:
    """The expiry of every kit that counts for the site: on hand and in transit under do-not-count, and requested."""
    counted = [expiry for expiry in stock.on_hand + stock.in_transit if is_counted(today, expiry, stock.dnc)]
    return counted + list(stock.requested)


def unmet_by_date(usable: Sequence[date], demands: Sequence[Demand], today: date) -> list[Demand]:
    """Kits due that no usable kit covers by date, one each, by date.

    Kits on their way stand as available now: a further order could not overtake them, and would repeat each night until
    they arrive. An overdue visit takes its kit today at the earliest.
    """
    from_today = [Demand(max(demand.due, today), demand.quantity, demand.dnd) for demand in demands]
    return unmet_demands([(today, expiry) for expiry in usable], from_today)[0]


def _changed_by_blocks(rule: str, orders: Sequence[int], stocks: Sequence[TypeStock], blocks: int) -> list[int]:
    """The orders with whole ratio blocks added (or taken away, never below zero), under the blind rule again."""
    changed = []
    for order, stock in zip(orders, stocks, strict=True):
        group_is_ordered = any(other for other, peer in zip(orders, stocks, strict=True) if peer.group == stock.group)
        weight = 1 if rule == "equal" else stock.ratio
        changed.append(max(0, order + blocks * weight) if group_is_ordered else 0)
    return blinded(rule, changed, stocks)


def _raised_to_minimum(policy: Policy, orders: list[int], stocks: Sequence[TypeStock]) -> list[int]:
    result, blocks = orders, 0
    while any(orders) and sum(result) < policy.minimum_consignment:
        blocks += 1
        result = _changed_by_blocks(policy.blind_rule, orders, stocks, blocks)
    return result


def _cut_to_maximum(policy: Policy, orders: list[int], stocks: Sequence[TypeStock]) -> list[int]:
    result, blocks = orders, 0
    while policy.maximum_consignment is not None and sum(result) > max(0, policy.maximum_consignment):
        blocks += 1
        result = _changed_by_blocks(policy.blind_rule, orders, stocks, -blocks)
    return result


def decide_resupply(stocks: Sequence[TypeStock], policy: Policy, today: date) -> Decision:
    """What to send to one site on the night of `today` (the site's date), and why.

    Kits requested and not yet shipped count as usable, else they would be ordered again each night. The order is set
    by: need, packs, blind rule, minimum and maximum consignment. For a site's first shipment give buffers of
    (initial, initial) and empty stock. Raises ValueError when a kit type is given twice.
    """
    if len({stock.kit_type for stock in stocks}) != len(stocks):
        raise ValueError("a kit type is given twice")
    usable: list[list[date]] = []
    levels: list[tuple[int, int, int, int]] = []
    fired: list[bool] = []
    unmet: list[tuple[int, int]] = []
    needs: list[int] = []
    for stock in stocks:
        kits = usable_kits(stock, today)
        short = _due_within(stock.demands, today, policy.short_window)
        long = _due_within(stock.demands, today, policy.long_window)
        pd_short, pd_long = (sum(demand.quantity for demand in due) for due in (short, long))
        trigger = pd_short + stock.new_short + stock.buffers.minimum
        level = pd_long + stock.new_long + stock.buffers.maximum
        uncovered = (0, 0)
        if policy.covers_expiry:
            uncovered = len(unmet_by_date(kits, short, today)), len(unmet_by_date(kits, long, today))
        usable.append(kits)
        levels.append((pd_short, pd_long, trigger, level))
        fired.append(len(kits) <= trigger if policy.fires == "le" else len(kits) < trigger)
        unmet.append(uncovered)
        needs.append(max(0, level - len(kits), uncovered[1]))

    must_order = [has_fired or short > 0 for has_fired, (short, _) in zip(fired, unmet, strict=True)]
    groups = {stock.group for stock, must in zip(stocks, must_order, strict=True) if must}
    in_scope = [
        must or (policy.scope == "all" and any(must_order)) or (policy.scope == "group" and stock.group in groups)
        for stock, must in zip(stocks, must_order, strict=True)
    ]
    packed = [
        to_packs(need, stock.pack) if counts else 0 for need, stock, counts in zip(needs, stocks, in_scope, strict=True)
    ]
    under_rule = blinded(policy.blind_rule, packed, stocks)
    raised = _raised_to_minimum(policy, under_rule, stocks)
    order = _cut_to_maximum(policy, raised, stocks)

    return Decision(
        tuple(
            TypeExplanation(
                kit_type=stock.kit_type,
                on_hand=sum(is_counted(today, expiry, stock.dnc) for expiry in stock.on_hand),
                in_transit=sum(is_counted(today, expiry, stock.dnc) for expiry in stock.in_transit),
                requested=len(stock.requested),
                not_counted=len(stock.on_hand + stock.in_transit + stock.requested) - len(usable[i]),
                usable=len(usable[i]),
                pd_short=levels[i][0],
                pd_long=levels[i][1],
                new_short=stock.new_short,
                new_long=stock.new_long,
                buffer_minimum=stock.buffers.minimum,
                buffer_maximum=stock.buffers.maximum,
                trigger=levels[i][2],
                level=levels[i][3],
                fired=fired[i],
                unmet_short=unmet[i][0],
                unmet_long=unmet[i][1],
                need=needs[i],
                after_packs=packed[i],
                after_blind_rule=under_rule[i],
                after_minimum=raised[i],
                order=order[i],
                cut=raised[i] - order[i],
            )
            for i, stock in enumerate(stocks)
        )
    )
