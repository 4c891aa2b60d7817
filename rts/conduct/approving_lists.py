"""A second statistician checks a generated list and approves it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.conduct.lists import MEANINGS, list_named, quality_of, read_file, refuse_other_state, refuse_same_person
from rts.conduct.perform import Done
from rts.refusal import FailedRule, Refusal, refuse, say
from rts.store import locks
from rts.store.sealed_rows import key_from_text
from rts.store.tables import DefinitionVersion, ListFile
from rts.store.transaction import Transaction
from rts.vault.vault import Opener


@dataclass(frozen=True)
class ApproveList:
    """Approve a generated list after checking it."""

    trial: str
    list_id: str


def approve_list(
    tx: Transaction, actor: Actor, command: ApproveList, opener: Opener, confirmation: Confirmation | None
) -> Done:
    """Check the list and approve it. Raises Refusal when a check fails, or for the person who generated it."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LIST_APPROVE, trial)
    locks.take(tx.session, locks.randomisation(trial.code))
    found = list_named(tx, trial, command.list_id)
    refuse_other_state(found, "generated")
    refuse_same_person(actor, found.generated_by)
    same_prefix = tx.session.scalar(
        select(ListFile.list_id).where(
            ListFile.trial_id == trial.id,
            ListFile.prefix == found.prefix,
            ListFile.purpose == found.purpose,
            ListFile.state.in_(["approved", "active", "closed"]),
        )
    )
    if same_prefix is not None:
        raise refuse(
            "conflict",
            "list.prefix",
            say(
                "List %(list)s has the prefix %(prefix)s already: numbers would collide.",
                list=same_prefix,
                prefix=found.prefix,
            ),
            "list_id",
        )
    quality = quality_of(tx, trial, found, opener)
    if quality.findings:
        raise Refusal("rule", *[FailedRule(finding.rule, finding.message) for finding in quality.findings], sealed=True)
    if not read_file(tx, trial, found).meets_commitment(key_from_text(found.data_key), opener):
        raise refuse("rule", "list.commitment", say("The list does not meet its published commitment."), "list_id")
    record = {
        "trial": trial.code,
        "list": found.list_id,
        "commitment": found.commitment,
        "file_digest": found.file_digest,
    }
    sign(tx, actor, confirmation, MEANINGS["approve"], "list", found.list_id, record, trial=trial, time_zone="UTC")
    found.state, found.approved_at, found.approved_by = "approved", tx.now, actor.name
    tx.audit(
        "list.approved",
        "list",
        found.list_id,
        record,
        trial=trial,
        before={"state": "generated"},
        after={"state": "approved"},
        definition=tx.session.get_one(DefinitionVersion, found.version_id).version,
    )
    return Done("approve_list", {"trial": trial.code, "list": found.list_id})
