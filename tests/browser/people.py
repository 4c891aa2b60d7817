"""What every person at a browser does."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.infrastructure.chromium import assert_accessible
from tests.world import PASSWORD


def sign_in(page: Page, address: str, username: str) -> None:
    """Sign in and arrive at the first page of one's role."""
    page.goto(f"{address}/sign-in")
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "sign-in" not in url)


def look_at(page: Page) -> None:
    """Hold the page as it stands to the rules of accessibility, and to its width: nothing hangs over the edge."""
    assert_accessible(page)
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1], f"{page.url} is {width[0]} pixels wide on a screen of {width[1]}"
