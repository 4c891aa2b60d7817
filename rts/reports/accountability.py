"""What became of each kit of a site: received, handed over, returned, verified, destroyed. All kit types together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Select, and_, func, select

from rts.conduct.places import place_of
from rts.conduct.recalling_lots import is_recalled
from rts.conduct.reconciling import Balance, balance_of
from rts.conduct.verifying_kits import NOT_THERE, is_verified
from rts.conduct.visits import group_of_slot
from rts.randomisation.numbers import normal_number
from rts.reports.people import Name, printed_names
from rts.store import definitions
from rts.store.tables import (
    BlindedLot,
    Depot,
    Destruction,
    DestructionKit,
    Dispensing,
    Kit,
    KitMove,
    KitReturn,
    KitVerification,
    Shipment,
    Site,
    Subject,
)
from rts.store.transaction import Transaction
from rts.supply.compliance import Intake, intake
from rts.supply.kits import MAY_BE_DESTROYED, KitState
from rts.trial.definition import TrialDefinition
from rts.trial.texts import Text


@dataclass(frozen=True)
class GivenKit:
    """A kit that was handed over: to whom and when, and what came back. `is_due_back` is true once the subject has the
    next kit, treatment has ended or the lot is recalled, and this one is still out.
    """

    subject: str
    visit: Text
    given_on: date
    given_by: Name
    held: int | None
    returned_on: date | None
    left: int | None
    remark: str
    taken: Intake | None
    is_due_back: bool


@dataclass(frozen=True)
class AccountLine:
    """A kit of a site and its account."""

    number: str
    lot: str
    expiry: date
    shipment: str | None
    received_at: datetime | None
    state: str
    given: GivenKit | None
    verified_at: datetime | None
    verified_by: Name | None
    destruction: str | None
    destroyed_on: date | None


@dataclass(frozen=True)
class Account:
    """The account of a site: its balance, and one page of its kits. `unit` is what is counted in a kit."""

    today: date
    unit: Text
    balance: Balance
    lines: tuple[AccountLine, ...]
    total: int


CHOICES = ("due_back", "to_verify", "to_destroy", "with_subjects", "returned", "destroyed")
"""What the list of kits can be limited to."""


def account_of(
    tx: Transaction, site: Site, *, choice: str = "", text: str = "", page: int = 1, size: int | None = None
) -> Account:
    """The account of `site`, its kits by number: page `page` of `size`, or all. `choice` is one of `CHOICES` or empty;
    `text` is part of a kit number.
    """
    place = place_of(tx, site)
    wanted: list[ColumnElement[bool]] = [Kit.site_id == site.id, Kit.state.not_in(NOT_THERE), *_limits(choice)]
    if text:
        wanted.append(Kit.number.like(f"%{normal_number(text)}%"))
    if choice == "due_back":
        wanted.append(Kit.id.in_(due_back(tx, site)))
    total = tx.session.scalar(select(func.count()).select_from(Kit).where(*wanted)) or 0
    chosen = select(Kit.id).where(*wanted).order_by(Kit.number)
    if size is not None:
        chosen = chosen.limit(size).offset((page - 1) * size)
    lines = _lines(tx, list(tx.session.scalars(chosen)))
    return Account(place.today, place.definition.unit, balance_of(tx, site), lines, total)


def _limits(choice: str) -> list[ColumnElement[bool]]:
    match choice:
        case "to_verify":
            return [~is_verified()]
        case "to_destroy":
            return [Kit.state.in_(MAY_BE_DESTROYED), is_verified()]
        case "with_subjects":
            return [Kit.state == KitState.DISPENSED]
        case "returned":
            return [Kit.state == KitState.RETURNED]
        case "destroyed":
            return [Kit.state.in_([KitState.PENDING_DESTRUCTION, KitState.DESTROYED])]
        case _:
            return []


def due_back(tx: Transaction, site: Site) -> list[int]:
    """The kits (row ids) that are still with a subject of `site` and are to come back."""
    given = _given(tx, select(Dispensing.subject_id).join(Subject).where(Subject.site_id == site.id).distinct())
    return [kit_id for kit_id, one in given.items() if one.is_due_back]


def kits_given_to(tx: Transaction, subject: Subject) -> tuple[AccountLine, ...]:
    """The kits that were handed over to a subject, in the order in which they were."""
    statement = (
        select(Dispensing.kit_id)
        .where(Dispensing.subject_id == subject.id, Dispensing.dispensed_at.is_not(None))
        .order_by(Dispensing.dispensed_at, Dispensing.slot)
    )
    ids = list(tx.session.scalars(statement))
    return tuple(sorted(_lines(tx, ids), key=lambda line: line.given.given_on if line.given else date.min))


def _lines(tx: Transaction, ids: Sequence[int]) -> tuple[AccountLine, ...]:
    holders = select(Dispensing.subject_id).where(Dispensing.kit_id.in_(ids)).distinct()
    given = _given(tx, holders)
    receipts = {
        kit_id: (at, number)
        for kit_id, at, number in tx.session.execute(
            select(KitMove.kit_id, KitMove.at, Shipment.number)
            .outerjoin(Shipment, Shipment.id == KitMove.shipment_id)
            .where(KitMove.kit_id.in_(ids), KitMove.move.like("receive_%"))
        )
    }
    statement = (
        select(Kit, BlindedLot, KitVerification, Destruction)
        .join(BlindedLot, BlindedLot.id == Kit.blinded_lot_id)
        .outerjoin(KitVerification, and_(KitVerification.kit_id == Kit.id, KitVerification.moves == Kit.moves))
        .outerjoin(DestructionKit, DestructionKit.kit_id == Kit.id)
        .outerjoin(Destruction, Destruction.id == DestructionKit.destruction_id)
        .where(Kit.id.in_(ids))
        .order_by(Kit.number)
    )
    rows: list[tuple[Kit, BlindedLot, KitVerification | None, Destruction | None]] = [
        (kit, lot, verified, destruction) for kit, lot, verified, destruction in tx.session.execute(statement)
    ]
    names = printed_names(tx, [verified.verified_by for _, _, verified, _ in rows if verified is not None])
    lines = []
    for kit, lot, verified, destruction in rows:
        received_at, shipment = receipts.get(kit.id, (None, None))
        lines.append(
            AccountLine(
                number=kit.number,
                lot=lot.code,
                expiry=lot.expiry,
                shipment=shipment,
                received_at=received_at,
                state=kit.state,
                given=given.get(kit.id),
                verified_at=verified.verified_at if verified is not None else None,
                verified_by=names[verified.verified_by] if verified is not None else None,
                destruction=destruction.number if destruction is not None else None,
                destroyed_on=destruction.destroyed_on if destruction is not None else None,
            )
        )
    return tuple(lines)


def _given(tx: Transaction, subjects: Select[int]) -> dict[int, GivenKit]:
    """Every kit handed over to `subjects` (a query of row ids), by its row id."""
    statement = (
        select(Dispensing, Dispensing.dispensed_on, Subject, Kit.state, is_recalled())
        .join(Subject, Subject.id == Dispensing.subject_id)
        .join(Kit, Kit.id == Dispensing.kit_id)
        .where(Dispensing.subject_id.in_(subjects), Dispensing.dispensed_at.is_not(None))
        .order_by(Dispensing.dispensed_at, Dispensing.slot)
    )
    rows = tx.session.execute(statement).all()
    numbered_by = _versions_of_places(tx, subjects)
    returns = _newest_returns(tx, [row.kit_id for row, *_ in rows])
    names = printed_names(tx, [row.dispensed_by for row, *_ in rows])
    groups: dict[int, str] = {}
    days: dict[tuple[int, str], list[date]] = defaultdict(list)
    for row, given_on, subject, _, _ in rows:
        definition = numbered_by[row.subject_id, row.visit, row.slot]
        groups[row.id] = group_of_slot(definition, subject.dose_level, row.visit, row.slot)
        if given_on is not None:
            days[row.subject_id, groups[row.id]].append(given_on)
    found = {}
    for row, given_on, subject, state, recalled in rows:
        if given_on is None:
            continue
        definition, group = numbered_by[row.subject_id, row.visit, row.slot], groups[row.id]
        later = next((day for day in days[row.subject_id, group] if day > given_on), None)
        back, held = returns.get(row.kit_id), definition.units_a_kit.get(group)
        taken = None
        if back is not None and back.units is not None and held is not None:
            a_day = definition.units_a_day.get(subject.dose_level, {}).get(group)
            taken = intake(held, back.units, a_day, given_on, min(later or back.returned_on, back.returned_on))
        found[row.kit_id] = GivenKit(
            subject=subject.code,
            visit=definition.visit(row.visit).label,
            given_on=given_on,
            given_by=names[row.dispensed_by or ""],
            held=held,
            returned_on=None if back is None else back.returned_on,
            left=None if back is None else back.units,
            remark="" if back is None else back.remark,
            taken=taken,
            is_due_back=state == KitState.DISPENSED
            and (recalled or later is not None or subject.state != "randomised"),
        )
    return found


def _versions_of_places(tx: Transaction, subjects: Select[int]) -> dict[tuple[int, str, int], TrialDefinition]:
    """The version that numbered each place of a visit: the one under which it was filled first."""
    statement = select(Dispensing.subject_id, Dispensing.visit, Dispensing.slot, Dispensing.version_id).where(
        Dispensing.subject_id.in_(subjects), Dispensing.attempt == 1
    )
    return {
        (subject, visit, slot): definitions.by_id(tx, version)
        for subject, visit, slot, version in tx.session.execute(statement)
    }


def _newest_returns(tx: Transaction, kit_ids: Sequence[int]) -> dict[int, KitReturn]:
    statement = select(KitReturn).where(KitReturn.kit_id.in_(kit_ids)).order_by(KitReturn.number)
    return {found.kit_id: found for found in tx.session.scalars(statement)}


@dataclass(frozen=True)
class DestructionRow:
    """A destruction: authorised, and perhaps carried out. `kits` are numbers."""

    number: str
    kits: tuple[str, ...]
    document: str
    authorised_at: datetime
    authorised_by: Name
    certificate: str | None
    destroyed_on: date | None
    recorded_by: Name | None


def site_destructions(tx: Transaction, site: Site) -> tuple[DestructionRow, ...]:
    """Every destruction at `site`, the newest first."""
    return _destructions(tx, Destruction.site_id == site.id)


def depot_destructions(tx: Transaction, depot: Depot) -> tuple[DestructionRow, ...]:
    """Every destruction at `depot`, the newest first."""
    return _destructions(tx, Destruction.depot_id == depot.id)


def destruction_page(tx: Transaction, destruction: Destruction) -> DestructionRow:
    """One destruction."""
    return _destructions(tx, Destruction.id == destruction.id)[0]


def _destructions(tx: Transaction, wanted: ColumnElement[bool]) -> tuple[DestructionRow, ...]:
    found = tx.session.scalars(select(Destruction).where(wanted).order_by(Destruction.id.desc())).all()
    kits: dict[int, list[str]] = defaultdict(list)
    statement = (
        select(DestructionKit.destruction_id, Kit.number)
        .join(Kit, Kit.id == DestructionKit.kit_id)
        .where(DestructionKit.destruction_id.in_([row.id for row in found]))
        .order_by(Kit.number)
    )
    for destruction_id, number in tx.session.execute(statement):
        kits[destruction_id].append(number)
    names = printed_names(tx, [name for row in found for name in (row.authorised_by, row.recorded_by)])
    return tuple(
        DestructionRow(
            row.number,
            tuple(kits[row.id]),
            row.document,
            row.authorised_at,
            names[row.authorised_by],
            row.certificate,
            row.destroyed_on,
            names[row.recorded_by] if row.recorded_by else None,
        )
        for row in found
    )


def destroyable_at_depot(tx: Transaction, depot: Depot) -> list[tuple[str, str, date]]:
    """Number, state and expiry of the kits in `depot` that are of no further use, by number."""
    statement = (
        select(Kit.number, Kit.state, BlindedLot.expiry)
        .join(BlindedLot, BlindedLot.id == Kit.blinded_lot_id)
        .where(Kit.depot_id == depot.id, Kit.state.in_(MAY_BE_DESTROYED))
        .order_by(Kit.number)
    )
    return [(number, state, expiry) for number, state, expiry in tx.session.execute(statement)]
