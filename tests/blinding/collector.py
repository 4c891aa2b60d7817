"""Everything that reaches a blinded person, the log or the disk, in the order in which it does.

Values that hide by construction (the columns of such a type) are replaced by their place, wherever they turn up;
their lengths stay and are compared.
"""

from __future__ import annotations

import hashlib
import html
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import structlog
from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, Table, func, select, union
from werkzeug.routing import IntegerConverter, Rule
from werkzeug.test import TestResponse

from rts.access.permissions import Role, is_blinded
from rts.store.tables import (
    Base,
    BlindedLot,
    Depot,
    Destruction,
    Dispensing,
    Kit,
    ListFile,
    ListSpecification,
    Person,
    RoleGrant,
    Shipment,
    Site,
    Subject,
    TemperatureRecord,
    Trial,
)
from tests.reports.pdf import set_in
from tests.world import PASSWORD, World

HEX_RUN = re.compile(r"[0-9a-f]{8,}")
LINK = re.compile(r"""(?:href|src)="(/[^"#]*)""")
# How many of the links to one page, with its filters and sortings, are followed for each person.
MOST_LINKS = 4


@dataclass(frozen=True)
class Delivery:
    """Something that was delivered: where, and to the byte what."""

    place: str
    content: str


@dataclass
class Collector:
    """What was delivered so far, as it was; `normalised` puts the places of hidden values in."""

    deliveries: list[Delivery] = field(default_factory=list)
    hidden: dict[str, str] = field(default_factory=dict)

    def add(self, place: str, content: str | bytes) -> None:
        """Note a delivery."""
        text = content.decode("utf-8", "backslashreplace") if isinstance(content, bytes) else content
        self.deliveries.append(Delivery(place, text))

    @contextmanager
    def log(self) -> Iterator[None]:
        """Collect every log line while it lasts: standard logging and structlog, as they would be printed."""

        class Kept(logging.Handler):
            def emit(handler, record: logging.LogRecord) -> None:  # noqa: N805
                if not record.name.startswith("mail."):  # the mail server of the test
                    self.add(f"log {record.name}", logging.Formatter("%(levelname)s %(message)s").format(record))

        def keep(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
            self.add("log", structlog.processors.JSONRenderer(default=repr)(None, "", dict(event)))
            raise structlog.DropEvent

        root, kept = logging.getLogger(), Kept(logging.INFO)
        level, before = root.level, structlog.get_config()
        root.addHandler(kept)
        root.setLevel(logging.INFO)
        structlog.configure(processors=[structlog.processors.format_exc_info, keep], cache_logger_on_first_use=False)
        try:
            yield
        finally:
            structlog.configure(**before)
            root.setLevel(level)
            root.removeHandler(kept)

    def dump_database(self, engine: Engine) -> None:
        """Note every row of every table, in the order in which the database gives them; learn what hides."""
        with engine.connect() as connection:
            for table in Base.metadata.sorted_tables:
                for place, row in _rows(connection, table):
                    plain = {}
                    for column in table.columns:
                        value = row[column.name]
                        if column.info.get("hides") and value is not None:
                            plain[column.name] = f"<hidden, {len(value)}>"
                            if isinstance(value, str):
                                self._learn(value, f"{table.name}.{column.name} {place}")
                        else:
                            plain[column.name] = repr(value)
                    self.add(f"row {table.name} {place}", json.dumps(plain, indent=0))

    def _learn(self, value: str, place: str) -> None:
        for number, word in enumerate(value.split()):
            if len(word) >= 40:  # of a checkpoint: the hash and the signature
                self.hidden[word] = f"{place}/{number}"

    def dump_files(self, folder: Path) -> None:
        """Note the names and sizes of all files, manifests of lists and keys files as they are, records by length."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name, content = str(path.relative_to(folder)), path.read_bytes()
                manifest, _, records = content.partition(b"\n\n") if path.suffix == ".rtslist" else (content, b"", b"")
                self.add(f"file {name}", manifest)
                self.add(f"file {name} records", str(len(records)))

    def normalised(self) -> list[Delivery]:
        """What was delivered, with the places of hidden values instead of the values."""
        by_end: dict[str, list[str]] = {}
        others = []
        for value in self.hidden:
            if HEX_RUN.fullmatch(value):
                for end in (value[:8], value[-8:]):
                    by_end.setdefault(end, []).append(value)
            else:
                others.append(value)

        def place_of(run: re.Match[str]) -> str:
            text = run[0]
            # Pages show a digest whole, only its beginning, or in two halves.
            for value in (*by_end.get(text[:8], ()), *by_end.get(text[-8:], ())):
                if value.startswith(text) or value.endswith(text):
                    return f"<{self.hidden[value]}, {len(text)}>"
            return text

        result = []
        for delivery in self.deliveries:
            text = HEX_RUN.sub(place_of, delivery.content)
            if delivery.place.startswith("mail ") or "checkpoint" in text:
                for value in others:
                    text = text.replace(value, f"<{self.hidden[value]}, {len(value)}>")
            result.append(Delivery(HEX_RUN.sub(place_of, delivery.place), text))
        return result


def _rows(connection: Any, table: Table) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in connection.execute(select(table)).mappings():
        yield ",".join(str(row[column.name]) for column in table.primary_key), dict(row)


def differences(one: Collector, other: Collector, most: int = 20) -> list[str]:
    """Where two worlds differ; empty when they are equal byte for byte. It tells the place, never what stands there."""
    left, right = one.normalised(), other.normalised()
    found = []
    for first, second in zip(left, right, strict=False):
        if first.place != second.place:
            found.append(f"after this the order differs: {first.place} / {second.place}")
            break
        if first.content != second.content:
            at = next(
                (i for i, (a, b) in enumerate(zip(first.content, second.content, strict=False)) if a != b),
                min(len(first.content), len(second.content)),
            )
            found.append(f"{first.place}, character {at}, after …{first.content[max(0, at - 60) : at]!r}")
            if len(found) >= most:
                break
    if len(left) != len(right):
        found.append(f"{len(left)} deliveries in one world, {len(right)} in the other")
    return found


class Doors:
    """The pages, with a browser for each person; what a blinded person gets is collected."""

    def __init__(self, world: World, app: Flask, collector: Collector) -> None:
        self.world = world
        self.app = app
        self.collector = collector
        self.reached: set[str] = set()  # endpoints that answered a blinded person with a page
        self._clients: dict[str, FlaskClient] = {}
        self._signed_in: dict[str, datetime] = {}
        self.unblinded = _unblinded_people(world)

    def client(self, username: str) -> FlaskClient:
        """The browser of a person, signed in afresh when the session has ended; of nobody for an empty name."""
        if username not in self._clients:
            self._clients[username] = self.app.test_client()
        client, now = self._clients[username], self.world.clock.now()
        if username and now - self._signed_in.get(username, datetime.min.replace(tzinfo=UTC)) > timedelta(minutes=10):
            self._signed_in[username] = now
            client.get("/sign-in")
            token = client.get_cookie("rts_sign_in").value
            form = {"username": username, "password": PASSWORD, "csrf_token": token}
            answer = client.post("/sign-in", data=form)
            assert answer.status_code == 303, f"{username} cannot sign in"
            self._keep(username, "POST /sign-in", answer)
        return client

    def _keep(self, username: str, asked: str, answer: TestResponse) -> None:
        if username not in self.unblinded:
            place, body, length = f"{username or 'nobody'} {asked}", answer.data, answer.headers.get("Content-Length")
            if answer.mimetype == "application/pdf":
                # Compressed, a hidden value in it changes bytes and length; what is set is the same text, or differs
                # here. That nothing else goes into the bytes is proved in test_certificates.
                self.collector.hidden[hashlib.sha256(body).hexdigest()] = f"document {len(self.collector.deliveries)}"
                body, length = set_in(body).encode(), "of a PDF"
            headers = [(name, length if name == "Content-Length" else value) for name, value in answer.headers]
            head = "\n".join(f"{name}: {value}" for name, value in headers)
            # Headers after the body: what differs first is then not its length.
            self.collector.add(place, f"{answer.status}\n".encode() + body + f"\n{head}".encode())

    def get(self, username: str, url: str) -> TestResponse:
        """Ask for a page."""
        answer = self.client(username).get(url)
        self._keep(username, f"GET {url}", answer)
        if answer.status_code == 200 and username not in self.unblinded:
            self.reached.add(self._endpoint(url))
        return answer

    def post(self, username: str, url: str, form: dict[str, Any], *, is_kept: bool = True) -> TestResponse:
        """Send a form as it is."""
        client = self.client(username)
        answer = client.post(url, data=form)
        if is_kept:
            self._keep(username, f"POST {url}", answer)
        return answer

    def submit(self, username: str, url: str, *, is_kept: bool = True, **entered: Any) -> TestResponse:
        """Fill in the form for a deed at `url`, and sign or confirm it on the page that asks for that."""
        page = self.get(username, url)
        if page.status_code != 200:
            return page
        password = {"password": PASSWORD}
        answer = self.post(username, url, _hidden_fields(page) | password | entered, is_kept=is_kept)
        if answer.status_code == 200 and is_kept:
            record = _hidden_fields(answer) | password | entered | {"step": "record"}
            answer = self.post(username, url, record)
        return answer

    def walk(self, *usernames: str) -> int:
        """Ask for every page that takes a GET, with every object of the story, and for every link found there, as
        each person in turn; returns how many pages were asked for.
        """
        objects = objects_of(self.world)
        rules = sorted((rule for rule in self.app.url_map.iter_rules() if _is_page(rule)), key=lambda rule: rule.rule)
        count = 0
        for username in usernames:
            waiting = [url for rule in rules for url in _urls(self.app, rule, objects)]
            seen = set(waiting)
            barred: set[str] = set()
            followed: Counter[str] = Counter()
            while waiting:
                url = waiting.pop(0)
                endpoint = self._endpoint(url)
                if endpoint in barred:
                    continue
                answer = self.get(username, url)
                count += 1
                if answer.status_code == 403:
                    barred.add(endpoint)  # what a role may not do at all is answered alike for every object
                if answer.mimetype == "text/html":
                    for link in map(html.unescape, LINK.findall(answer.get_data(as_text=True))):
                        if link in seen or link.startswith("/static/"):
                            continue
                        seen.add(link)
                        followed[self._endpoint(link)] += 1
                        if followed[self._endpoint(link)] <= MOST_LINKS:
                            waiting.append(link)
        return count

    def _endpoint(self, url: str) -> str:
        return str(self.app.url_map.bind("").match(url.partition("?")[0], method="GET", return_rule=True)[0].endpoint)


def _hidden_fields(page: TestResponse) -> dict[str, str]:
    form = BeautifulSoup(page.text, "html.parser").select_one("form.deed[method=post]")
    if form is None:  # the page tells that the deed cannot be done now
        return {}
    return {str(field["name"]): str(field["value"]) for field in form.select("input[type=hidden]")}


def _is_page(rule: Rule) -> bool:
    return "GET" in (rule.methods or ()) and rule.endpoint != "static"


def _urls(app: Flask, rule: Rule, objects: Objects) -> list[str]:
    adapter = app.url_map.bind("")
    return [adapter.build(rule.endpoint, values) for values in objects.values_for(rule)]


@dataclass(frozen=True)
class Objects:
    """The objects of the story, by the names that URLs have for them."""

    known: dict[str, list[Any]]
    related: dict[frozenset[str], list[dict[str, Any]]]

    def values_for(self, rule: Rule) -> list[dict[str, Any]]:
        """Every combination of objects that `rule` may be asked with. Kits and shipments are asked for where they are,
        and once where they are not; everything else everywhere.
        """
        names = set(rule.arguments)
        numbers = {name for name in names if isinstance(rule._converters[name], IntegerConverter)}
        known = {name: [1, 999] for name in numbers} | self.known
        unknown = sorted(names - set(known))
        assert not unknown, f"tell the collector which values {unknown} of {rule.rule} take (objects_of)"
        together: list[dict[str, Any]] = [{}]
        for these, rows in self.related.items():
            if these <= names:
                together, names = rows, names - these
                break
        apart = sorted(names)
        return [
            {**row, **dict(zip(apart, values, strict=True))}
            for row in together
            for values in product(*(known[name] for name in apart))
        ]


def objects_of(world: World) -> Objects:
    """Everything that a URL may name, in the state the world is in now."""
    with world.store.transaction() as tx:

        def every(column: Any) -> list[Any]:
            return list(tx.session.scalars(select(column).order_by(column)))

        def rows(statement: Any) -> list[dict[str, Any]]:
            found = sorted((dict(row) for row in tx.session.execute(statement).mappings()), key=repr)
            strange = [{**found[0], name: found[-1][name]} for name in found[0]] if found else []
            return [*found, *(row for row in strange if row not in found)]

        def some(code: Any, *alike: Any) -> Any:
            """The first and the last code of each group of objects that are `alike`. Two will do: if a page depended on
            an arm, theirs would differ between worlds.
            """
            return union(*(select(end(code)).group_by(*alike) for end in (func.min, func.max)))

        subjects = some(Subject.code, Subject.site_id, Subject.state, Subject.unblinded_at.is_(None))
        kits = some(Kit.number, Kit.site_id, Kit.state)
        shipments = some(Shipment.number, Shipment.site_id, Shipment.state)
        at_sites = select(Site.code.label("site"), Kit.number.label("kit")).join(Site, Kit.site_id == Site.id)
        given = select(Subject.code.label("subject"), Dispensing.visit, Kit.number.label("kit"))
        given = given.select_from(Dispensing).join(Subject).join(Kit, Dispensing.kit_id == Kit.id)
        to_site = select(Site.code.label("site"), Shipment.number.label("shipment")).join(Site)
        from_depot = select(Depot.code.label("depot"), Shipment.number.label("shipment")).join(Depot)
        here = select(Site.code).where(Site.state != "planned").order_by(Site.code)
        lists = tx.session.execute(select(ListFile.list_id, ListFile.commitment).order_by(ListFile.list_id)).all()
        known = {
            "trial": every(Trial.code),
            "site": list(tx.session.scalars(here)),
            "depot": every(Depot.code),
            "subject": list(tx.session.scalars(subjects)),
            "shipment": list(tx.session.scalars(shipments)),
            "list_id": [lists[0].list_id, *(row.commitment for row in lists)],
            "digest": list(tx.session.scalars(select(ListSpecification.digest).order_by(ListSpecification.id)))[:1],
            "kit": list(tx.session.scalars(kits)),
            "lot": every(BlindedLot.code),
            "username": every(Person.username)[:2],
            "visit": ["W0", "W12"],
            "gate": list(world.stage.definition.gates[:1]),
            "kind": ["csv", "jsonl"],
            "destruction": every(Destruction.number),
            "record": every(TemperatureRecord.number),
        }
        related = {
            frozenset({"subject", "visit", "kit"}): rows(
                given.where(
                    Dispensing.id.in_(
                        union(*(select(e(Dispensing.id)).group_by(Dispensing.state) for e in (func.min, func.max)))
                    )
                )
            ),
            frozenset({"subject", "kit"}): rows(
                select(Subject.code.label("subject"), Kit.number.label("kit"))
                .select_from(Dispensing)
                .join(Subject)
                .join(Kit, Dispensing.kit_id == Kit.id)
                .where(Kit.number.in_(kits), Dispensing.dispensed_at.is_not(None))
            ),
            frozenset({"site", "destruction"}): rows(
                select(Site.code.label("site"), Destruction.number.label("destruction")).join(Destruction)
            ),
            frozenset({"site", "record"}): rows(
                select(Site.code.label("site"), TemperatureRecord.number.label("record")).join(TemperatureRecord)
            ),
            frozenset({"depot", "destruction"}): rows(
                select(Depot.code.label("depot"), Destruction.number.label("destruction")).join(Destruction)
            ),
            frozenset({"site", "kit"}): rows(at_sites.where(Kit.number.in_(kits))),
            frozenset({"site", "shipment"}): rows(to_site.where(Shipment.number.in_(shipments))),
            frozenset({"depot", "shipment"}): rows(from_depot.where(Shipment.number.in_(shipments))),
        }
        return Objects(known, related)


def _unblinded_people(world: World) -> set[str]:
    with world.store.transaction() as tx:
        grants = tx.session.execute(select(Person.username, RoleGrant.role).join(RoleGrant))
        return {username for username, role in grants if not is_blinded(Role(role))}


def blinded_people(world: World) -> list[str]:
    """Everyone who holds a role and must not learn an arm, by user name."""
    return sorted(set(world.stage.people) - _unblinded_people(world))


def one_of_each_blinded_role(world: World) -> list[str]:
    """One person of every blinded role, by user name; pharmacists are of the second site, the others of the first."""
    people = {}
    for username in blinded_people(world):
        role = world.stage.people[username].grants[0].role
        if role not in people or (role is Role.PHARMACIST):
            people[role] = username
    assert set(people) == {role for role in Role if is_blinded(role)} - {Role.SERVICE}
    return sorted(people.values())
