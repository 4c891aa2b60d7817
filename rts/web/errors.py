"""How refusals and failures look, in one place."""

from __future__ import annotations

import structlog
from flask import Flask, g, render_template
from werkzeug.exceptions import HTTPException

from rts.refusal import Refusal
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
        return render_template("errors/not_found.html"), 404
    return render_template("errors/refused.html", refusal=refusal), STATUS[refusal.code]


def _http_error(error: HTTPException) -> tuple[str, int]:
    if error.code == 404:
        return render_template("errors/not_found.html"), 404
    return render_template("errors/http.html", code=error.code, name=error.name), error.code or 500


def _unexpected(error: Exception) -> tuple[str, int]:
    """A page with a reference number; the log has the stack, without the values: a local variable may hold an arm or
    a password.
    """
    reference = store().entropy.bytes(4).hex()
    frames = []
    step = error.__traceback__
    while step is not None:
        frames.append(f"{step.tb_frame.f_code.co_filename.rsplit('/rts/', 1)[-1]}:{step.tb_lineno}")
        step = step.tb_next
    log.error(
        "unexpected", reference=reference, kind=type(error).__name__, at=frames[-12:], path_kind=g.get("endpoint", "")
    )
    return render_template("errors/unexpected.html", reference=reference), 500
