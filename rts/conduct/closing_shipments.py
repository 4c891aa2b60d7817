"""Closing a shipment that will not arrive: cancelled before dispatch, lost after it."""

from __future__ import annotations

from dataclasses import dataclass

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.conduct.places import place_of
from rts.conduct.shipments import kits_of, refuse_unless, shipment_named
from rts.refusal import FailedRule, refuse_all, say
from rts.store import locks
from rts.store.ledger import Change, apply
from rts.store.tables import Shipment, ShipmentKit, Trial
from rts.store.transaction import Transaction
from rts.supply.kits import KitState, Move


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
    if command.how == "cancelled":
        call_off(tx, trial, shipment, command.reason.strip(), actor.name)
    else:
        _write_off(tx, trial, shipment, command.reason.strip(), actor.name)
    return Done("close_shipment", {"trial": trial.code, "site": shipment.site.code, "shipment": shipment.number})


def call_off(tx: Transaction, trial: Trial, shipment: Shipment, reason: str, doer: str) -> None:
    """Cancel a shipment that has not left: its kits lie in the depot again. Raises Refusal `conflict` for any other."""
    refuse_unless(shipment, "requested", "picked")
    lines = kits_of(tx, shipment)
    changes = [
        Change(line.kit_id, Move.CANCEL_REQUEST, KitState.REQUESTED, depot_id=shipment.depot_id) for line in lines
    ]
    _close(tx, trial, shipment, "cancelled", changes, lines, reason, doer)


def _write_off(tx: Transaction, trial: Trial, shipment: Shipment, reason: str, doer: str) -> None:
    refuse_unless(shipment, "in_transit")
    lines = kits_of(tx, shipment)
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
    _close(tx, trial, shipment, "lost", changes, lines, reason, doer)


def _close(
    tx: Transaction,
    trial: Trial,
    shipment: Shipment,
    how: str,
    changes: list[Change],
    lines: list[ShipmentKit],
    reason: str,
    doer: str,
) -> None:
    apply(tx, changes, doer)
    before = shipment.state
    shipment.state, shipment.ended_at, shipment.ended_by, shipment.end_reason = how, tx.now, doer, reason
    tx.audit(
        f"shipment.{how}",
        "shipment",
        shipment.number,
        {"kits": [line.kit.number for line in lines]},
        trial=trial,
        site=shipment.site,
        reason=reason,
        before={"state": before},
        after={"state": how},
        definition=place_of(tx, shipment.site).version.version,
        mentions=tuple(("kit", line.kit.number) for line in lines),
    )
