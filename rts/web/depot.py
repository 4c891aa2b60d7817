"""A depot's pages: what to pick and send today, one shipment at a time, and what lies on the shelves."""

from __future__ import annotations

import re
from typing import Any

from flask import g, redirect, render_template, request, url_for

from rts.access.permissions import Permission
from rts.conduct.picking_shipments import PickShipment, pick_shipment
from rts.conduct.sending_shipments import ShipShipment, check_dispatch, ship_shipment
from rts.randomisation.numbers import normal_number
from rts.refusal import FailedRule, Refusal, say
from rts.reports import depot as reports
from rts.web.forms import STATUS, new_key, run
from rts.web.guard import Pages, actor, store
from rts.web.here import depot_here, shipment_here
from rts.web.language import gettext as _
from rts.web.paging import PAGE_SIZE, page_of
from rts.web.reviewed import Answer, required, reviewed_deed

pages = Pages("depot", __name__)


def shipment_states() -> dict[str, tuple[str, str]]:
    """The words for the states of a shipment, as depot and office say them."""
    return {
        "requested": (_("To pick"), "wait"),
        "picked": (_("Picked"), "busy"),
        "in_transit": (_("On its way"), "busy"),
        "received": (_("Received"), "good"),
        "lost": (_("Lost"), "stop"),
        "cancelled": (_("Cancelled"), "quiet"),
    }


def may_ship() -> bool:
    """Whether the reader works at this depot."""
    return actor().may(Permission.SHIP, g.trial, depot=g.depot)


@pages.page("/trials/<trial>/depots/<depot>/", Permission.DEPOT_VIEW)
def home(trial: str, depot: str) -> str:
    """What the depot must do now."""
    with store().transaction() as tx:
        found = reports.depot_today(tx, g.trial, depot_here(tx))
    tasks = []
    for row in found.waiting:
        is_late, is_today = row.ship_on < found.today, row.ship_on == found.today
        title = (
            _("Pick %(shipment)s for %(site)s", shipment=row.number, site=row.site)
            if row.state == "requested"
            else _("Send %(shipment)s to %(site)s", shipment=row.number, site=row.site)
        )
        tasks.append(
            {
                "title": title,
                "url": url_for("depot.shipment_page", trial=trial, depot=depot, shipment=row.number),
                "detail": _("%(count)d kits; expected there on %(day)s", count=row.kits, day=row.expected_on),
                "day": row.ship_on,
                "today": found.today,
                "tone": "stop" if is_late else "wait" if is_today else "planned",
                "word": _("Late") if is_late else _("Ship today") if is_today else _("Planned"),
            }
        )
    return render_template("depot/home.html", depot=found, tasks_now=tasks)


@pages.page("/trials/<trial>/depots/<depot>/shipments/", Permission.DEPOT_VIEW)
def shipments(trial: str, depot: str) -> str:
    """Every shipment from this depot, the latest first."""
    state = request.args.get("state", "")
    states = (state,) if state in shipment_states() else ()
    with store().transaction() as tx:
        here = depot_here(tx)
        page = page_of(reports.count_shipments(tx, g.trial, depot=here, states=states))
        rows = reports.shipment_rows(tx, g.trial, depot=here, states=states, page=page["number"], size=PAGE_SIZE)
    return render_template(
        "depot/shipments.html", rows=rows, page=page, states=shipment_states(), query=dict(request.args)
    )


@pages.page("/trials/<trial>/depots/<depot>/stock", Permission.DEPOT_VIEW)
def stock(trial: str, depot: str) -> str:
    """What lies in the depot, by blinded lot."""
    with store().transaction() as tx:
        rows = reports.lot_rows(tx, g.trial, depot_here(tx))
    return render_template("depot/stock.html", rows=rows)


def _shipment() -> dict[str, Any]:
    with store().transaction() as tx:
        found = reports.shipment_page(tx, shipment_here(tx))
    return {"shipment": found, "states": shipment_states(), "may_ship": may_ship()}


@pages.page("/trials/<trial>/depots/<depot>/shipments/<shipment>/", Permission.DEPOT_VIEW)
def shipment_page(trial: str, depot: str, shipment: str) -> str:
    """One shipment: where to, which kits, what comes next."""
    return render_template("depot/shipment.html", done=request.args.get("done", ""), **_shipment())


@pages.page("/trials/<trial>/depots/<depot>/shipments/<shipment>/packing-list", Permission.DEPOT_VIEW)
def packing_list(trial: str, depot: str, shipment: str) -> str:
    """The sheet that goes into the box."""
    return render_template("depot/packing_list.html", **_shipment())


def _back(done: str) -> str:
    return url_for("depot.shipment_page", trial=g.trial.code, depot=g.depot.code, shipment=g.shipment.number, done=done)


def _numbers_in(text: str) -> list[str]:
    """The kit numbers in what a scanner or a person entered: one, or several apart by commas, semicolons or lines."""
    return [number for part in re.split(r"[,;\r\n]+", text) if (number := normal_number(part))]


@pages.page("/trials/<trial>/depots/<depot>/shipments/<shipment>/pick", Permission.SHIP, methods=("GET", "POST"))
def pick(trial: str, depot: str, shipment: str) -> Answer:
    """Scan every kit into the box, then confirm the box. Each scan is a form of its own, so it works without a script;
    what is in the box so far travels with the form.
    """
    page = _shipment()
    wanted = page["shipment"].kits
    in_box = [kit for kit in dict.fromkeys(_numbers_in(request.form.get("in_box", ""))) if kit in wanted]
    failed: list[FailedRule] = []
    status = 200
    if request.form.get("step") == "confirm":
        try:
            run(pick_shipment, PickShipment(trial, shipment, tuple(in_box)))
        except Refusal as refusal:
            failed, status = list(refusal.failed), STATUS[refusal.code]
        else:
            return redirect(_back("picked"), 303)
    elif request.method == "POST":
        scanned = _numbers_in(request.form.get("kit", ""))
        if not scanned:
            failed.append(FailedRule("kit.none", say("Scan a kit, or type its number."), "kit"))
        for kit in scanned:
            if kit not in wanted:
                message = say("Kit %(kit)s does not belong to this shipment. Put it aside.", kit=kit[:20])
                failed.append(FailedRule("kit.not_in_shipment", message, "kit"))
            elif kit in in_box:
                failed.append(
                    FailedRule("kit.scanned_twice", say("Kit %(kit)s is in the box already.", kit=kit), "kit")
                )
            else:
                in_box.append(kit)
        status = 422 if failed else 200
    page |= {"in_box": sorted(in_box), "missing": [kit for kit in wanted if kit not in in_box]}
    return render_template("depot/pick.html", failed=failed, key=new_key(), **page), status


@pages.page("/trials/<trial>/depots/<depot>/shipments/<shipment>/ship", Permission.SHIP, methods=("GET", "POST"))
def ship(trial: str, depot: str, shipment: str) -> Answer:
    """Hand the box to the carrier."""
    return reviewed_deed(
        "depot/ship.html",
        ship_shipment,
        lambda entered: ShipShipment(
            trial,
            shipment,
            required(entered, "carrier", "carrier.missing", say("Name the carrier.")),
            entered.text("tracking", 80),
            entered.text("logger", 80),
        ),
        lambda _done: _back("shipped"),
        _shipment(),
        check=lambda tx, command: check_dispatch(tx, shipment_here(tx), command),
    )
