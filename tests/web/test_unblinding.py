"""The code break over HTTP: the right subject, the password, the treatment once, and the offline route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from rts.access.permissions import Role
from rts.access.sign_in import LOCK_AFTER, PASSWORD_LIFETIME
from rts.app import create_app
from rts.conduct.accounts import ResetPassword, reset_password
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.site_gates import CloseSite, close_site
from rts.store.database import open_engine
from rts.store.tables import CodeBreak, IdempotencyKey, Notice, Person, SignInAttempt, Subject
from tests.web.doors import Person as At
from tests.web.doors import token_in, words_of
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


def test_a_changed_password_opens_the_rest_at_once(world: World, app: Flask) -> None:
    expire_password(world)
    physician = At(app).sign_in("physician.cn02")
    assert physician.get("/trials/SIRIUS/sites/CN02/").status_code in {403, 404}

    new = "a wholly other sentence"
    physician.post("/password", password=PASSWORD, new_password=new, repeated=new)

    assert physician.get("/trials/SIRIUS/sites/CN02/").status_code == 200


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


@pytest.mark.requirement("UNBL-01")
def test_wrong_guesses_of_others_delay_the_sign_in_and_never_the_code(
    world: World, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = world.randomise("CN02")
    with world.store.transaction(write=True) as tx:
        for name, address in (("someone", "127.0.0.1"), ("physician.cn02", "10.9.9.9")):
            for _ in range(LOCK_AFTER):
                tx.session.add(SignInAttempt(username=name, address=address, at=tx.now, right=False))
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)

    physician = At(app).sign_in("physician.cn02")
    told = physician.post(f"/trials/SIRIUS/subjects/{subject}/code-break", **REASON, password=PASSWORD)

    assert shows_a_treatment(world, told.text)
    assert waited == [8.0]


@pytest.mark.requirement("UNBL-08")
def test_everything_that_can_be_wrong_at_once_does_not_stop_it(world: World, app: Flask) -> None:
    """A locked account with an expired password, a closed site, a withdrawn subject, and a clock that lost years, in a
    browser in which a colleague is signed in.
    """
    subject = world.randomise("CN02")
    world.do(end_treatment, "investigator.cn02", EndTreatment("SIRIUS", subject, "withdrawn", "moved away"))
    world.do(close_site, "manager", CloseSite("SIRIUS", "CN02", "recruitment ended"))
    lock(world)
    browser = At(app).sign_in("pharmacist.cn02")
    world.clock.advance(timedelta(days=-800))
    with world.store.transaction(write=True) as tx:
        person = tx.session.scalars(select(Person).where(Person.username == "physician.cn02")).one()
        person.password_changed_at = tx.now - PASSWORD_LIFETIME - timedelta(days=1)
    url = f"/trials/SIRIUS/subjects/{subject}/code-break"

    physician = browser.sign_in("physician.cn02")
    wrong = physician.post(url, **REASON, password="slip of the finger")
    told = physician.post(url, **REASON, password=PASSWORD)

    assert (wrong.status_code, told.status_code) == (403, 200)
    assert not shows_a_treatment(world, wrong.text)
    assert shows_a_treatment(world, told.text)
    assert openings(world) == 1


@pytest.mark.requirement("UNBL-08")
def test_a_first_password_is_changed_and_the_code_broken_with_nobody_elses_help(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    given, chosen = "another long password", "a wholly other sentence"
    world.do(reset_password, "administrator", ResetPassword("physician.cn02", "forgotten at night", given))
    physician = At(app).sign_in("physician.cn02", given)
    url = f"/trials/SIRIUS/subjects/{subject}/code-break"

    before = physician.get(url)
    physician.post("/password", password=given, new_password=chosen, repeated=chosen)
    told = physician.post(url, **REASON, password=chosen)

    assert before.headers["Location"] == "/password"
    assert shows_a_treatment(world, told.text)
    register = At(app).sign_in("auditor").get("/trials/SIRIUS/audit/unblinded")
    assert "account not confirmed" in words_of(register)


# --- direct calls of everybody else ----------------------------------------------------------------------------------


EVERYBODY_ELSE = (
    "investigator.cn02", "pharmacist.cn02", "investigator.cn03", "pharmacist.cn03", "physician.cn03", "depot.dep-sh",
    "supply", "quality", "manager", "sponsor", "statistician.one", "auditor", "administrator",
)  # fmt: skip


@pytest.mark.requirement("UNBL-10")
@pytest.mark.parametrize("username", EVERYBODY_ELSE)
def test_a_form_sent_by_anybody_else_opens_nothing(world: World, app: Flask, username: str) -> None:
    subject = world.randomise("CN02")
    someone = At(app).sign_in(username)
    form = {**REASON, "password": PASSWORD, "csrf_token": token_in(someone.get("/password")), "idempotency_key": "1"}

    sent = someone.client.post(f"/trials/SIRIUS/subjects/{subject}/code-break", data=form)
    unknown = someone.client.post("/trials/SIRIUS/subjects/CN02-999/code-break", data=form)

    assert sent.status_code in {403, 404}
    assert not shows_a_treatment(world, sent.text)
    if username.endswith(".cn03") or username.startswith("depot"):
        assert (sent.status_code, sent.data) == (404, unknown.data)
    assert (openings(world), world.events("subject.unblinded"), world.events("subject.unblinding_looked_at")) == (
        0,
        0,
        0,
    )


def test_the_answer_leaves_no_hint_beside_itself(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    with capture_logs() as logged:
        told = physician.post(f"/trials/SIRIUS/subjects/{subject}/code-break", **REASON, password=PASSWORD)

    head = "\n".join(f"{name}: {value}" for name, value in told.headers)
    title = BeautifulSoup(told.text, "html5lib").title
    assert title is not None
    assert title.get_text() == f"Treatment of subject {subject} · SIRIUS · RTS"
    kept = repr({name: rows for name, rows in world.rows().items() if name != "definition_version"})
    for place in (head, title.get_text(), repr(logged), kept):
        assert not shows_a_treatment(world, place)
    with world.store.transaction() as tx:
        key = tx.session.scalars(select(IdempotencyKey).where(IdempotencyKey.deed == "unblind_subject")).one()
        assert json.loads(key.outcome) == {
            "deed": "unblind_subject",
            "ids": {"trial": "SIRIUS", "site": "CN02", "subject": subject, "kind": "break"},
        }
    assert "data-forget" in told.text


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


@pytest.mark.requirement("UNBL-04")
@pytest.mark.parametrize(
    "table", ["audit_event", "audit_detail", "audit_mention", "signature", "code_break", "notice", "idempotency_key"]
)
def test_nothing_is_shown_when_a_part_of_the_record_is_refused(world: World, app: Flask, table: str) -> None:
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    url = f"/trials/SIRIUS/subjects/{subject}/code-break"
    form = physician.fill(url, **REASON, password=PASSWORD)
    refusing = "FOR EACH ROW EXECUTE FUNCTION rts_refuse()"
    if world.store.engine.dialect.name == "sqlite":
        refusing = "BEGIN SELECT RAISE(ABORT, 'full'); END"
    with world.store.transaction(write=True) as tx:
        tx.session.execute(text(f"CREATE TRIGGER no_more BEFORE INSERT ON {table} {refusing}"))

    answer = physician.client.post(url, data=form)

    assert answer.status_code in {409, 503}
    assert not shows_a_treatment(world, answer.text)
    assert "rts list open" in words_of(answer)
    assert openings(world) == 0


@pytest.mark.requirement("UNBL-01")
def test_a_database_that_fails_after_the_commit_takes_the_treatment_from_nobody(world: World, app: Flask) -> None:
    """What is committed is told: of all moments, an error page now would cost the physician the most."""
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    url = f"/trials/SIRIUS/subjects/{subject}/code-break"
    form = physician.fill(url, **REASON, password=PASSWORD)
    working = world.store.engine
    nowhere = (
        working.url.set(port=1).render_as_string(hide_password=False)
        if working.dialect.name == "postgresql"
        else "sqlite:////nowhere/rts.sqlite"
    )

    def notice(session: Session, _context: object) -> None:
        session.info["breaks"] = session.info.get("breaks") or any(isinstance(row, CodeBreak) for row in session.new)

    def fail_from_now_on(session: Session) -> None:
        if session.info.get("breaks"):
            world.store.engine = open_engine(nowhere)

    event.listen(Session, "after_flush", notice)
    event.listen(Session, "after_commit", fail_from_now_on)
    try:
        told = physician.client.post(url, data=form)
    finally:
        event.remove(Session, "after_flush", notice)
        event.remove(Session, "after_commit", fail_from_now_on)
        failed, world.store.engine = world.store.engine, working
        failed.dispose()

    assert failed is not working
    assert told.status_code == 200
    assert shows_a_treatment(world, told.text)
    assert "UTC+8" in words_of(told)
    assert REASON["reason"] in words_of(told)
    assert "/trials/SIRIUS/sites/CN02/code-break/" in told.text
    assert openings(world) == 1


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
