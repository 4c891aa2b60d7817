"""A person of the office at work in the pages: signs in, opens pages, fills forms."""

from __future__ import annotations

import re
import time
from typing import Any

from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from rts.access.sign_in import sign_in
from rts.app import create_app
from rts.web import cookies
from tests.world import PASSWORD, World


class Desk:
    """One signed-in person with a browser of their own."""

    def __init__(self, app: Flask, username: str) -> None:
        self.client: FlaskClient = app.test_client()
        signed_in = sign_in(app.extensions["rts"], username, PASSWORD, "127.0.0.1", time.sleep)
        self.client.set_cookie(cookies.SESSION, signed_in.token)

    def open(self, path: str, status: int = 200) -> str:
        """The text of the page at `path`, which must answer `status`."""
        answer = self.client.get(path)
        assert answer.status_code == status, f"{path}: {answer.status_code}"
        return answer.text

    def send(self, path: str, fields: dict[str, Any], status: int = 303) -> TestResponse:
        """Open the form at `path` and post it with `fields`; the answer must have `status`."""
        form = BeautifulSoup(self.open(path), "html.parser").select_one("main form[method=post]")
        assert form is not None, f"{path} has no form"
        return self.post(path, _hidden(form) | fields, status)

    def go_on(self, answer: TestResponse, fields: dict[str, str] | None = None, status: int = 303) -> TestResponse:
        """Post the first form of the page in `answer`, with its hidden fields."""
        form = BeautifulSoup(answer.text, "html.parser").select_one("main form[method=post]")
        assert form is not None
        return self.post(answer.request.path, _hidden(form) | (fields or {}), status)

    def post(self, path: str, fields: dict[str, Any], status: int) -> TestResponse:
        answer = self.client.post(path, data=fields)
        assert answer.status_code == status, f"{path}: {answer.status_code} {words(answer.text)[:2000]}"
        return answer

    def follow(self, answer: TestResponse) -> str:
        """The page that an answer leads to."""
        return self.open(answer.headers["Location"])


def desk(world: World, username: str) -> Desk:
    """Sign `username` in to the application on `world`'s store."""
    return Desk(create_app(world.store), username)


def words(page: str) -> str:
    """What a reader reads on a page, blanks folded."""
    found = BeautifulSoup(page, "html.parser").select_one("main")
    assert found is not None
    return re.sub(r"\s+", " ", found.get_text(" "))


def _hidden(form: object) -> dict[str, str]:
    return {field["name"]: field.get("value", "") for field in form.select("input[type=hidden]")}  # type: ignore[attr-defined]
