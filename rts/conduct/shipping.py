"""A shipment's way: requested, picked, in transit, received kit by kit. What is in transit or in quarantine is never
dispensed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission, Role
from rts.clock import local_date
from rts.conduct.consignments import delivery_for, opened_depot, request_consignment
from rts.conduct.dispensing import normal_number
from rts.conduct.perform import Done
from rts.conduct.places import open_site, place_of, supply_locks, supplying_depot
from rts.conduct.recipients import people_in, people_with
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.states import STATES
from rts.store import definitions, locks, outbox
from rts.store.ledger import Change, apply
from rts.store.tables import BlindedLot, Depot, Dispensing, Kit, Shipment, ShipmentKit, Site, Trial
from rts.store.transaction import Transaction
from rts.supply.expiry import may_be_shipped
from rts.supply.kits import KitState, Move
from rts.vault.vault import Opener

RECEIPTS = {
    "good": Move.RECEIVE_GOOD,
    "damaged": Move.RECEIVE_DAMAGED,
    "missing": Move.RECEIVE_MISSING,
    "excursion": Move.RECEIVE_EXCURSION,
}


@dataclass(frozen=True)
class RequestShipment:
    """Send `sets` kits of every type of every group to a site. One number for a whole group: the supply manager is
    blinded.
    """

    trial: str
    site: str
    sets: int
    reason: str


def request_shipment(tx: Transaction, actor: Actor, command: RequestShipment, opener: Opener) -> Done:
    """Request a shipment by hand. Raises Refusal for a site that is not open, a number out of range, or a depot that
    cannot fill every set.
    """
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.SHIPMENT_REQUEST, trial, site)
    locks.take(tx.session, *supply_locks(tx, trial, site))
    tx.session.refresh(site)
    place = open_site(tx, site)
    restricted = definitions.open_restricted(tx, trial, place.version, opener)
    most = place.definition.supply.maximum_consignment // max(1, len(restricted.kit_types))
    failed = []
    if not 1 <= command.sets <= most:
        failed.append(
            FailedRule("shipment.sets", say("Between 1 and %(most)d sets fit in a consignment.", most=most), "sets")
        )
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    refuse_all("invalid", failed)
    order = {kit_type.code: command.sets for kit_type in restricted.kit_types}
    stock = opened_depot(tx, supplying_depot(tx, place), opener)
    requested = request_consignment(tx, place, restricted, stock, order, delivery_for(tx, place), actor.name)
    if requested.is_short:
        # Sent all the same, the box would hold more of one type than of another, or one alone.
        raise refuse(
            "rule",
            "depot.short",
            say("Depot %(depot)s cannot fill these sets now. Nothing was requested.", depot=place.facts.depot),
            "sets",
            sealed=True,
        )
    number = requested.shipment.number
    tx.audit(
        "shipment.asked_for",
        "shipment",
        number,
        {"sets": command.sets},
        trial=trial,
        site=site,
        reason=command.reason.strip(),
        definition=place.version.version,
    )
    return Done("request_shipment", {"trial": trial.code, "site": site.code, "shipment": number})


def shipment_named(tx: Transaction, trial: Trial, number: str) -> Shipment:
    """The shipment `number`. Raises Refusal `not_found`."""
    found = tx.session.scalar(
        select(Shipment).where(Shipment.trial_id == trial.id, Shipment.number == number.strip().upper())
    )
    if found is None:
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    return found


def kits_of(tx: Transaction, shipment: Shipment) -> list[ShipmentKit]:
    """The lines of a shipment, by kit number."""
    statement = select(ShipmentKit).join(Kit).where(ShipmentKit.shipment_id == shipment.id).order_by(Kit.number)
    return list(tx.session.scalars(statement))


def _state(shipment: Shipment, *wanted: str) -> None:
    if shipment.state not in wanted:
        raise refuse(
            "conflict",
            "shipment.state",
            say(
                "Shipment %(shipment)s is %(state)s; this cannot be done now.",
                shipment=shipment.number,
                state=STATES[shipment.state],
            ),
            "shipment",
        )


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
    _state(shipment, "requested")
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


@dataclass(frozen=True)
class ShipShipment:
    """The box was handed to the carrier."""

    trial: str
    shipment: str
    carrier: str
    tracking: str
    logger: str = ""


def ship_shipment(tx: Transaction, actor: Actor, command: ShipShipment) -> Done:
    """Record the dispatch. Raises Refusal when a kit may no longer be shipped (do-not-ship clock, judged today in
    the depot's zone).
    """
    trial = tx.trial(command.trial)
    shipment = shipment_named(tx, trial, command.shipment)
    require(tx, actor, Permission.SHIP, trial, depot=shipment.depot)
    locks.take(tx.session, locks.depot_stock(trial.code, shipment.depot.code))
    tx.session.refresh(shipment)
    _state(shipment, "picked")
    place = place_of(tx, shipment.site)
    today = local_date(tx.now, place.definition.depot(shipment.depot.code).time_zone)
    lines = kits_of(tx, shipment)
    failed = []
    if not command.carrier.strip():
        failed.append(FailedRule("carrier.missing", say("Name the carrier."), "carrier"))
    failed += [
        FailedRule(
            "kit.do_not_ship",
            say("Kit %(kit)s may no longer be shipped: it expires too soon.", kit=line.kit.number),
            "kits",
        )
        for line in lines
        if not may_be_shipped(today, line.kit.lot.expiry, place.definition.expiry.dns)
    ]
    refuse_all("rule", failed)
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


@dataclass(frozen=True)
class ReceiveShipment:
    """How each kit arrived: kit number to `good`, `damaged`, `missing` or `excursion`."""

    trial: str
    shipment: str
    outcomes: dict[str, str]


def receive_shipment(tx: Transaction, actor: Actor, command: ReceiveShipment) -> Done:
    """Receive kit by kit; an excursion puts the kit into quarantine at once. Raises Refusal naming every kit without
    an answer.
    """
    trial = tx.trial(command.trial)
    shipment = shipment_named(tx, trial, command.shipment)
    require(tx, actor, Permission.RECEIVE, trial, shipment.site)
    locks.take(tx.session, locks.site_stock(trial.code, shipment.site.code))
    tx.session.refresh(shipment)
    _state(shipment, "in_transit")
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
    refuse_all("invalid", failed)
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


@dataclass(frozen=True)
class CloseShipment:
    """A shipment that will not arrive: `cancelled` before dispatch, `lost` after it."""

    trial: str
    shipment: str
    how: str
    reason: str


def close_shipment(tx: Transaction, actor: Actor, command: CloseShipment) -> Done:
    """Cancel or write off a shipment. Cancelled kits lie in the depot again; lost ones are lost."""
    trial = tx.trial(command.trial)
    shipment = shipment_named(tx, trial, command.shipment)
    require(tx, actor, Permission.SHIPMENT_CLOSE, trial, shipment.site, shipment.depot)
    locks.take(
        tx.session, locks.site_stock(trial.code, shipment.site.code), locks.depot_stock(trial.code, shipment.depot.code)
    )
    tx.session.refresh(shipment)
    failed = []
    if command.how not in {"cancelled", "lost"}:
        failed.append(FailedRule("shipment.how", say("Choose cancelled or lost."), "how"))
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    refuse_all("invalid", failed)
    lines = kits_of(tx, shipment)
    if command.how == "cancelled":
        _state(shipment, "requested", "picked")
        changes = [
            Change(line.kit_id, Move.CANCEL_REQUEST, KitState.REQUESTED, depot_id=shipment.depot_id) for line in lines
        ]
    else:
        _state(shipment, "in_transit")
        changes = [
            Change(
                line.kit_id,
                Move.LOSE_IN_TRANSIT,
                KitState.IN_TRANSIT,
                site_id=shipment.site_id,
                shipment_id=shipment.id,
            )
            for line in lines
        ]
    apply(tx, changes, actor.name)
    before = shipment.state
    shipment.state, shipment.ended_at, shipment.ended_by, shipment.end_reason = (
        command.how,
        tx.now,
        actor.name,
        command.reason.strip(),
    )
    tx.audit(
        f"shipment.{command.how}",
        "shipment",
        shipment.number,
        {"kits": [line.kit.number for line in lines]},
        trial=trial,
        site=shipment.site,
        reason=command.reason.strip(),
        before={"state": before},
        after={"state": command.how},
        definition=place_of(tx, shipment.site).version.version,
        mentions=tuple(("kit", line.kit.number) for line in lines),
    )
    return Done("close_shipment", {"trial": trial.code, "site": shipment.site.code, "shipment": shipment.number})


@dataclass(frozen=True)
class DecideQuarantine:
    """Release a quarantined kit to the shelf or reject it; `document` names the decision."""

    trial: str
    kit: str
    release: bool
    document: str


def decide_quarantine(tx: Transaction, actor: Actor, command: DecideQuarantine) -> Done:
    """Carry out a quality decision on one kit. Raises Refusal without a document, when the kit is not in quarantine,
    or for
    releasing one that was set aside for a subject.
    """
    trial = tx.trial(command.trial)
    kit = tx.session.scalar(select(Kit).where(Kit.trial_id == trial.id, Kit.number == normal_number(command.kit)))
    require(tx, actor, Permission.QUARANTINE_DECIDE, trial)
    if kit is None:
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    if not command.document.strip():
        raise refuse("invalid", "document.missing", say("Name the decision document."), "document")
    if kit.site_id is not None:  # a kit in quarantine stays at its site, so its lock is the right one
        locks.take(tx.session, locks.site_stock(trial.code, tx.session.get_one(Site, kit.site_id).code))
        tx.session.refresh(kit)
    if kit.state != KitState.QUARANTINED or kit.site_id is None:
        raise refuse("conflict", "kit.state", say("Kit %(kit)s is not in quarantine.", kit=kit.number), "kit")
    if command.release and tx.session.scalar(select(Dispensing.id).where(Dispensing.kit_id == kit.id)):
        raise refuse(
            "rule",
            "kit.was_set_aside",
            say(
                "Kit %(kit)s was set aside for a subject once. Given to another, it would tell that both have the same "
                "treatment: reject it.",
                kit=kit.number,
            ),
            "release",
        )
    site = tx.session.get_one(Site, kit.site_id)
    move = Move.RELEASE_FROM_QUARANTINE if command.release else Move.REJECT
    apply(
        tx,
        [
            Change(
                kit.id,
                move,
                KitState.QUARANTINED,
                site_id=site.id,
                shipment_id=kit.shipment_id,
                reason=command.document.strip(),
            )
        ],
        actor.name,
    )
    tx.audit(
        "kit.released_from_quarantine" if command.release else "kit.rejected",
        "kit",
        kit.number,
        {"document": command.document.strip()},
        trial=trial,
        site=site,
        before={"state": "quarantined"},
        after={"state": kit.state},
        definition=place_of(tx, site).version.version,
    )
    return Done("decide_quarantine", {"trial": trial.code, "site": site.code, "kit": kit.number})


@dataclass(frozen=True)
class ReleaseLot:
    """Release a blinded lot for shipping; `document` names the release certificate."""

    trial: str
    lot: str
    document: str


def release_lot(tx: Transaction, actor: Actor, command: ReleaseLot) -> Done:
    """Release a lot: from now on its kits may be requested. Raises Refusal without a document or when it is
    released.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LOT_RELEASE, trial)
    lot = tx.session.scalar(select(BlindedLot).where(BlindedLot.trial_id == trial.id, BlindedLot.code == command.lot))
    if lot is None:
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    if not command.document.strip():
        raise refuse("invalid", "document.missing", say("Name the release document."), "document")
    depot = tx.session.get_one(Depot, lot.depot_id)
    locks.take(tx.session, locks.depot_stock(trial.code, depot.code))
    tx.session.refresh(lot)
    if lot.released_at is not None:
        raise refuse("conflict", "lot.released", say("Blinded lot %(lot)s is released already.", lot=lot.code), "lot")
    lot.released_at, lot.released_by, lot.release_document = tx.now, actor.name, command.document.strip()
    kits = tx.session.scalars(
        select(Kit).where(Kit.blinded_lot_id == lot.id, Kit.state == KitState.PACKED).order_by(Kit.number)
    ).all()
    apply(tx, [Change(kit.id, Move.RELEASE_LOT, KitState.PACKED, depot_id=lot.depot_id) for kit in kits], actor.name)
    tx.audit(
        "lot.released",
        "lot",
        lot.code,
        {"document": lot.release_document, "kits": len(kits), "expiry": lot.expiry.isoformat()},
        trial=trial,
        definition=definitions.versions_of_trial(tx, trial)[0].version,
    )
    return Done("release_lot", {"trial": trial.code, "lot": lot.code})
