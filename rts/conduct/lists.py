"""What every deed on a list needs: finding it, reading its sealed file, judging its entries, and the rule that three
people make it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select

from rts.access.actor import Actor
from rts.randomisation.kit_list import KitEntry
from rts.randomisation.quality import ListQuality, judge_imported_list, judge_kit_list, judge_subject_list
from rts.randomisation.subject_list import Entry
from rts.refusal import refuse, say
from rts.states import LIST_STATES
from rts.store import definitions
from rts.store.sealed_rows import key_from_text
from rts.store.tables import DefinitionVersion, Installation, ListFile, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import CHECKED, KitListPlan, RestrictedDefinition, SubjectListPlan
from rts.trial.procedures import PermutedBlocks, Procedure, procedure_from
from rts.trial.versions import allocate_alike
from rts.vault.entries import EntryContext
from rts.vault.entries import ListEntry as SealedEntry
from rts.vault.list_file import ListFile as SealedFile
from rts.vault.list_file import Manifest, list_path, open_inputs
from rts.vault.vault import Opener

MEANINGS = {
    "specify": say("I specify this list").text,
    "generate": say("I generated this list").text,
    "import": say("I imported this list").text,
    "approve": say("I checked this list and approve it").text,
    "activate": say("I activate this list").text,
    "close": say("I close this list").text,
    "ask_release": say("The data are locked; I ask for the release of this list").text,
    "confirm_release": say("The data are locked; I release this list").text,
}


def plan_named(restricted: RestrictedDefinition, plan_id: str) -> SubjectListPlan | KitListPlan:
    """The list that the restricted definition plans as `plan_id`. Raises Refusal `not_found`."""
    plans: list[SubjectListPlan | KitListPlan] = [*restricted.subject_lists, *restricted.kit_lists]
    for plan in plans:
        if plan.list_id == plan_id:
            return plan
    raise refuse(
        "not_found", "list.no_plan", say("The restricted definition plans no list %(plan)s.", plan=plan_id), "plan"
    )


def list_named(tx: Transaction, trial: Trial, list_id: str) -> ListFile:
    """The list of `trial` with this id or commitment: blinded people know it by the second. Raises Refusal
    `not_found`.
    """
    named = or_(ListFile.list_id == list_id, ListFile.commitment == list_id)
    found = tx.session.scalar(select(ListFile).where(ListFile.trial_id == trial.id, named))
    if found is None:
        raise refuse(
            "not_found", "list.unknown", say("There is no list %(list)s in this trial.", list=list_id), "list_id"
        )
    return found


def lists_serving(tx: Transaction, trial: Trial, version: DefinitionVersion, at: datetime | None = None) -> list[int]:
    """The row ids of the subject lists in use now, or at a moment, that serve a site where `version` is in force, in
    the order in which their entries are taken.

    A list made by a later version serves it only with the same treatments, ratio and strata: anything else is not
    approved there yet.
    """
    in_use: ColumnElement[bool] = ListFile.state == "active"
    if at is not None:
        closed_since = and_(ListFile.state == "closed", ListFile.closed_at > at)
        in_use = and_(ListFile.activated_at <= at, or_(in_use, closed_since))
    statement = (
        select(ListFile.id, DefinitionVersion)
        .join(DefinitionVersion, DefinitionVersion.id == ListFile.version_id)
        .where(
            ListFile.trial_id == trial.id,
            ListFile.kind == "subjects",
            ListFile.purpose == select(Installation.environment).scalar_subquery(),
            in_use,
        )
        .order_by(ListFile.activated_at, ListFile.id)
    )
    here = definitions.parsed(version.public_text)
    return [
        list_id
        for list_id, made_by in tx.session.execute(statement)
        if made_by.version <= version.version or allocate_alike(here, definitions.parsed(made_by.public_text))
    ]


def read_file(tx: Transaction, trial: Trial, found: ListFile) -> SealedFile:
    """The sealed file of a recorded list, unchanged since it was sealed. Raises Refusal for another trial, purpose,
    list or digest.
    """
    sealed = SealedFile.read(list_path(tx.store.lists, trial.code, found.list_id), found.file_digest)
    manifest = sealed.manifest
    if (manifest.trial, manifest.list_id) != (trial.code, found.list_id):
        raise refuse("invalid", "list.other", say("The file is of another trial or list."), "list_id")
    if manifest.purpose != tx.installation.environment:
        raise refuse(
            "invalid",
            "list.purpose",
            say(
                "This is a %(found)s list; a %(wanted)s installation takes only %(wanted)s lists.",
                found=manifest.purpose,
                wanted=tx.installation.environment,
            ),
            "list_id",
        )
    return sealed


def inputs_of_list(tx: Transaction, trial: Trial, found: ListFile, opener: Opener) -> dict[str, Any]:
    """What a sealed list was made from, its seed included."""
    return open_inputs(read_file(tx, trial, found).inputs(key_from_text(found.data_key)), opener)


def procedure_of(inputs: Mapping[str, Any]) -> Procedure:
    """The procedure of a subject list from what it was, or is to be, made from."""
    if "block_sizes" in inputs:
        return PermutedBlocks(tuple(inputs["block_sizes"]))
    return procedure_from(inputs["procedure"])


def quality_of(tx: Transaction, trial: Trial, found: ListFile, opener: Opener) -> ListQuality:
    """What the checks say of a list: for unblinded eyes only."""
    sealed = read_file(tx, trial, found)
    key = key_from_text(found.data_key)
    inputs = open_inputs(sealed.inputs(key), opener) | {"prefix": found.prefix}
    return judged(sealed.manifest, inputs, list(sealed.entries(key, opener)))


def judged(
    manifest: Manifest, inputs: Mapping[str, Any], opened: Sequence[tuple[EntryContext, SealedEntry]]
) -> ListQuality:
    """What the checks say of the opened entries of a list, by what it was made from."""
    if manifest.kind == "subjects":
        entries = [Entry(place.stratum, place.position, e.number, e.arm, e.salt) for place, e in opened]
        return judge_as_specified(entries, inputs)
    kits = [KitEntry(place.position, e.number, e.arm, e.pick_rank, e.salt) for place, e in opened]
    return judge_kit_list(
        kits, prefix=inputs["prefix"], kit_types=[(code, quantity) for code, quantity in inputs["kit_types"]]
    )


def judge_as_specified(entries: Sequence[Entry], inputs: Mapping[str, Any]) -> ListQuality:
    """What the checks say of the entries of a subject list that was to be made from `inputs`."""
    specified: dict[str, Any] = {
        "prefix": inputs["prefix"],
        "strata": inputs["strata"],
        "arms": [(code, weight) for code, weight in inputs["arms"]],
        "procedure": procedure_of(inputs),
        "length": inputs["length"],
    }
    if "imported" in inputs:
        return judge_imported_list(entries, **specified, has_check_digits=inputs["imported"] == CHECKED)
    return judge_subject_list(entries, **specified)


def refuse_standing_list(tx: Transaction, trial: Trial, plan: str) -> None:
    """Raise Refusal `conflict` when a list that is not withdrawn stands for the plan."""
    standing = tx.session.scalar(
        select(ListFile).where(ListFile.trial_id == trial.id, ListFile.plan_id == plan, ListFile.state != "withdrawn")
    )
    if standing is not None:
        raise refuse(
            "conflict",
            "list.standing",
            say(
                "List %(list)s stands for this plan (%(state)s). Withdraw it before another is made.",
                list=standing.list_id,
                state=LIST_STATES[standing.state],
            ),
            "plan",
        )


def refuse_other_state(found: ListFile, wanted: str) -> None:
    """Raise Refusal `conflict` unless the list is in the state `wanted`."""
    if found.state != wanted:
        raise refuse(
            "conflict",
            "list.state",
            say("This list is %(state)s, not %(wanted)s.", state=LIST_STATES[found.state], wanted=LIST_STATES[wanted]),
            "list_id",
        )


def refuse_same_person(actor: Actor, *others: str | None) -> None:
    """Raise Refusal `rule` when the actor is one of those who did an earlier step on the list."""
    if actor.name in others:
        raise refuse(
            "rule",
            "list.three_people",
            say(
                "Generating, approving and activating a list are three deeds by three people; you did another of them."
            ),
        )
