"""The account of a site's kits, what a monitor verified of it, and destruction at sites and depots."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from flask import abort, g, render_template, request, url_for
from werkzeug.wrappers import Response

from rts.access.permissions import Permission
from rts.conduct.destroying_kits import (
    AuthoriseDestruction,
    RecordDestruction,
    authorise_destruction,
    check_authorisation,
    check_record,
    destruction_named,
    record_destruction,
)
from rts.conduct.verifying_kits import MEANING, VerifyKits, kits_at, verify_kits
from rts.refusal import say
from rts.reports.accountability import (
    CHOICES,
    Account,
    AccountLine,
    account_of,
    depot_destructions,
    destroyable_at_depot,
    destruction_page,
    site_destructions,
)
from rts.reports.temperatures import records_of_site
from rts.web.forms import Entered
from rts.web.guard import Pages, actor, store
from rts.web.here import depot_here, may, site_here
from rts.web.language import gettext as _
from rts.web.language import sentence
from rts.web.paging import PAGE_SIZE, page_asked_for, page_of
from rts.web.reviewed import Answer, required, reviewed_deed
from rts.web.saving import table_to_save

pages = Pages("accountability", __name__)

MOST_AT_ONCE = 500
"""As many kits as one form lists: a monitor's day has fewer."""


def choices() -> dict[str, str]:
    """What the list of kits can be limited to."""
    words = {
        "due_back": _("To come back"),
        "to_verify": _("To be verified"),
        "to_destroy": _("Verified, may be destroyed"),
        "with_subjects": _("With subjects"),
        "returned": _("Returned"),
        "destroyed": _("Destroyed, or to be"),
    }
    return {choice: words[choice] for choice in CHOICES}


@pages.page("/trials/<trial>/sites/<site>/account/", Permission.ACCOUNT_VIEW)
def account(trial: str, site: str) -> str:
    """What became of each kit of the site, and whether the numbers agree."""
    query = request.args.to_dict()
    with store().transaction() as tx:
        found = account_of(
            tx,
            site_here(tx),
            choice=query.get("choice", ""),
            text=query.get("text", ""),
            page=page_asked_for(),
            size=PAGE_SIZE,
        )
        destructions = site_destructions(tx, site_here(tx))
        records = records_of_site(tx, site_here(tx))
    return render_template(
        "accountability/account.html",
        account=found,
        destructions=destructions,
        records=records,
        page=page_of(found.total),
        query=query,
        choices=choices(),
        may_verify=may(Permission.KIT_VERIFY),
        may_authorise=actor().may(Permission.DESTRUCTION_AUTHORISE, g.trial),
        may_record=may(Permission.DESTROY),
        trial=trial,
        code=site,
    )


@pages.page("/trials/<trial>/sites/<site>/account.csv", Permission.ACCOUNT_VIEW)
def account_csv(trial: str, site: str) -> Response:
    """The whole account as a table for other programs, in the order of the kit numbers."""
    with store().transaction() as tx:
        found = account_of(tx, site_here(tx), choice=request.args.get("choice", ""), text=request.args.get("text", ""))
    return table_to_save(COLUMNS, map(cells_of, found.lines), f"account-{g.trial.code}-{g.site.code}.csv")


COLUMNS = (
    "kit", "lot", "expiry", "shipment", "received_at", "state", "subject", "visit", "given_on", "units_given",
    "returned_on", "units_returned", "units_taken", "units_expected", "verified_at", "verified_by", "destruction",
    "destroyed_on",
)  # fmt: skip


def cells_of(line: AccountLine) -> Iterable[object]:
    """The cells of a line under `COLUMNS`; moments in UTC."""
    given, taken = line.given, line.given.taken if line.given else None
    values: tuple[Any, ...] = (
        line.number,
        line.lot,
        line.expiry,
        line.shipment,
        line.received_at,
        line.state,
        given and given.subject,
        given and sentence(given.visit),
        given and given.given_on,
        given.held if given else None,
        given and given.returned_on,
        given.left if given else None,
        taken.taken if taken else None,
        taken.expected if taken else None,
        line.verified_at,
        line.verified_by and sentence(line.verified_by),
        line.destruction,
        line.destroyed_on,
    )
    return (value.isoformat() if isinstance(value, date) else value for value in values)


def _ticked(entered: Entered, offered: Iterable[str]) -> tuple[str, ...]:
    return tuple(number for number in offered if entered.text(f"kits-{number}") == "yes")


def _all_of(choice: str) -> Account:
    with store().transaction() as tx:
        return account_of(tx, site_here(tx), choice=choice, page=1, size=MOST_AT_ONCE)


@pages.page("/trials/<trial>/sites/<site>/account/verify", Permission.KIT_VERIFY, methods=("GET", "POST"))
def verify(trial: str, site: str) -> Answer:
    """Compare kits with the site's records, and sign for those that agree."""
    found = _all_of("to_verify")
    offered = [line.number for line in found.lines]
    return reviewed_deed(
        "accountability/verify.html",
        verify_kits,
        lambda entered: VerifyKits(trial, site, _ticked(entered, offered)),
        lambda done: url_for("accountability.account", trial=trial, site=site, verified=done.ids["count"]),
        {"account": found, "trial": trial, "code": site, "meaning": MEANING},
        check=lambda tx, command: kits_at(tx, site_here(tx), command.kits),
        signed=True,
    )


@pages.page(
    "/trials/<trial>/sites/<site>/account/destruction", Permission.DESTRUCTION_AUTHORISE, methods=("GET", "POST")
)
def authorise(trial: str, site: str) -> Answer:
    """Authorise the destruction of kits that a site keeps."""
    found = _all_of("to_destroy")
    offered = [(line.number, line.state, line.expiry) for line in found.lines]

    def command_of(entered: Entered) -> AuthoriseDestruction:
        return AuthoriseDestruction(
            trial, _ticked(entered, [number for number, _, _ in offered]), _document(entered), site=site
        )

    context = {"offered": offered, "broken": found.balance.broken, "trial": trial, "site": site, "depot": ""}
    context["back_url"] = url_for("accountability.account", trial=trial, site=site)
    return reviewed_deed(
        "accountability/authorise.html",
        authorise_destruction,
        command_of,
        lambda done: url_for("accountability.account", trial=trial, site=site, authorised=done.ids["destruction"]),
        context,
        check=lambda tx, command: check_authorisation(tx, site_here(tx), command),
    )


def _document(entered: Entered) -> str:
    return required(entered, "document", "document.missing", say("Name the document that authorises it."))


@pages.page("/trials/<trial>/depots/<depot>/destructions/", Permission.DEPOT_VIEW)
def at_depot(trial: str, depot: str) -> str:
    """Kits of no further use in a depot, and what was destroyed there."""
    with store().transaction() as tx:
        rows = depot_destructions(tx, depot_here(tx))
        kits = destroyable_at_depot(tx, depot_here(tx))
    return render_template(
        "accountability/at_depot.html",
        rows=rows,
        kits=kits,
        may_authorise=actor().may(Permission.DESTRUCTION_AUTHORISE, g.trial),
        may_record=actor().may(Permission.DESTROY, g.trial, depot=g.depot),
        trial=trial,
        depot=depot,
    )


@pages.page(
    "/trials/<trial>/depots/<depot>/destructions/authorise", Permission.DESTRUCTION_AUTHORISE, methods=("GET", "POST")
)
def authorise_at_depot(trial: str, depot: str) -> Answer:
    """Authorise the destruction of kits that a depot keeps."""
    with store().transaction() as tx:
        offered = destroyable_at_depot(tx, depot_here(tx))[:MOST_AT_ONCE]

    def command_of(entered: Entered) -> AuthoriseDestruction:
        return AuthoriseDestruction(
            trial, _ticked(entered, [number for number, _, _ in offered]), _document(entered), depot=depot
        )

    back_url = url_for("accountability.at_depot", trial=trial, depot=depot)
    return reviewed_deed(
        "accountability/authorise.html",
        authorise_destruction,
        command_of,
        lambda done: url_for("accountability.at_depot", trial=trial, depot=depot, authorised=done.ids["destruction"]),
        {"offered": offered, "broken": (), "trial": trial, "site": "", "depot": depot, "back_url": back_url},
        check=lambda tx, command: check_authorisation(tx, depot_here(tx), command),
    )


def _record(destruction: str, back_url: str) -> Answer:
    with store().transaction() as tx:
        found = destruction_named(tx, g.trial, destruction)
        if (found.site_id, found.depot_id) != (g.site and g.site.id, g.depot and g.depot.id):
            abort(404)
        page = destruction_page(tx, found)

    def command_of(entered: Entered) -> RecordDestruction:
        certificate = required(
            entered, "certificate", "certificate.missing", say("Name the certificate of destruction.")
        )
        return RecordDestruction(g.trial.code, destruction, entered.day("destroyed_on"), certificate)

    return reviewed_deed(
        "accountability/record.html",
        record_destruction,
        command_of,
        lambda _done: back_url,
        {"page": page, "back_url": back_url},
        check=lambda tx, command: check_record(tx, g.trial, destruction_named(tx, g.trial, destruction), command),
    )


@pages.page(
    "/trials/<trial>/sites/<site>/destructions/<destruction>/record", Permission.DESTROY, methods=("GET", "POST")
)
def record(trial: str, site: str, destruction: str) -> Answer:
    """Record that kits of the site were destroyed."""
    return _record(destruction, url_for("accountability.account", trial=trial, site=site))


@pages.page(
    "/trials/<trial>/depots/<depot>/destructions/<destruction>/record", Permission.DESTROY, methods=("GET", "POST")
)
def record_at_depot(trial: str, depot: str, destruction: str) -> Answer:
    """Record that kits of the depot were destroyed."""
    return _record(destruction, url_for("accountability.at_depot", trial=trial, depot=depot))
