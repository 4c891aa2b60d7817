"""A depot operator with a hand scanner: every kit into the box, the box to the carrier."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from rts.store.tables import Shipment
from tests.browser.people import look_at, sign_in
from tests.world import World

pytestmark = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)


@pytest.fixture
def waiting(world: World) -> str:
    """The number of a shipment that site CN02 needs and the depot has yet to pick."""
    for _subject in range(4):
        world.dispense(world.randomise("CN02"))
    world.night()
    return world.shipments("requested")[0]


def state_of(world: World, shipment: str) -> str:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Shipment.state).where(Shipment.number == shipment)).one()


def scan(page: Page, kit: str) -> None:
    """A hand scanner types the number and Enter into the field that has the focus."""
    expect(page.get_by_label("Kit number")).to_be_focused()
    page.keyboard.insert_text(kit)
    with page.expect_navigation():
        page.keyboard.press("Enter")


@pytest.mark.parametrize("screen", ["browser_page", "phone_page"])
def test_a_box_is_scanned_confirmed_and_sent(
    world: World, waiting: str, address: str, request: pytest.FixtureRequest, screen: str
) -> None:
    page: Page = request.getfixturevalue(screen)
    kits = world.kit_numbers(waiting)
    sign_in(page, address, "depot.dep-sh")
    look_at(page)
    page.get_by_role("link", name=f"Pick {waiting}").click()
    look_at(page)
    page.get_by_role("link", name="Pick the kits").click()
    look_at(page)

    scan(page, "K00000")
    expect(page.get_by_text("Kit K00000 does not belong to this shipment")).to_be_visible()
    look_at(page)
    for kit in kits:
        scan(page, kit)
    expect(page.get_by_text("Every kit is in the box")).to_be_visible()
    look_at(page)
    assert state_of(world, waiting) == "requested"
    page.get_by_role("button", name="Confirm the box").click()
    expect(page.get_by_role("heading", name="Box checked")).to_be_visible()
    look_at(page)

    page.get_by_role("link", name="Hand to the carrier").click()
    page.get_by_role("button", name="Continue to review").click()
    expect(page.get_by_role("alert")).to_contain_text("Name the carrier.")
    page.get_by_label("Carrier").fill("SF Express")
    page.get_by_role("button", name="Continue to review").click()
    look_at(page)
    page.get_by_role("button", name="Change what was entered").click()
    expect(page.get_by_label("Carrier")).to_have_value("SF Express")
    page.get_by_role("button", name="Continue to review").click()
    page.get_by_role("button", name="Send shipment").click()
    expect(page.get_by_role("heading", name="Shipment sent")).to_be_visible()
    look_at(page)
    assert state_of(world, waiting) == "in_transit"


def test_the_other_pages_of_the_depot_are_fit_to_use(
    world: World, waiting: str, address: str, browser_page: Page
) -> None:
    sign_in(browser_page, address, "depot.dep-sh")
    for path in ("shipments/", "stock", f"shipments/{waiting}/packing-list"):
        browser_page.goto(f"{address}/trials/SIRIUS/depots/DEP-SH/{path}")
        look_at(browser_page)
