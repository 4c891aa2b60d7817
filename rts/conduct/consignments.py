"""Choosing the kits of a consignment and recording it as requested. The system picks the numbers; a depot sees
numbers, never types.
"""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from rts.conduct.kits_at_site import types_of_group
from rts.conduct.places import Place, supplying_depot
from rts.store.ledger import Change, apply
from rts.store.sealed_rows import TO_OPEN, OpenedKit, open_kits
from rts.store.tables import BlindedLot, Depot, Kit, Shipment, ShipmentKit, Trial
from rts.store.transaction import Transaction
from rts.supply.calendars import Delivery, plan_delivery
from rts.supply.kits import KitState, Move
from rts.supply.picking import pick_consignment
from rts.supply.rationing import Share
from rts.trial.definition import RestrictedDefinition
from rts.vault.vault import Opener


def opened_depot(tx: Transaction, depot: Depot, opener: Opener) -> list[OpenedKit]:
    """Every kit of released lots in the depot, with types read."""
    statement = (
        select(Kit)
        .join(BlindedLot)
        .options(*TO_OPEN)
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


@dataclass(frozen=True, repr=False)
class Consignment:
    """The kits of a shipment, by number; `is_split` when no one blinded lot covered the order of a group, `is_short`
    when not all of the order is there. For unblinded eyes only.
    """

    kits: tuple[Kit, ...]
    is_split: bool
    is_short: bool

    def __repr__(self) -> str:
        return "<sealed>"


def choose_kits(
    place: Place, restricted: RestrictedDefinition, stock: list[OpenedKit], order: dict[str, int], delivery: Delivery
) -> Consignment:
    """The kits of `order` (by type) out of the depot's `stock`, of each group from one blinded lot if any covers it."""
    by_number = {opened.kit.number: opened.kit for opened in stock}
    picks = [
        pick_consignment(
            [opened.as_stock() for opened in stock if opened.kit_type in types],
            {kit_type: order.get(kit_type, 0) for kit_type in types},
            delivery.ship,
            place.definition.expiry.dns,
        )
        for types in (types_of_group(restricted, group) for group in place.definition.kit_groups)
    ]
    numbers = sorted(number for pick in picks for number in pick.numbers)
    return Consignment(
        tuple(by_number[number] for number in numbers),
        is_split=any(pick.is_split for pick in picks),
        is_short=any(any(pick.unfilled.values()) for pick in picks),
    )


def next_number(tx: Transaction, trial: Trial) -> str:
    """The number of the trial's next shipment: a count, which tells nothing of what is in it. Two that are requested at
    once get two numbers, since whoever requests holds the locks of every depot (`rts.conduct.places.supply_locks`).
    """
    count = tx.session.scalar(select(func.count()).where(Shipment.trial_id == trial.id)) or 0
    return f"S{count + 1:05d}"


def request_consignment(
    tx: Transaction, place: Place, consignment: Consignment, delivery: Delivery, doer: str
) -> Shipment:
    """Record the shipment of a consignment that holds kits, under the locks of every depot of the trial."""
    trial, depot = place.site.trial, supplying_depot(tx, place)
    numbers = [kit.number for kit in consignment.kits]
    shipment = Shipment(
        trial_id=trial.id,
        number=next_number(tx, trial),
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
    tx.insert(ShipmentKit, [{"shipment_id": shipment.id, "kit_id": kit.id} for kit in consignment.kits])
    apply(
        tx,
        [
            Change(kit.id, Move.REQUEST, KitState.IN_DEPOT, depot_id=depot.id, shipment_id=shipment.id)
            for kit in consignment.kits
        ],
        doer,
    )
    place.site.unsupplied_since = None
    tx.audit(
        "shipment.requested",
        "shipment",
        shipment.number,
        {
            "site": place.site.code,
            "depot": depot.code,
            "kits": numbers,
            "ship_on": delivery.ship.isoformat(),
            "expected_on": delivery.receipt.isoformat(),
        },
        trial=trial,
        site=place.site,
        definition=place.version.version,
        mentions=tuple(("kit", number) for number in numbers),
    )
    return shipment


def reasons_of(share: Share) -> dict[str, str]:
    """Why a site gets no more of each type, one text a type."""
    return {kit_type: ", ".join(share.reasons.get(kit_type, ())) for kit_type in share.kits}


def note_choice(tx: Transaction, place: Place, ordered: dict[str, int], share: Share, *, is_split: bool) -> None:
    """Tell the unblinded what was ordered and is sent of each type, why not more, and whether the boxes may tell an
    arm, as kits of several blinded lots may. Written for every order, since its absence would tell too.
    """
    tx.audit(
        "consignment.chosen",
        "site",
        place.site.code,
        {
            "ordered": ordered,
            "sent": share.kits,
            "cut": reasons_of(share),
            "is_split": is_split,
            "possible_leak": is_split,
        },
        trial=place.site.trial,
        site=place.site,
        definition=place.version.version,
        sealed=True,
    )


def sites_ever_supplied(tx: Transaction, trial: Trial) -> set[int]:
    """The ids of the sites for which a shipment was ever requested and not cancelled."""
    statement = select(Shipment.site_id).where(Shipment.trial_id == trial.id, Shipment.state != "cancelled").distinct()
    return set(tx.session.scalars(statement))
