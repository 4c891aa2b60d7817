"""A statistician generates the list that the definition plans: made from a fresh seed, sealed into a file, recorded."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

import rts
from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.clock import utc_text
from rts.conduct.lists import MEANINGS, plan_named
from rts.conduct.perform import Done
from rts.randomisation import generation, kit_list
from rts.randomisation.generation import SubjectListInputs
from rts.randomisation.kit_list import KitListInputs, generate_kits
from rts.randomisation.procedures import PermutedBlocks
from rts.refusal import refuse, say
from rts.states import LIST_STATES
from rts.store import definitions, locks
from rts.store.sealed_rows import key_to_text
from rts.store.tables import ListFile, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import SubjectListPlan, TrialDefinition
from rts.vault import entries as records
from rts.vault.list_file import Manifest, write_list_file
from rts.vault.vault import Opener

SEED_BYTES = 32


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
    plan = plan_named(restricted, command.plan)
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
        procedure = PermutedBlocks(restricted.block_sizes)
        subject_list = generation.generate(
            SubjectListInputs(seed, list_id, plan.prefix, definition.strata, arms, procedure, plan.length)
        )
        rows = list(map(records.ListEntry, subject_list.numbers, subject_list.arms, subject_list.salts))
        commitment, scheme, kind = subject_list.commitment(), generation.scheme_of(procedure), "subjects"
        strata = subject_list.strata
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
