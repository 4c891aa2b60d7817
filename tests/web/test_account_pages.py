"""Accounts, roles and jobs over HTTP."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from rts.app import create_app
from rts.store.tables import JobRun, Notice, Person, RoleGrant
from tests.web.doors import Person as At
from tests.web.doors import words_of
from tests.world import PASSWORD, World

ADA = {
    "printed_name": "Ada Lovelace",
    "username": "ada",
    "organisation": "Study group",
    "email": "ada@example.org",
    "language": "en",
}


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.store)


@pytest.fixture
def administrator(app: Flask) -> At:
    return At(app).sign_in("administrator")


def first_password(text: str) -> str:
    found = re.search(r"[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}", text)
    assert found is not None
    return found[0]


@pytest.mark.requirement("ACC-06")
def test_a_new_person_gets_a_password_shown_once_that_opens_only_its_change(app: Flask, administrator: At) -> None:
    form = administrator.fill("/accounts/add", **ADA)
    shown = administrator.client.post("/accounts/add", data=form)
    again = administrator.client.post("/accounts/add", data=form)

    password = first_password(shown.text)
    assert password not in again.text
    assert "shown once" in words_of(again)
    ada = At(app).sign_in("ada", password)
    assert ada.get("/").headers["Location"] == "/password"
    ada.post("/password", password=password, new_password=PASSWORD, repeated=PASSWORD)
    assert "You hold no role at present" in words_of(ada.get("/"))


def test_every_wrong_field_is_named_and_nothing_typed_is_lost(world: World, administrator: At) -> None:
    answer = administrator.post("/accounts/add", **ADA | {"username": "A", "email": "nowhere"})

    assert answer.status_code == 422
    assert 'href="#f-username"' in answer.text
    assert 'href="#f-email"' in answer.text
    assert 'value="Ada Lovelace"' in answer.text
    with world.store.transaction() as tx:
        assert tx.session.scalar(select(Person).where(Person.printed_name == "Ada Lovelace")) is None


@pytest.mark.requirement("ACC-05")
def test_a_role_is_granted_ended_and_stays_on_record(world: World, app: Flask, administrator: At) -> None:
    administrator.post("/accounts/add", **ADA)
    place = {"role": "pharmacist", "place": "SIRIUS/CN02/", "reason": "delegation log of 8 January"}

    granted = administrator.post("/accounts/people/ada/grant", **place)
    with world.store.transaction() as tx:
        number = tx.session.scalars(select(RoleGrant.id).where(RoleGrant.reason == place["reason"])).one()
    world.clock.advance(timedelta(minutes=5))
    ended = administrator.post(f"/accounts/grants/{number}/end", reason="moved to another ward")

    assert (granted.status_code, ended.status_code) == (303, 303)
    page = words_of(administrator.get("/accounts/people/ada"))
    assert "Roles before" in page
    assert "SIRIUS, site CN02" in page
    assert "moved to another ward" in page
    assert "Ada Lovelace Pharmacist" in words_of(administrator.get("/accounts/on?day=2026-01-08"))
    assert "Ada Lovelace" not in words_of(administrator.get("/accounts/on?day=2026-01-07"))
    assert "Ada Lovelace" not in words_of(administrator.get("/accounts/on?day=2026-01-09"))


def test_a_role_that_would_mix_blinded_and_unblinded_is_refused(world: World, administrator: At) -> None:
    place = {"role": "auditor", "place": "SIRIUS//", "reason": "needed"}

    answer = administrator.post("/accounts/people/statistician.one/grant", **place)

    assert answer.status_code == 409
    assert "would hold a blinded role after or beside an unblinded one" in words_of(answer)
    with world.store.transaction() as tx:
        assert tx.session.scalar(select(RoleGrant).where(RoleGrant.reason == "needed")) is None


def test_a_site_role_asks_for_its_site(administrator: At) -> None:
    answer = administrator.post("/accounts/people/quality/grant", role="physician", place="SIRIUS//", reason="on call")

    assert answer.status_code == 422
    assert 'href="#f-place"' in answer.text


@pytest.mark.requirement("BLIND-04")
def test_the_register_names_everyone_who_is_or_was_unblinded(app: Flask, administrator: At) -> None:
    system, trial = administrator.get("/accounts/unblinded"), At(app).sign_in("auditor")

    for page in (words_of(system), words_of(trial.get("/trials/SIRIUS/audit/unblinded"))):
        assert "Chen Lihua" in page
        assert "Marta Novak" in page
        assert "Zhao Min" not in page


def test_a_new_first_password_ends_the_sessions(app: Flask, administrator: At) -> None:
    auditor = At(app).sign_in("auditor")

    shown = administrator.post("/accounts/people/auditor/password")

    assert auditor.get("/").headers["Location"].startswith("/sign-in")
    assert At(app).sign_in("auditor", first_password(shown.text)).get("/").headers["Location"] == "/password"


def test_a_locked_account_is_unlocked_with_a_reason(world: World, administrator: At) -> None:
    with world.store.transaction(write=True) as tx:
        tx.session.scalars(select(Person).where(Person.username == "auditor")).one().locked_at = tx.now

    without = administrator.post("/accounts/people/auditor/unlock", reason=" ")
    unlocked = administrator.post("/accounts/people/auditor/unlock", reason="called, it was him")

    assert (without.status_code, unlocked.status_code) == (422, 303)
    assert world.events("account.unlocked") == 1


def test_a_closed_account_opens_nothing_and_keeps_its_record(app: Flask, administrator: At) -> None:
    auditor = At(app).sign_in("auditor")

    administrator.post("/accounts/people/auditor/close", reason="left the company")

    assert auditor.get("/").status_code == 303
    page = words_of(administrator.get("/accounts/people/auditor"))
    assert "Closed" in page
    assert "Auditor" in page


def test_an_unknown_account_is_not_there(administrator: At) -> None:
    assert administrator.get("/accounts/people/nobody").status_code == 404
    assert administrator.get("/accounts/grants/99999/end").status_code == 404


def test_the_clock_of_a_test_installation_moves_forward_only(world: World, administrator: At) -> None:
    back = administrator.post("/accounts/clock", days="-1", hours="0")
    forward = administrator.post("/accounts/clock", days="1", hours="2")

    too_far = [
        administrator.post("/accounts/clock", days=days, hours="0") for days in ("367", "-" + "9" * 40, "9" * 40)
    ]

    assert (back.status_code, forward.status_code) == (422, 303)
    assert [answer.status_code for answer in too_far] == [422, 422, 422]
    assert "at most a year" in words_of(too_far[0])
    with world.store.transaction() as tx:
        assert tx.installation.clock_offset == 26 * 3600


# --- jobs ------------------------------------------------------------------------------------------------------------


def test_a_silent_scheduler_a_failed_run_and_stuck_mail_are_told_in_words(world: World, app: Flask) -> None:
    world.randomise("CN02")
    with world.store.transaction(write=True) as tx:
        two_days_ago = tx.now - timedelta(days=2)
        tx.session.add(
            JobRun(
                job="expiry",
                scheduled_for=two_days_ago,
                started_at=two_days_ago,
                finished_at=two_days_ago,
                outcome="failed",
                message="The database did not answer.",
            )
        )
        for notice in tx.session.scalars(select(Notice)):
            notice.attempts = 6

    page = At(app).sign_in("manager").get("/jobs/")

    shown = words_of(page)
    assert "The scheduler is silent" in shown
    assert "Expiry sweep failed at its latest run" in shown
    assert "does not get through" in shown or "do not get through" in shown
    assert "was randomised as" not in shown


def test_a_job_that_ran_well_again_raises_no_alarm(world: World, app: Flask) -> None:
    with world.store.transaction(write=True) as tx:
        for outcome in ("failed", "done"):
            tx.session.add(
                JobRun(
                    job="expiry",
                    scheduled_for=tx.now,
                    started_at=tx.now,
                    finished_at=tx.now,
                    outcome=outcome,
                    message="",
                )
            )
            tx.session.flush()

    waiting = words_of(At(app).sign_in("manager").get("/jobs/"))
    assert "All jobs run; 2 mails wait to be sent" in waiting
    assert "mail gets through" not in waiting

    with world.store.transaction(write=True) as tx:
        for notice in tx.session.scalars(select(Notice)):
            notice.sent_at = tx.now

    assert "All jobs run and mail gets through" in words_of(At(app).sign_in("manager").get("/jobs/"))
