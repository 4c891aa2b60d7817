"""Exchanging the arms changes nothing that a blinded person receives: the same story in worlds that differ in what must
stay hidden alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rts.access.permissions import PERMISSIONS, Role, is_blinded
from rts.app import create_app
from rts.settings import Settings
from rts.store.database import upgrade
from tests.blinding.collector import Collector, Doors, differences
from tests.blinding.story import Story, deliver_mail, tell, walk
from tests.blinding.worlds import ARMS, KIT_TYPES, Secrets, secrets_of, stage
from tests.infrastructure import mail


@dataclass
class Told:
    """A story that was told: what was delivered, what the lists of its world say, how much entropy it used."""

    collector: Collector
    secrets: Secrets
    reached: set[str]
    endpoints: set[str]
    entropy_used: int


Teller = Callable[[str], Told]


@pytest.fixture(scope="module")
def told(
    _cheap_passwords: None, _network_is_banned: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Teller]:
    """Tells the whole story in a world, once."""
    stories: dict[str, Told] = {}
    server = mail.MailServer("127.0.0.1", mail.free_port())

    def tell_in(name: str) -> Told:
        if name not in stories:
            stories[name] = _tell_in(name, tmp_path_factory.mktemp(name), server)
        return stories[name]

    server.start()
    yield tell_in
    server.stop()


def _tell_in(name: str, folder: Path, server: mail.MailServer) -> Told:
    address = f"sqlite:///{folder / 'rts.sqlite'}"
    upgrade(address)
    collector = Collector()
    settings = Settings(home=folder, smtp_host=server.host, smtp_port=server.port, address="https://rts.example.org")
    with collector.log(), stage(name, address, folder) as world:
        app = create_app(world.store)
        story = Story(world, Doors(world, app, collector), collector)
        tell(story, settings)
        walk(story)
        deliver_mail(story, settings, server)
        collector.dump_database(world.store.engine)
        collector.dump_files(world.store.lists)
        blinded = frozenset().union(*(PERMISSIONS[role] for role in Role if is_blinded(role)))
        pages = {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())} - {"static"}
        for_blinded = {page for page in pages if getattr(app.view_functions[page], "permission", None) in blinded}
        return Told(
            collector,
            secrets_of(world),
            story.doors.reached,
            for_blinded,
            world.store.entropy._counter,  # type: ignore[attr-defined]
        )


def _exchanged(codes: dict[str, str], pair: tuple[str, str]) -> dict[str, str]:
    return {key: pair[1 - pair.index(code)] for key, code in codes.items()}


@pytest.mark.slow
@pytest.mark.requirement("BLIND-01")
def test_exchanging_the_arms_changes_nothing_that_a_blinded_person_receives(told: Teller) -> None:
    one, other = told("A"), told("B")

    # The worlds are what they should be: every allocation and every kit is exchanged, and both arms occur.
    assert {place: ARMS[1 - ARMS.index(arm)] for place, arm in one.secrets.arms.items()} == other.secrets.arms
    assert _exchanged(one.secrets.kit_types, KIT_TYPES) == other.secrets.kit_types
    assert _exchanged(one.secrets.arm_of, ARMS) == other.secrets.arm_of
    assert len(one.secrets.arm_of) == 12
    assert set(one.secrets.arm_of.values()) == set(ARMS)

    assert differences(one.collector, other.collector) == []
    assert one.entropy_used == other.entropy_used


@pytest.mark.slow
def test_other_recorded_seeds_and_block_sizes_change_nothing_that_a_blinded_person_receives(told: Teller) -> None:
    one, other = told("A"), told("C")

    assert one.secrets == other.secrets
    assert differences(one.collector, other.collector) == []
    assert one.entropy_used == other.entropy_used


@pytest.mark.slow
def test_the_story_reaches_every_page_that_a_blinded_role_may_open(told: Teller) -> None:
    one = told("A")

    assert one.endpoints - one.reached == set()
