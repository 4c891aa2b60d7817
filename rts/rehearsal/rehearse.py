"""A whole trial on a test clock: every person, parcel and box of a story, through the deeds that real people use."""

from __future__ import annotations

import hashlib
import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import event, func, make_url, select

from rts.access.actor import Actor, service
from rts.access.permissions import Role
from rts.clock import HeldClock, local_date
from rts.conduct.dispensing import (
    HandOver,
    PrepareVisit,
    ReplaceKit,
    ReportKit,
    hand_over,
    prepare_visit,
    replace_kit,
    report_kit,
)
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.expiring import SweepExpired, sweep_expired
from rts.conduct.perform import perform
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.resupplying import NightReport, run_night
from rts.conduct.screening import FailScreening, ScreenSubject, fail_screening, screen_subject
from rts.conduct.shipping import (
    CloseShipment,
    DecideQuarantine,
    PickShipment,
    ReceiveShipment,
    ReleaseLot,
    ShipShipment,
    close_shipment,
    decide_quarantine,
    kits_of,
    pick_shipment,
    receive_shipment,
    release_lot,
    ship_shipment,
)
from rts.conduct.unblinding import UnblindSubject, unblind_subject
from rts.installation import open_store
from rts.refusal import Refusal, refuse, say
from rts.rehearsal.staging import Stage, planned_lists, stage_trial
from rts.rehearsal.story import PLANNED, Chances, Person, Story
from rts.store.checks import run_checks
from rts.store.database import upgrade
from rts.store.tables import AuditEvent, Dispensing, Installation, Kit, Shipment, Subject
from rts.store.transaction import Store
from rts.supply.kits import KitState
from rts.supply.windows import due_date, window
from rts.trial.definition import Visit
from rts.trial.reading import read_definition, read_restricted
from rts.trial.shipped import shipped_definition

PASSWORD = "nobody signs in to a rehearsal"  # noqa: S105 - sessions are never opened on a scratch database
MOST_TRIES = 5  # days on which a person is asked back for randomisation while kits are lacking
LONGEST_TRIAL = timedelta(days=1500)  # a rehearsal that has not ended by then never would

# What is told while a rehearsal runs: steps done, steps in all, and words for the person who waits.
Progress = Callable[[int, int, str], None]


def unheard(_done: int, _total: int, _words: str) -> None:
    """Progress that nobody listens to."""


@dataclass(frozen=True)
class Summary:
    """What came of a rehearsal. Everything but `seconds` follows from the seed.

    `days` run from the first site's opening to the last visit of week 24, `days_to_target` to the last randomisation.
    `visits_due` are those at which kits were to be dispensed to somebody in treatment; `turned_away` counts people not
    randomised because the site's kits did not suffice for some days. `refusals` counts failed rules by code, `kits` end
    states; `seconds` gives count, median and total by deed.
    """

    trial: str
    seed: int
    days: int
    days_to_target: int
    randomised: int
    randomised_by_stratum: dict[str, int]
    turned_away: int
    visits_due: int
    visits_dispensed: int
    visits_missed: int
    refusals: dict[str, int]
    shipments: int
    kits: dict[str, int]
    audit_events: int
    check: str
    seconds: dict[str, dict[str, float]]

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file."""
        return asdict(self)


@dataclass
class Course:
    """A person on their way through the trial; `to_come` are the visits not yet done, in order."""

    person: Person
    code: str
    decision_on: date
    state: str = "screening"
    tries: int = 0
    randomised_on: date | None = None
    to_come: list[Visit] = field(default_factory=list)
    replacement: tuple[date, Visit, str] | None = None


class Rehearsal:
    """Plays a story on a stage, day by day, on the clock in hand."""

    def __init__(
        self, stage: Stage, clock: HeldClock, story: Story, *, target: int, sites: tuple[str, ...], progress: Progress
    ) -> None:
        self.stage = stage
        self.clock = clock
        self.story = story
        self.definition = stage.definition
        self.target = target
        self.progress = progress
        self.zone = ZoneInfo(self.definition.depots[0].time_zone)
        self.first_day = min(self.definition.site(site).planned_opening for site in sites)
        self.refusals: Counter[str] = Counter()
        self.took: dict[str, list[float]] = defaultdict(list)
        self.visits: Counter[str] = Counter()
        self.turned_away = 0
        self.target_reached_on: date | None = None
        self.courses: list[Course] = []
        self._sites_to_open = sorted(sites, key=lambda site: (self.definition.site(site).planned_opening, site))
        self._coming = {site: story.people_of(site) for site in sites}
        self._next = {site: next(people) for site, people in self._coming.items()}
        self._nth: dict[str, int] = {}
        self._parcels_to: Counter[str] = Counter()
        self._shelf_damage: dict[date, list[tuple[str, str]]] = defaultdict(list)
        self._decisions: dict[date, list[tuple[str, bool]]] = defaultdict(list)
        self._code_break: tuple[date, Course] | None = None

    # --- the calendar -------------------------------------------------------------------------------------------------

    def run(self) -> date:
        """Run every day until the last person has left the trial; returns that day."""
        today = self.first_day
        while not self.is_over:
            self.run_day(today)
            if today - self.first_day > LONGEST_TRIAL:
                raise RuntimeError("the rehearsal does not come to an end")
            today += timedelta(days=1)
        return today - timedelta(days=1)

    @property
    def is_over(self) -> bool:
        """Whether the target is reached and nobody is in screening or treatment."""
        return self.target_reached_on is not None and all(course.state == "ended" for course in self.courses)

    @property
    def randomised(self) -> int:
        """How many people have been randomised."""
        return sum(course.randomised_on is not None for course in self.courses)

    @property
    def today(self) -> date:
        """The date in the first depot's zone."""
        return local_date(self.clock.now(), self.zone.key)

    def sites_of_parcels(self, *states: str) -> list[str]:
        """The site of every shipment in one of `states`."""
        with self.stage.store.transaction() as tx:
            parcels = tx.session.scalars(select(Shipment).where(Shipment.state.in_(states)))
            return [parcel.site.code for parcel in parcels]

    def run_day(self, today: date) -> None:
        """One day in the plan's order: expiry at midnight, receipts, visits, randomisations, the night's orders."""
        self.begin_day(today)
        self._open_sites(today)
        self._receive(today)
        self._judge_quarantine(today)
        self._find_damage(today)
        self._at(today, time(8, 45))
        self.pick_and_ship(Shipment.ship_on <= today)
        self._see_people(today)
        self._at(today, self.definition.supply.night_run)
        self._order(today)
        ended = sum(course.state == "ended" and course.randomised_on is not None for course in self.courses)
        self.progress(
            self.randomised + ended,
            2 * self.target,
            f"day {(today - self.first_day).days}: {self.randomised} randomised, {ended} finished",
        )

    def begin_day(self, today: date) -> None:
        """Midnight: what has expired leaves the shelves."""
        self._at(today, time(0, 5))
        self.do(sweep_expired, service("expiry"), SweepExpired(self.stage.trial))

    def _at(self, on: date, at: time) -> None:
        self.clock.set(datetime.combine(on, at, self.zone))

    def _at_minute(self, on: date, minute: int) -> None:
        self._at(on, time(minute // 60, minute % 60))

    # --- deeds --------------------------------------------------------------------------------------------------------

    def do(self, deed: Callable[..., Any], actor: Actor, command: Any, *, sign: bool = False, key: str = "") -> Any:
        """Perform a deed, note how long it took, and count the rules of a refusal before raising it."""
        started = perf_counter()
        try:
            outcome = perform(
                self.stage.store,
                deed,
                actor,
                command,
                key=key or None,
                confirmation=self.stage.signed(actor) if sign else None,
            )
        except Refusal as refusal:
            self.refusals.update(refusal.rules)
            raise
        self.took[deed.__name__].append(perf_counter() - started)
        return outcome

    def _refused(self, *rules: str, deed: Callable[..., Any], actor: Actor, command: Any, sign: bool = False) -> bool:
        """Whether the deed is refused for one of `rules`; any other refusal is a fault and raised."""
        try:
            self.do(deed, actor, command, sign=sign)
        except Refusal as refusal:
            if set(refusal.rules) <= set(rules):
                return True
            raise
        return False

    # --- sites, lots and parcels --------------------------------------------------------------------------------------

    def _open_sites(self, today: date) -> None:
        self._at(today, time(8, 0))
        for lot, on in self.stage.lots.items():
            if on == today or (on < today == self.first_day):
                self.do(release_lot, self.stage.people["quality"], ReleaseLot(self.stage.trial, lot, f"QP {lot}"))
        while self._sites_to_open and self.definition.site(self._sites_to_open[0]).planned_opening <= today:
            self.stage.open_site(self._sites_to_open.pop(0), today)

    def _parcels(self, state: str, *where: Any) -> list[tuple[str, str, date, list[str]]]:
        """The shipments in `state` that meet the conditions `where`: number, site, expected day, kit numbers."""
        with self.stage.store.transaction() as tx:
            statement = select(Shipment).where(Shipment.state == state, *where).order_by(Shipment.number)
            return [
                (parcel.number, parcel.site.code, parcel.expected_on, [line.kit.number for line in kits_of(tx, parcel)])
                for parcel in tx.session.scalars(statement)
            ]

    def pick_and_ship(self, *where: Any) -> None:
        """The depot sends off the requested shipments that meet the conditions `where`."""
        depots = {site.code: site.depot for site in self.definition.sites}
        for number, site, _, kits in self._parcels("requested", *where):
            operator = self.stage.at_depot(depots[site])
            self.do(pick_shipment, operator, PickShipment(self.stage.trial, number, tuple(kits)))
            self.do(ship_shipment, operator, ShipShipment(self.stage.trial, number, "SF Express", f"SF{number}"))

    def _nth_parcel(self, number: str, site: str) -> int:
        if number not in self._nth:
            self._parcels_to[site] += 1
            self._nth[number] = self._parcels_to[site]
        return self._nth[number]

    def _receive(self, today: date) -> None:
        self._at(today, time(8, 15))
        written_off_after = timedelta(days=self.definition.supply.overdue_after_days)
        for number, site, expected, kits in self._parcels("in_transit", Shipment.expected_on <= today):
            nth = self._nth_parcel(number, site)
            fate = self.story.parcel(site, nth)
            if fate.is_lost:
                if today > expected + written_off_after:
                    command = CloseShipment(self.stage.trial, number, "lost", "the carrier cannot find it")
                    self.do(close_shipment, self.stage.people["supply"], command)
                continue
            outcomes = {}
            for place, kit in enumerate(kits, 1):
                box = self.story.box(site, nth, place)
                outcomes[kit] = "damaged" if box.arrives_damaged else "excursion" if fate.has_excursion else "good"
                if box.shelf_days is not None:
                    self._shelf_damage[today + timedelta(days=box.shelf_days)].append((site, kit))
                if outcomes[kit] == "excursion":
                    decided_on = today + timedelta(days=fate.decision_days)
                    self._decisions[decided_on].append((kit, not fate.is_rejected))
            pharmacist = self.stage.at_site(Role.PHARMACIST, site)
            self.do(receive_shipment, pharmacist, ReceiveShipment(self.stage.trial, number, outcomes))

    def _states_of(self, kits: list[str]) -> dict[str, str]:
        with self.stage.store.transaction() as tx:
            rows = tx.session.execute(select(Kit.number, Kit.state).where(Kit.number.in_(kits)))
            return dict(rows.all())

    def _judge_quarantine(self, today: date) -> None:
        decisions = self._decisions.pop(today, [])
        self._at(today, time(8, 30))
        states = self._states_of([kit for kit, _ in decisions])
        for kit, is_released in decisions:
            if states[kit] == KitState.QUARANTINED:  # it may have expired while it waited
                command = DecideQuarantine(self.stage.trial, kit, is_released, f"QA decision on {kit}")
                self.do(decide_quarantine, self.stage.people["quality"], command)

    def _find_damage(self, today: date) -> None:
        found = self._shelf_damage.pop(today, [])
        states = self._states_of([kit for _, kit in found])
        for site, kit in found:
            if states[kit] == KitState.AVAILABLE:
                command = ReportKit(self.stage.trial, site, kit, "damaged", "the seal is broken")
                self.do(report_kit, self.stage.at_site(Role.PHARMACIST, site), command)

    def _order(self, today: date) -> NightReport:
        started = perf_counter()
        report = run_night(self.stage.store, service("resupply"), self.stage.trial, today)
        self.took["run_night"].append(perf_counter() - started)
        self.refusals.update(report.refused.values())
        return report

    # --- people -------------------------------------------------------------------------------------------------------

    def _see_people(self, today: date) -> None:
        """Everything people come for today: visits and endings in the morning, then consents and randomisations."""
        tasks: list[tuple[int, str, Callable[[], None]]] = []
        for course in self.courses:
            if course.state == "treatment":
                tasks.append((course.person.visit_minute, course.code, partial(self._attend, course, today)))
            elif course.state == "screening" and course.decision_on <= today:
                tasks.append((course.person.randomisation_minute, course.code, partial(self._decide, course, today)))
        tasks += self._arrivals(today)
        for minute, _, task in sorted(tasks, key=lambda found: found[:2]):
            self._at_minute(today, minute)
            task()
        self._break_code(today)

    def _arrivals(self, today: date) -> list[tuple[int, str, Callable[[], None]]]:
        if self.target_reached_on is not None:
            return []
        tasks: list[tuple[int, str, Callable[[], None]]] = []
        for site in self._next:
            while (person := self._next[site]).consent_on <= today:
                tasks.append((person.consent_minute, f"{site}-{person.number:03d}", partial(self._screen, person)))
                self._next[site] = next(self._coming[site])
        return tasks

    def _investigator(self, course: Course) -> Actor:
        return self.stage.at_site(Role.INVESTIGATOR, course.person.site)

    def _pharmacist(self, course: Course) -> Actor:
        return self.stage.at_site(Role.PHARMACIST, course.person.site)

    def _screen(self, person: Person) -> None:
        command = ScreenSubject(
            self.stage.trial, person.site, person.consent_on, person.year_of_birth, person.sex, is_new_person=True
        )
        done = self.do(screen_subject, self.stage.at_site(Role.INVESTIGATOR, person.site), command)
        decision_on = person.consent_on + timedelta(days=person.screening_days)
        self.courses.append(Course(person, done.ids["subject"], decision_on))

    def _fail(self, course: Course, reason: str) -> None:
        self.do(fail_screening, self._investigator(course), FailScreening(self.stage.trial, course.code, reason))
        course.state = "ended"

    def _decide(self, course: Course, today: date) -> None:
        """The end of screening: a failure, or a randomisation that may have to wait for kits."""
        if course.person.fails_screening:
            self._fail(course, f"criterion {course.person.failed_criterion} is not met")
            return
        if self.target_reached_on is not None and self.target < self.definition.caps.trial:
            self._fail(course, "recruitment is complete")
            return
        answers = {
            found.code: found.kind == "inclusion" for found in self.definition.criteria if found.rule == "confirm"
        }
        command = RandomiseSubject(self.stage.trial, course.code, answers, course.person.values)
        actor = self._investigator(course)
        if course.person.forgets_an_answer and not course.tries:
            forgotten = replace(command, answers=dict(list(answers.items())[1:]))
            self._refused("eligibility.unanswered", deed=randomise_subject, actor=actor, command=forgotten, sign=True)
        course.tries += 1
        key = f"rehearsal-{course.code}-{course.tries}"
        try:
            self.do(randomise_subject, actor, command, sign=True, key=key)
        except Refusal as refusal:
            if refusal.rules == ("cap.trial",):
                self._fail(course, "recruitment is complete")
            elif refusal.rules == ("stock.gate",):
                if course.tries == MOST_TRIES:
                    self.turned_away += 1
                    self._fail(course, "the site has no kits")
            else:
                raise
            return
        if course.person.clicks_twice and not self.do(randomise_subject, actor, command, sign=True, key=key).again:
            raise RuntimeError("a double click has randomised twice")
        course.state, course.randomised_on = "treatment", today
        course.to_come = sorted(self.definition.visits, key=lambda visit: visit.day)
        first = course.to_come.pop(0)
        self.visits["due"] += 1
        self._hand_over(course, first, today)
        if self.randomised == self.target:
            self.target_reached_on = today
        self._plan_code_break(course, today)

    def _plan_code_break(self, course: Course, today: date) -> None:
        plan = self.story.code_break()
        if self.randomised == min(plan.nth_randomised, self.target):
            self._code_break = self._code_break or (today + timedelta(days=plan.days_after), course)

    def _assigned_kit(self, course: Course, visit: Visit) -> str:
        """The number on the pharmacist's screen."""
        with self.stage.store.transaction() as tx:
            statement = (
                select(Kit.number)
                .join(Dispensing, Dispensing.kit_id == Kit.id)
                .join(Subject, Dispensing.subject_id == Subject.id)
                .where(Subject.code == course.code, Dispensing.visit == visit.code, Dispensing.state == "assigned")
            )
            return tx.session.scalars(statement).one()

    def _hand_over(self, course: Course, visit: Visit, today: date) -> None:
        kit = self._assigned_kit(course, visit)
        command = HandOver(self.stage.trial, course.code, visit.code, kit)
        if visit.code in course.person.mistyped_visits:
            slip = replace(command, kit=kit[:-1])
            self._refused("kit.mismatch", deed=hand_over, actor=self._pharmacist(course), command=slip)
        self.do(hand_over, self._pharmacist(course), command)
        self.visits["dispensed"] += 1
        if visit.code in course.person.replaced_after:
            course.replacement = today + timedelta(days=course.person.replaced_after[visit.code]), visit, kit

    def _attend(self, course: Course, today: date) -> None:
        """What a person in treatment comes for today: a spoilt kit, the next visit, or the end."""
        randomised_on = course.randomised_on
        if randomised_on is None:
            raise RuntimeError("a person in treatment was randomised")
        if today >= randomised_on + timedelta(days=course.person.days_in_treatment):
            command = EndTreatment(self.stage.trial, course.code, "withdrawn", "the subject withdrew consent")
            self.do(end_treatment, self._investigator(course), command)
            course.state = "ended"
            return
        if course.replacement and today >= course.replacement[0]:
            self._replace(course)
        visit = course.to_come[0]
        if today < due_date(randomised_on, visit) + timedelta(days=course.person.shifts[visit.code]):
            return
        if not any(visit.kits.values()):
            course.to_come.pop(0)
            if not course.to_come:
                command = EndTreatment(self.stage.trial, course.code, "completed", "")
                self.do(end_treatment, self._investigator(course), command)
                course.state = "ended"
            return
        course.replacement = None
        lacking = self._refused(
            "kit.none_suitable",
            deed=prepare_visit,
            actor=self._pharmacist(course),
            command=PrepareVisit(self.stage.trial, course.code, visit.code),
        )
        is_last_day = today >= window(randomised_on, visit)[1]
        if lacking and not is_last_day:
            return  # back tomorrow
        course.to_come.pop(0)
        self.visits["due"] += 1
        if lacking:
            self.visits["missed"] += 1
        else:
            self._hand_over(course, visit, today)

    def _replace(self, course: Course) -> None:
        """The kit last handed over is spoilt; while no other is there, the person comes back day by day."""
        if course.replacement is None:
            raise RuntimeError("there is a kit to replace")
        _, visit, kit = course.replacement
        command = ReplaceKit(self.stage.trial, course.code, kit, "damaged", "the subject spoilt the box")
        pharmacist = self._pharmacist(course)
        if not self._refused("kit.none_suitable", deed=replace_kit, actor=pharmacist, command=command):
            another = HandOver(self.stage.trial, course.code, visit.code, self._assigned_kit(course, visit))
            self.do(hand_over, pharmacist, another)
            course.replacement = None

    def _break_code(self, today: date) -> None:
        if self._code_break is None or self._code_break[0] > today:
            return
        course = self._code_break[1]
        self._code_break = None
        self._at(today, time(18, 0))
        command = UnblindSubject(self.stage.trial, course.code, "acute respiratory failure", adverse_event=True)
        self.do(unblind_subject, self.stage.at_site(Role.PHYSICIAN, course.person.site), command, sign=True)

    # --- what came of it ----------------------------------------------------------------------------------------------

    def summarise(self, last_day: date, check: str) -> Summary:
        """Count what stands in the database."""
        with self.stage.store.transaction() as tx:

            def counted(column: Any, *where: Any) -> dict[str, int]:
                rows = tx.session.execute(select(column, func.count()).where(*where).group_by(column).order_by(column))
                return {str(value): number for value, number in rows}

            strata = counted(Subject.stratum, Subject.randomised_at.is_not(None))
            shipments = tx.session.scalar(select(func.count()).select_from(Shipment)) or 0
            kits = counted(Kit.state)
            events = tx.session.scalar(select(func.count()).select_from(AuditEvent)) or 0
        reached = self.target_reached_on or last_day
        return Summary(
            trial=self.stage.trial,
            seed=self.story.seed,
            days=(last_day - self.first_day).days,
            days_to_target=(reached - self.first_day).days,
            randomised=sum(strata.values()),
            randomised_by_stratum=strata,
            turned_away=self.turned_away,
            visits_due=self.visits["due"],
            visits_dispensed=self.visits["dispensed"],
            visits_missed=self.visits["missed"],
            refusals=dict(sorted(self.refusals.items())),
            shipments=shipments,
            kits=kits,
            audit_events=events,
            check=check,
            seconds={
                deed: {
                    "count": len(times),
                    "median": round(statistics.median(times), 6),
                    "total": round(sum(times), 3),
                }
                for deed, times in sorted(self.took.items())
            },
        )


def list_seed(seed: int, plan: str) -> str:
    """The seed (hex) of a rehearsal's list: the same story has the same allocation."""
    return hashlib.sha256(f"rts/rehearsal/1 list {plan} {seed}".encode()).hexdigest()


@dataclass(frozen=True)
class Ground:
    """Where a rehearsal takes place: its database's address, its keyring and the folder of its lists."""

    database: str
    keyring: Path
    lists: Path


@contextmanager
def scratch_ground() -> Iterator[Ground]:
    """Ground that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="rts-rehearsal-") as name:
        folder = Path(name)
        yield Ground(f"sqlite:///{folder / 'rts.sqlite'}", folder / "keyring.json", folder / "allocation_lists")


def ground_at(database: str, keyring: Path | None = None, lists: Path | None = None) -> Ground:
    """Ground on the database at this address; what is not named lies beside its file, or in the working folder when the
    database is on a server. Several rehearsals may share a folder: each has lists of its own.
    """
    url = make_url(database)
    on_server = url.get_backend_name() != "sqlite"
    file = Path.cwd() / str(url.database) if on_server else Path(url.database or "rts.sqlite")
    file.parent.mkdir(parents=True, exist_ok=True)
    shared = file.parent / "allocation_lists"
    own = file.parent / f"{file.stem}-allocation_lists" if shared.exists() else shared
    return Ground(database, keyring or file.parent / "keyring.json", lists or own)


def rehearse(
    ground: Ground,
    trial: str = "sirius",
    *,
    seed: int,
    subjects: int | None = None,
    sites: tuple[str, ...] | None = None,
    chances: Chances = PLANNED,
    progress: Progress = unheard,
) -> Summary:
    """Run the whole shipped trial `trial` on empty `ground` and check what it left behind.

    `subjects` stops recruitment early, `sites` lets some sites alone recruit, `chances` makes the story livelier or
    duller. `progress` hears of every day.

    Raises Refusal `conflict` when the database or the folder of lists is not empty, `invalid` for a wrong number of
    subjects or a site that the trial has not.
    """
    public, restricted = shipped_definition(trial)
    definition = read_definition(public)
    target = definition.caps.trial if subjects is None else subjects
    chosen = sites or tuple(site.code for site in definition.sites)
    if not 1 <= target <= definition.caps.trial:
        raise refuse(
            "invalid",
            "rehearsal.subjects",
            say("Between 1 and %(most)d subjects can be randomised.", most=definition.caps.trial),
            "subjects",
        )
    if unknown := sorted(set(chosen) - {site.code for site in definition.sites}):
        raise refuse(
            "invalid", "site.unknown", say("There is no site %(site)s in this trial.", site=unknown[0]), "sites"
        )
    if (ground.lists / definition.code).exists():
        raise refuse(
            "conflict",
            "rehearsal.lists",
            say("A rehearsal makes its own lists, and %(folder)s holds some already.", folder=str(ground.lists)),
            "lists",
        )
    upgrade(ground.database)
    story = Story(definition, seed, chances)
    first_day = min(definition.site(site).planned_opening for site in chosen)
    zone = ZoneInfo(definition.depots[0].time_zone)
    clock = HeldClock(datetime.combine(first_day, time(0, 1), zone))
    store = open_store(ground.database, ground.keyring, ground.lists, create_keyring=True, clock=clock)
    do_not_wait_for_the_disk(store)
    try:
        with store.transaction() as tx:
            if tx.session.get(Installation, 1) is not None:
                raise refuse(
                    "conflict",
                    "rehearsal.database",
                    say("A rehearsal needs an empty database, and this one holds an installation."),
                    "database",
                )
        progress(0, 2 * target, "setting the stage")
        stage = stage_trial(
            store,
            public,
            restricted,
            environment="test",
            in_force_from=first_day,
            password=PASSWORD,
            site_people=chosen,
            seeds={plan: list_seed(seed, plan) for plan in planned_lists(read_restricted(restricted, definition))},
        )
        rehearsal = Rehearsal(stage, clock, story, target=target, sites=chosen, progress=progress)
        last_day = rehearsal.run()
        progress(2 * target, 2 * target, "checking")
        return rehearsal.summarise(last_day, checked(store))
    finally:
        store.engine.dispose()


def do_not_wait_for_the_disk(store: Store) -> None:
    """Let commits to a SQLite database that can be made anew return before they are on the disk. Before its first use
    only.
    """
    if store.engine.dialect.name == "sqlite":
        event.listen(store.engine, "connect", lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"))


def checked(store: Store) -> str:
    """`clean`, or what `rts check` finds wrong."""
    return "; ".join(str(found) for found in run_checks(store)) or "clean"
