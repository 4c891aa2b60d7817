"""Putting a loaded version of the definition in force, site by site: each ethics committee approves an amendment on its
own date.

At a site versions follow each other in the order of their numbers, each from a local date on. What has begun stays for
ever; a plan, whose date is still to come, can be corrected with a reason, and then both stay on record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.clock import local_date
from rts.conduct.perform import Done
from rts.conduct.places import supply_locks
from rts.refusal import FailedRule, Refusal, refuse, refuse_all, say
from rts.store import definitions, locks
from rts.store.tables import DefinitionInForce, DefinitionVersion, Site, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import TrialDefinition


@dataclass(frozen=True)
class PutInForce:
    """Put version `version` in force at `sites` from their local date `from_date`; `document` is what allows it."""

    trial: str
    version: int
    sites: tuple[str, ...]
    from_date: date
    document: str


def put_in_force(tx: Transaction, actor: Actor, command: PutInForce) -> Done:
    """Put a version in force at every site named, or at none. Raises Refusal as `put_at`, and for an unknown version or
    site, or none.
    """
    trial, sites = _lock_sites(tx, actor, command.trial, command.sites)
    version = definitions.version_numbered(tx, trial, command.version)
    put_at(tx, actor, trial, version, sites, command.from_date, command.document)
    return Done("put_in_force", _ids(trial, version, sites))


def put_at(
    tx: Transaction,
    actor: Actor,
    trial: Trial,
    version: DefinitionVersion,
    sites: Sequence[Site],
    from_date: date,
    document: str,
    *,
    is_first: bool = False,
) -> None:
    """Record that `version` is in force at `sites`, whose locks are held, from `from_date`, with an event for each.

    The first version of a trial may have begun in the past and needs no document: nothing was done under it, and a
    site opens by gates that name theirs. Raises Refusal `invalid` without a document; `rule` for a site that the
    version does not name, a past date, or a version not above those before; `conflict` when one is in force from that
    date or later already.
    """
    document = document.strip()
    if not document and not is_first:
        raise _document_missing()
    definition = definitions.parsed(version.public_text)
    named = {site.code for site in definition.sites}
    unnamed = [site.code for site in sites if site.code not in named]
    past = [] if is_first else _where_past(tx, definition, sites, from_date)
    last = {site.code: rows[-1] for site in sites if (rows := definitions.standing(tx, site))}
    taken = [code for code, row in last.items() if row.from_date >= from_date]
    older = [code for code, row in last.items() if row.version.version >= version.version and code not in taken]
    failed = []
    if unnamed:
        message = say("Version %(version)s does not name: %(sites)s.", version=version.version, sites=_listed(unnamed))
        failed.append(FailedRule("definition.site_unnamed", message, "sites"))
    if past:
        failed.append(_past(past))
    if older:
        message = say(
            "A version follows only an earlier one. Version %(version)s or a later one is in force or planned already "
            "at: %(sites)s.",
            version=version.version,
            sites=_listed(older),
        )
        failed.append(FailedRule("definition.older", message, "sites"))
    refuse_all("rule", failed)
    if taken:
        message = say("A version is in force from that date or later already at: %(sites)s.", sites=_listed(taken))
        raise refuse("conflict", "definition.date", message, "from_date")
    in_force = definitions.versions_in_force(tx, sites)
    for site in sites:
        tx.session.add(_row(tx, actor, site, version, from_date, document))
        tx.audit(
            "definition.put_in_force",
            "site",
            site.code,
            trial=trial,
            site=site,
            before=_told(last.get(site.code)),
            after={"version": version.version, "in_force_from": from_date.isoformat(), "document": document},
            definition=in_force.get(site, version).version,
        )


@dataclass(frozen=True)
class ChangePlan:
    """Correct the plan to put `version` in force at `sites`: from another date, with the document that allows it then,
    or, with `from_date` None, not at all.
    """

    trial: str
    version: int
    sites: tuple[str, ...]
    from_date: date | None
    document: str
    reason: str


def change_plan(tx: Transaction, actor: Actor, command: ChangePlan) -> Done:
    """End the plan at every site named, and record the new one beside it.

    Raises Refusal `invalid` without a reason, or without a document for the new date; `conflict` when the version is
    not planned there or has begun; `rule` for a past date, or one that does not lie between the versions before and
    after.
    """
    trial, sites = _lock_sites(tx, actor, command.trial, command.sites)
    version = definitions.version_numbered(tx, trial, command.version)
    definition = definitions.parsed(version.public_text)
    reason, document = command.reason.strip(), command.document.strip()
    if not reason:
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    if command.from_date is not None and not document:
        raise _document_missing()
    plans: dict[str, DefinitionInForce] = {}
    disordered = []
    for site in sites:
        rows = definitions.standing(tx, site)
        plan = next((row for row in rows if row.version_id == version.id), None)
        if plan is None or definitions.has_begun(definition, site.code, plan.from_date, tx.now):
            continue
        plans[site.code] = plan
        others = [row for row in rows if row is not plan]
        if command.from_date is not None and any(
            row.from_date == command.from_date
            or (row.from_date < command.from_date) != (row.version.version < version.version)
            for row in others
        ):
            disordered.append(site.code)
    unplanned = [site.code for site in sites if site.code not in plans]
    if unplanned:
        message = say(
            "Version %(version)s is not planned at: %(sites)s. What has come into force stays.",
            version=version.version,
            sites=_listed(unplanned),
        )
        raise refuse("conflict", "definition.not_planned", message)
    failed = []
    if command.from_date is not None and (past := _where_past(tx, definition, sites, command.from_date)):
        failed.append(_past(past))
    elif disordered:
        message = say(
            "Versions come into force in the order of their numbers, each from a date of its own. This date breaks the "
            "order at: %(sites)s.",
            sites=_listed(disordered),
        )
        failed.append(FailedRule("definition.order", message, "from_date"))
    refuse_all("rule", failed)
    for plan in plans.values():
        plan.ended_at, plan.ended_by, plan.end_reason = tx.now, actor.name, reason
    # The index allows one plan of a version at a site: the old ones must be ended before the new ones come.
    tx.session.flush()
    in_force = definitions.versions_in_force(tx, sites)
    for site in sites:
        after = {}
        if command.from_date is not None:
            row = _row(tx, actor, site, version, command.from_date, document)
            tx.session.add(row)
            after = {"version": version.version, "in_force_from": row.from_date.isoformat(), "document": document}
        tx.audit(
            "definition.plan_changed" if after else "definition.plan_withdrawn",
            "site",
            site.code,
            trial=trial,
            site=site,
            reason=reason,
            before=_told(plans[site.code]),
            after=after,
            definition=in_force.get(site, version).version,
        )
    return Done("change_plan", _ids(trial, version, sites))


def _lock_sites(tx: Transaction, actor: Actor, trial_code: str, codes: Sequence[str]) -> tuple[Trial, list[Site]]:
    """The trial and the sites named, once the right to manage each is proven, behind the locks of everything that is
    judged by the version in force there.
    """
    trial = tx.trial(trial_code)
    require(tx, actor, Permission.SITE_MANAGE, trial)
    if not codes:
        raise refuse("invalid", "sites.missing", say("Choose at least one site."), "sites")
    sites = [tx.site(trial, code) for code in sorted(set(codes))]
    for site in sites:
        require(tx, actor, Permission.SITE_MANAGE, trial, site)
    locks.take(tx.session, locks.randomisation(trial.code), *supply_locks(tx, trial, *sites))
    return trial, sites


def _row(
    tx: Transaction, actor: Actor, site: Site, version: DefinitionVersion, from_date: date, document: str
) -> DefinitionInForce:
    return DefinitionInForce(
        site_id=site.id,
        version_id=version.id,
        from_date=from_date,
        document=document,
        recorded_at=tx.now,
        recorded_by=actor.name,
    )


def _told(row: DefinitionInForce | None) -> dict[str, object]:
    if row is None:
        return {}
    return {"version": row.version.version, "in_force_from": row.from_date.isoformat(), "document": row.document}


def _ids(trial: Trial, version: DefinitionVersion, sites: Sequence[Site]) -> dict[str, str]:
    return {
        "trial": trial.code,
        "version": str(version.version),
        "sites": _listed([site.code for site in sites]),
    }


def _listed(sites: Sequence[str]) -> str:
    return ", ".join(sites)


def _document_missing() -> Refusal:
    return refuse(
        "invalid",
        "definition.document",
        say("Name the document that allows it, such as the ethics committee's approval."),
        "document",
    )


def _where_past(tx: Transaction, definition: TrialDefinition, sites: Sequence[Site], from_date: date) -> list[str]:
    """The codes of those of `sites`, as `definition` knows them, whose local date is past `from_date`."""
    here = {site.code for site in sites}
    return [
        site.code for site in definition.sites if site.code in here and from_date < local_date(tx.now, site.time_zone)
    ]


def _past(sites: Sequence[str]) -> FailedRule:
    message = say(
        "A version comes into force today or later: what was done stays under the old one. The date is past at: "
        "%(sites)s.",
        sites=_listed(sites),
    )
    return FailedRule("definition.past", message, "from_date")
