"""Every route for every role: declared, open where the role says so, and blind to what lies elsewhere.

The matrix is made from the application's own URL map, so that a new page joins it by existing. A page whose URL names
something unknown here fails with a request to say how to name one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, inspect, select
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from rts.access.actor import Actor
from rts.access.permissions import Permission, Role
from rts.access.sign_in import sign_in
from rts.app import create_app
from rts.conduct.perform import perform
from rts.conduct.places import place_of, supplying_depot
from rts.conduct.recording_temperatures import RecordTemperatures, record_temperatures
from rts.conduct.trial_definition import LoadDefinition, load_definition
from rts.rehearsal.staging import OPERATOR
from rts.store.tables import (
    AuditEvent,
    Depot,
    Destruction,
    Kit,
    ListFile,
    ListSpecification,
    RoleGrant,
    Shipment,
    Site,
    Subject,
)
from rts.trial.shipped import shipped_definition
from rts.web import cookies
from rts.web.guard import Pages
from tests.web.doors import token_in
from tests.world import PASSWORD, World

UNKNOWN = {
    "trial": "NOSUCHTRIAL",
    "site": "ZZ99",
    "depot": "ZZ-DEPOT",
    "subject": "ZZ99-999",
    "shipment": "S99999",
    "list_id": "NO-SUCH-LIST",
    "digest": "f" * 64,
}
PEOPLE = {
    "administrator": Role.ADMINISTRATOR,
    "statistician.one": Role.STATISTICIAN,
    "manager": Role.TRIAL_MANAGER,
    "supply": Role.SUPPLY_MANAGER,
    "quality": Role.QUALITY,
    "sponsor": Role.SPONSOR_CONTACT,
    "auditor": Role.AUDITOR,
    "monitor": Role.MONITOR,
    "depot": Role.DEPOT_OPERATOR,
    "investigator.cn02": Role.INVESTIGATOR,
    "pharmacist.cn02": Role.PHARMACIST,
    "physician.cn02": Role.PHYSICIAN,
}
ANSWERED = {200, 303}
# Pages that belong to a state of their object which the objects of this world are not in: they may say so.
REFUSED_BY_STATE = {409, 422}

# What reading a page, or being refused one, leaves on the trail.
TRACES_OF_READING = (
    "refused", "session.started", "definition.restricted_read", "list.plans_read", "list.reviewed",
    "list.specification_read", "list.design_read", "list.certificate_issued", "list.document_issued",
)  # fmt: skip

on_sqlite = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)


@dataclass
class Matrix:
    """The world, the application, and one object of each kind: one's own, another site's, another trial's."""

    world: World
    app: Flask
    own: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    other_trial: dict[str, str] = field(default_factory=dict)

    def at(self, username: str) -> FlaskClient:
        """A browser in which `username` is signed in."""
        client = self.app.test_client()
        signed_in = sign_in(self.world.store, username, PASSWORD, "127.0.0.1", time.sleep)
        client.set_cookie(cookies.SESSION, signed_in.token)
        return client

    def actor(self, username: str) -> Actor:
        return self.world.who(username)

    def routes(self) -> list[Rule]:
        return [rule for rule in self.app.url_map.iter_rules() if rule.endpoint != "static"]

    def permission(self, rule: Rule) -> Permission:
        found: Permission = self.app.view_functions[rule.endpoint].permission  # type: ignore[attr-defined]
        return found

    def url(self, rule: Rule, named: dict[str, str]) -> str:
        """The URL of `rule` with what it names."""
        missing = rule.arguments - set(named)
        assert not missing, f"{rule.rule}: say in this test how to name a {', '.join(missing)}"
        if {"visit", "kit"} <= rule.arguments or {"subject", "kit"} <= rule.arguments:
            named = named | {"kit": named["visit_kit"]}
        elif {"depot", "destruction"} <= rule.arguments:
            named = named | {"destruction": named["depot_destruction"]}
        elif "/quarantine/" in rule.rule:
            named = named | {"kit": named["quarantined_kit"]}
        with self.app.test_request_context():
            url: str = self.app.url_for(rule.endpoint, **{name: named[name] for name in rule.arguments})
            return url

    def may(self, actor: Actor, permission: Permission, named: dict[str, str], rule: Rule) -> bool:
        """Whether the role allows the page on these objects."""
        if permission in {Permission.PUBLIC, Permission.SIGNED_IN}:
            return True
        if "trial" not in rule.arguments:
            return bool(actor.grants_of(permission))
        with self.world.store.transaction() as tx:
            trial = tx.trial(named["trial"])
            site = tx.site(trial, named["site"]) if rule.arguments & {"site", "subject"} else None
            depot = tx.session.scalar(select(Depot).where(Depot.trial_id == trial.id, Depot.code == named["depot"]))
            return actor.may(permission, trial, site, depot if "depot" in rule.arguments else None)


def changes(world: World) -> tuple[int, ...]:
    """What a deed would have changed."""
    with world.store.transaction() as tx:
        counted = [
            tx.session.scalar(select(func.count()).select_from(table)) or 0
            for table in (Subject, Shipment, Kit, RoleGrant, ListFile)
        ]
        done = tx.session.scalar(select(func.count()).where(AuditEvent.action.not_in(TRACES_OF_READING)))
        return (*counted, done or 0)


def second_trial(world: World) -> dict[str, str]:
    """A second trial, ORION, with a subject, a shipment and a list; its sites and depots are coded otherwise."""
    public, restricted = (
        text.replace("SIRIUS", "ORION").replace('"CN', '"OR').replace('"DEP-', '"STO-')
        for text in shipped_definition("sirius")
    )
    perform(world.store, load_definition, OPERATOR, LoadDefinition(public, restricted, date(2026, 1, 1)))
    with world.store.transaction(write=True) as tx:
        trial = tx.trial("ORION")
        site = tx.session.scalars(select(Site).where(Site.trial_id == trial.id).order_by(Site.id)).first()
        assert site is not None
        sirius = tx.session.scalars(select(Subject).where(Subject.site.has(code="CN03"))).first()
        assert sirius is not None
        depot = supplying_depot(tx, place_of(tx, site))
        listed = tx.session.scalars(select(ListFile).order_by(ListFile.id)).first()
        assert listed is not None
        tx.session.add(
            Subject(
                trial_id=trial.id,
                site_id=site.id,
                sequence=1,
                code=f"{site.code}-001",
                state="screened",
                consent_on=date(2026, 1, 5),
                year_of_birth=1980,
                sex="female",
                dose_level=sirius.dose_level,
                version_id=sirius.version_id,
                screened_at=tx.now,
                screened_by="nobody",
            )
        )
        tx.session.add(
            Shipment(
                trial_id=trial.id,
                number="S77777",
                depot_id=depot.id,
                site_id=site.id,
                state="requested",
                requested_at=tx.now,
                requested_by="nobody",
                ship_on=date(2026, 1, 6),
                expected_on=date(2026, 1, 7),
            )
        )
        copied = {
            column.key: getattr(listed, column.key)
            for column in inspect(ListFile).columns
            if column.key not in {"id", "trial_id", "list_id", "commitment", "seed_mark"}
        }
        foreign = ListFile(trial_id=trial.id, list_id="ORION-R1", commitment="0" * 64, seed_mark="0" * 64, **copied)
        specified = tx.session.scalars(select(ListSpecification).order_by(ListSpecification.id)).first()
        assert specified is not None
        copied = {
            column.key: getattr(specified, column.key)
            for column in inspect(ListSpecification).columns
            if column.key not in {"id", "trial_id", "digest"}
        }
        tx.session.add_all([foreign, ListSpecification(trial_id=trial.id, digest="0" * 64, **copied)])
        return {
            "trial": "ORION",
            "list_id": foreign.commitment,
            "digest": "0" * 64,
            "site": site.code,
            "subject": f"{site.code}-001",
            "shipment": "S77777",
            "depot": depot.code,
        }


def _read_a_logger(world: World, site: str) -> None:
    with world.store.transaction() as tx:
        statement = select(Kit.number).join(Site, Site.id == Kit.site_id)
        kits = tx.session.scalars(statement.where(Site.code == site, Kit.state == "available")).all()
    file = b"time (UTC),temp (C)\n2026-01-01 00:00,20\n2026-01-01 00:10,20\n"
    command = RecordTemperatures("SIRIUS", site, "", tuple(kits), file, "UTC")
    world.do(record_temperatures, f"pharmacist.{site.lower()}", command)


@pytest.fixture
def matrix(world: World) -> Iterator[Matrix]:
    own_subject, other_subject = world.randomise("CN02"), world.randomise("CN03")
    world.dispense(own_subject)
    world.dispense(other_subject)
    for site in ("CN02", "CN03"):
        _read_a_logger(world, site)
    made = Matrix(world, create_app(world.store))
    with world.store.transaction(write=True) as tx:
        shelf = select(Kit).join(Site, Site.id == Kit.site_id).where(Site.code == "CN02", Kit.state == "available")
        quarantined = tx.session.scalars(shelf).first()
        assert quarantined is not None
        quarantined.state = "quarantined"
        places = {"site_id": ("CN02", "CN03"), "depot_id": ("DEP-SH",)}
        for column, codes in places.items():
            table = Site if column == "site_id" else Depot
            for code in codes:
                place = tx.session.scalars(select(table.id).where(table.code == code)).one()
                tx.session.add(
                    Destruction(
                        trial_id=quarantined.trial_id,
                        number=f"{code}-D1",
                        document="QA 1",
                        authorised_at=tx.now,
                        authorised_by="quality",
                        **{column: place},
                    )
                )
    with world.store.transaction() as tx:
        trial = tx.trial("SIRIUS")

        def place(site: str, subject: str) -> dict[str, str]:
            shipment = tx.session.scalars(
                select(Shipment).join(Site, Site.id == Shipment.site_id).where(Site.code == site)
            ).first()
            kit = tx.session.scalars(
                select(Kit).join(Site, Site.id == Kit.site_id).where(Site.code == site, Kit.state == "available")
            ).first()
            assert shipment is not None
            assert kit is not None
            depot = tx.session.get_one(Depot, shipment.depot_id).code
            return {
                "trial": "SIRIUS",
                "site": site,
                "subject": subject,
                "shipment": shipment.number,
                "kit": kit.number,
                "visit_kit": world.kit_for(subject, "W0"),
                "destruction": f"{site}-D1",
                "record": f"{site}-T1",
                "depot_destruction": f"{depot}-D1",
                "depot": depot,
            }

        found = tx.session.scalars(select(ListFile).where(ListFile.trial_id == trial.id)).first()
        assert found is not None
        specified = tx.session.get_one(ListSpecification, found.specification_id)
        common = {
            "visit": "W0",
            "number": "1",
            "version": "1",
            "kind": "csv",
            "username": "auditor",
            "gate": world.stage.definition.gates[0],
            "lot": "BL-2601",
            "quarantined_kit": quarantined.number,
            "list_id": found.commitment,
            "digest": specified.digest,
        }
        made.own = place("CN02", own_subject) | common
        made.elsewhere = place("CN03", other_subject) | common
    made.other_trial = common | made.own | second_trial(world)
    return made


def username_of(matrix: Matrix, person: str) -> str:
    return f"depot.{matrix.own['depot'].lower()}" if person == "depot" else person


@on_sqlite
def test_every_route_declares_the_permission_it_needs(world: World) -> None:
    app = create_app(world.store)

    assert undeclared(app) == []


def undeclared(app: Flask) -> list[str]:
    """The routes that name no permission."""
    return [
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static"
        and not isinstance(getattr(app.view_functions[rule.endpoint], "permission", None), Permission)
    ]


@on_sqlite
def test_a_route_without_a_permission_is_found_and_answers_nobody(world: World) -> None:
    app = create_app(world.store)
    planted = Pages("planted", __name__)

    @planted.route("/planted")
    def leak() -> str:
        return "anything"

    app.register_blueprint(planted)

    assert undeclared(app) == ["planted.leak"]
    answer = app.test_client().get("/planted")
    assert answer.status_code == 500
    assert "anything" not in answer.text


@on_sqlite
def test_nobody_sees_a_page_without_signing_in(matrix: Matrix) -> None:
    for rule in matrix.routes():
        if matrix.permission(rule) is Permission.PUBLIC:
            continue
        answer = matrix.app.test_client().open(
            matrix.url(rule, matrix.own), method="GET" if "GET" in (rule.methods or ()) else "POST"
        )
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (303, "/sign-in"), rule.rule


@on_sqlite
@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.requirement("ACC-02")
def test_each_role_reaches_its_own_pages_and_no_others(matrix: Matrix, person: str) -> None:
    username = username_of(matrix, person)
    client, actor = matrix.at(username), matrix.actor(username)
    token = token_in(client.get("/password"))
    before = changes(matrix.world)
    wrong: list[str] = []
    for rule in matrix.routes():
        permission, url = matrix.permission(rule), matrix.url(rule, matrix.own)
        if matrix.may(actor, permission, matrix.own, rule):
            if "GET" in (rule.methods or ()) and rule.endpoint != "sign_in.sign_out":
                answer = client.get(url)
                if answer.status_code not in ANSWERED | REFUSED_BY_STATE:
                    wrong.append(f"{url}: {answer.status_code} although {permission} is held")
                if answer.headers["Cache-Control"] != "no-store":
                    wrong.append(f"{url} may be kept by the browser: {answer.headers['Cache-Control']}")
            continue
        for method in sorted({"GET", "POST"} & set(rule.methods or ())):
            answer = client.open(url, method=method, data={"csrf_token": token})
            if answer.status_code not in {403, 404}:
                wrong.append(f"{method} {url}: {answer.status_code} although {permission} is not held")
    assert not wrong, "\n".join(wrong)
    assert changes(matrix.world) == before


def foreign_urls(matrix: Matrix, actor: Actor) -> Iterator[tuple[Rule, str, str]]:
    """For each route, URLs that name something outside the actor's scope, each with its twin that names nothing."""
    for rule in matrix.routes():
        for name in sorted(rule.arguments & set(UNKNOWN)):
            if name == "trial":
                yield (
                    rule,
                    matrix.url(rule, matrix.other_trial),
                    matrix.url(rule, matrix.own | {"trial": UNKNOWN[name]}),
                )
                continue
            unknown = matrix.url(rule, matrix.own | {name: UNKNOWN[name]})
            yield rule, matrix.url(rule, matrix.own | {name: matrix.other_trial[name]}), unknown
            is_elsewhere = {
                "site": all(grant.site_id is not None or grant.depot_id is not None for grant in actor.grants),
                "subject": all(grant.site_id is not None or grant.depot_id is not None for grant in actor.grants),
                "shipment": "site" in rule.arguments,
            }.get(name, False)
            if is_elsewhere:
                yield rule, matrix.url(rule, matrix.own | {name: matrix.elsewhere[name]}), unknown


@on_sqlite
@pytest.mark.parametrize("person", PEOPLE)
def test_what_lies_elsewhere_answers_as_what_does_not_exist(matrix: Matrix, person: str) -> None:
    username = username_of(matrix, person)
    client, actor = matrix.at(username), matrix.actor(username)
    token = token_in(client.get("/password"))
    before = changes(matrix.world)
    wrong: list[str] = []
    compared = 0
    for rule, foreign, unknown in foreign_urls(matrix, actor):
        for method in sorted({"GET", "POST"} & set(rule.methods or ())):
            answers = [client.open(url, method=method, data={"csrf_token": token}) for url in (foreign, unknown)]
            compared += 1
            if not tells_nothing(*answers):
                wrong.append(f"{method} {foreign}: {[answer.status_code for answer in answers]}")
    assert not wrong, "\n".join(wrong)
    assert compared > 50
    assert changes(matrix.world) == before


def tells_nothing(foreign: TestResponse, unknown: TestResponse) -> bool:
    """Whether the two answers are the same refusal, byte for byte."""
    return foreign.status_code in {403, 404} and (foreign.status_code, foreign.data) == (
        unknown.status_code,
        unknown.data,
    )


@on_sqlite
def test_a_page_that_names_a_foreign_subject_is_caught(matrix: Matrix) -> None:
    planted = Pages("planted", __name__)

    @planted.page("/trials/<trial>/planted/<code>", Permission.SITE_VIEW)
    def leak(trial: str, code: str) -> tuple[str, int]:
        with matrix.world.store.transaction() as tx:
            known = tx.session.scalar(select(Subject.id).where(Subject.code == code))
        return ("It is another site's subject." if known else "There is no such subject."), 404

    matrix.app.register_blueprint(planted)
    client = matrix.at("manager")

    foreign = client.get(f"/trials/SIRIUS/planted/{matrix.elsewhere['subject']}")
    unknown = client.get(f"/trials/SIRIUS/planted/{UNKNOWN['subject']}")

    assert not tells_nothing(foreign, unknown)
