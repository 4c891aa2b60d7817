"""Accounts, roles and jobs over HTTP."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from rts.access.permissions import Role
from rts.app import create_app
from rts.store.tables import JobRun, Notice, Person, RoleGrant, Subject
from tests.web.doors import Person as At
from tests.web.doors import words_of
from tests.world import GOOD_VALUES, PASSWORD, World

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
    assert "Your account is to be confirmed" in words_of(ada.get("/"))


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


@pytest.mark.requirement("ACC-04")
def test_a_new_first_password_ends_the_sessions(app: Flask, administrator: At) -> None:
    auditor = At(app).sign_in("auditor")

    without = administrator.post("/accounts/people/auditor/password", reason=" ")
    shown = administrator.post("/accounts/people/auditor/password", reason="forgotten, called back")

    assert without.status_code == 422
    assert 'href="#f-reason"' in without.text

    assert auditor.get("/").headers["Location"].startswith("/sign-in")
    assert At(app).sign_in("auditor", first_password(shown.text)).get("/").headers["Location"] == "/password"


@pytest.mark.requirement("SIG-07")
def test_an_account_is_confirmed_by_a_second_administrator(world: World, app: Flask, administrator: At) -> None:
    world.stage.add("administrator.two", "Ana Prokop", Role.ADMINISTRATOR)
    second = At(app).sign_in("administrator.two")
    url = "/accounts/people/statistician.one/confirm"
    shown = administrator.post("/accounts/people/statistician.one/password", reason="forgotten, called back")
    too_early = second.get(url)
    given, chosen = first_password(shown.text), "a wholly other sentence"
    statistician = At(app).sign_in("statistician.one", given)
    world.clock.advance(timedelta(minutes=7))
    statistician.post("/password", password=given, new_password=chosen, repeated=chosen)

    waiting = statistician.get("/")
    listed = second.get("/accounts/?state=unconfirmed")
    stale = second.fill(url, reason="called her, she chose it at five past nine")
    by_the_same = administrator.post(url, reason="called her")
    assert "has not chosen a password yet" in words_of(too_early)
    assert "Your account is to be confirmed" in words_of(waiting)
    assert "Chen Lihua" in words_of(listed)
    assert "Password given by Ivo Kral" in words_of(second.get(url))
    assert by_the_same.status_code == 409
    assert "neither by its owner nor by whoever gave the password" in words_of(by_the_same)

    world.clock.advance(timedelta(minutes=1))
    administrator.post("/accounts/people/statistician.one/password", reason="again")
    refused = second.client.post(url, data=stale)
    assert refused.status_code == 409
    again = first_password(administrator.post("/accounts/people/statistician.one/password", reason="once more").text)
    statistician = At(app).sign_in("statistician.one", again)
    statistician.post("/password", password=again, new_password=chosen, repeated=chosen)
    refused = second.client.post(url, data=stale | {"idempotency_key": "other"})
    assert "Another password was chosen since" in words_of(refused)

    confirmed = second.post(url, reason="called her on the number of the log")
    assert confirmed.status_code == 303
    assert statistician.get("/trials/SIRIUS/lists/").status_code == 200
    assert "There is nothing to confirm" in words_of(second.get(url))
    assert world.events("account.confirmed") == 1


@pytest.mark.requirement("SIG-07")
def test_what_waits_for_its_confirmation_is_told_where_it_is_signed(
    world: World, app: Flask, administrator: At
) -> None:
    shown = administrator.post("/accounts/people/investigator.cn02/password", reason="forgotten")
    given, chosen = first_password(shown.text), "a wholly other sentence"
    investigator = At(app).sign_in("investigator.cn02", given)
    assert "until they confirm it you sign nothing" in words_of(investigator.get("/password"))
    investigator.post("/password", password=given, new_password=chosen, repeated=chosen)
    subject = world.screen("CN02")
    answers = {f"answers.{code}": "yes" if answer else "no" for code, answer in world.answers().items()}
    values = {f"values.{code}": str(value) for code, value in GOOD_VALUES.items()}
    url = f"/trials/SIRIUS/subjects/{subject}/randomise"

    answer = investigator.post(url, **answers, **values, step="record", password=chosen)

    assert answer.status_code == 403
    assert "Your signature waits" in words_of(answer)
    with world.store.transaction() as tx:
        assert tx.session.scalar(select(Subject.state).where(Subject.code == subject)) == "screened"


# --- what takes effect on the next request ---------------------------------------------------------------------------


@pytest.mark.requirement("ACC-04")
def test_an_ended_role_is_gone_at_the_next_request(world: World, app: Flask, administrator: At) -> None:
    auditor = At(app).sign_in("auditor")
    assert auditor.get("/trials/SIRIUS/audit/").status_code == 200
    with world.store.transaction() as tx:
        number = tx.session.scalars(select(RoleGrant.id).join(Person).where(Person.username == "auditor")).one()

    administrator.post(f"/accounts/grants/{number}/end", reason="the audit is over")

    assert auditor.get("/trials/SIRIUS/audit/").status_code == 404
    assert auditor.get("/trials/SIRIUS/audit/export.csv").status_code == 404
    assert "You hold no role at present" in words_of(auditor.get("/"))


@pytest.mark.requirement("UNBL-10")
def test_a_physician_whose_role_has_ended_opens_no_code_with_a_form_already_open(
    world: World, app: Flask, administrator: At
) -> None:
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    url = f"/trials/SIRIUS/subjects/{subject}/code-break"
    form = physician.fill(url, reason="anaphylaxis", adverse_event="yes", password=PASSWORD)
    with world.store.transaction() as tx:
        number = tx.session.scalars(select(RoleGrant.id).join(Person).where(Person.username == "physician.cn02")).one()

    administrator.post(f"/accounts/grants/{number}/end", reason="moved to another hospital")

    assert physician.client.post(url, data=form).status_code == 404
    assert world.events("subject.unblinded") == 0


@pytest.mark.requirement("ACC-04")
@pytest.mark.parametrize("who", ["themselves", "administrator"])
def test_a_changed_password_signs_every_other_browser_out(
    world: World, app: Flask, administrator: At, who: str
) -> None:
    here, elsewhere = At(app).sign_in("auditor"), At(app).sign_in("auditor")
    new = "a wholly other sentence"

    if who == "themselves":
        here.post("/password", password=PASSWORD, new_password=new, repeated=new)
    else:
        administrator.post("/accounts/people/auditor/password", reason="forgotten")

    assert here.get("/trials/SIRIUS/audit/").status_code == (200 if who == "themselves" else 303)
    assert elsewhere.get("/trials/SIRIUS/audit/").headers["Location"].startswith("/sign-in")


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
    # Two of the shipments, and of each of three lists its commitment to five people.
    assert "All jobs run; 17 mails wait to be sent" in waiting
    assert "mail gets through" not in waiting

    with world.store.transaction(write=True) as tx:
        for notice in tx.session.scalars(select(Notice)):
            notice.sent_at = tx.now

    assert "All jobs run and mail gets through" in words_of(At(app).sign_in("manager").get("/jobs/"))
