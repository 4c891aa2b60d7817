"""The code break over HTTP: the right subject, the password, the treatment once, and the offline route."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, text

from rts.access.permissions import Role
from rts.access.sign_in import LOCK_AFTER, PASSWORD_LIFETIME
from rts.app import create_app
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.site_gates import CloseSite, close_site
from rts.store.database import open_engine
from rts.store.tables import CodeBreak, Notice, Person, SignInAttempt, Subject
from tests.web.doors import Person as At
from tests.web.doors import words_of
from tests.world import PASSWORD, World

REASON = {"reason": "Anaphylaxis, dose of the study drug must be known", "adverse_event": "yes"}


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.store)


def treatments(world: World) -> list[str]:
    return [treatment.name for treatment in world.stage.definition.treatments]


def shows_a_treatment(world: World, page: str) -> bool:
    return any(name in page for name in treatments(world))


def openings(world: World) -> int:
    with world.store.transaction() as tx:
        return len(tx.session.scalars(select(CodeBreak)).all())


def number_of(world: World, subject: str) -> str:
    with world.store.transaction() as tx:
        return str(tx.session.scalars(select(Subject).where(Subject.code == subject)).one().randomisation_number)


@pytest.mark.requirement("UNBL-01")
def test_the_physician_of_the_site_sees_one_treatment_once(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    url = f"/trials/SIRIUS/subjects/{subject}/code-break"
    form = physician.fill(url, **REASON, password=PASSWORD)

    told = physician.client.post(url, data=form)
    repeated = physician.client.post(url, data=form)

    assert told.status_code == 200
    assert sum(name in words_of(told) for name in treatments(world)) == 1
    assert "no-store" in told.headers["Cache-Control"]
    assert repeated.status_code == 200
    assert "The code is already open" in words_of(repeated)
    assert not shows_a_treatment(world, repeated.text)
    assert openings(world) == 1
    assert world.events("subject.unblinded") == 1


@pytest.mark.requirement("UNBL-04")
def test_a_later_look_asks_for_the_password_again_and_is_recorded(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    url = f"/trials/SIRIUS/subjects/{subject}/code-break"
    physician.post(url, **REASON, password=PASSWORD)

    without = physician.post(url, **REASON, password="wrong password, no look")
    again = physician.post(url, **REASON, password=PASSWORD)

    assert without.status_code == 403
    assert not shows_a_treatment(world, without.text)
    assert shows_a_treatment(world, again.text)
    assert (world.events("subject.unblinded"), world.events("subject.unblinding_looked_at")) == (1, 1)


def test_no_page_but_the_answer_names_the_treatment(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    physician.post(f"/trials/SIRIUS/subjects/{subject}/code-break", **REASON, password=PASSWORD)

    pages = [
        physician.get(f"/trials/SIRIUS/subjects/{subject}/code-break"),
        physician.get("/trials/SIRIUS/sites/CN02/code-break/"),
        At(app).sign_in("auditor").get("/trials/SIRIUS/audit/"),
        At(app).sign_in("auditor").get("/trials/SIRIUS/audit/unblinded"),
    ]

    assert [page.status_code for page in pages] == [200] * 4
    assert not any(shows_a_treatment(world, page.text) for page in pages)


@pytest.mark.requirement("UNBL-05")
def test_the_notice_to_the_sponsor_names_no_treatment(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    At(app).sign_in("physician.cn02").post(f"/trials/SIRIUS/subjects/{subject}/code-break", **REASON, password=PASSWORD)

    with world.store.transaction() as tx:
        notices = tx.session.scalars(select(Notice).where(Notice.kind == "unblinding")).all()
        assert {notice.person.username for notice in notices} == {"manager", "sponsor"}
        assert not any(shows_a_treatment(world, notice.subject_line + notice.body) for notice in notices)


@pytest.mark.parametrize(("left_out", "field"), [("reason", "f-reason"), ("adverse_event", "f-adverse_event")])
def test_an_answer_left_out_opens_nothing(world: World, app: Flask, left_out: str, field: str) -> None:
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    entered = {name: value for name, value in REASON.items() if name != left_out} | {"password": PASSWORD}

    answer = physician.post(f"/trials/SIRIUS/subjects/{subject}/code-break", **entered)

    assert answer.status_code == 422
    assert f'href="#{field}"' in answer.text
    assert PASSWORD not in answer.text
    assert openings(world) == 0
    assert world.events("refused") == 1


@pytest.mark.parametrize("typed", ["{code}", "{bare_code}", "{number}", " {small_number} ", "{digits}", "{wide}", "1"])
def test_the_subject_is_found_however_it_is_typed(world: World, app: Flask, typed: str) -> None:
    subject = world.randomise("CN02")
    number = number_of(world, subject)
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in number)
    entered = typed.format(
        code=subject,
        bare_code=subject.replace("-", " ").lower(),
        number=number,
        small_number=" ".join(number.lower()),
        digits="".join(filter(str.isdecimal, number)),
        wide=wide,
    )

    found = (
        At(app)
        .sign_in("physician.cn02")
        .client.get("/trials/SIRIUS/sites/CN02/code-break/", query_string={"subject": entered})
    )

    assert found.status_code == 303
    assert found.headers["Location"] == f"/trials/SIRIUS/subjects/{subject}/code-break"


@pytest.mark.requirement("UNBL-10")
def test_another_sites_subject_is_not_found(world: World, app: Flask) -> None:
    subject = world.randomise("CN03")
    physician = At(app).sign_in("physician.cn02")

    sought = physician.client.get(
        "/trials/SIRIUS/sites/CN02/code-break/", query_string={"subject": number_of(world, subject)}
    )
    opened = physician.get(f"/trials/SIRIUS/subjects/{subject}/code-break")
    unknown = physician.get("/trials/SIRIUS/subjects/CN03-999/code-break")

    assert "No subject of this site" in words_of(sought)
    assert (opened.status_code, opened.data) == (404, unknown.data)


def test_a_subject_who_was_not_randomised_has_nothing_to_open(world: World, app: Flask) -> None:
    subject = world.screen("CN02")
    page = At(app).sign_in("physician.cn02").get(f"/trials/SIRIUS/subjects/{subject}/code-break")

    assert "There is no treatment to open" in words_of(page)
    assert "Your password" not in words_of(page)


# --- nothing that serves order stands in the way ---------------------------------------------------------------------


def lock(world: World) -> None:
    with world.store.transaction(write=True) as tx:
        tx.session.scalars(select(Person).where(Person.username == "physician.cn02")).one().locked_at = tx.now


def expire_password(world: World) -> None:
    with world.store.transaction(write=True) as tx:
        person = tx.session.scalars(select(Person).where(Person.username == "physician.cn02")).one()
        person.password_changed_at = tx.now - PASSWORD_LIFETIME - timedelta(days=1)


@pytest.mark.requirement("UNBL-08")
@pytest.mark.parametrize("bar", [lock, expire_password])
def test_a_barred_account_may_break_a_code_and_nothing_else(world: World, app: Flask, bar) -> None:  # type: ignore[no-untyped-def]
    subject = world.randomise("CN02")
    bar(world)
    physician = At(app).sign_in("physician.cn02")

    told = physician.post(f"/trials/SIRIUS/subjects/{subject}/code-break", **REASON, password=PASSWORD)

    assert shows_a_treatment(world, told.text)
    assert physician.get("/").headers["Location"] == "/trials/SIRIUS/sites/CN02/code-break/"
    assert physician.get("/trials/SIRIUS/sites/CN02/").status_code in {403, 404}


def test_an_account_locked_while_signed_in_keeps_the_code_break_alone(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    lock(world)

    told = physician.post(f"/trials/SIRIUS/subjects/{subject}/code-break", **REASON, password=PASSWORD)

    assert shows_a_treatment(world, told.text)
    assert physician.get("/trials/SIRIUS/sites/CN02/").status_code in {403, 404}


@pytest.mark.requirement("UNBL-08")
def test_a_withdrawn_subject_of_a_closed_site_is_opened(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    investigator = world.stage.at_site(Role.INVESTIGATOR, "CN02")
    world.do(end_treatment, investigator, EndTreatment("SIRIUS", subject, "withdrawn", "moved away"))
    world.do(close_site, "manager", CloseSite("SIRIUS", "CN02", "end of the study"))
    physician = At(app).sign_in("physician.cn02")

    told = physician.post(f"/trials/SIRIUS/subjects/{subject}/code-break", **REASON, password=PASSWORD)

    assert shows_a_treatment(world, told.text)


def test_wrong_guesses_from_one_address_delay_and_do_not_bar(
    world: World, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    with world.store.transaction(write=True) as tx:
        for _ in range(LOCK_AFTER):
            tx.session.add(SignInAttempt(username="someone", address="127.0.0.1", at=tx.now, right=False))
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)

    told = physician.post(f"/trials/SIRIUS/subjects/{subject}/code-break", **REASON, password=PASSWORD)

    assert shows_a_treatment(world, told.text)
    assert waited == [8.0]


# --- when the record cannot be written -------------------------------------------------------------------------------


@pytest.fixture
def stopped(world: World, app: Flask) -> Iterator[tuple[At, str]]:
    """A physician at the form of a code break, and the form's URL, at the moment the database stops."""
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    url = f"/trials/SIRIUS/subjects/{subject}/code-break"
    form = physician.fill(url, **REASON, password=PASSWORD)
    address = world.store.engine.url
    world.store.engine.dispose()
    working = world.store.engine
    if address.get_backend_name() == "sqlite":
        # A folder in the file's place cannot be opened by anybody, root included.
        file = Path(address.database or "")
        kept = file.rename(file.with_suffix(".kept"))
        file.mkdir()
        yield physician, url
        file.rmdir()
        kept.rename(file)
    else:
        nobody_listens = address.set(port=1).render_as_string(hide_password=False)
        world.store.engine = open_engine(nobody_listens)
        yield physician, url
        world.store.engine.dispose()
        world.store.engine = working
    assert form["csrf_token"]


@pytest.mark.requirement("UNBL-06")
def test_without_a_database_the_page_gives_the_offline_route(world: World, stopped: tuple[At, str]) -> None:
    physician, url = stopped

    answers = [
        physician.get(url),
        physician.client.post(url, data={**REASON, "password": PASSWORD}),
        physician.get("/trials/SIRIUS/sites/CN02/code-break/"),
        physician.get("/emergency"),
    ]

    for answer in answers:
        assert answer.status_code == 503
        assert "rts list open LIST --number RANDOMISATION-NUMBER" in words_of(answer)
        assert not shows_a_treatment(world, answer.text)


def test_without_a_database_other_pages_say_so_and_tell_where_to_turn(stopped: tuple[At, str]) -> None:
    physician, _ = stopped

    answer = physician.get("/trials/SIRIUS/sites/CN02/")

    assert answer.status_code == 503
    assert "The database did not answer" in words_of(answer)
    assert "rts list open" in words_of(answer)


@pytest.mark.requirement("UNBL-04")
def test_nothing_is_shown_when_the_audit_row_cannot_be_written(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    url = f"/trials/SIRIUS/subjects/{subject}/code-break"
    form = physician.fill(url, **REASON, password=PASSWORD)
    with world.store.transaction(write=True) as tx:
        tx.session.execute(text("ALTER TABLE audit_event RENAME TO audit_event_gone"))

    answer = physician.client.post(url, data=form)

    with world.store.transaction(write=True) as tx:
        tx.session.execute(text("ALTER TABLE audit_event_gone RENAME TO audit_event"))
    assert answer.status_code == 503
    assert not shows_a_treatment(world, answer.text)
    assert "rts list open" in words_of(answer)
    assert openings(world) == 0


def test_the_offline_route_is_open_to_everyone(app: Flask) -> None:
    answer = app.test_client().get("/emergency")

    assert answer.status_code == 200
    assert "rts list open" in words_of(answer)


@pytest.mark.parametrize("username", ["investigator.cn02", "pharmacist.cn02", "manager", "statistician.one"])
def test_nobody_else_has_a_way_in(world: World, app: Flask, username: str) -> None:
    subject = world.randomise("CN02")
    someone = At(app).sign_in(username)

    for url in (f"/trials/SIRIUS/subjects/{subject}/code-break", "/trials/SIRIUS/sites/CN02/code-break/"):
        assert someone.get(url).status_code in {403, 404}
    assert openings(world) == 0
