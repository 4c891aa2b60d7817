"""The depot hands a shipment to the carrier."""

from __future__ import annotations

from dataclasses import dataclass

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.clock import local_date
from rts.conduct.perform import Done
from rts.conduct.places import Place, place_of
from rts.conduct.recipients import people_with
from rts.conduct.shipments import kits_of, refuse_unless, shipment_named
from rts.refusal import FailedRule, refuse_all, say
from rts.store import locks, outbox
from rts.store.ledger import Change, apply
from rts.store.tables import Shipment
from rts.store.transaction import Transaction
from rts.supply.expiry import may_be_shipped
from rts.supply.kits import KitState, Move


@dataclass(frozen=True)
class ShipShipment:
    """The box was handed to the carrier."""

    trial: str
    shipment: str
    carrier: str
    tracking: str
    logger: str = ""


def check_dispatch(tx: Transaction, shipment: Shipment, command: ShipShipment) -> Place:
    """The place a shipment may leave for now; the review page asks it too. Raises Refusal when it is not packed, no
    carrier is named, or a kit may no longer be shipped (do-not-ship clock, judged today in the depot's zone).
    """
    refuse_unless(shipment, "picked")
    place = place_of(tx, shipment.site)
    today = local_date(tx.now, place.definition.depot(shipment.depot.code).time_zone)
    failed = []
    if not command.carrier.strip():
        failed.append(FailedRule("carrier.missing", say("Name the carrier."), "carrier"))
    failed += [
        FailedRule(
            "kit.do_not_ship",
            say("Kit %(kit)s may no longer be shipped: it expires too soon.", kit=line.kit.number),
            "kits",
        )
        for line in kits_of(tx, shipment)
        if not may_be_shipped(today, line.kit.lot.expiry, place.definition.expiry.dns)
    ]
    refuse_all("rule", failed)
    return place


def ship_shipment(tx: Transaction, actor: Actor, command: ShipShipment) -> Done:
    """Record the dispatch. Raises Refusal as `check_dispatch`."""
    trial = tx.trial(command.trial)
    shipment = shipment_named(tx, trial, command.shipment)
    require(tx, actor, Permission.SHIP, trial, depot=shipment.depot)
    locks.take(tx.session, locks.depot_stock(trial.code, shipment.depot.code))
    tx.session.refresh(shipment)
    place = check_dispatch(tx, shipment, command)
    lines = kits_of(tx, shipment)
    apply(
        tx,
        [
            Change(line.kit_id, Move.SHIP, KitState.REQUESTED, site_id=shipment.site_id, shipment_id=shipment.id)
            for line in lines
        ],
        actor.name,
    )
    shipment.state, shipment.shipped_at, shipment.shipped_by = "in_transit", tx.now, actor.name
    shipment.carrier, shipment.tracking = command.carrier.strip(), command.tracking.strip()
    shipment.logger = command.logger.strip() or None
    tx.audit(
        "shipment.shipped",
        "shipment",
        shipment.number,
        {
            "kits": [line.kit.number for line in lines],
            "carrier": shipment.carrier,
            "tracking": shipment.tracking,
            "logger": shipment.logger or "",
        },
        trial=trial,
        site=shipment.site,
        before={"state": "picked"},
        after={"state": "in_transit"},
        definition=place.version.version,
        mentions=tuple(("kit", line.kit.number) for line in lines),
    )
    outbox.write(
        tx,
        "shipment",
        trial,
        people_with(tx, trial, Permission.RECEIVE, site=shipment.site),
        say("%(trial)s: shipment %(shipment)s is on its way", trial=trial.code, shipment=shipment.number),
        say(
            "Shipment %(shipment)s to site %(site)s is expected on %(day)s. Sign in to receive it kit by kit.",
            shipment=shipment.number,
            site=shipment.site.code,
            day=shipment.expected_on.isoformat(),
        ),
    )
    return Done("ship_shipment", {"trial": trial.code, "shipment": shipment.number})
