"""The office of a trial: overview, sites with their gates, and the definition with its versions."""

from __future__ import annotations

from typing import Any

from flask import abort, g, render_template, request, url_for

from rts.access.permissions import Permission
from rts.conduct import site_gates as deeds
from rts.conduct.perform import perform
from rts.conduct.putting_in_force import ChangePlan, PutInForce
from rts.conduct.putting_in_force import change_plan as change_plan_deed
from rts.conduct.putting_in_force import put_in_force as put_in_force_deed
from rts.conduct.reviewing_lists import ReadRestrictedPart, read_restricted_part
from rts.refusal import FailedRule, say
from rts.reports import trial_overview as reports
from rts.reports.procedures import procedure_words
from rts.web.charts import PlannedCount, RecruitmentChart, recruitment_chart
from rts.web.forms import Entered
from rts.web.guard import Pages, actor, store
from rts.web.here import site_here
from rts.web.language import gettext as _
from rts.web.language import sentence
from rts.web.lists import list_title
from rts.web.paging import PAGE_SIZE, page_of
from rts.web.reviewed import Answer, chosen, required, required_reason, reviewed_deed

pages = Pages("trial", __name__)

DOCUMENT_MISSING = say("Name the document that allows it, such as the ethics committee's approval.")


def site_states() -> dict[str, tuple[str, str]]:
    """The words for the states of a site."""
    return {
        "planned": (_("Planned"), "planned"),
        "open": (_("Open"), "good"),
        "closed": (_("Closed"), "quiet"),
    }


def in_force_states() -> dict[str, tuple[str, str]]:
    """The words for how a version stands at a site."""
    return {
        "in_force": (_("In force"), "good"),
        "planned": (_("Planned"), "planned"),
        "past": (_("Before"), "quiet"),
        "withdrawn": (_("Plan withdrawn"), "stop"),
    }


def chart_of(overview: reports.Overview) -> RecruitmentChart:
    """Recruitment beside its plan."""
    plan = [PlannedCount(point.day, point.planned, point.low, point.high) for point in overview.plan]
    return recruitment_chart(plan, overview.randomised, overview.today, overview.definition.target)


@pages.page("/trials/<trial>/", Permission.TRIAL_VIEW)
def overview(trial: str) -> str:
    """The trial on one page: what is to be done, how far it is."""
    with store().transaction() as tx:
        found = reports.overview(tx, g.trial)
    return render_template(
        "trial/overview.html",
        trial_page=found,
        chart=chart_of(found),
        tasks_now=_tasks(found),
        may_manage=actor().may(Permission.SITE_MANAGE, g.trial),
        states=site_states(),
    )


def _tasks(found: reports.Overview) -> list[dict[str, Any]]:
    """What the reader can do now: activate lists, record gates, open sites."""
    tasks: list[dict[str, Any]] = []
    if actor().may(Permission.LIST_ACTIVATE, g.trial):
        tasks += [
            {
                "title": _("Activate: %(list)s", list=list_title(waiting.kind, waiting.prefix)),
                "url": url_for("lists.activate", trial=g.trial.code, list_id=waiting.name),
                "detail": _("Approved; waits for a third person"),
                "tone": "wait",
                "word": _("To sign"),
            }
            for waiting in found.waiting_lists
        ]
    if actor().may(Permission.SITE_MANAGE, g.trial):
        concerned = [site for site in found.sites if site.state != "closed"]
        reached = sum(1 for site in concerned if site.newest == found.newest)
        if reached < len(concerned):
            tasks.append(
                {
                    "title": _("Put version %(version)s in force where it is approved", version=found.newest),
                    "url": url_for("trial.definition_version", trial=g.trial.code, version=found.newest),
                    "detail": _("In force or planned at %(done)d of %(all)d sites", done=reached, all=len(concerned)),
                    "tone": "wait",
                    "word": _("Amendment"),
                }
            )
        for site in found.sites:
            if site.state != "planned" or site.in_force is None:
                continue
            is_late = site.planned_opening < found.today
            missing = site.gates - site.gates_passed
            tasks.append(
                {
                    "title": _("Open site %(site)s", site=site.title)
                    if site.is_ready_to_open
                    else _("Record gates of site %(site)s", site=site.title),
                    "url": url_for("trial.site_page", trial=g.trial.code, site=site.code),
                    "detail": _("Every gate is passed")
                    if site.is_ready_to_open
                    else _("%(missing)d of %(gates)d gates missing", missing=missing, gates=site.gates),
                    "day": site.planned_opening,
                    "today": found.today,
                    "tone": "wait" if is_late or site.is_ready_to_open else "planned",
                    "word": _("Ready") if site.is_ready_to_open else _("Late") if is_late else _("Planned"),
                }
            )
        tasks.sort(key=lambda task: task.get("day", found.today))
    return tasks


@pages.page("/trials/<trial>/sites/", Permission.TRIAL_VIEW)
def sites(trial: str) -> str:
    """Every site with its state, gates and counts."""
    with store().transaction() as tx:
        page = page_of(reports.count_sites(tx, g.trial))
        rows = reports.site_rows(tx, g.trial, page=page["number"], size=PAGE_SIZE)
    return render_template("trial/sites.html", rows=rows, page=page, states=site_states(), query=dict(request.args))


def _site() -> dict[str, Any]:
    with store().transaction() as tx:
        found = reports.site_page(tx, site_here(tx))
    return {
        "site": found,
        "title": found.row.title,
        "states": site_states(),
        "in_force_states": in_force_states(),
        "may_manage": actor().may(Permission.SITE_MANAGE, g.trial, g.site),
    }


@pages.page("/trials/<trial>/sites/<site>/office", Permission.TRIAL_VIEW)
def site_page(trial: str, site: str) -> str:
    """A site as the office sees it: its gates, its state, the definition in force."""
    page = _site()
    done = request.args.get("done", "")
    changed = page["site"].changed(done.removeprefix("plan-")) if done.startswith("plan-") else None
    may_see_account = actor().may(Permission.ACCOUNT_VIEW, g.trial, g.site)
    return render_template("trial/site_page.html", done=done, changed=changed, may_see_account=may_see_account, **page)


def _back(done: str) -> str:
    return url_for("trial.site_page", trial=g.trial.code, site=g.site.code, done=done)


@pages.page("/trials/<trial>/sites/<site>/office/gates/<gate>", Permission.SITE_MANAGE, methods=("GET", "POST"))
def pass_gate(trial: str, site: str, gate: str) -> Answer:
    """Record that the site passed a gate."""
    page = _site()
    row = page["site"].gate(gate) or abort(404)
    return reviewed_deed(
        "trial/pass_gate.html",
        deeds.pass_gate,
        lambda entered: deeds.PassGate(
            trial,
            site,
            gate,
            entered.day("passed_on"),
            required(entered, "document", "gate.document", say("Name the document that shows it.")),
        ),
        lambda _done: _back(gate),
        page | {"gate": row},
        check=lambda tx, command: deeds.check_gate(tx, site_here(tx), command),
    )


@pages.page("/trials/<trial>/sites/<site>/office/open", Permission.SITE_MANAGE, methods=("GET", "POST"))
def open_site(trial: str, site: str) -> Answer:
    """Open the site, once every gate is passed."""
    return reviewed_deed(
        "trial/open_site.html",
        deeds.open_site_for_subjects,
        lambda _entered: deeds.OpenSite(trial, site),
        lambda _done: _back("opened"),
        _site(),
    )


@pages.page("/trials/<trial>/sites/<site>/office/close", Permission.SITE_MANAGE, methods=("GET", "POST"))
def close_site(trial: str, site: str) -> Answer:
    """Close the site to new subjects, with a reason."""
    return reviewed_deed(
        "trial/close_site.html",
        deeds.close_site,
        lambda entered: deeds.CloseSite(trial, site, required_reason(entered)),
        lambda _done: _back("closed"),
        _site(),
    )


@pages.page("/trials/<trial>/sites/<site>/office/plan/<int:version>", Permission.SITE_MANAGE, methods=("GET", "POST"))
def change_plan(trial: str, site: str, version: int) -> Answer:
    """Correct the date from which a version is planned at the site, or withdraw the plan."""
    page = _site()

    def command_of(entered: Entered) -> ChangePlan:
        how = chosen(entered, "how", ("date", "withdraw"), say("Choose what is right."))
        moves = how == "date"
        return ChangePlan(
            trial,
            version,
            (site,),
            entered.day("from_date") if moves else None,
            required(entered, "document", "definition.document", DOCUMENT_MISSING) if moves else "",
            required_reason(entered),
        )

    return reviewed_deed(
        "trial/change_plan.html",
        change_plan_deed,
        command_of,
        lambda _done: _back(f"plan-{version}"),
        page | {"version": version, "plan": page["site"].plan(version)},
    )


@pages.page("/trials/<trial>/definition/<int:version>/in-force", Permission.SITE_MANAGE, methods=("GET", "POST"))
def put_in_force(trial: str, version: int) -> Answer:
    """Put a version in force at one or several sites."""
    context = _definition(version)

    def command_of(entered: Entered) -> PutInForce:
        sites = tuple(row.code for row in context["page"].sites if entered.yes_or_no(f"sites-{row.code}"))
        if not sites:
            entered.failed.append(FailedRule("sites.missing", say("Choose at least one site."), "sites"))
        day = entered.day("from_date")
        return PutInForce(
            trial, version, sites, day, required(entered, "document", "definition.document", DOCUMENT_MISSING)
        )

    return reviewed_deed(
        "trial/put_in_force.html",
        put_in_force_deed,
        command_of,
        lambda done: url_for("trial.definition_version", trial=trial, version=version, done=done.ids["sites"]),
        context,
    )


def _definition(version: int | None) -> dict[str, Any]:
    with store().transaction() as tx:
        page = reports.definition_page(tx, g.trial, version)
    if page is None:
        abort(404)
    return {
        "page": page,
        "may_open_restricted": actor().may(Permission.SEALED_VIEW, g.trial),
        "may_manage": actor().may(Permission.SITE_MANAGE, g.trial),
        "done": page.put_at(request.args.get("done", "").split(", ")),
    }


@pages.page("/trials/<trial>/definition/", Permission.TRIAL_VIEW)
def definition(trial: str) -> str:
    """The newest version of the public definition."""
    return render_template("trial/definition.html", **_definition(None))


@pages.page("/trials/<trial>/definition/<int:version>", Permission.TRIAL_VIEW)
def definition_version(trial: str, version: int) -> str:
    """One version of the public definition, and what it changed."""
    return render_template("trial/definition.html", **_definition(version))


@pages.page("/trials/<trial>/definition/<int:version>/restricted", Permission.SEALED_VIEW)
def restricted(trial: str, version: int) -> str:
    """The restricted part; every look is recorded."""
    found = perform(store(), read_restricted_part, actor(), ReadRestrictedPart(trial, version))
    shown = {"public": _definition(version)["page"].definition, "procedure": sentence(procedure_words(found.procedure))}
    return render_template("trial/restricted.html", restricted=found, version=version, **shown)
