"""What the unblinded read before they sign: the lists that are planned, the figures of a sealed list, the restricted
part of the definition. Every look is an event of the audit trail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.lists import inputs_of_list, list_named, quality_of
from rts.conduct.specifying_lists import advice_on
from rts.randomisation.designs.advice import Advice
from rts.randomisation.generation import strata_of_list
from rts.randomisation.quality import ListQuality
from rts.refusal import refuse, say
from rts.store import definitions
from rts.store.specifications import open_specification
from rts.store.tables import DefinitionVersion, ListSpecification
from rts.store.transaction import Transaction
from rts.trial.definition import RestrictedDefinition
from rts.trial.procedures import SITE, Procedure
from rts.trial.texts import Text, plain
from rts.vault.vault import Opener


@dataclass(frozen=True)
class ReadListPlans:
    """Look up the lists that the newest restricted definition plans."""

    trial: str


@dataclass(frozen=True, repr=False)
class PlannedList:
    """A list that the restricted definition plans: a subject list (`lot` empty), or the kit list of a blinded lot.

    `made_of` are the treatments with their ratio, or the kit types with their quantities.
    """

    plan_id: str
    kind: str
    prefix: str
    entries: int
    made_of: tuple[tuple[Text, int], ...]
    procedure: Procedure | None = None
    advice: tuple[Advice, ...] = ()
    strata: tuple[str, ...] = ()
    lot: str = ""
    expiry: date | None = None
    is_imported: bool = False

    def __repr__(self) -> str:
        return "<sealed>"


@dataclass(frozen=True, repr=False)
class ListPlans:
    """What is planned, subject lists first, and the definition version that says so."""

    version: int
    digest: str
    plans: tuple[PlannedList, ...]

    def __repr__(self) -> str:
        return "<sealed>"

    def plan(self, plan_id: str) -> PlannedList | None:
        """The plan named `plan_id`; None when there is none."""
        return next((plan for plan in self.plans if plan.plan_id == plan_id), None)


def read_list_plans(tx: Transaction, actor: Actor, command: ReadListPlans, opener: Opener) -> ListPlans:
    """The planned lists of a trial. Raises Refusal for anyone who may not generate lists."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LIST_GENERATE, trial)
    version = definitions.latest_version(tx, trial)
    definition = definitions.parsed(version.public_text)
    restricted = definitions.open_restricted(tx, trial, version, opener)
    labels = [definition.treatment_label(arm.treatment) for arm in restricted.arms]
    weights = [weight for _, weight in restricted.arms_in_ratio(definition)]
    strata = strata_of_list(restricted.procedure, definition.strata)
    plans = [
        PlannedList(
            plan.list_id,
            "subjects",
            plan.prefix,
            plan.length * len(strata),
            tuple(zip(labels, weights, strict=True)),
            restricted.procedure,
            tuple(advice_on(definition, restricted, plan)),
            strata,
            is_imported=bool(plan.imported),
        )
        for plan in restricted.subject_lists
    ]
    plans += [
        PlannedList(
            plan.list_id,
            "kits",
            plan.prefix,
            sum(plan.quantities.values()),
            tuple((plain(code), quantity) for code, quantity in plan.quantities.items()),
            lot=plan.blinded_lot,
            expiry=plan.expiry,
        )
        for plan in restricted.kit_lists
    ]
    tx.audit("list.plans_read", "definition", f"{trial.code}/{version.version}", trial=trial)
    return ListPlans(version.version, version.digest, tuple(plans))


@dataclass(frozen=True)
class ReadDesign:
    """Look up what a comparison of procedures is made for."""

    trial: str


@dataclass(frozen=True, repr=False)
class PlannedDesign:
    """The trial's target, ratio, strata and sites, and the procedure that its newest restricted definition plans.

    `levels` is how many levels each factor has that minimisation can weigh, the site among them.
    """

    n: int
    ratio: tuple[int, ...]
    strata: int
    sites: int
    levels: dict[str, int]
    planned: Procedure

    def __repr__(self) -> str:
        return "<sealed>"


def read_design(tx: Transaction, actor: Actor, command: ReadDesign, opener: Opener) -> PlannedDesign:
    """What is planned. Raises Refusal for anyone who may not generate lists."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LIST_GENERATE, trial)
    version = definitions.latest_version(tx, trial)
    definition = definitions.parsed(version.public_text)
    restricted = definitions.open_restricted(tx, trial, version, opener)
    tx.audit("list.design_read", "definition", f"{trial.code}/{version.version}", trial=trial)
    return PlannedDesign(
        definition.target,
        tuple(weight for _, weight in restricted.arms_in_ratio(definition)),
        len(definition.strata),
        len(definition.sites),
        {**{factor.code: len(factor.levels) for factor in definition.factors}, SITE: len(definition.sites)},
        restricted.procedure,
    )


@dataclass(frozen=True)
class ReadSpecification:
    """Look at the specification with this digest."""

    trial: str
    digest: str


@dataclass(frozen=True, repr=False)
class ReadableSpecification:
    """A specification opened: which plan, its number for it, who signed it when, and what it says."""

    plan: str
    number: int
    digest: str
    specified_at: datetime
    specified_by: str
    content: dict[str, Any]

    def __repr__(self) -> str:
        return "<sealed>"


def read_specification(
    tx: Transaction, actor: Actor, command: ReadSpecification, opener: Opener
) -> ReadableSpecification:
    """The specification. Raises Refusal for a blinded person and for one that does not exist."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.SEALED_VIEW, trial)
    found = tx.session.scalar(
        select(ListSpecification).where(
            ListSpecification.trial_id == trial.id, ListSpecification.digest == command.digest
        )
    )
    if found is None:
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    content = open_specification(tx, trial, found, opener)
    tx.audit("list.specification_read", "list_specification", found.digest, trial=trial)
    return ReadableSpecification(
        found.plan_id, found.number, found.digest, found.specified_at, found.specified_by, content
    )


@dataclass(frozen=True)
class ReviewList:
    """Look at the figures of a sealed list."""

    trial: str
    list_id: str


@dataclass(frozen=True, repr=False)
class ListReview:
    """The figures and findings of a list, and the treatment that each of its codes stands for.

    Of an imported list `file` says what was read: `name`, `sha256` (hex) and `rows`; of any other it is empty.
    """

    quality: ListQuality
    treatments: dict[str, Text]
    file: dict[str, Any]

    def __repr__(self) -> str:
        return "<sealed>"


def review_list(tx: Transaction, actor: Actor, command: ReviewList, opener: Opener) -> ListReview:
    """Open the list and judge it. Raises Refusal for a blinded person, or a file that is not as it was sealed."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.SEALED_VIEW, trial)
    found = list_named(tx, trial, command.list_id)
    version = tx.session.get_one(DefinitionVersion, found.version_id)
    restricted = definitions.open_restricted(tx, trial, version, opener)
    quality = quality_of(tx, trial, found, opener)
    file = inputs_of_list(tx, trial, found, opener).get("file", {})
    label = definitions.parsed(version.public_text).treatment_label
    treatments = {arm.code: label(arm.treatment) for arm in restricted.arms}
    treatments |= {kit_type.code: label(restricted.treatment_of(kit_type.arm)) for kit_type in restricted.kit_types}
    tx.audit("list.reviewed", "list", found.list_id, {"commitment": found.commitment}, trial=trial)
    return ListReview(quality, treatments, file)


@dataclass(frozen=True)
class ReadRestrictedPart:
    """Look at the restricted part of version `version` of the definition."""

    trial: str
    version: int


def read_restricted_part(
    tx: Transaction, actor: Actor, command: ReadRestrictedPart, opener: Opener
) -> RestrictedDefinition:
    """The restricted part. Raises Refusal for a blinded person and for a version that does not exist."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.SEALED_VIEW, trial)
    version = definitions.version_numbered(tx, trial, command.version)
    restricted = definitions.open_restricted(tx, trial, version, opener)
    tx.audit("definition.restricted_read", "definition", f"{trial.code}/{version.version}", trial=trial)
    return restricted
