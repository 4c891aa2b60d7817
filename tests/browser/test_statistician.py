"""Two statisticians and a trial manager take a list from its plan to its use, each at a browser of their own."""

from __future__ import annotations

from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from rts.cli.keys import in_groups
from rts.entropy import ReplayedEntropy
from rts.store.tables import ListFile
from rts.vault.person_keys import create_person_key, read_public_key
from tests.browser.people import look_at, sign_in
from tests.infrastructure.chromium import DESKTOP
from tests.web.test_list_pages import FURTHER_PLAN
from tests.world import PASSWORD, World

pytestmark = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)


@pytest.fixture
def planned(world: World) -> World:
    """SIRIUS with a version 2 of its definition that plans one more kit list."""
    world.load(('protocol_version = "1.0"', 'protocol_version = "1.1"'), restricted=FURTHER_PLAN)
    return world


def state_of_list(world: World) -> str | None:
    with world.store.transaction() as tx:
        return tx.session.scalar(select(ListFile.state).where(ListFile.list_id == "SIRIUS-K3"))


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in*")


def test_a_list_is_generated_approved_and_activated(planned: World, address: str, browser_page: Page) -> None:
    page = browser_page
    sign_in(page, address, "statistician.one")
    page.get_by_role("link", name="Lists", exact=True).click()
    look_at(page)
    page.get_by_role("link", name="SIRIUS-K3 · Kit list, prefix M").click()
    look_at(page)
    page.get_by_label("Who may know what").fill("The unblinded statisticians alone.")
    page.get_by_label("Approved document").fill("Randomisation plan 1.0")
    page.get_by_role("button", name="Continue to review").click()
    look_at(page)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Sign specification").click()
    expect(page.get_by_role("heading", name="Specification 1 of SIRIUS-K3")).to_be_visible()
    look_at(page)
    page.get_by_role("link", name="Generate the list").click()
    look_at(page)
    page.get_by_role("button", name="Generate list").click()
    expect(page.get_by_role("alert")).to_be_focused()
    assert state_of_list(planned) is None
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Generate list").click()
    expect(page.get_by_role("heading", name="List generated and sealed")).to_be_visible()
    look_at(page)
    assert state_of_list(planned) == "generated"
    sign_out(page)

    sign_in(page, address, "statistician.two")
    page.get_by_role("link", name="Lists", exact=True).click()
    page.get_by_role("link", name="SIRIUS-K3 · Kit list, prefix M").click()
    page.get_by_role("link", name="Check and approve").click()
    expect(page.get_by_text("Every check passed")).to_be_visible()
    look_at(page)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Approve list").click()
    expect(page.get_by_role("heading", name="List approved")).to_be_visible()
    sign_out(page)

    sign_in(page, address, "manager")
    page.get_by_role("link", name="Trial", exact=True).click()
    look_at(page)
    page.get_by_role("link", name="Activate: Kit list, prefix M").click()
    look_at(page)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Activate list").click()
    expect(page.get_by_role("heading", name="List activated")).to_be_visible()
    look_at(page)
    assert state_of_list(planned) == "active"


IMPORTED_PLAN = """
[[subject_lists]]
id = "SIRIUS-R2"
prefix = "S"
length = 40
extends = "SIRIUS-R1"
imported = "without_check_digits"
"""


def test_a_list_made_elsewhere_is_imported_on_a_phone_and_at_a_desk(
    world: World, address: str, phone_page: Page
) -> None:
    page = phone_page
    world.load(('protocol_version = "1.0"', 'protocol_version = "1.1"'), restricted=IMPORTED_PLAN)
    world.stage.specify("SIRIUS-R2")
    places = [(stratum, position) for stratum in world.stage.definition.strata for position in range(1, 41)]
    lines = [
        f"{stratum},{position},S{1000 + 7919 * row % 9000},{'KILDU' if position % 4 in {0, 1} else 'ORVEN'}"
        for row, (stratum, position) in enumerate(places, start=1)
    ]
    content = "\n".join(["stratum,position,number,arm", *lines]).encode()
    sign_in(page, address, "statistician.one")
    page.get_by_role("link", name="Lists", exact=True).first.click()
    page.get_by_role("link", name="SIRIUS-R2 · Subject list, prefix S").click()
    look_at(page)
    page.get_by_role("link", name="Import the list").click()
    look_at(page)
    page.set_viewport_size(DESKTOP)
    look_at(page)
    page.get_by_label("SHA-256 of the file").fill(sha256(content).hexdigest())
    page.get_by_label("Rows").fill("161")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_label("The list").set_input_files({"name": "r2.csv", "mimeType": "text/csv", "buffer": content})
    page.get_by_role("button", name="Import list").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("The file has 160 rows, not the 161 announced.")
    look_at(page)
    page.get_by_label("Rows").fill("160")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_label("The list").set_input_files({"name": "r2.csv", "mimeType": "text/csv", "buffer": content})
    page.get_by_role("button", name="Import list").click()
    expect(page.get_by_role("heading", name="List imported and sealed")).to_be_visible()
    look_at(page)
    page.get_by_role("link", name="Open the figures (recorded)").click()
    expect(page.get_by_role("heading", name="The file that was read")).to_be_visible()
    look_at(page)


@pytest.mark.parametrize(
    ("person", "path"),
    [
        ("statistician.one", "lists/"),
        ("statistician.one", "lists/design"),
        ("statistician.one", "lists/SIRIUS-R1/prove"),
        ("statistician.one", "lists/SIRIUS-R1/"),
        ("statistician.one", "lists/SIRIUS-R1/quality"),
        ("statistician.one", "definition/1/restricted"),
        ("manager", ""),
        ("manager", "sites/"),
        ("manager", "sites/CN05/office"),
        ("manager", "sites/CN05/office/gates/ethics"),
        ("manager", "definition/2"),
        ("manager", "definition/2/in-force"),
        ("manager", "sites/CN02/office"),
        ("manager", "sites/CN02/office/plan/2"),
        ("supply", "supply/"),
        ("supply", "supply/shipments/"),
        ("supply", "supply/shipments/request"),
        ("quality", "supply/lots/"),
        ("quality", "supply/quarantine/"),
    ],
)
def test_the_pages_of_the_office_fit_a_phone_and_a_desk(
    world: World, address: str, phone_page: Page, person: str, path: str
) -> None:
    if "CN02" in path or "definition/2" in path:
        world.amend(('protocol_version = "1.0"', 'protocol_version = "1.1"'), at=("CN02",), on=date(2026, 2, 1))
    sign_in(phone_page, address, person)
    phone_page.goto(f"{address}/trials/SIRIUS/{path}")
    expect(phone_page.get_by_role("heading", level=1)).to_be_visible()
    look_at(phone_page)
    phone_page.set_viewport_size(DESKTOP)
    look_at(phone_page)


def test_a_statistician_registers_a_key_and_retires_it(
    world: World, address: str, phone_page: Page, tmp_path: Path
) -> None:
    """On a phone, as narrow as pages get: the fingerprint is long."""
    page = phone_page
    public = create_person_key("correct horse battery", ReplayedEntropy(b"browser"))[1]
    file = tmp_path / "my.public.pem"
    file.write_text(public)
    sign_in(page, address, "statistician.one")
    page.goto(f"{address}/trials/SIRIUS/lists/")
    page.get_by_role("link", name="Your own key").click()
    look_at(page)
    page.get_by_role("link", name="Register a key").click()
    page.get_by_role("button", name="Continue to compare").click()
    expect(page.get_by_role("alert")).to_be_focused()
    look_at(page)
    page.get_by_label("Or its file").set_input_files(file)
    page.get_by_role("button", name="Continue to compare").click()
    expect(page.get_by_text(in_groups(read_public_key(public).fingerprint))).to_be_visible()
    look_at(page)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Register key").click()
    expect(page.get_by_role("heading", name="Key registered")).to_be_visible()
    look_at(page)
    page.goto(f"{address}/trials/SIRIUS/lists/SIRIUS-R1/")
    expect(page.get_by_role("cell", name=in_groups(read_public_key(public).fingerprint))).to_be_visible()
    look_at(page)
    page.get_by_role("link", name="Your own key").click()
    page.get_by_role("link", name="Retire this key").click()
    look_at(page)
    page.get_by_label("Reason").fill("The computer was stolen")
    page.get_by_role("button", name="Continue to review").click()
    look_at(page)
    page.get_by_role("button", name="Retire key").click()
    expect(page.get_by_role("heading", name="Key retired")).to_be_visible()
    look_at(page)
