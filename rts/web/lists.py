"""The lists of a trial: planned, generated, approved, activated; each step by another person."""

from __future__ import annotations

from typing import Any

from flask import g, redirect, render_template, request, url_for
from flask_babel import gettext as _

from rts.access.permissions import Permission
from rts.conduct.activating_lists import ActivateList, activate_list
from rts.conduct.approving_lists import ApproveList, approve_list
from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.perform import perform
from rts.conduct.retiring_lists import WithdrawList, withdraw_list
from rts.conduct.reviewing_lists import (
    ListPlans,
    ListReview,
    ReadListPlans,
    ReviewList,
    read_list_plans,
    review_list,
)
from rts.refusal import FailedRule, Refusal
from rts.reports import lists as reports
from rts.web.forms import STATUS, new_key, run
from rts.web.guard import Pages, actor, store
from rts.web.reviewed import Answer, required_reason, reviewed_deed

pages = Pages("lists", __name__)

# The deed that leads to each state, for the receipt after it.
DEEDS = {"generated": "generate", "approved": "approve", "activated": "activate", "withdrawn": "withdraw"}


def _words() -> dict[str, Any]:
    """The words for codes that these pages show."""
    return {
        "kinds": {"subjects": _("Subject list"), "kits": _("Kit list")},
        "states": {
            "planned": (_("Planned"), "planned"),
            "generated": (_("Generated"), "wait"),
            "approved": (_("Approved"), "busy"),
            "active": (_("Active"), "good"),
            "closed": (_("Closed"), "quiet"),
            "withdrawn": (_("Withdrawn from use"), "quiet"),
        },
        "purposes": {"production": _("Production"), "training": _("Training"), "test": _("Test")},
        "deeds": {
            "generate": _("Generated"),
            "approve": _("Approved"),
            "activate": _("Activated"),
            "withdraw": _("Withdrawn from use"),
        },
    }


def list_title(kind: str, prefix: str, list_id: str = "") -> str:
    """How a list is called: by its id to the unblinded, to everyone else by kind and prefix."""
    if kind == "subjects":
        named = _("Subject list, prefix %(prefix)s", prefix=prefix)
    else:
        named = _("Kit list, prefix %(prefix)s", prefix=prefix)
    return f"{list_id} · {named}" if list_id else named


def _plans() -> ListPlans | None:
    """What is planned, for those who generate lists; the look is recorded."""
    if not actor().may(Permission.LIST_GENERATE, g.trial):
        return None
    plans: ListPlans = perform(store(), read_list_plans, actor(), ReadListPlans(g.trial.code))
    return plans


def _page(**changes: Any) -> dict[str, Any]:
    with store().transaction() as tx:
        page = reports.list_page(tx, g.trial, g.list, actor())
    title = list_title(page.row.kind, page.row.prefix, page.row.list_id)
    return {"page": page, "title": title, "title_of": list_title, **_words(), **changes}


@pages.page("/trials/<trial>/lists/", Permission.LIST_VIEW)
def all_lists(trial: str) -> str:
    """Every list, planned or made."""
    plans = _plans()
    with store().transaction() as tx:
        rows = reports.lists_of(tx, g.trial, unblinded=actor().is_unblinded(g.trial))
    standing = {row.plan_id for row in rows if row.state != "withdrawn"}
    open_plans = [plan for plan in plans.plans if plan.plan_id not in standing] if plans else []
    return render_template(
        "lists/all_lists.html",
        rows=rows,
        open_plans=open_plans,
        may_generate=plans is not None,
        title_of=list_title,
        **_words(),
    )


@pages.page("/trials/<trial>/lists/generate", Permission.LIST_GENERATE, methods=("GET", "POST"))
def generate(trial: str) -> Answer:
    """Generate a planned list: choose it, see what will be made, sign."""
    failed: tuple[FailedRule, ...] = ()
    status = 200
    plan_id = request.values.get("plan", "")
    if request.method == "POST":
        try:
            done = run(generate_list, GenerateList(trial, plan_id), signed=True)
        except Refusal as refusal:
            failed, status = refusal.failed, STATUS[refusal.code]
        else:
            return redirect(url_for("lists.show", trial=trial, list_id=done.ids["list"], done="generated"), 303)
    plans = perform(store(), read_list_plans, actor(), ReadListPlans(trial))
    plan = plans.plan(plan_id)
    with store().transaction() as tx:
        rows = reports.lists_of(tx, g.trial, unblinded=True)
        earlier = reports.times_generated(tx, g.trial, plan_id) if plan else 0
        purpose = tx.installation.environment
    standing = next((row for row in rows if row.plan_id == plan_id and row.state != "withdrawn"), None)
    taken = {row.plan_id for row in rows if row.state != "withdrawn"}
    return (
        render_template(
            "lists/generate.html",
            plans=plans,
            plan=plan,
            free=[one for one in plans.plans if one.plan_id not in taken],
            standing=standing,
            earlier=earlier,
            purpose=purpose,
            failed=failed,
            key=new_key(),
            title_of=list_title,
            **_words(),
        ),
        status,
    )


@pages.page("/trials/<trial>/lists/<list_id>/", Permission.LIST_VIEW)
def show(trial: str, list_id: str) -> str:
    """One list: its manifest, its history, and who takes it on."""
    return render_template("lists/show.html", **_page(done=DEEDS.get(request.args.get("done", ""), "")))


def _review() -> ListReview:
    review: ListReview = perform(store(), review_list, actor(), ReviewList(g.trial.code, g.list.list_id))
    return review


@pages.page("/trials/<trial>/lists/<list_id>/quality", Permission.SEALED_VIEW)
def quality(trial: str, list_id: str) -> str:
    """What the checks say of the list; every look is recorded."""
    review = _review()
    return render_template("lists/quality.html", review=review, **_page())


@pages.page("/trials/<trial>/lists/<list_id>/approve", Permission.LIST_APPROVE, methods=("GET", "POST"))
def approve(trial: str, list_id: str) -> Answer:
    """Approve a generated list, its figures in view."""
    return _signed(approve_list, ApproveList(trial, g.list.list_id), "approved", "lists/approve.html")


@pages.page("/trials/<trial>/lists/<list_id>/activate", Permission.LIST_ACTIVATE, methods=("GET", "POST"))
def activate(trial: str, list_id: str) -> Answer:
    """Activate an approved list."""
    return _signed(activate_list, ActivateList(trial, g.list.list_id), "activated", "lists/activate.html")


def _signed(deed: Any, command: Any, done: str, template: str) -> Answer:
    failed: tuple[FailedRule, ...] = ()
    status = 200
    if request.method == "POST":
        try:
            run(deed, command, signed=True)
        except Refusal as refusal:
            failed, status = refusal.failed, STATUS[refusal.code]
        else:
            return redirect(_url_of_list(done), 303)
    page = _page(failed=failed, key=new_key())
    if template == "lists/approve.html":
        page["review"] = _review()
    return render_template(template, **page), status


def _url_of_list(done: str) -> str:
    name = g.list.list_id if actor().is_unblinded(g.trial) else g.list.commitment
    return url_for("lists.show", trial=g.trial.code, list_id=name, done=done)


@pages.page("/trials/<trial>/lists/<list_id>/withdraw", Permission.LIST_GENERATE, methods=("GET", "POST"))
def withdraw(trial: str, list_id: str) -> Answer:
    """Withdraw a list that is not in use, with a reason."""
    return reviewed_deed(
        "lists/withdraw.html",
        withdraw_list,
        lambda entered: WithdrawList(trial, g.list.list_id, required_reason(entered)),
        lambda _done: _url_of_list("withdrawn"),
        _page(),
    )
