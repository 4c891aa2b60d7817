"""A site's subjects: list, life, screening, randomisation, end of treatment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import abort, g, redirect, render_template, request, url_for

from rts.access.permissions import Permission
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.perform import Done
from rts.conduct.places import Place, place_of
from rts.conduct.randomising import MEANING, RandomiseSubject, failed_rules, randomise_subject
from rts.conduct.remarking_allocations import (
    CorrectStratum,
    MarkRandomisedInError,
    allocated_under,
    correct_stratum,
    mark_randomised_in_error,
    values_on_record,
)
from rts.conduct.screening import (
    SEXES,
    FailScreening,
    ScreenSubject,
    check_screening,
    fail_screening,
    screen_subject,
)
from rts.refusal import FailedRule, Refusal, say
from rts.reports.accountability import kits_given_to
from rts.reports.people import contacts
from rts.reports.subjects import randomisation_record, stratification, subject_life, subject_rows
from rts.store.tables import Subject
from rts.store.transaction import Transaction
from rts.translating import known_language
from rts.trial.eligibility import is_edge_age, possible_ages
from rts.web.forms import STATUS, Entered, new_key, run
from rts.web.guard import Pages, store
from rts.web.here import may, site_here, subject_here
from rts.web.language import gettext as _
from rts.web.language import language
from rts.web.paging import PAGE_SIZE, page_asked_for, page_of
from rts.web.reviewed import Answer, carried, chosen, required_reason, reviewed_deed

pages = Pages("subjects", __name__)


@pages.page("/trials/<trial>/sites/<site>/subjects/", Permission.SITE_VIEW)
def subject_list(trial: str, site: str) -> str:
    """The subjects of a site."""
    query = request.args.to_dict()
    with store().transaction() as tx:
        found = subject_rows(
            tx,
            site_here(tx),
            state=query.get("state", ""),
            text=query.get("text", ""),
            sort=query.get("sort", ""),
            page=page_asked_for(),
            size=PAGE_SIZE,
        )
        today = place_of(tx, site_here(tx)).today
    return render_template(
        "subjects/list.html",
        subjects=found.rows,
        page=page_of(found.total),
        query=query,
        today=today,
        may_screen=may(Permission.SCREEN) and g.site.state == "open",
        trial=trial,
        code=site,
    )


@pages.page("/trials/<trial>/subjects/<subject>/", Permission.SITE_VIEW)
def show(trial: str, subject: str) -> str:
    """The life of one subject, and what comes next."""
    with store().transaction() as tx:
        life = subject_life(tx, subject_here(tx))
        given = kits_given_to(tx, subject_here(tx))
        unit = place_of(tx, site_here(tx)).definition.unit
    rights = {
        "screen": may(Permission.SCREEN),
        "randomise": may(Permission.RANDOMISE),
        "end": may(Permission.END_TREATMENT),
        "dispense": may(Permission.DISPENSE),
        "stock": may(Permission.SITE_STOCK),
    }
    return render_template(
        "subjects/subject.html", life=life, given=given, unit=unit, may=rights, trial=trial, site=g.site.code
    )


@pages.page("/trials/<trial>/sites/<site>/subjects/screen", Permission.SCREEN, methods=("GET", "POST"))
def screen(trial: str, site: str) -> Answer:
    """Register a person for screening."""

    def command_of(entered: Entered) -> ScreenSubject:
        return ScreenSubject(
            trial,
            site,
            entered.day("consent_on"),
            entered.whole("year_of_birth"),
            chosen(entered, "sex", SEXES, say("Choose female or male.")),
            entered.text("previous", 40).upper(),
            entered.text("is_new_person") == "yes",
        )

    with store().transaction() as tx:
        failed = subject_rows(tx, site_here(tx), state="screen_failed", sort="-code", size=200)
        today = place_of(tx, site_here(tx)).today
    context = {"trial": trial, "code": site, "earlier": [(row.code, row.code) for row in failed.rows], "today": today}

    def check(tx: Transaction, command: ScreenSubject) -> None:
        check_screening(tx, site_here(tx), command)

    return reviewed_deed("subjects/screen.html", screen_subject, command_of, _screened_url, context, check=check)


def _screened_url(done: Done) -> str:
    return url_for("subjects.show", trial=done.ids["trial"], subject=done.ids["subject"], done="screened")


@pages.page("/trials/<trial>/subjects/<subject>/screening-failure", Permission.SCREEN, methods=("GET", "POST"))
def screening_failure(trial: str, subject: str) -> Answer:
    """Record that a screened subject will not be randomised."""

    def command_of(entered: Entered) -> FailScreening:
        return FailScreening(trial, subject, required_reason(entered))

    context = {"trial": trial, "subject": subject}
    return reviewed_deed("subjects/screening_failure.html", fail_screening, command_of, _subject_url, context)


def _subject_url(done: Done) -> str:
    return url_for("subjects.show", trial=done.ids["trial"], subject=done.ids["subject"], done=done.deed)


@pages.page("/trials/<trial>/subjects/<subject>/end-treatment", Permission.END_TREATMENT, methods=("GET", "POST"))
def end(trial: str, subject: str) -> Answer:
    """End a subject's treatment: completed or withdrawn."""

    def command_of(entered: Entered) -> EndTreatment:
        how = chosen(entered, "how", ("withdrawn", "completed"), say("Choose withdrawn or completed."))
        reason = required_reason(entered) if how == "withdrawn" else entered.text("reason")
        return EndTreatment(trial, subject, how, reason)

    with store().transaction() as tx:
        life = subject_life(tx, subject_here(tx))
    held = [kit.number for visit in life.visits for kit in visit.live_kits if kit.state == "assigned"]
    context = {"trial": trial, "life": life, "held": held}
    return reviewed_deed("subjects/end_treatment.html", end_treatment, command_of, _subject_url, context)


@pages.page("/trials/<trial>/subjects/<subject>/correct-stratum", Permission.RANDOMISE, methods=("GET", "POST"))
def correct(trial: str, subject: str) -> Answer:
    """Record that a stratification value was entered wrongly; the allocation stays as it is."""
    with store().transaction() as tx:
        found = subject_here(tx)
        if found.randomised_at is None:
            abort(404)
        definition = allocated_under(tx, found)
        on_record = values_on_record(tx, found)

    def command_of(entered: Entered) -> CorrectStratum:
        values = {factor.code: entered.number(f"values.{factor.code}") for factor in definition.factors}
        return CorrectStratum(trial, subject, values, required_reason(entered))

    shown = {f"values.{code}": f"{value:g}" for code, value in on_record.items()}
    context = {"trial": trial, "subject": subject, "factors": definition.factors, "shown": shown}
    return reviewed_deed("subjects/correct_stratum.html", correct_stratum, command_of, _subject_url, context)


@pages.page("/trials/<trial>/subjects/<subject>/randomised-in-error", Permission.RANDOMISE, methods=("GET", "POST"))
def in_error(trial: str, subject: str) -> Answer:
    """Record that a subject should not have been randomised; number and entry stay used."""

    def command_of(entered: Entered) -> MarkRandomisedInError:
        return MarkRandomisedInError(trial, subject, required_reason(entered))

    context = {"trial": trial, "subject": subject}
    return reviewed_deed(
        "subjects/randomised_in_error.html", mark_randomised_in_error, command_of, _subject_url, context
    )


# --- randomisation -------------------------------------------------------------------------------------------------

MENDABLE = ("eligibility.unanswered", "eligibility.age_edge", "stratum.", "form.")
"""Rules that name a field left open or mistyped: the form comes back. Any other refuses."""

WANTS_SUPPLY = frozenset({"stock.gate"})


@pages.page("/trials/<trial>/subjects/<subject>/randomise", Permission.RANDOMISE, methods=("GET", "POST"))
def randomise(trial: str, subject: str) -> Answer:
    """Randomise: checklist and values, review, signature."""
    step = request.form.get("step", "")
    with store().transaction() as tx:
        place = place_of(tx, site_here(tx))
        found = subject_here(tx)
        if found.state != "screened" and step != "record":
            target = "subjects.confirmation" if found.randomised_at else "subjects.show"
            return redirect(url_for(target, trial=trial, subject=subject), 303)
        context = _randomising(place, found)
        if request.method == "GET" or step == "edit":
            return _form(context, carried(request.form))
        entered = Entered(request.form)
        command = _randomise_command(entered, place, trial, subject)
        failed = (*entered.failed, *_on_this_form(failed_rules(tx, place, g.trial, found, command)))
        # Asked of the review too: a version that has come into force meanwhile may ask something else.
        if found.state == "screened" and any(rule.rule.startswith(MENDABLE) for rule in failed):
            return _form(context, carried(request.form), failed, 422)
        if step != "record":
            if failed:
                return _randomisation_refused(tx, context, carried(request.form), failed)
            return _review(context, carried(request.form), command)
    try:
        entered.check()
        run(randomise_subject, command, signed=True)
    except Refusal as refusal:
        if refusal.code == "wrong_password":
            return _review(context, carried(request.form), command, refusal.failed, STATUS[refusal.code])
        failed = _on_this_form(refusal.failed)
        if any(rule.rule.startswith(MENDABLE) for rule in failed):
            return _form(context, carried(request.form), failed, 422)
        with store().transaction() as tx:
            return _randomisation_refused(tx, context, carried(request.form), failed, STATUS[refusal.code])
    return redirect(url_for("subjects.confirmation", trial=trial, subject=subject), 303)


def _randomise_command(entered: Entered, place: Place, trial: str, subject: str) -> RandomiseSubject:
    """What was entered; what was left open is left out, so that its rule names it."""
    definition = place.definition
    answers = {
        criterion.code: answer
        for criterion in definition.criteria
        if criterion.rule == "confirm" and (answer := entered.yes_or_no(f"answers.{criterion.code}")) is not None
    }
    values = {
        factor.code: entered.number(f"values.{factor.code}")
        for factor in definition.factors
        if entered.text(f"values.{factor.code}", 30)
    }
    # That of the page that was signed: in another window the person may have chosen another since.
    shown_in = known_language(entered.text("shown_in", 16) or language())
    return RandomiseSubject(trial, subject, answers, values, entered.text("edge_confirmed") == "yes", shown_in)


def _on_this_form(failed: Iterable[FailedRule]) -> tuple[FailedRule, ...]:
    """`failed` with the names of fields that stand on another form taken away."""
    return tuple(
        rule
        if rule.field.startswith(("answers.", "values.", "edge_confirmed", "password"))
        else FailedRule(rule.rule, rule.message)
        for rule in failed
    )


def _randomising(place: Place, subject: Subject) -> dict[str, Any]:
    """What the form and the review show of the definition and the subject."""
    ages = []
    for criterion in place.definition.criteria:
        if criterion.rule == "age":
            possible = possible_ages(subject.year_of_birth, subject.consent_on)
            fits = any(
                (criterion.minimum is None or age >= criterion.minimum)
                and (criterion.maximum is None or age <= criterion.maximum)
                for age in possible
            )
            is_edge = is_edge_age(criterion, subject.year_of_birth, subject.consent_on)
            ages.append({"criterion": criterion, "ages": possible, "fits": fits, "is_edge": is_edge})
    return {
        "trial": g.trial.code,
        "site": place.site.code,
        "subject": subject,
        "definition": place.definition,
        "version": place.version,
        "ages": ages,
        "meaning": MEANING,
    }


def _form(
    context: dict[str, Any], entered: dict[str, str], failed: tuple[FailedRule, ...] = (), status: int = 200
) -> Answer:
    page = render_template("subjects/randomise.html", entered=entered, failed=failed, key=new_key(), **context)
    return page, status


def _review(
    context: dict[str, Any],
    entered: dict[str, str],
    command: RandomiseSubject,
    failed: tuple[FailedRule, ...] = (),
    status: int = 200,
) -> Answer:
    page = render_template(
        "subjects/randomise_review.html",
        entered=entered,
        command=command,
        derived=stratification(context["definition"], command.values),
        failed=failed,
        key=new_key(),
        **context,
    )
    return page, status


def _randomisation_refused(
    tx: Transaction,
    context: dict[str, Any],
    entered: dict[str, str],
    failed: tuple[FailedRule, ...],
    status: int = STATUS["rule"],
) -> Answer:
    """The calm page that lists every rule that said no, and whom to call."""
    rules = {rule.rule for rule in failed}
    call = [(_("Trial manager"), contact) for contact in contacts(tx, g.trial, Permission.SITE_MANAGE)]
    if rules & WANTS_SUPPLY:
        call = [(_("Supply manager"), contact) for contact in contacts(tx, g.trial, Permission.SHIPMENT_REQUEST)] + call
    page = render_template(
        "subjects/randomise_refused.html",
        failed=failed,
        entered=entered,
        call=call,
        is_ineligible=any(rule.startswith("eligibility.") for rule in rules),
        **context,
    )
    return page, status


@pages.page("/trials/<trial>/subjects/<subject>/randomisation", Permission.SITE_VIEW)
def confirmation(trial: str, subject: str) -> str:
    """The confirmation of a randomisation: what the site files, and where the kit is."""
    with store().transaction() as tx:
        record = randomisation_record(tx, subject_here(tx)) or abort(404)
    return render_template(
        "subjects/confirmation.html",
        record=record,
        trial=trial,
        site=g.site.code,
        may_dispense=may(Permission.DISPENSE),
    )
