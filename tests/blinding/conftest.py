"""The story, told once in each world for all tests of this folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rts.access.permissions import PERMISSIONS, Role, is_blinded
from rts.app import create_app
from rts.settings import Settings
from rts.store.database import upgrade
from tests.blinding.collector import Collector, Doors
from tests.blinding.story import Story, deliver_mail, tell, walk
from tests.blinding.worlds import SITES, Secrets, secrets_of, stage
from tests.infrastructure import mail
from tests.world import World


@dataclass
class Told:
    """A story that was told: what was delivered, what the lists of its world say, how much entropy it used."""

    collector: Collector
    secrets: Secrets
    reached: set[str]
    endpoints: set[str]
    entropy_used: int
    folder: Path  # with the database, the keyring and the lists


Teller = Callable[[str], Told]


@pytest.fixture(scope="session")
def told(
    _cheap_passwords: None, _network_is_banned: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Teller]:
    """Tells the whole story in a world, once."""
    stories: dict[str, Told] = {}
    server = mail.MailServer("127.0.0.1", mail.free_port())
    logging.getLogger("mail.log").setLevel(logging.WARNING)

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
            folder,
        )


@pytest.fixture(scope="session")
def supplied(_cheap_passwords: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    """Worlds A and B with kits at their sites and nobody randomised; stories are told in copies."""
    worlds = {}
    for name in ("A", "B"):
        folder = tmp_path_factory.mktemp(f"supplied-{name}")
        address = f"sqlite:///{folder / 'rts.sqlite'}"
        upgrade(address)
        with stage(name, address, folder) as world:
            world.supply(*SITES)
        worlds[name] = world
    return worlds
