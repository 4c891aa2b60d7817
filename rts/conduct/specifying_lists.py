"""A list is specified, and the specification signed, before it exists (SPIRIT 21a; CONSORT 17a).

The specification takes procedure, ratio, strata and lengths from the definition and adds who may know what and where
the seed comes from. It is sealed whole; its digest is salted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rts.access.actor import Actor, actor_of, person_named, require
from rts.access.permissions import Permission
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.conduct.lists import MEANINGS, plan_named, refuse_standing_list
from rts.conduct.perform import Done
from rts.randomisation.designs.advice import Advice, advise
from rts.randomisation.generation import strata_of_list
from rts.refusal import FailedRule, Refusal, refuse, refuse_all, say
from rts.store import definitions, locks, specifications
from rts.store.tables import DefinitionVersion, ListSpecification, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import KitListPlan, RestrictedDefinition, SubjectListPlan, TrialDefinition
from rts.trial.procedures import PermutedBlocks, Procedure, written_form
from rts.vault.vault import Opener

CONTRIBUTORS = 2


@dataclass(frozen=True)
class SpecifyList:
    """Specify the list that the restricted definition plans as `plan`.

    `known_to` says who may know what of it, `document` names the approved paper (protocol section, randomisation
    plan). Two user names as `contributors` ask for a joint seed, to which each gives a share; none: the seed is drawn
    from the operating system. `confirmed` is the statistician's word that a procedure which does not keep the ratio at
    every step, or sets no bound to the imbalance, is meant.
    """

    trial: str
    plan: str
    known_to: str
    document: str
    contributors: tuple[str, ...] = ()
    confirmed: bool = False


def specify_list(
    tx: Transaction, actor: Actor, command: SpecifyList, opener: Opener, confirmation: Confirmation | None
) -> Done:
    """Write and sign a specification; it replaces an earlier one of the plan for which no list stands.

    Raises Refusal for an unknown plan, missing words, contributors who are not two different unblinded statisticians,
    a plan for which a list stands, a design that is never made (more cells than half the subjects), or one that asks
    to be confirmed and was not.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LIST_GENERATE, trial)
    locks.take(tx.session, locks.randomisation(trial.code))
    version = definitions.latest_version(tx, trial)
    restricted = definitions.open_restricted(tx, trial, version, opener)
    plan = plan_named(restricted, command.plan)
    refuse_standing_list(tx, trial, command.plan)
    refuse_all("invalid", _failed_rules(tx, trial, plan, command))
    definition = definitions.parsed(version.public_text)
    advice = advice_on(definition, restricted, plan)
    # Sealed: a rule that fails may tell the procedure.
    unacceptable = list(_unacceptable(advice, confirmed=command.confirmed))
    if unacceptable:
        raise Refusal("rule", *unacceptable, sealed=True)
    earlier = specifications.newest_specification(tx, trial, command.plan)
    number = earlier.number + 1 if earlier else 1
    content: dict[str, Any] = {
        "trial": trial.code,
        "plan": command.plan,
        "number": number,
        "purpose": tx.installation.environment,
        "definition": version.digest,
        "restricted_definition": version.restricted_digest,
        "inputs": inputs_of(definition, restricted, plan),
        "known_to": command.known_to.strip(),
        "document": command.document.strip(),
        "contributors": list(command.contributors),
        "confirmed": [one.rule for one in advice if one.gravity == "confirm"],
    }
    digest, sealed = specifications.seal_specification(tx, trial, command.plan, number, content)
    record = {"trial": trial.code, "specification": digest, "definition": version.digest}
    tx.session.add(
        ListSpecification(
            trial_id=trial.id,
            plan_id=command.plan,
            number=number,
            version_id=version.id,
            digest=digest,
            content_box=sealed.box,
            specified_at=tx.now,
            specified_by=actor.name,
        )
    )
    sign(
        tx,
        actor,
        confirmation,
        MEANINGS["specify"],
        "list_specification",
        digest,
        record,
        trial=trial,
        time_zone="UTC",
    )
    tx.audit("list.specified", "list_specification", digest, record, trial=trial, definition=version.version)
    return Done("specify_list", {"trial": trial.code, "plan": command.plan, "specification": digest})


def _failed_rules(
    tx: Transaction, trial: Trial, plan: SubjectListPlan | KitListPlan, command: SpecifyList
) -> list[FailedRule]:
    failed = []
    if not command.known_to.strip():
        failed.append(FailedRule("specification.known_to", say("Say who may know what of the list."), "known_to"))
    if not command.document.strip():
        message = say("Name the approved document that the specification follows.")
        failed.append(FailedRule("specification.document", message, "document"))
    named = command.contributors
    if named and isinstance(plan, SubjectListPlan) and plan.imported:
        message = say("A list that is imported is made from no seed here.")
        failed.append(FailedRule("specification.imported", message, "contributors"))
    elif named and (len(named) != CONTRIBUTORS or len(set(named)) < CONTRIBUTORS):
        message = say("A joint seed has two contributors, two different people.")
        failed.append(FailedRule("specification.contributors", message, "contributors"))
    for username in named:
        person = person_named(tx, username)
        if person is None or not actor_of(tx, person).may(Permission.LIST_GENERATE, trial):
            message = say("%(person)s is no unblinded statistician of this trial.", person=username)
            failed.append(FailedRule("specification.contributor", message, "contributors"))
    return failed


def advice_on(
    definition: TrialDefinition, restricted: RestrictedDefinition, plan: SubjectListPlan | KitListPlan
) -> list[Advice]:
    """What speaks against the design of a planned subject list; nothing ever against a kit list.

    Whether the procedure can make a list of the planned length was judged when the definition was read.
    """
    if isinstance(plan, KitListPlan):
        return []
    found = advise(
        restricted.procedure,
        definition.target,
        ratio=[weight for _, weight in restricted.arms_in_ratio(definition)],
        strata=len(definition.strata),
        sites=len(definition.sites),
    )
    return [one for one in found if not one.rule.startswith(("list.", "procedure."))]


def _unacceptable(advice: list[Advice], *, confirmed: bool) -> Iterator[FailedRule]:
    for one in advice:
        if one.gravity == "refused":
            yield FailedRule(one.rule, one.message)
        elif one.gravity == "confirm" and not confirmed:
            yield FailedRule(one.rule, one.message, "confirmed")


def inputs_of(
    definition: TrialDefinition, restricted: RestrictedDefinition, plan: SubjectListPlan | KitListPlan
) -> dict[str, Any]:
    """What a planned list is made from but for the seed and the list's id, as JSON values."""
    if isinstance(plan, KitListPlan):
        return {
            "prefix": plan.prefix,
            "kit_types": [list(kit_type) for kit_type in plan.quantities.items()],
            "blinded_lot": plan.blinded_lot,
            "expiry": plan.expiry.isoformat(),
        }
    return {
        "prefix": plan.prefix,
        "strata": list(strata_of_list(restricted.procedure, definition.strata)),
        "arms": [list(arm) for arm in restricted.arms_in_ratio(definition)],
        **_written_procedure(restricted.procedure),
        "length": plan.length,
        **({"imported": plan.imported} if plan.imported else {}),
    }


def _written_procedure(procedure: Procedure) -> dict[str, Any]:
    """As `rts list regenerate` reads it: block sizes by themselves, any other procedure with its name."""
    if isinstance(procedure, PermutedBlocks):
        return {"block_sizes": list(procedure.block_sizes)}
    return {"procedure": written_form(procedure)}


def refuse_outdated(content: Mapping[str, Any], version: DefinitionVersion, inputs: Mapping[str, Any]) -> None:
    """Raise Refusal `rule` when the definition plans the list otherwise than it was specified."""
    if content["inputs"] != inputs:
        raise refuse(
            "rule",
            "specification.outdated",
            say(
                "Version %(version)d of the definition plans this list otherwise than it was specified. Specify it "
                "again.",
                version=version.version,
            ),
            "plan",
        )
