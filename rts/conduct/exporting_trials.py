"""The trial export: who was randomised in which order and given which kits, and when each list was in use.

Nothing in it tells an arm, so that anyone who may read the audit trail may publish it. Held against the revealed lists
(`rts.randomisation.verification` says its format), it proves that every subject got what was committed to.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.clock import utc_text
from rts.conduct.perform import Done
from rts.randomisation.verification import EXPORT_FORMAT
from rts.store import definitions
from rts.store.audit import Head, locked_head
from rts.store.tables import AuditEvent, DefinitionVersion, Dispensing, ListFile, Subject, Trial
from rts.store.transaction import Transaction
from rts.trial.procedures import SITE


@dataclass(frozen=True)
class ExportTrial:
    """Write a trial out."""

    trial: str


@dataclass(frozen=True)
class ExportedTrial:
    """The text of the export, a JSON object."""

    done: Done
    text: str


def export_trial(tx: Transaction, actor: Actor, command: ExportTrial) -> ExportedTrial:
    """The export of a trial as its audit trail stands now; the event that says so holds the SHA-256 of the text.

    Times are UTC. Raises Refusal for whoever may not read the trail.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.AUDIT_VIEW, trial)
    # Every deed writes its events last, behind this row: what is read from here on is what the trail tells so far.
    head = locked_head(tx, trial.id)
    versions = tx.session.scalars(
        select(DefinitionVersion).where(DefinitionVersion.trial_id == trial.id).order_by(DefinitionVersion.version)
    ).all()
    content = {
        "format": EXPORT_FORMAT,
        "trial": trial.code,
        "environment": tx.installation.environment,
        "exported_at": utc_text(tx.now),
        "audit_trail": {"chain_id": head.chain_id, "events": head.count, "hash": head.hash},
        "definitions": [{"version": version.version, "digest": version.digest} for version in versions],
        "lists": _lists(tx, trial, head),
        "subjects": _subjects(tx, trial, head, {version.id: version.version for version in versions}),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    facts = {"digest": sha256(text.encode()).hexdigest(), "events": head.count}
    tx.audit("trial.exported", "trial", trial.code, facts, trial=trial)
    return ExportedTrial(Done("export_trial", {"trial": trial.code}), text)


def _levels(tx: Transaction, subject: Subject) -> dict[str, str]:
    """The level of every stratification factor, and the site: what minimisation weighs."""
    definition = definitions.by_id(tx, subject.version_id)
    factors = [factor.code for factor in definition.factors]
    levels = definition.levels_of(factors, json.loads(subject.factor_values or "{}"), subject.site.code)
    return {**levels, SITE: subject.site.code}


def _event_numbers(tx: Transaction, head: Head, action: str) -> dict[str, int]:
    """The number of the event of `action`, by the object it is about."""
    about = select(AuditEvent.object_id, AuditEvent.number)
    rows = tx.session.execute(about.where(AuditEvent.chain_id == head.id, AuditEvent.action == action))
    return {row.object_id: row.number for row in rows}


def _lists(tx: Transaction, trial: Trial, head: Head) -> list[dict[str, object]]:
    """The lists that were put to use, in that order, named by their commitments as blinded people know them."""
    activated, closed = (_event_numbers(tx, head, action) for action in ("list.activated", "list.closed"))
    used = select(ListFile).where(ListFile.trial_id == trial.id, ListFile.activated_at.is_not(None))
    written = {}
    for found in tx.session.scalars(used):
        # Events of earlier versions name a list by its id.
        names = (found.commitment, found.list_id)
        began = next(activated[name] for name in names if name in activated)
        ended = next((closed[name] for name in names if name in closed), None)
        written[began] = {
            "kind": found.kind,
            "prefix": found.prefix,
            "entries": found.entries,
            "commitment": found.commitment,
            "activated": began,
            "closed": ended,
        }
    return [written[began] for began in sorted(written)]


def _subjects(tx: Transaction, trial: Trial, head: Head, versions: dict[int, int]) -> list[dict[str, object]]:
    """The randomised subjects in the order of their events: the clock may give two of them the same moment."""
    randomised = _event_numbers(tx, head, "subject.randomised")
    kits: defaultdict[int, list[dict[str, str]]] = defaultdict(list)
    given = select(Dispensing).join(Subject).where(Subject.trial_id == trial.id).order_by(Dispensing.id)
    for one in tx.session.scalars(given.options(joinedload(Dispensing.kit))):
        kits[one.subject_id].append({"number": one.kit.number, "visit": one.visit, "state": one.state})
    found = select(Subject).where(Subject.trial_id == trial.id, Subject.randomised_at.is_not(None))
    subjects = {randomised[one.code]: one for one in tx.session.scalars(found.options(joinedload(Subject.site)))}
    return [
        {
            "code": one.code,
            "site": one.site.code,
            "event": event,
            "randomised_at": utc_text(one.randomised_at) if one.randomised_at else "",
            "definition": versions[one.version_id],
            "stratum": one.stratum,
            "levels": _levels(tx, one),
            "randomisation_number": one.randomisation_number,
            "kits": kits[one.id],
        }
        for event, one in sorted(subjects.items())
    ]
