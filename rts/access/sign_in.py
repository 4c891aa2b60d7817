"""Sign-in, sessions and re-entered passwords.

Throttling delays and never bars: someone else's wrong guesses must not keep a physician from a code. They delay the
sign-in by seconds, and whoever is signed in not at all. An account locked after many wrong passwords, or one
with an expired password, still opens a session for emergency unblinding alone when the password is right.

A name that nobody has gets the same answer after the same work as a wrong password: argon2, an attempt, an event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address
from threading import BoundedSemaphore

from sqlalchemy import func, select, update

from rts.access import passwords
from rts.access.actor import Actor, actor_of, administrators, person_named, service
from rts.access.permissions import Permission
from rts.refusal import refuse, say
from rts.store import outbox
from rts.store.tables import Person, SignInAttempt, WebSession
from rts.store.transaction import Store, Transaction

IDLE_TIMEOUT = timedelta(minutes=20)
LONGEST_SESSION = timedelta(hours=12)
PASSWORD_LIFETIME = timedelta(days=365)
LOCK_AFTER = 10
THROTTLE_WINDOW = timedelta(minutes=15)
THROTTLE_AFTER = 5
LONGEST_DELAY_SECONDS = 8.0
# A delayed attempt holds a thread of the server: were all of them to wait at once, no page would answer anybody.
MOST_WAITING = 4

_waiting = BoundedSemaphore(MOST_WAITING)
_nobody = service("sign-in")


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


def network_of(address: str) -> str:
    """What throttling counts an address as. Of IPv6 it is the /64 network: a single subscriber has all of its
    addresses at will.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address[:64]
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Network((int(found), 64), strict=False))


@dataclass(frozen=True)
class _Caller:
    """Who tries a password: the name as it is counted, the network address, and whether from a live session."""

    name: str
    address: str
    is_signed_in: bool

    @property
    def network(self) -> str:
        return network_of(self.address)


def _wrong_lately(tx: Transaction, caller: _Caller) -> int:
    """How many wrong passwords count against this caller: all for the name, or all from the network. Against somebody
    signed in count their own alone, else a stranger could make a physician wait for a code.
    """
    named, near = SignInAttempt.username == caller.name, SignInAttempt.address == caller.network
    wrong = select(func.count()).where(SignInAttempt.at > tx.now - THROTTLE_WINDOW, SignInAttempt.right.is_(False))
    counted = [(named, near)] if caller.is_signed_in else [(named,), (near,)]
    return max(tx.session.scalar(wrong.where(*those)) or 0 for those in counted)


def _hold_up(seconds: float, wait: Callable[[float], None]) -> None:
    """Wait as throttling says. Raises Refusal `unavailable` when too many are waiting already."""
    if not _waiting.acquire(blocking=False):
        message = say("Too many wrong passwords are being tried at this moment. Try again in a few seconds.")
        raise refuse("unavailable", "sign_in.busy", message)
    try:
        wait(seconds)
    finally:
        _waiting.release()


def _check(
    store: Store, username: str, password: str, address: str, wait: Callable[[float], None], *, is_signed_in: bool
) -> str | None:
    """Try a password: wait as throttling says, then record the attempt and its consequences. Returns the hash that a
    right one matched, None for a wrong one; the caller decides what it opens.
    """
    username = username.strip().lower()[:64]
    with store.transaction() as tx:
        person = person_named(tx, username)
        # What was typed may be a password, in the wrong field: of a name that is nobody's only a keyed digest is kept.
        name = person.username if person else store.vault.keyring.mac("sign-in name", username.encode()).hex()
        caller = _Caller(name, address, is_signed_in)
        delay = delay_seconds(_wrong_lately(tx, caller))
    if delay:
        _hold_up(delay, wait)
    tried = person.password_hash if person else None
    right = passwords.matches(tried, password)
    with store.transaction(write=True) as tx:
        tx.emergency = True  # a wrong clock must not stop the way to a code break
        person = person_named(tx, username)
        right = right and person is not None and person.password_hash == tried  # not changed meanwhile
        tx.session.add(SignInAttempt(username=caller.name, address=caller.network, at=tx.now, right=right))
        if not right:
            _count_wrong(tx, username, address)
        elif person is not None and not person.locked_at:
            person.failed_sign_ins = 0
    return tried if right else None


def _count_wrong(tx: Transaction, username: str, address: str) -> None:
    """Count a wrong password, and lock the account after many: its owner and the administrators are told."""
    # Counted by the database: of two wrong passwords at once, neither is forgotten. And asked of it for a name that is
    # nobody's too: what takes longer for one than for the other tells which names there are.
    person = tx.session.scalar(
        update(Person)
        .where(Person.username == username)
        .values(failed_sign_ins=Person.failed_sign_ins + 1)
        .returning(Person)
        .execution_options(populate_existing=True)
    )
    if person is None:
        tx.act_as(_nobody, "none")
        tx.audit("sign_in.unknown_name", "installation", "1", {"address": address})
        return
    tx.act_as(Actor(person.username, person.printed_name, person.organisation, ()), "none")
    tx.audit("password.wrong", "person", person.username, {"address": address})
    if person.failed_sign_ins < LOCK_AFTER or person.locked_at or person.closed_at:
        return
    person.locked_at = tx.now
    tx.audit("account.locked", "person", person.username, reason="too many wrong passwords")
    outbox.write(
        tx,
        "account",
        None,
        dict.fromkeys([person, *administrators(tx)]),
        say("The account of %(person)s is locked", person=person.printed_name),
        say(
            "%(count)d wrong passwords were entered for the account of %(person)s, the last from %(address)s. It opens "
            "nothing now but an emergency code break, if its role has that. An administrator unlocks it, once "
            "%(person)s has said on the telephone who entered them.",
            count=LOCK_AFTER,
            person=person.printed_name,
            address=address,
        ),
    )


def password_has_expired(person: Person, tx: Transaction) -> bool:
    """Whether the password is older than its lifetime."""
    return tx.now - person.password_changed_at > PASSWORD_LIFETIME


def sign_in(store: Store, username: str, password: str, address: str, wait: Callable[[float], None]) -> SignedIn:
    """Open a session. `wait` sleeps for the given seconds.

    Raises Refusal `wrong_password`, with one sentence for every cause: which of name, password or lock it was is
    nobody's business.
    """
    matched = _check(store, username, password, address, wait, is_signed_in=False)
    with store.transaction(write=True) as tx:
        tx.emergency = True
        person = person_named(tx, username)
        # The hash once more: a session begun with a password that was changed meanwhile would outlive the change.
        if person is not None and matched is not None and person.password_hash == matched:
            opened = _open_session(tx, person, address)
            if opened is not None:
                return opened
    raise refuse(
        "wrong_password",
        "sign_in.wrong",
        say("The user name or the password is wrong, or the account is locked. An administrator can unlock it."),
        "password",
    )


def _open_session(tx: Transaction, person: Person, address: str) -> SignedIn | None:
    """A session for someone whose password was right; None for an account that is closed, or locked and without the
    right to unblind. That somebody knew its password is then an event.
    """
    actor = actor_of(tx, person)
    tx.act_as(actor, actor.grants[0].role if actor.grants else "none")
    has_expired = password_has_expired(person, tx)
    may_unblind = bool(actor.grants_of(Permission.UNBLIND))
    if person.closed_at is not None or (person.locked_at is not None and not may_unblind):
        tx.audit("session.refused", "person", person.username, {"address": address})
        return None
    emergency_only = may_unblind and (has_expired or person.locked_at is not None)
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
    tx.audit("session.started", "person", person.username, {"address": address, "emergency_only": emergency_only})
    must_change = person.password_must_change or (has_expired and not may_unblind)
    return SignedIn(token, emergency_only, must_change)


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
        tx.emergency = True  # a physician who takes over a colleague's browser signs that person out
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
    if _check(store, actor.name, password, address, wait, is_signed_in=True) is None:
        raise refuse(
            "wrong_password", "signature.password", say("The password is wrong, so nothing was signed."), "password"
        )
    return Confirmation(actor.person_id)
