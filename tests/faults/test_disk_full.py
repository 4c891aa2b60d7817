"""A full disk refuses the deed and leaves the database as it was."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.refusal import Refusal
from tests.world import GOOD_VALUES, World


def screen_until_refused(world: World) -> None:
    for _ in range(1000):
        world.screen("CN02")


@pytest.mark.requirement("RAND-04")
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
def test_a_full_disk_refuses_and_the_deed_succeeds_once_there_is_room(world: World) -> None:
    command = RandomiseSubject("SIRIUS", world.screen("CN02"), world.answers(), GOOD_VALUES)
    room = {"pages": 0}

    def limit(connection: Any, _record: object, _proxy: object) -> None:
        (used,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={used + room['pages']}")

    event.listen(world.store.engine, "checkout", limit)
    with pytest.raises(Refusal):  # what room the last pages have is used up
        screen_until_refused(world)
    before, events = world.rows(), world.events()

    with pytest.raises(Refusal) as caught:
        world.do(randomise_subject, "investigator.cn02", command, sign=True, key="one click")

    assert (caught.value.code, caught.value.rules) == ("unavailable", ("store.unavailable",))
    assert str(caught.value) == (
        "The database did not answer, so nothing was recorded. Try again; if it persists, tell the operator."
    )
    assert (world.rows(), world.events()) == (before, events)

    room["pages"] = 1000
    done = world.do(randomise_subject, "investigator.cn02", command, sign=True, key="one click")
    assert (done.ids["subject"], done.again) == ("CN02-001", False)
