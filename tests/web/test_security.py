"""What protects a session: tokens, origins, headers, cookies, time-outs; and errors that tell nothing."""

from __future__ import annotations

from datetime import timedelta
from threading import BoundedSemaphore

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import func, select
from structlog.testing import capture_logs

from rts.access.permissions import Permission
from rts.access.sign_in import IDLE_TIMEOUT, LONGEST_SESSION, PASSWORD_LIFETIME
from rts.app import create_app
from rts.store.tables import Person, SignInAttempt, WebSession
from rts.web import cookies
from rts.web.guard import Pages
from tests.web.doors import Person as At
from tests.web.doors import hidden_fields, token_in, words_of
from tests.world import PASSWORD, World

pytestmark = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)

ADD = {
    "printed_name": "Ada Lovelace",
    "username": "ada",
    "organisation": "Study group",
    "email": "ada@example.org",
    "language": "en",
}


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.store)


def people(world: World) -> int:
    with world.store.transaction() as tx:
        return tx.session.scalar(select(func.count()).select_from(Person)) or 0


@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_form_without_its_token_is_refused_and_changes_nothing(world: World, app: Flask, token: str | None) -> None:
    administrator = At(app).sign_in("administrator")
    form = administrator.fill("/accounts/add", **ADD)
    form.pop("csrf_token")
    before = people(world)

    answer = administrator.client.post("/accounts/add", data=form if token is None else form | {"csrf_token": token})

    assert answer.status_code == 403
    assert people(world) == before


def test_a_token_of_another_session_is_refused(world: World, app: Flask) -> None:
    administrator, auditor = At(app).sign_in("administrator"), At(app).sign_in("auditor")
    form = administrator.fill("/accounts/add", **ADD) | {"csrf_token": token_in(auditor.get("/password"))}
    before = people(world)

    assert administrator.client.post("/accounts/add", data=form).status_code == 403
    assert people(world) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_sent_from_elsewhere_is_refused(world: World, app: Flask, headers: dict[str, str]) -> None:
    administrator = At(app).sign_in("administrator")
    form = administrator.fill("/accounts/add", **ADD)
    before = people(world)

    assert administrator.client.post("/accounts/add", data=form, headers=headers).status_code == 403
    assert people(world) == before
    assert (
        administrator.client.post("/accounts/add", data=form, headers={"Origin": "http://localhost"}).status_code == 200
    )
    assert people(world) == before + 1


@pytest.mark.parametrize("url", ["/", "/sign-in", "/nowhere", "/accounts/", "/health", "/emergency", "/static/rts.css"])
def test_every_answer_carries_the_security_headers(app: Flask, url: str) -> None:
    answer = At(app).sign_in("auditor").get(url)
    answer.close()

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers.get("Cache-Control", "").startswith("no-store") is not url.startswith("/static/")


def test_over_https_cookies_and_transport_are_strict(world: World, app: Flask) -> None:
    client = app.test_client()
    page = client.get("/sign-in", base_url="https://localhost")
    entered = {"csrf_token": token_in(page), "username": "auditor", "password": PASSWORD}

    answer = client.post("/sign-in", base_url="https://localhost", data=entered)

    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-rts_session=")  # a browser takes it from this host alone, over TLS alone
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_over_https_the_plain_twin_of_the_host_is_another_origin(world: World, app: Flask) -> None:
    client = app.test_client()
    page = client.get("/sign-in", base_url="https://localhost")
    entered = {"csrf_token": token_in(page), "username": "auditor", "password": PASSWORD}

    def sent_from(origin: str) -> int:
        answer = client.post("/sign-in", base_url="https://localhost", data=entered, headers={"Origin": origin})
        return answer.status_code

    assert (sent_from("http://localhost"), sent_from("https://localhost")) == (403, 303)


def test_over_https_a_cookie_planted_on_a_plain_connection_is_nobodys(world: World, app: Flask) -> None:
    person = At(app).sign_in("auditor")
    planted = person.client.get_cookie(cookies.SESSION)
    assert planted is not None
    victim = app.test_client()
    victim.set_cookie(cookies.SESSION, planted.value)

    answer = victim.get("/password", base_url="https://localhost")

    assert answer.headers["Location"].startswith("/sign-in")


def test_behind_a_proxy_cookies_are_sent_over_tls_alone_whatever_the_proxy_forgets(world: World) -> None:
    answer = create_app(world.store, behind_proxy=True).test_client().get("/sign-in")

    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(answer.headers["Set-Cookie"].split("; "))
    assert answer.headers["Set-Cookie"].startswith("__Host-rts_sign_in=")


@pytest.mark.requirement("ACC-06")
@pytest.mark.parametrize(("behind_proxy", "address"), [(True, "203.0.113.7"), (False, "127.0.0.1")])
def test_throttling_counts_the_address_that_the_proxy_names_and_nobody_elses(
    world: World, behind_proxy: bool, address: str
) -> None:
    client = create_app(world.store, behind_proxy=behind_proxy).test_client()
    headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}  # the first is what the caller claims
    page = client.get("/sign-in", headers=headers, base_url="https://localhost")
    entered = {"csrf_token": token_in(page), "username": "auditor", "password": "wrong"}

    client.post("/sign-in", headers=headers, base_url="https://localhost", data=entered)

    with world.store.transaction() as tx:
        assert tx.session.scalars(select(SignInAttempt.address)).all() == [address]


def test_the_language_is_chosen_on_any_page_before_signing_in(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/emergency")

    answer = client.post("/language", data={"csrf_token": token_in(page), "language": "zh_Hans"})

    assert answer.status_code == 303
    assert 'lang="zh-Hans"' in client.get("/emergency").text


def test_the_token_of_a_session_stands_in_no_cookie(world: World, app: Flask) -> None:
    person = At(app).sign_in("auditor")
    person.get("/sign-in")

    with world.store.transaction() as tx:
        secret = tx.session.scalars(select(WebSession.csrf_secret)).one()
    kept = [cookie.value for cookie in person.client._cookies.values()]
    assert len(kept) == 2
    assert secret not in kept


def test_a_sign_in_page_left_open_serves_after_the_session_has_ended(world: World, app: Flask) -> None:
    person = At(app).sign_in("auditor")
    form = BeautifulSoup(person.get("/sign-in").text, "html5lib").select_one("main form.deed")
    assert form is not None
    token = form.select_one("[name=csrf_token]")
    assert token is not None
    world.clock.advance(IDLE_TIMEOUT + timedelta(seconds=1))

    entered = {"csrf_token": token["value"], "username": "manager", "password": PASSWORD}
    assert person.client.post("/sign-in", data=entered).status_code == 303


def test_many_delayed_attempts_are_turned_away_in_words(
    world: World, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.store.transaction(write=True) as tx:
        for _ in range(6):
            tx.session.add(SignInAttempt(username="someone", address="127.0.0.1", at=tx.now, right=False))
    monkeypatch.setattr("rts.access.sign_in._waiting", BoundedSemaphore(1))
    client = app.test_client()
    entered = {"csrf_token": token_in(client.get("/sign-in")), "username": "auditor", "password": PASSWORD}
    answers = []

    def busy(_seconds: float) -> None:
        answers.append(client.post("/sign-in", data=entered))

    monkeypatch.setattr("time.sleep", busy)
    first = client.post("/sign-in", data=entered)

    assert (first.status_code, answers[0].status_code) == (303, 503)
    assert "Try again in a few seconds" in words_of(answers[0])


def test_a_session_without_use_ends_and_leads_back_to_the_page(world: World, app: Flask) -> None:
    auditor = At(app).sign_in("auditor")
    world.clock.advance(IDLE_TIMEOUT - timedelta(seconds=1))
    assert auditor.get("/trials/SIRIUS/audit/").status_code == 200
    world.clock.advance(IDLE_TIMEOUT + timedelta(seconds=1))

    ended = auditor.get("/trials/SIRIUS/audit/?action=refused")

    assert ended.headers["Location"] == "/sign-in?next=/trials/SIRIUS/audit/?action%3Drefused"
    assert "You were signed out" in words_of(auditor.get(ended.headers["Location"]))


def test_a_session_in_use_ends_after_half_a_day(world: World, app: Flask) -> None:
    auditor = At(app).sign_in("auditor")
    for _ in range(LONGEST_SESSION // timedelta(minutes=15)):
        assert auditor.get("/trials/SIRIUS/audit/").status_code == 200
        world.clock.advance(timedelta(minutes=15))

    world.clock.advance(timedelta(minutes=1))

    assert auditor.get("/trials/SIRIUS/audit/").status_code == 303


def test_a_form_sent_after_the_session_ended_leads_to_sign_in_and_back(world: World, app: Flask) -> None:
    administrator = At(app).sign_in("administrator")
    form = administrator.fill("/accounts/add", **ADD)
    world.clock.advance(IDLE_TIMEOUT + timedelta(seconds=1))
    before = people(world)

    answer = administrator.client.post("/accounts/add", data=form)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/accounts/add")
    assert people(world) == before


def test_a_session_token_brought_along_is_never_adopted(world: World, app: Flask) -> None:
    client = app.test_client()
    client.set_cookie(cookies.SESSION, "a token an attacker knows")
    page = client.get("/sign-in")

    client.post("/sign-in", data={"csrf_token": token_in(page), "username": "auditor", "password": PASSWORD})

    cookie = client.get_cookie(cookies.SESSION)
    assert cookie is not None
    assert cookie.value != "a token an attacker knows"
    attacker = app.test_client()
    attacker.set_cookie(cookies.SESSION, "a token an attacker knows")
    assert attacker.get("/").status_code == 303


def test_signing_in_again_ends_the_session_before(world: World, app: Flask) -> None:
    person = At(app).sign_in("auditor")
    before = person.client.get_cookie(cookies.SESSION)
    assert before is not None

    person.sign_in("manager")

    old = app.test_client()
    old.set_cookie(cookies.SESSION, before.value)
    assert old.get("/password").headers["Location"].startswith("/sign-in")


def test_signing_out_ends_the_session_on_the_server(world: World, app: Flask) -> None:
    person = At(app).sign_in("auditor")
    cookie = person.client.get_cookie(cookies.SESSION)
    assert cookie is not None

    person.client.post("/sign-out", data={"csrf_token": token_in(person.get("/password"))})

    thief = app.test_client()
    thief.set_cookie(cookies.SESSION, cookie.value)
    assert thief.get("/password").headers["Location"].startswith("/sign-in")


@pytest.mark.parametrize(
    "target",
    [
        "https://elsewhere.example/",
        "//elsewhere.example",
        "/\\elsewhere.example",
        "/\t/elsewhere.example",
        "javascript:alert(1)",
        "elsewhere",
        "",
    ],
)
def test_signing_in_never_leads_elsewhere(app: Flask, target: str) -> None:
    client = app.test_client()
    page = client.get("/sign-in", query_string={"next": target})
    entered = {"csrf_token": token_in(page), "username": "auditor", "password": PASSWORD, "next": target}

    assert client.post("/sign-in", data=entered).headers["Location"] == "/"


def test_a_password_is_never_written_back(world: World, app: Flask) -> None:
    client = app.test_client()
    page = client.get("/sign-in")
    wrong = {"csrf_token": token_in(page), "username": "auditor", "password": "Wrong-Horse-77"}

    assert "Wrong-Horse-77" not in client.post("/sign-in", data=wrong).text

    auditor = At(app).sign_in("auditor")
    form = hidden_fields(auditor.get("/password"))
    answer = auditor.client.post(
        "/password", data=form | {"password": "Old-Horse-77", "new_password": "New-Horse-77", "repeated": "Other-77"}
    )
    assert answer.status_code == 422
    assert not any(word in answer.text for word in ("Old-Horse-77", "New-Horse-77", "Other-77"))


def test_the_database_keeps_no_session_token(world: World, app: Flask) -> None:
    person = At(app).sign_in("auditor")
    cookie = person.client.get_cookie(cookies.SESSION)
    assert cookie is not None

    with world.store.transaction() as tx:
        assert cookie.value not in [row.token_digest for row in tx.session.scalars(select(WebSession))]


def test_an_expired_password_opens_nothing_but_its_change(world: World, app: Flask) -> None:
    with world.store.transaction(write=True) as tx:
        person = tx.session.scalars(select(Person).where(Person.username == "auditor")).one()
        person.password_changed_at = tx.now - PASSWORD_LIFETIME - timedelta(days=1)
    auditor = At(app).sign_in("auditor")

    assert auditor.get("/trials/SIRIUS/audit/").headers["Location"] == "/password"
    new = "a wholly other sentence"
    changed = auditor.post("/password", password=PASSWORD, new_password=new, repeated=new)
    assert changed.status_code == 303
    assert auditor.get("/trials/SIRIUS/audit/").status_code == 200


def test_an_unexpected_error_has_a_reference_and_the_log_has_no_values(world: World, app: Flask) -> None:
    planted = Pages("planted", __name__)

    @planted.page("/planted/<secret>", Permission.PUBLIC)
    def fail(secret: str) -> str:
        raise ValueError(f"{secret} is an arm")

    app.register_blueprint(planted)
    with capture_logs() as logged:
        answer = app.test_client().get("/planted/SNARK-ARM")

    assert answer.status_code == 500
    assert "SNARK" not in answer.text
    assert "SNARK" not in repr(logged)
    assert logged[0]["kind"] == "ValueError"
    assert logged[0]["reference"] in answer.text.replace('<span class="trio">', "").replace("</span>", "")


def test_the_sign_in_token_is_bound_to_its_browser(app: Flask) -> None:
    one, other = app.test_client(), app.test_client()
    token = token_in(one.get("/sign-in"))
    other.get("/sign-in")

    answer = other.post("/sign-in", data={"csrf_token": token, "username": "auditor", "password": PASSWORD})

    assert answer.status_code == 403
    assert other.get_cookie(cookies.SESSION) is None
    assert other.get_cookie(cookies.SIGN_IN) is not None
