"""The visits of a subject for which kits were set aside: whether they are closed, and by which version they are judged.

A later version may leave a visit out, or give it another code. What was set aside for it stays: it is handed over,
replaced, counted and shown as the version recorded with it says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Select, case, func, select

from rts.conduct.places import Place
from rts.store import definitions
from rts.store.tables import DefinitionVersion, Dispensing, Subject
from rts.store.transaction import Transaction
from rts.trial.definition import TrialDefinition, Visit

LIVE = ("assigned", "dispensed")
"""The states of a kit that counts for its visit: set aside or handed over, not replaced or put back."""


def names_visit(definition: TrialDefinition, code: str) -> bool:
    """Whether `definition` has a visit `code`."""
    return any(visit.code == code for visit in definition.visits)


def definition_of_visit(tx: Transaction, definition: TrialDefinition, code: str, version_id: int) -> TrialDefinition:
    """By what the visit `code` is judged: by `definition`, which is in force, or, where that no longer names it, by the
    version recorded with the kits.
    """
    return definition if names_visit(definition, code) else definitions.by_id(tx, version_id)


def place_of_visit(tx: Transaction, place: Place, row: Dispensing) -> Place:
    """`place` under the version by which the visit of `row` is judged."""
    if names_visit(place.definition, row.visit):
        return place
    version = tx.session.get_one(DefinitionVersion, row.version_id)
    definition = definitions.parsed(version.public_text)
    return replace(place, version=version, definition=definition, facts=definition.site(place.site.code))


@dataclass(frozen=True)
class ReachedVisit:
    """A visit for which kits were set aside, and the version recorded with them.

    It is closed unless one of its kits was given up (lost, damaged, too old) and no other was there to replace it.
    """

    version_id: int
    is_closed: bool


def reached_visits(
    tx: Transaction, subjects: Collection[int] | Select[int]
) -> defaultdict[int, dict[str, ReachedVisit]]:
    """The visits of `subjects` (row ids) for which kits were set aside, by subject and code."""
    is_live = case((Dispensing.state.in_(LIVE), 1), else_=0)
    slots = (
        select(
            Dispensing.subject_id,
            Dispensing.visit,
            func.max(Dispensing.version_id).label("version_id"),
            func.max(is_live).label("is_live"),
        )
        .where(Dispensing.subject_id.in_(subjects))
        .group_by(Dispensing.subject_id, Dispensing.visit, Dispensing.slot)
        .subquery()
    )
    statement = select(
        slots.c.subject_id, slots.c.visit, func.max(slots.c.version_id), func.min(slots.c.is_live)
    ).group_by(slots.c.subject_id, slots.c.visit)
    found: defaultdict[int, dict[str, ReachedVisit]] = defaultdict(dict)
    for subject_id, visit, version_id, closed in tx.session.execute(statement):
        found[subject_id][visit] = ReachedVisit(version_id, closed == 1)
    return found


def given_up(tx: Transaction, subject: Subject, visit: str) -> list[Dispensing]:
    """The kits of a visit that were given up and not replaced, the last of each place, by place."""
    statement = (
        select(Dispensing)
        .where(Dispensing.subject_id == subject.id, Dispensing.visit == visit)
        .order_by(Dispensing.slot, Dispensing.attempt)
    )
    last = {row.slot: row for row in tx.session.scalars(statement)}
    return [row for row in last.values() if row.state not in LIVE]


def schedule_of(
    tx: Transaction, definition: TrialDefinition, reached: Mapping[str, ReachedVisit]
) -> tuple[tuple[Visit, ...], frozenset[str]]:
    """The visits of a subject by day, and the codes of those that are closed."""
    visits = visits_of(tx, definition, [(code, visit.version_id) for code, visit in reached.items()])
    return visits, frozenset(code for code, visit in reached.items() if visit.is_closed)


def visits_of(tx: Transaction, definition: TrialDefinition, held: Iterable[tuple[str, int]]) -> tuple[Visit, ...]:
    """The visits of one subject by day: those of `definition`, and of those `held` (visit and the version recorded with
    its kits) the ones it no longer names.
    """
    gone = {
        code: definitions.by_id(tx, version_id).visit(code)
        for code, version_id in held
        if not names_visit(definition, code)
    }
    if not gone:
        return definition.visits
    return tuple(sorted([*definition.visits, *gone.values()], key=lambda visit: visit.day))


def first_version(tx: Transaction, row: Dispensing) -> TrialDefinition:
    """The version under which the place of a visit that `row` fills was filled first: it numbered the places."""
    first = select(Dispensing.version_id).where(
        Dispensing.subject_id == row.subject_id,
        Dispensing.visit == row.visit,
        Dispensing.slot == row.slot,
        Dispensing.attempt == 1,
    )
    return definitions.by_id(tx, tx.session.scalars(first).one())


def group_of_slot(definition: TrialDefinition, dose_level: str, visit: str, slot: int) -> str:
    """The kit group of one place of a visit, as `definition` numbers them."""
    last = 0
    for group in definition.kit_groups:
        last += definition.visit(visit).quantity(dose_level, group)
        if slot <= last:
            return group
    raise RuntimeError("every place of a visit belongs to a kit group")
