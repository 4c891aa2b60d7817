"""One story of a small trial, told in any world: two sites, twelve subjects, and everything that can happen to them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import select

from rts.access.actor import Actor, service
from rts.access.permissions import Role
from rts.conduct.closing_shipments import CloseShipment, close_shipment
from rts.conduct.deciding_quarantine import DecideQuarantine, decide_quarantine
from rts.conduct.destroying_kits import (
    AuthoriseDestruction,
    RecordDestruction,
    authorise_destruction,
    record_destruction,
)
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.handing_over import HandOver, hand_over
from rts.conduct.perform import perform
from rts.conduct.picking_shipments import PickShipment, pick_shipment
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.recalling_lots import EndRecall, RecallLot, end_recall, recall_lot
from rts.conduct.receiving_shipments import ReceiveShipment, receive_shipment
from rts.conduct.recording_temperatures import RecordTemperatures, record_temperatures
from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.conduct.replacing_kits import ReplaceKit, replace_kit
from rts.conduct.reporting_kits import ReportKit, report_kit
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.conduct.returning_kits import ReturnKit, WriteOffKit, return_kit, write_off_kit
from rts.conduct.screening import FailScreening, ScreenSubject, fail_screening, screen_subject
from rts.conduct.sending_shipments import ShipShipment, ship_shipment
from rts.conduct.unblinding import Unblinded, UnblindSubject, unblind_subject
from rts.conduct.verifying_kits import VerifyKits, verify_kits
from rts.jobs.catalogue import scheduled_jobs
from rts.jobs.due import due_jobs
from rts.jobs.runs import last_runs
from rts.jobs.scheduler import run_job
from rts.notices.delivery import deliver_due
from rts.refusal import Refusal
from rts.settings import Settings
from rts.store.tables import Kit, Shipment, Site
from tests.blinding.collector import Collector, Doors, blinded_people, one_of_each_blinded_role
from tests.blinding.forms import FORMS
from tests.blinding.worlds import SITES, TREATMENTS
from tests.infrastructure.mail import MailServer
from tests.world import World

TARGET = 12
STRATA = ({"SLEDAI": 6.0, "STEROID": 5.0}, {"SLEDAI": 14.0, "STEROID": 12.5})


@dataclass
class Story:
    """The teller: does deeds in a world and collects what people are told."""

    world: World
    doors: Doors
    collector: Collector
    refused: list[str] = field(default_factory=list)
    randomised: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    by_door: Counter[str] = field(default_factory=Counter)  # deeds that a page carried out

    @property
    def trial(self) -> str:
        return self.world.stage.trial

    def do(
        self, deed: Any, who: str | Actor, command: Any, *, sign: bool = False, key: str = "", at_core: bool = False
    ) -> Any:
        """Do a deed; note the outcome, or the refusal, as the person is told it. None when it was refused."""
        actor = self.world.who(who) if isinstance(who, str) else who
        self.done[deed.__name__] += 1
        # In turn at the core, whose words for a refusal are noted in full, and at the pages.
        if deed in FORMS and not key and not at_core and self.done[deed.__name__] % 2 == 0:
            return self._do_at_the_door(deed, actor.name, command)
        place = f"{actor.name} {deed.__name__}"
        confirmation = self.world.stage.signed(actor) if sign else None
        try:
            outcome = perform(self.world.store, deed, actor, command, key=key or None, confirmation=confirmation)
        except Refusal as refusal:
            self.collector.add(place, f"refused {refusal.code} {refusal.rules} {refusal}")
            self.refused += refusal.rules
            return None
        # The one reply that shows a code to its requester is excepted; all else of it is compared.
        told = outcome.done if isinstance(outcome, Unblinded) else outcome
        self.collector.add(place, repr(told))
        return outcome

    def _do_at_the_door(self, deed: Any, username: str, command: Any) -> str | None:
        """The address that a page sends to after the deed; None when it refuses."""
        site = self.site_of(command.shipment) if deed is receive_shipment else ""
        path, entered = FORMS[deed](command, site)
        url = f"/trials/{self.trial}/{path}"
        if deed is unblind_subject:
            return self._unblind_at_the_door(username, url, entered)
        answer = self.doors.submit(username, url, **entered)
        if answer.status_code != 303:
            return None
        self.by_door[deed.__name__] += 1
        self.doors.get(username, answer.location)
        return str(answer.location)

    def _unblind_at_the_door(self, username: str, url: str, entered: dict[str, str]) -> str | None:
        answer = self.doors.submit(username, url, is_kept=False, **entered)
        told = [treatment for treatment in TREATMENTS if treatment in answer.text]
        assert len(told) == 1, "the physician is told one treatment"
        self.by_door["unblind_subject"] += 1
        # The one reply that shows a code to its requester: the rest of it is compared.
        self.collector.add(f"{username} POST {url}", answer.text.replace(told[0], "<treatment>"))
        return url

    def at(self, role: Role, site: str) -> Actor:
        return self.world.stage.at_site(role, site)

    def pass_days(self, days: float) -> None:
        self.world.clock.advance(timedelta(days=days))

    def run_jobs(self, settings: Settings) -> None:
        """Whatever is due now: sweep, overdue shipments, low lists, calendars, resupply, checkpoint."""
        with self.world.store.transaction() as tx:
            due = due_jobs(tx.now, scheduled_jobs(tx), last_runs(tx))
        for job in due:
            run_job(self.world.store, settings, job)

    # --- people -------------------------------------------------------------------------------------------------------

    def screen(self, site: str, *, year_of_birth: int = 1980) -> str:
        today = (self.world.clock.now() + timedelta(hours=8)).date()
        command = ScreenSubject(self.trial, site, today, year_of_birth, "female", is_new_person=True)
        done = self.do(screen_subject, self.at(Role.INVESTIGATOR, site), command)
        return re.search(r"[A-Z]{2}\d\d-\d+", repr(done))[0]  # type: ignore[index]

    def randomise(self, subject: str, key: str = "", **changes: Any) -> bool:
        site = subject.rsplit("-", 1)[0]
        values = STRATA[int(subject.rsplit("-", 1)[1]) % len(STRATA)]
        command = RandomiseSubject(self.trial, subject, self.world.answers() | changes, values)
        done = self.do(
            randomise_subject, self.at(Role.INVESTIGATOR, site), command, sign=True, key=key, at_core=bool(changes)
        )
        if done is not None and subject not in self.randomised:
            self.randomised.append(subject)
        return done is not None

    def pharmacist_of(self, subject: str) -> Actor:
        return self.at(Role.PHARMACIST, subject.rsplit("-", 1)[0])

    def hand_over(self, subject: str, visit: str, kit: str = "") -> bool:
        kit = kit or self.world.kit_for(subject, visit)
        command = HandOver(self.trial, subject, visit, kit)
        return self.do(hand_over, self.pharmacist_of(subject), command) is not None

    def dispense(self, subject: str, visit: str, reason: str = "") -> bool:
        command = PrepareVisit(self.trial, subject, visit, reason)
        if self.do(prepare_visit, self.pharmacist_of(subject), command) is None:
            return False
        return self.hand_over(subject, visit)

    # --- parcels ------------------------------------------------------------------------------------------------------

    def ship(self) -> None:
        depot = self.world.stage.at_depot(self.world.stage.definition.depots[0].code)
        for number in self.world.shipments("requested"):
            kits = tuple(self.world.kit_numbers(number))
            self.do(pick_shipment, depot, PickShipment(self.trial, number, kits[1:]))
            self.do(pick_shipment, depot, PickShipment(self.trial, number, kits))
            self.do(ship_shipment, depot, ShipShipment(self.trial, number, "SF Express", f"SF-{number}", "LOG-1"))

    def receive(self, *troubles: str) -> None:
        """Receive every parcel on its way; the first kits of the first parcel, by number, arrive with `troubles`."""
        for number in self.world.shipments("in_transit"):
            kits = self.world.kit_numbers(number)
            outcomes = dict.fromkeys(kits, "good") | dict(zip(kits, troubles, strict=False))
            troubles = ()
            pharmacist = self.at(Role.PHARMACIST, self.site_of(number))
            self.do(receive_shipment, pharmacist, ReceiveShipment(self.trial, number, dict(list(outcomes.items())[1:])))
            self.do(receive_shipment, pharmacist, ReceiveShipment(self.trial, number, outcomes))

    def site_of(self, shipment: str) -> str:
        from rts.conduct.shipments import shipment_named

        with self.world.store.transaction() as tx:
            return str(shipment_named(tx, tx.trial(self.trial), shipment).site.code)

    def kits(self, state: str, site: str) -> list[str]:
        with self.world.store.transaction() as tx:
            place = tx.site(tx.trial(self.trial), site)
            statement = select(Kit.number).where(Kit.state == state, Kit.site_id == place.id).order_by(Kit.number)
            return list(tx.session.scalars(statement))


def walk(story: Story) -> int:
    """The pages of every blinded role, and of nobody, as they are now."""
    return story.doors.walk("", *one_of_each_blinded_role(story.world))


def tell(story: Story, settings: Settings) -> None:
    """The whole story, from the first released lot to the day the last kit expires."""
    trial, first, second = story.trial, *SITES
    story.do(release_lot, "quality", ReleaseLot(trial, "BL-2601", ""))
    story.do(release_lot, "quality", ReleaseLot(trial, "BL-2601", "QP release 1"))
    for site in SITES:
        story.world.stage.open_site(site, date(2026, 1, 2))

    # Nobody is randomised before kits lie at the site, nor when a criterion is not met.
    early = story.screen(first)
    assert not story.randomise(early)
    failing = story.screen(second)
    assert not story.randomise(failing, E02=True)
    story.do(fail_screening, story.at(Role.INVESTIGATOR, second), FailScreening(trial, failing, "E02 was met"))

    story.run_jobs(settings)
    story.pass_days(1)
    story.run_jobs(settings)
    story.ship()
    story.pass_days(2)
    story.receive("damaged", "excursion", "missing", "excursion")
    waiting = story.kits("quarantined", first)
    story.doors.get("quality", f"/trials/{trial}/supply/quarantine/{waiting[0]}/decide")
    story.do(decide_quarantine, "quality", DecideQuarantine(trial, waiting[0], release=True, document="QA 1"))
    story.do(decide_quarantine, "quality", DecideQuarantine(trial, waiting[1], release=False, document="QA 2"))
    story.do(decide_quarantine, "quality", DecideQuarantine(trial, waiting[1], release=False, document="QA 3"))

    # Twelve subjects, as stock allows; what is short is shipped at night.
    people = [early]
    for day in range(30):
        if len(story.randomised) == TARGET:
            break
        site = SITES[day % 2]
        while len(story.randomised) < TARGET:
            subject = next((s for s in people if s.startswith(site) and s not in story.randomised), "")
            if not subject:
                subject = story.screen(site)
                people.append(subject)
            if not story.randomise(subject, key=subject):
                break
            story.randomise(subject, key=subject)  # a double click
            story.randomise(subject)  # another try
            story.hand_over(subject, "W0", "K999999")
            if len(story.randomised) % 3:
                story.hand_over(subject, "W0")
        story.pass_days(1)
        story.run_jobs(settings)
        story.ship()
        story.receive(*(("good", "damaged") if day == 3 else ()))
    assert len(story.randomised) == TARGET

    one, two, three, *others = story.randomised
    # A kit that breaks before it is handed over, one lost afterwards, one found broken on the shelf.
    story.do(
        replace_kit,
        story.pharmacist_of(three),
        ReplaceKit(trial, three, story.world.kit_for(three, "W0"), "damaged", ""),
    )
    for subject, fate in ((three, "damaged"), (one, "lost")):
        kit = story.world.kit_for(subject, "W0")
        story.do(replace_kit, story.pharmacist_of(subject), ReplaceKit(trial, subject, kit, fate, "dropped"))
        story.hand_over(subject, "W0")
    shelf = story.kits("available", second)
    story.do(
        report_kit,
        story.at(Role.PHARMACIST, second),
        ReportKit(trial, second, shelf[0], "damaged", "the seal is broken"),
    )
    story.doors.walk("", story.at(Role.PHARMACIST, first).name, story.at(Role.INVESTIGATOR, second).name)

    # Week 4: too early without a reason; then in the window.
    story.dispense(two, "W4")
    story.dispense(two, "W4", "travels next week")
    story.pass_days(27)
    story.run_jobs(settings)
    story.ship()
    story.pass_days(2)
    story.receive()
    for subject in others[:4]:
        story.dispense(subject, "W4", "late")
    story.do(prepare_visit, story.pharmacist_of(one), PrepareVisit(trial, one, "W4", "late"))
    story.do(
        end_treatment,
        story.at(Role.INVESTIGATOR, one.rsplit("-", 1)[0]),
        EndTreatment(trial, one, "withdrawn", "moves away"),
    )
    story.do(prepare_visit, story.pharmacist_of(one), PrepareVisit(trial, one, "W8", "late"), at_core=True)
    story.do(
        end_treatment, story.at(Role.INVESTIGATOR, two.rsplit("-", 1)[0]), EndTreatment(trial, two, "completed", "")
    )

    _account_for_kits(story, one, others, second)
    _read_loggers(story, second)

    # An emergency: nothing but the requester's screen may tell.
    physician = story.at(Role.PHYSICIAN, three.rsplit("-", 1)[0])
    story.do(unblind_subject, physician, UnblindSubject(trial, three, "", None), sign=True)
    story.do(unblind_subject, physician, UnblindSubject(trial, three, "coma", True), at_core=True)
    story.do(unblind_subject, physician, UnblindSubject(trial, three, "coma", True), sign=True)
    story.do(unblind_subject, physician, UnblindSubject(trial, three, "asked again", True), sign=True)
    story.do(unblind_subject, physician, UnblindSubject(trial, three, "asked once more", True), sign=True)

    # A parcel that never comes, one called back, and a depot emptied by hand.
    story.run_jobs(settings)
    story.do(request_shipment, "supply", RequestShipment(trial, second, 0, ""))
    story.do(request_shipment, "supply", RequestShipment(trial, second, 2, "a holiday"))
    story.ship()
    story.pass_days(12)
    story.run_jobs(settings)
    for number in story.world.shipments("in_transit"):
        story.do(close_shipment, "supply", CloseShipment(trial, number, "lost", "the carrier cannot find it"))
    for sets in (10, 1):
        while story.do(request_shipment, "supply", RequestShipment(trial, first, sets, "stock up"), at_core=True):
            pass
    for number in story.world.shipments("requested")[:1]:
        story.do(close_shipment, "supply", CloseShipment(trial, number, "cancelled", "too many"))

    # Visits go on until the shelf holds no suitable kit for somebody.
    for visit in ("W8", "W12", "W16"):
        for subject in others:
            story.dispense(subject, visit, "no more parcels came")
    story.pass_days(1)
    story.run_jobs(settings)
    story.ship()

    # The lot is recalled while a parcel is on its way, and the recall is lifted again.
    story.do(recall_lot, "quality", RecallLot(trial, "BL-2601", "", ""))
    story.do(recall_lot, "quality", RecallLot(trial, "BL-2601", "Recall order 1", "a label may come off"))
    story.receive("good", "damaged")
    for person, page in (
        ("quality", "supply/lots/BL-2601/"),
        (f"pharmacist.{second.lower()}", f"sites/{second}/account/"),
    ):
        story.doors.get(person, f"/trials/{trial}/{page}")
    for how in ("", "lifted", "lifted"):
        story.do(end_recall, "quality", EndRecall(trial, "BL-2601", how, "QA 9"))

    # The first lot expires, and the last subject is forgotten by nobody.
    story.world.clock.set(datetime(2026, 10, 7, 2, 0, tzinfo=UTC))
    story.run_jobs(settings)
    _destroy_at_depot(story)
    assert set(story.by_door) == {deed.__name__ for deed in FORMS}, "every form of the story was used"
    wanted = {
        "depot.short",
        "document.missing",
        "eligibility.E02",
        "kit.mismatch",
        "kit.no_outcome",
        "kit.none_suitable",
        "kit.was_set_aside",
        "logger.header",
        "kit.not_scanned",
        "reason.missing",
        "signature.missing",
        "stock.gate",
        "subject.already_randomised",
        "subject.not_in_treatment",
        "visit.window",
    }
    assert wanted <= set(story.refused), f"the story no longer meets {wanted - set(story.refused)}"


def _account_for_kits(story: Story, withdrawn: str, others: list[str], site: str) -> None:
    """Boxes come back or do not, the monitor verifies them, and some are destroyed."""
    trial, today = story.trial, story.world.today
    first_kits = {subject: story.world.kit_for(subject, "W0") for subject in [withdrawn, *others[:4]]}
    for subject, kit in first_kits.items():
        whose = story.pharmacist_of(subject)
        story.do(return_kit, whose, ReturnKit(trial, subject, kit, 29, today))
        if subject != others[0]:
            story.do(return_kit, whose, ReturnKit(trial, subject, kit, 3, today), at_core=True)
    story.do(
        write_off_kit, story.pharmacist_of(others[0]), WriteOffKit(trial, others[0], first_kits[others[0]], "lost")
    )
    for code in (first_kits[withdrawn], "K999999"):
        recount = ReturnKit(trial, withdrawn, code, 4, today, "counted again")
        story.do(return_kit, story.pharmacist_of(withdrawn), recount)
    spent = sorted({*story.kits("returned", site), *story.kits("damaged", site), *story.kits("rejected", site)})
    authority = AuthoriseDestruction(trial, tuple(spent), "QA letter 1", site=site)
    story.do(authorise_destruction, "quality", authority)
    for kits in (spent[:1], spent[1:], spent):
        story.do(verify_kits, "monitor", VerifyKits(trial, site, tuple(kits)), sign=True)
    story.do(authorise_destruction, "quality", replace(authority, kits=tuple(spent[1:])))
    pharmacist = story.at(Role.PHARMACIST, site)
    for certificate in ("", "Certificate 1"):
        story.do(record_destruction, pharmacist, RecordDestruction(trial, f"{site}-D1", today, certificate))


def _destroy_at_depot(story: Story) -> None:
    """What has expired in the depot is destroyed there, the first boxes by number."""
    depot = story.world.stage.definition.depots[0].code
    with story.world.store.transaction() as tx:
        expired = select(Kit.number).where(Kit.state == "expired", Kit.depot_id.is_not(None)).order_by(Kit.number)
        spent = list(tx.session.scalars(expired.limit(2)))
    authority = AuthoriseDestruction(story.trial, tuple(spent), "QA letter 2", depot=depot)
    story.do(authorise_destruction, "quality", authority)
    record = RecordDestruction(story.trial, f"{depot}-D1", story.world.today, "Certificate 2")
    story.do(record_destruction, story.world.stage.at_depot(depot), record)


def _read_loggers(story: Story, site: str) -> None:
    """The logger of a parcel and that of a shelf: kits stay a little out of range, then for too long."""
    pharmacist, now = story.at(Role.PHARMACIST, site), story.world.clock.now()
    on_hand = [kit for state in ("available", "assigned", "quarantined") for kit in story.kits(state, site)]
    with story.world.store.transaction() as tx:
        received = select(Shipment.number).join(Site).where(Site.code == site, Shipment.state == "received")
        shipment = tx.session.scalars(received.order_by(Shipment.number)).first() or ""
    for parcel, degrees in ((shipment, "20"), ("", "31"), ("", "1"), ("", "1"), (shipment, "31")):
        kits = () if parcel else tuple(on_hand)
        for start, count in ((now, 3), (now - timedelta(days=1), 12)):
            lines = (f"{start - timedelta(minutes=10 * place):%Y-%m-%d %H:%M},{degrees}" for place in range(count))
            file = "\n".join(["time (UTC),temperature (°C)", *lines]).encode()
            story.do(record_temperatures, pharmacist, RecordTemperatures(story.trial, site, parcel, kits, file, "UTC"))
    story.do(
        record_temperatures,
        pharmacist,
        RecordTemperatures(story.trial, site, "", tuple(on_hand), b"no logger", "UTC"),
    )
    for kit in story.kits("quarantined", site):
        story.doors.get("quality", f"/trials/{story.trial}/supply/quarantine/{kit}/decide")
        story.do(decide_quarantine, "quality", DecideQuarantine(story.trial, kit, release=True, document="QA 9"))


def tell_short(story: Story) -> None:
    """A few subjects at a supplied site and a look at their pages: enough for a leak to show."""
    site = SITES[0]
    subjects = [story.screen(site) for _ in range(3)]
    for subject in subjects:
        story.randomise(subject)
    story.hand_over(subjects[0], "W0")
    for visit in ("W4", "W8", "W12"):
        for subject in subjects:
            story.dispense(subject, visit, "early")
    story.do(request_shipment, "supply", RequestShipment(story.trial, site, 3, "more"))
    story.ship()
    pharmacist = story.at(Role.PHARMACIST, site).name
    for page in (f"sites/{site}/", f"sites/{site}/stock/", *(f"subjects/{subject}/" for subject in subjects)):
        assert story.doors.get(pharmacist, f"/trials/{story.trial}/{page}").status_code == 200


def deliver_mail(story: Story, settings: Settings, server: MailServer) -> None:
    """Send the outbox to a real server; keep what blinded people get."""
    deliver_due(story.world.store, settings, service("delivery"))
    addresses = {f"{name}@example.org" for name in blinded_people(story.world)}
    for mail in server.received:
        if set(mail.recipients) & addresses:
            head = "\n".join(f"{name}: {value}" for name, value in mail.message.items())
            place = f"mail {mail.sender} {mail.recipients}"
            story.collector.add(place, f"{head}\n\n{mail.message.get_content()}")
    server.received.clear()
