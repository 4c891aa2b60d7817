"""Signing in and out, one's own password, the language, and the way to one's first page."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from flask import g, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from rts.access import sign_in as access
from rts.access.permissions import Permission
from rts.conduct.accounts import ChangePassword
from rts.conduct.accounts import change_password as change_own_password
from rts.refusal import LANGUAGES, FailedRule, Refusal, say
from rts.translating import known_language
from rts.web import cookies
from rts.web.forms import STATUS, new_key, run
from rts.web.guard import Pages, actor, address, sign_in_token, store
from rts.web.rooms import frame

pages = Pages("sign_in", __name__)

YEAR_SECONDS = 365 * 24 * 3600


def _safe_next(target: str) -> str:
    """`target` when it is a path of this service, else the home page: a sign-in link must not lead elsewhere."""
    parts = urlsplit(target)
    is_own = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return target if is_own else url_for("sign_in.home")


@pages.page("/sign-in", Permission.PUBLIC, methods=("GET", "POST"))
def sign_in() -> Response | tuple[str, int]:
    """Sign in."""
    failed: tuple[FailedRule, ...] = ()
    status = 200
    if request.method == "POST":
        try:
            signed_in = access.sign_in(
                store(), request.form.get("username", ""), request.form.get("password", ""), address(), time.sleep
            )
        except Refusal as refusal:
            failed, status = refusal.failed, STATUS[refusal.code]
        else:
            if g.session is not None:
                access.end_session(store(), cookies.kept(cookies.SESSION))
            answer = redirect(_safe_next(request.form.get("next", "")), 303)
            cookies.keep(answer, cookies.SESSION, signed_in.token)
            return answer
    page = render_template(
        "sign_in/sign_in.html",
        failed=failed,
        entered=request.form,
        next=request.values.get("next", ""),
        token=sign_in_token(),
        was_ended=bool(cookies.kept(cookies.SESSION)) and g.session is None and request.method == "GET",
    )
    return page, status


@pages.page("/sign-out", Permission.PUBLIC, methods=("POST",))
def sign_out() -> Response:
    """End the session."""
    access.end_session(store(), cookies.kept(cookies.SESSION))
    answer = redirect(url_for("sign_in.sign_in"), 303)
    cookies.forget(answer, cookies.SESSION)
    return answer


@pages.page("/language", Permission.PUBLIC, methods=("POST",))
def language() -> Response:
    """Choose the language of the pages."""
    chosen = request.form.get("language", "")
    origin = urlsplit(request.referrer or "")
    answer = redirect(
        _safe_next(f"{origin.path}?{origin.query}".rstrip("?") if origin.netloc == request.host else ""), 303
    )
    if chosen in LANGUAGES:
        cookies.keep(answer, cookies.LANGUAGE, chosen, YEAR_SECONDS)
    return answer


@pages.page("/password", Permission.SIGNED_IN, methods=("GET", "POST"))
def change_password() -> Response | tuple[str, int] | str:
    """Change one's own password."""
    failed: tuple[FailedRule, ...] = ()
    status = 200
    if request.method == "POST":
        try:
            if request.form.get("new_password") != request.form.get("repeated"):
                raise Refusal(
                    "invalid", FailedRule("password.repeat", say("The two new passwords differ."), "repeated")
                )
            command = ChangePassword(request.form.get("new_password", ""), g.session.id)
            run(change_own_password, command, signed=True)
        except Refusal as refusal:
            fields = {"password.length", "password.username", "password.variety", "password.same"}
            failed = tuple(
                FailedRule(rule.rule, rule.message, "new_password" if rule.rule in fields else rule.field)
                for rule in refusal.failed
            )
            status = STATUS[refusal.code]
        else:
            return redirect(url_for("sign_in.home"), 303)
    return (
        render_template(
            "sign_in/password.html",
            failed=failed,
            key=new_key(),
            must_change=g.person.password_must_change,
            is_confirmed=g.person.password_given_by is None,
        ),
        status,
    )


@pages.page("/", Permission.SIGNED_IN)
def home() -> Response | str:
    """The first page of one's first role."""
    rooms = frame().rooms
    if not rooms:
        return render_template(
            "sign_in/no_rooms.html",
            locked=actor().emergency_only,
            is_confirmed=g.person.password_given_by is None,
        )
    return redirect(rooms[0].url, 303)


@pages.page("/health", Permission.PUBLIC)
def health() -> Response:
    """Whether the service answers: for health checks. It tells nothing else."""
    with store().transaction() as tx:
        tx.installation  # noqa: B018  reading the row proves that the database answers
    return jsonify(status="ok")


def choose_language() -> str:
    """The language of this request: chosen, the person's, the browser's, English."""
    chosen = cookies.kept(cookies.LANGUAGE)
    if chosen not in LANGUAGES:
        person = g.get("person")
        chosen = (
            person.language
            if person is not None
            else request.accept_languages.best_match(["en", "zh-Hans", "zh-CN", "zh"]) or "en"
        )
    g.language = known_language(chosen)
    return str(g.language)
