"""The audit trail as people read it: filtered, newest first, and with nothing of what is sealed.

What a reader sees of an event does not tell whether its detail is sealed: an event whose kind can be sealed shows no
detail to anybody, and a sealed one is opened by a deed of its own (rts.conduct.reading_sealed). So content, order and
number of the rows are the same whatever the sealed details hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, func, or_, select

from rts.clock import utc_text
from rts.refusal import refuse, say
from rts.reports.people import Name, printed_names
from rts.store import definitions
from rts.store.audit import chain_of, first_hash
from rts.store.audit_verification import SEALED_ACTIONS
from rts.store.tables import (
    AuditCheckpoint,
    AuditDetail,
    AuditEvent,
    AuditMention,
    ListFile,
    Person,
    Site,
    Trial,
)
from rts.store.transaction import Transaction
from rts.trial.definition import TrialDefinition

# A list is named by its commitment: list ids are for unblinded eyes. Events of earlier versions name it by its id, in
# these fields.
LIST_OBJECTS = frozenset({"list", "list_id"})
LIST_NAMES = frozenset({"list", "list_id", "plan"})
SHOWN_OF_COMMITMENT = 12

EXPORT_BATCH = 1000


@dataclass(frozen=True)
class Wanted:
    """Which events are wanted; an empty field wants all. The days are local to the trial's zone, both included.

    `actor` is a user name or part of a printed name; `subject`, `kit` and `shipment` also find events that only
    mention them.
    """

    subject: str = ""
    kit: str = ""
    shipment: str = ""
    site: str = ""
    actor: str = ""
    action: str = ""
    since: date | None = None
    until: date | None = None
    object_type: str = ""
    object_id: str = ""


@dataclass(frozen=True)
class EventRow:
    """An event as everyone may see it. `at` is UTC; `detail` is None when nothing more is shown."""

    number: int
    at: datetime
    actor: str
    printed_name: Name
    role: str
    organisation: str
    action: str
    object_type: str
    object_id: str
    site: str
    detail: dict[str, Any] | None
    detail_digest: str
    hash: str
    definition: int | None
    software: str


@dataclass(frozen=True)
class TrailPage:
    """The events of one page, newest first; `before` is the number to go on below, None on the last page."""

    rows: tuple[EventRow, ...]
    before: int | None
    count: int
    zone: str


@dataclass(frozen=True)
class EventPage:
    """One event with its place in the chain: after the event with hash `previous_hash`, one of `count`. `definition`
    is that of the trial; None for the installation.
    """

    row: EventRow
    chain_id: str
    previous_hash: str
    count: int
    zone: str
    definition: TrialDefinition | None


@dataclass(frozen=True)
class CheckpointRow:
    """A signed checkpoint: when it was made, how many events it covers, and its text as it was sent."""

    made_at: datetime
    count: int
    text: str


def zone_of(tx: Transaction, trial: Trial | None) -> str:
    """The zone in which a trail's times are shown: the trial's first depot's, or UTC for the installation's."""
    return "UTC" if trial is None else definitions.of_trial(tx, trial).depots[0].time_zone


def trail(
    tx: Transaction, trial: Trial | None, wanted: Wanted, *, before: int | None = None, limit: int = 50
) -> TrailPage:
    """The wanted events of the trial's chain (None: the installation's) below number `before`, newest first."""
    chain = chain_of(tx, trial)
    zone = zone_of(tx, trial)
    conditions = [AuditEvent.chain_id == chain.id, *_conditions(tx, trial, wanted, zone)]
    if before is not None:
        conditions.append(AuditEvent.number < before)
    found = tx.session.execute(
        select(AuditEvent, AuditDetail)
        .outerjoin(AuditDetail, AuditDetail.event_id == AuditEvent.id)
        .where(*conditions)
        .order_by(AuditEvent.number.desc())
        .limit(limit + 1)
    ).all()
    rows = _rows(tx, trial, [(event, detail) for event, detail in found[:limit]])
    return TrailPage(rows, rows[-1].number if len(found) > limit else None, chain.count, zone)


def whole_trail(tx: Transaction, trial: Trial | None, wanted: Wanted) -> Iterator[EventRow]:
    """Every wanted event, newest first, read in batches so that a long trail fits in memory."""
    before: int | None = None
    while True:
        page = trail(tx, trial, wanted, before=before, limit=EXPORT_BATCH)
        yield from page.rows
        before = page.before
        if before is None:
            return


def event_page(tx: Transaction, trial: Trial | None, number: int) -> EventPage:
    """The event `number` of a chain. Raises Refusal `not_found`."""
    chain = chain_of(tx, trial)
    found = tx.session.execute(
        select(AuditEvent, AuditDetail)
        .outerjoin(AuditDetail, AuditDetail.event_id == AuditEvent.id)
        .where(AuditEvent.chain_id == chain.id, AuditEvent.number == number)
    ).first()
    if found is None:
        raise refuse("not_found", "event.unknown", say("There is nothing here with that name."))
    previous = tx.session.scalar(
        select(AuditEvent.hash).where(AuditEvent.chain_id == chain.id, AuditEvent.number == number - 1)
    )
    return EventPage(
        _rows(tx, trial, [(found[0], found[1])])[0],
        chain.chain_id,
        previous or first_hash(bytes.fromhex(chain.chain_id)).hex(),
        chain.count,
        zone_of(tx, trial),
        definitions.of_trial(tx, trial) if trial is not None else None,
    )


def checkpoints(tx: Transaction, trial: Trial | None, limit: int = 10) -> list[CheckpointRow]:
    """The latest checkpoints of a chain."""
    statement = (
        select(AuditCheckpoint)
        .where(AuditCheckpoint.chain_id == chain_of(tx, trial).id)
        .order_by(AuditCheckpoint.id.desc())
        .limit(limit)
    )
    return [CheckpointRow(row.made_at, row.count, row.text) for row in tx.session.scalars(statement)]


def detail_shown(action: str, detail: AuditDetail | None) -> dict[str, Any] | None:
    """What is shown of a detail: nothing for the kinds that can be sealed, sealed or not, nor for one removed."""
    if action in SEALED_ACTIONS or detail is None or detail.detail is None:
        return None
    facts = {name: value for name, value in json.loads(detail.detail).items() if name not in LIST_NAMES}
    return facts or None


def _conditions(tx: Transaction, trial: Trial | None, wanted: Wanted, zone: str) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for kind, code in (("subject", wanted.subject), ("kit", wanted.kit), ("shipment", wanted.shipment)):
        if code:
            mentions = select(AuditMention.event_id).where(AuditMention.kind == kind, AuditMention.code == code.upper())
            conditions.append(AuditEvent.id.in_(mentions))
    if wanted.site:
        site = tx.session.scalar(
            select(Site.id).where(Site.trial_id == (trial.id if trial else None), Site.code == wanted.site.upper())
        )
        conditions.append(AuditEvent.site_id == (site if site is not None else -1))
    if wanted.actor:
        named = select(Person.username).where(
            func.lower(Person.printed_name).contains(wanted.actor.lower(), autoescape=True)
        )
        conditions.append(or_(AuditEvent.actor == wanted.actor.lower(), AuditEvent.actor.in_(named)))
    if wanted.action:
        conditions.append(AuditEvent.action == wanted.action)
    if wanted.since is not None:
        conditions.append(AuditEvent.at >= utc_text(datetime.combine(wanted.since, time(), ZoneInfo(zone))))
    if wanted.until is not None:
        after = datetime.combine(wanted.until + timedelta(days=1), time(), ZoneInfo(zone))
        conditions.append(AuditEvent.at < utc_text(after))
    if wanted.object_type:
        conditions.append(and_(AuditEvent.object_type == wanted.object_type, AuditEvent.object_id == wanted.object_id))
    return conditions


def _rows(
    tx: Transaction, trial: Trial | None, found: Iterable[tuple[AuditEvent, AuditDetail | None]]
) -> tuple[EventRow, ...]:
    pairs = list(found)
    named = {event.object_id for event, _ in pairs if event.object_type in LIST_OBJECTS}
    listed = select(ListFile).where(
        ListFile.trial_id == (trial.id if trial else None),
        or_(ListFile.list_id.in_(named), ListFile.commitment.in_(named)),
    )
    lists = {
        name: found.commitment[:SHOWN_OF_COMMITMENT]
        for found in tx.session.scalars(listed)
        for name in (found.list_id, found.commitment)
    }
    names = printed_names(tx, {event.actor for event, _ in pairs})
    site_ids = {event.site_id for event, _ in pairs if event.site_id is not None}
    site_rows = tx.session.execute(select(Site.id, Site.code).where(Site.id.in_(site_ids))).all()
    sites: dict[int, str] = {row.id: row.code for row in site_rows}
    return tuple(
        EventRow(
            event.number,
            datetime.strptime(event.at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC),
            event.actor,
            names[event.actor],
            event.role,
            event.organisation,
            event.action,
            event.object_type,
            lists.get(event.object_id, "–") if event.object_type in LIST_OBJECTS else event.object_id,
            sites.get(event.site_id, "") if event.site_id is not None else "",
            detail_shown(event.action, detail),
            event.detail_digest,
            event.hash,
            event.definition,
            event.software,
        )
        for event, detail in pairs
    )
