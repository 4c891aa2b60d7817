"""A depot's work and stock: shipments to pick and send, kits by blinded lot. A depot sees numbers, never types."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, func, or_, select

from rts.clock import local_date
from rts.reports.people import Name, printed_names
from rts.store import definitions
from rts.store.tables import BlindedLot, Depot, Kit, LotRecall, Shipment, ShipmentKit, Site, Trial
from rts.store.transaction import Transaction
from rts.supply.expiry import last_day_inclusive
from rts.supply.kits import KitState
from rts.trial.definition import TrialDefinition
from rts.trial.texts import Text

WAITING = ("requested", "picked")


@dataclass(frozen=True)
class ShipmentRow:
    """A shipment in a list. `site` is code and name; `kits` counts its kits, all types together."""

    number: str
    state: str
    site: Text
    site_code: str
    depot: str
    ship_on: date
    expected_on: date
    kits: int


def shipment_rows(
    tx: Transaction,
    trial: Trial,
    *,
    depot: Depot | None = None,
    site: str = "",
    states: tuple[str, ...] = (),
    page: int = 1,
    size: int = 50,
) -> tuple[ShipmentRow, ...]:
    """Shipments by number, the latest first: of one `depot`, to one `site` (code), in some `states`, or all."""
    kits = select(func.count()).where(ShipmentKit.shipment_id == Shipment.id).correlate(Shipment).scalar_subquery()
    statement = (
        select(Shipment, Site, Depot.code, kits)
        .join(Site, Site.id == Shipment.site_id)
        .join(Depot, Depot.id == Shipment.depot_id)
        .where(*_wanted(trial, depot, site, states))
        .order_by(Shipment.id.desc())
        .limit(size)
        .offset((page - 1) * size)
    )
    rows = tx.session.execute(statement).all()
    at_sites = definitions.at_sites(tx, trial, list({site for _, site, _, _ in rows}))
    return tuple(
        ShipmentRow(
            shipment.number,
            shipment.state,
            at_sites[site.code].site(site.code).title,
            site.code,
            depot_code,
            shipment.ship_on,
            shipment.expected_on,
            count,
        )
        for shipment, site, depot_code, count in rows
    )


def count_shipments(
    tx: Transaction, trial: Trial, *, depot: Depot | None = None, site: str = "", states: tuple[str, ...] = ()
) -> int:
    """How many shipments `shipment_rows` would list on all its pages."""
    statement = select(func.count(Shipment.id)).join(Site, Site.id == Shipment.site_id)
    return tx.session.scalar(statement.where(*_wanted(trial, depot, site, states))) or 0


def _wanted(trial: Trial, depot: Depot | None, site: str, states: tuple[str, ...]) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [Shipment.trial_id == trial.id]
    if depot is not None:
        wanted.append(Shipment.depot_id == depot.id)
    if site:
        wanted.append(Site.code == site)
    if states:
        wanted.append(Shipment.state.in_(states))
    return wanted


@dataclass(frozen=True)
class DepotToday:
    """The depot's work: what waits to be picked or sent, by ship date, and a few figures. `today` is its local date."""

    today: date
    waiting: tuple[ShipmentRow, ...]
    in_transit: int
    kits_to_send: int

    @property
    def late(self) -> int:
        """How many should have left before today."""
        return sum(1 for shipment in self.waiting if shipment.ship_on < self.today)


def depot_today(tx: Transaction, trial: Trial, depot: Depot) -> DepotToday:
    """What the depot must do now."""
    facts = definitions.of_depots(tx, trial)[depot.code]
    rows = shipment_rows(tx, trial, depot=depot, states=WAITING, size=500)
    in_depot = tx.session.scalar(select(func.count()).where(Kit.depot_id == depot.id, Kit.state == KitState.IN_DEPOT))
    return DepotToday(
        today=local_date(tx.now, facts.time_zone),
        waiting=tuple(sorted(rows, key=lambda row: (row.ship_on, row.number))),
        in_transit=count_shipments(tx, trial, depot=depot, states=("in_transit",)),
        kits_to_send=in_depot or 0,
    )


@dataclass(frozen=True)
class ShipmentPage:
    """A shipment with its kits' numbers, ascending. `earliest_expiry` is that of the whole box."""

    number: str
    state: str
    site_code: str
    site: Text
    city: Text
    depot: str
    requested_at: datetime
    requested_by: Name
    ship_on: date
    expected_on: date
    picked_at: datetime | None
    picked_by: Name
    shipped_at: datetime | None
    shipped_by: Name
    carrier: str
    tracking: str
    logger: str
    ended_at: datetime | None
    ended_by: Name
    end_reason: str
    overdue: bool
    today: date
    kits: tuple[str, ...]
    earliest_expiry: date | None


def shipment_page(tx: Transaction, shipment: Shipment) -> ShipmentPage:
    """Everything a page about one shipment shows to depot and office; how each kit arrived is the site's to see."""
    trial = tx.session.get_one(Trial, shipment.trial_id)
    site = tx.session.get_one(Site, shipment.site_id)
    definition = definitions.at_sites(tx, trial, [site])[site.code]
    depot = tx.session.get_one(Depot, shipment.depot_id)
    facts = definition.site(site.code)
    today = local_date(tx.now, facts.time_zone)
    lines = tx.session.execute(
        select(Kit.number, BlindedLot.expiry)
        .join(ShipmentKit, ShipmentKit.kit_id == Kit.id)
        .join(BlindedLot, BlindedLot.id == Kit.blinded_lot_id)
        .where(ShipmentKit.shipment_id == shipment.id)
        .order_by(Kit.number)
    ).all()
    people = [shipment.requested_by, shipment.picked_by, shipment.shipped_by, shipment.ended_by]
    names = {"": "", **printed_names(tx, people)}
    return ShipmentPage(
        number=shipment.number,
        state=shipment.state,
        site_code=site.code,
        site=facts.title,
        city=facts.city,
        depot=depot.code,
        requested_at=shipment.requested_at,
        requested_by=names[shipment.requested_by],
        ship_on=shipment.ship_on,
        expected_on=shipment.expected_on,
        picked_at=shipment.picked_at,
        picked_by=names[shipment.picked_by or ""],
        shipped_at=shipment.shipped_at,
        shipped_by=names[shipment.shipped_by or ""],
        carrier=shipment.carrier or "",
        tracking=shipment.tracking or "",
        logger=shipment.logger or "",
        ended_at=shipment.ended_at,
        ended_by=names[shipment.ended_by or ""],
        end_reason=shipment.end_reason or "",
        overdue=shipment.state == "in_transit" and is_overdue(shipment.expected_on, today, definition),
        today=today,
        kits=tuple(number for number, _expiry in lines),
        earliest_expiry=min((expiry for _number, expiry in lines), default=None),
    )


def is_overdue(expected_on: date, today: date, definition: TrialDefinition) -> bool:
    """Whether a shipment in transit, expected on `expected_on`, is missed by the site's date `today`."""
    return (today - expected_on).days > definition.supply.overdue_after_days


@dataclass(frozen=True)
class LotRow:
    """Kits of a blinded lot by where they are, all types of the group together. `last_ship_day` is the last date on
    which any of them may leave a depot for some site.
    """

    code: str
    expiry: date
    last_ship_day: date
    released_at: datetime | None
    released_by: Name
    release_document: str
    packed: int
    in_depot: int
    requested: int
    in_transit: int
    at_sites: int
    dispensed: int
    gone: int
    is_recalled: bool

    @property
    def total(self) -> int:
        """All kits of the lot."""
        return (
            self.packed + self.in_depot + self.requested + self.in_transit + self.at_sites + self.dispensed + self.gone
        )


USED = (KitState.DISPENSED, KitState.RETURNED, KitState.UNRETURNED)
AT_SITES = (KitState.AVAILABLE, KitState.ASSIGNED, KitState.QUARANTINED)
GONE = (
    KitState.DAMAGED,
    KitState.MISSING,
    KitState.LOST_IN_TRANSIT,
    KitState.LOST,
    KitState.EXPIRED,
    KitState.REJECTED,
    KitState.RECALLED,
    KitState.RECALLED_IN_DEPOT,
    KitState.PENDING_DESTRUCTION,
    KitState.DESTROYED,
)


def lot_rows(tx: Transaction, trial: Trial, depot: Depot | None = None) -> tuple[LotRow, ...]:
    """The blinded lots by expiry and code, counted over the trial, or what one `depot` holds or has reserved."""
    in_force = [definitions.parsed(version.public_text) for version in definitions.versions_of_trial(tx, trial)]
    dns = min(definition.expiry.dns for definition in in_force)
    counted = select(Kit.blinded_lot_id, Kit.state, func.count()).where(Kit.trial_id == trial.id)
    if depot is not None:
        from_here = select(Shipment.id).where(Shipment.depot_id == depot.id, Shipment.state.in_(WAITING))
        counted = counted.where(or_(Kit.depot_id == depot.id, Kit.shipment_id.in_(from_here)))
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for lot_id, state, count in tx.session.execute(counted.group_by(Kit.blinded_lot_id, Kit.state)):
        counts[lot_id][state] = count
    statement = select(BlindedLot).where(BlindedLot.trial_id == trial.id).order_by(BlindedLot.expiry, BlindedLot.code)
    if depot is not None:
        statement = statement.where(BlindedLot.id.in_(list(counts)))
    lots = list(tx.session.scalars(statement))
    names = {"": "", **printed_names(tx, [lot.released_by for lot in lots])}
    recalled = set(tx.session.scalars(select(LotRecall.blinded_lot_id).where(LotRecall.ended_at.is_(None))))
    rows = []
    for lot in lots:
        of_lot = counts[lot.id]
        rows.append(
            LotRow(
                code=lot.code,
                expiry=lot.expiry,
                last_ship_day=last_day_inclusive(lot.expiry, dns),
                released_at=lot.released_at,
                released_by=names[lot.released_by or ""],
                release_document=lot.release_document or "",
                packed=of_lot.get(KitState.PACKED, 0),
                in_depot=of_lot.get(KitState.IN_DEPOT, 0),
                requested=of_lot.get(KitState.REQUESTED, 0),
                in_transit=of_lot.get(KitState.IN_TRANSIT, 0),
                at_sites=sum(of_lot.get(state, 0) for state in AT_SITES),
                dispensed=sum(of_lot.get(state, 0) for state in USED),
                gone=sum(of_lot.get(state, 0) for state in GONE),
                is_recalled=lot.id in recalled,
            )
        )
    return tuple(rows)
