"""Sign-in, throttling, locks, sessions and re-entered passwords."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from rts.access import passwords
from rts.access.actor import Actor, actor_of, service
from rts.access.permissions import Permission
from rts.access.sign_in import confirm_password, delay_seconds, digest_of, end_session, session_of, sign_in
from rts.conduct.accounts import CloseAccount, UnlockAccount, close_account, unlock_account
from rts.refusal import Refusal
from rts.store.tables import Person, SignInAttempt, WebSession
from tests.world import PASSWORD, World

ADDRESS = "10.0.0.1"
PERSON = "pharmacist.cn02"


class Waiting:
    """Takes note of the seconds it is asked to wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def enter(world: World, username: str = PERSON, password: str = PASSWORD, address: str = ADDRESS) -> str:
    return sign_in(world.store, username, password, address, Waiting()).token


def wrong(world: World, times: int, username: str = PERSON, address: str = ADDRESS) -> list[float]:
    waiting = Waiting()
    for _ in range(times):
        with pytest.raises(Refusal):
            sign_in(world.store, username, "a wrong password", address, waiting)
    return waiting.seconds


def person(world: World, username: str = PERSON) -> Person:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Person).where(Person.username == username)).one()


def is_live(world: World, token: str) -> bool:
    with world.store.transaction() as tx:
        return session_of(tx, token) is not None


def test_a_right_password_opens_a_session_whose_token_is_not_stored(world: World) -> None:
    signed_in = sign_in(world.store, f" {PERSON.upper()} ", PASSWORD, ADDRESS, Waiting())

    assert (signed_in.emergency_only, signed_in.password_must_change) == (False, False)
    with world.store.transaction() as tx:
        session = tx.session.scalars(select(WebSession)).one()
        assert session.person.username == PERSON
    assert session.token_digest == digest_of(signed_in.token)
    assert signed_in.token not in (session.token_digest, session.csrf_secret)
    assert world.last_event("session.started")[1] == {"address": ADDRESS, "emergency_only": False}


@pytest.mark.requirement("ACC-06")
def test_wrong_name_wrong_password_and_lock_get_the_same_words(world: World) -> None:
    said = set()
    with world.store.transaction(write=True) as tx:
        tx.session.scalars(select(Person).where(Person.username == "pharmacist.cn03")).one().locked_at = tx.now

    for username, password in ((PERSON, "wrong"), ("nobody", PASSWORD), ("pharmacist.cn03", PASSWORD)):
        with pytest.raises(Refusal) as caught:
            sign_in(world.store, username, password, ADDRESS, Waiting())
        said.add((caught.value.code, caught.value.rules, str(caught.value)))

    assert said == {
        (
            "wrong_password",
            ("sign_in.wrong",),
            "The user name or the password is wrong, or the account is locked. An administrator can unlock it.",
        )
    }


def test_a_password_is_hashed_for_an_unknown_name_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    monkeypatch.setattr(
        passwords,
        "matches",
        lambda found, given: verified.append((found is None, given)) or False,  # type: ignore[func-returns-value]
    )

    with pytest.raises(Refusal):
        sign_in(world.store, "nobody", "guess", ADDRESS, Waiting())

    assert verified == [(True, "guess")]


def test_nobodys_hash_is_computed_and_never_matches() -> None:
    assert passwords.matches(None, "nobody holds this account") is False


@pytest.mark.parametrize(("count", "seconds"), [(0, 0), (4, 0), (5, 1), (6, 2), (7, 4), (8, 8), (100, 8)])
def test_the_delay_grows_and_is_bounded(count: int, seconds: float) -> None:
    assert delay_seconds(count) == seconds


@pytest.mark.requirement("ACC-06")
def test_wrong_passwords_delay_the_next_try(world: World) -> None:
    assert wrong(world, 8) == [1.0, 2.0, 4.0]


def test_the_delay_follows_the_address_too(world: World) -> None:
    for number in range(6):
        wrong(world, 1, f"nobody{number}")
    waiting = Waiting()

    sign_in(world.store, PERSON, PASSWORD, ADDRESS, waiting)
    sign_in(world.store, PERSON, PASSWORD, "10.0.0.2", waiting)

    assert waiting.seconds == [2.0]


def test_the_delay_ends_with_its_window(world: World) -> None:
    wrong(world, 8)
    world.clock.advance(timedelta(minutes=15))
    waiting = Waiting()

    sign_in(world.store, PERSON, PASSWORD, ADDRESS, waiting)

    assert waiting.seconds == []


@pytest.mark.requirement("ACC-06")
def test_the_tenth_wrong_password_locks_the_account(world: World) -> None:
    wrong(world, 9)
    assert person(world).locked_at is None
    wrong(world, 1)

    assert person(world).locked_at == world.clock.now()
    assert (world.events("password.wrong"), world.events("account.locked")) == (10, 1)
    with pytest.raises(Refusal):
        enter(world)


def test_a_right_password_forgets_the_wrong_ones(world: World) -> None:
    wrong(world, 9)
    enter(world)

    assert person(world).failed_sign_ins == 0


def test_an_administrator_unlocks(world: World) -> None:
    wrong(world, 10)
    world.do(unlock_account, "administrator", UnlockAccount(PERSON, "called and identified"))

    assert is_live(world, enter(world))


@pytest.mark.requirement("ACC-06")
@pytest.mark.parametrize(("idle", "live"), [(timedelta(minutes=20), True), (timedelta(minutes=20, seconds=1), False)])
def test_an_idle_session_ends(world: World, idle: timedelta, live: bool) -> None:
    token = enter(world)
    world.clock.advance(idle)

    assert is_live(world, token) is live


def test_no_session_lasts_longer_than_twelve_hours(world: World) -> None:
    token = enter(world)
    world.clock.advance(timedelta(hours=12, seconds=1))
    with world.store.transaction(write=True) as tx:
        tx.session.execute(text("UPDATE web_session SET seen_at = :now"), {"now": tx.now.replace(tzinfo=None)})

    assert not is_live(world, token)


def test_signing_out_ends_the_session(world: World) -> None:
    token = enter(world)
    end_session(world.store, token)

    assert not is_live(world, token)
    assert world.events("session.ended") == 1
    end_session(world.store, token)
    assert world.events("session.ended") == 1


@pytest.mark.requirement("ACC-04")
def test_closing_an_account_ends_its_sessions_and_its_sign_in(world: World) -> None:
    token = enter(world)
    world.do(close_account, "administrator", CloseAccount(PERSON, "left the hospital"))

    assert not is_live(world, token)
    with pytest.raises(Refusal):
        enter(world)


def test_a_lock_leaves_an_open_session_nothing_but_emergency_unblinding(world: World) -> None:
    wrong(world, 10, "physician.cn02")
    with world.store.transaction() as tx:
        found = tx.session.scalars(select(Person).where(Person.username == "physician.cn02")).one()
        actor = actor_of(tx, found)
        trial = tx.trial("SIRIUS")
        site = tx.site(trial, "CN02")
        rights = {permission for permission in Permission if actor.may(permission, trial, site)}

    assert rights == {Permission.UNBLIND}


@pytest.mark.requirement("SIG-03")
def test_a_wrong_password_signs_nothing_and_counts(world: World) -> None:
    with pytest.raises(Refusal) as caught:
        confirm_password(world.store, world.who(PERSON), "wrong", ADDRESS, Waiting())

    assert (caught.value.code, caught.value.rules) == ("wrong_password", ("signature.password",))
    assert person(world).failed_sign_ins == 1
    assert world.events("password.wrong") == 1


def test_a_right_password_confirms_the_person(world: World) -> None:
    actor: Actor = world.who(PERSON)

    assert confirm_password(world.store, actor, PASSWORD, ADDRESS, Waiting()).person_id == actor.person_id


def test_a_service_has_no_password_to_enter(world: World) -> None:
    with pytest.raises(Refusal) as caught:
        confirm_password(world.store, service("night"), PASSWORD, ADDRESS, Waiting())

    assert caught.value.rules == ("signature.person",)


def test_every_try_is_counted_with_its_address(world: World) -> None:
    wrong(world, 1)
    wrong(world, 1, "nobody")
    enter(world)

    with world.store.transaction() as tx:
        tries = [
            (attempt.username, attempt.address, attempt.right)
            for attempt in tx.session.scalars(select(SignInAttempt).order_by(SignInAttempt.id))
        ]
    assert tries == [(PERSON, ADDRESS, False), ("nobody", ADDRESS, False), (PERSON, ADDRESS, True)]


def test_an_expired_password_must_be_changed_first(world: World) -> None:
    with world.store.transaction(write=True) as tx:
        found = tx.session.scalars(select(Person).where(Person.username == PERSON)).one()
        found.password_changed_at = tx.now - timedelta(days=365, seconds=1)

    signed_in = sign_in(world.store, PERSON, PASSWORD, ADDRESS, Waiting())

    assert (signed_in.emergency_only, signed_in.password_must_change) == (False, True)
