"""A training installation's clock goes on from a told moment, never from an earlier one; a production clock never."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from rts.access.actor import service
from rts.clock import HeldClock, SystemClock
from rts.conduct.installing import SetClock, set_clock, set_up
from rts.conduct.perform import perform
from rts.installation import follow_recorded_clock, open_store
from rts.refusal import Refusal
from rts.store.tables import AuditEvent
from rts.store.transaction import Store

OPERATOR = service("operator")
PRESENT = datetime(2026, 1, 5, 1, 0, tzinfo=UTC)


@pytest.fixture
def opened(database_url: str, tmp_path: Path) -> Iterator[Callable[[str], Store]]:
    """Call it with an environment for a new installation on a clock held at PRESENT."""
    stores = []

    def open_as(environment: str) -> Store:
        stores.append(
            open_store(database_url, tmp_path / "keyring.json", tmp_path, create_keyring=True, clock=HeldClock(PRESENT))
        )
        set_up(stores[-1], environment, OPERATOR)
        return stores[-1]

    yield open_as
    for store in stores:
        store.engine.dispose()


def offset_and_actions(store: Store) -> tuple[int, list[str]]:
    with store.transaction() as tx:
        return tx.installation.clock_offset, list(tx.session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


@pytest.mark.requirement("TIME-02")
def test_a_training_clock_goes_on_from_the_moment_it_is_set_to(opened: Callable[[str], Store]) -> None:
    store = opened("training")
    at = PRESENT + timedelta(days=120)

    perform(store, set_clock, OPERATOR, SetClock(at))

    assert offset_and_actions(store)[1] == ["installation.set_up", "clock.set"]
    store.clock = SystemClock()
    follow_recorded_clock(store)
    assert at - timedelta(seconds=1) <= store.clock.now() < at + timedelta(minutes=1)


@pytest.mark.requirement("TIME-02")
def test_a_clock_is_not_set_before_the_present(opened: Callable[[str], Store]) -> None:
    store = opened("training")

    with pytest.raises(Refusal) as refused:
        perform(store, set_clock, OPERATOR, SetClock(PRESENT - timedelta(seconds=1)))

    assert refused.value.rules == ("clock.backwards",)
    assert offset_and_actions(store) == (0, ["installation.set_up", "refused"])


@pytest.mark.requirement("TIME-02")
def test_a_production_clock_is_never_set(opened: Callable[[str], Store]) -> None:
    store = opened("production")

    with pytest.raises(Refusal) as refused:
        perform(store, set_clock, OPERATOR, SetClock(PRESENT + timedelta(days=1)))

    assert refused.value.rules == ("clock.production",)
    assert offset_and_actions(store) == (0, ["installation.set_up", "refused"])
