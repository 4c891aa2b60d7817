"""A browser without a window: signs in and posts forms as people do, with the tokens the page carries."""

from __future__ import annotations

import re
from typing import Any

from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.world import PASSWORD


class Person:
    """Someone at a browser of their own."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()

    def sign_in(self, username: str, password: str = PASSWORD) -> Person:
        """Sign in; fails when it is refused."""
        page = self.client.get("/sign-in")
        answer = self.client.post(
            "/sign-in", data={"csrf_token": token_in(page), "username": username, "password": password}
        )
        assert answer.status_code == 303, answer.text
        return self

    def get(self, url: str) -> TestResponse:
        return self.client.get(url)

    def fill(self, url: str, **entered: Any) -> dict[str, Any]:
        """What the first form for a deed at `url` sends when `entered` is typed into it."""
        page = self.client.get(url)
        assert page.status_code == 200, f"{url}: {page.status_code}"
        return hidden_fields(page) | entered

    def post(self, url: str, **entered: Any) -> TestResponse:
        """Open the page at `url`, fill its form in and send it."""
        return self.client.post(url, data=self.fill(url, **entered))


def hidden_fields(page: TestResponse) -> dict[str, str]:
    """The hidden fields of a page's deed."""
    form = BeautifulSoup(page.text, "html5lib").select_one("form.deed[method=post]")
    assert form is not None, "the page has no form for a deed"
    return {str(field["name"]): str(field["value"]) for field in form.select("input[type=hidden]")}


def token_in(page: TestResponse) -> str:
    """The CSRF token a page carries."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


def words_of(page: TestResponse) -> str:
    """The visible words of a page, blanks squeezed."""
    main = BeautifulSoup(page.text, "html5lib").select_one("main")
    assert main is not None
    return " ".join(main.get_text(" ").split())
