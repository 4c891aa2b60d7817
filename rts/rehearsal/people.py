"""The people of a rehearsal: who comes, is screened, randomised, given kits, and leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from functools import partial

from sqlalchemy import select

from rts.access.actor import Actor
from rts.access.permissions import Role
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.handing_over import HandOver, hand_over
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.replacing_kits import ReplaceKit, replace_kit
from rts.conduct.returning_kits import ReturnKit, WriteOffKit, return_kit, write_off_kit
from rts.conduct.screening import FailScreening, ScreenSubject, fail_screening, screen_subject
from rts.conduct.unblinding import UnblindSubject, unblind_subject
from rts.refusal import Refusal
from rts.rehearsal.scene import Scene
from rts.rehearsal.story import Person, Story
from rts.store.tables import Dispensing, Kit, Subject
from rts.supply.windows import due_date, window
from rts.trial.definition import Visit

MOST_TRIES = 5  # days on which a person is asked back for randomisation while kits are lacking


@dataclass
class Course:
    """A person on their way through the trial; `to_come` are the visits not yet done, in order.

    `is_lacking`: the kit of `replacement` is recorded as spoilt, and another is still to be had.
    """

    person: Person
    code: str
    decision_on: date
    state: str = "screening"
    tries: int = 0
    randomised_on: date | None = None
    to_come: list[Visit] = field(default_factory=list)
    replacement: tuple[date, Visit, str] | None = None
    is_lacking: bool = False


class People:
    """Everybody who comes, by the story, and what investigators, pharmacists and a physician do with them."""

    def __init__(self, scene: Scene, story: Story, sites: tuple[str, ...], target: int) -> None:
        self.scene = scene
        self.stage = scene.stage
        self.story = story
        self.target = target
        self.visits: Counter[str] = Counter()
        self.turned_away = 0
        self.target_reached_on: date | None = None
        self.courses: list[Course] = []
        self._coming = {site: story.people_of(site) for site in sites}
        self._next = {site: next(people) for site, people in self._coming.items()}
        self._code_break: tuple[date, Course] | None = None

    @property
    def randomised(self) -> int:
        """How many people have been randomised."""
        return sum(course.randomised_on is not None for course in self.courses)

    @property
    def finished(self) -> int:
        """How many of the randomised have left the trial."""
        return sum(course.state == "ended" and course.randomised_on is not None for course in self.courses)

    def see_people(self, today: date) -> None:
        """Everything people come for today: visits and endings in the morning, then consents and randomisations."""
        tasks: list[tuple[int, str, Callable[[], None]]] = []
        for course in self.courses:
            if course.state == "treatment":
                tasks.append((course.person.visit_minute, course.code, partial(self._attend, course, today)))
            elif course.state == "screening" and course.decision_on <= today:
                tasks.append((course.person.randomisation_minute, course.code, partial(self._decide, course, today)))
        tasks += self._arrivals(today)
        for minute, _, task in sorted(tasks, key=lambda found: found[:2]):
            self.scene.at_minute(today, minute)
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
        done = self.scene.do(screen_subject, self.stage.at_site(Role.INVESTIGATOR, person.site), command)
        decision_on = person.consent_on + timedelta(days=person.screening_days)
        self.courses.append(Course(person, done.ids["subject"], decision_on))

    def _fail(self, course: Course, reason: str) -> None:
        self.scene.do(fail_screening, self._investigator(course), FailScreening(self.stage.trial, course.code, reason))
        course.state = "ended"

    def _decide(self, course: Course, today: date) -> None:
        """The end of screening: a failure, or a randomisation that may have to wait for kits."""
        if course.person.fails_screening:
            self._fail(course, f"criterion {course.person.failed_criterion} is not met")
            return
        if self.target_reached_on is not None and self.target < self.scene.definition.caps.trial:
            self._fail(course, "recruitment is complete")
            return
        answers = {
            found.code: found.kind == "inclusion" for found in self.scene.definition.criteria if found.rule == "confirm"
        }
        command = RandomiseSubject(self.stage.trial, course.code, answers, course.person.values)
        actor = self._investigator(course)
        if course.person.forgets_an_answer and not course.tries:
            forgotten = replace(command, answers=dict(list(answers.items())[1:]))
            self.scene.refused(
                "eligibility.unanswered", deed=randomise_subject, actor=actor, command=forgotten, sign=True
            )
        course.tries += 1
        key = f"rehearsal-{course.code}-{course.tries}"
        try:
            self.scene.do(randomise_subject, actor, command, sign=True, key=key)
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
        if (
            course.person.clicks_twice
            and not self.scene.do(randomise_subject, actor, command, sign=True, key=key).again
        ):
            raise RuntimeError("a double click has randomised twice")
        course.state, course.randomised_on = "treatment", today
        course.to_come = sorted(self.scene.definition.visits, key=lambda visit: visit.day)
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

    def _assigned_kits(self, course: Course, visit: Visit) -> list[str]:
        """The numbers on the pharmacist's screen: what is set aside for a visit."""
        with self.stage.store.transaction() as tx:
            statement = (
                select(Kit.number)
                .join(Dispensing, Dispensing.kit_id == Kit.id)
                .join(Subject, Dispensing.subject_id == Subject.id)
                .where(Subject.code == course.code, Dispensing.visit == visit.code, Dispensing.state == "assigned")
            )
            return list(tx.session.scalars(statement))

    def _assigned_kit(self, course: Course, visit: Visit) -> str:
        (kit,) = self._assigned_kits(course, visit)
        return kit

    def _hand_over(self, course: Course, visit: Visit, today: date) -> None:
        kit = self._assigned_kit(course, visit)
        command = HandOver(self.stage.trial, course.code, visit.code, kit)
        if visit.code in course.person.mistyped_visits:
            slip = replace(command, kit=kit[:-1])
            self.scene.refused("kit.mismatch", deed=hand_over, actor=self._pharmacist(course), command=slip)
        self.scene.do(hand_over, self._pharmacist(course), command)
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
            self.scene.do(end_treatment, self._investigator(course), command)
            course.state = "ended"
            self._bring_back(course, today)
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
                self.scene.do(end_treatment, self._investigator(course), command)
                course.state = "ended"
            self._bring_back(course, today)
            return
        course.replacement, course.is_lacking = None, False
        lacking = self.scene.refused(
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
        self._bring_back(course, today)
        if lacking:
            self.visits["missed"] += 1
        else:
            self._hand_over(course, visit, today)

    def _bring_back(self, course: Course, today: date) -> None:
        """The boxes of earlier visits come back and are counted, or never will."""
        with self.stage.store.transaction() as tx:
            statement = (
                select(Kit.number, Dispensing.visit)
                .join(Dispensing, Dispensing.kit_id == Kit.id)
                .join(Subject, Dispensing.subject_id == Subject.id)
                .where(Subject.code == course.code, Kit.state == "dispensed")
                .order_by(Kit.number)
            )
            with_subject = [(number, visit) for number, visit in tx.session.execute(statement)]
        trial, pharmacist = self.stage.trial, self._pharmacist(course)
        for number, visit in with_subject:
            if visit in course.person.never_returned:
                lost = WriteOffKit(trial, course.code, number, "the subject threw the box away")
                self.scene.do(write_off_kit, pharmacist, lost)
            else:
                left = course.person.left_over[visit] if self.scene.definition.units_a_kit else None
                self.scene.do(return_kit, pharmacist, ReturnKit(trial, course.code, number, left, today))

    def _replace(self, course: Course) -> None:
        """The kit last handed over is spoilt; while no other is there, the person comes back day by day."""
        if course.replacement is None:
            raise RuntimeError("there is a kit to replace")
        _, visit, kit = course.replacement
        pharmacist = self._pharmacist(course)
        if course.is_lacking:
            command = PrepareVisit(self.stage.trial, course.code, visit.code)
            lacks = self.scene.refused("kit.none_suitable", deed=prepare_visit, actor=pharmacist, command=command)
        else:
            spoilt = ReplaceKit(self.stage.trial, course.code, kit, "damaged", "the subject spoilt the box")
            self.scene.do(replace_kit, pharmacist, spoilt)
            lacks = not self._assigned_kits(course, visit)
        course.is_lacking = lacks
        if not lacks:
            another = HandOver(self.stage.trial, course.code, visit.code, self._assigned_kit(course, visit))
            self.scene.do(hand_over, pharmacist, another)
            course.replacement = None

    def _break_code(self, today: date) -> None:
        if self._code_break is None or self._code_break[0] > today:
            return
        course = self._code_break[1]
        self._code_break = None
        self.scene.at(today, time(18, 0))
        command = UnblindSubject(self.stage.trial, course.code, "acute respiratory failure", adverse_event=True)
        self.scene.do(unblind_subject, self.stage.at_site(Role.PHYSICIAN, course.person.site), command, sign=True)
