"""Subjects of a site as blinded people see them: list, life, visits, and the record of a randomisation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import joinedload

from rts.conduct.places import Place, place_of
from rts.conduct.visits import LIVE, definition_of_visit, reached_visits, schedule_of, visits_of
from rts.reports.people import Name, printed_names
from rts.store import definitions
from rts.store.tables import (
    AllocationRemark,
    Dispensing,
    Kit,
    Shipment,
    ShipmentKit,
    Signature,
    Site,
    Subject,
)
from rts.store.transaction import Transaction
from rts.supply.expiry import may_be_dispensed
from rts.supply.windows import due_date, open_visits, window
from rts.trial.definition import TrialDefinition, Visit
from rts.trial.texts import Text


@dataclass(frozen=True)
class DueVisit:
    """A visit still to be held: its due day and window, local to the site.

    `state` is `coming`, `open` (today lies in the window), `overdue`, `lacking` (a kit of it was given up and not
    replaced), or `set_aside` (kits wait to be handed over).
    """

    code: str
    label: Text
    due: date
    first: date
    last: date
    state: str


@dataclass(frozen=True)
class SubjectRow:
    """A line of the subject list."""

    code: str
    state: str
    randomisation_number: str | None
    screened_at: datetime
    randomised_at: datetime | None
    is_unblinded: bool
    next_visit: DueVisit | None


@dataclass(frozen=True)
class SubjectRows:
    """One page of the subject list and how many subjects there are on all of them."""

    rows: tuple[SubjectRow, ...]
    total: int


@dataclass(frozen=True)
class VisitKit:
    """A kit set aside or dispensed for a visit, under the version with row id `version_id`. `lasts` says whether it may
    still be dispensed at this visit today.
    """

    visit: str
    version_id: int
    number: str
    slot: int
    state: str
    expiry: date
    lasts: bool
    shipment: str | None
    received_on: datetime | None
    assigned_at: datetime
    assigned_by: str
    dispensed_at: datetime | None
    dispensed_by: str | None
    ended_at: datetime | None
    fate: str
    reason: str
    window_reason: str | None


@dataclass(frozen=True)
class VisitLine:
    """A visit of a randomised subject with its kits.

    `state` is `dispensed`, `set_aside`, `open`, `overdue`, `coming`, `lacking` (a kit of it was given up and not
    replaced), `passed` (a later one was held) or `not_held` (treatment ended before).
    """

    code: str
    label: Text
    due: date
    first: date
    last: date
    state: str
    is_dispensing: bool
    kits: tuple[VisitKit, ...]

    @property
    def window_reason(self) -> str | None:
        """Why the visit was held outside its window; None when it was not."""
        return next((kit.window_reason for kit in self.kits if kit.window_reason), None)

    @property
    def live_kits(self) -> tuple[VisitKit, ...]:
        """The kits that count: set aside or dispensed, not replaced or put back."""
        return tuple(kit for kit in self.kits if kit.state in LIVE)


@dataclass(frozen=True)
class Stratification:
    """An entered stratification value and the level derived from it."""

    label: Text
    value: str
    unit: Text
    level: Text


@dataclass(frozen=True)
class SignatureLine:
    """An electronic signature as it is shown: printed name, meaning, moment and zone."""

    printed_name: str
    meaning: str
    signed_at: datetime
    time_zone: str


@dataclass(frozen=True)
class RemarkLine:
    """A remark beside the allocation: `kind` is `in_error`, or `stratum` with the values as they should have been."""

    kind: str
    reason: str
    at: datetime
    by: Name
    values: tuple[Stratification, ...]


@dataclass(frozen=True)
class SubjectLife:
    """Everything a blinded person sees of a subject. `next` is the visit the subject is to come to next."""

    code: str
    state: str
    consent_on: date
    year_of_birth: int
    sex: str
    previous: str | None
    screened_at: datetime
    screened_by: str
    randomisation_number: str | None
    randomised_at: datetime | None
    randomised_by: str | None
    ended_at: datetime | None
    end_reason: str | None
    unblinded_at: datetime | None
    stratification: tuple[Stratification, ...]
    visits: tuple[VisitLine, ...]
    next: VisitLine | None
    is_at_end: bool
    signatures: tuple[SignatureLine, ...]
    remarks: tuple[RemarkLine, ...]
    names: dict[str, Name]
    today: date

    def visit(self, code: str) -> VisitLine | None:
        """The visit `code`; None when there is none."""
        return next((visit for visit in self.visits if visit.code == code), None)


SORTS = {
    "code": Subject.sequence,
    "state": Subject.state,
    "number": Subject.randomisation_number,
    "screened": Subject.screened_at,
    "randomised": Subject.randomised_at,
}


def subject_rows(
    tx: Transaction, site: Site, *, state: str = "", text: str = "", sort: str = "", page: int = 1, size: int = 50
) -> SubjectRows:
    """The subjects of `site`, page `page` of `size`; `text` is part of a subject code or randomisation number.

    `sort` is a key of `SORTS`, with a minus in front for descending.
    """
    wanted = [Subject.site_id == site.id]
    if state:
        wanted.append(Subject.state == state)
    if text:
        part = f"%{text.strip().upper()}%"
        wanted.append(or_(Subject.code.like(part), Subject.randomisation_number.like(part)))
    total = tx.session.scalar(select(func.count()).select_from(Subject).where(*wanted)) or 0
    column = SORTS.get(sort.lstrip("-"), Subject.sequence)
    order = column.desc().nulls_last() if sort.startswith("-") else column.asc().nulls_last()
    statement = select(Subject).where(*wanted).order_by(order, Subject.sequence).limit(size).offset((page - 1) * size)
    subjects = tx.session.scalars(statement).all()
    due = next_visits(tx, place_of(tx, site), [subject for subject in subjects if subject.state == "randomised"])
    return SubjectRows(
        tuple(
            SubjectRow(
                subject.code,
                subject.state,
                subject.randomisation_number,
                subject.screened_at,
                subject.randomised_at,
                subject.unblinded_at is not None,
                due.get(subject.id),
            )
            for subject in subjects
        ),
        total,
    )


def next_visits(tx: Transaction, place: Place, subjects: Sequence[Subject]) -> dict[int, DueVisit]:
    """The next visit of each of `subjects` in treatment, by row id: the one kits are set aside for, else the next."""
    if not subjects:
        return {}
    ids = [subject.id for subject in subjects]
    reached = reached_visits(tx, ids)
    statement = select(Dispensing.subject_id, Dispensing.visit).where(
        Dispensing.subject_id.in_(ids), Dispensing.state == "assigned"
    )
    waiting: dict[int, str] = dict(tx.session.execute(statement).all())
    found = {}
    for subject in subjects:
        if subject.randomised_on is None:
            continue
        visits, closed = schedule_of(tx, place.definition, reached[subject.id])
        if subject.id in waiting:
            awaited = next(visit for visit in visits if visit.code == waiting[subject.id])
            found[subject.id] = replace(_due(awaited, subject.randomised_on, place.today), state="set_aside")
            continue
        ahead = open_visits(visits, closed)
        due = [_due(visit, subject.randomised_on, place.today) for visit in ahead]
        due = [replace(visit, state="lacking") if visit.code in reached[subject.id] else visit for visit in due]
        # One missed is let go once the window of a later one has begun: that is the visit the subject comes to.
        begun = [visit for visit in due if visit.state != "coming"]
        if due:
            found[subject.id] = begun[-1] if begun else due[0]
    return found


def _due(visit: Visit, randomised_on: date, today: date) -> DueVisit:
    first, last = window(randomised_on, visit)
    state = "coming" if today < first else "open" if today <= last else "overdue"
    return DueVisit(visit.code, visit.label, due_date(randomised_on, visit), first, last, state)


def subject_life(tx: Transaction, subject: Subject) -> SubjectLife:
    """The life of `subject`, with every visit and kit. Times are UTC, days local to the site."""
    place = place_of(tx, subject.site)
    kits = _kits_of(tx, place, subject)
    visits = _visits(tx, place, subject, kits)
    last_visit = visits[-1] if visits else None
    is_at_end = (
        subject.state == "randomised"
        and last_visit is not None
        and place.today >= last_visit.first
        and not any(visit.state in {"set_aside", "open"} for visit in visits if visit.is_dispensing)
    )
    people = [subject.screened_by, subject.randomised_by]
    people += [name for kit in kits for name in (kit.assigned_by, kit.dispensed_by)]
    return SubjectLife(
        code=subject.code,
        state=subject.state,
        consent_on=subject.consent_on,
        year_of_birth=subject.year_of_birth,
        sex=subject.sex,
        previous=subject.previous_code,
        screened_at=subject.screened_at,
        screened_by=subject.screened_by,
        randomisation_number=subject.randomisation_number,
        randomised_at=subject.randomised_at,
        randomised_by=subject.randomised_by,
        ended_at=subject.ended_at,
        end_reason=subject.end_reason,
        unblinded_at=subject.unblinded_at,
        stratification=_recorded_stratification(tx, subject),
        visits=visits,
        next=_next(visits),
        is_at_end=is_at_end,
        signatures=_signatures(tx, subject),
        remarks=_remarks(tx, subject),
        names=printed_names(tx, people),
        today=place.today,
    )


def stratification(definition: TrialDefinition, values: dict[str, float]) -> tuple[Stratification, ...]:
    """The entered `values` with the level each falls into. Raises KeyError or ValueError for values out of bounds."""
    return tuple(
        Stratification(
            factor.label,
            f"{values[factor.code]:.{factor.decimals}f}",
            factor.unit,
            factor.level_of(values[factor.code]).label,
        )
        for factor in definition.factors
    )


def _recorded_stratification(tx: Transaction, subject: Subject) -> tuple[Stratification, ...]:
    if subject.factor_values is None:
        return ()
    return stratification(definitions.by_id(tx, subject.version_id), json.loads(subject.factor_values))


def _remarks(tx: Transaction, subject: Subject) -> tuple[RemarkLine, ...]:
    found = tx.session.scalars(
        select(AllocationRemark).where(AllocationRemark.subject_id == subject.id).order_by(AllocationRemark.id)
    ).all()
    names = printed_names(tx, [remark.recorded_by for remark in found])
    definition = definitions.by_id(tx, subject.version_id)
    return tuple(
        RemarkLine(
            remark.kind,
            remark.reason,
            remark.recorded_at,
            names[remark.recorded_by],
            stratification(definition, json.loads(remark.factor_values)) if remark.factor_values else (),
        )
        for remark in found
    )


def _kits_of(tx: Transaction, place: Place, subject: Subject) -> list[VisitKit]:
    rows = tx.session.scalars(
        select(Dispensing)
        .options(joinedload(Dispensing.kit).joinedload(Kit.lot))
        .where(Dispensing.subject_id == subject.id)
        .order_by(Dispensing.assigned_at, Dispensing.slot, Dispensing.attempt)
    ).all()
    arrived = _arrivals(tx, [row.kit_id for row in rows])
    kits = []
    for row in rows:
        shipment, received_on = arrived.get(row.kit_id, (None, None))
        fate, _, reason = (row.end_reason or "").partition(": ")
        definition = definition_of_visit(tx, place.definition, row.visit, row.version_id)
        kit = VisitKit(
            visit=row.visit,
            version_id=row.version_id,
            number=row.kit.number,
            slot=row.slot,
            state=row.state,
            expiry=row.kit.lot.expiry,
            lasts=may_be_dispensed(place.today, row.kit.lot.expiry, definition.expiry.dnd_at(row.visit)),
            shipment=shipment,
            received_on=received_on,
            assigned_at=row.assigned_at,
            assigned_by=row.assigned_by,
            dispensed_at=row.dispensed_at,
            dispensed_by=row.dispensed_by,
            ended_at=row.ended_at,
            fate=fate,
            reason=reason,
            window_reason=row.window_reason,
        )
        kits.append(kit)
    return kits


def _arrivals(tx: Transaction, kit_ids: Sequence[int]) -> dict[int, tuple[str, datetime | None]]:
    """Shipment number and moment of receipt of kits, by row id."""
    statement = (
        select(ShipmentKit.kit_id, Shipment.number, Shipment.ended_at)
        .join(Shipment, Shipment.id == ShipmentKit.shipment_id)
        .where(ShipmentKit.kit_id.in_(set(kit_ids)), Shipment.state == "received")
    )
    return {kit_id: (number, received_on) for kit_id, number, received_on in tx.session.execute(statement)}


def _visits(tx: Transaction, place: Place, subject: Subject, kits: list[VisitKit]) -> tuple[VisitLine, ...]:
    if subject.randomised_on is None:
        return ()
    visits = visits_of(tx, place.definition, [(kit.visit, kit.version_id) for kit in kits])
    held = {kit.visit for kit in kits if kit.state in LIVE}
    lines = []
    for visit in visits:
        due = _due(visit, subject.randomised_on, place.today)
        mine = tuple(kit for kit in kits if kit.visit == visit.code)
        live = {kit.state for kit in mine if kit.state in LIVE}
        lacks = {kit.slot for kit in mine} - {kit.slot for kit in mine if kit.state in LIVE}
        is_passed = any(other.day >= visit.day for other in visits if other.code in held - {visit.code})
        if "assigned" in live:
            state = "set_aside"
        elif live and (not lacks or is_passed or subject.state != "randomised"):
            state = "dispensed"
        elif subject.state != "randomised":
            state = "not_held"
        elif is_passed:
            state = "passed"
        else:
            state = "lacking" if lacks else due.state
        lines.append(
            VisitLine(
                code=visit.code,
                label=visit.label,
                due=due.due,
                first=due.first,
                last=due.last,
                state=state,
                is_dispensing=any(visit.kits.get(subject.dose_level, {}).values()),
                kits=mine,
            )
        )
    return tuple(lines)


def _next(visits: tuple[VisitLine, ...]) -> VisitLine | None:
    set_aside = [visit for visit in visits if visit.state == "set_aside"]
    begun = [visit for visit in visits if visit.state in {"lacking", "open", "overdue"}]
    coming = [visit for visit in visits if visit.state == "coming"]
    return next(iter([*set_aside, *begun[-1:], *coming]), None)


def _signatures(tx: Transaction, subject: Subject) -> tuple[SignatureLine, ...]:
    statement = (
        select(Signature)
        .where(
            Signature.object_type == "randomisation",
            Signature.object_id == subject.code,
            Signature.trial_id == subject.trial_id,
        )
        .order_by(Signature.signed_at)
    )
    return tuple(
        SignatureLine(row.printed_name, row.meaning, row.signed_at, row.time_zone)
        for row in tx.session.scalars(statement)
    )


@dataclass(frozen=True)
class RandomisationRecord:
    """What a randomisation gave: the number, the kits set aside with it, and who signed."""

    subject: SubjectLife
    kits: tuple[VisitKit, ...]
    visit: VisitLine


def randomisation_record(tx: Transaction, subject: Subject) -> RandomisationRecord | None:
    """The confirmation of a randomisation with the kits then set aside; None before it."""
    life = subject_life(tx, subject)
    if life.randomised_at is None:
        return None
    # By its kits: a later version may begin with a visit of another code.
    visit = next(
        (visit for visit in life.visits if any(kit.assigned_at == life.randomised_at for kit in visit.kits)),
        life.visits[0],
    )
    kits = tuple(kit for kit in visit.kits if kit.assigned_at == life.randomised_at)
    return RandomisationRecord(life, kits, visit)
