"""Choosing the kits of a consignment and recording it as requested. The system picks the numbers; a depot sees
numbers, never types.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import selectinload

from rts.conduct.kits_at_site import types_of_group
from rts.conduct.places import Place, supplying_depot
from rts.refusal import refuse, say
from rts.store.ledger import Change, apply
from rts.store.sealed_rows import OpenedKit, open_kits
from rts.store.tables import BlindedLot, Depot, Kit, Shipment, ShipmentKit, Trial
from rts.store.transaction import Transaction
from rts.supply.calendars import Delivery, plan_delivery
from rts.supply.expiry import may_be_shipped
from rts.supply.kits import KitState, Move
from rts.supply.picking import pick_consignment
from rts.trial.definition import RestrictedDefinition
from rts.vault.vault import Opener


def opened_depot(tx: Transaction, depot: Depot, opener: Opener) -> list[OpenedKit]:
    """Every kit of released lots in the depot, with types read."""
    statement = (
        select(Kit)
        .join(BlindedLot)
        .options(selectinload(Kit.lot), selectinload(Kit.list))
        .where(Kit.depot_id == depot.id, Kit.state == KitState.IN_DEPOT, BlindedLot.released_at.is_not(None))
        .order_by(Kit.number)
    )
    return open_kits(tx, list(tx.session.scalars(statement)), opener)


def delivery_for(tx: Transaction, place: Place) -> Delivery:
    """Ship, arrival and receipt dates of a consignment requested now for `place`."""
    depot = place.definition.depot(place.facts.depot)
    return plan_delivery(
        depot, place.facts.calendar, place.facts.transit_days, tx.now.astimezone(ZoneInfo(depot.time_zone))
    )


def shippable(kits: list[OpenedKit], ship_on: date, dns: int) -> list[OpenedKit]:
    """The kits of `kits` that may leave on `ship_on` under the do-not-ship clock (days)."""
    return [kit for kit in kits if may_be_shipped(ship_on, kit.expiry, dns)]


@dataclass(frozen=True)
class Requested:
    """A shipment as requested; `is_split` when no one blinded lot covered it, `is_short` when not all of the order is
    in it (for unblinded eyes only).
    """

    shipment: Shipment
    is_split: bool
    is_short: bool


def request_consignment(
    tx: Transaction,
    place: Place,
    restricted: RestrictedDefinition,
    stock: list[OpenedKit],
    order: dict[str, int],
    delivery: Delivery,
    doer: str,
) -> Requested:
    """Pick the kits of `order` (by type) out of the depot's `stock` and record the shipment.

    Raises Refusal when nothing of it can be shipped.
    """
    by_number = {opened.kit.number: opened.kit for opened in stock}
    numbers: list[str] = []
    is_split = is_short = False
    for group in place.definition.kit_groups:
        types = set(types_of_group(restricted, group))
        pick = pick_consignment(
            [opened.as_stock() for opened in stock if opened.kit_type in types],
            {kit_type: quantity for kit_type, quantity in order.items() if kit_type in types},
            delivery.ship,
            place.definition.expiry.dns,
        )
        numbers += pick.numbers
        is_split = is_split or pick.is_split
        is_short = is_short or any(pick.unfilled.values())
    if not numbers:
        raise refuse(
            "rule",
            "depot.empty",
            say("Depot %(depot)s has no kits it may ship now. Nothing was requested.", depot=place.facts.depot),
            sealed=True,
        )
    trial, depot = place.site.trial, supplying_depot(tx, place)
    count = tx.session.scalar(select(func.count()).where(Shipment.trial_id == trial.id)) or 0
    shipment = Shipment(
        trial_id=trial.id,
        number=f"S{count + 1:05d}",
        depot_id=depot.id,
        site_id=place.site.id,
        state="requested",
        requested_at=tx.now,
        requested_by=doer,
        ship_on=delivery.ship,
        expected_on=delivery.receipt,
    )
    tx.session.add(shipment)
    tx.session.flush()
    kits = [by_number[number] for number in sorted(numbers)]
    tx.session.add_all(ShipmentKit(shipment_id=shipment.id, kit_id=kit.id) for kit in kits)
    apply(
        tx,
        [Change(kit.id, Move.REQUEST, KitState.IN_DEPOT, depot_id=depot.id, shipment_id=shipment.id) for kit in kits],
        doer,
    )
    tx.audit(
        "shipment.requested",
        "shipment",
        shipment.number,
        {
            "site": place.site.code,
            "depot": depot.code,
            "kits": sorted(numbers),
            "ship_on": delivery.ship.isoformat(),
            "expected_on": delivery.receipt.isoformat(),
        },
        trial=trial,
        site=place.site,
        definition=place.version.version,
        mentions=tuple(("kit", number) for number in numbers),
    )
    return Requested(shipment, is_split, is_short)


def sites_ever_supplied(tx: Transaction, trial: Trial) -> set[int]:
    """The ids of the sites for which a shipment was ever requested and not cancelled."""
    statement = select(Shipment.site_id).where(Shipment.trial_id == trial.id, Shipment.state != "cancelled").distinct()
    return set(tx.session.scalars(statement))
