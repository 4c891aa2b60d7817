"""Which kits are sent, and which kit a subject gets, without telling the types apart. Pure.

First-expired-first-out by type would tell: a subject who gets a later box while an earlier one lies on the shelf is of
another arm than that box. So choices are made by classes that hold every type, and within a class by the secret pick
rank. Kits are handed in with opened labels; inputs and results print as `<sealed>`, and exchanging labels changes no
pick.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from rts.supply.expiry import expiry_classes, may_be_dispensed, may_be_shipped
from rts.supply.kits import Sealed


@dataclass(frozen=True)
class Lot:
    """A lot in a depot: code, expiry, countries it is released for, kits left, whether it is in quarantine."""

    code: str
    expiry: date
    released_in: frozenset[str]
    quantity: int
    is_quarantined: bool = False


@dataclass(frozen=True, repr=False)
class StockKit(Sealed):
    """A kit that may be picked: number, opened kit type, blinded lot, expiry, and its rank in the secret pick order."""

    number: str
    kit_type: str
    lot: str
    expiry: date
    pick_rank: int


@dataclass(frozen=True, repr=False)
class ConsignmentPick(Sealed):
    """Kit numbers to send, ascending (never in an order that follows type), and what stays unfilled by kit type.

    `is_split` is true when no single blinded lot covered the order: to be shown to the unblinded.
    """

    numbers: tuple[str, ...]
    is_split: bool
    unfilled: dict[str, int]


@dataclass(frozen=True, repr=False)
class SubjectPick(Sealed):
    """Kit numbers for a subject, ascending; empty when the site has not enough.

    `possible_leak` is true when no expiry class held every type, so that the choice may tell: to be shown to the
    unblinded and counted.
    """

    numbers: tuple[str, ...]
    possible_leak: bool


def pick_lots(
    lots: Sequence[Lot], country: str, ship_date: date, dns: int, requested: int
) -> tuple[list[tuple[str, int]], int]:
    """Kits to take from each lot, and how many stay unfilled: earliest expiry first, then lot code.

    Only lots released for `country`, not in quarantine, and allowed to ship on `ship_date` under `dns` (days).
    """
    picks: list[tuple[str, int]] = []
    for lot in sorted(lots, key=lambda lot: (lot.expiry, lot.code)):
        ships = country in lot.released_in and not lot.is_quarantined and may_be_shipped(ship_date, lot.expiry, dns)
        taken = min(lot.quantity, requested) if ships else 0
        if taken > 0:
            picks.append((lot.code, taken))
            requested -= taken
    return picks, requested


def _by_class(kits: Sequence[StockKit]) -> list[list[StockKit]]:
    """Classes of expiry and blinded lot, earliest first, each in secret pick order."""
    ranked = sorted(kits, key=lambda kit: kit.pick_rank)
    return expiry_classes(ranked, lambda kit: (kit.expiry, kit.lot))


def _of_type(kits: Sequence[StockKit], kit_type: str) -> list[StockKit]:
    return [kit for kit in kits if kit.kit_type == kit_type]


def _numbers(kits: Sequence[StockKit]) -> tuple[str, ...]:
    return tuple(sorted(kit.number for kit in kits))


def lots_to_ship(kits: Sequence[StockKit], ship_date: date, dns: int) -> list[Counter[str]]:
    """The kits that may leave on `ship_date` under `dns` (days), counted by type, one blinded lot after the other, the
    earliest to expire first.
    """
    classes = _by_class([kit for kit in kits if may_be_shipped(ship_date, kit.expiry, dns)])
    return [Counter(kit.kit_type for kit in members) for members in classes]


def pick_consignment(kits: Sequence[StockKit], order: Mapping[str, int], ship_date: date, dns: int) -> ConsignmentPick:
    """Choose the kits of one blinding group for a consignment that leaves on `ship_date` (the depot's date).

    `kits` are in the depot, of lots released for the destination's country. All come from one blinded lot, the earliest
    to expire that may ship under `dns` (days) and covers every type's order; when none does, each type goes through the
    lots from the earliest on (`is_split`), and what is then lacking is `unfilled`.
    """
    wanted = {kit_type: quantity for kit_type, quantity in order.items() if quantity > 0}
    classes = _by_class([kit for kit in kits if may_be_shipped(ship_date, kit.expiry, dns)])
    for members in classes:
        if all(len(_of_type(members, kit_type)) >= quantity for kit_type, quantity in wanted.items()):
            chosen = [kit for kit_type, quantity in wanted.items() for kit in _of_type(members, kit_type)[:quantity]]
            return ConsignmentPick(_numbers(chosen), is_split=False, unfilled=dict.fromkeys(order, 0))
    in_turn = [kit for members in classes for kit in members]
    chosen = [kit for kit_type, quantity in wanted.items() for kit in _of_type(in_turn, kit_type)[:quantity]]
    unfilled = {kit_type: quantity - len(_of_type(chosen, kit_type)) for kit_type, quantity in order.items()}
    return ConsignmentPick(_numbers(chosen), is_split=bool(wanted), unfilled=unfilled)


def every_type_is_in_stock(
    kits: Sequence[StockKit], group: Sequence[str], quantity: int, today: date, dnd: int
) -> bool:
    """The stock gate: whether the available kits of a site hold `quantity` dispensable kits of every type of the group.

    Asked before randomising, so that a refusal does not depend on the next entry of the list.
    """
    dispensable = [kit for kit in kits if may_be_dispensed(today, kit.expiry, dnd)]
    return all(len(_of_type(dispensable, kit_type)) >= quantity for kit_type in group)


def pick_for_subject(
    kits: Sequence[StockKit], own_type: str, group: Sequence[str], quantity: int, today: date, dnd: int
) -> SubjectPick:
    """Choose `quantity` kits of the subject's own type from the available kits of the site, on its local date `today`.

    They come from the earliest class in which every type of the group still has that many dispensable kits (`dnd` in
    days), so that the class does not depend on the subject's type. When there is none: the earliest class in which the
    own type has enough, then any classes from the earliest on, both flagged as a possible leak.
    """
    classes = _by_class([kit for kit in kits if may_be_dispensed(today, kit.expiry, dnd)])
    for members in classes:
        if all(len(_of_type(members, kit_type)) >= quantity for kit_type in {*group, own_type}):
            return SubjectPick(_numbers(_of_type(members, own_type)[:quantity]), possible_leak=False)
    in_turn = [kit for members in classes for kit in members]
    for choice in [*classes, in_turn]:
        own = _of_type(choice, own_type)
        if len(own) >= quantity:
            return SubjectPick(_numbers(own[:quantity]), possible_leak=True)
    return SubjectPick((), possible_leak=False)
