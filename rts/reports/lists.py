"""Lists as the office sees them: what stands, who signed what, and what comes next.

A list is named by its id to the unblinded only. Blinded people (the trial manager who activates) know it by kind,
prefix and commitment, which are published, and never by the plan or id that the restricted definition gave it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select

from rts.access.actor import Actor
from rts.access.permissions import Permission
from rts.conduct.list_recipients import ListRecipient, recipients_of
from rts.conduct.lists import MEANINGS, read_file
from rts.conduct.recipients import people_with
from rts.conduct.releasing_lists import release_of
from rts.refusal import FailedRule, Refusal
from rts.reports.people import Name, printed_names
from rts.store.audit import chain_of
from rts.store.tables import (
    AuditDetail,
    AuditEvent,
    AuditMention,
    ListFile,
    ListRelease,
    ListSpecification,
    SeedShare,
    Signature,
    Trial,
)
from rts.store.transaction import Transaction

NEXT_DEED = {"generated": ("approve", Permission.LIST_APPROVE), "approved": ("activate", Permission.LIST_ACTIVATE)}


@dataclass(frozen=True)
class ListRow:
    """A recorded list. `name` stands in URLs; `list_id` and `plan_id` are empty for blinded readers."""

    name: str
    list_id: str
    plan_id: str
    kind: str
    prefix: str
    entries: int
    state: str
    times_generated: int
    generated_at: datetime
    generated_by: Name


def _row(found: ListFile, names: dict[str, Name], *, unblinded: bool) -> ListRow:
    return ListRow(
        name=found.list_id if unblinded else found.commitment,
        list_id=found.list_id if unblinded else "",
        plan_id=found.plan_id if unblinded else "",
        kind=found.kind,
        prefix=found.prefix,
        entries=found.entries,
        state=found.state,
        times_generated=found.times_generated,
        generated_at=found.generated_at,
        generated_by=names[found.generated_by],
    )


def lists_of(tx: Transaction, trial: Trial, *, unblinded: bool) -> tuple[ListRow, ...]:
    """Every list of the trial, subject lists first, then by prefix; of one prefix the latest first."""
    statement = (
        select(ListFile)
        .where(ListFile.trial_id == trial.id)
        .order_by(ListFile.kind.desc(), ListFile.prefix, ListFile.generated_at.desc())
    )
    found = list(tx.session.scalars(statement))
    names = printed_names(tx, [one.generated_by for one in found])
    return tuple(_row(one, names, unblinded=unblinded) for one in found)


def times_generated(tx: Transaction, trial: Trial, plan_id: str) -> int:
    """How often a list was generated for this plan, withdrawn ones counted."""
    statement = select(func.count()).where(ListFile.trial_id == trial.id, ListFile.plan_id == plan_id)
    return tx.session.scalar(statement) or 0


@dataclass(frozen=True)
class ListEvent:
    """What happened to a list: `deed` is generate, approve, activate or withdraw; a signed one has its meaning."""

    deed: str
    at: datetime
    by: Name
    meaning: str = ""
    reason: str = ""


@dataclass(frozen=True)
class SpecificationRow:
    """A signed specification, without what it says."""

    plan_id: str
    number: int
    digest: str
    specified_at: datetime
    specified_by: Name
    shares: tuple[SeedShareRow, ...]


@dataclass(frozen=True)
class SeedShareRow:
    """How far one person's share of a joint seed is."""

    username: str
    printed_name: str
    commitment: str
    is_revealed: bool


def newest_specifications(tx: Transaction, trial: Trial) -> dict[str, SpecificationRow]:
    """The newest specification of each plan, by plan. For unblinded eyes: plans have ids."""
    statement = select(ListSpecification).where(ListSpecification.trial_id == trial.id).order_by(ListSpecification.id)
    found = {one.plan_id: one for one in tx.session.scalars(statement)}
    names = printed_names(tx, [one.specified_by for one in found.values()])
    shares = tx.session.scalars(
        select(SeedShare)
        .where(SeedShare.specification_id.in_([one.id for one in found.values()]))
        .order_by(SeedShare.id)
    ).all()
    return {
        plan: SpecificationRow(
            plan,
            one.number,
            one.digest,
            one.specified_at,
            names[one.specified_by],
            tuple(
                SeedShareRow(
                    share.person.username, share.person.printed_name, share.commitment, share.revealed_at is not None
                )
                for share in shares
                if share.specification_id == one.id
            ),
        )
        for plan, one in found.items()
    }


@dataclass(frozen=True)
class ReleaseRow:
    """The release of a list: asked for, and perhaps confirmed."""

    document: str
    asked_at: datetime
    asked_by: Name
    confirmed_at: datetime | None
    confirmed_by: Name


@dataclass(frozen=True)
class NextDeed:
    """The deed that would take a list on: who could do it, and whether the reader may.

    `why_not` is `same_person` (the reader did an earlier step), `role`, or empty.
    """

    deed: str
    people: tuple[str, ...]
    why_not: str


@dataclass(frozen=True)
class ListPage:
    """A list with its manifest's public facts, its history, and what comes next. `fault` says what is wrong with the
    sealed file or, for the unblinded, with its keys file. `recipients` can open it offline; for unblinded eyes.
    """

    row: ListRow
    purpose: str
    commitment: str
    file_digest: str
    scheme: str
    definition_version: int
    definition_digest: str
    software_version: str
    strata: tuple[tuple[str, int], ...]
    fault: tuple[FailedRule, ...]
    history: tuple[ListEvent, ...]
    next_deed: NextDeed | None
    may_be_withdrawn: bool
    may_be_closed: bool
    may_be_asked_for: bool
    may_be_released: bool
    may_be_revealed: bool
    release: ReleaseRow | None
    specification: str
    recipients: tuple[ListRecipient, ...]

    def event(self, deed: str) -> ListEvent | None:
        """The event of `deed`; None when it has not happened."""
        return next((event for event in self.history if event.deed == deed), None)


def list_page(tx: Transaction, trial: Trial, found: ListFile, reader: Actor) -> ListPage:
    """Everything a page about one list shows to `reader`."""
    unblinded = reader.is_unblinded(trial)
    names = printed_names(tx, [found.generated_by])
    is_subjects, is_ended = found.kind == "subjects", _is_ended(tx, trial, found)
    release = release_of(tx, found)
    specification = tx.session.get_one(ListSpecification, found.specification_id) if found.specification_id else None
    fault: tuple[FailedRule, ...] = ()
    scheme, version, digest, software = "", 0, "", ""
    strata: tuple[tuple[str, int], ...] = ()
    try:
        manifest = read_file(tx, trial, found).manifest
    except Refusal as refusal:
        fault = refusal.failed
    else:
        scheme, version, digest = manifest.scheme, manifest.definition_version, manifest.definition_digest
        software, strata = manifest.software_version, manifest.strata
    recipients: tuple[ListRecipient, ...] = ()
    if unblinded:
        try:
            recipients = tuple(recipients_of(tx, trial, found))
        except Refusal as refusal:
            fault += refusal.failed
    return ListPage(
        row=_row(found, names, unblinded=unblinded),
        purpose=found.purpose,
        commitment=found.commitment,
        file_digest=found.file_digest,
        scheme=scheme,
        definition_version=version,
        definition_digest=digest,
        software_version=software,
        strata=strata,
        fault=fault,
        history=history_of(tx, trial, found),
        next_deed=_next_deed(tx, trial, found, reader),
        may_be_withdrawn=found.state in NEXT_DEED and reader.may(Permission.LIST_GENERATE, trial),
        may_be_closed=is_subjects and found.state == "active" and reader.may(Permission.LIST_ACTIVATE, trial),
        may_be_asked_for=is_ended and release is None and reader.may(Permission.SEALED_VIEW, trial),
        may_be_released=release is not None
        and release.confirmed_at is None
        and reader.may(Permission.LIST_ACTIVATE, trial)
        and release.asked_by != reader.name,
        may_be_revealed=release is not None
        and release.confirmed_at is not None
        and reader.may(Permission.SEALED_VIEW, trial),
        release=_release_row(tx, release),
        specification=specification.digest if specification else "",
        recipients=recipients,
    )


def _is_ended(tx: Transaction, trial: Trial, found: ListFile) -> bool:
    """Whether nobody is randomised any more, as far as this list could tell: only then may it be released."""
    if found.state != ("closed" if found.kind == "subjects" else "active"):
        return False
    in_use = select(ListFile.id).where(
        ListFile.trial_id == trial.id, ListFile.kind == "subjects", ListFile.state == "active"
    )
    return tx.session.scalar(in_use.limit(1)) is None


def _release_row(tx: Transaction, release: ListRelease | None) -> ReleaseRow | None:
    if release is None:
        return None
    people = [name for name in (release.asked_by, release.confirmed_by) if name]
    names = printed_names(tx, people)
    confirmed_by = names[release.confirmed_by] if release.confirmed_by else ""
    return ReleaseRow(release.document, release.asked_at, names[release.asked_by], release.confirmed_at, confirmed_by)


def history_of(tx: Transaction, trial: Trial, found: ListFile) -> tuple[ListEvent, ...]:
    """What happened to a list, signed deeds first, each kind in the order in which it did."""
    deeds = {meaning: deed for deed, meaning in MEANINGS.items()}
    signatures = select(Signature).where(
        Signature.object_type == "list", Signature.object_id == found.list_id, Signature.trial_id == trial.id
    )
    events = [
        ListEvent(deeds[signature.meaning], signature.signed_at, signature.printed_name, signature.meaning)
        for signature in tx.session.scalars(signatures.order_by(Signature.id))
    ]
    if found.state == "withdrawn":
        names = (found.commitment, found.list_id)  # the id in events of earlier versions
        withdrawn = (
            select(AuditEvent, AuditDetail.detail)
            .join(AuditMention, AuditMention.event_id == AuditEvent.id)
            .join(AuditDetail, AuditDetail.event_id == AuditEvent.id)
            .where(
                AuditEvent.chain_id == chain_of(tx, trial).id,
                AuditMention.kind == "list",
                AuditMention.code.in_(names),
                AuditEvent.object_id.in_(names),
                AuditEvent.action == "list.withdrawn",
            )
        )
        for event, detail in tx.session.execute(withdrawn):
            at = datetime.strptime(event.at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
            by = printed_names(tx, [event.actor])[event.actor]
            events.append(ListEvent("withdraw", at, by, reason=json.loads(str(detail))["reason"]))
    return tuple(events)


def _next_deed(tx: Transaction, trial: Trial, found: ListFile, reader: Actor) -> NextDeed | None:
    if found.state not in NEXT_DEED:
        return None
    deed, permission = NEXT_DEED[found.state]
    did_before = {found.generated_by, found.approved_by}
    people = tuple(
        person.printed_name for person in people_with(tx, trial, permission) if person.username not in did_before
    )
    why_not = "same_person" if reader.name in did_before else "" if reader.may(permission, trial) else "role"
    return NextDeed(deed, people, why_not)
