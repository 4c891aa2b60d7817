"""Mail from the outbox, through a real mail server that answers, refuses, is down and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import select

from rts.access.actor import person_named, service
from rts.jobs.leader import leadership_of
from rts.jobs.scheduler import Scheduler
from rts.notices.delivery import ALARM_AFTER, Delivery, Outbox, deliver_due, outbox_now, retry_after
from rts.refusal import say
from rts.settings import Settings
from rts.store import outbox
from rts.store.kept_words import recalled
from rts.store.tables import AuditDetail, AuditEvent, JobRun, Notice
from tests.infrastructure.mail import MailServer, free_port
from tests.world import World

POSTMAN = service("delivery run 1")
ALL_SENT = Outbox(waiting=0, due=0, stuck=0)


@pytest.fixture
def settings(mail_server: MailServer) -> Settings:
    return Settings(
        smtp_host=mail_server.host,
        smtp_port=mail_server.port,
        mail_from="RTS <rts@trials.example>",
        address="https://rts.trials.example",
    )


@pytest.fixture
def quiet(world: World, mail_server: MailServer, settings: Settings) -> World:
    """A world whose mails so far have been sent and forgotten."""
    deliver_due(world.store, settings, POSTMAN)
    mail_server.received.clear()
    return world


def write(world: World, *usernames: str, subject: str = "Shipment under way", body: str = "It is on its way.") -> None:
    with world.store.transaction(write=True) as tx:
        people = [person for name in usernames if (person := person_named(tx, name))]
        outbox.write(tx, "shipment", tx.trial("SIRIUS"), people, say(subject), say(body))


def notices(world: World) -> list[Notice]:
    with world.store.transaction() as tx:
        return list(tx.session.scalars(select(Notice).order_by(Notice.id.desc()).limit(2)))


def standing(world: World) -> Outbox:
    with world.store.transaction() as tx:
        return outbox_now(tx)


def deliver(world: World, settings: Settings) -> Delivery:
    return deliver_due(world.store, settings, POSTMAN)


def test_a_mail_reaches_its_reader_whole(quiet: World, mail_server: MailServer, settings: Settings) -> None:
    write(
        quiet,
        "supply",
        subject="Sendung für 上海",
        body="第一行 – and a line that is much longer than " + 20 * "a mail line ",
    )

    assert deliver(quiet, settings) == Delivery(sent=1, failed=0, unreachable="")

    [received] = mail_server.received
    assert received.recipients == ["supply@example.org"]
    assert received.sender == "rts@trials.example"
    assert received.message["Subject"] == "[TEST] Sendung für 上海"
    assert received.message["From"] == "RTS <rts@trials.example>"
    assert received.message["Auto-Submitted"] == "auto-generated"
    assert received.message.get_content_type() == "text/plain"
    lines = received.message.get_content().splitlines()
    assert lines[0] == "第一行 – and a line that is much longer than " + 20 * "a mail line "
    assert lines[-1] == "Sign in: https://rts.trials.example"
    assert notices(quiet)[0].sent_at == quiet.clock.now()


def test_each_mail_is_sent_once(quiet: World, mail_server: MailServer, settings: Settings) -> None:
    write(quiet, "supply", "quality")

    deliver(quiet, settings)
    deliver(quiet, settings)

    assert [mail.recipients for mail in mail_server.received] == [["supply@example.org"], ["quality@example.org"]]
    assert standing(quiet) == ALL_SENT


def test_a_refused_mail_is_tried_again_with_growing_pauses_and_keeps_its_id(
    quiet: World, mail_server: MailServer, settings: Settings
) -> None:
    mail_server.answer = "451 try later"
    write(quiet, "supply")

    assert deliver(quiet, settings) == Delivery(sent=0, failed=1, unreachable="")
    [notice, _] = notices(quiet)
    assert (notice.attempts, notice.last_error, notice.sent_at) == (1, "451 try later", None)
    assert notice.next_attempt_at == quiet.clock.now() + timedelta(minutes=1)
    assert deliver(quiet, settings) == Delivery(sent=0, failed=0, unreachable="")

    quiet.clock.advance(timedelta(minutes=1))
    deliver(quiet, settings)
    assert notices(quiet)[0].next_attempt_at == quiet.clock.now() + timedelta(minutes=2)

    mail_server.answer = "250 kept"
    quiet.clock.advance(timedelta(minutes=2))
    assert deliver(quiet, settings) == Delivery(sent=1, failed=0, unreachable="")
    assert mail_server.received[0].message["Message-ID"] == f"<{notice.message_id}@trials.example>"
    assert notices(quiet)[0].last_error is None


def test_pauses_double_up_to_an_hour() -> None:
    minutes = [retry_after(attempt).total_seconds() / 60 for attempt in (1, 2, 3, 4, 5, 6, 7, 8, 500)]

    assert minutes == [1, 2, 4, 8, 16, 32, 60, 60, 60]


class ChoosyServer(MailServer):
    """Takes mail for everybody but the supply manager."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 aiosmtpd's name
        if envelope.rcpt_tos == ["supply@example.org"]:
            return "552 mailbox full"
        return await super().handle_DATA(server, session, envelope)


def test_a_refused_mail_holds_up_no_other(quiet: World, settings: Settings) -> None:
    choosy = ChoosyServer("127.0.0.1", free_port())
    choosy.start()
    write(quiet, "supply")
    write(quiet, "quality")

    delivery = deliver(quiet, settings.model_copy(update={"smtp_port": choosy.port}))

    choosy.stop()
    assert delivery == Delivery(sent=1, failed=1, unreachable="")
    assert [mail.recipients for mail in choosy.received] == [["quality@example.org"]]
    assert [notice.last_error for notice in notices(quiet)] == [None, "552 mailbox full"]


def test_while_the_server_is_down_nothing_is_lost_and_afterwards_everything_is_sent(
    quiet: World, mail_server: MailServer, settings: Settings
) -> None:
    write(quiet, "supply", "quality")
    mail_server.stop()

    delivery = deliver(quiet, settings)

    assert (delivery.sent, delivery.failed) == (0, 2)
    assert "refused" in delivery.unreachable.lower()
    assert [notice.attempts for notice in notices(quiet)] == [1, 1]
    mail_server.start()
    quiet.clock.advance(timedelta(minutes=1))
    assert deliver(quiet, settings).sent == 2
    assert len(mail_server.received) == 2


def test_a_mail_sent_by_a_process_that_died_before_noting_it_comes_again_under_the_same_id(
    quiet: World, mail_server: MailServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(quiet, "supply")

    class PowerCutError(BaseException):
        pass

    def cut(*_: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as patched:
        patched.setattr("rts.notices.delivery._mark_sent", cut)
        with pytest.raises(PowerCutError):
            deliver(quiet, settings)

    assert deliver(quiet, settings).sent == 0
    quiet.clock.advance(timedelta(minutes=10))
    assert deliver(quiet, settings).sent == 1
    first, second = (mail.message["Message-ID"] for mail in mail_server.received)
    assert first == second


def deliver_from_two_processes(world: World, settings: Settings) -> None:
    """Two workers at once; threads with connections of their own contend like processes."""
    together = Barrier(2)

    def work() -> None:
        together.wait()
        deliver(world, settings)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work) for _ in range(2)]:
            done.result()


def test_two_workers_send_no_mail_twice(quiet: World, mail_server: MailServer, settings: Settings) -> None:
    for _ in range(10):
        write(quiet, "supply", "quality")

    deliver_from_two_processes(quiet, settings)

    ids = [mail.message["Message-ID"] for mail in mail_server.received]
    assert len(ids) == 20
    assert len(set(ids)) == 20


def test_without_the_claim_two_workers_do_send_mails_twice(
    quiet: World, mail_server: MailServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rts.notices.delivery.CLAIM", timedelta())
    slow_answer(mail_server, monkeypatch)
    for _ in range(10):
        write(quiet, "supply", "quality")

    deliver_from_two_processes(quiet, settings)

    assert len(mail_server.received) > 20


def slow_answer(mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server take its time, so that both workers have a mail in hand."""
    import smtplib

    send: Callable[..., object] = smtplib.SMTP.send_message

    def slowly(server: smtplib.SMTP, *arguments: object) -> object:
        time.sleep(0.05)
        return send(server, *arguments)

    monkeypatch.setattr(smtplib.SMTP, "send_message", slowly)


def test_a_mail_that_does_not_get_through_sounds_the_alarm_once(
    quiet: World, mail_server: MailServer, settings: Settings
) -> None:
    mail_server.answer = "550 no such mailbox"
    write(quiet, "supply")

    for _ in range(ALARM_AFTER + 2):
        deliver(quiet, settings)
        quiet.clock.advance(timedelta(minutes=60))

    assert standing(quiet) == Outbox(waiting=1, due=1, stuck=1)
    assert quiet.events("notice.undelivered") == 1
    with quiet.store.transaction() as tx:
        statement = select(AuditDetail.detail).join(AuditEvent).where(AuditEvent.action == "notice.undelivered")
        assert tx.session.scalar(statement) == '{"attempts":6}'


def job_runs(world: World) -> list[tuple[str, str]]:
    with world.store.transaction() as tx:
        statement = select(JobRun).where(JobRun.job == "delivery").order_by(JobRun.id)
        return [(row.outcome, str(recalled(row.message))) for row in tx.session.scalars(statement)]


def test_the_job_tells_what_it_sent_and_records_nothing_when_nothing_is_due(
    quiet: World, mail_server: MailServer, settings: Settings
) -> None:
    leadership = leadership_of(quiet.store.engine)
    scheduler = Scheduler(quiet.store, settings, leadership)
    scheduler.deliver()
    write(quiet, "supply", "quality")
    scheduler.deliver()
    scheduler.deliver()
    leadership.release()

    assert job_runs(quiet) == [("done", "2 mails sent.")]


def test_the_job_fails_for_all_to_see_while_a_mail_is_stuck(
    quiet: World, mail_server: MailServer, settings: Settings
) -> None:
    mail_server.answer = "550 no such mailbox"
    write(quiet, "supply")
    leadership = leadership_of(quiet.store.engine)
    scheduler = Scheduler(quiet.store, settings, leadership)
    for _ in range(ALARM_AFTER):
        scheduler.deliver()
        quiet.clock.advance(timedelta(minutes=60))
    leadership.release()

    assert [outcome for outcome, _ in job_runs(quiet)] == ["done"] * (ALARM_AFTER - 1) + ["failed"]
    assert job_runs(quiet)[-1][1].startswith("0 mails sent. 1 mails have not got through")


def test_without_a_mail_server_mails_wait_and_the_job_says_so_once_a_day(quiet: World) -> None:
    write(quiet, "supply")
    leadership = leadership_of(quiet.store.engine)
    scheduler = Scheduler(quiet.store, Settings(smtp_host=""), leadership)
    scheduler.deliver()
    quiet.clock.advance(timedelta(hours=23))
    scheduler.deliver()
    quiet.clock.advance(timedelta(hours=1))
    scheduler.deliver()
    leadership.release()

    assert job_runs(quiet) == [("done", "No mail server is set (RTS_SMTP_HOST): 1 mails wait in the outbox.")] * 2
    assert notices(quiet)[0].attempts == 0
