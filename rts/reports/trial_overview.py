"""The trial as its office sees it: recruitment against plan, its sites with their gates, its definition's versions.

Counts are totals by site and state; no count here depends on an arm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import sqrt

from sqlalchemy import func, select

from rts.clock import local_date
from rts.conduct.site_gates import missing_gates
from rts.reports.people import printed_names
from rts.store import definitions
from rts.store.tables import CodeBreak, DefinitionInForce, DefinitionVersion, ListFile, Site, SiteGate, Subject, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import Site as SiteFacts
from rts.trial.definition import TrialDefinition
from rts.trial.versions import Difference, differences

PLAN_STEP_DAYS = 7
PLAN_MOST_DAYS = 5 * 365
# The central 90 % of a normal distribution, which a Poisson count this large is close to.
BAND_WIDTH = 1.645


@dataclass(frozen=True)
class PlannedDay:
    """What the plan expects by the end of `day`, and the band that holds nine of ten courses of such a trial."""

    day: date
    planned: float
    low: float
    high: float


def recruitment_plan(sites: Iterable[SiteFacts], target: int) -> tuple[PlannedDay, ...]:
    """The planned course of recruitment, week by week until the target is met.

    Each site recruits at its `planned_rate` (subjects a day) from its `planned_opening` on. Arrivals are taken as a
    Poisson process, so the band is the plan plus and minus 1.645 of its square roots, within zero and the target.
    Empty without sites that recruit.
    """
    recruiting = [site for site in sites if site.planned_rate > 0]
    if not recruiting:
        return ()
    day = min(site.planned_opening for site in recruiting)
    last = day + timedelta(days=PLAN_MOST_DAYS)
    course = []
    while day <= last:
        planned = sum(max(0, (day - site.planned_opening).days) * site.planned_rate for site in recruiting)
        spread = BAND_WIDTH * sqrt(planned)
        low, high = max(0.0, planned - spread), min(float(target), planned + spread)
        course.append(PlannedDay(day, min(float(target), planned), min(float(target), low), high))
        if low >= target:
            break
        day += timedelta(days=PLAN_STEP_DAYS)
    return tuple(course)


def randomised_by_day(tx: Transaction, trial: Trial) -> tuple[tuple[date, int], ...]:
    """How many subjects were randomised by the end of each day on which one was (site-local dates)."""
    statement = (
        select(Subject.randomised_on, func.count())
        .where(Subject.trial_id == trial.id)
        .group_by(Subject.randomised_on)
        .order_by(Subject.randomised_on)
    )
    course: list[tuple[date, int]] = []
    total = 0
    for day, count in tx.session.execute(statement):
        if day is not None:
            total += count
            course.append((day, total))
    return tuple(course)


@dataclass(frozen=True)
class SiteRow:
    """A site in the table of sites. `gates_passed` counts those that the newest definition asks for; `version` is the
    definition in force there today, None before the first.
    """

    code: str
    name: str
    city: str
    state: str
    planned_opening: date
    gates_passed: int
    gates: int
    screened: int
    screen_failed: int
    randomised: int
    in_treatment: int
    version: int | None

    @property
    def is_ready_to_open(self) -> bool:
        """Whether only the opening itself is still to be done."""
        return self.state == "planned" and self.gates_passed == self.gates


def site_rows(
    tx: Transaction, trial: Trial, *, only: Site | None = None, page: int = 1, size: int = 0
) -> tuple[SiteRow, ...]:
    """The sites by code: all of them, with `size` one page, or `only` one. Five queries, however many sites."""
    definition = definitions.latest(tx, trial)
    statement = select(Site).where(Site.trial_id == trial.id).order_by(Site.code)
    if only is not None:
        statement = statement.where(Site.id == only.id)
    if size:
        statement = statement.limit(size).offset((page - 1) * size)
    sites = list(tx.session.scalars(statement))
    ids = [site.id for site in sites]
    passed = dict(
        tx.session.execute(
            select(SiteGate.site_id, func.count())
            .where(SiteGate.site_id.in_(ids), SiteGate.gate.in_(definition.gates))
            .group_by(SiteGate.site_id)
        ).all()
    )
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for site_id, state, count in tx.session.execute(
        select(Subject.site_id, Subject.state, func.count())
        .where(Subject.site_id.in_(ids))
        .group_by(Subject.site_id, Subject.state)
    ):
        counts[site_id][state] = count
    randomised = dict(
        tx.session.execute(
            select(Subject.site_id, func.count())
            .where(Subject.site_id.in_(ids), Subject.randomised_at.is_not(None))
            .group_by(Subject.site_id)
        ).all()
    )
    in_force: dict[int, list[tuple[date, int]]] = defaultdict(list)
    for site_id, from_date, version in tx.session.execute(
        select(DefinitionInForce.site_id, DefinitionInForce.from_date, DefinitionVersion.version)
        .join(DefinitionVersion, DefinitionVersion.id == DefinitionInForce.version_id)
        .where(DefinitionInForce.site_id.in_(ids))
        .order_by(DefinitionInForce.from_date)
    ):
        in_force[site_id].append((from_date, version))
    rows = []
    for site in sites:
        facts = definition.site(site.code)
        today = local_date(tx.now, facts.time_zone)
        versions = [version for from_date, version in in_force[site.id] if from_date <= today]
        rows.append(
            SiteRow(
                code=site.code,
                name=facts.name,
                city=facts.city,
                state=site.state,
                planned_opening=facts.planned_opening,
                gates_passed=passed.get(site.id, 0),
                gates=len(definition.gates),
                screened=sum(counts[site.id].values()),
                screen_failed=counts[site.id].get("screen_failed", 0),
                randomised=randomised.get(site.id, 0),
                in_treatment=counts[site.id].get("randomised", 0),
                version=versions[-1] if versions else None,
            )
        )
    return tuple(rows)


def count_sites(tx: Transaction, trial: Trial) -> int:
    """How many sites the trial has."""
    return tx.session.scalar(select(func.count()).where(Site.trial_id == trial.id)) or 0


@dataclass(frozen=True)
class WaitingList:
    """An approved list that waits for its activation, as blinded people know it; `name` stands in its URL."""

    name: str
    kind: str
    prefix: str
    approved_at: datetime | None


@dataclass(frozen=True)
class Overview:
    """The trial on one page. `today` is the date at the first depot, whose zone the office's pages show."""

    definition: TrialDefinition
    version: int
    today: date
    plan: tuple[PlannedDay, ...]
    randomised: tuple[tuple[date, int], ...]
    sites: tuple[SiteRow, ...]
    subjects: dict[str, int]
    code_breaks: int
    waiting_lists: tuple[WaitingList, ...]

    @property
    def randomised_so_far(self) -> int:
        """Subjects randomised, whatever became of them."""
        return self.randomised[-1][1] if self.randomised else 0

    @property
    def planned_by_today(self) -> float:
        """What the plan expected by today, in subjects."""
        return max((point.planned for point in self.plan if point.day <= self.today), default=0.0)

    @property
    def is_below_plan(self) -> bool:
        """Whether fewer are randomised than the band of the plan allows."""
        return self.randomised_so_far < max((point.low for point in self.plan if point.day <= self.today), default=0.0)


def overview(tx: Transaction, trial: Trial) -> Overview:
    """Everything the first page of a trial shows."""
    version = definitions.latest_version(tx, trial)
    definition = definitions.parsed(version.public_text)
    subjects = dict(
        tx.session.execute(
            select(Subject.state, func.count()).where(Subject.trial_id == trial.id).group_by(Subject.state)
        ).all()
    )
    breaks = tx.session.scalar(
        select(func.count(func.distinct(CodeBreak.subject_id)))
        .join(Subject, Subject.id == CodeBreak.subject_id)
        .where(Subject.trial_id == trial.id, CodeBreak.kind == "break")
    )
    waiting = tx.session.scalars(
        select(ListFile)
        .where(ListFile.trial_id == trial.id, ListFile.state == "approved")
        .order_by(ListFile.kind.desc(), ListFile.prefix)
    )
    return Overview(
        definition=definition,
        version=version.version,
        today=local_date(tx.now, definition.depots[0].time_zone),
        plan=recruitment_plan(definition.sites, definition.target),
        randomised=randomised_by_day(tx, trial),
        sites=site_rows(tx, trial),
        subjects=subjects,
        code_breaks=breaks or 0,
        waiting_lists=tuple(WaitingList(one.commitment, one.kind, one.prefix, one.approved_at) for one in waiting),
    )


@dataclass(frozen=True)
class GateRow:
    """A gate of a site: passed with its date and document, or still to pass (`passed_on` None)."""

    gate: str
    passed_on: date | None = None
    document: str = ""
    recorded_at: datetime | None = None
    recorded_by: str = ""


@dataclass(frozen=True)
class VersionInForce:
    """A definition version and the site-local date from which it is in force there."""

    version: int
    protocol_version: str
    from_date: date


@dataclass(frozen=True)
class SitePage:
    """A site with its gates, its state and the versions in force there. `today` is its local date."""

    row: SiteRow
    facts: SiteFacts
    today: date
    gates: tuple[GateRow, ...]
    missing: tuple[str, ...]
    opened_at: datetime | None
    closed_at: datetime | None
    in_force: tuple[VersionInForce, ...]

    def gate(self, code: str) -> GateRow | None:
        """The gate named `code`; None when the definition names none."""
        return next((row for row in self.gates if row.gate == code), None)


def site_page(tx: Transaction, site: Site) -> SitePage:
    """Everything the office's page about a site shows."""
    definition = definitions.latest(tx, site.trial)
    facts = definition.site(site.code)
    recorded = {gate.gate: gate for gate in tx.session.scalars(select(SiteGate).where(SiteGate.site_id == site.id))}
    names = printed_names(tx, [gate.recorded_by for gate in recorded.values()])
    gates = [
        GateRow(
            code,
            recorded[code].passed_on,
            recorded[code].document,
            recorded[code].recorded_at,
            names[recorded[code].recorded_by],
        )
        if code in recorded
        else GateRow(code)
        for code in definition.gates
    ]
    in_force = tx.session.execute(
        select(DefinitionInForce.from_date, DefinitionVersion.version, DefinitionVersion.public_text)
        .join(DefinitionVersion, DefinitionVersion.id == DefinitionInForce.version_id)
        .where(DefinitionInForce.site_id == site.id)
        .order_by(DefinitionInForce.from_date.desc())
    )
    return SitePage(
        row=site_rows(tx, site.trial, only=site)[0],
        facts=facts,
        today=local_date(tx.now, facts.time_zone),
        gates=tuple(gates),
        missing=missing_gates(tx, site.id, definition.gates),
        opened_at=site.opened_at,
        closed_at=site.closed_at,
        in_force=tuple(
            VersionInForce(version, definitions.parsed(text).protocol_version, from_date)
            for from_date, version, text in in_force
        ),
    )


@dataclass(frozen=True)
class VersionRow:
    """A loaded version of the definition. `sites` are the codes where it is the one in force today."""

    version: int
    protocol_version: str
    digest: str
    restricted_digest: str
    loaded_at: datetime
    loaded_by: str
    sites: tuple[str, ...]


@dataclass(frozen=True)
class DefinitionPage:
    """One version of the definition, with every version there is and what this one changed."""

    row: VersionRow
    definition: TrialDefinition
    text: str
    versions: tuple[VersionRow, ...]
    compared_with: int | None
    changes: tuple[Difference, ...]


def definition_page(tx: Transaction, trial: Trial, wanted: int | None = None) -> DefinitionPage | None:
    """Version `wanted` (None: the newest) with what changed since the one before; None when there is no such one."""
    versions = list(
        tx.session.scalars(
            select(DefinitionVersion)
            .where(DefinitionVersion.trial_id == trial.id)
            .order_by(DefinitionVersion.version.desc())
        )
    )
    found = next((one for one in versions if wanted in (None, one.version)), None)
    if found is None:
        return None
    sites: dict[int | None, list[str]] = defaultdict(list)
    for row in site_rows(tx, trial):
        sites[row.version].append(row.code)
    names = printed_names(tx, [one.loaded_by for one in versions])
    rows = {
        one.version: VersionRow(
            one.version,
            definitions.parsed(one.public_text).protocol_version,
            one.digest,
            one.restricted_digest,
            one.loaded_at,
            names[one.loaded_by],
            tuple(sites[one.version]),
        )
        for one in versions
    }
    definition = definitions.parsed(found.public_text)
    before = next((one for one in versions if one.version == found.version - 1), None)
    changes = differences(definitions.parsed(before.public_text), definition) if before else []
    return DefinitionPage(
        row=rows[found.version],
        definition=definition,
        text=found.public_text,
        versions=tuple(rows.values()),
        compared_with=before.version if before else None,
        changes=tuple(changes),
    )
