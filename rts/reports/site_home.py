"""What a site has to do now: visits, kits set aside, shipments, subjects waiting; and the figures beside it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select

from rts.conduct.places import Place, place_of
from rts.conduct.visits import definition_of_visit
from rts.reports.accountability import due_back
from rts.reports.stock import ExpiryLine, stock_by_expiry
from rts.reports.subjects import DueVisit, next_visits
from rts.store.tables import Dispensing, Kit, Shipment, Site, Subject
from rts.store.transaction import Transaction
from rts.supply.windows import due_date, window
from rts.trial.texts import Text

DAYS_AHEAD = 7
"""Visits due within so many days are shown as coming."""


@dataclass(frozen=True)
class SubjectVisit:
    """A subject and the visit they come to next."""

    subject: str
    visit: DueVisit


@dataclass(frozen=True)
class KitToHandOver:
    """A kit set aside and not yet handed over, with the due day and window of its visit."""

    subject: str
    visit: str
    label: Text
    kit: str
    assigned_at: datetime
    due: date
    first: date
    last: date


@dataclass(frozen=True)
class ExpectedShipment:
    """A shipment that has not arrived yet. Days are local to the site."""

    number: str
    state: str
    expected_on: date


@dataclass(frozen=True)
class WaitingSubject:
    """A screened subject who is neither randomised nor a screening failure."""

    code: str
    consent_on: date
    screened_at: datetime


@dataclass(frozen=True)
class EndingSubject:
    """A subject who has reached the last visit and whose treatment has not been recorded as ended."""

    code: str
    visit: DueVisit


@dataclass(frozen=True)
class SiteToday:
    """A site today."""

    today: date
    is_open: bool
    in_treatment: int
    in_screening: int
    available: int
    kits_to_hand_over: tuple[KitToHandOver, ...]
    visits: tuple[SubjectVisit, ...]
    ending: tuple[EndingSubject, ...]
    waiting: tuple[WaitingSubject, ...]
    shipments: tuple[ExpectedShipment, ...]
    stock: tuple[ExpiryLine, ...]
    due_back: int

    @property
    def arriving(self) -> tuple[ExpectedShipment, ...]:
        """The shipments that have left the depot."""
        return tuple(shipment for shipment in self.shipments if shipment.state == "in_transit")


def site_today(tx: Transaction, site: Site) -> SiteToday:
    """What `site` has to do now, on its local date."""
    place = place_of(tx, site)
    in_treatment = tx.session.scalars(
        select(Subject).where(Subject.site_id == site.id, Subject.state == "randomised").order_by(Subject.code)
    ).all()
    screened = tx.session.scalars(
        select(Subject).where(Subject.site_id == site.id, Subject.state == "screened").order_by(Subject.screened_at)
    ).all()
    to_hand_over = _kits_to_hand_over(tx, place)
    due = next_visits(tx, place, in_treatment)
    dispensing = {
        (level, visit.code)
        for visit in place.definition.visits
        for level in place.definition.dose_levels
        if any(visit.kits.get(level, {}).values())
    }
    horizon = place.today + timedelta(days=DAYS_AHEAD)
    visits = []
    ending = []
    for subject in in_treatment:
        visit = due.get(subject.id)
        if visit is None or visit.state == "set_aside" or visit.first > horizon:
            continue
        if (subject.dose_level, visit.code) in dispensing:
            visits.append(SubjectVisit(subject.code, visit))
        elif visit.code == place.definition.visits[-1].code:
            ending.append(EndingSubject(subject.code, visit))
    stock = stock_by_expiry(tx, site)
    return SiteToday(
        today=place.today,
        is_open=site.state == "open",
        in_treatment=len(in_treatment),
        in_screening=len(screened),
        available=sum(line.available for line in stock),
        kits_to_hand_over=to_hand_over,
        visits=tuple(sorted(visits, key=lambda found: (found.visit.due, found.subject))),
        ending=tuple(sorted(ending, key=lambda found: (found.visit.due, found.code))),
        waiting=tuple(WaitingSubject(row.code, row.consent_on, row.screened_at) for row in screened),
        shipments=_expected(tx, site),
        stock=stock,
        due_back=len(due_back(tx, site)),
    )


def _kits_to_hand_over(tx: Transaction, place: Place) -> tuple[KitToHandOver, ...]:
    statement = (
        select(Subject.code, Subject.randomised_on, Dispensing, Kit.number)
        .join(Subject, Subject.id == Dispensing.subject_id)
        .join(Kit, Kit.id == Dispensing.kit_id)
        .where(Kit.site_id == place.site.id, Kit.state == "assigned", Dispensing.state == "assigned")
        .order_by(Dispensing.assigned_at, Kit.number)
    )
    kits = []
    for code, randomised_on, row, number in tx.session.execute(statement):
        if randomised_on is None:
            raise RuntimeError("a subject with kits set aside has a date of randomisation")
        visit = definition_of_visit(tx, place.definition, row.visit, row.version_id).visit(row.visit)
        kits.append(
            KitToHandOver(
                code,
                row.visit,
                visit.label,
                number,
                row.assigned_at,
                due_date(randomised_on, visit),
                *window(randomised_on, visit),
            )
        )
    return tuple(kits)


def _expected(tx: Transaction, site: Site) -> tuple[ExpectedShipment, ...]:
    statement = (
        select(Shipment.number, Shipment.state, Shipment.expected_on)
        .where(Shipment.site_id == site.id, Shipment.state.in_(["requested", "picked", "in_transit"]))
        .order_by(Shipment.expected_on, Shipment.number)
    )
    return tuple(ExpectedShipment(*row) for row in tx.session.execute(statement))
