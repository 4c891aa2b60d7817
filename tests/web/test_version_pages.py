"""The pages that put versions of the definition in force, and the pages of sites whose version has changed."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from bs4 import BeautifulSoup
from sqlalchemy import select

from rts.app import create_app
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.reports.trial_overview import in_force_at
from rts.store.tables import Subject
from tests.conduct.test_visits_left_out import FIRST_VISIT, OTHER_QUESTIONS, WEEK_5
from tests.web.doors import Person, hidden_fields
from tests.web.office import desk, words
from tests.web.test_site_pages import checklist
from tests.world import PASSWORD, World

TITLE = ('protocol_version = "1.0"', 'protocol_version = "1.1"')
DEFINITION = "/trials/SIRIUS/definition/2"
OFFICE = "/trials/SIRIUS/sites/CN02/office"
PLAN = f"{OFFICE}/plan/2"


@pytest.fixture
def amended(world: World) -> World:
    """SIRIUS with a version 2 loaded and in force nowhere."""
    world.load(TITLE)
    return world


def stands(world: World, site: str) -> list[tuple[int, date, str, str]]:
    with world.store.transaction() as tx:
        found = in_force_at(tx, [tx.site(tx.trial("SIRIUS"), site)])
        return [(one.version, one.from_date, one.state, one.document) for rows in found.values() for one in rows]


@pytest.mark.requirement("CHG-02")
def test_the_manager_puts_a_version_in_force_at_the_sites_chosen(amended: World) -> None:
    manager = desk(amended, "manager")
    overview = words(manager.open("/trials/SIRIUS/"))
    assert "Put version 2 in force where it is approved In force or planned at 0 of 20 sites" in overview
    assert "Put version 2 in force here" in words(manager.open(OFFICE))
    form = BeautifulSoup(manager.open(f"{DEFINITION}/in-force?site=CN02"), "html.parser")
    assert [box["name"] for box in form.select("input[type=checkbox][checked]")] == ["sites-CN02"]

    entered = {"sites-CN02": "yes", "sites-CN03": "yes", "from_date": "2026-01-20", "document": "EC 2026-2"}
    review = manager.send(f"{DEFINITION}/in-force", entered, status=200)
    assert "Sites CN02 Beijing site 2, CN03 Shanghai site 1" in words(review.text)
    assert stands(amended, "CN02") == [(1, date(2026, 1, 1), "in_force", "")]
    receipt = words(manager.follow(manager.go_on(review)))

    assert "Version 2 put in force" in receipt
    assert "Sites CN02, CN03 In force from 2026-01-20 Tuesday Document EC 2026-2 Recorded by Zhao Min" in receipt
    assert "CN02 Beijing site 2 Version 1 2026-01-01 Version 2 2026-01-20" in receipt
    assert stands(amended, "CN03")[-1] == (2, date(2026, 1, 20), "planned", "EC 2026-2")
    site = words(manager.open(OFFICE))
    assert "Version 2 protocol 1.1 Planned 2026-01-20 Tuesday EC 2026-2" in site
    assert "Put version 2 in force here" not in site
    assert "1 → 2 2026-01-20" in words(manager.open("/trials/SIRIUS/sites/"))


def test_a_form_without_site_date_or_document_comes_back_with_all_three_named(amended: World) -> None:
    manager = desk(amended, "manager")

    page = words(manager.send(f"{DEFINITION}/in-force", {"from_date": "soon"}, status=422).text)

    assert "Choose at least one site." in page
    assert "Give the date as year-month-day" in page
    assert "Name the document that allows it" in page


def test_a_past_date_comes_back_with_the_sites_still_chosen(amended: World) -> None:
    manager = desk(amended, "manager")
    entered = {"sites-CN02": "yes", "from_date": "2026-01-02", "document": "EC 2026-2"}
    review = manager.send(f"{DEFINITION}/in-force", entered, status=200)

    page = manager.go_on(review, status=409)

    assert "The date is past at: CN02." in words(page.text)
    form = BeautifulSoup(page.text, "html.parser")
    assert [box["name"] for box in form.select("input[type=checkbox][checked]")] == ["sites-CN02"]


@pytest.mark.requirement("CHG-02")
def test_a_plan_is_given_another_date_and_then_withdrawn(amended: World) -> None:
    amended.put_in_force(2, "CN02", on=date(2026, 2, 1))
    manager = desk(amended, "manager")
    assert 'value="2026-02-01"' in manager.open(PLAN)
    entered = {"how": "date", "from_date": "2026-01-30", "document": "EC 2026-3", "reason": "a slip"}

    review = manager.send(PLAN, entered, status=200)
    assert "Planned until now 2026-02-01 EC 2026-2 In force from 2026-01-30 Friday Document EC 2026-3" in words(
        review.text
    )
    receipt = words(manager.follow(manager.go_on(review)))
    assert "Plan changed" in receipt
    assert "Version 2 In force from 2026-01-30 Friday Document EC 2026-3" in receipt

    review = manager.send(PLAN, {"how": "withdraw", "reason": "approval withdrawn"}, status=200)
    assert "not at all: the plan is withdrawn" in words(review.text)
    receipt = words(manager.follow(manager.go_on(review)))
    assert "Plan withdrawn" in receipt
    assert "Zhao Min: approval withdrawn" in receipt
    assert [row[2] for row in stands(amended, "CN02")] == ["in_force", "withdrawn", "withdrawn"]
    assert "Put version 2 in force here" in receipt


def test_a_plan_is_not_changed_without_a_choice_and_a_reason(amended: World) -> None:
    amended.put_in_force(2, "CN02", on=date(2026, 2, 1))
    manager = desk(amended, "manager")

    page = words(manager.send(PLAN, {"from_date": "2026-01-30"}, status=422).text)

    assert "Choose what is right." in page
    assert "Give the reason." in page
    assert "Version 2 is not planned at this site" in words(manager.open("/trials/SIRIUS/sites/CN03/office/plan/2"))


def test_those_who_do_not_manage_see_where_each_version_is_in_force(amended: World) -> None:
    amended.put_in_force(2, "CN02")
    sponsor = desk(amended, "sponsor")

    page = words(sponsor.open(DEFINITION))

    assert "In force today at CN02" in page
    assert "CN02 Beijing site 2 Version 2 2026-01-08" in page
    assert "Put version" not in page
    assert sponsor.client.get(f"{DEFINITION}/in-force").status_code == 403
    assert sponsor.client.get(PLAN).status_code == 403


# --- the pages of a site whose version has changed -----------------------------------------------------------------


@pytest.mark.parametrize("person", ["investigator.cn02", "pharmacist.cn02", "manager"])
def test_every_page_of_a_subject_opens_whose_visit_has_gone(world: World, person: str) -> None:
    code = world.randomise("CN02")
    world.dispense(code)
    world.clock.advance(timedelta(days=28))
    world.do(prepare_visit, "pharmacist.cn02", PrepareVisit("SIRIUS", code, "W4"))
    kit = world.kit_for(code, "W4")
    world.amend(FIRST_VISIT, WEEK_5, *OTHER_QUESTIONS, at=("CN02",))
    reader = Person(create_app(world.store)).sign_in(person)

    pages = {
        path: reader.get(f"/trials/SIRIUS/{path}")
        for path in (
            "sites/CN02/",
            "sites/CN02/subjects/",
            "sites/CN02/stock/",
            f"sites/CN02/stock/{kit}/",
            f"subjects/{code}/",
            f"subjects/{code}/randomisation",
            f"subjects/{code}/visits/W4/",
            f"subjects/{code}/visits/W4/replace/{kit}",
            f"subjects/{code}/end-treatment",
            "supply/",
        )
    }

    assert {path for path, page in pages.items() if page.status_code not in {200, 403, 404}} == set()
    assert pages[f"subjects/{code}/"].status_code == 200
    assert "Week 4" in pages[f"subjects/{code}/"].text
    if person.startswith("pharmacist"):
        assert [page.status_code for path, page in pages.items() if "visits" in path or "stock" in path] == [200] * 4


def test_a_visit_that_went_while_its_page_stood_open_is_refused_in_words(world: World) -> None:
    code = world.randomise("CN02")
    world.dispense(code)
    world.clock.advance(timedelta(days=28))
    pharmacist = Person(create_app(world.store)).sign_in("pharmacist.cn02")
    url = f"/trials/SIRIUS/subjects/{code}/visits/W4/"
    entered = pharmacist.fill(url)
    world.amend(WEEK_5, at=("CN02",))

    answer = pharmacist.client.post(url, data=entered)

    assert (answer.status_code, "The definition has no visit W4." in answer.text) == (422, True)
    assert pharmacist.get(url).status_code == 404


@pytest.mark.requirement("CHG-02")
@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
def test_a_review_of_questions_that_have_changed_is_asked_anew(world: World, password: str) -> None:
    code = world.screen("CN02")
    investigator = Person(create_app(world.store)).sign_in("investigator.cn02")
    url = f"/trials/SIRIUS/subjects/{code}/randomise"
    review = investigator.post(url, **checklist(world))
    assert "This will be recorded" in review.text
    world.amend(*OTHER_QUESTIONS, at=("CN02",))

    answer = investigator.client.post(url, data=hidden_fields(review) | {"password": password})

    assert answer.status_code == 422
    assert "BILAG at screening is missing" in answer.text
    assert "E19 is not answered" in answer.text
    with world.store.transaction() as tx:
        assert tx.session.scalars(select(Subject.state)).one() == "screened"
