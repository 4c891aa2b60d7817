"""A statistician generates the list that the definition plans: made from a fresh seed, sealed into a file, recorded."""

from __future__ import annotations

from dataclasses import dataclass

from rts.access.actor import Actor
from rts.access.sign_in import Confirmation
from rts.conduct.lists import procedure_of
from rts.conduct.making_lists import SEED_BYTES, MadeList, ReadyPlan, ready_plan, seal_list
from rts.conduct.perform import Done
from rts.conduct.seeding_lists import joint_seed_of
from rts.randomisation import generation, kit_list
from rts.randomisation.generation import SubjectListInputs
from rts.randomisation.kit_list import KitListInputs, generate_kits
from rts.refusal import refuse, say
from rts.store.transaction import Transaction
from rts.trial.definition import KitListPlan
from rts.vault.entries import ListEntry
from rts.vault.vault import Opener


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
    """Generate, seal and record a list. Raises Refusal for an unknown plan, one whose list is imported, a list of this
    plan that is not withdrawn, or a used seed.
    """
    ready = ready_plan(tx, actor, command.trial, command.plan, opener)
    if "imported" in ready.inputs:
        message = say("The definition plans this list as one that is made elsewhere: import it.")
        raise refuse("rule", "list.is_imported", message, "plan")
    made = _make(ready, _seed(tx, ready, command.seed, opener))
    seal_list(tx, actor, confirmation, ready, made, deed="generate")
    return Done("generate_list", {"trial": ready.trial.code, "list": ready.list_id})


def _seed(tx: Transaction, ready: ReadyPlan, given: str, opener: Opener) -> bytes:
    contributors = ready.specified["contributors"]
    if contributors:
        if given:
            raise refuse("rule", "list.seed_joint", say("The specification asks for a joint seed."), "seed")
        return joint_seed_of(tx, ready.trial, ready.specification, contributors, opener)
    if not given:
        return tx.store.entropy.bytes(SEED_BYTES)
    if tx.installation.environment == "production":
        raise refuse(
            "rule",
            "list.seed_given",
            say("A production list takes its seed from the operating system, never from a person."),
            "seed",
        )
    if len(given) != 2 * SEED_BYTES or any(digit not in "0123456789abcdef" for digit in given.lower()):
        raise refuse("invalid", "list.seed", say("A seed is 64 hex digits (32 bytes)."), "seed")
    return bytes.fromhex(given)


def _make(ready: ReadyPlan, seed: bytes) -> MadeList:
    inputs, plan = ready.inputs, ready.plan
    if isinstance(plan, KitListPlan):
        kit_types = tuple((code, quantity) for code, quantity in inputs["kit_types"])
        kits = generate_kits(KitListInputs(seed, ready.list_id, plan.prefix, kit_types))
        rows = [ListEntry(kit.number, kit.kit_type, kit.salt, kit.rank) for kit in kits.entries]
        return MadeList(kit_list.SCHEME, "kits", seed, (("", len(rows)),), rows, kits.commitment)
    arms = tuple((code, weight) for code, weight in inputs["arms"])
    procedure = procedure_of(inputs)
    subjects = generation.generate(
        SubjectListInputs(seed, ready.list_id, plan.prefix, tuple(inputs["strata"]), arms, procedure, plan.length)
    )
    rows = list(map(ListEntry, subjects.numbers, subjects.arms, subjects.salts))
    scheme = generation.scheme_of(procedure)
    return MadeList(scheme, "subjects", seed, subjects.strata, rows, subjects.commitment())
