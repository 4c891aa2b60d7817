"""The visits of a subject whose kits were set aside under an earlier version of the definition.

A later version may leave a visit out, or give it another code. What was set aside for it stays: it is handed over,
replaced, counted and shown as the version recorded with it says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import select

from rts.conduct.places import Place
from rts.store import definitions
from rts.store.tables import DefinitionVersion, Dispensing, Subject
from rts.store.transaction import Transaction
from rts.trial.definition import TrialDefinition, Visit


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


def held_visits(tx: Transaction, subject: Subject) -> dict[str, int]:
    """The visits of `subject` for which kits are set aside or were dispensed, and the version recorded with them."""
    statement = select(Dispensing.visit, Dispensing.version_id).where(
        Dispensing.subject_id == subject.id, Dispensing.state.in_(["assigned", "dispensed"])
    )
    return dict(tx.session.execute(statement).all())


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
