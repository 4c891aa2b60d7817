"""Lists that run low: statisticians are told in time to prepare another.

How many entries a stratum still has tells how long its list is, and a list ends with a whole block: so only unblinded
eyes learn of it. The mail names no stratum and no number, the event is written whatever was found, with its
detail sealed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission, Role
from rts.conduct.lists import lists_serving
from rts.conduct.perform import Done
from rts.conduct.recipients import people_in
from rts.randomisation import tape
from rts.refusal import say
from rts.store import definitions, outbox
from rts.store.tables import DefinitionVersion, ListEntry, ListFile, Trial
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class WarnOfLowLists:
    """Warn of the strata of a trial that have become low after `since`; None: of all that are low now."""

    trial: str
    since: datetime | None = None


def warn_of_low_lists(tx: Transaction, actor: Actor, command: WarnOfLowLists) -> Done:
    """Write to the statisticians when, somewhere, a further stratum has fewer unused entries than the definition's
    `low_entries_warning`: judged for every version in force at a site, by the lists that serve it there.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.JOBS_RUN, trial)
    in_use = select(ListFile.id).where(
        ListFile.trial_id == trial.id, ListFile.kind == "subjects", ListFile.state == "active"
    )
    has_list = tx.session.scalar(in_use.limit(1)) is not None
    unused: dict[str, int] = {}
    newly: list[str] = []
    for version in definitions.versions_of_trial(tx, trial):
        definition = definitions.parsed(version.public_text)
        now, before = _unused(tx, trial, version, None), _unused(tx, trial, version, command.since)
        for stratum in (tape.STRATUM,) if tape.STRATUM in now else definition.strata:
            left, limit = now.get(stratum, 0), definition.low_entries_warning
            unused[stratum] = min(left, unused.get(stratum, left))
            # A stratum that was low already at the last look has been told of.
            has_become_low = left < limit and (command.since is None or before.get(stratum, 0) >= limit)
            if has_list and has_become_low and stratum not in newly:
                newly.append(stratum)
    tx.audit("lists.checked", "trial", trial.code, {"unused": unused, "told": newly}, trial=trial, sealed=True)
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


def _unused(tx: Transaction, trial: Trial, version: DefinitionVersion, at: datetime | None) -> dict[str, int]:
    """Unused entries by stratum, of the lists that serve where `version` is in force: now, or as it was at a moment."""
    unused = ListEntry.subject_id.is_(None)
    was_unused = unused if at is None else or_(unused, ListEntry.used_at > at)
    rows = tx.session.execute(
        select(ListEntry.stratum, func.count().filter(was_unused))
        .where(ListEntry.list_id.in_(lists_serving(tx, trial, version, at)))
        .group_by(ListEntry.stratum)
    )
    return {stratum: int(count) for stratum, count in rows}
