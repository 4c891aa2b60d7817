"""A pharmacist at the counter: the first page, a kit handed over by scan, and a shipment received."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from rts.store.tables import Kit, Shipment, Site
from tests.browser.people import look_at, sign_in
from tests.world import World

pytestmark = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)


def state_of(world: World, kit: str) -> str:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Kit.state).where(Kit.number == kit)).one()


def another_kit(world: World, kit: str) -> str:
    with world.store.transaction() as tx:
        statement = select(Kit.number).where(Kit.number != kit, Kit.state == "available").order_by(Kit.number)
        return tx.session.scalars(statement.limit(1)).one()


@pytest.mark.requirement("DISP-01")
def test_a_kit_is_handed_over_by_scan_and_the_wrong_one_is_refused(
    world: World, address: str, browser_page: Page
) -> None:
    subject = world.randomise("CN02")
    kit = world.kit_for(subject, "W0")
    page = browser_page
    sign_in(page, address, "pharmacist.cn02")
    look_at(page)
    page.get_by_role("link", name=f"Hand over kit {kit} to {subject}").click()
    field = page.get_by_label("Number on the box in your hand")
    expect(field).to_be_focused()
    look_at(page)

    page.keyboard.type(another_kit(world, kit) + "\n")

    expect(page.get_by_text("This is another kit")).to_be_visible()
    expect(field).to_be_focused()
    look_at(page)
    assert state_of(world, kit) == "assigned"

    # The scanner types over what was marked, and ends with a line feed.
    page.keyboard.type(kit + "\n")

    expect(page.get_by_role("heading", name="Kit handed over")).to_be_visible()
    look_at(page)
    assert state_of(world, kit) == "dispensed"


def test_a_shipment_is_received_on_a_phone(world: World, address: str, phone_page: Page) -> None:
    for _ in range(4):
        world.dispense(world.randomise("CN02"))
    world.night()
    world.clock.advance(timedelta(days=1))
    world.ship_all()
    number = world.shipments("in_transit")[0]
    kits = world.kit_numbers(number)
    page = phone_page
    sign_in(page, address, "pharmacist.cn02")
    page.get_by_role("link", name=f"Receive shipment {number}").click()
    look_at(page)
    page.locator(f"[name='outcome-{kits[0]}'][value=excursion]").check()
    page.get_by_role("button", name="Mark the unanswered kits as good").click()
    expect(page.locator(f"[name='outcome-{kits[0]}'][value=excursion]")).to_be_checked()
    page.get_by_role("button", name="Check").click()
    look_at(page)
    assert state_of(world, kits[0]) == "in_transit"

    page.get_by_role("button", name="Record the receipt").click()

    expect(page.get_by_role("heading", name="Shipment received")).to_be_visible()
    expect(page.get_by_text("Kits in quarantine")).to_be_visible()
    look_at(page)
    assert [state_of(world, kit) for kit in kits] == ["quarantined"] + ["available"] * (len(kits) - 1)


def test_stock_and_the_life_of_a_kit_can_be_read_by_everyone_at_any_width(
    world: World, address: str, phone_page: Page
) -> None:
    with world.store.transaction() as tx:
        statement = select(Kit.number).join(Shipment).where(Shipment.site.has(code="CN02")).order_by(Kit.number)
        kit = tx.session.scalars(statement.limit(1)).one()
    page = phone_page
    sign_in(page, address, "pharmacist.cn02")
    page.get_by_role("link", name="Stock", exact=True).click()
    look_at(page)
    page.get_by_role("rowheader").first.click()
    expect(page.get_by_role("heading", name=f"Kit {kit}")).to_be_visible()
    look_at(page)
    page.get_by_role("link", name="Report it damaged or lost").click()
    look_at(page)


@pytest.mark.requirement("SHIP-05")
@pytest.mark.parametrize("screen", ["browser_page", "phone_page"])
def test_the_logger_of_the_shelf_is_read_from_its_file(
    world: World, address: str, screen: str, request: pytest.FixtureRequest
) -> None:
    world.clock.advance(timedelta(days=1))
    now, page = world.clock.now(), request.getfixturevalue(screen)
    lines = ["time (UTC, DD.MM.YYYY);temperature (°C)"]
    for place in range(145):
        degrees = "31,4" if 40 <= place < 60 else f"{18 + place % 7},5"
        lines.append(f"{now - timedelta(minutes=10 * (144 - place)):%d.%m.%Y %H:%M};{degrees}")
    file = "\n".join(lines).encode()
    sign_in(page, address, "pharmacist.cn02")
    page.goto(f"{address}/trials/SIRIUS/sites/CN02/stock/")
    page.get_by_role("link", name="Read a temperature logger").click()
    look_at(page)
    page.get_by_label("File of the logger").set_input_files(
        {"name": "shelf.csv", "mimeType": "text/csv", "buffer": file}
    )
    page.get_by_role("button", name="Continue to review").click()
    expect(page.get_by_text("3 h 20 min").first).to_be_visible()
    look_at(page)
    page.get_by_role("button", name="Record the readings").click()
    expect(page.get_by_text("Readings recorded")).to_be_visible()
    look_at(page)

    with world.store.transaction() as tx:
        states = set(
            tx.session.scalars(select(Kit.state).join(Site, Site.id == Kit.site_id).where(Site.code == "CN02"))
        )
    assert states == {"quarantined"}
