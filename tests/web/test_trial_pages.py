from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import select

from rts.conduct.trial_definition import LoadDefinition, load_definition
from rts.rehearsal.staging import OPERATOR
from rts.reports.trial_overview import overview, recruitment_plan
from rts.store.tables import Site, SiteGate
from rts.trial.shipped import shipped_definition
from tests.web.office import desk, words
from tests.world import World

CODES = ("KILDU", "ORVEN", "GAFIB", "WUBEK", "SIRIUS-R1", "SIRIUS-K1")
SITE = "/trials/SIRIUS/sites/CN05/office"


def state_of(world: World, site: str) -> str:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Site.state).where(Site.code == site)).one()


def gates_of(world: World, site: str) -> list[tuple[str, date, str]]:
    with world.store.transaction() as tx:
        rows = tx.session.execute(
            select(SiteGate.gate, SiteGate.passed_on, SiteGate.document)
            .join(Site)
            .where(Site.code == site)
            .order_by(SiteGate.id)
        )
        return [tuple(row) for row in rows]


def test_the_manager_records_every_gate_and_opens_the_site(world: World) -> None:
    manager = desk(world, "manager")
    assert "Record gates of site CN05" in words(manager.open("/trials/SIRIUS/"))

    for gate in ("ethics", "contract", "authority", "unblinding-access"):
        review = manager.send(
            f"{SITE}/gates/{gate}", {"passed_on": "2026-01-05", "document": f"TMF {gate}"}, status=200
        )
        assert "This will be recorded" in words(review.text)
        assert gate not in [recorded for recorded, _on, _document in gates_of(world, "CN05")]
        receipt = manager.follow(manager.go_on(review))
        assert "Gate recorded" in words(receipt)
    assert gates_of(world, "CN05")[0] == ("ethics", date(2026, 1, 5), "TMF ethics")
    assert "Open site CN05" in words(manager.open("/trials/SIRIUS/"))

    receipt = words(manager.follow(manager.send(f"{SITE}/open", {})))
    assert "Site opened" in receipt
    assert state_of(world, "CN05") == "open"


def test_a_gate_in_the_future_comes_back_with_what_was_typed(world: World) -> None:
    manager = desk(world, "manager")

    page = manager.send(f"{SITE}/gates/ethics", {"passed_on": "2030-01-05", "document": "TMF 4"}, status=422).text

    assert "the date is in the future" in words(page)
    assert 'value="TMF 4"' in page
    assert gates_of(world, "CN05") == []


def test_a_site_without_its_gates_is_not_opened(world: World) -> None:
    manager = desk(world, "manager")

    page = words(manager.send(f"{SITE}/open", {}, status=409).text)

    assert "The gate Ethics approval is not recorded for site CN05." in page
    assert state_of(world, "CN05") == "planned"


def test_a_site_is_closed_with_a_reason(world: World) -> None:
    manager = desk(world, "manager")
    path = "/trials/SIRIUS/sites/CN02/office/close"

    assert "Give the reason." in words(manager.send(path, {"reason": ""}, status=422).text)
    review = manager.send(path, {"reason": "Investigator left"}, status=200)
    changed = manager.go_on(review, {"step": "edit"}, status=200)
    assert "Investigator left</textarea>" in changed.text
    receipt = words(manager.follow(manager.go_on(review)))

    assert "Site closed to new subjects" in receipt
    assert state_of(world, "CN02") == "closed"


def test_the_overview_counts_subjects_and_never_by_arm(world: World) -> None:
    for _subject in range(3):
        world.randomise("CN02")
    world.screen("CN03")

    page = desk(world, "sponsor").open("/trials/SIRIUS/")

    assert "Randomised 3 / 146" in words(page)
    assert "Sites open 2 / 20" in words(page)
    assert "NCT04582136" in words(page)
    assert not [code for code in CODES if code in page]


def test_those_who_do_not_manage_see_no_task_of_the_manager(world: World) -> None:
    sponsor = desk(world, "sponsor")

    assert "Record gates" not in words(sponsor.open("/trials/SIRIUS/"))
    assert "Record gates" not in words(sponsor.open(SITE))
    assert sponsor.client.get(f"{SITE}/open").status_code == 403


def test_the_plan_adds_up_the_sites_from_their_openings(world: World) -> None:
    with world.store.transaction() as tx:
        found = overview(tx, tx.trial("SIRIUS"))
    sites = found.definition.sites
    opened = min(site.planned_opening for site in sites)

    assert found.plan[0] == type(found.plan[0])(opened, 0.0, 0.0, 0.0)
    in_four_weeks = found.plan[4]
    expected = sum(max(0, (in_four_weeks.day - site.planned_opening).days) * site.planned_rate for site in sites)
    assert in_four_weeks.planned == pytest.approx(expected)
    assert in_four_weeks.low == pytest.approx(max(0, expected - 1.645 * expected**0.5))
    assert found.plan[-1].low == 146
    assert recruitment_plan((), 146) == ()


def test_a_new_version_shows_what_it_changed(world: World) -> None:
    public, restricted = shipped_definition("sirius")
    public = public.replace('protocol_version = "1.0"', 'protocol_version = "1.1"')
    world.do(load_definition, OPERATOR, LoadDefinition(public, restricted, date(2026, 2, 1), "EC 2026-2"))
    sponsor = desk(world, "sponsor")

    newest, first = (
        words(sponsor.open("/trials/SIRIUS/definition/")),
        words(sponsor.open("/trials/SIRIUS/definition/1")),
    )

    assert "What version 2 changed from version 1" in newest
    assert "protocol_version 1.0 1.1" in newest
    assert "In force today at no site" in newest
    assert "In force today at CN01, CN02" in first
    assert sponsor.client.get("/trials/SIRIUS/definition/3").status_code == 404


def test_the_restricted_part_is_for_the_unblinded_and_every_look_is_recorded(world: World) -> None:
    path = "/trials/SIRIUS/definition/1/restricted"

    assert desk(world, "manager").client.get(path).status_code == 403
    assert world.events("definition.restricted_read") == 0
    page = words(desk(world, "statistician.one").open(path))

    assert "Permuted blocks of 4, 6" in page
    assert "KILDU matching placebo" in page
    assert world.events("definition.restricted_read") == 1


def test_the_public_definition_holds_no_restricted_code(world: World) -> None:
    page = desk(world, "manager").open("/trials/SIRIUS/definition/")
    assert not [code for code in CODES if code in page]
