"""The lists of a trial: planned, generated, approved, activated; each step by another person."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from rts.access.permissions import Permission
from rts.conduct.activating_lists import ActivateList, activate_list
from rts.conduct.approving_lists import ApproveList, approve_list
from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.importing_lists import ImportList, import_list
from rts.conduct.lists import procedure_of
from rts.conduct.perform import perform
from rts.conduct.recipients import people_with
from rts.conduct.releasing_lists import (
    AskForRelease,
    ConfirmRelease,
    ProvedEntry,
    ProveEntry,
    RevealedList,
    RevealList,
    ask_for_release,
    confirm_release,
    prove_entry,
    reveal_list,
)
from rts.conduct.retiring_lists import CloseList, WithdrawList, close_list, withdraw_list
from rts.conduct.reviewing_lists import (
    ListPlans,
    ListReview,
    PlannedDesign,
    PlannedList,
    ReadableSpecification,
    ReadDesign,
    ReadListPlans,
    ReadSpecification,
    ReviewList,
    read_design,
    read_list_plans,
    read_specification,
    review_list,
)
from rts.conduct.seeding_lists import CommitSeedShare, RevealSeedShare, commit_seed_share, reveal_seed_share
from rts.conduct.specifying_lists import SpecifyList, specify_list
from rts.randomisation import tape
from rts.randomisation.designs.comparison import RUNS
from rts.randomisation.imported import COLUMNS
from rts.refusal import FailedRule, Refusal, refuse, say
from rts.reports import lists as reports
from rts.reports.designs import design_lines, numbers_of_strata
from rts.reports.document_parts import IssuedDocument
from rts.reports.list_annex import issue_annex
from rts.reports.list_certificate import issue_certificate
from rts.reports.list_documents import issue_approval_record, issue_generation_report, issue_specification
from rts.reports.people import printed_names
from rts.reports.procedures import procedure_words
from rts.trial.procedures import KEYS, Procedure, procedure_from
from rts.web.charts import trade_off_chart
from rts.web.forms import STATUS, Entered, new_key, run
from rts.web.guard import Pages, actor, store
from rts.web.language import gettext as _
from rts.web.language import language, listed, ngettext, sentence
from rts.web.reviewed import Answer, chosen, required, required_reason, reviewed_deed
from rts.web.words import ENVIRONMENTS

pages = Pages("lists", __name__)

# The deed that leads to each state, for the receipt after it.
DEEDS = {
    "generated": "generate",
    "imported": "import",
    "approved": "approve",
    "activated": "activate",
    "withdrawn": "withdraw",
    "closed": "close",
    "asked": "ask_release",
    "released": "confirm_release",
}


def _words() -> dict[str, Any]:
    """The words for codes that these pages show."""
    return {
        "kinds": {"subjects": _("Subject list"), "kits": _("Kit list")},
        "states": {
            "planned": (_("Planned"), "planned"),
            "specified": (_("Specified"), "planned"),
            "generated": (_("Generated"), "wait"),
            "approved": (_("Approved"), "busy"),
            "active": (_("Active"), "good"),
            "closed": (_("Closed"), "quiet"),
            "withdrawn": (_("Withdrawn from use"), "quiet"),
        },
        "purposes": ENVIRONMENTS,
        "deeds": {
            "generate": _("Generated"),
            "import": _("Imported"),
            "approve": _("Approved"),
            "activate": _("Activated"),
            "withdraw": _("Withdrawn from use"),
            "close": _("Closed"),
            "ask_release": _("Release asked for"),
            "confirm_release": _("Released"),
        },
    }


def list_title(kind: str, prefix: str, list_id: str = "") -> str:
    """How a list is called: by its id to the unblinded, to everyone else by kind and prefix."""
    if kind == "subjects":
        named = _("Subject list, prefix %(prefix)s", prefix=prefix)
    else:
        named = _("Kit list, prefix %(prefix)s", prefix=prefix)
    return f"{list_id} · {named}" if list_id else named


def _planned_rows(plan: PlannedList) -> list[dict[str, str]]:
    """What the definition says of a planned list, as rows of a review; for those who generate lists."""
    of_kits = plan.kind == "kits"
    made_of = listed(f"{sentence(name)}{' × ' if of_kits else ' '}{count}" for name, count in plan.made_of)
    strata = (
        _("a tape for the whole trial")
        if plan.strata == (tape.STRATUM,)
        else ngettext("%(num)d stratum, each of equal length", "%(num)d strata, each of equal length", len(plan.strata))
    )
    entries = str(plan.entries)
    if plan.is_imported:
        entries = _("at least %(number)d", number=plan.entries)
        strata = ngettext("%(num)d stratum", "%(num)d strata", len(plan.strata))
    rows = [
        {"label": _("List"), "value": list_title(plan.kind, plan.prefix, plan.plan_id)},
        {"label": _("Entries"), "value": entries, "note": strata if plan.strata else ""},
        {"label": _("Kit types and quantities") if of_kits else _("Treatments and ratio"), "value": made_of},
    ]
    if plan.procedure is not None:
        made = _("made elsewhere, and imported") if plan.is_imported else ""
        rows.append({"label": _("Procedure"), "value": sentence(procedure_words(plan.procedure)), "note": made})
    if plan.lot and plan.expiry:
        expiry = _("Expiry %(day)s", day=plan.expiry.isoformat())
        rows.append({"label": _("Blinded lot"), "value": plan.lot, "note": expiry})
    return rows


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
        specified = reports.newest_specifications(tx, g.trial) if plans else {}
    standing = {row.plan_id for row in rows if row.state != "withdrawn"}
    open_plans = [plan for plan in plans.plans if plan.plan_id not in standing] if plans else []
    return render_template(
        "lists/all_lists.html",
        rows=rows,
        open_plans=open_plans,
        specified=specified,
        may_generate=plans is not None,
        title_of=list_title,
        **_words(),
    )


@pages.page("/trials/<trial>/lists/design", Permission.LIST_GENERATE)
def design(trial: str) -> Answer:
    """The planned procedure beside others, for the trial's own subjects and strata."""
    planned: PlannedDesign = perform(store(), read_design, actor(), ReadDesign(trial))
    entered = request.args.to_dict()
    failed: tuple[FailedRule, ...] = ()
    status = 200
    try:
        lines = design_lines(planned, _further_procedure(entered, planned.levels))
    except Refusal as refusal:
        # The form has the procedure's keys as its fields.
        failed = tuple(replace(rule, field=rule.field.removeprefix("procedure.")) for rule in refusal.failed)
        status = STATUS[refusal.code]
        lines = design_lines(planned)
    by_chance = max(planned.ratio) / sum(planned.ratio)
    picture = trade_off_chart(
        [
            (
                line.row.figure("sd_overall_imbalance") or 0.0,
                max(0.0, 100 * ((line.row.figure("cg_convergence") or 0.0) - by_chance)),
            )
            for line in lines
        ],
        next(place for place, line in enumerate(lines) if line.is_planned),
        [bool(line.dominated_by) for line in lines],
    )
    page = render_template(
        "lists/design.html",
        planned=planned,
        lines=lines,
        picture=picture,
        entered=entered,
        failed=failed,
        names=KEYS,
        numbers=numbers_of_strata(lines),
        runs=RUNS,
        example=", ".join(f"{factor} {weight}" for weight, factor in enumerate(reversed(planned.levels), start=1)),
        procedure_words=procedure_words,
    )
    return page, status


def _further_procedure(entered: Mapping[str, str], factors: Collection[str]) -> list[Procedure]:
    """The procedure that a reader asks to see beside the others; none asked for, none. `factors` are those that
    minimisation can weigh. Raises Refusal `invalid`.
    """
    name = entered.get("procedure", "")
    if not name:
        return []
    written: dict[str, object] = {"name": name}
    for key in KEYS.get(name, ()):
        text = entered.get(key, "").strip()
        if key == "block_sizes":
            parts = text.replace(",", " ").split()
            written[key] = [int(part) if part.isdecimal() else part for part in parts]
        elif key == "weights":
            written[key] = _weights(text, factors) if text else dict.fromkeys(factors, 1)
        else:
            written[key] = int(text) if text.isdecimal() and key != "probability" else text
    return [procedure_from(written)]


def _weights(text: str, factors: Collection[str]) -> dict[str, int]:
    """Factors and their weights as people write them: "SLEDAI 2, site 1". Raises Refusal `invalid`."""
    weights: dict[str, int] = {}
    for part in text.split(","):
        factor, _space, weight = part.strip().rpartition(" ")
        if factor.strip() not in {*factors} - {*weights} or not weight.isdecimal():
            message = say(
                "Write each factor once with its weight, and commas between. The factors are %(factors)s.",
                factors=", ".join(factors),
            )
            raise refuse("invalid", "design.weights", message, "weights")
        weights[factor.strip()] = int(weight)
    return weights


@pages.page("/trials/<trial>/lists/specify", Permission.LIST_GENERATE, methods=("GET", "POST"))
def specify(trial: str) -> Answer:
    """Specify a planned list: what the definition says of it, who may know what, where the seed comes from; sign."""
    plan_id = request.values.get("plan", "")
    plans = perform(store(), read_list_plans, actor(), ReadListPlans(trial))
    plan = plans.plan(plan_id)
    if plan is None:
        return redirect(url_for("lists.all_lists", trial=trial), 303)

    def command_of(entered: Entered) -> SpecifyList:
        joint = chosen(entered, "seed", ("system", "joint"), say("Choose where the seed comes from.")) == "joint"
        named = (entered.text("first", 64), entered.text("second", 64)) if joint else ()
        confirmed = entered.text("confirmed") == "yes"
        return SpecifyList(trial, plan_id, entered.text("known_to", 2000), entered.text("document"), named, confirmed)

    with store().transaction() as tx:
        people = people_with(tx, g.trial, Permission.LIST_GENERATE)
        statisticians = [(person.username, person.printed_name) for person in people]
        earlier = reports.newest_specifications(tx, g.trial).get(plan_id)
    context = {
        "plans": plans,
        "plan": plan,
        "planned": _planned_rows(plan),
        "earlier": earlier,
        "statisticians": statisticians,
        "title_of": list_title,
        **_words(),
    }
    return reviewed_deed(
        "lists/specify.html",
        specify_list,
        command_of,
        lambda done: url_for("lists.specification", trial=trial, digest=done.ids["specification"]),
        context,
        signed=True,
    )


@pages.page("/trials/<trial>/lists/specifications/<digest>/", Permission.SEALED_VIEW)
def specification(trial: str, digest: str) -> str:
    """A signed specification; every look is recorded."""
    found: ReadableSpecification = perform(store(), read_specification, actor(), ReadSpecification(trial, digest))
    inputs = found.content["inputs"]
    with store().transaction() as tx:
        newest = reports.newest_specifications(tx, g.trial).get(found.plan)
        names = printed_names(tx, [found.specified_by, *found.content["contributors"]])
        rows = reports.lists_of(tx, g.trial, unblinded=True)
    standing = next((row for row in rows if row.plan_id == found.plan and row.state != "withdrawn"), None)
    return render_template(
        "lists/specification.html",
        specification=found,
        procedure=sentence(procedure_words(procedure_of(inputs))) if "arms" in inputs else "",
        newest=newest if newest and newest.digest == digest else None,
        names=names,
        standing=standing,
        may_generate=actor().may(Permission.LIST_GENERATE, g.trial),
        title_of=list_title,
        **_words(),
    )


@pages.page("/trials/<trial>/lists/seed", Permission.LIST_GENERATE, methods=("GET", "POST"))
def seed(trial: str) -> Answer:
    """Commit to, and later reveal, one's share of a joint seed."""
    plan_id = request.values.get("plan", "")
    with store().transaction() as tx:
        newest = reports.newest_specifications(tx, g.trial).get(plan_id)
    if newest is None:
        return redirect(url_for("lists.all_lists", trial=trial), 303)
    mine = next((share for share in newest.shares if share.username == actor().name), None)

    def command_of(entered: Entered) -> CommitSeedShare | RevealSeedShare:
        if mine is None:
            return CommitSeedShare(trial, plan_id, entered.text("commitment", 64).lower())
        return RevealSeedShare(trial, plan_id, entered.text("share", 64).lower())

    failed: tuple[FailedRule, ...] = ()
    status = 200
    if request.method == "POST":
        entered = Entered(request.form)
        command = command_of(entered)
        try:
            entered.check()
            run(commit_seed_share if mine is None else reveal_seed_share, command)
        except Refusal as refusal:
            failed, status = refusal.failed, STATUS[refusal.code]
        else:
            return redirect(url_for("lists.specification", trial=trial, digest=newest.digest), 303)
    shown = {"newest": newest, "mine": mine, "plan": plan_id, "username": actor().name}
    return render_template("lists/seed.html", failed=failed, key=new_key(), **shown), status


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
        specified = reports.newest_specifications(tx, g.trial)
    taken = {row.plan_id for row in rows if row.state != "withdrawn"}
    free = [one for one in plans.plans if one.plan_id not in taken and one.plan_id in specified and not one.is_imported]
    shown = {"plans": plans, "free": free, "failed": failed, "key": new_key()}
    return render_template("lists/generate.html", **shown, **_made_from(plan, plan_id)), status


def _made_from(plan: PlannedList | None, plan_id: str) -> dict[str, Any]:
    """What the pages that make a list show of its plan, of its specification, and of what was made for it before."""
    with store().transaction() as tx:
        rows = reports.lists_of(tx, g.trial, unblinded=True)
        return {
            "plan": plan,
            "planned": _planned_rows(plan) if plan else [],
            "specified": reports.newest_specifications(tx, g.trial).get(plan_id),
            "standing": next((row for row in rows if row.plan_id == plan_id and row.state != "withdrawn"), None),
            "earlier": reports.times_generated(tx, g.trial, plan_id) if plan else 0,
            "purpose": tx.installation.environment,
            "title_of": list_title,
            **_words(),
        }


@pages.page("/trials/<trial>/lists/import", Permission.LIST_GENERATE, methods=("GET", "POST"))
def import_file(trial: str) -> Answer:
    """Import a planned list from the file that is sent: announced by its digest and rows, read, sealed, signed."""
    failed: tuple[FailedRule, ...] = ()
    status = 200
    plan_id = request.values.get("plan", "")
    if request.method == "POST":
        try:
            done = run(import_list, _sent_list(trial, plan_id), signed=True)
        except Refusal as refusal:
            # A mistake in a column is one in the file: the form has no field for it.
            failed = tuple(replace(one, field="file") if one.field in COLUMNS else one for one in refusal.failed)
            status = STATUS[refusal.code]
        else:
            return redirect(url_for("lists.show", trial=trial, list_id=done.ids["list"], done="imported"), 303)
    plan = perform(store(), read_list_plans, actor(), ReadListPlans(trial)).plan(plan_id)
    if plan is None or not plan.is_imported:
        return redirect(url_for("lists.all_lists", trial=trial), 303)
    shown = {"entered": request.form, "failed": failed, "key": new_key()}
    return render_template("lists/import_file.html", **shown, **_made_from(plan, plan_id)), status


def _sent_list(trial: str, plan_id: str) -> ImportList:
    """What was sent to be imported. Raises Refusal `invalid` naming every field that is missing."""
    entered = Entered(request.form)
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        entered.failed.append(FailedRule("import.file", say("Choose the file of the list."), "file"))
    digest = required(entered, "digest", "import.digest", say("Give the SHA-256 of the file, as its maker told it."))
    rows = entered.whole("rows")
    entered.check()
    content = sent.read() if sent is not None else b""
    name = (sent.filename if sent is not None else None) or ""
    return ImportList(trial, plan_id, content, name[:200], digest, rows)


@pages.page("/trials/<trial>/lists/<list_id>/", Permission.LIST_VIEW)
def show(trial: str, list_id: str) -> str:
    """One list: its manifest, its history, and who takes it on."""
    return render_template("lists/show.html", **_page(done=DEEDS.get(request.args.get("done", ""), "")))


@pages.page("/trials/<trial>/lists/<list_id>/certificate.pdf", Permission.LIST_VIEW)
def certificate(trial: str, list_id: str) -> Response:
    """The blinded certificate of a list, for the trial file; each one issued is recorded."""
    return _pdf(issue_certificate(store(), actor(), trial, g.list.list_id, language()))


@pages.page("/trials/<trial>/lists/<list_id>/generation-report.pdf", Permission.SEALED_VIEW)
def generation_report(trial: str, list_id: str) -> Response:
    """The report of how a list was generated, for unblinded eyes; each one issued is recorded."""
    return _pdf(issue_generation_report(store(), actor(), trial, g.list.list_id, language()))


@pages.page("/trials/<trial>/lists/<list_id>/approval-record.pdf", Permission.SEALED_VIEW)
def approval_record(trial: str, list_id: str) -> Response:
    """The record of a list's approval, for unblinded eyes; each one issued is recorded."""
    return _pdf(issue_approval_record(store(), actor(), trial, g.list.list_id, language()))


@pages.page("/trials/<trial>/lists/<list_id>/annex.pdf", Permission.SEALED_VIEW)
def annex(trial: str, list_id: str) -> Response:
    """The unblinded annex of a list: the look and the issue are recorded."""
    return _pdf(issue_annex(store(), actor(), trial, g.list.list_id, language()))


@pages.page("/trials/<trial>/lists/specifications/<digest>/specification.pdf", Permission.SEALED_VIEW)
def specification_document(trial: str, digest: str) -> Response:
    """A signed specification as a document: the look and the issue are recorded."""
    return _pdf(issue_specification(store(), actor(), trial, digest, language()))


def _pdf(issued: IssuedDocument) -> Response:
    answer = Response(issued.pdf, mimetype="application/pdf")
    answer.headers["Content-Disposition"] = f'attachment; filename="{issued.file_name}"'
    return answer


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


@pages.page("/trials/<trial>/lists/<list_id>/close", Permission.LIST_ACTIVATE, methods=("GET", "POST"))
def close(trial: str, list_id: str) -> Answer:
    """Close the subject list in use, with a reason."""
    return reviewed_deed(
        "lists/close.html",
        close_list,
        lambda entered: CloseList(trial, g.list.list_id, required_reason(entered)),
        lambda _done: _url_of_list("closed"),
        _page(),
        signed=True,
    )


@pages.page("/trials/<trial>/lists/<list_id>/ask-for-release", Permission.SEALED_VIEW, methods=("GET", "POST"))
def ask_release(trial: str, list_id: str) -> Answer:
    """Ask for the release of a list after the database lock."""
    missing = say("Name the record of the database lock.")
    return reviewed_deed(
        "lists/ask_release.html",
        ask_for_release,
        lambda entered: AskForRelease(
            trial, g.list.list_id, required(entered, "document", "release.document", missing)
        ),
        lambda _done: _url_of_list("asked"),
        _page(),
        signed=True,
    )


@pages.page("/trials/<trial>/lists/<list_id>/release", Permission.LIST_ACTIVATE, methods=("GET", "POST"))
def release(trial: str, list_id: str) -> Answer:
    """Release a list whose release another person asked for."""
    return _signed(confirm_release, ConfirmRelease(trial, g.list.list_id), "released", "lists/release.html")


@pages.page("/trials/<trial>/lists/<list_id>/reveal", Permission.SEALED_VIEW, methods=("POST",))
def reveal(trial: str, list_id: str) -> Response:
    """The whole of a released list, as the file that anyone can verify."""
    revealed: RevealedList = perform(store(), reveal_list, actor(), RevealList(trial, g.list.list_id))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((revealed.columns, *revealed.rows))
    answer = Response(text.getvalue(), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{g.list.list_id}-reveal.csv"'
    return answer


@pages.page("/trials/<trial>/lists/<list_id>/prove", Permission.SEALED_VIEW, methods=("GET", "POST"))
def prove(trial: str, list_id: str) -> Answer:
    """Prove one entry against the published commitment; every proof is recorded."""
    failed: tuple[FailedRule, ...] = ()
    status = 200
    proof: dict[str, Any] | None = None
    if request.method == "POST":
        command = ProveEntry(trial, g.list.list_id, request.form.get("number", "")[:40])
        try:
            proved: ProvedEntry = perform(store(), prove_entry, actor(), command)
        except Refusal as refusal:
            failed, status = refusal.failed, STATUS[refusal.code]
        else:
            proof = proved.proof
    return (
        render_template("lists/prove.html", failed=failed, entered=request.form, proof=proof, key=new_key(), **_page()),
        status,
    )
