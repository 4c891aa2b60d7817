"""What each job does, on both databases, decided by the installation's clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from rts.access.actor import service
from rts.conduct.perform import perform
from rts.conduct.reading_sealed import ReadSealedDetail, read_sealed_detail
from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.conduct.reporting_overdue import ReportOverdue, report_overdue
from rts.conduct.warning_of_calendars import WarnOfCalendars, warn_of_calendars
from rts.conduct.warning_of_lists import WarnOfLowLists, warn_of_low_lists
from rts.jobs.catalogue import RESUPPLY, scheduled_jobs
from rts.jobs.leader import Leadership, leadership_of
from rts.jobs.scheduler import Scheduler
from rts.refusal import Refusal, refuse, say
from rts.settings import Settings
from rts.store.kept_words import recalled
from rts.store.tables import (
    AuditCheckpoint,
    AuditDetail,
    AuditEvent,
    BlindedLot,
    JobRun,
    ListEntry,
    Notice,
    Person,
    Shipment,
)
from rts.trial.shipped import shipped_definition
from rts.vault.checkpoint import verify_checkpoint
from tests.conduct.test_putting_in_force import change_the_ratio
from tests.world import World

WORKER = service("test run 1")


@pytest.fixture
def leadership(world: World) -> Iterator[Leadership]:
    taken = leadership_of(world.store.engine)
    yield taken
    taken.release()


@pytest.fixture
def scheduler(world: World, leadership: Leadership) -> Scheduler:
    return Scheduler(world.store, Settings(), leadership)


def runs(world: World) -> list[tuple[str, str]]:
    with world.store.transaction() as tx:
        return [(row.job, row.outcome) for row in tx.session.scalars(select(JobRun).order_by(JobRun.id))]


def messages(world: World, job: str) -> list[str]:
    with world.store.transaction() as tx:
        kept = tx.session.scalars(select(JobRun.message).where(JobRun.job == job).order_by(JobRun.id))
        return [str(recalled(words)) for words in kept]


def mails(world: World, kind: str) -> list[tuple[str, str]]:
    """Who was written to, and what, in the mails of a kind."""
    with world.store.transaction() as tx:
        statement = (
            select(Person.username, Notice.body)
            .join(Notice, Notice.person_id == Person.id)
            .where(Notice.kind == kind)
            .order_by(Notice.id)
        )
        return [(username, body) for username, body in tx.session.execute(statement)]


def test_every_job_runs_once_a_day_in_the_order_of_the_catalogue(world: World, scheduler: Scheduler) -> None:
    scheduler.run_due_jobs()

    assert runs(world) == [
        (job, "done") for job in ("expiry", "overdue", "low_entries", "calendars", "resupply", "checkpoint")
    ]
    assert scheduler.run_due_jobs() == 0
    world.clock.advance(timedelta(days=1))
    assert scheduler.run_due_jobs() == 6
    assert scheduler.run_due_jobs() == 0


def test_a_month_missed_is_made_up_by_one_run_of_each_job(world: World, scheduler: Scheduler) -> None:
    scheduler.run_due_jobs()

    world.clock.advance(timedelta(days=31))

    assert scheduler.run_due_jobs() == 6
    assert scheduler.run_due_jobs() == 0


def test_the_night_run_orders_for_its_night_and_once(world: World, scheduler: Scheduler) -> None:
    for _ in range(3):
        world.randomise("CN02")
    world.clock.set(datetime(2026, 1, 9, 13, 5, tzinfo=UTC))  # 21:05 in Shanghai

    scheduler.run_due_jobs()

    assert [number for number in world.shipments("requested") if number > "S00002"] == ["S00003"]
    assert messages(world, "resupply") == ["Night of 2026-01-09: 2 sites looked at, 1 shipments requested."]
    assert world.night().shipments == ()


@pytest.mark.requirement("AUD-04")
def test_the_deeds_of_a_job_are_signed_with_its_run(world: World, scheduler: Scheduler) -> None:
    scheduler.run_due_jobs()

    with world.store.transaction() as tx:
        run = tx.session.scalar(select(JobRun.id).where(JobRun.job == "resupply"))
        statement = (
            select(AuditEvent.actor)
            .where(AuditEvent.action == "resupply.surveyed")
            .order_by(AuditEvent.id.desc())
            .limit(1)
        )
        assert tx.session.scalar(statement) == f"resupply run {run}"


def test_nothing_runs_while_another_scheduler_leads(world: World, leadership: Leadership) -> None:
    leadership.take()
    other = leadership_of(world.store.engine)

    assert Scheduler(world.store, Settings(), other).run_due_jobs() == 0

    assert runs(world) == []


def test_a_failing_job_is_recorded_and_stops_no_other(world: World, leadership: Leadership) -> None:
    settings = Settings(checkpoint_recipients="nobody.here")
    scheduler = Scheduler(world.store, settings, leadership)

    assert scheduler.run_due_jobs() == 6

    assert runs(world)[-1] == ("checkpoint", "failed")
    assert messages(world, "checkpoint") == ["There is no account nobody.here."]
    assert scheduler.run_due_jobs() == 0
    world.clock.advance(timedelta(minutes=10))
    assert scheduler.run_due_jobs() == 1


@pytest.mark.requirement("SHIP-03")
def test_an_overdue_shipment_is_reported_once_to_supply_and_the_sites_pharmacist(
    database_url: str, tmp_path: Path
) -> None:
    with World.make(database_url, tmp_path) as world:
        shipment = one_shipment_under_way(world)
        with world.store.transaction() as tx:
            expected = tx.session.scalars(select(Shipment.expected_on)).one()
        world.clock.set(datetime.combine(expected + timedelta(days=7), datetime.min.time(), UTC))

        world.do(report_overdue, WORKER, ReportOverdue(world.stage.trial))
        assert mails(world, "shipment_overdue") == []

        world.clock.advance(timedelta(hours=16))  # midnight in Shanghai
        world.do(report_overdue, WORKER, ReportOverdue(world.stage.trial))
        world.do(report_overdue, WORKER, ReportOverdue(world.stage.trial))

        assert [name for name, _ in mails(world, "shipment_overdue")] == ["pharmacist.cn02", "supply"]
        assert shipment in mails(world, "shipment_overdue")[0][1]
        assert world.events("shipment.overdue") == 1


def one_shipment_under_way(world: World) -> str:
    world.do(release_lot, "quality", ReleaseLot(world.stage.trial, "BL-2601", "QP release 1"))
    world.stage.open_site("CN02", date(2026, 1, 2))
    world.night()
    world.clock.advance(timedelta(days=1))
    world.ship_all()
    [shipment] = world.shipments("in_transit")
    return shipment


def test_a_received_shipment_is_never_overdue(world: World) -> None:
    world.clock.advance(timedelta(days=60))

    world.do(report_overdue, WORKER, ReportOverdue(world.stage.trial))

    assert mails(world, "shipment_overdue") == []


VALUES = {"SLEDAI": 12.0, "STEROID": 7.5}
LIMIT = 148


def use_until_low(world: World) -> None:
    """Randomise into one stratum until fewer than LIMIT of its entries are unused."""
    stratum = world.stage.definition.stratum_of(VALUES)
    with world.store.transaction() as tx:
        entries = tx.session.scalar(select(func.count()).where(ListEntry.stratum == stratum)) or 0
    for _ in range(entries - LIMIT + 1):
        world.randomise("CN02", VALUES)


@pytest.mark.requirement("BLIND-02")
def test_a_low_list_is_told_to_statisticians_once_and_in_words_that_tell_nothing(
    database_url: str, tmp_path: Path
) -> None:
    # SIRIUS's lists hold 148 entries a stratum or a few more: a handful of subjects makes one low.
    public = shipped_definition("sirius")[0].replace("low_entries_warning = 12", f"low_entries_warning = {LIMIT}")
    with World.make(database_url, tmp_path, public=public) as world:
        world.supply("CN02")
        check = WarnOfLowLists(world.stage.trial, world.clock.now())
        world.do(warn_of_low_lists, WORKER, check)
        assert mails(world, "entries_low") == []

        world.clock.advance(timedelta(minutes=1))
        use_until_low(world)
        world.do(warn_of_low_lists, WORKER, check)
        again = WarnOfLowLists(world.stage.trial, world.clock.now())
        world.clock.advance(timedelta(minutes=1))
        world.do(warn_of_low_lists, WORKER, again)

        assert [name for name, _ in mails(world, "entries_low")] == ["statistician.one", "statistician.two"]
        assert not any(character.isdigit() for character in mails(world, "entries_low")[0][1])
        assert world.events("lists.checked") == 3
        with world.store.transaction() as tx:
            plain = select(AuditDetail.detail).join(AuditEvent).where(AuditEvent.action == "lists.checked")
            assert set(tx.session.scalars(plain)) == {None}


def test_calendars_are_reported_when_they_come_close_to_their_end(world: World) -> None:
    def look(day: date, since: date | None) -> int:
        moment = datetime.combine(day, datetime.min.time(), UTC)
        world.clock.set(moment)
        told = len(mails(world, "calendars_running_out"))
        since_moment = datetime.combine(since, datetime.min.time(), UTC) if since else None
        world.do(warn_of_calendars, WORKER, WarnOfCalendars(world.stage.trial, since_moment))
        return len(mails(world, "calendars_running_out")) - told

    # The dated days end on 31 December 2026: 60 remain on 1 November, 59 on the 2nd.
    assert look(date(2026, 11, 1), date(2026, 10, 31)) == 0
    assert look(date(2026, 11, 2), date(2026, 11, 1)) == 2
    assert look(date(2026, 11, 3), date(2026, 11, 2)) == 0
    assert look(date(2026, 12, 18), date(2026, 12, 17)) == 2
    assert look(date(2027, 1, 1), date(2026, 12, 31)) == 2
    assert {name for name, _ in mails(world, "calendars_running_out")} == {"manager", "supply"}
    assert "DEP-SH 2026-12-31" in mails(world, "calendars_running_out")[0][1]


@pytest.mark.requirement("CHG-02")
def test_a_calendar_is_that_in_force_at_the_site_it_serves(world: World) -> None:
    def told(day: date) -> str:
        world.clock.set(datetime.combine(day, datetime.min.time(), UTC))
        before = len(mails(world, "calendars_running_out"))
        world.do(warn_of_calendars, WORKER, WarnOfCalendars(world.stage.trial, world.clock.now() - timedelta(days=1)))
        return " ".join(body for _, body in mails(world, "calendars_running_out")[before:])

    longer = ("known_until = 2026-12-31", "known_until = 2027-12-31")
    world.load(longer)
    world.put_in_force(2, "CN02", on=date(2026, 3, 2))

    warning = told(date(2026, 11, 2))

    assert "DEP-SH 2026-12-31" in warning  # deliveries to CN03 are still planned by it
    assert "CN03 2026-12-31" in warning
    assert "CN02" not in warning
    others = [site.code for site in world.stage.definition.sites if site.code != "CN02"]
    world.put_in_force(2, *others)
    assert told(date(2026, 12, 18)) == ""


@pytest.mark.requirement("CHG-02")
def test_a_version_in_force_nowhere_moves_no_job(world: World) -> None:
    def night_runs() -> set[time]:
        with world.store.transaction() as tx:
            return {job.at for job in scheduled_jobs(tx) if job.key.name == RESUPPLY}

    later = ("night_run = 21:00:00", "night_run = 23:00:00")
    world.load(later)
    before = night_runs()
    world.put_in_force(2, "CN02")

    assert (before, night_runs()) == ({time(21)}, {time(23)})


@pytest.mark.requirement("CHG-02")
def test_strata_of_every_version_in_force_are_looked_at(world: World) -> None:
    stratum = ('{ code = "SLEDAI-HIGH", label', '{ code = "SLEDAI-TOP", label')
    world.amend(stratum, at=("CN02",))

    world.do(warn_of_low_lists, WORKER, WarnOfLowLists(world.stage.trial))

    number = world.last_event("lists.checked")[0].number
    detail = world.do(read_sealed_detail, "statistician.one", ReadSealedDetail("SIRIUS", number)).detail
    assert detail["told"] == ["SLEDAI-TOP.STEROID-LOW", "SLEDAI-TOP.STEROID-HIGH"]
    assert set(detail["unused"]) == {
        f"SLEDAI-{level}.STEROID-{dose}" for level in ("LOW", "HIGH", "TOP") for dose in ("LOW", "HIGH")
    }


@pytest.mark.requirement("CHG-05")
def test_a_list_in_use_that_serves_some_site_no_longer_is_told_as_low(world: World) -> None:
    look = WarnOfLowLists(world.stage.trial, world.clock.now())
    world.clock.advance(timedelta(minutes=1))
    world.do(warn_of_low_lists, WORKER, look)
    assert mails(world, "entries_low") == []

    change_the_ratio(world)  # and no site goes by the version of the new list yet
    world.do(warn_of_low_lists, WORKER, look)

    assert [name for name, _ in mails(world, "entries_low")] == ["statistician.one", "statistician.two"]


@pytest.mark.requirement("AUD-08")
def test_every_chain_gets_a_signed_checkpoint_that_is_mailed_to_auditors(world: World, scheduler: Scheduler) -> None:
    scheduler.run_due_jobs()

    with world.store.transaction() as tx:
        texts = list(tx.session.scalars(select(AuditCheckpoint.text).order_by(AuditCheckpoint.id)))
    public_key = world.store.vault.keyring.audit_public_key()
    counts = [verify_checkpoint(text, public_key).count for text in texts]
    assert len(counts) == 2
    assert all(count > 0 for count in counts)
    [(recipient, body)] = mails(world, "checkpoint")
    assert recipient == "auditor"
    assert all(text in body for text in texts)
    assert world.events("audit.checkpointed") == 1


def test_checkpoints_go_to_the_people_named_in_the_settings_too(world: World, leadership: Leadership) -> None:
    settings = Settings(checkpoint_recipients="quality, sponsor, auditor")

    Scheduler(world.store, settings, leadership).run_due_jobs()

    assert [name for name, _ in mails(world, "checkpoint")] == ["auditor", "quality", "sponsor"]


def test_a_person_without_the_right_cannot_run_a_job(world: World) -> None:
    with pytest.raises(Refusal) as refused:
        perform(world.store, report_overdue, world.who("sponsor"), ReportOverdue(world.stage.trial))

    assert refused.value.code == "forbidden"
    assert world.events("refused") == 1


@pytest.mark.requirement("BLIND-03")
def test_a_night_with_an_empty_depot_reads_like_a_quiet_one(world: World, scheduler: Scheduler) -> None:
    for _ in range(3):
        world.randomise("CN02")
    with world.store.transaction(write=True) as tx:
        tx.session.execute(update(BlindedLot).values(released_at=None))
    world.clock.set(datetime(2026, 1, 9, 13, 5, tzinfo=UTC))

    scheduler.run_due_jobs()

    assert world.shipments("requested") == []
    assert messages(world, "resupply") == ["Night of 2026-01-09: 2 sites looked at, 0 shipments requested."]


def test_an_order_that_failed_for_another_reason_is_tried_again(
    world: World, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        world.randomise("CN02")
    world.clock.set(datetime(2026, 1, 9, 13, 5, tzinfo=UTC))

    def database_gone(*_: object) -> None:
        raise refuse("unavailable", "store.unavailable", say("The database did not answer."))

    with monkeypatch.context() as patched:
        patched.setattr("rts.conduct.resupplying.request_consignment", database_gone)
        scheduler.run_due_jobs()
    assert ("resupply", "failed") in runs(world)
    assert world.shipments("requested") == []
    assert messages(world, "resupply") == [
        "Night of 2026-01-09: 2 sites looked at, 0 shipments requested; the orders of 1 sites failed and are "
        "tried again."
    ]

    world.clock.advance(timedelta(minutes=10))
    scheduler.run_due_jobs()

    assert runs(world)[-1] == ("resupply", "done")
    assert len(world.shipments("requested")) == 1
