"""What generating and importing a list have in common: the signed plan that it is made from, and how what was made is
sealed, signed for and recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

import rts
from rts.access.actor import Actor, require
from rts.access.permissions import Permission, Role
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.clock import utc_text
from rts.conduct.list_recipients import who_may_open
from rts.conduct.lists import MEANINGS, plan_named, refuse_standing_list
from rts.conduct.recipients import people_in
from rts.conduct.specifying_lists import inputs_of, refuse_outdated
from rts.refusal import refuse, say
from rts.store import definitions, locks, outbox
from rts.store.sealed_rows import key_to_text
from rts.store.specifications import newest_specification, open_specification
from rts.store.tables import DefinitionVersion, ListFile, ListSpecification, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import KitListPlan, RestrictedDefinition, SubjectListPlan
from rts.vault.entries import ListEntry
from rts.vault.list_file import Manifest, list_path, write_list_file
from rts.vault.vault import Opener

SEED_BYTES = 32


@dataclass(frozen=True, repr=False)
class ReadyPlan:
    """A planned list that is specified and may be made now.

    `specified` is the content of its specification, `inputs` what it is made from but for the seed. The list will be
    the `generation`th for its plan, and be called `list_id`.
    """

    trial: Trial
    version: DefinitionVersion
    restricted: RestrictedDefinition
    plan: SubjectListPlan | KitListPlan
    specification: ListSpecification
    specified: dict[str, Any]
    inputs: dict[str, Any]
    list_id: str
    generation: int

    def __repr__(self) -> str:
        return "<sealed>"


def ready_plan(tx: Transaction, actor: Actor, trial_code: str, plan_id: str, opener: Opener) -> ReadyPlan:
    """The plan `plan_id`, under the locks for making its list.

    Raises Refusal for whoever may not generate lists, an unknown plan, a list of the plan that is not withdrawn, a plan
    that is not specified, or is planned otherwise than it was specified.
    """
    trial = tx.trial(trial_code)
    require(tx, actor, Permission.LIST_GENERATE, trial)
    locks.take(tx.session, locks.randomisation(trial.code), locks.keys())
    version = definitions.latest_version(tx, trial)
    restricted = definitions.open_restricted(tx, trial, version, opener)
    plan = plan_named(restricted, plan_id)
    refuse_standing_list(tx, trial, plan_id)
    specification = newest_specification(tx, trial, plan_id)
    if specification is None:
        raise refuse(
            "rule", "list.not_specified", say("A list is specified, and the specification signed, before it is made.")
        )
    specified = open_specification(tx, trial, specification, opener)
    inputs = inputs_of(definitions.parsed(version.public_text), restricted, plan)
    refuse_outdated(specified, version, inputs)
    earlier = (
        tx.session.scalar(select(func.count()).where(ListFile.trial_id == trial.id, ListFile.plan_id == plan_id)) or 0
    )
    list_id = plan_id if earlier == 0 else f"{plan_id}-{earlier + 1}"
    while (path := list_path(tx.store.lists, trial.code, list_id)).exists() or path.with_suffix(".keys").exists():
        # A file without a row: a generation that crashed after writing it. It counts as one and is never overwritten.
        earlier += 1
        list_id = f"{plan_id}-{earlier + 1}"
    return ReadyPlan(
        trial, version, restricted, plan, specification, specified, inputs, list_id, generation=earlier + 1
    )


@dataclass(frozen=True, repr=False)
class MadeList:
    """A list as made, not yet sealed: its seed, its records in list order, and what the manifest says of them."""

    scheme: str
    kind: str
    seed: bytes
    strata: tuple[tuple[str, int], ...]
    rows: list[ListEntry]
    commitment: str

    def __repr__(self) -> str:
        return "<sealed>"


def seal_list(
    tx: Transaction,
    actor: Actor,
    confirmation: Confirmation | None,
    ready: ReadyPlan,
    made: MadeList,
    *,
    deed: str,
    further: dict[str, Any] | None = None,
) -> None:
    """Seal what was made into a file for its recipients; record it, signed by who did `deed` (generate or import).

    `further` is sealed with the inputs. Raises Refusal `conflict` for a used seed, `wrong_password` when unsigned.
    """
    trial, version, list_id, restricted = ready.trial, ready.version, ready.list_id, ready.restricted
    purpose = tx.installation.environment
    seed_mark = _mark_of_seed(tx, made.seed)
    inputs = {"scheme": made.scheme, "seed": made.seed.hex(), "list_id": list_id, **ready.inputs, **(further or {})}
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
        times_generated=ready.generation,
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
    sign(tx, actor, confirmation, MEANINGS[deed], "list", list_id, record, trial=trial, time_zone="UTC")
    people = who_may_open(tx, trial)
    facts = write_list_file(tx.store.lists, manifest, made.rows, inputs, tx.store.vault, people)
    tx.session.add(
        ListFile(
            trial_id=trial.id,
            list_id=list_id,
            plan_id=ready.plan.list_id,
            kind=made.kind,
            purpose=purpose,
            prefix=ready.plan.prefix,
            state="generated",
            entries=len(made.rows),
            times_generated=ready.generation,
            commitment=made.commitment,
            file_digest=facts.digest,
            manifest_digest=facts.manifest_digest,
            data_key=key_to_text(facts.key),
            seed_mark=seed_mark,
            version_id=version.id,
            specification_id=ready.specification.id,
            generated_at=tx.now,
            generated_by=actor.name,
        )
    )
    tx.audit(
        {"generate": "list.generated", "import": "list.imported"}[deed],
        "list",
        list_id,
        {
            **record,
            "file_digest": facts.digest,
            "entries": len(made.rows),
            "times_generated": ready.generation,
            "recipients": [f"{person.person_id}/{person.key_version}" for person in people],
        },
        trial=trial,
        definition=version.version,
    )
    _publish_commitment(tx, trial, made)


def _publish_commitment(tx: Transaction, trial: Trial, made: MadeList) -> None:
    """Write the commitment to everybody who keeps the trial's file, out of the reach of whoever could change this
    installation. Blinded people know a list by its kind and commitment, not by its id.
    """
    words = {"subjects": say("subject list"), "kits": say("kit list")}
    outbox.write(
        tx,
        "list_sealed",
        trial,
        people_in(tx, trial, Role.STATISTICIAN, Role.TRIAL_MANAGER, Role.SPONSOR_CONTACT, Role.AUDITOR),
        say("%(trial)s: a %(kind)s was sealed", trial=trial.code, kind=words[made.kind]),
        say(
            "A %(kind)s of %(trial)s was sealed. Its commitment is %(commitment)s. Keep this mail: after the database "
            "lock it proves that the list is the one sealed today.",
            kind=words[made.kind],
            trial=trial.code,
            commitment=made.commitment,
        ),
    )


def _mark_of_seed(tx: Transaction, seed: bytes) -> str:
    """The mark by which a seed is known again. Raises Refusal `conflict` when it has made a list already."""
    mark = tx.store.vault.keyring.mac("list-seed", seed).hex()
    if tx.session.scalar(select(ListFile.id).where(ListFile.seed_mark == mark)):
        raise refuse(
            "conflict",
            "list.seed_used",
            say("This seed has made a list already; every list has a seed of its own."),
            "seed",
        )
    return mark
