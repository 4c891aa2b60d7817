"""A physician at night: finds the subject, breaks the code, and finds nothing left behind."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error, Page, expect

from tests.browser.people import look_at, sign_in
from tests.world import PASSWORD, World


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.requirement("UNBL-01")
def test_a_physician_breaks_a_code_on_a_phone(world: World, address: str, phone_page: Page) -> None:
    subject = world.randomise("CN02")
    names = [treatment.name for treatment in world.stage.definition.treatments]
    page = phone_page
    sign_in(page, address, "physician.cn02")
    page.get_by_role("link", name="Code break").click()
    look_at(page)

    page.get_by_label("Subject code or randomisation number").fill(subject.lower().replace("-", " "))
    page.get_by_role("button", name="Find subject").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Break the code of {subject}")
    look_at(page)

    page.get_by_label("Reason").fill("Anaphylactic shock on the ward")
    page.get_by_label("Yes").check()
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Break the code and show the treatment").click()
    expect(page.locator(".treatment-name")).to_be_visible()
    assert page.locator(".treatment-name").inner_text() in names
    look_at(page)
    # A browser that keeps the whole page for the way back, as some do whatever the headers say, keeps it without.
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    assert not any(name in page.content() for name in names)

    page.get_by_role("link", name="Done: hide the treatment").click()
    assert not any(name in page.content() for name in names)
    # The browser has kept nothing and asks before it would send the form again.
    with pytest.raises(Error, match="ERR_CACHE_MISS"):
        page.go_back()
    assert world.events("subject.unblinded") == 1
