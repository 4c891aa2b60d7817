"""The system's Chromium, driven by Playwright, and what every page is held to."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright, ViewportSize

PROGRAM_VARIABLE = "RTS_TEST_CHROMIUM"
PROGRAM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page that asks another machine for a font or a script must not get it.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
]

DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


class ChromiumMissingError(RuntimeError):
    """There is no Chromium to drive."""


def find_chromium() -> str:
    """The path of the browser to drive. Raises ChromiumMissingError when there is none."""
    candidates = [os.environ.get(PROGRAM_VARIABLE), *map(shutil.which, PROGRAM_NAMES)]
    for program in candidates:
        if program:
            return program
    raise ChromiumMissingError(
        f"No Chromium for the browser tests: {PROGRAM_VARIABLE} is not set and none of {', '.join(PROGRAM_NAMES)} "
        "is on the PATH. `make setup` installs it where it may; else install your system's chromium package."
    )


def launch(playwright: Playwright) -> Browser:
    """Start Chromium without a window and without its own calls home."""
    return playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)


@contextmanager
def open_page(browser: Browser, size: ViewportSize, *, touch: bool = False) -> Iterator[Page]:
    """A page in a session of its own (no cookies yet).

    Fails afterwards if one of its scripts failed or it broke its own content security policy.
    """
    context = browser.new_context(viewport=size, has_touch=touch, is_mobile=touch, locale="en-GB", timezone_id="UTC")
    context.set_default_timeout(10_000)
    page = context.new_page()
    faults: list[str] = []

    def note_script_error(error: Error) -> None:
        faults.append(f"script error: {error}")

    def note_broken_policy(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            faults.append(message.text)

    page.on("pageerror", note_script_error)
    page.on("console", note_broken_policy)
    try:
        yield page
    finally:
        context.close()
    assert not faults, "\n".join(faults)


def assert_accessible(page: Page) -> None:
    """Fail with axe-core's report if the page as it now stands breaks one of its rules, WCAG's or best practice."""
    results = Axe().run(page)
    assert results.violations_count == 0, f"{page.url}\n{results.generate_report()}"
