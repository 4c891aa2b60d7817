"""What is found wrong with an allocation afterwards is written beside it: the entry stays used, the stratum stays as
allocated, the arm is never touched (ICH E9, 5.2.1).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor
from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.conduct.places import subject_at
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import definitions, locks
from rts.store.tables import AllocationRemark, DefinitionVersion, Site, Subject, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import TrialDefinition
from rts.trial.eligibility import failed_values


@dataclass(frozen=True)
class CorrectStratum:
    """Record that a stratification value was entered wrongly: `values` are what it should have been, by factor code."""

    trial: str
    subject: str
    values: dict[str, float]
    reason: str


def correct_stratum(tx: Transaction, actor: Actor, command: CorrectStratum) -> Done:
    """Record the right values and the stratum they lead to, beside the allocation.

    Raises Refusal for values the definition of the allocation does not allow, values that are already those on
    record, a missing reason, or a subject who was not randomised.
    """
    trial, site, subject, version = _randomised(tx, actor, command.trial, command.subject)
    definition = definitions.parsed(version.public_text)
    failed = list(failed_values(definition, command.values))
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    refuse_all("invalid", failed)
    on_record = values_on_record(tx, subject)
    if on_record == command.values:
        raise refuse("conflict", "remark.same_values", say("These values are on record already."), "values")
    stratum = definition.stratum_of(command.values)
    tx.session.add(
        AllocationRemark(
            subject_id=subject.id,
            kind="stratum",
            reason=command.reason.strip(),
            factor_values=json.dumps(command.values, sort_keys=True),
            stratum=stratum,
            recorded_at=tx.now,
            recorded_by=actor.name,
        )
    )
    tx.audit(
        "subject.stratum_corrected",
        "subject",
        subject.code,
        {"allocated_in": subject.stratum},
        trial=trial,
        site=site,
        reason=command.reason.strip(),
        before={"values": on_record},
        after={"values": command.values, "stratum": stratum},
        definition=version.version,
    )
    return Done("correct_stratum", {"trial": trial.code, "site": site.code, "subject": subject.code})


@dataclass(frozen=True)
class MarkRandomisedInError:
    """Record that a subject should not have been randomised. The number stays theirs, and the entry used."""

    trial: str
    subject: str
    reason: str


def mark_randomised_in_error(tx: Transaction, actor: Actor, command: MarkRandomisedInError) -> Done:
    """Mark the allocation. Raises Refusal without a reason, for a subject not randomised, or marked already."""
    trial, site, subject, version = _randomised(tx, actor, command.trial, command.subject)
    if not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    marked = select(AllocationRemark.id).where(
        AllocationRemark.subject_id == subject.id, AllocationRemark.kind == "in_error"
    )
    if tx.session.scalar(marked) is not None:
        raise refuse("conflict", "remark.marked", say("This is on record already."), "subject")
    tx.session.add(
        AllocationRemark(
            subject_id=subject.id,
            kind="in_error",
            reason=command.reason.strip(),
            recorded_at=tx.now,
            recorded_by=actor.name,
        )
    )
    tx.audit(
        "subject.randomised_in_error",
        "subject",
        subject.code,
        trial=trial,
        site=site,
        reason=command.reason.strip(),
        definition=version.version,
    )
    return Done("mark_randomised_in_error", {"trial": trial.code, "site": site.code, "subject": subject.code})


def allocated_under(tx: Transaction, subject: Subject) -> TrialDefinition:
    """The definition that a subject was randomised under."""
    return definitions.parsed(tx.session.get_one(DefinitionVersion, subject.version_id).public_text)


def values_on_record(tx: Transaction, subject: Subject) -> dict[str, float]:
    """The stratification values of a randomised subject: as last corrected, else as allocated."""
    corrected = tx.session.scalar(
        select(AllocationRemark.factor_values)
        .where(AllocationRemark.subject_id == subject.id, AllocationRemark.kind == "stratum")
        .order_by(AllocationRemark.id.desc())
        .limit(1)
    )
    values: dict[str, float] = json.loads(corrected or subject.factor_values or "{}")
    return values


def _randomised(
    tx: Transaction, actor: Actor, trial_code: str, code: str
) -> tuple[Trial, Site, Subject, DefinitionVersion]:
    trial, site, subject = subject_at(tx, actor, Permission.RANDOMISE, trial_code, code)
    locks.take(tx.session, locks.randomisation(trial.code))
    tx.session.refresh(subject)
    if subject.randomised_at is None:
        raise refuse(
            "conflict",
            "subject.not_randomised",
            say("Subject %(subject)s has not been randomised.", subject=subject.code),
            "subject",
        )
    return trial, site, subject, tx.session.get_one(DefinitionVersion, subject.version_id)
