"""Twins of the two worlds with a planted leak: the comparison that finds the worlds equal must find it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from flask import Flask, Response, g

from rts.app import create_app
from rts.conduct import consignments, preparing_visits, randomising
from rts.refusal import Refusal, refuse, say
from rts.store import outbox
from rts.supply import picking
from tests.blinding.collector import Collector, Doors, differences
from tests.blinding.story import Story, tell_short
from tests.blinding.worlds import ARMS, secrets_of
from tests.world import World

Plant = Callable[[pytest.MonkeyPatch, World, Flask], None]


def _told(world: World, folder: Path, plant: Plant | None) -> Collector:
    folder.mkdir()
    shutil.copy(world.store.lists.parent / "rts.sqlite", folder / "rts.sqlite")
    collector = Collector()
    with (
        pytest.MonkeyPatch.context() as patch,
        collector.log(),
        world.copy(f"sqlite:///{folder / 'rts.sqlite'}", folder) as copied,
    ):
        app = create_app(copied.store)
        if plant is not None:
            plant(patch, copied, app)
        tell_short(Story(copied, Doors(copied, app, collector), collector))
        collector.dump_database(copied.store.engine)
    return collector


def _differences(supplied: dict[str, World], folder: Path, plant: Plant | None) -> list[str]:
    one, other = (_told(world, folder / name, plant) for name, world in supplied.items())
    return differences(one, other, most=10_000)


def _kits_of_a_consignment_sorted_by_type(patch: pytest.MonkeyPatch, _world: World, _app: Flask) -> None:
    patch.setattr(picking, "_numbers", lambda kits: tuple(kit.number for kit in kits))
    patch.setattr(consignments, "sorted", list, raising=False)


def _a_refusal_in_other_words_for_one_arm(patch: pytest.MonkeyPatch, _world: World, _app: Flask) -> None:
    def set_aside(*given: Any, set_aside: Any = preparing_visits.set_aside, **named: Any) -> Any:
        try:
            return set_aside(*given, **named)
        except Refusal:
            sentence = "No kit of the first kind is here." if given[5] == ARMS[0] else "No suitable kit is here."
            raise refuse("rule", "kit.none_suitable", say(sentence), sealed=True) from None

    patch.setattr(preparing_visits, "set_aside", set_aside)


def _a_header_for_one_arm(_patch: pytest.MonkeyPatch, world: World, app: Flask) -> None:
    @app.after_request
    def add(response: Response) -> Response:
        if g.subject is not None and secrets_of(world).arm_of.get(g.subject.code) == ARMS[0]:
            response.headers["X-Served-By"] = "first"
        return response


def _a_longer_page_for_one_arm(_patch: pytest.MonkeyPatch, world: World, app: Flask) -> None:
    @app.after_request
    def add(response: Response) -> Response:
        if g.subject is not None and secrets_of(world).arm_of.get(g.subject.code) == ARMS[0]:
            response.set_data(response.get_data() + b" ")
        return response


def _a_log_line_that_tells(patch: pytest.MonkeyPatch, _world: World, _app: Flask) -> None:
    def open_entry(*given: Any, open_entry: Any = randomising.open_entry) -> Any:
        opened = open_entry(*given)
        structlog.get_logger("rts").info("entry opened", kind=ARMS.index(opened.arm))
        return opened

    patch.setattr(randomising, "open_entry", open_entry)


def _a_mail_for_one_arm(patch: pytest.MonkeyPatch, _world: World, _app: Flask) -> None:
    arms: list[str] = []

    def open_entry(*given: Any, open_entry: Any = randomising.open_entry) -> Any:
        opened = open_entry(*given)
        arms.append(opened.arm)
        return opened

    def write(tx: Any, kind: str, trial: Any, people: Any, *words: Any, write: Any = outbox.write) -> None:
        told = list(people)
        if kind == "randomisation" and arms[-1] == ARMS[0]:
            told = told[:0]
            tx.store.entropy.bytes(16)  # or every later token would differ, and tell more loudly
        write(tx, kind, trial, told, *words)

    patch.setattr(randomising, "open_entry", open_entry)
    patch.setattr(outbox, "write", write)


def _a_plain_column_that_tells(patch: pytest.MonkeyPatch, _world: World, _app: Flask) -> None:
    def set_aside(*given: Any, set_aside: Any = randomising.set_aside, **named: Any) -> Any:
        return set_aside(*given, **{**named, "window_reason": str(ARMS.index(given[5]))})

    patch.setattr(randomising, "set_aside", set_aside)


def test_the_short_story_is_equal_in_both_worlds(supplied: dict[str, World], tmp_path: Path) -> None:
    assert _differences(supplied, tmp_path, None) == []


@pytest.mark.parametrize(
    ("plant", "place"),
    [
        (_kits_of_a_consignment_sorted_by_type, "row shipment_kit"),
        (_a_refusal_in_other_words_for_one_arm, "pharmacist.cn02 prepare_visit"),
        (_a_header_for_one_arm, "pharmacist.cn02 GET /trials/SIRIUS/subjects/"),
        (_a_longer_page_for_one_arm, "pharmacist.cn02 GET /trials/SIRIUS/subjects/"),
        (_a_log_line_that_tells, "log"),
        (_a_mail_for_one_arm, "row notice"),
        (_a_plain_column_that_tells, "row dispensing"),
    ],
)
def test_a_planted_leak_is_found(supplied: dict[str, World], tmp_path: Path, plant: Plant, place: str) -> None:
    found = _differences(supplied, tmp_path, plant)

    assert any(place in difference for difference in found), found[:5]
    assert not any(arm in difference for arm in ARMS for difference in found)
