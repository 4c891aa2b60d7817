"""A third person puts an approved list to use: its sealed records become the working copy in the database."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.conduct.lists import (
    MEANINGS,
    inputs_of_list,
    list_named,
    plan_named,
    read_file,
    refuse_other_state,
    refuse_same_person,
)
from rts.conduct.perform import Done
from rts.refusal import refuse, say
from rts.store import definitions, locks
from rts.store.ledger import opening_state
from rts.store.sealed_rows import key_from_text
from rts.store.tables import BlindedLot, DefinitionVersion, Depot, Kit, ListEntry, ListFile, ManufacturingLot, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import KitListPlan, SubjectListPlan
from rts.vault.list_file import ListFile as SealedFile
from rts.vault.vault import Opener

MANUFACTURING_STEP = 1024


@dataclass(frozen=True)
class ActivateList:
    """Put an approved list to use."""

    trial: str
    list_id: str


def activate_list(
    tx: Transaction, actor: Actor, command: ActivateList, opener: Opener, confirmation: Confirmation | None
) -> Done:
    """Copy the sealed records into the database. Raises Refusal for either of the two people who generated and
    approved it.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LIST_ACTIVATE, trial)
    locks.take(tx.session, locks.randomisation(trial.code))
    found = list_named(tx, trial, command.list_id)
    refuse_other_state(found, "approved")
    refuse_same_person(actor, found.generated_by, found.approved_by)
    sealed = read_file(tx, trial, found)
    if found.kind == "subjects":
        _refuse_second_subject_list(tx, trial, found, opener)
        tx.session.add_all(
            ListEntry(list_id=found.id, stratum=place.stratum, position=place.position, record=box)
            for place, box in sealed.boxes()
        )
    else:
        _put_kits(tx, trial, found, sealed, opener)
    record = {
        "trial": trial.code,
        "list": found.list_id,
        "commitment": found.commitment,
        "file_digest": found.file_digest,
    }
    sign(tx, actor, confirmation, MEANINGS["activate"], "list", found.list_id, record, trial=trial, time_zone="UTC")
    found.state, found.activated_at, found.activated_by = "active", tx.now, actor.name
    tx.audit(
        "list.activated",
        "list",
        found.list_id,
        record,
        trial=trial,
        before={"state": "approved"},
        after={"state": "active"},
        definition=tx.session.get_one(DefinitionVersion, found.version_id).version,
    )
    return Done("activate_list", {"trial": trial.code, "list": found.list_id})


def _refuse_second_subject_list(tx: Transaction, trial: Trial, found: ListFile, opener: Opener) -> None:
    """One list of subjects is in use at a time, and after it those that go on from it with the same strata and ratio.

    The manager who activates is blinded and knows no list by its id: no refusal names one.
    """
    in_use = list(
        tx.session.scalars(
            select(ListFile)
            .where(ListFile.trial_id == trial.id, ListFile.kind == "subjects", ListFile.state == "active")
            .order_by(ListFile.activated_at, ListFile.id)
        )
    )
    version = tx.session.get_one(DefinitionVersion, found.version_id)
    plan = plan_named(definitions.open_restricted(tx, trial, version, opener), found.plan_id)
    extends = plan.extends if isinstance(plan, SubjectListPlan) else ""
    if not extends:
        if in_use:
            message = say("Another subject list is active; close it before this one takes its place.")
            raise refuse("conflict", "list.active", message, "list_id")
        return
    extended = next((one for one in in_use if one.plan_id == extends), None)
    if extended is None:
        message = say("This list goes on from another one that is not active.")
        raise refuse("conflict", "list.extends", message, "list_id")
    ours, theirs = (inputs_of_list(tx, trial, one, opener) for one in (found, extended))
    if any(ours[key] != theirs[key] for key in ("strata", "arms")):
        message = say("This list goes on from one with other strata or another ratio: close that one first.")
        raise refuse("rule", "list.extends_other", message, "list_id")


def _put_kits(tx: Transaction, trial: Trial, found: ListFile, sealed: SealedFile, opener: Opener) -> None:
    """Register the blinded lot and its kits, packed and not yet released, in packaging order: the order of rows
    tells no type.
    """
    version = tx.session.get_one(DefinitionVersion, found.version_id)
    definition = definitions.parsed(version.public_text)
    plan = plan_named(definitions.open_restricted(tx, trial, version, opener), found.plan_id)
    if not isinstance(plan, KitListPlan):
        raise refuse("invalid", "list.kind", say("The plan of this list is not one of kits."), "list_id")
    depot = tx.session.scalars(
        select(Depot).where(Depot.trial_id == trial.id, Depot.code == definition.depots[0].code)
    ).one()
    if tx.session.scalar(
        select(BlindedLot.id).where(BlindedLot.trial_id == trial.id, BlindedLot.code == plan.blinded_lot)
    ):
        raise refuse(
            "conflict", "lot.exists", say("Blinded lot %(lot)s exists already.", lot=plan.blinded_lot), "list_id"
        )
    lot = BlindedLot(trial_id=trial.id, list_id=found.id, depot_id=depot.id, code=plan.blinded_lot, expiry=plan.expiry)
    tx.session.add(lot)
    tx.session.flush()
    box = tx.store.vault.seal(
        key_from_text(found.data_key),
        "\n".join(f"{kit_type}\t{code}" for kit_type, code in plan.manufacturing_lots.items()).encode(),
        f"manufacturing_lot/{trial.code}/{plan.blinded_lot}",
        MANUFACTURING_STEP,
    )
    tx.session.add(ManufacturingLot(blinded_lot_id=lot.id, lots_box=box.box))
    key = key_from_text(found.data_key)
    numbers = [entry.number for _, entry in sealed.entries(key, opener)]
    tx.session.add_all(
        Kit(
            trial_id=trial.id,
            list_id=found.id,
            blinded_lot_id=lot.id,
            position=place.position,
            number=number,
            record=record,
            state=opening_state,
            depot_id=depot.id,
        )
        for (place, record), number in zip(sealed.boxes(), numbers, strict=True)
    )
