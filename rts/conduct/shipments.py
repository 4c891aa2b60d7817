"""A shipment as the deeds see it: found by its number, with its lines, in the state that a deed asks for."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import contains_eager

from rts.refusal import refuse, say
from rts.states import STATES
from rts.store.tables import Kit, Shipment, ShipmentKit, Trial
from rts.store.transaction import Transaction


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
    statement = (
        select(ShipmentKit)
        .join(Kit)
        .options(contains_eager(ShipmentKit.kit))
        .where(ShipmentKit.shipment_id == shipment.id)
        .order_by(Kit.number)
    )
    return list(tx.session.scalars(statement))


def refuse_unless(shipment: Shipment, *wanted: str) -> None:
    """Refuse a shipment that is in none of the `wanted` states (`conflict`, `shipment.state`)."""
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
