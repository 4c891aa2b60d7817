"""Shipments to a site as its people see them: kit numbers and how each arrived, never types."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import case, func, select

from rts.conduct.places import place_of
from rts.reports.people import Name, printed_names
from rts.store.tables import BlindedLot, Kit, Shipment, ShipmentKit, Site
from rts.store.transaction import Transaction

SEEN_BEFORE_RECEIPT = ("in_transit", "received", "lost")


@dataclass(frozen=True)
class ShipmentRow:
    """A line of a site's shipment list. `expected_on` is the site's local day."""

    number: str
    state: str
    expected_on: date
    shipped_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class ShipmentRows:
    """One page of the shipment list, how many there are on all of them, and the site's date."""

    rows: tuple[ShipmentRow, ...]
    total: int
    today: date


@dataclass(frozen=True)
class ArrivingKit:
    """A kit of a shipment: how it arrived (None before), and its state now."""

    number: str
    expiry: date
    outcome: str | None
    state: str


@dataclass(frozen=True)
class ShipmentView:
    """A shipment to a site. Its kits are listed once it is on its way."""

    number: str
    state: str
    expected_on: date
    shipped_at: datetime | None
    carrier: str | None
    tracking: str | None
    logger: str | None
    ended_at: datetime | None
    ended_by: Name
    end_reason: str | None
    kits: tuple[ArrivingKit, ...]
    today: date

    def with_outcome(self, outcome: str) -> tuple[ArrivingKit, ...]:
        """The kits that arrived as `outcome`."""
        return tuple(kit for kit in self.kits if kit.outcome == outcome)


def shipments_of_site(tx: Transaction, site: Site, *, state: str = "", page: int = 1, size: int = 50) -> ShipmentRows:
    """The shipments to `site`: those on their way first by expected day, then the others from the latest back."""
    wanted = [Shipment.site_id == site.id]
    if state == "prepared":
        wanted.append(Shipment.state.in_(["requested", "picked"]))
    elif state:
        wanted.append(Shipment.state == state)
    total = tx.session.scalar(select(func.count()).select_from(Shipment).where(*wanted)) or 0
    turn = case((Shipment.state == "in_transit", 0), (Shipment.state.in_(["requested", "picked"]), 1), else_=2)
    statement = (
        select(Shipment.number, Shipment.state, Shipment.expected_on, Shipment.shipped_at, Shipment.ended_at)
        .where(*wanted)
        .order_by(turn, case((turn < 2, Shipment.expected_on)), Shipment.number.desc())
        .limit(size)
        .offset((page - 1) * size)
    )
    rows = tuple(ShipmentRow(*row) for row in tx.session.execute(statement))
    return ShipmentRows(rows, total, place_of(tx, site).today)


def shipment_view(tx: Transaction, shipment: Shipment) -> ShipmentView:
    """`shipment` with its kits by number."""
    kits: tuple[ArrivingKit, ...] = ()
    if shipment.state in SEEN_BEFORE_RECEIPT:
        statement = (
            select(Kit.number, BlindedLot.expiry, ShipmentKit.outcome, Kit.state)
            .join(Kit, Kit.id == ShipmentKit.kit_id)
            .join(BlindedLot, BlindedLot.id == Kit.blinded_lot_id)
            .where(ShipmentKit.shipment_id == shipment.id)
            .order_by(Kit.number)
        )
        kits = tuple(ArrivingKit(*row) for row in tx.session.execute(statement))
    names = printed_names(tx, [shipment.ended_by])
    return ShipmentView(
        number=shipment.number,
        state=shipment.state,
        expected_on=shipment.expected_on,
        shipped_at=shipment.shipped_at,
        carrier=shipment.carrier,
        tracking=shipment.tracking,
        logger=shipment.logger,
        ended_at=shipment.ended_at,
        ended_by=names.get(shipment.ended_by or "", ""),
        end_reason=shipment.end_reason,
        kits=kits,
        today=place_of(tx, shipment.site).today,
    )
