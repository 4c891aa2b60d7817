"""What every form needs: a key so that a double click does the deed once, the deed itself, and a refusal shown in
place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from flask import request

from rts.access.sign_in import Confirmation, confirm_password
from rts.conduct.perform import perform
from rts.refusal import FailedRule, Message, Refusal, say
from rts.web.guard import actor, address, store

STATUS = {
    "invalid": 422,
    "rule": 409,
    "conflict": 409,
    "wrong_password": 403,
    "forbidden": 403,
    "not_found": 404,
    "unavailable": 503,
}


def new_key() -> str:
    """A fresh idempotency key for a form."""
    return store().entropy.bytes(16).hex()


def run(deed: Callable[..., Any], command: Any, *, signed: bool = False) -> Any:
    """Do a deed for the person signed in, under the form's key; `signed` checks the re-entered `password` first.

    Raises Refusal as the deed does, and `wrong_password`.
    """
    key = request.form.get("idempotency_key", "")[:80] or None
    confirmation: Confirmation | None = None
    if signed:
        confirmation = confirm_password(store(), actor(), request.form.get("password", ""), address(), time.sleep)
    return perform(store(), deed, actor(), command, key=key, confirmation=confirmation)


class Entered:
    """The fields of a posted form, read strictly; every mistake is kept so that all are shown at once."""

    def __init__(self, form: Mapping[str, str]) -> None:
        self.form = form
        self.failed: list[FailedRule] = []

    def _wrong(self, name: str, message: Message) -> None:
        self.failed.append(FailedRule("form.field", message, name))

    def text(self, name: str, most: int = 500) -> str:
        """A text without surrounding blanks; too long a one is refused."""
        value = self.form.get(name, "").strip()
        if len(value) > most:
            self._wrong(name, say("Write at most %(most)d characters.", most=most))
        return value

    def day(self, name: str) -> date:
        """A date in ISO order. A missing or impossible one is refused."""
        try:
            return date.fromisoformat(self.text(name))
        except ValueError:
            self._wrong(name, say("Give the date as year-month-day, such as 2026-03-09."))
            return date.min

    def whole(self, name: str) -> int:
        """A whole number."""
        try:
            return int(self.text(name))
        except ValueError:
            self._wrong(name, say("Give a whole number."))
            return 0

    def number(self, name: str) -> float:
        """A decimal number; a comma serves as the point."""
        try:
            return float(self.text(name, 30).replace(",", "."))
        except ValueError:
            self._wrong(name, say("Give a number."))
            return 0.0

    def yes_or_no(self, name: str) -> bool | None:
        """`yes` or `no`; None when neither was chosen."""
        return {"yes": True, "no": False}.get(self.form.get(name, ""))

    def check(self) -> None:
        """Raise Refusal `invalid` with every mistake found so far."""
        if self.failed:
            raise Refusal("invalid", *self.failed)
