"""The trial as its office sees it: recruitment against plan, its sites with their gates, its definition's versions.

Counts are totals by site and state; no count here depends on an arm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import sqrt

from sqlalchemy import func, select

from rts.clock import local_date
from rts.conduct.site_gates import missing_gates
from rts.refusal import Message
from rts.reports.people import Name, printed_names
from rts.store import definitions
from rts.store.tables import CodeBreak, DefinitionInForce, DefinitionVersion, ListFile, Site, SiteGate, Subject, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import Site as SiteFacts
from rts.trial.definition import TrialDefinition
from rts.trial.texts import Text
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
class InForce:
    """A version that stands at a site from its local date `from_date` on; `state` is `past`, `in_force`, `planned`, or
    `withdrawn` for a plan that was taken back before its date.

    `protocol_version` is what the version calls its protocol. A plan taken back has `ended_at`, `ended_by` and
    `end_reason`.
    """

    version: int
    protocol_version: str
    from_date: date
    state: str
    document: str
    recorded_at: datetime
    recorded_by: Name
    ended_at: datetime | None = None
    ended_by: Name = ""
    end_reason: str = ""


def in_force_at(tx: Transaction, sites: Sequence[Site]) -> dict[int, list[InForce]]:
    """What was ever put in force at each of `sites`, by its row id: by date, plans taken back among them where their
    date stood.
    """
    statement = (
        select(DefinitionInForce)
        .where(DefinitionInForce.site_id.in_([site.id for site in sites]))
        .order_by(DefinitionInForce.from_date, DefinitionInForce.id)
    )
    rows = tx.session.scalars(statement).all()
    names = {"": "", **printed_names(tx, [name for row in rows for name in (row.recorded_by, row.ended_by)])}
    current = {site.id: version.id for site, version in definitions.versions_in_force(tx, sites).items()}
    versions = {row.version_id: row.version for row in rows}
    found: dict[int, list[InForce]] = {site.id: [] for site in sites}
    for site in sites:
        is_past = site.id in current
        for row in (row for row in rows if row.site_id == site.id):
            if row.ended_at is not None:
                state = "withdrawn"
            elif row.version_id == current.get(site.id):
                state, is_past = "in_force", False
            else:
                state = "past" if is_past else "planned"
            found[site.id].append(
                InForce(
                    versions[row.version_id].version,
                    definitions.parsed(versions[row.version_id].public_text).protocol_version,
                    row.from_date,
                    state,
                    row.document,
                    row.recorded_at,
                    names[row.recorded_by],
                    row.ended_at,
                    names[row.ended_by or ""],
                    row.end_reason or "",
                )
            )
    return found


@dataclass(frozen=True)
class SiteRow:
    """A site in the table of sites. `gates_passed` counts those that the definition in force there asks for; `versions`
    are those that stand there, by date. Where none is in force yet, the newest loaded tells the facts.
    """

    code: str
    title: Text
    city: Text
    state: str
    planned_opening: date
    gates_passed: int
    gates: int
    screened: int
    screen_failed: int
    randomised: int
    in_treatment: int
    versions: tuple[InForce, ...]

    @property
    def in_force(self) -> InForce | None:
        """The version in force there now."""
        return next((one for one in self.versions if one.state == "in_force"), None)

    @property
    def planned(self) -> tuple[InForce, ...]:
        """The versions still to come into force there, by date."""
        return tuple(one for one in self.versions if one.state == "planned")

    @property
    def newest(self) -> int:
        """The newest version that is in force or planned there; 0 when there is none."""
        return max((one.version for one in self.versions), default=0)

    @property
    def is_ready_to_open(self) -> bool:
        """Whether only the opening itself is still to be done."""
        return self.state == "planned" and self.in_force is not None and self.gates_passed == self.gates


def site_rows(
    tx: Transaction, trial: Trial, *, only: Site | None = None, page: int = 1, size: int = 0
) -> tuple[SiteRow, ...]:
    """The sites by code: all of them, with `size` one page, or `only` one. A fixed number of queries, however many."""
    statement = select(Site).where(Site.trial_id == trial.id).order_by(Site.code)
    if only is not None:
        statement = statement.where(Site.id == only.id)
    if size:
        statement = statement.limit(size).offset((page - 1) * size)
    sites = list(tx.session.scalars(statement))
    ids = [site.id for site in sites]
    passed: dict[int, set[str]] = defaultdict(set)
    for site_id, gate in tx.session.execute(select(SiteGate.site_id, SiteGate.gate).where(SiteGate.site_id.in_(ids))):
        passed[site_id].add(gate)
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
    at_sites = definitions.at_sites(tx, trial, sites)
    in_force = in_force_at(tx, sites)
    rows = []
    for site in sites:
        definition = at_sites[site.code]
        facts = definition.site(site.code)
        rows.append(
            SiteRow(
                code=site.code,
                title=facts.title,
                city=facts.city,
                state=site.state,
                planned_opening=facts.planned_opening,
                gates_passed=len(passed[site.id].intersection(definition.gates)),
                gates=len(definition.gates),
                screened=sum(counts[site.id].values()),
                screen_failed=counts[site.id].get("screen_failed", 0),
                randomised=randomised.get(site.id, 0),
                in_treatment=counts[site.id].get("randomised", 0),
                versions=tuple(one for one in in_force[site.id] if one.state != "withdrawn"),
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
    """The trial on one page, as the newest definition in force at a site plans it. `newest` is the newest version
    loaded, which may be in force nowhere yet; `today` the date at the first depot, whose zone the office's pages show.
    """

    definition: TrialDefinition
    newest: int
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
    definition = definitions.of_trial(tx, trial)
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
        newest=definitions.latest_version(tx, trial).version,
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
    name: Text | Message
    passed_on: date | None = None
    document: str = ""
    recorded_at: datetime | None = None
    recorded_by: Name = ""


@dataclass(frozen=True)
class SitePage:
    """A site with its gates, its state and what was ever put in force there, the latest date first. `today` is its
    local date; `later` are the loaded versions, newest first, that could be put in force there next.
    """

    row: SiteRow
    facts: SiteFacts
    today: date
    gates: tuple[GateRow, ...]
    missing: tuple[str, ...]
    opened_at: datetime | None
    closed_at: datetime | None
    in_force: tuple[InForce, ...]
    later: tuple[int, ...]

    def gate(self, code: str) -> GateRow | None:
        """The gate named `code`; None when the definition names none."""
        return next((row for row in self.gates if row.gate == code), None)

    def plan(self, version: int) -> InForce | None:
        """The plan to put `version` in force here; None when there is none."""
        return next((one for one in self.row.planned if one.version == version), None)

    def changed(self, version: str) -> InForce | None:
        """What became of the plan for `version`: the one that stands, or the one withdrawn last; None without any."""
        mine = [one for one in self.in_force if str(one.version) == version]
        standing = [one for one in mine if one.ended_at is None]
        ended = sorted((one for one in mine if one.ended_at), key=lambda one: one.ended_at or one.recorded_at)
        return next(iter([*standing, *reversed(ended)]), None)


def site_page(tx: Transaction, site: Site) -> SitePage:
    """Everything the office's page about a site shows."""
    definition = definitions.at_sites(tx, site.trial, [site])[site.code]
    facts = definition.site(site.code)
    recorded = {gate.gate: gate for gate in tx.session.scalars(select(SiteGate).where(SiteGate.site_id == site.id))}
    names = printed_names(tx, [gate.recorded_by for gate in recorded.values()])
    gates = [
        GateRow(
            code,
            definition.gate_name(code),
            recorded[code].passed_on,
            recorded[code].document,
            recorded[code].recorded_at,
            names[recorded[code].recorded_by],
        )
        if code in recorded
        else GateRow(code, definition.gate_name(code))
        for code in definition.gates
    ]
    row = site_rows(tx, site.trial, only=site)[0]
    later = tx.session.scalars(
        select(DefinitionVersion)
        .where(DefinitionVersion.trial_id == site.trial_id, DefinitionVersion.version > row.newest)
        .order_by(DefinitionVersion.version.desc())
    )
    return SitePage(
        row=row,
        facts=facts,
        today=local_date(tx.now, facts.time_zone),
        gates=tuple(gates),
        missing=missing_gates(tx, site.id, definition.gates),
        opened_at=site.opened_at,
        closed_at=site.closed_at,
        in_force=tuple(reversed(in_force_at(tx, [site])[site.id])),
        later=tuple(
            one.version
            for one in later
            if any(named.code == site.code for named in definitions.parsed(one.public_text).sites)
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
    loaded_by: Name
    sites: tuple[str, ...]


@dataclass(frozen=True)
class DefinitionPage:
    """One version of the definition, with every version there is, what this one changed, and where each is in force."""

    row: VersionRow
    definition: TrialDefinition
    text: str
    versions: tuple[VersionRow, ...]
    compared_with: int | None
    changes: tuple[Difference, ...]
    sites: tuple[SiteRow, ...]

    @property
    def waiting(self) -> tuple[SiteRow, ...]:
        """The sites where this version can be put in force: those it names, with no version as new or newer."""
        named = {site.code for site in self.definition.sites}
        return tuple(site for site in self.sites if site.code in named and site.newest < self.row.version)

    def put_at(self, codes: Collection[str]) -> tuple[tuple[str, InForce], ...]:
        """How this version stands at those of the sites `codes` where it does: site code, and what was recorded."""
        return tuple(
            (site.code, one)
            for site in self.sites
            for one in site.versions
            if site.code in codes and one.version == self.row.version
        )


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
    site_table = site_rows(tx, trial)
    for row in site_table:
        sites[row.in_force.version if row.in_force else None].append(row.code)
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
        sites=site_table,
    )
