"""Accounts and roles, for the administrator: people, what they may do where and when, passwords, and a training
clock.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from flask import abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from rts.access.permissions import Permission, Role
from rts.clock import local_date, utc_text
from rts.conduct import accounts as deeds
from rts.conduct.installing import MoveClock, move_clock
from rts.conduct.own_keys import RetireOwnKey, retire_own_key
from rts.conduct.perform import Done
from rts.refusal import FailedRule, Refusal, say
from rts.reports import accounts as reports
from rts.reports.audit_trail import Wanted, trail
from rts.reports.own_keys import own_keys_of
from rts.web.audit_words import action_word
from rts.web.forms import STATUS, Entered, new_key, run
from rts.web.guard import Pages, actor, store
from rts.web.language import gettext as _
from rts.web.paging import PAGE_SIZE, page_asked_for
from rts.web.rooms import role_name

pages = Pages("accounts", __name__)

# Days, or hours, that one move of the clock may span.
LONGEST_CLOCK_MOVE = 366

Answer = Response | str | tuple[str, int]

ACCOUNTS = Permission.ACCOUNTS
LATEST_EVENTS = 20


def role_choices() -> list[tuple[str, str]]:
    """Every role a person can hold, with its name."""
    return [(role.value, role_name(role)) for role in Role if role is not Role.SERVICE]


def account_state(state: str) -> tuple[str, str]:
    """The word and tone of an account's state."""
    return {
        "open": (_("Active"), "good"),
        "locked": (_("Locked"), "stop"),
        "first_password": (_("First password not yet changed"), "wait"),
        "unconfirmed": (_("To be confirmed"), "wait"),
        "expired": (_("Password expired"), "wait"),
        "closed": (_("Closed"), "quiet"),
    }[state]


def place_name(row: Any) -> str:
    """Where a role is held, in words."""
    if not row.trial:
        return _("the whole system")
    if row.site:
        return _("%(trial)s, site %(site)s", trial=row.trial, site=row.site)
    if row.depot:
        return _("%(trial)s, depot %(depot)s", trial=row.trial, depot=row.depot)
    return _("%(trial)s, the whole trial", trial=row.trial)


def _show(template: str, status: int = 200, **shown: Any) -> tuple[str, int]:
    words = {"role_name": role_name, "account_state": account_state, "place_name": place_name}
    return render_template(f"accounts/{template}", **words, **shown), status


@pages.page("/accounts/", ACCOUNTS)
def people() -> Answer:
    """The accounts."""
    query = request.args
    with store().transaction() as tx:
        found = reports.people_page(
            tx,
            search=query.get("search", "").strip()[:80],
            role=query.get("role", ""),
            state=query.get("state", ""),
            page=page_asked_for(),
        )
    return _show(
        "people.html",
        people=found.people,
        page={"number": page_asked_for(), "size": PAGE_SIZE, "total": found.total},
        query=query.to_dict(),
        roles=role_choices(),
        states=[
            ("open", _("Active")),
            ("unconfirmed", _("To be confirmed")),
            ("locked", _("Locked")),
            ("closed", _("Closed")),
        ],
        can_move_clock=_clock_can_move(),
    )


@pages.page("/accounts/on", ACCOUNTS)
def roles_on_day() -> Answer:
    """Who could do what on a day."""
    day = _today()
    failed: tuple[FailedRule, ...] = ()
    if "day" in request.args:
        entered = Entered(request.args)
        try:
            day = entered.day("day")
            entered.check()
        except Refusal as refusal:
            failed = refusal.failed
    with store().transaction() as tx:
        rows = [] if failed else reports.grants_on(tx, day)
    entered_day = {"day": request.args.get("day", day.isoformat())}
    return _show("on_day.html", 422 if failed else 200, rows=rows, day=day, entered=entered_day, failed=failed)


@pages.page("/accounts/unblinded", ACCOUNTS)
def unblinded() -> Answer:
    """The register of unblinded persons."""
    with store().transaction() as tx:
        rows = reports.unblinded_people(tx)
    return _show("unblinded.html", rows=rows)


@pages.page("/accounts/add", ACCOUNTS, methods=("GET", "POST"))
def add() -> Answer:
    """Add a person; the first password is shown once, in the answer."""
    failed: tuple[FailedRule, ...] = ()
    status = 200
    if request.method == "POST":
        entered = Entered(request.form)
        password = first_password()
        command = deeds.AddPerson(
            entered.text("username", 64).lower(),
            entered.text("printed_name", 120),
            entered.text("organisation", 120),
            entered.text("email", 200),
            password,
            entered.text("language", 16) or "en",
        )
        try:
            entered.check()
            return _password_receipt(run(deeds.add_person, command), password, _("Account added"))
        except Refusal as refusal:
            failed, status = _shown_in_form(refusal)
    return _show("add.html", status, failed=failed, entered=request.form, key=new_key())


@pages.page("/accounts/people/<username>", ACCOUNTS)
def person(username: str) -> Answer:
    """One account: its roles now and before, and what happened to it."""
    with store().transaction() as tx:
        row = reports.person_row(tx, username)
        events = trail(tx, None, Wanted(object_type="person", object_id=username), limit=LATEST_EVENTS).rows
        has_own_key = any(key.retired_at is None for key in own_keys_of(tx, username))
    in_force = [grant for grant in row.roles if grant.granted_to is None]
    ended = [grant for grant in row.roles if grant.granted_to is not None]
    return _show(
        "person.html",
        person=row,
        in_force=in_force,
        ended=ended,
        events=events,
        action_word=action_word,
        is_oneself=username == actor().name,
        has_own_key=has_own_key,
    )


@pages.page("/accounts/people/<username>/grant", ACCOUNTS, methods=("GET", "POST"))
def grant(username: str) -> Answer:
    """Grant a role."""
    failed: tuple[FailedRule, ...] = ()
    status = 200
    if request.method == "POST":
        entered = Entered(request.form)
        trial, site, depot = [*entered.text("place", 160).split("/"), "", "", ""][:3]
        command = deeds.GrantRole(username, entered.text("role", 40), entered.text("reason"), trial, site, depot)
        try:
            entered.check()
            run(deeds.grant_role, command)
            return redirect(url_for("accounts.person", username=username), 303)
        except Refusal as refusal:
            failed, status = _shown_in_form(refusal)
            failed = tuple(
                replace(rule, field="place") if rule.field in {"trial", "site", "depot"} else rule for rule in failed
            )
    with store().transaction() as tx:
        row = reports.person_row(tx, username)
        places = reports.places(tx)
    return _show(
        "grant.html",
        status,
        person=row,
        failed=failed,
        entered=request.form,
        key=new_key(),
        roles=role_choices(),
        places=[(f"{found.trial}/{found.site}/{found.depot}", _place_choice(found)) for found in places],
    )


def _place_choice(found: reports.Place) -> str:
    place = place_name(found)
    return _("%(place)s: %(name)s", place=place, name=found.name) if found.site or found.depot else place


@pages.page("/accounts/grants/<int:number>/end", ACCOUNTS, methods=("GET", "POST"))
def end_role(number: int) -> Answer:
    """End a role."""
    with store().transaction() as tx:
        row = reports.grant_row(tx, number)
    return _with_reason(
        row.username, deeds.end_role, lambda reason: deeds.EndRole(number, reason), "end_role.html", grant=row
    )


@pages.page("/accounts/people/<username>/unlock", ACCOUNTS, methods=("GET", "POST"))
def unlock(username: str) -> Answer:
    """Unlock an account."""
    return _with_reason(
        username, deeds.unlock_account, lambda reason: deeds.UnlockAccount(username, reason), "unlock.html"
    )


@pages.page("/accounts/people/<username>/confirm", ACCOUNTS, methods=("GET", "POST"))
def confirm(username: str) -> Answer:
    """Confirm that a person has chosen the password, after somebody else gave one."""
    return _with_reason(
        username,
        deeds.confirm_account,
        lambda reason: deeds.ConfirmAccount(username, request.form.get("chosen_at", "")[:40], reason),
        "confirm.html",
        utc_text=utc_text,
    )


@pages.page("/accounts/people/<username>/close", ACCOUNTS, methods=("GET", "POST"))
def close(username: str) -> Answer:
    """Close an account for good."""
    return _with_reason(
        username, deeds.close_account, lambda reason: deeds.CloseAccount(username, reason), "close.html"
    )


@pages.page("/accounts/people/<username>/retire-key", ACCOUNTS, methods=("GET", "POST"))
def retire_key(username: str) -> Answer:
    """Retire a statistician's own key, which was lost or may be in other hands."""
    with store().transaction() as tx:
        keys = own_keys_of(tx, username)
    live = next((key for key in keys if key.retired_at is None), None)
    return _with_reason(
        username, retire_own_key, lambda reason: RetireOwnKey(username, reason), "retire_key.html", live=live
    )


@pages.page("/accounts/people/<username>/password", ACCOUNTS, methods=("GET", "POST"))
def reset_password(username: str) -> Answer:
    """Give a new first password, shown once, in the answer."""
    failed: tuple[FailedRule, ...] = ()
    status = 200
    if request.method == "POST":
        entered = Entered(request.form)
        password = first_password()
        command = deeds.ResetPassword(username, entered.text("reason"), password)
        try:
            entered.check()
            done = run(deeds.reset_password, command)
            return _password_receipt(done, password, _("New first password set"))
        except Refusal as refusal:
            failed, status = _shown_in_form(refusal)
    with store().transaction() as tx:
        row = reports.person_row(tx, username)
    return _show("reset_password.html", status, person=row, failed=failed, entered=request.form, key=new_key())


@pages.page("/accounts/clock", Permission.CLOCK_MOVE, methods=("GET", "POST"))
def clock() -> Answer:
    """Move the clock of a training or test installation forward."""
    if not _clock_can_move():
        abort(404)
    failed: tuple[FailedRule, ...] = ()
    status = 200
    if request.method == "POST":
        entered = Entered(request.form)
        days, hours = entered.whole("days"), entered.whole("hours")
        try:
            # A slip of the finger must not carry a practice trial past its last expiry: the clock never goes back.
            if max(abs(days), abs(hours)) > LONGEST_CLOCK_MOVE:
                entered.failed.append(
                    FailedRule("clock.far", say("Move the clock by at most a year at a time."), "days")
                )
            entered.check()
            run(move_clock, MoveClock(round(timedelta(days=days, hours=hours).total_seconds())))
            return redirect(url_for("accounts.clock"), 303)
        except Refusal as refusal:
            failed, status = _shown_in_form(refusal)
            failed = tuple(replace(rule, field="days") if rule.field == "seconds" else rule for rule in failed)
    return _show(
        "clock.html", status, failed=failed, entered=request.form or {"days": "1", "hours": "0"}, key=new_key()
    )


def first_password() -> str:
    """A password of 80 random bits in letters and digits that are not mistaken for each other (RFC 4648 base 32)."""
    letters = base64.b32encode(store().entropy.bytes(10)).decode().lower()
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def _today() -> date:
    return local_date(store().clock.now(), "UTC")


def _clock_can_move() -> bool:
    return store().environment() != "production"


def _shown_in_form(refusal: Refusal) -> tuple[tuple[FailedRule, ...], int]:
    """What the form shows of `refusal`; raised on when the form could not mend it."""
    if refusal.code in {"not_found", "forbidden", "unavailable"}:
        raise refusal
    return refusal.failed, STATUS[refusal.code]


def _with_reason(
    username: str, deed: Callable[..., Done], command: Callable[[str], Any], template: str, **shown: Any
) -> Answer:
    """A deed on an account that asks for nothing but a reason."""
    failed: tuple[FailedRule, ...] = ()
    status = 200
    if request.method == "POST":
        entered = Entered(request.form)
        reason = entered.text("reason")
        try:
            entered.check()
            run(deed, command(reason))
            return redirect(url_for("accounts.person", username=username), 303)
        except Refusal as refusal:
            failed, status = _shown_in_form(refusal)
    with store().transaction() as tx:
        row = reports.person_row(tx, username)
    return _show(template, status, person=row, failed=failed, entered=request.form, key=new_key(), **shown)


def _password_receipt(done: Done, password: str, title: str) -> Answer:
    """The one page that names a first password. A form sent twice did it once, with the first password."""
    with store().transaction() as tx:
        row = reports.person_row(tx, done.ids["person"])
    return _show("first_password.html", person=row, password="" if done.again else password, title=title)
