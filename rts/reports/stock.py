"""Kits at a site as blinded people see them: numbers, states and expiry, all kits of a blinding group together."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import and_, func, select

from rts.conduct.places import Place, place_of
from rts.conduct.visits import definition_of_visit
from rts.randomisation.numbers import normal_number
from rts.reports.people import Name, printed_names
from rts.store.tables import BlindedLot, Dispensing, Kit, KitMove, Shipment, Site, Subject
from rts.store.transaction import Transaction
from rts.supply.expiry import last_day_inclusive
from rts.supply.kits import ON_HAND, KitState
from rts.trial.texts import Text


@dataclass(frozen=True)
class ExpiryLine:
    """Kits on hand that share an expiry (last usable day); `dispense_until` is the last day to hand one over."""

    expiry: date
    dispense_until: date
    available: int
    assigned: int
    quarantined: int


@dataclass(frozen=True)
class KitRow:
    """A line of the kit list."""

    number: str
    state: str
    expiry: date
    shipment: str | None
    subject: str | None


@dataclass(frozen=True)
class KitRows:
    """One page of the kit list and how many kits there are on all of them."""

    rows: tuple[KitRow, ...]
    total: int


@dataclass(frozen=True)
class KitEvent:
    """One move in a kit's life at the site."""

    at: datetime
    move: str
    doer: Name
    reason: str
    shipment: str | None


@dataclass(frozen=True)
class KitLife:
    """A kit, where it is, and what happened to it since it left for the site; `subject` holds it now."""

    number: str
    state: str
    expiry: date
    dispense_until: date
    shipment: str | None
    received_on: datetime | None
    subject: str | None
    visit: Text | None
    visit_code: str
    events: tuple[KitEvent, ...]
    today: date


SORTS = {"kit": Kit.number, "state": Kit.state, "expiry": BlindedLot.expiry, "shipment": Shipment.number}


def stock_by_expiry(tx: Transaction, site: Site) -> tuple[ExpiryLine, ...]:
    """The kits on hand at `site` by expiry, earliest first."""
    definition = place_of(tx, site).definition
    dnd = max(definition.expiry.dnd_at(visit.code) for visit in definition.visits)
    statement = (
        select(BlindedLot.expiry, Kit.state, func.count())
        .join(BlindedLot, BlindedLot.id == Kit.blinded_lot_id)
        .where(Kit.site_id == site.id, Kit.state.in_(ON_HAND))
        .group_by(BlindedLot.expiry, Kit.state)
    )
    counts: dict[date, Counter[str]] = defaultdict(Counter)
    for expiry, state, count in tx.session.execute(statement):
        counts[expiry][state] += count
    return tuple(
        ExpiryLine(
            expiry,
            last_day_inclusive(expiry, dnd),
            counts[expiry][KitState.AVAILABLE],
            counts[expiry][KitState.ASSIGNED],
            counts[expiry][KitState.QUARANTINED],
        )
        for expiry in sorted(counts)
    )


def kit_rows(
    tx: Transaction, site: Site, *, state: str = "", text: str = "", sort: str = "", page: int = 1, size: int = 50
) -> KitRows:
    """The kits sent to `site`, page `page` of `size`; `state` is a kit state, `on_hand`, or empty for all.

    `text` is part of a kit number; `sort` a key of `SORTS`, with a minus in front for descending. Ties are broken by
    kit number, never by where a kit stands in a list.
    """
    wanted = [Kit.site_id == site.id]
    if state == "on_hand":
        wanted.append(Kit.state.in_(ON_HAND))
    elif state:
        wanted.append(Kit.state == state)
    if text:
        wanted.append(Kit.number.like(f"%{normal_number(text)}%"))
    total = tx.session.scalar(select(func.count()).select_from(Kit).where(*wanted)) or 0
    column = SORTS.get(sort.lstrip("-"), Kit.number)
    order = column.desc().nulls_last() if sort.startswith("-") else column.asc().nulls_last()
    # The page is cut out of ids alone: sorting thousands of whole rows would take most of the time.
    chosen = select(Kit.id).where(*wanted).order_by(order, Kit.number).limit(size).offset((page - 1) * size)
    if column is BlindedLot.expiry:
        chosen = chosen.join(BlindedLot, BlindedLot.id == Kit.blinded_lot_id)
    elif column is Shipment.number:
        chosen = chosen.outerjoin(Shipment, Shipment.id == Kit.shipment_id)
    statement = (
        select(Kit.number, Kit.state, BlindedLot.expiry, Shipment.number, Subject.code)
        .join(BlindedLot, BlindedLot.id == Kit.blinded_lot_id)
        .outerjoin(Shipment, Shipment.id == Kit.shipment_id)
        .outerjoin(Dispensing, and_(Dispensing.kit_id == Kit.id, Dispensing.dispensed_at.is_not(None)))
        .outerjoin(Subject, Subject.id == func.coalesce(Kit.subject_id, Dispensing.subject_id))
        .where(Kit.id.in_(tx.session.scalars(chosen).all()))
        .order_by(order, Kit.number)
    )
    return KitRows(tuple(KitRow(*row) for row in tx.session.execute(statement)), total)


def kit_life(tx: Transaction, site: Site, number: str) -> KitLife | None:
    """The life of the kit `number`; None unless it was sent to `site`."""
    kit = tx.session.scalar(
        select(Kit).where(Kit.trial_id == site.trial_id, Kit.number == normal_number(number), Kit.site_id == site.id)
    )
    if kit is None:
        return None
    place = place_of(tx, site)
    moves = tx.session.execute(
        select(KitMove.at, KitMove.move, KitMove.doer, KitMove.reason, Shipment.number, Shipment.ended_at)
        .outerjoin(Shipment, Shipment.id == KitMove.shipment_id)
        .where(KitMove.kit_id == kit.id, KitMove.site_id == site.id)
        .order_by(KitMove.sequence)
    ).all()
    names = printed_names(tx, [move.doer for move in moves])
    receipt = next((move for move in moves if move.move.startswith("receive_")), None)
    # A kit that came back is held by nobody; it stays known to whom it was given.
    was_given = Dispensing.dispensed_at.is_not(None)
    holder = tx.session.scalar(select(Dispensing.subject_id).where(Dispensing.kit_id == kit.id, was_given))
    subject = tx.session.get(Subject, kit.subject_id or holder or 0)
    dnd = max(place.definition.expiry.dnd_at(visit.code) for visit in place.definition.visits)
    return KitLife(
        number=kit.number,
        state=kit.state,
        expiry=kit.lot.expiry,
        dispense_until=last_day_inclusive(kit.lot.expiry, dnd),
        shipment=next((move.number for move in moves if move.number), None),
        received_on=receipt.at if receipt else None,
        subject=subject.code if subject else None,
        visit=_visit_label(tx, place, kit),
        visit_code=kit.visit or "",
        events=tuple(KitEvent(move.at, move.move, names[move.doer], move.reason, move.number) for move in moves),
        today=place.today,
    )


def _visit_label(tx: Transaction, place: Place, kit: Kit) -> Text | None:
    """The visit a kit is set aside or was dispensed for; None for a kit that is nobody's."""
    row = tx.session.scalar(select(Dispensing).where(Dispensing.kit_id == kit.id)) if kit.visit else None
    if row is None:
        return None
    return definition_of_visit(tx, place.definition, row.visit, row.version_id).visit(row.visit).label
