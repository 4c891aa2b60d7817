"""The night run: what each site needs, decided purely and explained in a sealed record; and what is ordered for
those in need.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.consignments import (
    choose_kits,
    delivery_for,
    note_choice,
    opened_depot,
    reasons_of,
    request_consignment,
    sites_ever_supplied,
)
from rts.conduct.kits_at_site import type_for_arm
from rts.conduct.perform import Done, perform
from rts.conduct.places import Place, places_of, supply_locks, supplying_depot
from rts.conduct.recalling_lots import is_recalled
from rts.conduct.recipients import people_with
from rts.conduct.visits import reached_visits, schedule_of
from rts.refusal import Refusal, say
from rts.store import definitions, locks, outbox
from rts.store.sealed_rows import TO_OPEN, OpenedKit, arm_allocated, key_from_text, open_kits
from rts.store.tables import Kit, ListEntry, ResupplyRecord, Shipment, Site, Subject, Trial
from rts.store.transaction import Store, Transaction
from rts.supply.calendars import Delivery
from rts.supply.forecast import Arrivals, arrivals
from rts.supply.kits import KitState
from rts.supply.picking import lots_to_ship
from rts.supply.rationing import Share, SiteOrder, fit_to_lots, no_more, order_of, ration
from rts.supply.resupply import Buffers, Decision, TypeStock, buffers_of, decide_resupply, policy_of
from rts.supply.windows import Demand, SubjectSchedule, demands_of
from rts.trial.definition import KitType, RestrictedDefinition, Visit
from rts.vault.vault import Opener

# Every record of a trial has one length, whatever fired: its size must not tell how much was short. A line takes less
# than a quarter of a step.
RECORD_STEP = 4096
LINES_IN_A_STEP = 4


@dataclass(frozen=True)
class ResupplySite:
    """Decide and order for one site, for the depot-local date `run_date`."""

    trial: str
    site: str
    run_date: date


@dataclass(frozen=True)
class NightReport:
    """What a night run did: sites looked at, shipments requested, refusals by site."""

    looked_at: int
    shipments: tuple[str, ...]
    refused: dict[str, str]


@dataclass(frozen=True, repr=False)
class _Schedule:
    """What one subject in treatment, of `arm`, will need, and by which visits."""

    arm: str
    subject: SubjectSchedule
    visits: tuple[Visit, ...]

    def __repr__(self) -> str:
        return "<sealed>"


@dataclass(frozen=True, repr=False)
class _Survey:
    place: Place
    restricted: RestrictedDefinition
    delivery: Delivery
    stocks: tuple[TypeStock, ...]
    chances: tuple[Callable[[int], float], ...]

    def __repr__(self) -> str:
        return "<sealed>"

    def decide(self) -> Decision:
        """What the site needs, as if the depot had enough."""
        return decide_resupply(self.stocks, policy_of(self.place.definition.supply), self.place.today)

    def order(self) -> SiteOrder:
        """What the site needs, and how urgently, for sharing out the depot's kits."""
        rules = self.place.definition.supply
        quantities = self.decide().order
        lines = tuple(
            order_of(stock, quantities[stock.kit_type], self.place.today, rules.long_window, chance_of_more_than)
            for stock, chance_of_more_than in zip(self.stocks, self.chances, strict=True)
        )
        return SiteOrder(lines, rules.blind_rule)


def supplied_sites(tx: Transaction, trial: Trial) -> list[Site]:
    """The sites a night run looks at: open ones, and closed ones whose subjects are still in treatment."""
    in_treatment = select(Subject.site_id).where(Subject.state == "randomised")
    statement = (
        select(Site)
        .options(joinedload(Site.trial))
        .where(
            Site.trial_id == trial.id, (Site.state == "open") | ((Site.state == "closed") & Site.id.in_(in_treatment))
        )
        .order_by(Site.code)
    )
    return list(tx.session.scalars(statement))


def _survey(tx: Transaction, trial: Trial, places: list[Place], opener: Opener) -> list[_Survey]:
    """Everything the decisions for `places` rest on, in a handful of queries."""
    site_ids = [place.site.id for place in places]
    statement = (
        select(Kit)
        .options(*TO_OPEN)
        # What is on its way of a recalled lot will be blocked when it arrives: it covers nothing.
        .where(Kit.site_id.in_(site_ids), Kit.state.in_([KitState.AVAILABLE, KitState.IN_TRANSIT]), ~is_recalled())
        .order_by(Kit.number)
    )
    at_sites: dict[int, list[OpenedKit]] = defaultdict(list)
    for opened in open_kits(tx, list(tx.session.scalars(statement)), opener):
        at_sites[opened.kit.site_id or 0].append(opened)
    requested: dict[int, list[OpenedKit]] = defaultdict(list)
    coming = (
        select(Kit, Shipment.site_id)
        .join(Shipment, Kit.shipment_id == Shipment.id)
        .options(*TO_OPEN)
        .where(Kit.state == KitState.REQUESTED, Shipment.site_id.in_(site_ids))
        .order_by(Kit.number)
    )
    rows = tx.session.execute(coming).all()
    for opened, (_, site_id) in zip(open_kits(tx, [kit for kit, _ in rows], opener), rows, strict=True):
        requested[site_id].append(opened)
    subjects: dict[int, list[tuple[Subject, str]]] = defaultdict(list)
    entries = (
        select(Subject, ListEntry)
        .join(ListEntry, ListEntry.subject_id == Subject.id)
        .options(joinedload(ListEntry.list), joinedload(ListEntry.minimised))
        .where(Subject.site_id.in_(site_ids), Subject.state == "randomised")
        .order_by(Subject.id)
    )
    for subject, entry in tx.session.execute(entries):
        subjects[subject.site_id].append((subject, arm_allocated(tx, entry, opener)))
    reached = reached_visits(tx, select(Subject.id).where(Subject.site_id.in_(site_ids), Subject.state == "randomised"))
    counted = (
        select(Subject.site_id, func.count())
        .where(Subject.trial_id == trial.id, Subject.randomised_at.is_not(None))
        .group_by(Subject.site_id)
    )
    randomised = dict(tx.session.execute(counted).all())
    supplied = sites_ever_supplied(tx, trial)
    restricted_of: dict[int, RestrictedDefinition] = {}
    surveys = []
    for place in places:
        site = place.site
        if place.version.id not in restricted_of:
            restricted_of[place.version.id] = definitions.open_restricted(tx, trial, place.version, opener)
        restricted = restricted_of[place.version.id]
        schedules = []
        for subject, arm in subjects[site.id]:
            if subject.randomised_on is not None:
                visits, closed = schedule_of(tx, place.definition, reached[subject.id])
                schedule = SubjectSchedule(subject.randomised_on, subject.dose_level, closed)
                schedules.append(_Schedule(arm, schedule, visits))
        is_recruiting = site.state == "open" and sum(randomised.values()) < place.definition.caps.trial
        has = _Site(
            place,
            restricted,
            at_sites[site.id],
            requested[site.id],
            schedules,
            is_recruiting=is_recruiting,
            was_supplied=site.id in supplied,
            randomised=randomised.get(site.id, 0),
            exposure=(tx.now - site.opened_at).days if site.opened_at else 0,
        )
        surveys.append(
            _Survey(
                place,
                restricted,
                delivery_for(tx, place),
                tuple(has.stock_of(kit_type) for kit_type in restricted.kit_types),
                tuple(has.chance_of_more(kit_type) for kit_type in restricted.kit_types),
            )
        )
    return surveys


@dataclass(frozen=True, repr=False)
class _Site:
    """What was read of one site: kits on the shelf and in transit, kits requested, subjects in treatment with their
    visits; `exposure` is the days since it opened.
    """

    place: Place
    restricted: RestrictedDefinition
    at_site: list[OpenedKit]
    requested: list[OpenedKit]
    schedules: list[_Schedule]
    is_recruiting: bool
    was_supplied: bool
    randomised: int
    exposure: int

    def __repr__(self) -> str:
        return "<sealed>"

    def stock_of(self, kind: KitType) -> TypeStock:
        definition, rules = self.place.definition, self.place.definition.supply
        supply_class = rules.class_of(self.place.facts.supply_class)
        if self.was_supplied:
            buffers = buffers_of(rules, supply_class, is_recruiting=self.is_recruiting)
        else:
            buffers = Buffers(supply_class.initial, supply_class.initial)
        demands: list[Demand] = []
        for schedule in self.schedules:
            if type_for_arm(self.restricted, schedule.arm, kind.group) == kind.code:
                demands += demands_of(schedule.subject, schedule.visits, kind.group, definition.expiry)
        predicts = rules.new_subjects and self.is_recruiting
        new_short, new_long = (
            self._new_subjects(kind, window).quantile(rules.epsilon) if predicts else 0
            for window in (rules.short_window, rules.long_window)
        )
        return TypeStock(
            kit_type=kind.code,
            on_hand=_expiries(self.at_site, kind.code, KitState.AVAILABLE),
            in_transit=_expiries(self.at_site, kind.code, KitState.IN_TRANSIT),
            requested=_expiries(self.requested, kind.code, KitState.REQUESTED),
            demands=tuple(demands),
            buffers=buffers,
            group=kind.group,
            dnc=definition.expiry.dnc,
            new_short=new_short,
            new_long=new_long,
            pack=rules.pack,
            ratio=self._ratios()[self.restricted.treatment_of(kind.arm)],
        )

    def chance_of_more(self, kind: KitType) -> Callable[[int], float]:
        """The chance that subjects yet to be randomised need more kits of a type than a number, within the long window.

        Asked of every site alike when kits are short, also where class buffers stand for new subjects in the order.
        """
        if not self.is_recruiting:
            return no_more
        return self._new_subjects(kind, self.place.definition.supply.long_window).chance_of_more_than

    def _new_subjects(self, kind: KitType, window: int) -> Arrivals:
        rules, ratios = self.place.definition.supply, self._ratios()
        return arrivals(
            rules.prior_shape,
            rules.prior_rate,
            randomised=self.randomised,
            exposure_days=self.exposure,
            window_days=window,
            arm_probability=ratios[self.restricted.treatment_of(kind.arm)] / sum(ratios.values()),
        )

    def _ratios(self) -> dict[str, int]:
        return {treatment.name: treatment.ratio for treatment in self.place.definition.treatments}


def _expiries(kits: list[OpenedKit], kit_type: str, state: KitState) -> tuple[date, ...]:
    return tuple(sorted(opened.expiry for opened in kits if opened.kit_type == kit_type and opened.kit.state == state))


def record_context(trial: str, site: str, run_date: date) -> str:
    """The associated data of a site's sealed record of one night."""
    return f"resupply_record/{trial}/{site}/{run_date.isoformat()}"


def _record_of(tx: Transaction, run_date: date, survey: _Survey, share: Share, *, is_split: bool) -> dict[str, Any]:
    """The row with what was seen and decided, sealed, so that the order can be explained for ever."""
    site, trial = survey.place.site, survey.place.site.trial
    told = {
        "lines": [asdict(line) for line in survey.decide().per_type],
        "sent": share.kits,
        "cut": reasons_of(share),
        "split_over_lots": is_split,
        "expected": survey.delivery.receipt.isoformat(),
    }
    box = tx.store.vault.seal(
        key_from_text(trial.data_key),
        json.dumps(told).encode(),
        record_context(trial.code, site.code, run_date),
        RECORD_STEP * (1 + len(survey.stocks) // LINES_IN_A_STEP),
    )
    return {"site_id": site.id, "run_date": run_date, "record_box": box.box, "at": tx.now}


def _places_without_record(tx: Transaction, trial: Trial, run_date: date, depot: str = "") -> list[Place]:
    """The places that nothing was decided for on `run_date` yet: those that `depot` supplies, or all."""
    decided = set(
        tx.session.scalars(
            select(ResupplyRecord.site_id)
            .join(Site)
            .where(Site.trial_id == trial.id, ResupplyRecord.run_date == run_date)
        )
    )
    sites = [site for site in supplied_sites(tx, trial) if site.id not in decided]
    # In an order drawn anew each night: where kits are short, equal needs must not always go by the alphabet.
    sites.sort(key=lambda site: hashlib.sha256(f"{run_date.isoformat()} {site.code}".encode()).digest())
    return [place for place in places_of(tx, sites) if depot in {"", place.facts.depot}]


def _share_of(survey: _Survey, surveys: list[_Survey], depot_kits: list[OpenedKit]) -> Share:
    """What a site gets of the depot's kits, when all who still wait tonight are thought of."""
    kits = [opened.as_stock() for opened in depot_kits]
    lots = lots_to_ship(kits, survey.delivery.ship, survey.place.definition.expiry.dns)
    orders = [one.order() for one in surveys]
    own = surveys.index(survey)
    return fit_to_lots(orders[own], ration(orders, sum(lots, Counter()))[own], lots)


def resupply_site(tx: Transaction, actor: Actor, command: ResupplySite, opener: Opener) -> Done:
    """Decide again under lock and request the consignment. Done once for a site and date: a repeat changes nothing.

    Where the depot has too little, it is shared out among all its sites that still wait on this date. A site that gets
    nothing of a blinding group it needs is reported, in words that fit whichever type is short.
    """
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.RESUPPLY, trial, site)
    locks.take(tx.session, *supply_locks(tx, trial, site))
    ids = {"trial": trial.code, "site": site.code}
    waiting = _places_without_record(tx, trial, command.run_date)
    place = next((one for one in waiting if one.site is site), None)
    if place is None:
        return Done("resupply_site", ids, again=True)
    surveys = _survey(tx, trial, [one for one in waiting if one.facts.depot == place.facts.depot], opener)
    (survey,) = [one for one in surveys if one.place is place]
    ordered = survey.decide().order
    depot_kits = opened_depot(tx, supplying_depot(tx, place), opener)
    share, is_split = _share_of(survey, surveys, depot_kits), False
    is_supplied = all(
        any(share.kits[kind.code] for kind in survey.restricted.kit_types if kind.group == group)
        for group in place.definition.kit_groups
        if any(ordered[kind.code] for kind in survey.restricted.kit_types if kind.group == group)
    )
    if any(share.kits.values()):
        consignment = choose_kits(place, survey.restricted, depot_kits, share.kits, survey.delivery)
        is_split = consignment.is_split
        ids["shipment"] = request_consignment(tx, place, consignment, survey.delivery, actor.name).number
    tx.audit(
        "site.resupplied" if is_supplied else "site.not_supplied",
        "site",
        site.code,
        {"run_date": command.run_date.isoformat(), "depot": place.facts.depot},
        trial=trial,
        site=site,
        definition=place.version.version,
    )
    note_choice(tx, place, ordered, share, is_split=is_split)
    tx.insert(ResupplyRecord, [_record_of(tx, command.run_date, survey, share, is_split=is_split)])
    if not is_supplied:
        _report_unsupplied(tx, place)
    return Done("resupply_site", ids)


def _report_unsupplied(tx: Transaction, place: Place) -> None:
    """Tell, on the first of such nights, that the depot cannot supply a site now. Which type is short is told to
    nobody: who may read sealed details finds it on the audit trail.
    """
    site, trial = place.site, place.site.trial
    if site.unsupplied_since is not None:
        return
    site.unsupplied_since = tx.now
    people = {
        person.id: person
        for permission in (Permission.SHIPMENT_REQUEST, Permission.SEALED_VIEW)
        for person in people_with(tx, trial, permission)
    }
    outbox.write(
        tx,
        "site_not_supplied",
        trial,
        people.values(),
        say(
            "%(trial)s: depot %(depot)s cannot supply site %(site)s now",
            trial=trial.code,
            depot=place.facts.depot,
            site=site.code,
        ),
        say(
            "Site %(site)s needs kits, and depot %(depot)s cannot fill the order now. It is tried again every night. "
            "See whether a lot can be released or kits can be brought to the depot. Who may read sealed details finds "
            "the reason on the audit trail.",
            site=site.code,
            depot=place.facts.depot,
        ),
    )


@dataclass(frozen=True)
class SurveyNight:
    """Look at every site of a trial, or of the one `depot` whose night it is, and keep the records of those that need
    nothing.
    """

    trial: str
    run_date: date
    depot: str = ""


def survey_night(tx: Transaction, actor: Actor, command: SurveyNight, opener: Opener) -> Done:
    """The first step of a night run: one look at all sites. Those in need are named in the outcome and get a
    transaction each.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.RESUPPLY, trial)
    places = _places_without_record(tx, trial, command.run_date, command.depot)
    in_need, records = [], []
    for survey in _survey(tx, trial, places, opener):
        site, ordered = survey.place.site, survey.decide().order
        if any(ordered.values()):
            in_need.append(site.code)
        else:
            site.unsupplied_since = None
            records.append(_record_of(tx, command.run_date, survey, Share(ordered, {}), is_split=False))
    tx.insert(ResupplyRecord, records)
    tx.audit(
        "resupply.surveyed",
        "trial",
        trial.code,
        {"run_date": command.run_date.isoformat(), "sites": len(places), "in_need": in_need},
        trial=trial,
        definition=definitions.versions_of_trial(tx, trial)[0].version,
    )
    return Done("survey_night", {"trial": trial.code, "sites": str(len(places)), "in_need": " ".join(in_need)})


def run_night(
    store: Store,
    actor: Actor,
    trial: str,
    run_date: date,
    progress: Callable[[str], None] = lambda _site: None,
    depot: str = "",
) -> NightReport:
    """The whole night run of a trial, or of the sites of one `depot`. Idempotent by site and date: after a crash it
    goes on where it stopped; run again it orders nothing.
    """
    surveyed = perform(store, survey_night, actor, SurveyNight(trial, run_date, depot))
    shipments, refused = [], {}
    for site in surveyed.ids["in_need"].split():
        progress(site)
        try:
            done = perform(store, resupply_site, actor, ResupplySite(trial, site, run_date))
        except Refusal as refusal:
            refused[site] = refusal.rules[0]
        else:
            if "shipment" in done.ids:
                shipments.append(done.ids["shipment"])
    return NightReport(int(surveyed.ids["sites"]), tuple(shipments), refused)
