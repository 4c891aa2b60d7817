"""The supply of a trial: stock and cover by site, shipments, blinded lots, quarantine. All by blinding group."""

from __future__ import annotations

from typing import Any

from flask import abort, g, render_template, request, url_for
from werkzeug.wrappers import Response

from rts.access.permissions import Permission
from rts.conduct import requesting_shipments
from rts.conduct.closing_shipments import CloseShipment, close_shipment
from rts.conduct.deciding_quarantine import DecideQuarantine, check_decision, decide_quarantine, kit_named
from rts.conduct.recalling_lots import (
    EndRecall,
    RecallLot,
    check_end,
    check_recall,
    end_recall,
    lot_named,
    recall_lot,
)
from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.refusal import say
from rts.reports import depot as depot_reports
from rts.reports import supply as reports
from rts.reports.lots import LotTrace, trace_lot
from rts.reports.temperatures import exposures_of_kit
from rts.web.charts import PlannedCount, expiry_chart, recruitment_chart, stock_chart
from rts.web.depot import shipment_states
from rts.web.forms import Entered
from rts.web.guard import Pages, actor, store
from rts.web.here import shipment_here
from rts.web.language import gettext as _
from rts.web.paging import PAGE_SIZE, page_asked_for, page_of
from rts.web.reviewed import Answer, chosen, required, required_reason, reviewed_deed
from rts.web.saving import table_to_save
from rts.web.temperatures import picture

pages = Pages("supply", __name__)


def may(permission: Permission) -> bool:
    """Whether the person signed in holds `permission` in this trial."""
    return actor().may(permission, g.trial)


@pages.page("/trials/<trial>/supply/", Permission.SUPPLY_VIEW)
def overview(trial: str) -> str:
    """What needs a decision, where stock stands, how it went."""
    with store().transaction() as tx:
        found = reports.overview(tx, g.trial)
        page = page_of(reports.count_supplied_sites(tx, g.trial))
        stocks = reports.site_stocks(tx, g.trial, page=page["number"], size=PAGE_SIZE)
    plan = [PlannedCount(point.day, point.planned, point.low, point.high) for point in found.plan]
    return render_template(
        "supply/overview.html",
        supply=found,
        stocks=stocks,
        page=page,
        query=dict(request.args),
        tasks_now=_tasks(found),
        stock_picture=stock_chart(found.shelf_by_day, found.today),
        expiry_picture=expiry_chart(found.expiries, (_("In depots"), _("At sites")), found.today),
        recruitment_picture=recruitment_chart(plan, found.randomised, found.today, found.definition.target),
        may_request=may(Permission.SHIPMENT_REQUEST),
    )


def _tasks(found: reports.SupplyOverview) -> list[dict[str, Any]]:
    """What the reader can decide now."""
    trial = g.trial.code
    tasks: list[dict[str, Any]] = []
    tasks += [
        {
            "title": _("Depot %(depot)s cannot supply %(site)s", depot=short.depot, site=short.site),
            "url": url_for("supply.lots", trial=trial),
            "detail": _("Release a lot or bring kits to the depot; the order is tried again every night"),
            "day": short.since,
            "today": found.today,
            "tone": "stop",
            "word": _("Not supplied"),
        }
        for short in found.unsupplied
        if may(Permission.SHIPMENT_REQUEST) or may(Permission.LOT_RELEASE)
    ]
    if may(Permission.QUARANTINE_DECIDE) and found.quarantined:
        tasks.append(
            {
                "title": _("Decide on kits in quarantine"),
                "url": url_for("supply.quarantine", trial=trial),
                "detail": _("%(count)d kits wait", count=found.quarantined),
                "tone": "wait",
                "word": _("To decide"),
            }
        )
    if may(Permission.LOT_RELEASE):
        tasks += [
            {
                "title": _("Release blinded lot %(lot)s", lot=lot),
                "url": url_for("supply.release", trial=trial, lot=lot),
                "detail": _("Its kits cannot be sent before"),
                "tone": "planned",
                "word": _("To release"),
            }
            for lot in found.unreleased_lots
        ]
    if may(Permission.SHIPMENT_CLOSE):
        tasks += [
            {
                "title": _("Find out where %(shipment)s is", shipment=late.number),
                "url": url_for("supply.shipment_page", trial=trial, shipment=late.number),
                "detail": late.site,
                "day": late.expected_on,
                "today": found.today,
                "tone": "stop",
                "word": _("Overdue"),
            }
            for late in found.overdue
        ]
    return tasks


@pages.page("/trials/<trial>/supply/shipments/", Permission.SUPPLY_VIEW)
def shipments(trial: str) -> str:
    """Every shipment of the trial, the latest first."""
    state, site = request.args.get("state", ""), request.args.get("site", "")
    states = (state,) if state in shipment_states() else reports.IN_MOTION if state == "in_motion" else ()
    with store().transaction() as tx:
        page = page_of(depot_reports.count_shipments(tx, g.trial, site=site, states=states))
        rows = depot_reports.shipment_rows(tx, g.trial, site=site, states=states, page=page["number"], size=PAGE_SIZE)
        sites = reports.all_sites(tx, g.trial)
    return render_template(
        "supply/shipments.html",
        rows=rows,
        page=page,
        sites=sites,
        states=shipment_states(),
        query=dict(request.args),
        may_request=may(Permission.SHIPMENT_REQUEST),
    )


def _shipment() -> dict[str, Any]:
    with store().transaction() as tx:
        found = depot_reports.shipment_page(tx, shipment_here(tx))
    return {"shipment": found, "states": shipment_states(), "may_close": may(Permission.SHIPMENT_CLOSE)}


@pages.page("/trials/<trial>/supply/shipments/<shipment>/", Permission.SUPPLY_VIEW)
def shipment_page(trial: str, shipment: str) -> str:
    """One shipment and its way."""
    return render_template("supply/shipment.html", done=request.args.get("done", ""), **_shipment())


@pages.page("/trials/<trial>/supply/shipments/<shipment>/close", Permission.SHIPMENT_CLOSE, methods=("GET", "POST"))
def close(trial: str, shipment: str) -> Answer:
    """Cancel a shipment before dispatch, or write it off as lost after it."""
    page = _shipment()
    how = "lost" if page["shipment"].state == "in_transit" else "cancelled"
    return reviewed_deed(
        "supply/close.html",
        close_shipment,
        lambda entered: CloseShipment(trial, shipment, how, required_reason(entered)),
        lambda _done: url_for("supply.shipment_page", trial=trial, shipment=shipment, done=how),
        page | {"how": how},
    )


@pages.page("/trials/<trial>/supply/shipments/request", Permission.SHIPMENT_REQUEST, methods=("GET", "POST"))
def request_shipment(trial: str) -> Answer:
    """Ask for a shipment by hand."""
    with store().transaction() as tx:
        sites = reports.open_sites(tx, g.trial)

    def command_of(entered: Entered) -> requesting_shipments.RequestShipment:
        site = chosen(entered, "site", [code for code, _name in sites], say("Choose an open site."))
        return requesting_shipments.RequestShipment(trial, site, entered.whole("sets"), required_reason(entered))

    return reviewed_deed(
        "supply/request.html",
        requesting_shipments.request_shipment,
        command_of,
        lambda done: url_for("supply.shipment_page", trial=trial, shipment=done.ids["shipment"], done="requested"),
        {"sites": sites, "site_names": dict(sites)},
        check=lambda tx, command: requesting_shipments.check_request(tx, tx.site(g.trial, command.site), command),
    )


@pages.page("/trials/<trial>/supply/lots/", Permission.SUPPLY_VIEW)
def lots(trial: str) -> str:
    """The blinded lots and where their kits are."""
    with store().transaction() as tx:
        rows = depot_reports.lot_rows(tx, g.trial)
    done = next((row for row in rows if row.code == request.args.get("done") and row.released_at), None)
    return render_template("supply/lots.html", rows=rows, done=done, may_release=may(Permission.LOT_RELEASE))


@pages.page("/trials/<trial>/supply/lots/<lot>/release", Permission.LOT_RELEASE, methods=("GET", "POST"))
def release(trial: str, lot: str) -> Answer:
    """Release a blinded lot for shipping."""
    with store().transaction() as tx:
        rows = depot_reports.lot_rows(tx, g.trial)
    row = next((row for row in rows if row.code == lot), None) or abort(404)
    return reviewed_deed(
        "supply/release.html",
        release_lot,
        lambda entered: ReleaseLot(
            trial, lot, required(entered, "document", "document.missing", say("Name the release document."))
        ),
        lambda done: url_for("supply.lots", trial=trial, done=done.ids["lot"]),
        {"lot": row},
    )


def _trace(lot: str, **wanted: Any) -> LotTrace:
    with store().transaction() as tx:
        return trace_lot(tx, lot_named(tx, g.trial, lot), **wanted)


def _filters() -> dict[str, str]:
    return {name: request.args.get(name, "") for name in ("place", "state", "text")}


@pages.page("/trials/<trial>/supply/lots/<lot>/", Permission.SUPPLY_VIEW)
def lot_page(trial: str, lot: str) -> str:
    """Where every kit of a blinded lot is, who was given one, and how a recall goes."""
    found = _trace(lot, **_filters(), page=page_asked_for(), size=PAGE_SIZE)
    return render_template(
        "supply/lot.html",
        lot=found,
        page=page_of(found.total),
        query=request.args.to_dict(),
        may_recall=may(Permission.LOT_RECALL),
        may_release=may(Permission.LOT_RELEASE),
    )


@pages.page("/trials/<trial>/supply/lots/<lot>/kits.csv", Permission.SUPPLY_VIEW)
def lot_csv(trial: str, lot: str) -> Response:
    """The kits of a lot as a table for other programs, in the order of their numbers."""
    found = _trace(lot, **_filters())
    rows = [
        (kit.number, kit.state, kit.place, kit.subject, kit.visit, kit.given_on and kit.given_on.isoformat())
        for kit in found.kits
    ]
    return table_to_save(("kit", "state", "place", "subject", "visit", "given_on"), rows, f"lot-{trial}-{lot}.csv")


@pages.page("/trials/<trial>/supply/lots/<lot>/recall", Permission.LOT_RECALL, methods=("GET", "POST"))
def recall(trial: str, lot: str) -> Answer:
    """Recall a blinded lot: block every kit of it at once."""

    def command_of(entered: Entered) -> RecallLot:
        document = required(entered, "document", "document.missing", say("Name the document that orders the recall."))
        return RecallLot(trial, lot, document, required_reason(entered))

    return reviewed_deed(
        "supply/recall.html",
        recall_lot,
        command_of,
        lambda _done: url_for("supply.lot_page", trial=trial, lot=lot, done="recalled"),
        {"lot": _trace(lot, page=1, size=1)},
        check=lambda tx, command: check_recall(tx, lot_named(tx, g.trial, lot), command),
    )


@pages.page("/trials/<trial>/supply/lots/<lot>/end-recall", Permission.LOT_RECALL, methods=("GET", "POST"))
def end_of_recall(trial: str, lot: str) -> Answer:
    """End a recall: its kits may be used again, or never."""

    def command_of(entered: Entered) -> EndRecall:
        how = chosen(entered, "how", ("lifted", "rejected"), say("Choose whether the kits may be used again."))
        document = required(entered, "document", "document.missing", say("Name the decision document."))
        return EndRecall(trial, lot, how, document)

    return reviewed_deed(
        "supply/end_recall.html",
        end_recall,
        command_of,
        lambda _done: url_for("supply.lot_page", trial=trial, lot=lot, done="ended"),
        {"lot": _trace(lot, page=1, size=1)},
        check=lambda tx, command: check_end(tx, lot_named(tx, g.trial, lot), command),
    )


@pages.page("/trials/<trial>/supply/quarantine/", Permission.SUPPLY_VIEW)
def quarantine(trial: str) -> str:
    """The kits that wait for a quality decision."""
    with store().transaction() as tx:
        page = page_of(reports.count_quarantined(tx, g.trial))
        rows = reports.quarantined_kits(tx, g.trial, page=page["number"], size=PAGE_SIZE)
        done = request.args.get("done", "")
        decision = reports.latest_decision(tx, g.trial, done) if done else None
    return render_template(
        "supply/quarantine.html", rows=rows, page=page, decision=decision, may_decide=may(Permission.QUARANTINE_DECIDE)
    )


@pages.page("/trials/<trial>/supply/quarantine/<kit>/decide", Permission.QUARANTINE_DECIDE, methods=("GET", "POST"))
def decide(trial: str, kit: str) -> Answer:
    """Release a kit from quarantine, or reject it."""
    with store().transaction() as tx:
        found = reports.quarantined_kits(tx, g.trial, kit)
        exposures = exposures_of_kit(tx, g.trial, kit)
    if not found and request.method == "GET":
        abort(404)

    def command_of(entered: Entered) -> DecideQuarantine:
        how = chosen(entered, "decision", ("release", "reject"), say("Choose what is decided."))
        document = required(entered, "document", "document.missing", say("Name the decision document."))
        return DecideQuarantine(trial, kit, how == "release", document)

    return reviewed_deed(
        "supply/decide.html",
        decide_quarantine,
        command_of,
        lambda done: url_for("supply.quarantine", trial=trial, done=done.ids["kit"]),
        {
            "kit": found[0] if found else None,
            "kit_number": kit,
            "exposures": exposures,
            "picture_of": lambda record, zone: picture(record.readings, record.summary, record.rules, zone),
        },
        check=lambda tx, command: check_decision(tx, kit_named(tx, g.trial, kit), command),
    )
