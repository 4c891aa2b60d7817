"""People, their roles and their passwords."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from rts.access import passwords
from rts.access.actor import Actor, actor_of, person_named
from rts.access.permissions import Permission, Role
from rts.access.sign_in import SignedIn, session_of, sign_in
from rts.clock import utc_text
from rts.conduct.accounts import (
    AddPerson,
    ChangePassword,
    CloseAccount,
    ConfirmAccount,
    EndRole,
    GrantRole,
    ResetPassword,
    UnlockAccount,
    add_person,
    change_password,
    close_account,
    confirm_account,
    end_role,
    grant_role,
    reset_password,
    unlock_account,
)
from rts.conduct.perform import Done
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.reviewing_lists import ReviewList, review_list
from rts.rehearsal.staging import OPERATOR
from rts.store.tables import Notice, Person, RoleGrant, Signature
from tests.world import GOOD_VALUES, PASSWORD, World

ADMINISTRATOR = "administrator"
NEW = AddPerson("new.person", "New Person", "Study group", "new@example.org", "a long first password")


@pytest.fixture
def newcomer(world: World) -> str:
    world.do(add_person, ADMINISTRATOR, NEW)
    return NEW.username


def grant(world: World, username: str, role: str, **where: str) -> None:
    places = {"trial": "SIRIUS", **where}
    world.do(grant_role, ADMINISTRATOR, GrantRole(username, role, "delegation log", **places))


def grants_of(world: World, username: str) -> list[tuple[str, bool]]:
    with world.store.transaction() as tx:
        statement = select(RoleGrant).join(Person).where(Person.username == username).order_by(RoleGrant.id)
        return [(row.role, row.granted_to is None) for row in tx.session.scalars(statement)]


@pytest.mark.requirement("SIG-07")
def test_a_new_account_must_change_its_first_password(world: World, newcomer: str) -> None:
    signed_in = sign_in(world.store, newcomer, NEW.password, "10.0.0.1", lambda _seconds: None)

    assert signed_in.password_must_change
    assert world.last_event("person.added")[1] == {"printed_name": "New Person", "organisation": "Study group"}


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"username": "x"}, ("person.username",)),
        ({"username": "two words"}, ("person.username",)),
        ({"printed_name": "Pharmacy"}, ("person.printed_name",)),
        ({"organisation": " "}, ("person.organisation",)),
        ({"email": "nowhere"}, ("person.email",)),
        ({"email": "a@[.org"}, ("person.email",)),
        ({"email": "():@example.org"}, ("person.email",)),
        ({"username": "SUPPLY"}, ("person.exists",)),
        ({"password": "short"}, ("password.length",)),
        ({"password": "new.person again"}, ("password.username",)),
        ({"password": "aaaaaaaaaaaaaaaa"}, ("password.variety",)),
        (
            {"username": "!", "printed_name": "", "organisation": "", "email": ""},
            ("person.username", "person.printed_name", "person.organisation", "person.email"),
        ),
    ],
)
@pytest.mark.requirement("ACC-01")
def test_an_account_is_one_named_persons(world: World, changes: dict[str, str], rules: tuple[str, ...]) -> None:
    with world.refuses("invalid", *rules):
        world.do(add_person, ADMINISTRATOR, replace(NEW, **changes))


@pytest.mark.parametrize("name", ["陈丽华", "Renée Zhang", "O'Neil Bo"])
def test_a_name_is_written_as_its_people_write_it(world: World, name: str) -> None:
    world.do(add_person, ADMINISTRATOR, replace(NEW, printed_name=name))

    with world.store.transaction() as tx:
        assert tx.session.scalars(select(Person.printed_name).where(Person.username == NEW.username)).one() == name


def test_a_user_name_of_full_length_is_accepted_and_traced(world: World) -> None:
    username = "a" + "b" * 62

    world.do(add_person, ADMINISTRATOR, replace(NEW, username=username))

    assert world.last_event("person.added")[0].object_id == username


@pytest.mark.requirement("BLIND-04")
@pytest.mark.parametrize(("first", "second"), [("statistician", "trial_manager"), ("trial_manager", "statistician")])
def test_nobody_holds_a_blinded_and_an_unblinded_role(world: World, newcomer: str, first: str, second: str) -> None:
    grant(world, newcomer, first)

    with world.refuses("rule", "role.blinding"):
        grant(world, newcomer, second)


@pytest.mark.requirement("BLIND-04")
@pytest.mark.parametrize(
    ("first", "second", "allowed"), [("statistician", "auditor", False), ("auditor", "statistician", True)]
)
def test_what_was_seen_cannot_be_unseen(world: World, newcomer: str, first: str, second: str, allowed: bool) -> None:
    grant(world, newcomer, first)
    with world.store.transaction() as tx:
        number = tx.session.scalars(select(RoleGrant.id).order_by(RoleGrant.id.desc())).first()
    assert number is not None
    world.do(end_role, ADMINISTRATOR, EndRole(number, "moved"))

    if allowed:
        grant(world, newcomer, second)
        assert grants_of(world, newcomer) == [(first, False), (second, True)]
    else:
        with world.refuses("rule", "role.blinding"):
            grant(world, newcomer, second)


@pytest.mark.requirement("ACC-07")
def test_an_administrator_holds_no_other_role(world: World, newcomer: str) -> None:
    with world.refuses("rule", "role.administrator"):
        grant(world, ADMINISTRATOR, "auditor")
    grant(world, newcomer, "auditor")
    with world.refuses("rule", "role.administrator"):
        grant(world, newcomer, "administrator", trial="")


@pytest.mark.parametrize(
    ("role", "where", "code", "rules"),
    [
        ("king", {}, "invalid", ("role.unknown",)),
        ("service", {}, "invalid", ("role.unknown",)),
        ("auditor", {"trial": ""}, "invalid", ("role.trial",)),
        ("administrator", {}, "invalid", ("role.trial",)),
        ("pharmacist", {}, "invalid", ("role.site",)),
        ("auditor", {"site": "CN02"}, "invalid", ("role.site",)),
        ("depot_operator", {}, "invalid", ("role.depot",)),
        ("depot_operator", {"depot": "NOWHERE"}, "not_found", ("depot.unknown",)),
        ("pharmacist", {"site": "CN99"}, "not_found", ("site.unknown",)),
        ("auditor", {"trial": "VENUS"}, "not_found", ("trial.unknown",)),
    ],
)
def test_a_role_is_held_where_it_belongs(
    world: World, newcomer: str, role: str, where: dict[str, str], code: str, rules: tuple[str, ...]
) -> None:
    with world.refuses(code, *rules):
        grant(world, newcomer, role, **where)


def test_a_role_is_held_once(world: World, newcomer: str) -> None:
    grant(world, newcomer, "pharmacist", site="CN02")
    grant(world, newcomer, "pharmacist", site="CN03")

    with world.refuses("conflict", "role.held"):
        grant(world, newcomer, "pharmacist", site="CN02")


@pytest.mark.requirement("ACC-05")
def test_a_role_serves_from_its_grant_to_its_end(world: World, newcomer: str) -> None:
    def may_dispense() -> bool:
        with world.store.transaction() as tx:
            found = person_named(tx, newcomer)
            assert found is not None
            trial = tx.trial("SIRIUS")
            return actor_of(tx, found).may(Permission.DISPENSE, trial, tx.site(trial, "CN02"))

    before = may_dispense()
    grant(world, newcomer, "pharmacist", site="CN02")
    held = may_dispense()
    with world.store.transaction() as tx:
        number = tx.session.scalars(select(RoleGrant.id).order_by(RoleGrant.id.desc())).first()
    assert number is not None
    world.clock.advance(timedelta(days=1))
    with world.refuses("invalid", "reason.missing"):
        world.do(end_role, ADMINISTRATOR, EndRole(number, ""))
    world.do(end_role, ADMINISTRATOR, EndRole(number, "left"))

    assert (before, held, may_dispense()) == (False, True, False)
    with world.refuses("conflict", "role.ended"):
        world.do(end_role, ADMINISTRATOR, EndRole(number, "left"))
    with world.refuses("not_found", "role.unknown"):
        world.do(end_role, ADMINISTRATOR, EndRole(99999, "left"))


@pytest.mark.requirement("ACC-04")
def test_a_closed_account_holds_nothing(world: World) -> None:
    with world.refuses("invalid", "reason.missing"):
        world.do(close_account, ADMINISTRATOR, CloseAccount("supply", " "))
    world.do(close_account, ADMINISTRATOR, CloseAccount("supply", "left"))

    assert grants_of(world, "supply") == [("supply_manager", False)]
    with world.refuses("conflict", "account.closed"):
        world.do(close_account, ADMINISTRATOR, CloseAccount("supply", "left"))
    with world.refuses("conflict", "account.closed"):
        grant(world, "supply", "supply_manager")


def test_an_account_that_is_not_locked_is_not_unlocked(world: World) -> None:
    with world.refuses("conflict", "account.not_locked"):
        world.do(unlock_account, ADMINISTRATOR, UnlockAccount("supply", "asked"))
    with world.refuses("not_found", "person.unknown"):
        world.do(unlock_account, ADMINISTRATOR, UnlockAccount("nobody", "asked"))


# --- a password that somebody else has known -------------------------------------------------------------------------

GIVEN, CHOSEN = "another long password", "a wholly other sentence"
INVESTIGATOR = "investigator.cn02"


def enter(world: World, username: str, password: str = PASSWORD) -> SignedIn:
    return sign_in(world.store, username, password, "10.0.0.1", lambda _seconds: None)


def is_live(world: World, signed_in: SignedIn) -> bool:
    with world.store.transaction() as tx:
        return session_of(tx, signed_in.token) is not None


def account(world: World, username: str) -> Person:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Person).where(Person.username == username)).one()


def give(world: World, username: str, who: str | Actor = ADMINISTRATOR) -> None:
    world.do(reset_password, who, ResetPassword(username, "asked by telephone", GIVEN))


def choose(world: World, username: str, password: str = CHOSEN) -> None:
    """Whoever holds the given password chooses the next, a minute later."""
    world.clock.advance(timedelta(minutes=1))
    world.do(change_password, now(world, username), ChangePassword(password))


def confirming(world: World, username: str, reason: str = "called back on the number of the log") -> ConfirmAccount:
    return ConfirmAccount(username, utc_text(account(world, username).password_changed_at), reason)


def now(world: World, username: str) -> Actor:
    """The person with the roles in force now, as the doors see them."""
    with world.store.transaction() as tx:
        return actor_of(tx, tx.session.scalars(select(Person).where(Person.username == username)).one())


def randomise(world: World) -> str:
    subject = world.screen("CN02")
    command = RandomiseSubject("SIRIUS", subject, world.answers(), GOOD_VALUES)
    world.do(randomise_subject, now(world, INVESTIGATOR), command, sign=True)
    return subject


@pytest.fixture
def second(world: World) -> str:
    """A second administrator."""
    return world.stage.add("administrator.two", "Ana Prokop", Role.ADMINISTRATOR).name


@pytest.mark.requirement("SIG-07")
def test_a_reset_password_must_be_changed_and_ends_the_sessions(world: World) -> None:
    before = enter(world, "supply")

    give(world, "supply")

    assert not is_live(world, before)
    assert enter(world, "supply", GIVEN).password_must_change
    assert world.events("password.reset") == 1
    event, detail = world.last_event("password.reset")
    assert (event.actor, event.object_id, detail) == (ADMINISTRATOR, "supply", {"reason": "asked by telephone"})


@pytest.mark.requirement("SIG-07")
def test_a_reset_says_why_and_is_of_an_open_account(world: World) -> None:
    with world.refuses("invalid", "reason.missing"):
        world.do(reset_password, ADMINISTRATOR, ResetPassword("supply", " ", GIVEN))
    world.do(close_account, ADMINISTRATOR, CloseAccount("supply", "left"))
    with world.refuses("conflict", "account.closed"):
        give(world, "supply")


@pytest.mark.requirement("SIG-07")
def test_a_reset_is_told_to_the_person_and_to_the_other_administrators(world: World, second: str) -> None:
    give(world, INVESTIGATOR)

    with world.store.transaction() as tx:
        told = [
            (notice.person.username, notice.subject_line, notice.body)
            for notice in tx.session.scalars(select(Notice).where(Notice.kind == "account").order_by(Notice.id))
        ]
    name = world.who(INVESTIGATOR).printed_name
    body = (
        f"Ivo Kral set a new first password for the account of {name}. Reason: asked by telephone. Until another "
        f"administrator, or the operator, has confirmed that {name} chose the next one, the account signs nothing but "
        "an emergency code break and shows nothing sealed. If nobody asked for this, call the other administrators."
    )
    line = f"A new first password for {name}"
    assert told == [(INVESTIGATOR, line, body), (second, line, body)]
    assert GIVEN not in repr(told)


@pytest.mark.requirement("SIG-07")
def test_an_administrator_alone_never_signs_as_somebody_else(world: World) -> None:
    """The reset, the first sign-in and the choice of the next password are all the administrator's."""
    give(world, INVESTIGATOR)
    choose(world, INVESTIGATOR)
    subject = world.screen("CN02")
    command = RandomiseSubject("SIRIUS", subject, world.answers(), GOOD_VALUES)

    with world.refuses("forbidden", "signature.unconfirmed"):
        world.do(randomise_subject, now(world, INVESTIGATOR), command, sign=True)
    with world.refuses("rule", "account.second_person"):
        world.do(confirm_account, ADMINISTRATOR, confirming(world, INVESTIGATOR))
    with world.refuses("forbidden", "signature.unconfirmed"):
        world.do(randomise_subject, now(world, INVESTIGATOR), command, sign=True)


@pytest.mark.requirement("SIG-07")
def test_an_account_that_an_administrator_made_signs_nothing_either(world: World, newcomer: str) -> None:
    grant(world, newcomer, "investigator", site="CN02")
    choose(world, newcomer)
    command = RandomiseSubject("SIRIUS", world.screen("CN02"), world.answers(), GOOD_VALUES)

    with world.refuses("forbidden", "signature.unconfirmed"):
        world.do(randomise_subject, now(world, newcomer), command, sign=True)


@pytest.mark.requirement("SIG-07")
def test_a_second_administrator_gives_the_signature_back(world: World, second: str) -> None:
    give(world, INVESTIGATOR)
    choose(world, INVESTIGATOR)

    done = world.do(confirm_account, second, confirming(world, INVESTIGATOR))

    assert done == Done("confirm_account", {"person": INVESTIGATOR})
    subject = randomise(world)
    event, detail = world.last_event("account.confirmed")
    assert (event.actor, event.object_id) == (second, INVESTIGATOR)
    assert detail == {"password_given_by": ADMINISTRATOR, "reason": "called back on the number of the log"}
    with world.store.transaction() as tx:
        signature = tx.session.scalars(select(Signature).where(Signature.object_id == subject)).one()
        told = tx.session.scalars(select(Notice).where(Notice.subject_line == "Your account is confirmed")).one()
        assert (signature.password_given_by, told.person.username) == (None, INVESTIGATOR)


@pytest.mark.requirement("SIG-07")
def test_nothing_is_confirmed_before_the_person_has_chosen(world: World, second: str) -> None:
    give(world, INVESTIGATOR)

    with world.refuses("rule", "account.first_password"):
        world.do(confirm_account, second, confirming(world, INVESTIGATOR))


@pytest.mark.requirement("SIG-07")
def test_a_password_chosen_after_the_person_was_asked_is_not_confirmed(world: World, second: str) -> None:
    give(world, INVESTIGATOR)
    choose(world, INVESTIGATOR)
    asked = confirming(world, INVESTIGATOR)
    give(world, INVESTIGATOR)
    choose(world, INVESTIGATOR, "the administrator's own choice")

    with world.refuses("conflict", "account.password_changed"):
        world.do(confirm_account, second, asked)


def test_what_is_confirmed_needs_a_reason_and_something_to_confirm(world: World, second: str) -> None:
    with world.refuses("conflict", "account.confirmed"):
        world.do(confirm_account, second, confirming(world, INVESTIGATOR))
    give(world, INVESTIGATOR)
    choose(world, INVESTIGATOR)
    with world.refuses("invalid", "reason.missing"):
        world.do(confirm_account, second, confirming(world, INVESTIGATOR, " "))


@pytest.mark.requirement("SIG-07")
def test_no_second_account_taken_over_or_made_up_confirms_for_one_person(
    world: World, second: str, newcomer: str
) -> None:
    """One administrator resets the other's password and acts in that name, or adds a third who does not exist."""
    give(world, INVESTIGATOR)
    choose(world, INVESTIGATOR)
    give(world, second)
    choose(world, second)
    grant(world, newcomer, "administrator", trial="")
    choose(world, newcomer)

    for puppet in (second, newcomer):
        with world.refuses("forbidden", "access.permission"):
            world.do(confirm_account, now(world, puppet), confirming(world, INVESTIGATOR))
        with world.refuses("forbidden", "access.permission"):
            give(world, INVESTIGATOR, now(world, puppet))


def test_nobody_confirms_oneself(world: World, second: str) -> None:
    give(world, ADMINISTRATOR, second)
    choose(world, ADMINISTRATOR)

    with world.refuses("rule", "account.second_person"):
        world.do(confirm_account, ADMINISTRATOR, confirming(world, ADMINISTRATOR))


@pytest.mark.requirement("BLIND-04")
def test_an_administrator_who_takes_over_a_statistician_sees_nothing_sealed(world: World, second: str) -> None:
    give(world, "statistician.one")
    choose(world, "statistician.one")

    taken_over = now(world, "statistician.one")
    assert taken_over.grants == ()
    with world.refuses("not_found", "access.scope"):
        world.do(review_list, taken_over, ReviewList("SIRIUS", "SIRIUS-R1"))

    world.do(confirm_account, second, confirming(world, "statistician.one"))
    assert [grant.role for grant in now(world, "statistician.one").grants] == [Role.STATISTICIAN]


@pytest.mark.requirement("SIG-07")
def test_what_the_operator_gave_an_administrator_confirms_and_the_other_way_round(world: World) -> None:
    world.do(add_person, OPERATOR, NEW)
    choose(world, NEW.username)
    with world.refuses("rule", "account.second_person"):
        world.do(confirm_account, OPERATOR, confirming(world, NEW.username))
    world.do(confirm_account, ADMINISTRATOR, confirming(world, NEW.username))

    give(world, INVESTIGATOR)
    choose(world, INVESTIGATOR)
    world.do(confirm_account, OPERATOR, confirming(world, INVESTIGATOR))

    assert [account(world, name).password_given_by for name in (NEW.username, INVESTIGATOR)] == [None, None]


# --- one's own password ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("ACC-04")
def test_a_changed_password_ends_every_other_session_of_this_person(world: World) -> None:
    here, elsewhere, colleague = enter(world, "supply"), enter(world, "supply"), enter(world, "quality")
    with world.store.transaction() as tx:
        session = session_of(tx, here.token)
        assert session is not None

    world.do(change_password, "supply", ChangePassword(CHOSEN, session.id))

    assert [is_live(world, one) for one in (here, elsewhere, colleague)] == [True, False, True]


def test_a_first_password_is_changed_whatever_the_clock_says(world: World) -> None:
    give(world, "physician.cn02")
    world.clock.advance(timedelta(days=-3))

    world.do(change_password, "physician.cn02", ChangePassword(CHOSEN))

    assert not account(world, "physician.cn02").password_must_change


@pytest.mark.parametrize(
    ("password", "rules"),
    [(PASSWORD, ("password.same",)), ("short", ("password.length",)), ("my supply password", ("password.username",))],
)
def test_a_new_password_keeps_the_rules(world: World, password: str, rules: tuple[str, ...]) -> None:
    with world.refuses("invalid", *rules):
        world.do(change_password, "supply", ChangePassword(password))


def test_a_changed_password_serves_at_once(world: World) -> None:
    world.do(change_password, "supply", ChangePassword("a quite different one"))

    with world.store.transaction() as tx:
        found = tx.session.scalars(select(Person).where(Person.username == "supply")).one()
    assert passwords.matches(found.password_hash, "a quite different one")
    assert not passwords.matches(found.password_hash, PASSWORD)
    assert found.password_hash.startswith("$argon2id$")


@pytest.mark.requirement("ACC-02")
@pytest.mark.parametrize("who", ["manager", "statistician.one", "pharmacist.cn02"])
def test_only_an_administrator_manages_accounts(world: World, who: str) -> None:
    with world.refuses("forbidden", "access.permission"):
        world.do(add_person, who, NEW)
