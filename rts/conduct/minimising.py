"""Minimisation: which arm the next word of the tape means for a subject, given all subjects before."""

from __future__ import annotations

import json

from sqlalchemy import bindparam, select
from sqlalchemy.orm import joinedload

from rts.conduct.places import Place
from rts.randomisation.minimisation import counts_at, minimise
from rts.store.sealed_rows import arm_allocated, key_from_text, manifest_digest, open_entry
from rts.store.tables import ListEntry, MinimisedAllocation, Site, Subject
from rts.store.transaction import Transaction
from rts.trial.definition import RestrictedDefinition
from rts.trial.procedures import Minimisation
from rts.vault.allocations import allocation_context, seal_allocation, write_allocation_file
from rts.vault.list_file import list_path
from rts.vault.vault import Opener

_EARLIER = (
    select(ListEntry, Subject.factor_values, Site.code)
    .join(Subject, Subject.id == ListEntry.subject_id)
    .join(Site, Site.id == Subject.site_id)
    .where(Subject.trial_id == bindparam("trial"), Subject.randomised_at.is_not(None))
    .options(joinedload(ListEntry.list), joinedload(ListEntry.minimised))
    .order_by(ListEntry.id)
)


def allocate_by_tape(
    tx: Transaction,
    place: Place,
    restricted: RestrictedDefinition,
    subject: Subject,
    values: dict[str, float],
    entry: ListEntry,
    opener: Opener,
) -> str:
    """The arm of `subject`, who takes `entry` of a tape and has these values of the stratification factors.

    Everything it followed from is sealed into the database and, before anything is committed, into a file beside the
    list. Every subject randomised before counts, with the values used then, whatever became of the subject: who was
    withdrawn or randomised in error was allocated all the same. Raises Refusal `unavailable` when the disk refuses,
    ValueError when the definition does not plan minimisation.
    """
    procedure = restricted.procedure
    if not isinstance(procedure, Minimisation):
        raise ValueError("a tape serves minimisation alone")
    opened = open_entry(tx, entry, opener)
    factors = [factor for factor, _ in procedure.weights]
    arms = restricted.arms_in_ratio(place.definition)
    levels = place.definition.levels_of(factors, values, place.site.code)
    earlier = [
        (arm_allocated(tx, taken, opener), place.definition.levels_of(factors, json.loads(used or "{}"), site))
        for taken, used, site in tx.session.execute(_EARLIER, {"trial": place.site.trial_id})
    ]
    counts = counts_at(levels, [code for code, _ in arms], earlier)
    allocated = minimise(procedure, arms, levels, counts, opened.arm)
    record = {**allocated.record, "subject": subject.code, "number": opened.number}
    context = allocation_context(manifest_digest(entry.list), entry.position)
    sealed = seal_allocation(tx.store.vault, key_from_text(entry.list.data_key), context, record)
    tx.insert(MinimisedAllocation, [{"entry_id": entry.id, "record": sealed.box}])
    path = list_path(tx.store.lists, place.site.trial.code, entry.list.list_id)
    write_allocation_file(path, opened.number, sealed.box)
    return allocated.arm
