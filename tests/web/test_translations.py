"""Chinese is a first language: every word has its translation, it fits the word, and pages show it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime

import pytest
from babel.messages.catalog import Catalog, Message
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from rts.access.permissions import Role
from rts.app import create_app
from rts.conduct.lists import MEANINGS
from rts.conduct.randomising import MEANING as RANDOMISING
from rts.conduct.unblinding import MEANING as UNBLINDING
from rts.jobs.due import JobKey
from rts.jobs.runs import finish_run, start_run
from rts.refusal import say
from rts.states import LIST_STATES, MOVES, STATES
from rts.store.checks import run_checks
from rts.store.sealed_rows import open_entry
from rts.store.tables import ListEntry, ListFile, Shipment, Site, Subject
from rts.supply.kits import KitState, Move
from rts.translating import in_language
from rts.trial.reading import read_definition
from rts.trial.shipped import shipped_definition
from rts.trial.texts import Text
from tests.infrastructure import translations
from tests.web.doors import Person as At
from tests.web.doors import hidden_fields, token_in, words_of
from tests.world import PASSWORD, World


def texts_in(part: object) -> Iterator[Text]:
    """Every text of a definition."""
    if isinstance(part, Text):
        yield part
    elif is_dataclass(part):
        yield from texts_in(tuple(getattr(part, field.name) for field in fields(part)))
    elif isinstance(part, (tuple, dict)):
        for each in part.values() if isinstance(part, dict) else part:
            yield from texts_in(each)


CHINESE = "zh_Hans"
PLACE = re.compile(r"%\((\w+)\)([sd])")
# What the trial says in English and says otherwise in Chinese.
TRIAL_TEXTS = {
    english
    for text in texts_in(read_definition(shipped_definition("sirius")[0]))
    if (english := text.in_language("en")) != text.in_language(CHINESE)
}


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    return translations.read(CHINESE)


@pytest.fixture(scope="module")
def gathered() -> Catalog:
    return translations.gather()


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.store)


def forms(text: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    """The singular and the plural of a word that has both."""
    return (text,) if isinstance(text, str) else tuple(text or ())


def words(catalogue: Catalog) -> list[Message]:
    return [message for message in catalogue if message.id]


def test_the_catalogue_holds_the_words_of_code_and_templates_and_no_others(
    catalogue: Catalog, gathered: Catalog
) -> None:
    """Run `make translations` after a change of words."""
    assert {message.id for message in words(catalogue)} == {message.id for message in words(gathered)}


def test_the_words_of_the_macros_are_gathered(gathered: Catalog) -> None:
    assert "Scan the label, or type the number." in gathered


def test_no_word_lacks_its_chinese(catalogue: Catalog) -> None:
    assert translations.untranslated(catalogue) == []
    assert not any(message.fuzzy for message in words(catalogue))


def test_a_translation_puts_in_the_same_values(catalogue: Catalog) -> None:
    for message in words(catalogue):
        wanted = set(PLACE.findall(forms(message.id)[-1]))
        for translated in forms(message.string):
            assert set(PLACE.findall(translated)) == wanted, message.id
            assert "%" not in PLACE.sub("", translated), message.id


def test_translations_are_calm_and_end_as_their_sentences_do(catalogue: Catalog) -> None:
    for message in words(catalogue):
        english, chinese = forms(message.id)[-1], forms(message.string)[-1]
        assert not set(chinese) & set("!！?;"), message.id
        # Latin commas, full stops and colons do not stand after a Chinese character.
        assert not re.search(r"[一-鿿][,.:]", chinese), message.id
        if english.endswith(".") and not english.endswith("No."):
            assert chinese.endswith("。"), message.id


def test_the_compiled_catalogue_is_that_of_the_words(catalogue: Catalog) -> None:
    source = translations.source_of(CHINESE)
    assert source.with_suffix(".mo").read_bytes() == translations.compiled(catalogue)


def test_every_state_has_its_word_in_sentences() -> None:
    def codes(table: type[Subject | Site | Shipment | ListFile]) -> set[str]:
        rule = next(str(c.sqltext) for c in table.__table__.constraints if str(c.name).endswith("state_known"))  # type: ignore[attr-defined]
        return set(re.findall(r"'(\w+)'", rule))

    assert {state.value for state in KitState} | codes(Subject) | codes(Site) | codes(Shipment) == set(STATES)
    assert codes(ListFile) == set(LIST_STATES)
    assert {move.value for move in Move} == set(MOVES)


def test_values_that_are_words_are_translated_with_their_sentence() -> None:
    sentence = say("a kit that is %(state)s cannot do this: %(move)s", state=STATES["in_transit"], move=MOVES["assign"])
    assert str(sentence) == "a kit that is in transit cannot do this: set aside for a subject"
    assert in_language(sentence, "en") == str(sentence)
    assert in_language(sentence, "zh_CN") == "状态为“在途”的药盒不能进行此操作：为受试者预留"


def test_meanings_of_signatures_stay_english_on_record_and_are_shown_in_chinese() -> None:
    assert RANDOMISING == "I confirm eligibility and randomise this subject"
    for meaning in (RANDOMISING, UNBLINDING, *MEANINGS.values()):
        assert in_language(say(meaning), CHINESE).startswith("我")


class Reader:
    """Someone who reads a page in Chinese, and finds what is left of the service's own English and the trial's."""

    def __init__(self, catalogue: Catalog) -> None:
        sentences = {
            form for message in words(catalogue) for form in forms(message.id) if re.search("[A-Za-z]{2}", bare(form))
        }
        self.plain = {form for form in sentences if not PLACE.search(form)}
        self.patterns = [re.compile(pattern(form), re.DOTALL) for form in sentences - self.plain]
        texts = "|".join(map(re.escape, sorted(TRIAL_TEXTS, key=len, reverse=True)))
        self.trial = re.compile(rf"(?<![\w./])(?:{texts})(?![\w.])")

    def english_of(self, page: TestResponse) -> set[str]:
        found = {
            text
            for text in visible(page)
            if text in self.plain
            or self.trial.search(text)
            or any(pattern.fullmatch(text) for pattern in self.patterns)
        }
        # Between Chinese and what follows it, commas and colons are Chinese too.
        return found | set(re.findall(r"[^ ]*[一-鿿] ?[,:;] .{0,9}", words_of(page)))


def bare(form: str) -> str:
    return PLACE.sub("", form)


def pattern(form: str) -> str:
    """The sentences that `form` makes; what is put in may be anything without Chinese characters."""
    pieces = re.split(r"%\(\w+\)[sd]", form)
    return "[^一-鿿]+".join(re.escape(piece) for piece in pieces)


def visible(page: TestResponse) -> Iterator[str]:
    """Every text of a page that a person sees or hears, blanks squeezed; not what is marked as never translated."""
    soup = BeautifulSoup(page.text, "html5lib")
    for unread in soup.select("[translate=no], script, style"):
        unread.decompose()
    for text in soup.find_all(string=True):
        yield " ".join(str(text).split())
    for name in ("aria-label", "placeholder", "title", "data-copied", "data-busy", "data-verb", "data-no-date"):
        for tag in soup.select(f"[{name}]"):
            yield " ".join(str(tag[name]).split())


@pytest.fixture(scope="module")
def reader(catalogue: Catalog) -> Reader:
    return Reader(catalogue)


def choose(person: At, language: str) -> At:
    """Press the button in the top bar."""
    token = token_in(person.get("/password"))
    answer = person.client.post("/language", data={"csrf_token": token, "language": language})
    assert answer.status_code == 303
    return person


def in_chinese(app: Flask, username: str) -> At:
    return choose(At(app).sign_in(username), CHINESE)


def test_the_reader_notices_english(app: Flask, reader: Reader) -> None:
    """The journeys below would pass on an English page if this failed."""
    found = reader.english_of(At(app).sign_in("investigator.cn02").get("/trials/SIRIUS/sites/CN02/"))
    assert {"Today", "Subjects", "Sign out", "Screen a subject", "CN02 Beijing site 2"} <= found


def test_an_investigator_screens_and_is_refused_in_chinese(world: World, app: Flask, reader: Reader) -> None:
    subject = world.screen("CN02")
    person = in_chinese(app, "investigator.cn02")
    screen, randomise = "/trials/SIRIUS/sites/CN02/subjects/screen", f"/trials/SIRIUS/subjects/{subject}/randomise"
    answers = {f"answers.{code}": "no" for code in world.answers()}
    values = {"values.SLEDAI": "12", "values.STEROID": "7.5"}

    home = person.get("/trials/SIRIUS/sites/CN02/")
    form = person.get(screen)
    mistaken = person.post(screen, consent_on="x")
    checklist = person.get(randomise)
    refused = person.post(randomise, step="review", **answers, **values)

    assert BeautifulSoup(home.text, "html5lib").html["lang"] == "zh-Hans"  # type: ignore[index]
    assert "今日" in words_of(home)
    assert mistaken.status_code == 422
    assert "未记录任何内容。请先更正以下各项。" in words_of(mistaken)
    assert "不计抗 dsDNA 抗体和低补体两项" in words_of(checklist)
    assert refused.status_code == 409
    assert "不符合：确诊系统性红斑狼疮至少 3 个月" in words_of(refused)
    for page in (home, form, mistaken, checklist, refused):
        assert reader.english_of(page) == set(), page.request.path


@pytest.mark.requirement("SIG-06")
@pytest.mark.parametrize(("language", "told"), [(CHINESE, "接受过脾切除术"), ("en", "Splenectomy")])
def test_the_trail_tells_in_which_language_the_signed_checklist_was_shown(
    world: World, app: Flask, language: str, told: str
) -> None:
    """With the definition's digest it tells the very words (21 CFR 11.50, 11.70)."""
    subject = world.screen("CN02")
    url = f"/trials/SIRIUS/subjects/{subject}/randomise"
    entered = {f"answers.{code}": "yes" if yes else "no" for code, yes in world.answers().items()}
    entered |= {"values.SLEDAI": "12", "values.STEROID": "7.5"}
    person = choose(At(app).sign_in("investigator.cn02"), language)

    review = person.post(url, step="review", **entered)
    # Another language, chosen in another window before the password is typed, changes nothing.
    choose(person, "en" if language == CHINESE else CHINESE)
    done = person.client.post(url, data=entered | hidden_fields(review) | {"password": PASSWORD})

    assert told in words_of(review)
    assert done.status_code == 303
    event, detail = world.last_event("subject.randomised")
    assert detail is not None
    assert (event.object_id, detail["language"]) == (subject, language)
    assert detail["stratum"] == "SLEDAI-HIGH.STEROID-LOW"
    assert [str(found) for found in run_checks(world.store)] == []


def test_what_a_job_did_is_read_in_chinese(world: World, app: Flask, reader: Reader) -> None:
    moment = datetime(2026, 1, 6, 13, 0, tzinfo=UTC)
    sentence = say("%(count)s kits marked as expired.", count="3")
    finish_run(world.store, start_run(world.store, JobKey("expiry"), moment), "done", sentence)
    start_run(world.store, JobKey("delivery"), moment)

    page = in_chinese(app, "manager").get("/jobs/")

    assert "3 个药盒已标记为过期。" in words_of(page)
    assert reader.english_of(page) == set()


def test_a_physician_breaks_a_code_in_chinese(world: World, app: Flask, reader: Reader) -> None:
    subject = world.randomise("CN02")
    physician = in_chinese(app, world.stage.at_site(Role.PHYSICIAN, "CN02").name)
    url = f"/trials/SIRIUS/subjects/{subject}/code-break"

    find = physician.get("/trials/SIRIUS/sites/CN02/code-break/")
    form = physician.get(url)
    entered = hidden_fields(form) | {"reason": "严重过敏反应", "adverse_event": "yes"}
    wrong = physician.client.post(url, data=entered | {"password": "not this one"})
    told = physician.client.post(url, data=entered | {"password": PASSWORD})

    assert "我在紧急情况下对该受试者揭盲" in words_of(form)
    assert wrong.status_code == 403
    assert told.status_code == 200
    assert "该受试者接受的治疗为" in words_of(told)
    with world.opened() as (tx, opener):
        entry = tx.session.scalars(select(ListEntry).join(Subject).where(Subject.code == subject)).one()
        arm = open_entry(tx, entry, opener).arm
    treatments = {"ORVEN": "西罗莫司", "KILDU": "匹配安慰剂"}
    assert [name for name in treatments.values() if name in words_of(told)] == [treatments[arm]]
    for page in (find, form, wrong, told):
        assert reader.english_of(page) == set(), page.request.path


ROOMS = {
    "pharmacist.cn02": ("sites/CN02/", "sites/CN02/stock/", "sites/CN02/shipments/", "subjects/{subject}/visits/W0/"),
    "investigator.cn02": ("sites/CN02/subjects/", "subjects/{subject}/", "subjects/{subject}/randomisation"),
    "manager": ("", "sites/", "sites/CN02/office", "definition/", "lists/", "audit/", "audit/5"),
    "supply": ("supply/", "supply/shipments/", "supply/lots/", "supply/quarantine/"),
    "statistician.one": ("lists/", "lists/generate", "definition/1/restricted"),
    "depot.dep-sh": ("depots/DEP-SH/", "depots/DEP-SH/shipments/", "depots/DEP-SH/stock"),
    "auditor": ("audit/checkpoints", "audit/unblinded"),
}


def test_the_rooms_of_each_role_are_in_chinese(world: World, app: Flask, reader: Reader) -> None:
    subject = world.randomise("CN02")
    for username, urls in ROOMS.items():
        person = in_chinese(app, username)
        for url in urls:
            page = person.get(f"/trials/SIRIUS/{url.format(subject=subject)}")
            assert page.status_code == 200, url
            assert reader.english_of(page) == set(), url


def test_before_sign_in_and_where_there_is_no_page_the_browsers_language_is_spoken(app: Flask, reader: Reader) -> None:
    client = app.test_client()
    for url in ("/sign-in", "/emergency", "/no/such/page"):
        page = client.get(url, headers={"Accept-Language": "zh-CN,zh;q=0.9"})
        assert 'lang="zh-Hans"' in page.text, url
        assert reader.english_of(page) == set(), url
