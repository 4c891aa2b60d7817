"""How refusals and failures look, in one place."""

from __future__ import annotations

import structlog
from flask import Flask, g, render_template, request
from werkzeug.exceptions import HTTPException

from rts.refusal import FailedRule, Refusal
from rts.unexpected import places_of
from rts.web.forms import STATUS
from rts.web.guard import store

log = structlog.get_logger("rts.web")


def install(app: Flask) -> None:
    """Map refusals, HTTP errors and the unexpected to pages."""
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _refused(refusal: Refusal) -> tuple[str, int]:
    if refusal.code == "not_found":
        return _not_found()
    if refusal.code == "unavailable":
        return _unavailable(refusal.failed)
    return render_template("errors/refused.html", refusal=refusal), STATUS[refusal.code]


def _http_error(error: HTTPException) -> tuple[str, int]:
    if error.code == 404:
        return _not_found()
    return render_template("errors/http.html", code=error.code), error.code or 500


def _not_found() -> tuple[str, int]:
    """The same page for what is unknown and for what is another's: the frame must not name what was found either."""
    g.trial = g.site = g.depot = g.subject = g.shipment = g.list = None
    return render_template("errors/not_found.html"), 404


def _unavailable(failed: tuple[FailedRule, ...] = (), reference: str = "") -> tuple[str, int]:
    """Database, clock or keyring fail. The page is made without the database, and tells the way to a treatment that
    needs no server: at once on the pages of the code break.
    """
    g.without_database = True
    return render_template(
        "unblinding/offline.html" if request.blueprint == "unblinding" else "errors/unavailable.html",
        failed=failed,
        reference=reference,
    ), 503


def _unexpected(error: Exception) -> tuple[str, int]:
    """A page with a reference number; the log has the stack, without the values: a local variable may hold an arm or
    a password.
    """
    reference = store().entropy.bytes(4).hex()
    log.error("unexpected", reference=reference, kind=type(error).__name__, at=places_of(error), page=request.endpoint)
    if request.blueprint == "unblinding":
        return _unavailable(reference=reference)
    return render_template("errors/unexpected.html", reference=reference), 500
