"""The tests' browser is the system's Chromium, and pages that fail quietly fail the test."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Error as BrowserError

from tests.infrastructure import chromium

GOOD_PAGE = """<!doctype html><html lang="en"><title>Kit</title><meta name="viewport" content="width=device-width">
<main><h1>Kit</h1><label>Kit number <input name="kit"></label></main></html>"""
UNLABELLED_PAGE = GOOD_PAGE.replace("<label>Kit number ", "").replace("</label>", "")
INLINE_SCRIPT_PAGE = GOOD_PAGE.replace("</main>", "<script>document.title = 'changed'</script></main>")
STRANGER_PAGE = GOOD_PAGE.replace("</main>", "<img alt='' src='http://stranger.example/pixel.png'></main>")

STRICT_POLICY = "default-src 'none'; img-src http:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


@pytest.fixture
def site() -> Iterator[str]:
    pages = {
        "/good": GOOD_PAGE,
        "/unlabelled": UNLABELLED_PAGE,
        "/inline": INLINE_SCRIPT_PAGE,
        "/stranger": STRANGER_PAGE,
    }

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Security-Policy", STRICT_POLICY)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_page_is_shown_as_wide_as_a_pharmacy_pc(browser_page: Page, site: str) -> None:
    browser_page.goto(f"{site}/good")
    assert browser_page.evaluate("window.innerWidth") == 1280
    expect(browser_page.get_by_label("Kit number")).to_be_visible()


def test_a_page_is_shown_as_narrow_as_a_phone(phone_page: Page, site: str) -> None:
    phone_page.goto(f"{site}/good")
    assert phone_page.evaluate("window.innerWidth") == 390
    assert phone_page.evaluate("navigator.maxTouchPoints") > 0


def test_a_good_page_is_accessible_under_a_strict_policy(browser_page: Page, site: str) -> None:
    browser_page.goto(f"{site}/good")
    chromium.assert_accessible(browser_page)


def test_a_field_without_a_label_is_reported(browser_page: Page, site: str) -> None:
    browser_page.goto(f"{site}/unlabelled")
    with pytest.raises(AssertionError, match="Ensure every form element has a label"):
        chromium.assert_accessible(browser_page)


def test_an_inline_script_fails_the_test_that_opened_its_page(browser: Browser, site: str) -> None:
    def visit() -> None:
        with chromium.open_page(browser, chromium.DESKTOP) as page:
            page.goto(f"{site}/inline")

    with pytest.raises(AssertionError, match="Content Security Policy"):
        visit()


def test_a_script_error_fails_the_test_that_opened_its_page(browser: Browser, site: str) -> None:
    def visit() -> None:
        with chromium.open_page(browser, chromium.DESKTOP) as page:
            page.goto(f"{site}/good")
            page.evaluate("setTimeout(() => { throw new Error('chart') }, 0)")
            page.evaluate("new Promise(done => setTimeout(done, 20))")

    with pytest.raises(AssertionError, match="script error: chart"):
        visit()


def test_the_browser_reaches_no_other_machine(browser_page: Page, site: str) -> None:
    with browser_page.expect_event("requestfailed") as failed:
        browser_page.goto(f"{site}/stranger")
    assert failed.value.failure == "net::ERR_NAME_NOT_RESOLVED"
    with pytest.raises(BrowserError, match="ERR_NAME_NOT_RESOLVED"):
        browser_page.goto("http://stranger.example/")


def test_a_missing_chromium_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(chromium.PROGRAM_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(chromium.ChromiumMissingError, match="make setup"):
        chromium.find_chromium()


def test_the_chromium_named_in_the_environment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chromium.PROGRAM_VARIABLE, "/opt/browser/chrome")
    assert chromium.find_chromium() == "/opt/browser/chrome"
