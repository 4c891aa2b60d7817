"""One blinded lot: where every kit of it is, who was given one, and how a recall goes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from rts.randomisation.numbers import normal_number
from rts.reports.people import Name, printed_names
from rts.store.tables import BlindedLot, Depot, Dispensing, Kit, LotRecall, Site, Subject
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class RecallLine:
    """A recall: ordered, and perhaps ended."""

    reason: str
    document: str
    at: datetime
    by: Name
    how: str | None
    end_document: str | None
    ended_at: datetime | None
    ended_by: Name | None


@dataclass(frozen=True)
class PlaceLine:
    """The kits of a lot at a site or depot, or handed out there, by state; all kit types together."""

    place: str
    is_site: bool
    counts: dict[str, int]


@dataclass(frozen=True)
class TracedKit:
    """A kit of the lot: where it is, and to whom it was given."""

    number: str
    state: str
    place: str
    subject: str | None
    visit: str | None
    given_on: date | None


@dataclass(frozen=True)
class LotTrace:
    """Everything a blinded person sees of a lot: one page of its kits, and how many there are on all of them."""

    code: str
    expiry: date
    released_at: datetime | None
    recalls: tuple[RecallLine, ...]
    places: tuple[PlaceLine, ...]
    states: tuple[str, ...]
    kits: tuple[TracedKit, ...]
    total: int

    @property
    def recall(self) -> RecallLine | None:
        """The recall that has not ended."""
        return next((one for one in self.recalls if one.ended_at is None), None)


def trace_lot(
    tx: Transaction,
    lot: BlindedLot,
    *,
    place: str = "",
    state: str = "",
    text: str = "",
    page: int = 1,
    size: int | None = None,
) -> LotTrace:
    """Where the kits of `lot` are, by number: page `page` of `size`, or all. `place` is the code of a site or depot."""
    places = _places(tx, lot)
    wanted: list[ColumnElement[bool]] = [Kit.blinded_lot_id == lot.id]
    if place:
        wanted.append(or_(Kit.site_id.in_(_codes(Site, place)), Kit.depot_id.in_(_codes(Depot, place))))
    if state:
        wanted.append(Kit.state == state)
    if text:
        wanted.append(Kit.number.like(f"%{normal_number(text)}%"))
    total = tx.session.scalar(select(func.count()).select_from(Kit).where(*wanted)) or 0
    chosen = select(Kit.id).where(*wanted).order_by(Kit.number)
    if size is not None:
        chosen = chosen.limit(size).offset((page - 1) * size)
    statement = (
        select(
            Kit.number,
            Kit.state,
            func.coalesce(Site.code, Depot.code, ""),
            Subject.code,
            Dispensing.visit,
            Dispensing.dispensed_on,
        )
        .outerjoin(Site, Site.id == Kit.site_id)
        .outerjoin(Depot, Depot.id == Kit.depot_id)
        .outerjoin(Dispensing, and_(Dispensing.kit_id == Kit.id, Dispensing.dispensed_at.is_not(None)))
        .outerjoin(Subject, Subject.id == Dispensing.subject_id)
        .where(Kit.id.in_(chosen))
        .order_by(Kit.number)
    )
    return LotTrace(
        code=lot.code,
        expiry=lot.expiry,
        released_at=lot.released_at,
        recalls=_recalls(tx, lot),
        places=places,
        states=tuple(sorted({name for line in places for name in line.counts})),
        kits=tuple(TracedKit(*row) for row in tx.session.execute(statement)),
        total=total,
    )


def _codes(table: type[Site] | type[Depot], code: str) -> Select[int]:
    return select(table.id).where(table.code == code)


def _places(tx: Transaction, lot: BlindedLot) -> tuple[PlaceLine, ...]:
    counts: dict[tuple[bool, str], dict[str, int]] = defaultdict(dict)
    statement = (
        select(Site.code, Depot.code, Kit.state, func.count())
        .select_from(Kit)
        .outerjoin(Site, Site.id == Kit.site_id)
        .outerjoin(Depot, Depot.id == Kit.depot_id)
        .where(Kit.blinded_lot_id == lot.id)
        .group_by(Site.code, Depot.code, Kit.state)
    )
    for site, depot, state, count in tx.session.execute(statement):
        counts[site is not None, site or depot or ""][state] = count
    return tuple(PlaceLine(code, is_site, found) for (is_site, code), found in sorted(counts.items()))


def _recalls(tx: Transaction, lot: BlindedLot) -> tuple[RecallLine, ...]:
    found = tx.session.scalars(
        select(LotRecall).where(LotRecall.blinded_lot_id == lot.id).order_by(LotRecall.id.desc())
    ).all()
    names = printed_names(tx, [name for row in found for name in (row.recalled_by, row.ended_by)])
    return tuple(
        RecallLine(
            row.reason,
            row.document,
            row.recalled_at,
            names[row.recalled_by],
            row.how,
            row.end_document,
            row.ended_at,
            names[row.ended_by] if row.ended_by else None,
        )
        for row in found
    )
