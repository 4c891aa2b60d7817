from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import html5lib
import pytest
from bs4 import BeautifulSoup, NavigableString
from flask import Flask, flash, render_template
from flask_babel import Babel
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import ChoiceLoader, FileSystemLoader

import rts.web
from rts.refusal import FailedRule, say
from rts.web import charts, frame, language
from rts.web.frame import Frame, Room, local_time, trios, utc_iso, utc_time, zone_offset

HERE = Path(__file__).parent
TEMPLATES = HERE.parents[1] / "templates"
STATIC = Path(rts.web.__file__).parent / "static"
NOW = datetime(2026, 11, 23, 6, 5, 9, tzinfo=UTC)
TODAY = date(2026, 11, 23)
PAGE = Frame(
    environment="training",
    now=NOW,
    zone="Asia/Shanghai",
    language="en",
    version="1.2",
    build="99",
    sign_out_url="/out",
    language_url="/language",
    trial="ΣΕΙΡΙΟΣ",
    place="Πεκίνο",
    person="Άννα",
    role="Γιατρός",
    rooms=(Room("Σήμερα", "/", "home", current=True), Room("Κουτιά", "/kits", "stock")),
)
SIGN_IN = replace(PAGE, trial="", place="", person="", role="", rooms=())
FAILED = (
    FailedRule("ρ.1", say("Έτος %(year)s", year="<2013>"), "year"),
    FailedRule("ρ.2", say("Φύλο"), "sex"),
    FailedRule("ρ.3", say("Πρώτο"), "inc_1"),
    FailedRule("ρ.4", say("Κωδικός"), "password"),
    FailedRule("ρ.5", say("Γενικά")),
)
ENTERED = {
    "year": "2013",
    "day": "2026-11-27",
    "inc_1": "yes",
    "sex": "m",
    "site": "02",
    "sure": "yes",
    "text": '"><i>',
}
SECRETS = {"password": "hunter2", "csrf_token": "old-token", "idempotency_key": "old-key"}


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__, template_folder=str(TEMPLATES), static_folder=str(STATIC))
    app.secret_key = "of this test only"
    app.jinja_loader = ChoiceLoader([FileSystemLoader(TEMPLATES), FileSystemLoader(HERE)])
    Babel(app)
    app.jinja_env.globals["csrf_token"] = lambda: "new-token"
    language.install(app)
    frame.install(app)
    return app


def gallery(app: Flask, page: Frame = PAGE, base: str = "_frame.html", failed: tuple[FailedRule, ...] = FAILED) -> str:
    plan = [charts.PlannedCount(date(2026, 1, 1), 0, 0, 0), charts.PlannedCount(date(2027, 1, 1), 146, 120, 160)]
    stock = [(date(2026, 11, 1), 9), (TODAY, 4)]
    with app.test_request_context():
        flash("Έγινε", "good")
        return render_template(
            "gallery.html",
            base=base,
            frame=page,
            now=NOW,
            today=TODAY,
            failed=failed,
            entered=ENTERED | SECRETS,
            rec=charts.recruitment_chart(plan, [(date(2026, 2, 1), 3)], TODAY, 146),
            rec_empty=charts.recruitment_chart([], [], TODAY),
            stk=charts.stock_chart(
                stock, TODAY, trigger=2, level=8, forecast=[(date(2026, 12, 1), 2)], expiries=[(date(2026, 11, 20), 1)]
            ),
            stk_empty=charts.stock_chart([], TODAY),
            exp=charts.expiry_chart([(date(2027, 1, 31), (3, 1, 2, 4))], ("Α", "Β", "Γ", "Δ"), TODAY),
            exp_empty=charts.expiry_chart([], ("Α",), TODAY),
        )


def parsed(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html5lib")


@pytest.mark.parametrize("base", ["_frame.html", "_plain.html", "_emergency.html"])
@pytest.mark.parametrize("page", [PAGE, SIGN_IN, replace(PAGE, environment="production", language="zh_Hans")])
def test_every_component_is_valid_html(app: Flask, base: str, page: Frame) -> None:
    html5lib.HTMLParser(strict=True).parse(gallery(app, page, base))


def test_every_control_has_a_label_and_every_reference_a_target(app: Flask) -> None:
    page = parsed(gallery(app))
    ids = [element["id"] for element in page.find_all(id=True)]
    assert sorted(ids) == sorted(set(ids))

    labels = {label["for"] for label in page.find_all("label")}
    controls = page.find_all(lambda e: e.name in ("input", "select", "textarea") and e.get("type") != "hidden")
    assert len(controls) > 10
    assert [control["name"] for control in controls if control.get("id") not in labels] == []

    for name in ("aria-describedby", "aria-labelledby", "for", "data-pick"):
        for element in page.find_all(attrs={name: True}):
            wanted = element[name] if isinstance(element[name], list) else element[name].split()
            assert set(wanted) <= set(ids), f"{name} of {element}"
    for link in page.select('a[href^="#"]'):
        assert link["href"].removeprefix("#") in ids


def test_no_template_holds_inline_script_or_style() -> None:
    inline = re.compile(
        r"\sstyle\s*=|<style\b|\son[a-z]+\s*=\s*[\"']|javascript:|<script(?![^>]*\ssrc=)", re.IGNORECASE
    )
    templates = sorted(TEMPLATES.rglob("*.html"))
    assert TEMPLATES / "_frame.html" in templates
    assert [path.name for path in templates if inline.search(path.read_text("utf-8"))] == []


def test_a_page_fetches_nothing_but_our_own_files(app: Flask) -> None:
    page = parsed(gallery(app))
    fetched = [element["src"] for element in page.find_all(src=True)]
    fetched += [element["href"] for element in page.find_all("link")]
    assert all(re.fullmatch(r"/static/[a-z]+\.(js|css|svg)\?v=99", address) for address in fetched)
    for address in fetched:
        assert (STATIC / address.removeprefix("/static/").removesuffix("?v=99")).is_file()
    assert not re.search(r"https?:|url\(\s*[\"']?(//|data:)", (STATIC / "rts.css").read_text("utf-8"))


def test_a_page_with_every_component_stays_below_200_kb(app: Flask) -> None:
    static = sum(path.stat().st_size for path in STATIC.iterdir())
    assert len(gallery(app).encode()) + static < 200_000


@pytest.mark.parametrize(("environment", "word"), [("training", "TRAINING"), ("test", "TEST")])
def test_training_and_test_pages_carry_their_word_on_screen_and_paper(app: Flask, environment: str, word: str) -> None:
    page = parsed(gallery(app, replace(PAGE, environment=environment)))
    assert page.select_one(".ribbon strong").get_text() == word
    assert {band.get_text() for band in page.select(".print-band span")} == {word}


def test_production_has_no_ribbon(app: Flask) -> None:
    page = parsed(gallery(app, replace(PAGE, environment="production")))
    assert page.select(".ribbon, .print-band") == []
    assert "not-production" not in page.body["class"]


def test_the_top_bar_names_trial_place_time_person_and_role(app: Flask) -> None:
    page = parsed(gallery(app))
    top = " ".join(page.select_one("header.top").get_text(" ", strip=True).split())
    assert "ΣΕΙΡΙΟΣ Πεκίνο 2026-11-23 14:05 UTC+8 · Asia/Shanghai" in top
    assert "Άννα Γιατρός" in top
    assert page.title.get_text() == "Error: Τίτλος · ΣΕΙΡΙΟΣ · RTS"


def test_the_rail_holds_the_rooms_given_and_marks_the_current_one(app: Flask) -> None:
    rooms = parsed(gallery(app)).select("nav.rail a")
    assert [(room.get_text(strip=True), room["href"], room.get("aria-current")) for room in rooms] == [
        ("Σήμερα", "/", "page"),
        ("Κουτιά", "/kits", None),
    ]
    assert parsed(gallery(app, base="_plain.html")).select("nav.rail") == []


def test_before_sign_in_there_is_nobody_to_sign_out(app: Flask) -> None:
    assert parsed(gallery(app, SIGN_IN, "_plain.html")).select(".sign-out, .top-person, .top-place") == []


def test_only_the_emergency_page_is_red(app: Flask) -> None:
    red = {
        base: "emergency" in parsed(gallery(app, base=base)).body["class"]
        for base in ("_frame.html", "_plain.html", "_emergency.html")
    }
    assert red == {"_frame.html": False, "_plain.html": False, "_emergency.html": True}


def test_what_was_entered_comes_back_escaped_and_the_password_does_not(app: Flask) -> None:
    html = gallery(app)
    page = parsed(html)
    assert page.select_one("#f-text")["value"] == '"><i>'
    assert page.select_one("#f-year")["value"] == "2013"
    assert page.select_one("#f-site option[selected]")["value"] == "02"
    assert [radio["value"] for radio in page.select('input[type="radio"][checked]')] == ["m", "yes", "γ"]
    assert page.select_one("#f-sure").has_attr("checked")
    assert page.select_one("#f-day-weekday").get_text() == "Friday"
    assert not page.select_one("#f-password").has_attr("value")
    assert "hunter2" not in html


def test_a_deed_carries_a_fresh_token_and_one_key(app: Flask) -> None:
    form = parsed(gallery(app)).select_one("form.deed")
    hidden = [(field["name"], field["value"]) for field in form.select('input[type="hidden"]')]
    assert hidden[:2] == [("csrf_token", "new-token"), ("idempotency_key", "key-1")]
    assert hidden[2:] == list(ENTERED.items())
    assert len(form.select(".button-primary")) == 1


def test_every_form_that_writes_carries_the_token(app: Flask) -> None:
    forms = parsed(gallery(app)).select('form[method="post"]')
    assert len(forms) == 4
    assert all(form.select_one('input[name="csrf_token"]')["value"] == "new-token" for form in forms)


def test_an_error_is_told_in_the_summary_and_at_its_field(app: Flask) -> None:
    page = parsed(gallery(app))
    summary = page.select_one(".errors")
    assert [(item.a["href"] if item.a else None, item.get_text(strip=True)) for item in summary.select("li")] == [
        ("#f-year", "Έτος <2013>"),
        ("#f-sex", "Φύλο"),
        ("#f-inc_1", "Πρώτο"),
        ("#f-password", "Κωδικός"),
        (None, "Γενικά"),
    ]
    year = page.select_one("#f-year")
    assert year["aria-invalid"] == "true"
    assert "f-year-error" in year["aria-describedby"]
    assert page.select_one("#f-year-error").get_text(strip=True) == "Έτος <2013>"
    assert page.title.get_text().startswith("Error:")


def test_without_errors_nothing_is_marked_wrong(app: Flask) -> None:
    page = parsed(gallery(app, failed=()))
    assert page.select(".errors, .error, .field-wrong, [aria-invalid]") == []
    assert not page.title.get_text().startswith("Error:")


def test_a_number_is_grouped_for_the_eye_and_copied_without_spaces(app: Flask) -> None:
    number = parsed(gallery(app)).select_one(".number-big .copy[data-copy='1004827']").parent
    assert [piece.get_text() for piece in number.select(".trio")] == ["100", "48", "27"]
    assert number.select_one(".code").get_text() == "1004827"


def test_sorting_turns_round_and_filters_are_kept(app: Flask) -> None:
    table = parsed(gallery(app)).select_one("table.table:has(.sort)")
    assert [head.get("aria-sort") for head in table.select("th[scope=col]")] == ["ascending", None]
    assert [link["href"] for link in table.select(".sort")] == [
        "?sort=-kit&state=%CE%B1&page=1",
        "?sort=days&state=%CE%B1&page=1",
    ]


def test_pages_link_to_their_neighbours_with_the_same_filter(app: Flask) -> None:
    pages = parsed(gallery(app)).select_one("nav.pages")
    assert [link["href"] for link in pages.select("a")] == [
        "?sort=kit&state=%CE%B1&page=1",
        "?sort=kit&state=%CE%B1&page=3",
    ]
    assert "Page 2 of 4" in pages.get_text()


def test_a_picture_has_title_description_and_its_data_as_a_table(app: Flask) -> None:
    page = parsed(gallery(app))
    for picture in page.select("figure.picture"):
        drawing = picture.select_one("svg[role=img]")
        assert [page.find(id=name).name for name in drawing["aria-labelledby"].split()] == ["title", "desc"]
        assert picture.select_one("table caption")
    rows = page.select_one("figure[aria-labelledby=c2-caption] tbody").select("tr")
    assert [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in rows] == [
        ["2026-11-01", "9", "counted"],
        ["2026-11-23", "4", "counted"],
        ["2026-12-01", "2", "forecast"],
    ]


def test_every_word_of_the_components_can_be_translated(app: Flask) -> None:
    app.jinja_env.install_gettext_callables(
        lambda text: f"⟦{text}⟧", lambda one, many, count: f"⟦{many}⟧", newstyle=True
    )
    page = parsed(gallery(app))
    for element in page.select("time, [translate=no], [lang], output, .zone, script, style"):
        if element.name != "html":
            element.extract()
    words = [str(text) for text in page.find_all(string=True) if type(text) is NavigableString]
    words += [
        element[name]
        for element in page.find_all()
        for name in ("aria-label", "title", "data-busy", "data-copied")
        if element.has_attr(name)
    ]
    assert sum("⟦" in text for text in words) > 40
    untranslated = {re.sub(r"⟦[^⟧]*⟧", "", text).strip() for text in words}
    own_names = {"· RTS", "RTS 1.2 ·"}
    assert {
        text for text in untranslated if re.search("[A-Za-z]", text) and not text.endswith("· RTS")
    } - own_names == {"2026-11-23 06:05:09 UTC"}


def test_times_are_shown_in_the_place_zone_with_utc_beneath(app: Flask) -> None:
    page = parsed(gallery(app))
    shown = page.select_one(".timeline time")
    assert shown["datetime"] == "2026-11-23T06:05:09Z"
    assert shown["title"] == "2026-11-23 06:05:09 UTC"
    assert shown.get_text() == "2026-11-23 14:05 UTC+8 now"


def test_an_offset_is_named_in_hours_and_minutes() -> None:
    assert zone_offset(NOW, "Asia/Kolkata") == "UTC+5:30"
    assert zone_offset(NOW, "America/Sao_Paulo") == "UTC−3"
    assert zone_offset(NOW, "UTC") == "UTC"
    assert (local_time(NOW, "Asia/Kolkata"), utc_iso(NOW)) == ("2026-11-23 11:35", "2026-11-23T06:05:09Z")
    assert utc_time(NOW) == "2026-11-23 06:05:09 UTC"


def test_relative_times_are_said_in_the_reader_s_words(app: Flask) -> None:
    with app.test_request_context():
        assert frame.relative_time(NOW + timedelta(days=3), NOW) == "in 3 days"
        assert frame.relative_time(NOW - timedelta(hours=23), NOW) == "23 hours ago"
        assert frame.relative_time(NOW + timedelta(seconds=59), NOW) == "now"
        near = [frame.relative_day(TODAY + timedelta(days=days), TODAY) for days in (-2, -1, 0, 1, 2)]
        assert near == ["2 days ago", "yesterday", "today", "tomorrow", "in 2 days"]
        assert frame.weekday("2026-02-30") == ""
        assert frame.weekday(" 2026-11-24 ") == "Tuesday"


def test_a_sentence_holds_its_values_and_sentences_within() -> None:
    app = Flask(__name__)
    Babel(app)
    with app.test_request_context():
        assert language.sentence(say("Kit %(kit)s: %(why)s", kit="7", why=say("100 % sure"))) == "Kit 7: 100 % sure"


@given(st.text(alphabet="0123456789-ABR", max_size=20))
def test_grouping_a_number_changes_nothing_but_its_look(number: str) -> None:
    pieces = trios(number)
    assert "".join(pieces) == number
    assert all(len(re.sub(r"\D", "", piece)) >= 2 for piece in pieces[1:])


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        *(
            (ink, ground, 4.5)
            for ink in ("ink", "ink-soft", "ink-faint", "accent", "stop")
            for ground in ("paper", "ground", "sunken")
        ),
        *((tone, f"{tone}-wash", 4.5) for tone in ("accent", "good", "wait", "stop", "quiet")),
        *(("paper", button, 4.5) for button in ("accent", "accent-deep", "stop")),
        ("ink-soft", "accent-wash", 4.5),
        *((line, ground, 3.0) for line in ("line-firm", "focus") for ground in ("paper", "ground")),
    ],
)
def test_colours_keep_the_contrast_that_wcag_asks(front: str, back: str, least: float) -> None:
    tokens = {"paper": "#ffffff"} | dict(
        re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", (STATIC / "rts.css").read_text("utf-8"))
    )
    lighter, darker = sorted((luminance(tokens[front]), luminance(tokens[back])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= least
