"""From plan to active list: generated, approved and activated by three people, each with a signature of their own."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

import rts
from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.clock import utc_text
from rts.conduct.perform import Done
from rts.randomisation import kit_list, permuted_blocks
from rts.randomisation.kit_list import KitEntry, KitListInputs, generate_kits
from rts.randomisation.permuted_blocks import PermutedBlocks
from rts.randomisation.quality import ListQuality, judge_kit_list, judge_subject_list
from rts.randomisation.subject_list import Entry
from rts.refusal import FailedRule, Refusal, refuse, say
from rts.states import LIST_STATES
from rts.store import definitions, locks
from rts.store.ledger import opening_state
from rts.store.sealed_rows import key_from_text, key_to_text
from rts.store.tables import BlindedLot, DefinitionVersion, Depot, Kit, ListEntry, ListFile, ManufacturingLot, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import KitListPlan, RestrictedDefinition, SubjectListPlan, TrialDefinition
from rts.vault import entries as records
from rts.vault.list_file import ListFile as SealedFile
from rts.vault.list_file import Manifest, open_inputs, write_list_file
from rts.vault.vault import Opener

SEED_BYTES = 32
MANUFACTURING_STEP = 1024

MEANINGS = {
    "generate": say("I generated this list").text,
    "approve": say("I checked this list and approve it").text,
    "activate": say("I activate this list").text,
}


@dataclass(frozen=True)
class GenerateList:
    """Generate the list that the restricted definition plans under `plan`. A `seed` (hex) is for training and test
    lists only:
    whoever gives the seed of a production list owns it."""

    trial: str
    plan: str
    seed: str = ""


def generate_list(
    tx: Transaction, actor: Actor, command: GenerateList, opener: Opener, confirmation: Confirmation | None
) -> Done:
    """Generate, seal and record a list. Raises Refusal for an unknown plan, a list of this plan that is not
    withdrawn, or a used seed.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LIST_GENERATE, trial)
    purpose = tx.installation.environment
    locks.take(tx.session, locks.randomisation(trial.code))
    version = definitions.latest_version(tx, trial)
    definition = definitions.parsed(version.public_text)
    restricted = definitions.open_restricted(tx, trial, version, opener)
    plan = _plan(restricted, command.plan)
    _refuse_standing(tx, trial, command.plan)
    seed = _seed(tx, command.seed, purpose)
    seed_mark = tx.store.vault.keyring.mac("list-seed", seed).hex()
    if tx.session.scalar(select(ListFile.id).where(ListFile.seed_mark == seed_mark)):
        raise refuse(
            "conflict",
            "list.seed_used",
            say("This seed has made a list already; every list has a seed of its own."),
            "seed",
        )
    earlier = (
        tx.session.scalar(select(func.count()).where(ListFile.trial_id == trial.id, ListFile.plan_id == command.plan))
        or 0
    )
    list_id = command.plan if earlier == 0 else f"{command.plan}-{earlier + 1}"
    while any((tx.store.lists / trial.code / f"{list_id}{suffix}").exists() for suffix in (".rtslist", ".keys")):
        # A file without a row: a generation that crashed after writing it. It counts as one and is never overwritten.
        earlier += 1
        list_id = f"{command.plan}-{earlier + 1}"

    if isinstance(plan, SubjectListPlan):
        arms = tuple((arm.code, _ratio(definition, arm.treatment)) for arm in restricted.arms)
        subject_list = permuted_blocks.generate(
            PermutedBlocks(seed, list_id, plan.prefix, definition.strata, arms, restricted.block_sizes, plan.length)
        )
        rows = [records.ListEntry(entry.number, entry.arm, entry.salt) for entry in subject_list.entries]
        commitment, scheme, kind = subject_list.commitment, permuted_blocks.SCHEME, "subjects"
        strata = tuple((stratum, plan.length) for stratum in definition.strata)
        inputs: dict[str, object] = {
            "scheme": scheme,
            "seed": seed.hex(),
            "list_id": list_id,
            "prefix": plan.prefix,
            "strata": list(definition.strata),
            "arms": [list(arm) for arm in arms],
            "block_sizes": list(restricted.block_sizes),
            "length": plan.length,
        }
    else:
        kit_types = tuple(plan.quantities.items())
        kits = generate_kits(KitListInputs(seed, list_id, plan.prefix, kit_types))
        rows = [records.ListEntry(kit.number, kit.kit_type, kit.salt, kit.rank) for kit in kits.entries]
        commitment, scheme, kind = kits.commitment, kit_list.SCHEME, "kits"
        strata = (("", len(rows)),)
        inputs = {
            "scheme": scheme,
            "seed": seed.hex(),
            "list_id": list_id,
            "prefix": plan.prefix,
            "kit_types": [list(kit_type) for kit_type in kit_types],
        }
    inputs["treatments"] = {arm.code: arm.treatment for arm in restricted.arms}
    inputs["kit_type_arms"] = {kit_type.code: kit_type.arm for kit_type in restricted.kit_types}
    manifest = Manifest(
        scheme=scheme,
        trial=trial.code,
        definition_version=version.version,
        definition_digest=version.digest,
        list_id=list_id,
        purpose=purpose,
        kind=kind,
        strata=strata,
        commitment=commitment,
        times_generated=earlier + 1,
        generated_by=actor.printed_name,
        generated_at=utc_text(tx.now),
        software_version=rts.__version__,
    )
    record = {
        "trial": trial.code,
        "list": list_id,
        "commitment": commitment,
        "definition": version.digest,
        "purpose": purpose,
    }
    sign(tx, actor, confirmation, MEANINGS["generate"], "list", list_id, record, trial=trial, time_zone="UTC")
    facts = write_list_file(tx.store.lists, manifest, rows, inputs, tx.store.vault)
    tx.session.add(
        ListFile(
            trial_id=trial.id,
            list_id=list_id,
            plan_id=command.plan,
            kind=kind,
            purpose=purpose,
            prefix=plan.prefix,
            state="generated",
            entries=len(rows),
            times_generated=earlier + 1,
            commitment=commitment,
            file_digest=facts.digest,
            manifest_digest=facts.manifest_digest,
            data_key=key_to_text(facts.key),
            seed_mark=seed_mark,
            version_id=version.id,
            generated_at=tx.now,
            generated_by=actor.name,
        )
    )
    tx.audit(
        "list.generated",
        "list",
        list_id,
        {**record, "file_digest": facts.digest, "entries": len(rows), "times_generated": earlier + 1},
        trial=trial,
        definition=version.version,
    )
    return Done("generate_list", {"trial": trial.code, "list": list_id})


def _plan(restricted: RestrictedDefinition, plan_id: str) -> SubjectListPlan | KitListPlan:
    plans: list[SubjectListPlan | KitListPlan] = [*restricted.subject_lists, *restricted.kit_lists]
    for plan in plans:
        if plan.list_id == plan_id:
            return plan
    raise refuse(
        "not_found", "list.no_plan", say("The restricted definition plans no list %(plan)s.", plan=plan_id), "plan"
    )


def _refuse_standing(tx: Transaction, trial: Trial, plan: str) -> None:
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


def _seed(tx: Transaction, given: str, purpose: str) -> bytes:
    if not given:
        return tx.store.entropy.bytes(SEED_BYTES)
    if purpose == "production":
        raise refuse(
            "rule",
            "list.seed_given",
            say("A production list takes its seed from the operating system, never from a person."),
            "seed",
        )
    if len(given) != 2 * SEED_BYTES or any(digit not in "0123456789abcdef" for digit in given.lower()):
        raise refuse("invalid", "list.seed", say("A seed is 64 hex digits (32 bytes)."), "seed")
    return bytes.fromhex(given)


def _ratio(definition: TrialDefinition, treatment: str) -> int:
    return next(found.ratio for found in definition.treatments if found.name == treatment)


def list_named(tx: Transaction, trial: Trial, list_id: str) -> ListFile:
    """The list `list_id` of `trial`. Raises Refusal `not_found`."""
    found = tx.session.scalar(select(ListFile).where(ListFile.trial_id == trial.id, ListFile.list_id == list_id))
    if found is None:
        raise refuse(
            "not_found", "list.unknown", say("There is no list %(list)s in this trial.", list=list_id), "list_id"
        )
    return found


def read_file(tx: Transaction, trial: Trial, found: ListFile) -> SealedFile:
    """The sealed file of a recorded list, unchanged since it was sealed. Raises Refusal for another trial, purpose,
    list or digest.
    """
    sealed = SealedFile.read(tx.store.lists / trial.code / f"{found.list_id}.rtslist", found.file_digest)
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


def quality_of(tx: Transaction, trial: Trial, found: ListFile, opener: Opener) -> ListQuality:
    """What the checks say of a list: for unblinded eyes only."""
    sealed = read_file(tx, trial, found)
    key = key_from_text(found.data_key)
    inputs = open_inputs(sealed.inputs(key), opener)
    opened = list(sealed.entries(key, opener))
    if found.kind == "subjects":
        subject_entries = [Entry(place.stratum, place.position, e.number, e.arm, e.salt) for place, e in opened]
        return judge_subject_list(
            subject_entries,
            prefix=found.prefix,
            strata=inputs["strata"],
            arms=[(code, weight) for code, weight in inputs["arms"]],
            block_sizes=inputs["block_sizes"],
            length=inputs["length"],
        )
    kits = [KitEntry(place.position, e.number, e.arm, e.pick_rank, e.salt) for place, e in opened]
    return judge_kit_list(
        kits, prefix=found.prefix, kit_types=[(code, quantity) for code, quantity in inputs["kit_types"]]
    )


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
    _state(found, "generated")
    _another_person(actor, found.generated_by)
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
    _state(found, "approved")
    _another_person(actor, found.generated_by, found.approved_by)
    sealed = read_file(tx, trial, found)
    if found.kind == "subjects":
        _refuse_second_subject_list(tx, trial, found)
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


def _refuse_second_subject_list(tx: Transaction, trial: Trial, found: ListFile) -> None:
    active = tx.session.scalar(
        select(ListFile.list_id).where(
            ListFile.trial_id == trial.id, ListFile.kind == "subjects", ListFile.state == "active"
        )
    )
    if active is not None:
        raise refuse(
            "conflict",
            "list.active",
            # The manager who activates is blinded and knows no list by its id.
            say("Another subject list is active; close it before this one takes its place."),
            "list_id",
        )


def _put_kits(tx: Transaction, trial: Trial, found: ListFile, sealed: SealedFile, opener: Opener) -> None:
    """Register the blinded lot and its kits, packed and not yet released, in packaging order: the order of rows
    tells no type.
    """
    version = tx.session.get_one(DefinitionVersion, found.version_id)
    definition = definitions.parsed(version.public_text)
    plan = _plan(definitions.open_restricted(tx, trial, version, opener), found.plan_id)
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


def _state(found: ListFile, wanted: str) -> None:
    if found.state != wanted:
        raise refuse(
            "conflict",
            "list.state",
            say("This list is %(state)s, not %(wanted)s.", state=LIST_STATES[found.state], wanted=LIST_STATES[wanted]),
            "list_id",
        )


def _another_person(actor: Actor, *others: str | None) -> None:
    if actor.name in others:
        raise refuse(
            "rule",
            "list.three_people",
            say(
                "Generating, approving and activating a list are three deeds by three people; you did another of them."
            ),
        )
