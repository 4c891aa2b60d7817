"""Lists that run low: statisticians are told in time to prepare another.

How many entries a stratum still has tells how long its list is, and a list ends with a whole block: so only unblinded
eyes learn of it. The mail names no stratum and no number, the event is written whatever was found, with its
detail sealed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission, Role
from rts.conduct.perform import Done
from rts.conduct.recipients import people_in
from rts.refusal import say
from rts.store import definitions, outbox
from rts.store.tables import ListEntry, ListFile
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class WarnOfLowLists:
    """Warn of the strata of a trial that have become low after `since`; None: of all that are low now."""

    trial: str
    since: datetime | None = None


def warn_of_low_lists(tx: Transaction, actor: Actor, command: WarnOfLowLists) -> Done:
    """Write to the statisticians when a further stratum has fewer unused entries than `low_entries_warning`: of the
    strata of every version in force at a site, and the highest of their warnings.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.JOBS_RUN, trial)
    in_force = [definitions.parsed(version.public_text) for version in definitions.versions_of_trial(tx, trial)]
    strata = list(dict.fromkeys(stratum for definition in in_force for stratum in definition.strata))
    active = tx.session.scalars(
        select(ListFile.id).where(
            ListFile.trial_id == trial.id, ListFile.kind == "subjects", ListFile.state == "active"
        )
    ).all()
    now = _unused(tx, active, None)
    before = _unused(tx, active, command.since)
    limit = max(definition.low_entries_warning for definition in in_force)
    low = [stratum for stratum in strata if active and now.get(stratum, 0) < limit]
    # A stratum that was low already at the last look has been told of.
    newly = [stratum for stratum in low if command.since is None or before.get(stratum, 0) >= limit]
    tx.audit(
        "lists.checked",
        "trial",
        trial.code,
        {"unused": {stratum: now.get(stratum, 0) for stratum in strata}, "told": newly},
        trial=trial,
        sealed=True,
    )
    if newly:
        outbox.write(
            tx,
            "entries_low",
            trial,
            people_in(tx, trial, Role.STATISTICIAN),
            say("%(trial)s: an allocation list runs low", trial=trial.code),
            say("A stratum has few unused entries left. Sign in to see which, and prepare a further list in time."),
        )
    return Done("warn_of_low_lists", {"trial": trial.code})


def _unused(tx: Transaction, lists: Sequence[int], at: datetime | None) -> dict[str, int]:
    """Unused entries of `lists` by stratum: now, or as they were at a moment."""
    unused = ListEntry.subject_id.is_(None)
    rows = tx.session.execute(
        select(ListEntry.stratum, func.count())
        .where(ListEntry.list_id.in_(lists), unused if at is None else or_(unused, ListEntry.used_at > at))
        .group_by(ListEntry.stratum)
    )
    return {stratum: int(count) for stratum, count in rows}
