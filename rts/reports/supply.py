"""Supply as its managers see it: stock and days of cover by site, shipments, lots, quarantine.

Everything is counted by blinding group as a whole: a count by kit type, or an order of rows that follows types, would
tell arms.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, String, case, func, literal, select

from rts.clock import local_date
from rts.conduct.places import places_of
from rts.conduct.resupplying import supplied_sites
from rts.conduct.visits import reached_visits, schedule_of
from rts.reports.depot import is_overdue, lot_rows
from rts.reports.people import Name, printed_names
from rts.reports.trial_overview import PlannedDay, randomised_by_day, recruitment_plan
from rts.store import definitions
from rts.store.tables import BlindedLot, Kit, KitMove, Shipment, Site, Subject, Trial
from rts.store.transaction import Transaction
from rts.supply.expiry import may_be_dispensed
from rts.supply.kits import KitState
from rts.supply.windows import SubjectSchedule, demands_of
from rts.trial.definition import TrialDefinition
from rts.trial.texts import Text

COVER_DAYS = 120
IN_MOTION = ("requested", "picked", "in_transit")


@dataclass(frozen=True)
class SiteStock:
    """A site's kits, all types together: usable now, on their way, in quarantine; and how long the usable ones last.

    `due` are the kits that scheduled visits need in the next 28 days. `days_of_cover` counts the days until scheduled
    visits have used all usable kits, None when they outlast `COVER_DAYS`; new subjects are not foreseen, and the kits
    are taken as one kind, so that the true time can be shorter.
    """

    code: str
    title: Text
    state: str
    usable: int
    coming: int
    quarantined: int
    due: int
    days_of_cover: int | None

    @property
    def is_short(self) -> bool:
        """Whether the visits of the next 28 days need more than is usable."""
        return self.due > self.usable


def site_stocks(tx: Transaction, trial: Trial, *, page: int = 1, size: int = 50) -> tuple[SiteStock, ...]:
    """Stock by site, those that were ever opened, by code. A fixed number of queries, however many sites."""
    statement = (
        select(Site)
        .where(Site.trial_id == trial.id, Site.state != "planned")
        .order_by(Site.code)
        .limit(size)
        .offset((page - 1) * size)
    )
    sites = list(tx.session.scalars(statement))
    ids = [site.id for site in sites]
    shelf: dict[int, list[tuple[date, int]]] = defaultdict(list)
    quarantined: dict[int, int] = defaultdict(int)
    for site_id, state, expiry, count in tx.session.execute(
        select(Kit.site_id, Kit.state, BlindedLot.expiry, func.count())
        .join(BlindedLot, BlindedLot.id == Kit.blinded_lot_id)
        .where(Kit.site_id.in_(ids), Kit.state.in_([KitState.AVAILABLE, KitState.QUARANTINED]))
        .group_by(Kit.site_id, Kit.state, BlindedLot.expiry)
    ):
        if site_id is None:
            continue
        if state == KitState.QUARANTINED:
            quarantined[site_id] += count
        else:
            shelf[site_id].append((expiry, count))
    coming: dict[int, int] = dict(
        tx.session.execute(
            select(Shipment.site_id, func.count(Kit.id))
            .join(Kit, Kit.shipment_id == Shipment.id)
            .where(Shipment.site_id.in_(ids), Shipment.state.in_(IN_MOTION))
            .group_by(Shipment.site_id)
        ).all()
    )
    at_sites = definitions.at_sites(tx, trial, sites)
    demand = _demand(tx, {site.id: at_sites[site.code] for site in sites})
    stocks = []
    for site in sites:
        definition = at_sites[site.code]
        today = local_date(tx.now, definition.site(site.code).time_zone)
        usable = sum(
            count for expiry, count in shelf[site.id] if may_be_dispensed(today, expiry, definition.expiry.dnd)
        )
        stocks.append(
            SiteStock(
                code=site.code,
                title=definition.site(site.code).title,
                state=site.state,
                usable=usable,
                coming=coming.get(site.id, 0),
                quarantined=quarantined[site.id],
                due=sum(quantity for due, quantity in demand[site.id] if due <= today + timedelta(days=28)),
                days_of_cover=days_of_cover(usable, demand[site.id], today),
            )
        )
    return tuple(stocks)


def days_of_cover(usable: int, demand: list[tuple[date, int]], today: date) -> int | None:
    """Days from `today` until `usable` kits no longer meet `demand` (due date, kits); None beyond `COVER_DAYS`.

    Overdue demand counts for today.
    """
    left = usable
    for due, quantity in sorted(demand):
        left -= quantity
        if left < 0:
            days = max(0, (due - today).days)
            return days if days <= COVER_DAYS else None
    return None


def _demand(tx: Transaction, at_sites: dict[int, TrialDefinition]) -> dict[int, list[tuple[date, int]]]:
    """What scheduled visits of subjects in treatment will need, by site: due dates and kits of all groups, as the
    definition at each site says.
    """
    in_treatment = select(Subject.id).where(Subject.site_id.in_(at_sites), Subject.state == "randomised")
    reached = reached_visits(tx, in_treatment)
    demand: dict[int, list[tuple[date, int]]] = defaultdict(list)
    for subject_id, site_id, randomised_on, dose_level in tx.session.execute(
        select(Subject.id, Subject.site_id, Subject.randomised_on, Subject.dose_level).where(
            Subject.id.in_(in_treatment)
        )
    ):
        if randomised_on is None:
            continue
        definition = at_sites[site_id]
        visits, closed = schedule_of(tx, definition, reached[subject_id])
        schedule = SubjectSchedule(randomised_on, dose_level, closed)
        for group in definition.kit_groups:
            demand[site_id] += [
                (one.due, one.quantity) for one in demands_of(schedule, visits, group, definition.expiry)
            ]
    return demand


def count_supplied_sites(tx: Transaction, trial: Trial) -> int:
    """How many sites `site_stocks` lists on all its pages."""
    return tx.session.scalar(select(func.count()).where(Site.trial_id == trial.id, Site.state != "planned")) or 0


@dataclass(frozen=True)
class OverdueShipment:
    """A shipment in transit past its expected day."""

    number: str
    site: Text
    expected_on: date


@dataclass(frozen=True)
class UnsuppliedSite:
    """A site whose order its depot cannot fill since the night of `since` (the depot's date)."""

    site: Text
    depot: str
    since: date


@dataclass(frozen=True)
class SupplyOverview:
    """The supply of a trial on one page. `today` is the date at the first depot.

    `shelf_by_day` is the number of available kits at all sites at the end of each day on which it changed.
    """

    definition: TrialDefinition
    today: date
    in_depots: int
    at_sites: int
    on_the_way: int
    quarantined: int
    in_motion: int
    overdue: tuple[OverdueShipment, ...]
    unsupplied: tuple[UnsuppliedSite, ...]
    unreleased_lots: tuple[str, ...]
    shelf_by_day: tuple[tuple[date, int], ...]
    expiries: tuple[tuple[date, tuple[int, int]], ...]
    plan: tuple[PlannedDay, ...]
    randomised: tuple[tuple[date, int], ...]


def overview(tx: Transaction, trial: Trial) -> SupplyOverview:
    """Everything the first page of supply shows, but for the table of sites."""
    definition = definitions.of_trial(tx, trial)
    zone = definition.depots[0].time_zone
    counts: dict[str, int] = dict(
        tx.session.execute(select(Kit.state, func.count()).where(Kit.trial_id == trial.id).group_by(Kit.state)).all()
    )
    in_motion = tx.session.execute(
        select(Shipment.number, Shipment.state, Shipment.expected_on, Site)
        .join(Site, Site.id == Shipment.site_id)
        .where(Shipment.trial_id == trial.id, Shipment.state.in_(IN_MOTION))
        .order_by(Shipment.expected_on, Shipment.number)
    ).all()
    at_sites = definitions.at_sites(tx, trial, list({row.Site for row in in_motion}))
    overdue = []
    for number, state, expected_on, site in in_motion:
        facts = at_sites[site.code].site(site.code)
        today = local_date(tx.now, facts.time_zone)
        if state == "in_transit" and is_overdue(expected_on, today, at_sites[site.code]):
            overdue.append(OverdueShipment(number, facts.title, expected_on))
    return SupplyOverview(
        definition=definition,
        today=local_date(tx.now, zone),
        in_depots=counts.get(KitState.IN_DEPOT, 0),
        at_sites=counts.get(KitState.AVAILABLE, 0),
        on_the_way=counts.get(KitState.REQUESTED, 0) + counts.get(KitState.IN_TRANSIT, 0),
        quarantined=counts.get(KitState.QUARANTINED, 0),
        in_motion=len(in_motion),
        overdue=tuple(overdue),
        unsupplied=_unsupplied(tx, trial),
        unreleased_lots=tuple(row.code for row in lot_rows(tx, trial) if row.released_at is None),
        shelf_by_day=_shelf_by_day(tx, trial, zone),
        expiries=_expiries(tx, trial),
        plan=recruitment_plan(definition.sites, definition.target),
        randomised=randomised_by_day(tx, trial),
    )


def _unsupplied(tx: Transaction, trial: Trial) -> tuple[UnsuppliedSite, ...]:
    sites = [site for site in supplied_sites(tx, trial) if site.unsupplied_since is not None]
    return tuple(
        UnsuppliedSite(
            place.facts.title,
            place.facts.depot,
            local_date(since, place.definition.depot(place.facts.depot).time_zone),
        )
        for place in places_of(tx, sites)
        if (since := place.site.unsupplied_since) is not None
    )


def _shelf_by_day(tx: Transaction, trial: Trial, zone: str) -> tuple[tuple[date, int], ...]:
    """Available kits at all sites by day in `zone`, added up from the kit ledger."""
    if tx.session.get_bind().dialect.name == "postgresql":
        day: Any = func.date(func.timezone(literal(zone, String, literal_execute=True), KitMove.at))
    else:
        # SQLite knows no zones: today's distance from UTC stands for that of every day.
        offset = tx.now.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
        shift = literal(f"{offset.total_seconds() / 60:+.0f} minutes", String, literal_execute=True)
        day = func.date(KitMove.at, shift)
    came = func.sum(case((KitMove.to_state == KitState.AVAILABLE, 1), else_=0))
    left = func.sum(case((KitMove.from_state == KitState.AVAILABLE, 1), else_=0))
    statement = (
        select(day, came, left)
        .join(Kit, Kit.id == KitMove.kit_id)
        .where(
            Kit.trial_id == trial.id,
            (KitMove.to_state == KitState.AVAILABLE) | (KitMove.from_state == KitState.AVAILABLE),
        )
        .group_by(day)
        .order_by(day)
    )
    course = []
    stock = 0
    for on, gained, lost in tx.session.execute(statement):
        stock += gained - lost
        course.append((on if isinstance(on, date) else date.fromisoformat(on), stock))
    return tuple(course)


def _expiries(tx: Transaction, trial: Trial) -> tuple[tuple[date, tuple[int, int]], ...]:
    """Kits by the month of their expiry: in depots, and on hand at sites."""
    months: dict[date, list[int]] = defaultdict(lambda: [0, 0])
    for expiry, state, count in tx.session.execute(
        select(BlindedLot.expiry, Kit.state, func.count())
        .join(Kit, Kit.blinded_lot_id == BlindedLot.id)
        .where(BlindedLot.trial_id == trial.id, Kit.state.in_([KitState.IN_DEPOT, KitState.AVAILABLE]))
        .group_by(BlindedLot.expiry, Kit.state)
    ):
        months[expiry.replace(day=1)][0 if state == KitState.IN_DEPOT else 1] += count
    return tuple((month, (counts[0], counts[1])) for month, counts in sorted(months.items()))


@dataclass(frozen=True)
class QuarantinedKit:
    """A kit that waits for a decision: where, since when, and how it came into quarantine (`move`)."""

    number: str
    site: Text
    expiry: date
    since: datetime
    move: str
    reason: str
    by: Name


def quarantined_kits(
    tx: Transaction, trial: Trial, number: str = "", *, page: int = 1, size: int = 50
) -> tuple[QuarantinedKit, ...]:
    """The kits in quarantine at sites, by number; with `number`, that one."""
    statement = (
        select(Kit.number, Site, BlindedLot.expiry, KitMove.at, KitMove.move, KitMove.reason, KitMove.doer)
        .join(Site, Site.id == Kit.site_id)
        .join(BlindedLot, BlindedLot.id == Kit.blinded_lot_id)
        .join(KitMove, (KitMove.kit_id == Kit.id) & (KitMove.sequence == Kit.moves))
        .where(Kit.trial_id == trial.id, Kit.state == KitState.QUARANTINED)
        .order_by(Kit.number)
        .limit(size)
        .offset((page - 1) * size)
    )
    if number:
        statement = statement.where(Kit.number == number)
    rows = tx.session.execute(statement).all()
    names = printed_names(tx, [row.doer for row in rows])
    at_sites = definitions.at_sites(tx, trial, list({row.Site for row in rows}))
    return tuple(
        QuarantinedKit(
            row.number,
            at_sites[row.Site.code].site(row.Site.code).title,
            row.expiry,
            row.at,
            row.move,
            row.reason,
            names[row.doer],
        )
        for row in rows
    )


def count_quarantined(tx: Transaction, trial: Trial) -> int:
    """How many kits wait in quarantine."""
    statement = select(func.count()).where(Kit.trial_id == trial.id, Kit.state == KitState.QUARANTINED)
    return tx.session.scalar(statement) or 0


@dataclass(frozen=True)
class Decision:
    """A decision on a quarantined kit: `released` to the shelf or rejected."""

    number: str
    released: bool
    document: str
    at: datetime
    by: Name


def latest_decision(tx: Transaction, trial: Trial, number: str) -> Decision | None:
    """The latest quality decision on the kit `number`; None when there is none."""
    statement = (
        select(KitMove)
        .join(Kit, Kit.id == KitMove.kit_id)
        .where(Kit.trial_id == trial.id, Kit.number == number, KitMove.move.in_(["release_from_quarantine", "reject"]))
        .order_by(KitMove.sequence.desc())
        .limit(1)
    )
    move = tx.session.scalar(statement)
    if move is None:
        return None
    by = printed_names(tx, [move.doer])[move.doer]
    return Decision(number, move.move == "release_from_quarantine", move.reason, move.at, by)


def open_sites(tx: Transaction, trial: Trial) -> tuple[tuple[str, Text], ...]:
    """The open sites, code and title."""
    return _named(tx, trial, Site.state == "open")


def all_sites(tx: Transaction, trial: Trial) -> tuple[tuple[str, Text], ...]:
    """Every site, code and title."""
    return _named(tx, trial)


def _named(tx: Transaction, trial: Trial, *conditions: ColumnElement[bool]) -> tuple[tuple[str, Text], ...]:
    sites = tx.session.scalars(select(Site).where(Site.trial_id == trial.id, *conditions).order_by(Site.code)).all()
    at_sites = definitions.at_sites(tx, trial, sites)
    return tuple((code, definition.site(code).title) for code, definition in at_sites.items())
