"""Shipments to a site: which are on their way, and receiving one kit by kit."""

from __future__ import annotations

from flask import redirect, render_template, request, url_for

from rts.access.permissions import Permission
from rts.conduct.receiving_shipments import ReceiveShipment, check_receipt, receive_shipment, too_warm_or_cold
from rts.refusal import FailedRule, Refusal
from rts.reports.shipments import shipment_view, shipments_of_site
from rts.reports.temperatures import records_of_site
from rts.web.forms import STATUS, new_key, run
from rts.web.guard import Pages, store
from rts.web.here import shipment_here, site_here
from rts.web.paging import PAGE_SIZE, page_asked_for, page_of
from rts.web.reviewed import Answer, carried

pages = Pages("receiving", __name__)


@pages.page("/trials/<trial>/sites/<site>/shipments/", Permission.RECEIVE)
def shipments(trial: str, site: str) -> str:
    """The shipments to a site."""
    query = request.args.to_dict()
    with store().transaction() as tx:
        found = shipments_of_site(
            tx, site_here(tx), state=query.get("state", ""), page=page_asked_for(), size=PAGE_SIZE
        )
    return render_template(
        "receiving/shipments.html", shipments=found, page=page_of(found.total), query=query, trial=trial, code=site
    )


@pages.page("/trials/<trial>/sites/<site>/shipments/<shipment>/", Permission.RECEIVE, methods=("GET", "POST"))
def show(trial: str, site: str, shipment: str) -> Answer:
    """One shipment: what it holds, receiving it kit by kit, and how it arrived."""
    with store().transaction() as tx:
        view = shipment_view(tx, shipment_here(tx))
        suspect = too_warm_or_cold(tx, shipment_here(tx)) if view.state == "in_transit" else []
        records = records_of_site(tx, site_here(tx), shipment_here(tx))
    step = request.form.get("step", "form")
    entered = carried(request.form)
    if entered.pop("unanswered", "") == "good":
        step = "all_good"
    failed: tuple[FailedRule, ...] = ()
    status = 200
    outcomes = {kit.number: entered.get(f"outcome-{kit.number}", "") for kit in view.kits}
    if step == "record":
        try:
            run(receive_shipment, ReceiveShipment(trial, shipment, outcomes))
        except Refusal as refusal:
            failed, status, step = refusal.failed, STATUS[refusal.code], "form"
        else:
            return redirect(url_for("receiving.show", trial=trial, site=site, shipment=shipment), 303)
    elif step == "review":
        try:
            with store().transaction() as tx:
                check_receipt(tx, shipment_here(tx), ReceiveShipment(trial, shipment, outcomes))
        except Refusal as refusal:
            failed, status, step = refusal.failed, STATUS[refusal.code], "form"
    elif step == "all_good":
        # A start for the usual case: every kit is still shown, looked at and reviewed.
        usual = dict.fromkeys(outcomes, "good") | dict.fromkeys(suspect, "excursion")
        entered |= {f"outcome-{number}": outcome or usual[number] for number, outcome in outcomes.items()}
        step = "form"
    page = render_template(
        "receiving/shipment.html",
        shipment=view,
        records=records,
        suspect=suspect,
        step="review" if step == "review" else "form",
        entered=entered,
        outcomes=outcomes,
        failed=failed,
        key=new_key(),
        trial=trial,
        code=site,
    )
    return page, status
