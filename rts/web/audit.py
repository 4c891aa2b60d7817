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
from flask_babel import gettext as _

from rts.access.permissions import Permission, Role
from rts.clock import utc_text
from rts.conduct.checkpointing import MakeCheckpoints, make_checkpoints
from rts.conduct.perform import perform
from rts.conduct.reading_sealed import OpenedDetail, ReadSealedDetail, read_sealed_detail
from rts.refusal import FailedRule, Refusal
from rts.reports.accounts import unblinded_people
from rts.reports.audit_trail import (
    EventRow,
    Wanted,
    event_page,
    safe_cell,
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
from rts.states import LIST_STATES, STATES
from rts.store.tables import Trial
from rts.web.forms import Entered, new_key, run
from rts.web.frame import sentence
from rts.web.guard import Pages, actor, store
from rts.web.rooms import role_name
from rts.web.words import FATES, SEXES

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
        facts_of=facts_of(detail or {}),
        changes=changes_of(detail or {}),
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
    values["at"] = utc_text(row.at)
    values["detail"] = "" if row.detail is None else json.dumps(row.detail, ensure_ascii=False, sort_keys=True)
    return values


def _csv_line(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _words() -> dict[str, Any]:
    return {"action_word": action_word, "role_word": role_word, "object_word": object_word, "address": address}


def role_word(role: str) -> str:
    """The name of the role in which someone acted; empty for none."""
    return role_name(role) if role in set(Role) else ""


def object_word(kind: str) -> str:
    """What kind of thing an event is about."""
    return {
        "subject": _("Subject"),
        "kit": _("Kit"),
        "shipment": _("Shipment"),
        "site": _("Site"),
        "lot": _("Lot"),
        "list": _("List"),
        "list_id": _("List"),
        "person": _("Account"),
        "event": _("Event"),
        "trial": _("Trial"),
        "definition": _("Definition"),
        "installation": _("System"),
        "deed": _("Deed"),
    }.get(kind, kind)


def action_word(action: str) -> str:
    """What happened, in words."""
    return (action_words(of_trial=True) | action_words(of_trial=False)).get(action, action)


def action_words(*, of_trial: bool) -> dict[str, str]:
    """Every kind of event of a trial's trail, or of the installation's, in words."""
    if not of_trial:
        return {
            "installation.set_up": _("System set up"),
            "clock.moved": _("Clock moved"),
            "clock.set": _("Clock set"),
            "audit.checkpointed": _("Checkpoint signed"),
            "person.added": _("Account added"),
            "role.granted": _("Role granted"),
            "role.ended": _("Role ended"),
            "account.locked": _("Account locked"),
            "account.unlocked": _("Account unlocked"),
            "account.closed": _("Account closed"),
            "account.confirmed": _("Account confirmed"),
            "password.wrong": _("Wrong password"),
            "password.changed": _("Password changed"),
            "password.reset": _("Password reset"),
            "session.started": _("Signed in"),
            "session.refused": _("Sign-in refused"),
            "sign_in.unknown_name": _("Unknown user name tried"),
            "session.ended": _("Signed out"),
            "notice.undelivered": _("Mail not delivered"),
            "own_key.registered": _("Own key registered"),
            "own_key.retired": _("Own key retired"),
            "root_key.added": _("Root key added"),
            "root_key.rotated": _("Root key rotated"),
            "root_key.retired": _("Root keys retired"),
            "audit_key.added": _("Audit key added"),
            "refused": _("Refused"),
        }
    return {
        "definition.loaded": _("Definition loaded"),
        "definition.put_in_force": _("Definition put in force"),
        "definition.plan_changed": _("Plan of a definition changed"),
        "definition.plan_withdrawn": _("Plan of a definition withdrawn"),
        "definition.restricted_read": _("Restricted definition read"),
        "list.plans_read": _("Plans of the lists read"),
        "lists.checked": _("Lists checked for low entries"),
        "calendars.running_out": _("Calendar runs out"),
        "notice.undelivered": _("Mail not delivered"),
        "list.specified": _("List specified"),
        "list.specification_read": _("Specification of a list read"),
        "list.seed_share_committed": _("Share of a seed committed to"),
        "list.seed_share_revealed": _("Share of a seed revealed"),
        "list.generated": _("List generated"),
        "list.reviewed": _("List reviewed"),
        "list.approved": _("List approved"),
        "list.activated": _("List activated"),
        "list.withdrawn": _("List withdrawn"),
        "list.closed": _("List closed"),
        "list.release_asked": _("Release of a list asked for"),
        "list.released": _("List released"),
        "list.revealed": _("List revealed"),
        "list.entry_proved": _("Entry of a list proved"),
        "subject.stratum_corrected": _("Stratification value corrected"),
        "subject.randomised_in_error": _("Randomised in error"),
        "list.recipients": _("Recipients of a list changed"),
        "lot.released": _("Lot released"),
        "site.gate_passed": _("Site gate passed"),
        "site.opened": _("Site opened"),
        "site.closed": _("Site closed"),
        "subject.screened": _("Subject screened"),
        "subject.screen_failed": _("Screening failed"),
        "subject.randomised": _("Subject randomised"),
        "allocation.taken": _("Allocation taken"),
        "visit.prepared": _("Visit prepared"),
        "kits.picked": _("Kits chosen"),
        "kit.dispensed": _("Kit dispensed"),
        "kit.replaced": _("Kit replaced"),
        "kit.mismatch": _("Wrong kit refused"),
        "kit.damaged": _("Kit damaged"),
        "kit.lost": _("Kit lost"),
        "kit.released_from_quarantine": _("Kit released from quarantine"),
        "kit.rejected": _("Kit rejected"),
        "kits.expired": _("Kits expired"),
        "subject.withdrawn": _("Subject withdrawn"),
        "subject.completed": _("Subject completed"),
        "subject.unblinded": _("Code broken"),
        "subject.unblinding_looked_at": _("Broken code looked at again"),
        "shipment.asked_for": _("Shipment asked for"),
        "shipment.requested": _("Shipment requested"),
        "shipment.picked": _("Shipment picked"),
        "shipment.shipped": _("Shipment sent"),
        "shipment.received": _("Shipment received"),
        "shipment.lost": _("Shipment lost"),
        "shipment.cancelled": _("Shipment cancelled"),
        "shipment.overdue": _("Shipment overdue"),
        "resupply.surveyed": _("Resupply night run"),
        "site.resupplied": _("Site looked at for resupply"),
        "detail.opened": _("Full record of an event read"),
        "refused": _("Refused"),
    }


def facts_of(detail: dict[str, Any]) -> list[tuple[str, str]]:
    """A detail's facts but for what changed, as (name, value)."""
    return [
        (fact_word(name), _value(name, value))
        for name, value in detail.items()
        if name not in {"before", "after"} and value not in ("", None)
    ]


def changes_of(detail: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What changed, as (name, before, after)."""
    before, after = detail.get("before", {}), detail.get("after", {})
    return [
        (fact_word(name), _value(name, before.get(name)), _value(name, after.get(name)))
        for name in sorted({*before, *after})
    ]


def fact_word(name: str) -> str:
    """What a fact of a detail is called; the name itself for one without a word."""
    words = {
        "reason": _("Reason"),
        "state": _("State"),
        "trial": _("Trial"),
        "site": _("Site"),
        "sites": _("Sites"),
        "depot": _("Depot"),
        "subject": _("Subject"),
        "visit": _("Visit"),
        "kit": _("Kit"),
        "kits": _("Kits"),
        "new_kits": _("New kits"),
        "kits_quarantined": _("Kits quarantined"),
        "possible_leak": _("Possible leak"),
        "fate": _("Fate"),
        "outcomes": _("Outcomes"),
        "logger": _("Logger"),
        "carrier": _("Carrier"),
        "tracking": _("Tracking"),
        "sets": _("Sets"),
        "expiry": _("Expiry"),
        "ship_on": _("Ship on"),
        "due_on": _("Due on"),
        "expected_on": _("Expected on"),
        "run_date": _("Run date"),
        "in_need": _("In need"),
        "on": _("On"),
        "at": _("At"),
        "consent_on": _("Consent on"),
        "year_of_birth": _("Year of birth"),
        "sex": _("Sex"),
        "previous": _("Previous code"),
        "adverse_event": _("Adverse event"),
        "gate": _("Gate"),
        "passed_on": _("Passed on"),
        "document": _("Document"),
        "list": _("List"),
        "entries": _("Entries"),
        "unused": _("Unused"),
        "told": _("Told"),
        "stratum": _("Stratum"),
        "position": _("Position"),
        "arm": _("Arm"),
        "purpose": _("Purpose"),
        "commitment": _("Commitment"),
        "definition": _("Definition"),
        "version": _("Version"),
        "file_digest": _("File digest"),
        "times_generated": _("Times generated"),
        "opened": _("Opened values"),
        "digest": _("Digest"),
        "restricted_digest": _("Restricted digest"),
        "in_force_from": _("In force from"),
        "protocol_version": _("Protocol version"),
        "known_until": _("Known until"),
        "counts": _("Counts"),
        "role": _("Role"),
        "grant": _("Grant"),
        "printed_name": _("Printed name"),
        "password_given_by": _("Password given by"),
        "organisation": _("Organisation"),
        "address": _("Address"),
        "attempts": _("Attempts"),
        "emergency_only": _("Emergency only"),
        "environment": _("Environment"),
        "offset": _("Offset"),
        "deed": _("Deed"),
        "code": _("Code"),
        "rules": _("Rules"),
    }
    return words.get(name) or name.replace("_", " ").capitalize()


def _value(name: str, value: Any) -> str:
    """A fact's value in words, when its codes have any."""
    if name == "state" and value in (states := {**LIST_STATES, **STATES}):
        return sentence(states[value])
    if name == "role" and value in set(Role):
        return role_name(value)
    if name in {"sex", "fate"}:
        return str((SEXES if name == "sex" else FATES).get(value, value))
    return _text(value)


def _text(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "–"
    if isinstance(value, dict):
        return "; ".join(f"{name.replace('_', ' ')}: {_text(item)}" for name, item in value.items()) or "–"
    return str(value)
