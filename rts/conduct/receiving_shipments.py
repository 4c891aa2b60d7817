"""A site receives a shipment kit by kit. What is in transit or in quarantine is never dispensed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission, Role
from rts.conduct.perform import Done
from rts.conduct.places import place_of
from rts.conduct.recalling_lots import RECALLED, block, is_recalled
from rts.conduct.recipients import people_in
from rts.conduct.shipments import kits_of, refuse_unless, shipment_named
from rts.randomisation.numbers import normal_number
from rts.refusal import FailedRule, refuse_all, say
from rts.store import locks, outbox
from rts.store.exposures import kits_out_too_long
from rts.store.ledger import Change, apply
from rts.store.tables import Kit, Shipment, ShipmentKit
from rts.store.transaction import Transaction
from rts.supply.kits import KitState, Move

RECEIPTS = {
    "good": Move.RECEIVE_GOOD,
    "damaged": Move.RECEIVE_DAMAGED,
    "missing": Move.RECEIVE_MISSING,
    "excursion": Move.RECEIVE_EXCURSION,
}


@dataclass(frozen=True)
class ReceiveShipment:
    """How each kit arrived: kit number to `good`, `damaged`, `missing` or `excursion`."""

    trial: str
    shipment: str
    outcomes: dict[str, str]


def check_receipt(tx: Transaction, shipment: Shipment, command: ReceiveShipment) -> list[ShipmentKit]:
    """The lines of a shipment that may be received with these answers; the review page asks it too. Raises Refusal
    naming every kit that is not of the shipment, that has no answer, or that is called good though the readings of its
    logger say that it was out of range for too long.
    """
    outcomes = {normal_number(kit): outcome for kit, outcome in command.outcomes.items()}
    lines = kits_of(tx, shipment)
    known = {line.kit.number for line in lines}
    failed = [
        FailedRule("kit.not_in_shipment", say("Kit %(kit)s does not belong to this shipment.", kit=kit), "outcomes")
        for kit in sorted(set(outcomes) - known)
    ]
    failed += [
        FailedRule("kit.no_outcome", say("Say how kit %(kit)s arrived.", kit=kit), f"outcome-{kit}")
        for kit in sorted(known)
        if outcomes.get(kit) not in RECEIPTS
    ]
    failed += [
        FailedRule(
            "kit.out_of_range",
            say("Kit %(kit)s was out of its storage range for too long: mark it as an excursion.", kit=kit),
            f"outcome-{kit}",
        )
        for kit in too_warm_or_cold(tx, shipment)
        if outcomes.get(kit) == "good"
    ]
    refuse_all("invalid", failed)
    return lines


def too_warm_or_cold(tx: Transaction, shipment: Shipment) -> list[str]:
    """The kits of a shipment that were out of their storage range for too long, by number."""
    lines = kits_of(tx, shipment)
    rules = place_of(tx, shipment.site).definition.storage
    found = kits_out_too_long(tx, [line.kit_id for line in lines], rules)
    return [line.kit.number for line in lines if line.kit_id in found]


def receive_shipment(tx: Transaction, actor: Actor, command: ReceiveShipment) -> Done:
    """Receive kit by kit; an excursion puts the kit into quarantine at once. Raises Refusal as `check_receipt`."""
    trial = tx.trial(command.trial)
    shipment = shipment_named(tx, trial, command.shipment)
    require(tx, actor, Permission.RECEIVE, trial, shipment.site)
    locks.take(tx.session, locks.site_stock(trial.code, shipment.site.code))
    tx.session.refresh(shipment)
    refuse_unless(shipment, "in_transit")
    lines = check_receipt(tx, shipment, command)
    outcomes = {normal_number(kit): outcome for kit, outcome in command.outcomes.items()}
    apply(
        tx,
        [
            Change(
                line.kit_id,
                RECEIPTS[outcomes[line.kit.number]],
                KitState.IN_TRANSIT,
                site_id=shipment.site_id,
                shipment_id=shipment.id,
            )
            for line in lines
        ],
        actor.name,
    )
    ids = [line.kit_id for line in lines]
    recalled = select(Kit).where(Kit.id.in_(ids), Kit.state == KitState.AVAILABLE, is_recalled()).order_by(Kit.id)
    block(tx, tx.session.scalars(recalled).all(), actor.name, RECALLED)
    for line in lines:
        line.outcome = outcomes[line.kit.number]
    shipment.state, shipment.ended_at, shipment.ended_by = "received", tx.now, actor.name
    tx.audit(
        "shipment.received",
        "shipment",
        shipment.number,
        {"outcomes": {line.kit.number: line.outcome for line in lines}},
        trial=trial,
        site=shipment.site,
        before={"state": "in_transit"},
        after={"state": "received"},
        definition=place_of(tx, shipment.site).version.version,
        mentions=tuple(("kit", line.kit.number) for line in lines),
    )
    trouble = sorted(line.kit.number for line in lines if line.outcome != "good")
    if trouble:
        outbox.write(
            tx,
            "receipt_trouble",
            trial,
            people_in(tx, trial, Role.SUPPLY_MANAGER, Role.QUALITY),
            say("%(trial)s: shipment %(shipment)s did not arrive whole", trial=trial.code, shipment=shipment.number),
            say(
                "Of shipment %(shipment)s to site %(site)s, %(count)d kits were damaged, missing or exposed to "
                "a temperature excursion. "
                "Sign in to see which and to decide.",
                shipment=shipment.number,
                site=shipment.site.code,
                count=len(trouble),
            ),
        )
    return Done("receive_shipment", {"trial": trial.code, "site": shipment.site.code, "shipment": shipment.number})
