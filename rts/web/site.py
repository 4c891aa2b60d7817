"""A site's first page, its stock, and the life of one kit."""

from __future__ import annotations

from datetime import date

from flask import abort, g, render_template, request

from rts.access.permissions import Permission
from rts.conduct.places import place_of
from rts.reports.site_home import site_today
from rts.reports.stock import ExpiryLine, kit_life, kit_rows, stock_by_expiry
from rts.reports.temperatures import exposures_of_kit
from rts.web.charts import ExpiryChart, expiry_chart
from rts.web.guard import Pages, store
from rts.web.here import may, site_here
from rts.web.language import gettext as _
from rts.web.paging import PAGE_SIZE, page_asked_for, page_of

pages = Pages("site", __name__)


@pages.page("/trials/<trial>/sites/<site>/", Permission.SITE_VIEW)
def home(trial: str, site: str) -> str:
    """What must be done at the site now."""
    with store().transaction() as tx:
        found = site_today(tx, site_here(tx))
    rights = {
        "screen": may(Permission.SCREEN),
        "randomise": may(Permission.RANDOMISE),
        "end": may(Permission.END_TREATMENT),
        "dispense": may(Permission.DISPENSE),
        "receive": may(Permission.RECEIVE),
        "stock": may(Permission.SITE_STOCK),
        "account": may(Permission.ACCOUNT_VIEW),
    }
    return render_template(
        "site/home.html", site=found, may=rights, chart=stock_chart(found.stock, found.today), trial=trial, code=site
    )


def stock_chart(lines: tuple[ExpiryLine, ...], today: date) -> ExpiryChart:
    """The kits on hand by month of expiry: available, set aside, quarantined. All types of a group together."""
    by_month: dict[date, tuple[int, int, int]] = {}
    for line in lines:
        month = line.expiry.replace(day=1)
        before = by_month.get(month, (0, 0, 0))
        by_month[month] = (
            before[0] + line.available,
            before[1] + line.assigned,
            before[2] + line.quarantined,
        )
    return expiry_chart(sorted(by_month.items()), (_("Available"), _("Set aside"), _("Quarantined")), today)


@pages.page("/trials/<trial>/sites/<site>/stock/", Permission.SITE_STOCK)
def stock(trial: str, site: str) -> str:
    """The kits at the site, by number."""
    query = {"state": "on_hand", **request.args.to_dict()}
    with store().transaction() as tx:
        found = kit_rows(
            tx,
            site_here(tx),
            state=query["state"],
            text=query.get("text", ""),
            sort=query.get("sort", ""),
            page=page_asked_for(),
            size=PAGE_SIZE,
        )
        lines = stock_by_expiry(tx, site_here(tx))
        today = place_of(tx, site_here(tx)).today
    return render_template(
        "site/stock.html",
        kits=found,
        page=page_of(found.total),
        lines=lines,
        chart=stock_chart(lines, today),
        query=query,
        today=today,
        trial=trial,
        code=site,
    )


@pages.page("/trials/<trial>/sites/<site>/stock/<kit>/", Permission.SITE_STOCK)
def kit(trial: str, site: str, kit: str) -> str:
    """The life of one kit."""
    with store().transaction() as tx:
        found = kit_life(tx, site_here(tx), kit) or abort(404)
        exposures = exposures_of_kit(tx, g.trial, kit)
        storage = place_of(tx, site_here(tx)).definition.storage
    return render_template(
        "site/kit.html",
        kit=found,
        exposures=exposures,
        storage=storage,
        trial=trial,
        code=site,
        may_report=found.state == "available",
    )
