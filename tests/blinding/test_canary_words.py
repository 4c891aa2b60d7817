"""Secret codes are nonsense words, found wherever they get out: pages, mails, logs, errors, files, the database."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.schedulers.background import BackgroundScheduler
from click.testing import CliRunner
from sqlalchemy import select

from rts.app import create_app
from rts.cli import main
from rts.conduct import kits_at_site, resupplying
from rts.installation import open_store
from rts.jobs.leader import leadership_of
from rts.jobs.scheduler import Scheduler
from rts.settings import Settings
from rts.store.tables import Base
from tests.blinding.collector import Collector, Doors
from tests.blinding.conftest import Teller, Told
from tests.blinding.story import Story, tell_short
from tests.blinding.worlds import ARMS, KIT_TYPES, LIST_IDS, MANUFACTURING_LOTS, SEEDS, SITES, TREATMENTS
from tests.world import World

SECRET_WORDS = (*ARMS, *KIT_TYPES, *MANUFACTURING_LOTS, *SEEDS.values())

# Where everybody may read what the treatments of the trial are called.
PUBLIC_TEXTS = frozenset({"trial.overview", "trial.definition", "trial.definition_version"})


def spellings(word: str) -> list[str]:
    """A word as it stands in text, in hex digits and at any place in Base64."""
    plain = word.encode()
    shifted = [base64.b64encode(b"\x00" * shift + plain).decode()[4 if shift else 0 : -4] for shift in range(3)]
    return [word.lower(), plain.hex(), *(part.lower() for part in shifted)]


def words_in(content: str | bytes, words: tuple[str, ...] = SECRET_WORDS) -> list[str]:
    """Which of `words` occur in `content`, in any spelling."""
    found = (content.decode("latin-1") if isinstance(content, bytes) else content).lower()
    return [word for word in words if any(spelling in found for spelling in spellings(word))]


@pytest.mark.parametrize(
    "leak", [f"kit of {ARMS[0]}", ARMS[0].lower(), ARMS[0].encode().hex(), base64.b64encode(f"x{ARMS[0]}x".encode())]
)
def test_a_word_is_found_in_any_spelling(leak: str | bytes) -> None:
    assert words_in(leak) == [ARMS[0]]


@pytest.mark.slow
@pytest.mark.requirement("BLIND-01")
def test_no_secret_word_is_delivered_logged_or_stored(told: Teller) -> None:
    one = told("A")

    assert {d.place: words_in(d.content) for d in one.collector.deliveries if words_in(d.content)} == {}


@pytest.mark.slow
def test_no_secret_word_stands_in_a_stolen_database_or_file(told: Teller) -> None:
    one = told("A")

    files = [path for path in one.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".sqlite", ".rtslist", ".keys", ".json"}
    assert {path.name: words_in(path.read_bytes()) for path in files if words_in(path.read_bytes())} == {}
    with _store_of(one) as store, store.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(select(*(column.label(column.name) for column in table.columns))):
                assert [words_in(value) for value in row if isinstance(value, (str, bytes)) and words_in(value)] == []


@pytest.mark.slow
def test_the_lists_are_named_to_no_blinded_person_and_in_no_log(told: Teller) -> None:
    delivered = [d for d in told("A").collector.deliveries if not d.place.startswith(("row ", "file "))]

    # What a person typed into the address is theirs; what came back because of it is not.
    naming = [d for d in delivered if words_in(d.content, LIST_IDS)]
    assert {d.place for d in naming if not words_in(d.place, LIST_IDS)} == set()
    assert {d.content.partition("\n")[0] for d in naming} <= {"303 SEE OTHER"}


@pytest.mark.slow
def test_the_treatments_are_named_in_public_texts_alone(told: Teller) -> None:
    one = told("A")
    app = create_app(None)  # type: ignore[arg-type]  # for its map of URLs alone
    adapter = app.url_map.bind("")

    naming = [d.place for d in one.collector.deliveries if words_in(d.content, TREATMENTS)]
    pages = {adapter.match(place.split(" GET ")[1].partition("?")[0])[0] for place in naming if " GET " in place}
    elsewhere = {place for place in naming if " GET " not in place}

    assert "trial.definition_version" in pages
    assert pages <= PUBLIC_TEXTS
    assert elsewhere == {"row definition_version 1"}


# --- errors ---------------------------------------------------------------------------------------------------------


@contextmanager
def _store_of(one: Told) -> Iterator[Any]:
    store = open_store(f"sqlite:///{one.folder / 'rts.sqlite'}", one.folder / "keyring.json", one.folder / "lists")
    yield store
    store.engine.dispose()


@pytest.fixture
def copied(supplied: dict[str, World], tmp_path: Path) -> Iterator[World]:
    """A copy of world A with kits at its sites."""
    original = supplied["A"]
    shutil.copy(original.store.lists.parent / "rts.sqlite", tmp_path / "rts.sqlite")
    with original.copy(f"sqlite:///{tmp_path / 'rts.sqlite'}", tmp_path) as world:
        yield world


def test_an_error_in_a_deed_that_has_opened_kits_tells_nothing(copied: World, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()
    app = create_app(copied.store)
    doors = Doors(copied, app, collector)
    subject = copied.randomise(SITES[0])
    told: list[str] = []

    def fail(_stock: Any, own_type: str, *_rest: Any) -> Any:
        told.append(own_type)
        raise KeyError(own_type)

    monkeypatch.setattr(kits_at_site, "pick_for_subject", fail)
    pharmacist = f"pharmacist.{SITES[0].lower()}"
    url = f"/trials/SIRIUS/subjects/{subject}/visits/W4/"

    with collector.log():
        answer = doors.submit(pharmacist, url, window_reason="early")

    assert told
    assert answer.status_code == 500
    logged = [d.content for d in collector.deliveries if d.place.startswith("log")]
    assert any('"KeyError"' in line for line in logged)
    assert [d.place for d in collector.deliveries if words_in(d.content)] == []


def test_an_error_in_a_job_that_has_opened_kits_tells_nothing(
    copied: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(stocks: Any, *_rest: Any) -> Any:
        raise KeyError(stocks[0].kit_type)

    monkeypatch.setattr(resupplying, "decide_resupply", fail)
    copied.clock.advance(timedelta(days=1))
    collector = Collector()
    over = Event()
    ticks = BackgroundScheduler(timezone="UTC")
    ticks.add_listener(lambda _event: over.set(), EVENT_JOB_ERROR | EVENT_JOB_EXECUTED)
    leadership = leadership_of(copied.store.engine)
    duties = Scheduler(copied.store, Settings(home=tmp_path), leadership)

    with collector.log():
        ticks.add_job(duties.run_due_jobs)
        ticks.start()
        assert over.wait(30)
        ticks.shutdown()
    leadership.release()

    assert any("KeyError" in d.content for d in collector.deliveries)
    collector.dump_database(copied.store.engine)
    assert [d.place for d in collector.deliveries if words_in(d.content)] == []


def test_nothing_that_a_deed_holds_prints_a_secret(copied: World) -> None:
    """Whatever a frame of the core holds while a story runs: its `repr` is what a debugger or a log would print."""
    leaking: set[str] = set()
    seen = 0

    def watch(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal seen
        if "/rts/" not in frame.f_code.co_filename or "/tests/" in frame.f_code.co_filename:
            return None
        if event == "return":
            for name, value in list(frame.f_locals.items()):
                if type(value).__module__.startswith("rts.") and not isinstance(value, type):
                    seen += 1
                    if words_in(repr(value), (*ARMS, *KIT_TYPES)):
                        leaking.add(f"{type(value).__qualname__} as {name} in {frame.f_code.co_qualname}")
        return watch

    collector = Collector()
    story = Story(copied, Doors(copied, create_app(copied.store), collector), collector)
    subject = story.screen(SITES[0])
    sys.settrace(watch)
    try:
        story.randomise(subject)
        story.dispense(subject, "W4", "early")
        copied.night()
    finally:
        sys.settrace(None)

    assert seen > 1000
    assert leaking == set()


# --- the command line -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("check",),
        ("check", "--json"),
        ("audit", "export", "SIRIUS"),
        ("audit", "export"),
        ("audit", "checkpoint", "SIRIUS"),
    ],
    ids=" ".join,
)
def test_a_command_for_blinded_operators_prints_no_secret_word(
    told: Teller, tmp_path: Path, command: tuple[str, ...]
) -> None:
    # On a copy: these commands leave events, and other tests compare this world with another.
    folder = shutil.copytree(told("A").folder, tmp_path / "A")
    places = {"--database": f"sqlite:///{folder / 'rts.sqlite'}", "--keyring": folder / "keyring.json"}
    options = [str(part) for pair in {**places, "--lists": folder / "lists"}.items() for part in pair]

    result = CliRunner().invoke(main, [*command, *options])

    assert result.exit_code == 0, result.output
    assert len(result.output) > 4
    assert words_in(result.output, (*SECRET_WORDS, *TREATMENTS)) == []


def test_the_short_story_tells_nothing_either(copied: World) -> None:
    collector = Collector()
    with collector.log():
        tell_short(Story(copied, Doors(copied, create_app(copied.store), collector), collector))

    assert json.dumps([d.place for d in collector.deliveries if words_in(d.content)]) == "[]"
