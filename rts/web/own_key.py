"""A statistician's own key: its public half registered, compared and signed for; retired when it is lost."""

from __future__ import annotations

from typing import Any

from flask import redirect, render_template, request, url_for

from rts.access.permissions import Permission
from rts.conduct.own_keys import (
    MEANING,
    RegisterOwnKey,
    RetireOwnKey,
    fingerprint_of,
    register_own_key,
    retire_own_key,
)
from rts.refusal import FailedRule, Refusal
from rts.reports.own_keys import OwnKeyRow, own_keys_of
from rts.web.forms import STATUS, new_key, run
from rts.web.guard import Pages, actor, store
from rts.web.reviewed import Answer, required_reason, reviewed_deed

pages = Pages("own_key", __name__)

# A public key in PEM form has 113 characters; what is sent in its place by mistake is read no further.
LONGEST_KEY = 4000


def _keys() -> list[OwnKeyRow]:
    with store().transaction() as tx:
        return own_keys_of(tx, actor().name)


def _live(rows: list[OwnKeyRow]) -> OwnKeyRow | None:
    return next((row for row in rows if row.retired_at is None), None)


@pages.page("/own-key/", Permission.OWN_KEY)
def show() -> str:
    """The key in use, those before it, and how to make one."""
    rows = _keys()
    return render_template("own_key/show.html", live=_live(rows), rows=rows, done=request.args.get("done", ""))


@pages.page("/own-key/register", Permission.OWN_KEY, methods=("GET", "POST"))
def register() -> Answer:
    """Paste or send the public key; then compare its fingerprint and sign."""
    text, fingerprint = "", ""
    failed: tuple[FailedRule, ...] = ()
    status = 200
    if request.method == "POST":
        text = _sent_key()
        try:
            fingerprint = fingerprint_of(text)
            if request.form.get("step") == "sign":
                run(register_own_key, RegisterOwnKey(text), signed=True)
                return redirect(url_for("own_key.show", done="registered"), 303)
        except Refusal as refusal:
            if refusal.code in {"forbidden", "unavailable"}:
                raise
            failed, status = refusal.failed, STATUS[refusal.code]
            # What is no public key is not shown again: it may be a private one.
            fingerprint = fingerprint if refusal.code == "wrong_password" else ""
    shown: dict[str, Any] = {"fingerprint": fingerprint, "text": text if fingerprint else "", "live": _live(_keys())}
    return render_template("own_key/register.html", failed=failed, key=new_key(), meaning=MEANING, **shown), status


def _sent_key() -> str:
    """The text of the file that was sent, or else what was pasted."""
    sent = request.files.get("file")
    content = sent.read(LONGEST_KEY).decode("utf-8", "replace") if sent is not None else ""
    return content.strip() or request.form.get("public_key", "")[:LONGEST_KEY].strip()


@pages.page("/own-key/retire", Permission.OWN_KEY, methods=("GET", "POST"))
def retire() -> Answer:
    """Retire one's own key, with a reason."""
    return reviewed_deed(
        "own_key/retire.html",
        retire_own_key,
        lambda entered: RetireOwnKey(actor().name, required_reason(entered)),
        lambda _done: url_for("own_key.show", done="retired"),
        {"live": _live(_keys())},
    )
