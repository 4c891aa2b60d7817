"""The pharmacist's deeds: prepare a visit, hand a kit over by its number, replace a kit, report one from the shelf."""

from __future__ import annotations

from typing import Any

from flask import abort, g, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound

from rts.access.permissions import Permission
from rts.conduct.handing_over import HandOver, hand_over
from rts.conduct.kits_at_site import FATES
from rts.conduct.perform import Done
from rts.conduct.places import place_of
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.replacing_kits import ReplaceKit, check_replacement, replace_kit
from rts.conduct.reporting_kits import ReportKit, check_report, report_kit
from rts.conduct.returning_kits import (
    ReturnKit,
    WriteOffKit,
    check_return,
    check_write_off,
    return_kit,
    write_off_kit,
)
from rts.randomisation.numbers import normal_number
from rts.refusal import Refusal, say
from rts.reports.accountability import kits_given_to
from rts.reports.people import Contact, contacts
from rts.reports.stock import kit_life
from rts.reports.subjects import subject_life
from rts.store.transaction import Transaction
from rts.web.forms import STATUS, Entered, new_key, run
from rts.web.guard import Pages, store
from rts.web.here import site_here, subject_here
from rts.web.language import gettext as _
from rts.web.reviewed import Answer, chosen, required_reason, reviewed_deed

pages = Pages("dispensing", __name__)

WHAT_HAPPENED = say("Say what happened to the kit.")


@pages.page("/trials/<trial>/subjects/<subject>/visits/<visit>/", Permission.DISPENSE, methods=("GET", "POST"))
def visit(trial: str, subject: str, visit: str) -> Answer:
    """One visit of a subject: set its kits aside, then hand them over by number."""
    said: Refusal | None = None
    if request.method == "POST":
        entered = Entered(request.form)
        try:
            entered.check()
            if request.form.get("step") == "hand_over":
                run(
                    hand_over,
                    HandOver(trial, subject, visit, entered.text("kit", 60), entered.text("window_reason")),
                )
            else:
                run(prepare_visit, PrepareVisit(trial, subject, visit, entered.text("window_reason")))
        except Refusal as refusal:
            if "kit.none_suitable" in refusal.rules:
                return _without_kit(refusal, trial, subject)
            said = refusal
        else:
            return redirect(url_for("dispensing.visit", trial=trial, subject=subject, visit=visit), 303)
    with store().transaction() as tx:
        life = subject_life(tx, subject_here(tx))
        found = life.visit(visit)
        call = _whom_to_call(tx) if found is not None and found.state == "lacking" else []
    if found is None:
        # A visit that a version now in force leaves out has no page to show the refusal on.
        raise said or NotFound
    page = render_template(
        "dispensing/visit.html",
        life=life,
        visit=found,
        call=call,
        failed=said.failed if said else (),
        entered=request.form,
        key=new_key(),
        trial=trial,
        site=g.site.code,
    )
    return page, STATUS[said.code] if said else 200


def _without_kit(refusal: Refusal, trial: str, subject: str) -> Answer:
    """The calm page for a shelf without a suitable kit: whom to call, in the same words whichever kit is short."""
    with store().transaction() as tx:
        call = _whom_to_call(tx)
    page = render_template("dispensing/no_kit.html", refusal=refusal, call=call, trial=trial, subject=subject)
    return page, STATUS[refusal.code]


def _whom_to_call(tx: Transaction) -> list[tuple[str, Contact]]:
    return [(_("Supply manager"), contact) for contact in contacts(tx, g.trial, Permission.SHIPMENT_REQUEST)]


@pages.page(
    "/trials/<trial>/subjects/<subject>/visits/<visit>/replace/<kit>", Permission.DISPENSE, methods=("GET", "POST")
)
def replace(trial: str, subject: str, visit: str, kit: str) -> Answer:
    """Give up a kit that was lost, damaged, or lasts no longer long enough, for another if there is one."""
    with store().transaction() as tx:
        life = subject_life(tx, subject_here(tx))
    found = life.visit(visit) or abort(404)
    old = next((one for one in found.live_kits if one.number == normal_number(kit)), None)
    if old is None and request.method == "GET":
        abort(404)

    def command_of(entered: Entered) -> ReplaceKit:
        return ReplaceKit(
            trial,
            subject,
            kit,
            chosen(entered, "fate", {*FATES, "expired"}, WHAT_HAPPENED),
            required_reason(entered),
        )

    def replaced_url(_done: Done) -> str:
        return url_for("dispensing.visit", trial=trial, subject=subject, visit=visit)

    def check(tx: Transaction, command: ReplaceKit) -> None:
        check_replacement(tx, place_of(tx, site_here(tx)), subject_here(tx), command)

    context = {"life": life, "visit": found, "old": old, "trial": trial}
    return reviewed_deed("dispensing/replace.html", replace_kit, command_of, replaced_url, context, check=check)


def _given_kit(kit: str) -> dict[str, Any]:
    """A kit that was handed over to the subject of this page, as forms about it show it; 404 for any other."""
    with store().transaction() as tx:
        subject, place = subject_here(tx), place_of(tx, site_here(tx))
        line = next((one for one in kits_given_to(tx, subject) if one.number == normal_number(kit)), None) or abort(404)
        return {
            "line": line,
            "given": line.given,
            "unit": place.definition.unit,
            "today": place.today,
            "trial": g.trial.code,
            "subject": subject.code,
        }


def _subject_url(done: Done) -> str:
    return url_for("subjects.show", trial=g.trial.code, subject=g.subject.code, done=done.deed)


@pages.page("/trials/<trial>/subjects/<subject>/kits/<kit>/return", Permission.DISPENSE, methods=("GET", "POST"))
def return_page(trial: str, subject: str, kit: str) -> Answer:
    """Record that a kit came back and what is left in it, or count it again."""
    context = _given_kit(kit)
    is_counted = context["given"].held is not None

    def command_of(entered: Entered) -> ReturnKit:
        units = entered.whole("units") if is_counted else None
        return ReturnKit(trial, subject, kit, units, entered.day("returned_on"), entered.text("remark"))

    def check(tx: Transaction, command: ReturnKit) -> None:
        check_return(tx, place_of(tx, site_here(tx)), subject_here(tx), command)

    return reviewed_deed("dispensing/return.html", return_kit, command_of, _subject_url, context, check=check)


@pages.page("/trials/<trial>/subjects/<subject>/kits/<kit>/write-off", Permission.DISPENSE, methods=("GET", "POST"))
def write_off(trial: str, subject: str, kit: str) -> Answer:
    """Record that a kit will not come back."""

    def command_of(entered: Entered) -> WriteOffKit:
        return WriteOffKit(trial, subject, kit, required_reason(entered))

    def check(tx: Transaction, command: WriteOffKit) -> None:
        check_write_off(tx, subject_here(tx), command)

    return reviewed_deed(
        "dispensing/write_off.html", write_off_kit, command_of, _subject_url, _given_kit(kit), check=check
    )


@pages.page("/trials/<trial>/sites/<site>/stock/<kit>/report", Permission.SITE_STOCK, methods=("GET", "POST"))
def report(trial: str, site: str, kit: str) -> Answer:
    """Report a kit on the shelf as lost or damaged."""
    with store().transaction() as tx:
        found = kit_life(tx, site_here(tx), kit) or abort(404)

    def command_of(entered: Entered) -> ReportKit:
        return ReportKit(
            trial,
            site,
            kit,
            chosen(entered, "fate", FATES, WHAT_HAPPENED),
            required_reason(entered),
        )

    def reported_url(done: Done) -> str:
        return url_for("site.kit", trial=trial, site=site, kit=done.ids["kit"])

    def check(tx: Transaction, command: ReportKit) -> None:
        check_report(tx, site_here(tx), command)

    context = {"kit": found, "trial": trial, "code": site}
    return reviewed_deed("dispensing/report.html", report_kit, command_of, reported_url, context, check=check)
