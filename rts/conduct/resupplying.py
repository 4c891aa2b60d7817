"""The night run: what each site needs, decided purely and explained in a sealed record; and what is ordered for
those in need.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.consignments import delivery_for, opened_depot, request_consignment, shippable, sites_ever_supplied
from rts.conduct.kits_at_site import type_for_arm
from rts.conduct.perform import Done, perform
from rts.conduct.places import Place, place_of, places_of, supply_locks, supplying_depot
from rts.conduct.visits import visits_of
from rts.refusal import Refusal
from rts.store import definitions, locks
from rts.store.sealed_rows import OpenedKit, key_from_text, open_entry, open_kits
from rts.store.tables import Dispensing, Kit, ListEntry, ResupplyRecord, Shipment, Site, Subject, Trial
from rts.store.transaction import Store, Transaction
from rts.supply.calendars import Delivery
from rts.supply.kits import KitState
from rts.supply.resupply import Buffers, Decision, TypeStock, buffers_of, decide_resupply, policy_of, predicted_new
from rts.supply.windows import Demand, SubjectSchedule, demands_of
from rts.trial.definition import RestrictedDefinition, Visit
from rts.vault.vault import Opener

# Every record has this length, whatever fired: its size must not tell how much was short.
RECORD_STEP = 4096


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

    def __repr__(self) -> str:
        return "<sealed>"

    def decide(self, depot_kits: list[OpenedKit] | None) -> Decision:
        """The decision, limited by what the depot may ship; without `depot_kits` as if the depot had enough."""
        stocks = self.stocks
        if depot_kits is not None:
            kits = shippable(depot_kits, self.delivery.ship, self.place.definition.expiry.dns)
            in_depot = Counter(opened.kit_type for opened in kits)
            stocks = tuple(replace(stock, depot_stock=in_depot[stock.kit_type]) for stock in stocks)
        return decide_resupply(stocks, policy_of(self.place.definition.supply), self.place.today)


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
        .options(joinedload(Kit.lot), joinedload(Kit.list))
        .where(Kit.site_id.in_(site_ids), Kit.state.in_([KitState.AVAILABLE, KitState.IN_TRANSIT]))
        .order_by(Kit.number)
    )
    at_sites: dict[int, list[OpenedKit]] = defaultdict(list)
    for opened in open_kits(tx, list(tx.session.scalars(statement)), opener):
        at_sites[opened.kit.site_id or 0].append(opened)
    requested: dict[int, list[OpenedKit]] = defaultdict(list)
    coming = (
        select(Kit, Shipment.site_id)
        .join(Shipment, Kit.shipment_id == Shipment.id)
        .options(joinedload(Kit.lot), joinedload(Kit.list))
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
        .options(joinedload(ListEntry.list))
        .where(Subject.site_id.in_(site_ids), Subject.state == "randomised")
        .order_by(Subject.id)
    )
    for subject, entry in tx.session.execute(entries):
        subjects[subject.site_id].append((subject, open_entry(tx, entry, opener).arm))
    held: dict[int, dict[str, int]] = defaultdict(dict)
    for subject_id, visit, version_id in tx.session.execute(
        select(Dispensing.subject_id, Dispensing.visit, Dispensing.version_id)
        .join(Subject)
        .where(
            Subject.site_id.in_(site_ids),
            Subject.state == "randomised",
            Dispensing.state.in_(["assigned", "dispensed"]),
        )
    ):
        held[subject_id][visit] = version_id
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
        schedules = [
            _Schedule(
                arm,
                SubjectSchedule(subject.randomised_on, subject.dose_level, frozenset(held[subject.id])),
                visits_of(tx, place.definition, held[subject.id].items()),
            )
            for subject, arm in subjects[site.id]
            if subject.randomised_on is not None
        ]
        is_recruiting = site.state == "open" and sum(randomised.values()) < place.definition.caps.trial
        surveys.append(
            _Survey(
                place,
                restricted,
                delivery_for(tx, place),
                tuple(
                    _stock_of(
                        tx,
                        place,
                        restricted,
                        kit_type.code,
                        at_sites[site.id],
                        requested[site.id],
                        schedules,
                        is_recruiting=is_recruiting,
                        was_supplied=site.id in supplied,
                        randomised=randomised.get(site.id, 0),
                    )
                    for kit_type in restricted.kit_types
                ),
            )
        )
    return surveys


def _stock_of(
    tx: Transaction,
    place: Place,
    restricted: RestrictedDefinition,
    kit_type: str,
    at_site: list[OpenedKit],
    requested: list[OpenedKit],
    schedules: list[_Schedule],
    *,
    is_recruiting: bool,
    was_supplied: bool,
    randomised: int,
) -> TypeStock:
    definition = place.definition
    kind = next(found for found in restricted.kit_types if found.code == kit_type)
    rules = definition.supply
    supply_class = rules.class_of(place.facts.supply_class)
    if was_supplied:
        buffers = buffers_of(rules, supply_class, is_recruiting=is_recruiting)
    else:
        buffers = Buffers(supply_class.initial, supply_class.initial)
    demands: list[Demand] = []
    for schedule in schedules:
        if type_for_arm(restricted, schedule.arm, kind.group) == kit_type:
            demands += demands_of(schedule.subject, schedule.visits, kind.group, definition.expiry)
    new_short = new_long = 0
    if rules.new_subjects and is_recruiting:
        treatments = {treatment.name: treatment.ratio for treatment in definition.treatments}
        share = treatments[restricted.treatment_of(kind.arm)] / sum(treatments.values())
        opened_at = place.site.opened_at
        exposure = (tx.now - opened_at).days if opened_at else 0
        new_short, new_long = (
            predicted_new(
                rules.prior_shape,
                rules.prior_rate,
                randomised=randomised,
                exposure_days=exposure,
                window_days=window,
                epsilon=rules.epsilon,
                arm_probability=share,
            )
            for window in (rules.short_window, rules.long_window)
        )
    return TypeStock(
        kit_type=kit_type,
        on_hand=_expiries(at_site, kit_type, KitState.AVAILABLE),
        in_transit=_expiries(at_site, kit_type, KitState.IN_TRANSIT),
        requested=_expiries(requested, kit_type, KitState.REQUESTED),
        demands=tuple(demands),
        buffers=buffers,
        group=kind.group,
        dnc=definition.expiry.dnc,
        new_short=new_short,
        new_long=new_long,
        pack=rules.pack,
        ratio=next(t.ratio for t in definition.treatments if t.name == restricted.treatment_of(kind.arm)),
    )


def _expiries(kits: list[OpenedKit], kit_type: str, state: KitState) -> tuple[date, ...]:
    return tuple(sorted(opened.expiry for opened in kits if opened.kit_type == kit_type and opened.kit.state == state))


def record_context(trial: str, site: str, run_date: date) -> str:
    """The associated data of a site's sealed record of one night."""
    return f"resupply_record/{trial}/{site}/{run_date.isoformat()}"


def _keep_record(
    tx: Transaction, trial: Trial, site: Site, run_date: date, survey: _Survey, decision: Decision, split: bool
) -> None:
    """Seal what was seen and decided, so that the order can be explained for ever."""
    told = {
        "lines": [asdict(line) for line in decision.per_type],
        "blind_rule_is_kept": decision.blind_rule_is_kept,
        "split_over_lots": split,
        "expected": survey.delivery.receipt.isoformat(),
    }
    box = tx.store.vault.seal(
        key_from_text(trial.data_key),
        json.dumps(told).encode(),
        record_context(trial.code, site.code, run_date),
        RECORD_STEP,
    )
    tx.session.add(ResupplyRecord(site_id=site.id, run_date=run_date, record_box=box.box, at=tx.now))


def resupply_site(tx: Transaction, actor: Actor, command: ResupplySite, opener: Opener) -> Done:
    """Decide again under lock and request the consignment. Done once for a site and date: a repeat changes nothing."""
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.RESUPPLY, trial, site)
    locks.take(tx.session, *supply_locks(tx, trial, site))
    ids = {"trial": trial.code, "site": site.code}
    done_before = select(ResupplyRecord.id).where(
        ResupplyRecord.site_id == site.id, ResupplyRecord.run_date == command.run_date
    )
    if tx.session.scalar(done_before):
        return Done("resupply_site", ids, again=True)
    survey = _survey(tx, trial, [place_of(tx, site)], opener)[0]
    depot_kits = opened_depot(tx, supplying_depot(tx, survey.place), opener)
    decision = survey.decide(depot_kits)
    split = False
    if any(decision.order.values()):
        requested = request_consignment(
            tx, survey.place, survey.restricted, depot_kits, decision.order, survey.delivery, actor.name
        )
        split = requested.is_split
        ids["shipment"] = requested.shipment.number
    _keep_record(tx, trial, site, command.run_date, survey, decision, split)
    tx.audit(
        "site.resupplied",
        "site",
        site.code,
        {"run_date": command.run_date.isoformat()},
        trial=trial,
        site=site,
        definition=survey.place.version.version,
    )
    return Done("resupply_site", ids)


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
    done_before = set(
        tx.session.scalars(
            select(ResupplyRecord.site_id)
            .join(Site)
            .where(Site.trial_id == trial.id, ResupplyRecord.run_date == command.run_date)
        )
    )
    sites = [site for site in supplied_sites(tx, trial) if site.id not in done_before]
    places = [place for place in places_of(tx, sites) if command.depot in {"", place.facts.depot}]
    in_need = []
    depots: dict[str, list[OpenedKit]] = {}
    for survey in _survey(tx, trial, places, opener):
        decision = survey.decide(None)
        if any(decision.order.values()):
            # Most nights nobody needs anything: the depot's kits are read once somebody does.
            depot = survey.place.facts.depot
            if depot not in depots:
                depots[depot] = opened_depot(tx, supplying_depot(tx, survey.place), opener)
            decision = survey.decide(depots[depot])
        if any(decision.order.values()):
            in_need.append(survey.place.site.code)
        else:
            _keep_record(tx, trial, survey.place.site, command.run_date, survey, decision, split=False)
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
