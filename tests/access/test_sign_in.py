"""Sign-in, throttling, locks, sessions and re-entered passwords."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from argon2 import PasswordHasher, extract_parameters
from sqlalchemy import select, text

from rts.access import passwords
from rts.access.actor import Actor, actor_of, service
from rts.access.permissions import Permission
from rts.access.sign_in import (
    MOST_WAITING,
    confirm_password,
    delay_seconds,
    digest_of,
    end_session,
    network_of,
    session_of,
    sign_in,
)
from rts.conduct.accounts import (
    ChangePassword,
    CloseAccount,
    EndRole,
    UnlockAccount,
    change_password,
    close_account,
    end_role,
    unlock_account,
)
from rts.refusal import Refusal
from rts.store.tables import AuditDetail, Notice, Person, RoleGrant, SignInAttempt, WebSession
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


def tries(world: World) -> list[tuple[str, str, bool]]:
    with world.store.transaction() as tx:
        found = tx.session.scalars(select(SignInAttempt).order_by(SignInAttempt.id))
        return [(attempt.username, attempt.address, attempt.right) for attempt in found]


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


@pytest.mark.parametrize("guess", ["", "nobody", "\x00" * 32])
def test_a_name_that_is_nobodys_costs_a_whole_hash_and_never_matches(
    guess: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = []
    verify = PasswordHasher.verify
    monkeypatch.setattr(
        PasswordHasher, "verify", lambda hasher, found, given: paid.append(found) or verify(hasher, found, given)
    )

    assert passwords.matches(None, guess) is False

    assert extract_parameters(paid[0]) == extract_parameters(passwords.hash_password("somebody"))


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
    enter(world)

    assert [try_[1:] for try_ in tries(world)] == [(ADDRESS, False), (ADDRESS, True)]
    assert {try_[0] for try_ in tries(world)} == {PERSON}


@pytest.mark.requirement("ACC-06")
def test_a_name_that_is_nobodys_is_counted_and_kept_nowhere(world: World) -> None:
    """People type a password into the wrong field: it must not stand in the database, least of all on the trail."""
    wrong(world, 6, "Secret-Horse-77", "10.0.0.9")

    assert wrong(world, 1, "secret-horse-77", "10.0.0.10") == [2.0]
    names = {name for name, _, _ in tries(world)}
    assert len(names) == 1
    assert "horse" not in repr(world.rows()).lower()
    with world.store.transaction() as tx:
        details = tx.session.scalars(select(AuditDetail.detail).where(AuditDetail.detail.is_not(None))).all()
    assert "horse" not in repr(details).lower()
    event, detail = world.last_event("sign_in.unknown_name")
    assert (event.actor, event.object_type, event.object_id, detail) == (
        "sign-in",
        "installation",
        "1",
        {"address": "10.0.0.10"},
    )
    assert world.events("sign_in.unknown_name") == 7


@pytest.mark.parametrize("state", ["locked", "closed"])
def test_a_right_password_that_opens_nothing_is_an_event(world: World, state: str) -> None:
    with world.store.transaction(write=True) as tx:
        found = tx.session.scalars(select(Person).where(Person.username == PERSON)).one()
        setattr(found, f"{state}_at", tx.now)

    with pytest.raises(Refusal):
        enter(world)

    assert (world.events("session.refused"), world.events("session.started")) == (1, 0)
    assert world.last_event("session.refused")[1] == {"address": ADDRESS}


@pytest.mark.requirement("ACC-06")
def test_a_locked_account_is_told_to_its_owner_and_the_administrators(world: World) -> None:
    wrong(world, 12)

    with world.store.transaction() as tx:
        told = {
            (notice.person.username, notice.subject_line, notice.trial_id)
            for notice in tx.session.scalars(select(Notice).where(Notice.kind == "account"))
        }
    line = f"The account of {world.who(PERSON).printed_name} is locked"
    assert told == {(PERSON, line, None), ("administrator", line, None)}


# --- what throttling counts ------------------------------------------------------------------------------------------


@pytest.mark.requirement("UNBL-01")
@pytest.mark.parametrize("strangers", [(PERSON, "10.9.9.9"), ("nobody", ADDRESS)])
def test_strangers_do_not_delay_who_is_signed_in(world: World, strangers: tuple[str, str]) -> None:
    wrong(world, 8, *strangers)
    waiting = Waiting()

    confirm_password(world.store, world.who(PERSON), PASSWORD, ADDRESS, waiting)

    assert waiting.seconds == []


def test_ones_own_wrong_passwords_delay_the_next(world: World) -> None:
    waiting = Waiting()
    for _ in range(7):
        with pytest.raises(Refusal):
            confirm_password(world.store, world.who(PERSON), "wrong", ADDRESS, waiting)

    assert waiting.seconds == [1.0, 2.0]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("command line", "command line"),
        ("x" * 100, "x" * 64),
    ],
)
def test_an_address_counts_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_the_addresses_of_one_network_are_delayed_together(world: World) -> None:
    for number in range(6):
        wrong(world, 1, f"nobody{number}", f"2001:db8::{number}")
    waiting = Waiting()

    sign_in(world.store, PERSON, PASSWORD, "2001:db8::ffff", waiting)
    sign_in(world.store, PERSON, PASSWORD, "2001:db8:0:1::1", waiting)

    assert waiting.seconds == [2.0]


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
def test_delayed_attempts_never_hold_every_thread_of_the_server(world: World) -> None:
    wrong(world, 8, "nobody", "10.9.9.9")
    released, waiting = threading.Event(), threading.Semaphore(0)

    def wait(_seconds: float) -> None:
        waiting.release()
        assert released.wait(60)

    def attempt() -> None:
        with pytest.raises(Refusal):
            sign_in(world.store, "nobody", "guess", "10.9.9.9", wait)

    before = len(tries(world))
    with ThreadPoolExecutor(MOST_WAITING) as pool:
        attempts = [pool.submit(attempt) for _ in range(MOST_WAITING)]
        for _ in range(MOST_WAITING):
            assert waiting.acquire(timeout=60)

        with pytest.raises(Refusal) as caught:
            sign_in(world.store, "nobody", "guess", "10.9.9.9", wait)
        others = enter(world)  # whoever is not delayed is served meanwhile

        released.set()
        for done in attempts:
            done.result()

    assert (caught.value.code, caught.value.rules) == ("unavailable", ("sign_in.busy",))
    assert is_live(world, others)
    assert len(tries(world)) == before + MOST_WAITING + 1  # the one turned away was not tried


# --- what outlives what ----------------------------------------------------------------------------------------------


def test_a_password_changed_while_it_is_tried_opens_nothing(world: World) -> None:
    wrong(world, 6)

    def change(_seconds: float) -> None:
        world.do(change_password, PERSON, ChangePassword("a quite different one"))

    with pytest.raises(Refusal):
        sign_in(world.store, PERSON, PASSWORD, ADDRESS, change)

    with world.store.transaction() as tx:
        assert tx.session.scalars(select(WebSession)).all() == []


@pytest.mark.requirement("UNBL-08")
def test_a_clock_set_back_takes_no_role_away_and_gives_none_back(world: World) -> None:
    def rights(username: str) -> set[Permission]:
        with world.store.transaction() as tx:
            trial = tx.trial("SIRIUS")
            actor = actor_of(tx, person(world, username))
            return {right for right in Permission if actor.may(right, trial, tx.site(trial, "CN02"))}

    with world.store.transaction() as tx:
        grant = tx.session.scalars(select(RoleGrant.id).join(Person).where(Person.username == PERSON)).one()
    world.do(end_role, "administrator", EndRole(grant, "left"))
    world.clock.advance(timedelta(days=-400))

    assert Permission.UNBLIND in rights("physician.cn02")
    assert rights(PERSON) == set()


def test_a_clock_set_back_keeps_nobody_from_signing_out(world: World) -> None:
    token = enter(world)
    world.clock.advance(timedelta(days=-3))

    end_session(world.store, token)

    assert not is_live(world, token)


def test_an_expired_password_must_be_changed_first(world: World) -> None:
    with world.store.transaction(write=True) as tx:
        found = tx.session.scalars(select(Person).where(Person.username == PERSON)).one()
        found.password_changed_at = tx.now - timedelta(days=365, seconds=1)

    signed_in = sign_in(world.store, PERSON, PASSWORD, ADDRESS, Waiting())

    assert (signed_in.emergency_only, signed_in.password_must_change) == (False, True)
