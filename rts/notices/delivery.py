"""Sending what stands in the outbox by SMTP, each mail outside any transaction.

A mail is claimed in one short transaction, sent, and marked as sent in another. A claim puts the next attempt off, so
two processes never send one mail at once, and a process that dies in between leaves a mail that is sent
again later: at least once, always under the same Message-ID, by which a mail program knows the repeat.
"""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from sqlalchemy import func, select

from rts.access.actor import Actor
from rts.access.permissions import Role
from rts.refusal import say
from rts.settings import Settings
from rts.store.tables import Notice, Trial
from rts.store.transaction import Store, Transaction
from rts.translating import in_language

TIMEOUT_SECONDS = 20
# How long a claimed mail is left alone: longer than any mail server takes.
CLAIM = timedelta(minutes=10)
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(minutes=60)
# After this many failed attempts, about half an hour, somebody has to look.
ALARM_AFTER = 6
LONGEST_ERROR = 300


@dataclass(frozen=True)
class Delivery:
    """What one round of delivery did: mails sent, mails whose attempt failed, and why the mail server could not be
    reached (empty when it was). What it answered to a mail is kept with that mail.
    """

    sent: int
    failed: int
    unreachable: str


@dataclass(frozen=True)
class Outbox:
    """What stands in the outbox: mails not sent, of these due for an attempt, and stuck (`ALARM_AFTER` or more
    attempts failed).
    """

    waiting: int
    due: int
    stuck: int


@dataclass(frozen=True)
class _Letter:
    notice_id: int
    message: EmailMessage


def retry_after(attempts: int) -> timedelta:
    """How long to wait after the failed attempt number `attempts`: 1, 2, 4 … at most 60 minutes."""
    return min(FIRST_RETRY * (1 << min(attempts - 1, 10)), LONGEST_RETRY)


def outbox_now(tx: Transaction) -> Outbox:
    """What stands in the outbox at this moment."""
    waiting, due, stuck = tx.session.execute(
        select(
            func.count(),
            func.count().filter(Notice.next_attempt_at <= tx.now),
            func.count().filter(Notice.attempts >= ALARM_AFTER),
        )
        .select_from(Notice)
        .where(Notice.sent_at.is_(None))
    ).one()
    return Outbox(waiting, due, stuck)


def deliver_due(store: Store, settings: Settings, actor: Actor) -> Delivery:
    """Send every mail that is due, oldest first. A refused mail is tried again later and holds up no other.

    When the mail server cannot be reached, the attempt counts for every mail that was due. Nothing is raised for
    mail that fails; a Refusal `unavailable` when the database does not answer.
    """
    server: smtplib.SMTP | None = None
    sent = failed = 0
    try:
        while server is not None or _is_any_due(store):
            if server is None:
                try:
                    server = _connect(settings)
                except (OSError, smtplib.SMTPException) as error:
                    failed += _postpone_all(store, actor, _told(error))
                    return Delivery(sent, failed, _told(error))
            letter = _claim(store, settings)
            if letter is None:
                break
            try:
                server.send_message(letter.message)
            except (OSError, smtplib.SMTPException, ValueError) as error:
                _postpone(store, actor, letter.notice_id, _told(error))
                failed += 1
                server.close()
                server = None
            else:
                _mark_sent(store, letter.notice_id)
                sent += 1
        return Delivery(sent, failed, "")
    finally:
        if server is not None:
            with suppress(OSError, smtplib.SMTPException):
                server.quit()


def _is_any_due(store: Store) -> bool:
    with store.transaction() as tx:
        due = select(Notice.id).where(Notice.sent_at.is_(None), Notice.next_attempt_at <= tx.now).limit(1)
        return tx.session.scalar(due) is not None


def _connect(settings: Settings) -> smtplib.SMTP:
    server = smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=TIMEOUT_SECONDS)
    try:
        if settings.smtp_starttls:
            server.starttls(context=ssl.create_default_context())
        if settings.smtp_user:
            server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
    except (OSError, smtplib.SMTPException):
        server.close()
        raise
    return server


def _told(error: Exception) -> str:
    """What the server answered, or what went wrong on the way to it."""
    if isinstance(error, smtplib.SMTPResponseException):
        answer = error.smtp_error
        text = f"{error.smtp_code} {answer.decode(errors='replace') if isinstance(answer, bytes) else answer}"
    elif isinstance(error, smtplib.SMTPRecipientsRefused):
        code, answer = next(iter(error.recipients.values()))
        text = f"{code} {answer.decode(errors='replace')}"
    else:
        text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:LONGEST_ERROR]


def _claim(store: Store, settings: Settings) -> _Letter | None:
    """The oldest mail that is due, put off so that nobody else takes it; None when there is none."""
    with store.transaction(write=True) as tx:
        notice = tx.session.scalar(
            select(Notice)
            .where(Notice.sent_at.is_(None), Notice.next_attempt_at <= tx.now)
            .order_by(Notice.id)
            .limit(1)
            .with_for_update(skip_locked=True, of=Notice)
        )
        if notice is None:
            return None
        notice.next_attempt_at = tx.now + CLAIM
        return _Letter(notice.id, message_of(notice, settings, tx.installation.environment))


def message_of(notice: Notice, settings: Settings, environment: str) -> EmailMessage:
    """The mail as it is sent: plain text in UTF-8, its subject marked unless in production."""
    mark = "" if environment == "production" else f"[{environment.upper()}] "
    body = notice.body
    if settings.address:
        body += "\n\n" + in_language(say("Sign in: %(address)s", address=settings.address), notice.person.language)
    message = EmailMessage(policy=SMTP)
    message["Subject"] = mark + " ".join(notice.subject_line.split())
    message["From"] = settings.mail_from
    message["To"] = notice.person.email
    message["Date"] = format_datetime(notice.written_at)
    message["Message-ID"] = f"<{notice.message_id}@{parseaddr(settings.mail_from)[1].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body + "\n", cte="quoted-printable")
    return message


def _mark_sent(store: Store, notice_id: int) -> None:
    with store.transaction(write=True) as tx:
        notice = tx.session.get_one(Notice, notice_id)
        notice.attempts += 1
        notice.sent_at, notice.last_error = tx.now, None


def _postpone(store: Store, actor: Actor, notice_id: int, error: str) -> None:
    with store.transaction(write=True) as tx:
        _put_off(tx, actor, tx.session.get_one(Notice, notice_id), error)


def _postpone_all(store: Store, actor: Actor, error: str) -> int:
    with store.transaction(write=True) as tx:
        notices = tx.session.scalars(
            select(Notice)
            .where(Notice.sent_at.is_(None), Notice.next_attempt_at <= tx.now)
            .order_by(Notice.id)
            .with_for_update(skip_locked=True, of=Notice)
        ).all()
        for notice in notices:
            _put_off(tx, actor, notice, error)
        return len(notices)


def _put_off(tx: Transaction, actor: Actor, notice: Notice, error: str) -> None:
    """Record a failed attempt. The alarm goes on the trail once; it tells neither the kind nor the recipient, since
    some mails are for unblinded eyes.
    """
    notice.attempts += 1
    notice.next_attempt_at = tx.now + retry_after(notice.attempts)
    notice.last_error = error
    if notice.attempts == ALARM_AFTER:
        tx.act_as(actor, Role.SERVICE)
        trial = tx.session.get(Trial, notice.trial_id) if notice.trial_id else None
        tx.audit("notice.undelivered", "notice", notice.message_id, {"attempts": notice.attempts}, trial=trial)
