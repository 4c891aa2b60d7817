"""How a list ends: withdrawn before it was put to use, or closed when no further subject may be randomised from it."""

from __future__ import annotations

from dataclasses import dataclass

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.conduct.lists import MEANINGS, list_named, refuse_other_state
from rts.conduct.perform import Done
from rts.refusal import refuse, say
from rts.states import LIST_STATES
from rts.store import locks
from rts.store.tables import DefinitionVersion
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class WithdrawList:
    """Withdraw a list that is not in use."""

    trial: str
    list_id: str
    reason: str


def withdraw_list(tx: Transaction, actor: Actor, command: WithdrawList) -> Done:
    """Withdraw a generated or approved list; its file stays, and it counts for ever as a generation."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LIST_GENERATE, trial)
    locks.take(tx.session, locks.randomisation(trial.code))
    found = list_named(tx, trial, command.list_id)
    if not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    if found.state not in {"generated", "approved"}:
        raise refuse(
            "conflict",
            "list.state",
            say("List %(list)s is %(state)s.", list=found.list_id, state=LIST_STATES[found.state]),
            "list_id",
        )
    before, found.state = found.state, "withdrawn"
    tx.audit(
        "list.withdrawn",
        "list",
        found.list_id,
        trial=trial,
        reason=command.reason.strip(),
        before={"state": before},
        after={"state": "withdrawn"},
        definition=tx.session.get_one(DefinitionVersion, found.version_id).version,
    )
    return Done("withdraw_list", {"trial": trial.code, "list": found.list_id})


@dataclass(frozen=True)
class CloseList:
    """Close the subject list in use: nobody is randomised from it any more. Its used entries stay as they are."""

    trial: str
    list_id: str
    reason: str


def close_list(tx: Transaction, actor: Actor, command: CloseList, confirmation: Confirmation | None) -> Done:
    """Close an active list of subjects, for good. Raises Refusal without a reason, for a kit list, and for one that is
    not active.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LIST_ACTIVATE, trial)
    locks.take(tx.session, locks.randomisation(trial.code))
    found = list_named(tx, trial, command.list_id)
    reason = command.reason.strip()
    if not reason:
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    if found.kind != "subjects":
        message = say("A kit list is not closed: its kits are used up or destroyed.")
        raise refuse("rule", "list.kits", message, "list_id")
    refuse_other_state(found, "active")
    record = {"trial": trial.code, "list": found.list_id, "commitment": found.commitment, "reason": reason}
    sign(tx, actor, confirmation, MEANINGS["close"], "list", found.list_id, record, trial=trial, time_zone="UTC")
    found.state, found.closed_at, found.closed_by = "closed", tx.now, actor.name
    tx.audit(
        "list.closed",
        "list",
        found.list_id,
        trial=trial,
        reason=reason,
        before={"state": "active"},
        after={"state": "closed"},
        definition=tx.session.get_one(DefinitionVersion, found.version_id).version,
    )
    return Done("close_list", {"trial": trial.code, "list": found.list_id})
