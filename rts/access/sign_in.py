"""Sign-in, sessions and re-entered passwords.

Throttling delays and never bars: someone else's wrong guesses must not keep a physician from a code. An account
locked after many wrong passwords, or one
with an expired password, still opens a session for emergency unblinding alone when the password is right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select

from rts.access import passwords
from rts.access.actor import Actor, actor_of, person_named
from rts.access.permissions import Permission
from rts.refusal import refuse, say
from rts.store.tables import Person, SignInAttempt, WebSession
from rts.store.transaction import Store, Transaction

IDLE_TIMEOUT = timedelta(minutes=20)
LONGEST_SESSION = timedelta(hours=12)
PASSWORD_LIFETIME = timedelta(days=365)
LOCK_AFTER = 10
THROTTLE_WINDOW = timedelta(minutes=15)
THROTTLE_AFTER = 5
LONGEST_DELAY_SECONDS = 8.0


@dataclass(frozen=True)
class SignedIn:
    """A new session: the token for the cookie, and whether it serves only for emergency unblinding."""

    token: str
    emergency_only: bool
    password_must_change: bool


@dataclass(frozen=True)
class Confirmation:
    """Proof that a person re-entered the password just now, for one deed."""

    person_id: int


def delay_seconds(wrong: int) -> float:
    """How long to make a caller wait after `wrong` wrong passwords within the window, in seconds: none, then 1, 2,
    4, at most 8.
    """
    return 0.0 if wrong < THROTTLE_AFTER else min(2.0 ** (wrong - THROTTLE_AFTER), LONGEST_DELAY_SECONDS)


def _wrong_lately(tx: Transaction, username: str, address: str) -> int:
    since = tx.now - THROTTLE_WINDOW
    return max(
        tx.session.scalar(
            select(func.count()).where(column == value, SignInAttempt.at > since, SignInAttempt.right.is_(False))
        )
        or 0
        for column, value in ((SignInAttempt.username, username), (SignInAttempt.address, address))
    )


def _check(store: Store, username: str, password: str, address: str, wait: Callable[[float], None]) -> bool:
    """Try a password: wait as throttling says, then record the attempt and its consequences. The caller decides what
    a right one opens.
    """
    username = username.strip().lower()[:64]
    with store.transaction() as tx:
        delay = delay_seconds(_wrong_lately(tx, username, address))
        person = person_named(tx, username)
    if delay:
        wait(delay)
    right = passwords.matches(person.password_hash if person else None, password)
    with store.transaction(write=True) as tx:
        tx.emergency = True  # a wrong clock must not stop the way to a code break
        tx.session.add(SignInAttempt(username=username, address=address, at=tx.now, right=right))
        person = person_named(tx, username)
        if person is None:
            return False
        tx.act_as(Actor(person.username, person.printed_name, person.organisation, ()), "none")
        if right:
            if not person.locked_at:
                person.failed_sign_ins = 0
        else:
            # Counted by the database: of two wrong passwords at once, neither is forgotten.
            person.failed_sign_ins = Person.failed_sign_ins + 1
            tx.session.flush()
            tx.session.refresh(person)
            tx.audit("password.wrong", "person", person.username, {"address": address})
            if person.failed_sign_ins >= LOCK_AFTER and not person.locked_at:
                person.locked_at = tx.now
                tx.audit("account.locked", "person", person.username, reason="too many wrong passwords")
    return right


def password_has_expired(person: Person, tx: Transaction) -> bool:
    """Whether the password is older than its lifetime."""
    return tx.now - person.password_changed_at > PASSWORD_LIFETIME


def sign_in(store: Store, username: str, password: str, address: str, wait: Callable[[float], None]) -> SignedIn:
    """Open a session. `wait` sleeps for the given seconds.

    Raises Refusal `wrong_password`, with one sentence for every cause: which of name, password or lock it was is
    nobody's business.
    """
    right = _check(store, username, password, address, wait)
    with store.transaction(write=True) as tx:
        tx.emergency = True
        person = person_named(tx, username)
        if person is not None and right and person.closed_at is None:
            actor = actor_of(tx, person)
            barred = person.locked_at is not None or password_has_expired(person, tx)
            may_unblind = bool(actor.grants_of(Permission.UNBLIND))
            expired_only = barred and person.locked_at is None
            if not barred or may_unblind or expired_only:
                emergency_only = barred and may_unblind
                token = tx.store.entropy.bytes(32).hex()
                tx.session.add(
                    WebSession(
                        token_digest=digest_of(token),
                        person_id=person.id,
                        csrf_secret=tx.store.entropy.bytes(32).hex(),
                        emergency_only=emergency_only,
                        address=address,
                        started_at=tx.now,
                        seen_at=tx.now,
                    )
                )
                tx.act_as(actor, actor.grants[0].role if actor.grants else "none")
                tx.audit(
                    "session.started", "person", person.username, {"address": address, "emergency_only": emergency_only}
                )
                must_change = person.password_must_change or (expired_only and not may_unblind)
                return SignedIn(token, emergency_only, must_change)
    raise refuse(
        "wrong_password",
        "sign_in.wrong",
        say("The user name or the password is wrong, or the account is locked. An administrator can unlock it."),
        "password",
    )


def digest_of(token: str) -> str:
    """What the database keeps of a session token."""
    return hashlib.sha256(token.encode()).hexdigest()


def session_of(tx: Transaction, token: str) -> WebSession | None:
    """The live session of a cookie's token; None when it has ended, idled too long, or its account was closed."""
    session = tx.session.scalar(select(WebSession).where(WebSession.token_digest == digest_of(token)))
    if session is None or session.ended_at is not None or session.person.closed_at is not None:
        return None
    if tx.now - session.seen_at > IDLE_TIMEOUT or tx.now - session.started_at > LONGEST_SESSION:
        return None
    return session


def end_session(store: Store, token: str) -> None:
    """Sign out."""
    with store.transaction(write=True) as tx:
        session = session_of(tx, token)
        if session is not None:
            session.ended_at = tx.now
            tx.act_as(actor_of(tx, session.person), "none")
            tx.audit("session.ended", "person", session.person.username)


def confirm_password(
    store: Store, actor: Actor, password: str, address: str, wait: Callable[[float], None]
) -> Confirmation:
    """Re-enter the password to sign a deed. Raises Refusal `wrong_password`.

    On a locked account it signs emergency unblinding alone: `actor_of` leaves no other right.
    """
    if actor.person_id is None:
        raise refuse("forbidden", "signature.person", say("Only a person can sign."))
    if not _check(store, actor.name, password, address, wait):
        raise refuse(
            "wrong_password", "signature.password", say("The password is wrong, so nothing was signed."), "password"
        )
    return Confirmation(actor.person_id)
