"""The depot puts the kits of a shipment into the box, each one scanned."""

from __future__ import annotations

from dataclasses import dataclass

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.conduct.places import place_of
from rts.conduct.shipments import kits_of, refuse_unless, shipment_named
from rts.randomisation.numbers import normal_number
from rts.refusal import FailedRule, refuse_all, say
from rts.store import locks
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class PickShipment:
    """The depot has put the kits `kits` (as scanned) into the box."""

    trial: str
    shipment: str
    kits: tuple[str, ...]


def pick_shipment(tx: Transaction, actor: Actor, command: PickShipment) -> Done:
    """Confirm the box. Raises Refusal naming every kit that is lacking or does not belong in it."""
    trial = tx.trial(command.trial)
    shipment = shipment_named(tx, trial, command.shipment)
    require(tx, actor, Permission.SHIP, trial, depot=shipment.depot)
    locks.take(tx.session, locks.depot_stock(trial.code, shipment.depot.code))
    tx.session.refresh(shipment)
    refuse_unless(shipment, "requested")
    wanted = {line.kit.number for line in kits_of(tx, shipment)}
    scanned = [normal_number(kit) for kit in command.kits if kit.strip()]
    failed = [
        FailedRule("kit.not_in_shipment", say("Kit %(kit)s does not belong to this shipment.", kit=kit), "kits")
        for kit in sorted(set(scanned) - wanted)
    ]
    failed += [
        FailedRule("kit.not_scanned", say("Kit %(kit)s is not in the box yet.", kit=kit), "kits")
        for kit in sorted(wanted - set(scanned))
    ]
    failed += [
        FailedRule("kit.scanned_twice", say("Kit %(kit)s was scanned twice.", kit=kit), "kits")
        for kit in sorted({kit for kit in scanned if scanned.count(kit) > 1})
    ]
    refuse_all("invalid", failed)
    shipment.state, shipment.picked_at, shipment.picked_by = "picked", tx.now, actor.name
    tx.audit(
        "shipment.picked",
        "shipment",
        shipment.number,
        {"kits": sorted(wanted)},
        trial=trial,
        site=shipment.site,
        before={"state": "requested"},
        after={"state": "picked"},
        definition=place_of(tx, shipment.site).version.version,
    )
    return Done("pick_shipment", {"trial": trial.code, "shipment": shipment.number})
