"""Time of a randomisation as a pharmacy sees it: the signed form sent to the served pages, by one client and by
sixteen at once.
"""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import update

from rts.access import passwords
from rts.access.permissions import Role
from rts.clock import SystemClock
from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.store.tables import Installation, Person
from tests.bench.measure import Report, Timing, recorded_statements, replay, stock_every_site
from tests.infrastructure.mail import free_port
from tests.world import GOOD_VALUES, PASSWORD, World

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

CLIENTS = 16
EACH = 5
SERVE = """
import sys
from rts.settings import Settings
from rts.web.serving import serve
database, keyring, lists, port = sys.argv[1:]
serve(Settings(database=database, keyring=keyring, lists=lists, port=port), with_scheduler=False)
"""


class Browser:
    """The least of a browser: one connection, cookies, the hidden fields of the last page."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.cookies: dict[str, str] = {}
        self.page = ""

    def send(self, method: str, path: str, fields: dict[str, str] | None = None) -> int:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = urllib.parse.urlencode(fields) if fields else None
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        self.page = answer.read().decode()
        for header in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = header.split(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status

    def hidden(self, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]+)"', self.page)
        if found is None:
            raise LookupError(name)
        return found.group(1)

    def sign_in(self, username: str) -> None:
        self.send("GET", "/sign-in")
        fields = {"csrf_token": self.hidden("csrf_token"), "username": username, "password": PASSWORD}
        if self.send("POST", "/sign-in", fields) != 303:
            raise RuntimeError("sign-in failed")

    def randomise(self, world: World, subject: str) -> float:
        """Randomise; the milliseconds of the signed request alone."""
        path = f"/trials/{world.stage.trial}/subjects/{subject}/randomise"
        self.send("GET", path)
        fields = {f"answers.{code}": "yes" if answer else "no" for code, answer in world.answers().items()}
        fields |= {f"values.{code}": f"{value:g}" for code, value in GOOD_VALUES.items()}
        fields |= {
            "csrf_token": self.hidden("csrf_token"),
            "idempotency_key": self.hidden("idempotency_key"),
            "step": "record",
            "password": PASSWORD,
        }
        began = time.perf_counter()
        status = self.send("POST", path, fields)
        taken = (time.perf_counter() - began) * 1000
        if status != 303:
            raise RuntimeError(f"randomisation answered {status}: {re.sub('<[^>]+>|[ ]{2,}', '', self.page)[-900:]}")
        return taken


@contextmanager
def served(world: World, folder: Path) -> Iterator[int]:
    """The world's pages under gunicorn, as `rts serve` runs them, on the port given."""
    port = free_port()
    world.store.engine.dispose()
    arguments = [world.database_url, str(folder / "keyring.json"), str(folder / "lists"), str(port)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", SERVE, *arguments], env=environment)
    try:
        for _ in range(200):
            browser = Browser(port)
            with closing(browser.connection):
                try:
                    if browser.send("GET", "/health") == 200:
                        break
                except ConnectionRefusedError:
                    time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def _subjects(world: World, sites: list[str], each: int) -> dict[str, list[str]]:
    return {site: [world.screen(site) for _ in range(each)] for site in sites}


def _run(world: World, port: int, subjects: dict[str, list[str]]) -> list[float]:
    def at_site(site: str) -> list[float]:
        browser = Browser(port)
        with closing(browser.connection):
            browser.sign_in(world.stage.at_site(Role.INVESTIGATOR, site).name)
            return [browser.randomise(world, subject) for subject in subjects[site]]

    with ThreadPoolExecutor(len(subjects)) as pool:
        return [taken for times in pool.map(at_site, subjects) for taken in times]


def test_a_randomisation_over_http_beside_its_bare_statements(new_database: Callable[..., str], tmp_path: Path) -> None:
    with World.make(new_database(), tmp_path, sites=None) as world:
        kind = world.store.engine.dialect.name
        world.do(release_lot, "quality", ReleaseLot(world.stage.trial, "BL-2601", "QP"))
        sites = stock_every_site(world)
        full_cost = PasswordHasher().hash(PASSWORD)
        with world.store.engine.begin() as connection:
            connection.execute(update(Person).values(password_hash=full_cost))
            # The served pages run on the installation's clock: as far from the computer's as this world's.
            offset = int((world.clock.now() - SystemClock().now()).total_seconds())
            connection.execute(update(Installation).values(clock_offset=offset))
        alone = _subjects(world, sites[:1], EACH + 5)
        crowd = _subjects(world, sites[1 : CLIENTS + 1], EACH)
        floor_subjects = _subjects(world, sites[CLIENTS + 1 :], EACH)
        world.store.engine.dispose()
        before = new_database(world.database_url)

        transactions = []
        for site, subjects in floor_subjects.items():
            for subject in subjects:
                with recorded_statements(world.store.engine) as recorded:
                    _randomise_in_process(world, site, subject)
                transactions += [[statement for one in recorded for statement in one]]
        floor = replay(before, transactions, "floor")

        with served(world, tmp_path) as port:
            one = Timing(f"signed form, {kind}, 1 client", tuple(_run(world, port, alone)[3:]))
            began = time.perf_counter()
            sixteen = Timing(f"signed form, {kind}, {CLIENTS} clients", tuple(_run(world, port, crowd)))
            seconds = time.perf_counter() - began
        began = time.perf_counter()
        for _ in range(10):
            passwords.hasher.__class__().verify(full_cost, PASSWORD)
        argon2 = round((time.perf_counter() - began) * 100, 1)
        report = Report(f"http-randomisation-{kind}")
        report.add(one, floor, argon2_ms=argon2)
        report.add(sixteen, floor, argon2_ms=argon2, per_second=round(len(sixteen.milliseconds) / seconds, 1))
        report.publish()


def _randomise_in_process(world: World, site: str, subject: str) -> None:
    from rts.conduct.randomising import RandomiseSubject, randomise_subject

    command = RandomiseSubject(world.stage.trial, subject, world.answers(), GOOD_VALUES)
    world.do(randomise_subject, world.stage.at_site(Role.INVESTIGATOR, site), command, sign=True)
