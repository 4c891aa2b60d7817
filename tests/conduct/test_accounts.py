"""People, their roles and their passwords."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from rts.access import passwords
from rts.access.actor import actor_of, person_named
from rts.access.permissions import Permission
from rts.access.sign_in import sign_in
from rts.conduct.accounts import (
    AddPerson,
    ChangePassword,
    CloseAccount,
    EndRole,
    GrantRole,
    ResetPassword,
    UnlockAccount,
    add_person,
    change_password,
    close_account,
    end_role,
    grant_role,
    reset_password,
    unlock_account,
)
from rts.store.tables import Person, RoleGrant
from tests.world import PASSWORD, World

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


@pytest.mark.requirement("SIG-07")
def test_a_reset_password_must_be_changed_and_ends_the_sessions(world: World) -> None:
    sign_in(world.store, "supply", PASSWORD, "10.0.0.1", lambda _seconds: None)

    world.do(reset_password, ADMINISTRATOR, ResetPassword("supply", "another long password"))

    signed_in = sign_in(world.store, "supply", "another long password", "10.0.0.1", lambda _seconds: None)
    assert signed_in.password_must_change
    assert world.events("password.reset") == 1


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
