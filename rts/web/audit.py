"""The audit trail: of a trial, and of the installation. Everyone who may read it sees the same rows; what is sealed is
opened one event at a time, by unblinded people, and each opening is recorded.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from flask import Response, abort, g, redirect, render_template, request, stream_with_context, url_for

from rts.access.permissions import Permission
from rts.clock import utc_text
from rts.conduct.checkpointing import MakeCheckpoints, make_checkpoints
from rts.conduct.exporting_trials import ExportedTrial, ExportTrial, export_trial
from rts.conduct.perform import perform
from rts.conduct.reading_sealed import OpenedDetail, ReadSealedDetail, read_sealed_detail
from rts.refusal import FailedRule, Refusal
from rts.reports.accounts import unblinded_people
from rts.reports.audit_trail import (
    EventRow,
    Wanted,
    event_page,
    whole_trail,
    zone_of,
)
from rts.reports.audit_trail import (
    checkpoints as read_checkpoints,
)
from rts.reports.audit_trail import (
    trail as read_trail,
)
from rts.reports.code_breaks import code_breaks_of_trial
from rts.store.tables import Trial
from rts.web.audit_words import action_word, action_words, changes_of, facts_of, object_name, object_word, role_word
from rts.web.forms import Entered, new_key, run
from rts.web.guard import Pages, actor, store
from rts.web.rooms import role_name
from rts.web.saving import safe_cell

pages = Pages("audit", __name__)

AUDIT = Permission.AUDIT_VIEW
COLUMNS = (
    "number", "at", "actor", "printed_name", "role", "organisation", "action", "object_type", "object_id", "site",
    "detail", "definition", "software", "detail_digest", "hash",
)  # fmt: skip
KINDS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}


@pages.page("/trials/<trial>/audit/", AUDIT)
def trail(trial: str) -> tuple[str, int]:
    """The trail of a trial."""
    return _trail_page(g.trial)


@pages.page("/trials/<trial>/audit/<int:number>", AUDIT)
def event(trial: str, number: int) -> str:
    """One event."""
    return _event_page(g.trial, number)


@pages.page("/trials/<trial>/audit/<int:number>/full", Permission.SEALED_VIEW, methods=("GET", "POST"))
def full_event(trial: str, number: int) -> Any:
    """One event with its sealed detail: opened by the form, in its answer, and nowhere else."""
    if request.method == "GET":
        return redirect(url_for("audit.event", trial=trial, number=number), 303)
    opened: OpenedDetail = perform(store(), read_sealed_detail, actor(), ReadSealedDetail(trial, number))
    return _event_page(g.trial, number, opened)


@pages.page("/trials/<trial>/audit/export.<kind>", AUDIT)
def export(trial: str, kind: str) -> Response:
    """The rows of the trail as shown."""
    return _export(g.trial, kind)


@pages.page("/trials/<trial>/audit/trial-export", AUDIT, methods=("POST",))
def trial_export(trial: str) -> Response:
    """Who was randomised in which order and given which kits, to be held against the revealed lists."""
    exported: ExportedTrial = perform(store(), export_trial, actor(), ExportTrial(trial))
    answer = Response(exported.text, content_type="application/json")
    answer.headers["Content-Disposition"] = f'attachment; filename="{trial}-export.json"'
    return answer


@pages.page("/trials/<trial>/audit/checkpoints", AUDIT)
def checkpoints(trial: str) -> str:
    """The latest checkpoints of a trial's trail."""
    return _checkpoints_page(g.trial)


@pages.page("/trials/<trial>/audit/unblinded", AUDIT)
def unblinded(trial: str) -> str:
    """The register of unblinded persons of a trial."""
    with store().transaction() as tx:
        rows = unblinded_people(tx, g.trial)
        breaks = code_breaks_of_trial(tx, g.trial)
        zone = zone_of(tx, g.trial)
    return render_template(
        "audit/unblinded.html",
        rows=rows,
        breaks=breaks,
        zone=zone,
        role_name=role_name,
        trial=g.trial,
        **_words(),
    )


@pages.page("/system/audit/", Permission.ACCOUNTS)
def installation_trail() -> tuple[str, int]:
    """The trail of the installation: accounts, sign-ins, keys, settings."""
    return _trail_page(None)


@pages.page("/system/audit/<int:number>", Permission.ACCOUNTS)
def installation_event(number: int) -> str:
    """One event of the installation."""
    return _event_page(None, number)


@pages.page("/system/audit/export.<kind>", Permission.ACCOUNTS)
def installation_export(kind: str) -> Response:
    """The rows of the installation's trail as shown."""
    return _export(None, kind)


@pages.page("/system/audit/checkpoints", Permission.JOBS_RUN, methods=("GET", "POST"))
def installation_checkpoints() -> Any:
    """The latest checkpoints of the installation's trail; the button signs one for every chain."""
    if request.method == "POST":
        run(make_checkpoints, MakeCheckpoints())
        return redirect(url_for("audit.installation_checkpoints"), 303)
    return _checkpoints_page(None)


def address(name: str, trial: Trial | None, **values: Any) -> str:
    """The URL of a page of this trial's trail, or of the installation's."""
    if trial is not None:
        return url_for(f"audit.{name}", trial=trial.code, **values)
    return url_for(f"audit.installation_{name}", **values)


def _wanted() -> tuple[Wanted, tuple[FailedRule, ...]]:
    """What the filters ask for. A date that is none is told, and nothing is filtered by it."""
    entered = Entered(request.args)
    since = entered.day("since") if request.args.get("since", "").strip() else None
    until = entered.day("until") if request.args.get("until", "").strip() else None
    wanted = Wanted(
        subject=entered.text("subject", 80),
        kit=entered.text("kit", 80),
        shipment=entered.text("shipment", 80),
        site=entered.text("site", 80),
        actor=entered.text("actor", 80),
        action=entered.text("action", 80),
        since=since,
        until=until,
    )
    return (replace(wanted, since=None, until=None) if entered.failed else wanted), tuple(entered.failed)


def _trail_page(trial: Trial | None) -> tuple[str, int]:
    wanted, failed = _wanted()
    before = request.args.get("before", "")
    with store().transaction() as tx:
        page = read_trail(tx, trial, wanted, before=int(before) if before.isdecimal() and len(before) < 16 else None)
    query = {name: value for name, value in request.args.items() if name != "before"}
    shown = render_template(
        "audit/trail.html",
        trail=page,
        trial=trial,
        query=query,
        failed=failed,
        is_filtered=any(query.values()),
        is_first="before" not in request.args,
        actions=sorted(action_words(of_trial=trial is not None).items(), key=lambda pair: pair[1]),
        **_words(),
    )
    return shown, 422 if failed else 200


def _event_page(trial: Trial | None, number: int, opened: OpenedDetail | None = None) -> str:
    with store().transaction() as tx:
        page = event_page(tx, trial, number)
    detail = opened.detail if opened is not None else page.row.detail
    return render_template(
        "audit/event.html",
        page=page,
        event=page.row,
        trial=trial,
        facts_of=facts_of(detail or {}, page.definition),
        changes=changes_of(detail or {}, page.definition),
        is_opened=opened is not None,
        can_open=trial is not None and actor().may(Permission.SEALED_VIEW, trial),
        **_words(),
    )


def _checkpoints_page(trial: Trial | None) -> str:
    with store().transaction() as tx:
        rows = read_checkpoints(tx, trial)
        zone = zone_of(tx, trial)
    return render_template("audit/checkpoints.html", rows=rows, trial=trial, zone=zone, key=new_key(), **_words())


def _export(trial: Trial | None, kind: str) -> Response:
    if kind not in KINDS:
        abort(404)
    wanted, failed = _wanted()
    if failed:
        raise Refusal("invalid", *failed)

    def rows() -> Iterator[str]:
        with store().transaction() as tx:
            written = (_csv_line(COLUMNS),) if kind == "csv" else ()
            yield from written
            for row in whole_trail(tx, trial, wanted):
                values = _plain(row)
                if kind == "csv":
                    yield _csv_line([safe_cell(values[name]) for name in COLUMNS])
                else:
                    yield json.dumps(values, ensure_ascii=False) + "\n"

    name = f"audit-{trial.code if trial else 'system'}.{kind}"
    return Response(
        stream_with_context(rows()),
        content_type=KINDS[kind],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _plain(row: EventRow) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(row, name) for name in COLUMNS}
    values["at"], values["printed_name"] = utc_text(row.at), str(row.printed_name)
    values["detail"] = "" if row.detail is None else json.dumps(row.detail, ensure_ascii=False, sort_keys=True)
    return values


def _csv_line(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _words() -> dict[str, Any]:
    return {
        "action_word": action_word,
        "role_word": role_word,
        "object_word": object_word,
        "object_name": object_name,
        "address": address,
    }
