"""The scheduled jobs: what ran, what failed, and whether mail gets through."""

from __future__ import annotations

from flask import render_template, request

from rts.access.permissions import Permission
from rts.reports import jobs as reports
from rts.states import JOBS
from rts.web.guard import Pages, actor, store
from rts.web.language import gettext as _
from rts.web.language import sentence
from rts.web.paging import PAGE_SIZE, page_asked_for

pages = Pages("jobs", __name__)


@pages.page("/jobs/", Permission.JOBS_VIEW)
def runs() -> str:
    """The runs, the latest first, below what needs a person."""
    query = request.args.to_dict()
    with store().transaction() as tx:
        found = reports.runs_page(
            tx, actor(), job=query.get("job", ""), outcome=query.get("outcome", ""), page=page_asked_for()
        )
        alarms = reports.alarms(tx, actor())
        outbox = reports.outbox_rows(tx, actor())
        names = reports.job_names(tx)
    return render_template(
        "jobs/runs.html",
        runs=found.runs,
        page={"number": page_asked_for(), "size": PAGE_SIZE, "total": found.total},
        alarms=alarms,
        outbox=outbox,
        query=query,
        jobs=[(name, job_word(name)) for name in names],
        outcomes=[(code, outcome_word(code)[0]) for code in ("done", "failed", "running")],
        job_word=job_word,
        outcome_word=outcome_word,
        kind_word=kind_word,
    )


def job_word(job: str) -> str:
    """The name of a job."""
    return sentence(JOBS.get(job, job))


def outcome_word(outcome: str) -> tuple[str, str]:
    """How a run ended: word and tone."""
    return {"running": (_("Running"), "busy"), "done": (_("Done"), "good"), "failed": (_("Failed"), "stop")}[outcome]


def kind_word(kind: str) -> str:
    """What mails of a kind are about."""
    return {
        "unblinding": _("Code break"),
        "randomisation": _("Randomisation"),
        "checkpoint": _("Audit checkpoint"),
        "shipment_overdue": _("Overdue shipments"),
        "shipment": _("Shipments"),
        "receipt_trouble": _("Trouble on receipt"),
        "temperature_excursion": _("Temperature excursion"),
        "entries_low": _("Low list entries"),
        "account": _("Accounts"),
        "list_sealed": _("Commitment of a list"),
        "recall": _("Recall"),
        "calendars_running_out": _("Calendars running out"),
    }.get(kind, kind.replace("_", " "))
