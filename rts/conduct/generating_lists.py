"""A statistician generates the list that the definition plans: made from a fresh seed, sealed into a file, recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

import rts
from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.clock import utc_text
from rts.conduct.list_recipients import who_may_open
from rts.conduct.lists import MEANINGS, plan_named, procedure_of, refuse_standing_list
from rts.conduct.perform import Done
from rts.conduct.seeding_lists import joint_seed_of
from rts.conduct.specifying_lists import inputs_of, refuse_outdated
from rts.randomisation import generation, kit_list
from rts.randomisation.generation import SubjectListInputs
from rts.randomisation.kit_list import KitListInputs, generate_kits
from rts.refusal import refuse, say
from rts.store import definitions, locks
from rts.store.sealed_rows import key_to_text
from rts.store.specifications import newest_specification, open_specification
from rts.store.tables import ListFile
from rts.store.transaction import Transaction
from rts.trial.definition import KitListPlan, SubjectListPlan
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
    locks.take(tx.session, locks.randomisation(trial.code), locks.keys())
    version = definitions.latest_version(tx, trial)
    definition = definitions.parsed(version.public_text)
    restricted = definitions.open_restricted(tx, trial, version, opener)
    plan = plan_named(restricted, command.plan)
    refuse_standing_list(tx, trial, command.plan)
    specification = newest_specification(tx, trial, command.plan)
    if specification is None:
        raise refuse(
            "rule", "list.not_specified", say("A list is specified, and the specification signed, before it is made.")
        )
    specified = open_specification(tx, trial, specification, opener)
    made_from = inputs_of(definition, restricted, plan)
    refuse_outdated(specified, version, made_from)
    if specified["contributors"]:
        if command.seed:
            raise refuse("rule", "list.seed_joint", say("The specification asks for a joint seed."), "seed")
        seed = joint_seed_of(tx, trial, specification, specified["contributors"], opener)
    else:
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

    made = _make(plan, made_from, seed, list_id)
    inputs = {"scheme": made.scheme, "seed": seed.hex(), "list_id": list_id, **made_from}
    inputs["treatments"] = {arm.code: arm.treatment for arm in restricted.arms}
    inputs["kit_type_arms"] = {kit_type.code: kit_type.arm for kit_type in restricted.kit_types}
    manifest = Manifest(
        scheme=made.scheme,
        trial=trial.code,
        definition_version=version.version,
        definition_digest=version.digest,
        list_id=list_id,
        purpose=purpose,
        kind=made.kind,
        strata=made.strata,
        commitment=made.commitment,
        times_generated=earlier + 1,
        generated_by=actor.printed_name,
        generated_at=utc_text(tx.now),
        software_version=rts.__version__,
    )
    record = {
        "trial": trial.code,
        "list": list_id,
        "commitment": made.commitment,
        "definition": version.digest,
        "purpose": purpose,
    }
    sign(tx, actor, confirmation, MEANINGS["generate"], "list", list_id, record, trial=trial, time_zone="UTC")
    people = who_may_open(tx, trial)
    facts = write_list_file(tx.store.lists, manifest, made.rows, inputs, tx.store.vault, people)
    tx.session.add(
        ListFile(
            trial_id=trial.id,
            list_id=list_id,
            plan_id=command.plan,
            kind=made.kind,
            purpose=purpose,
            prefix=plan.prefix,
            state="generated",
            entries=len(made.rows),
            times_generated=earlier + 1,
            commitment=made.commitment,
            file_digest=facts.digest,
            manifest_digest=facts.manifest_digest,
            data_key=key_to_text(facts.key),
            seed_mark=seed_mark,
            version_id=version.id,
            specification_id=specification.id,
            generated_at=tx.now,
            generated_by=actor.name,
        )
    )
    tx.audit(
        "list.generated",
        "list",
        list_id,
        {
            **record,
            "file_digest": facts.digest,
            "entries": len(made.rows),
            "times_generated": earlier + 1,
            "recipients": [f"{person.person_id}/{person.key_version}" for person in people],
        },
        trial=trial,
        definition=version.version,
    )
    return Done("generate_list", {"trial": trial.code, "list": list_id})


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


@dataclass(frozen=True, repr=False)
class _Made:
    """A list as made, not yet sealed: its records in list order, and what the manifest says of them."""

    scheme: str
    kind: str
    strata: tuple[tuple[str, int], ...]
    rows: list[records.ListEntry]
    commitment: str


def _make(plan: SubjectListPlan | KitListPlan, made_from: dict[str, Any], seed: bytes, list_id: str) -> _Made:
    if isinstance(plan, KitListPlan):
        kit_types = tuple((code, quantity) for code, quantity in made_from["kit_types"])
        kits = generate_kits(KitListInputs(seed, list_id, plan.prefix, kit_types))
        rows = [records.ListEntry(kit.number, kit.kit_type, kit.salt, kit.rank) for kit in kits.entries]
        return _Made(kit_list.SCHEME, "kits", (("", len(rows)),), rows, kits.commitment)
    strata, arms = tuple(made_from["strata"]), tuple((code, weight) for code, weight in made_from["arms"])
    procedure = procedure_of(made_from)
    subjects = generation.generate(SubjectListInputs(seed, list_id, plan.prefix, strata, arms, procedure, plan.length))
    rows = list(map(records.ListEntry, subjects.numbers, subjects.arms, subjects.salts))
    return _Made(generation.scheme_of(procedure), "subjects", subjects.strata, rows, subjects.commitment())
