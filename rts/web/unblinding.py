"""The code break: the physician of a site finds one subject and sees that subject's treatment at once.

The treatment is rendered from the deed's own return value into the answer of the form, and is kept nowhere: a reload
or a double click tells only that the code was opened, and to look again is a deed of its own. Whatever fails, the
answer is the way that needs no server (rts.web.errors).
"""

from __future__ import annotations

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.conduct.unblinding import MEANING, Unblinded, UnblindSubject, unblind_subject
from rts.refusal import FailedRule, Refusal
from rts.reports.code_breaks import CodeBreakRow, card_of, code_breaks, find_subjects
from rts.web.forms import STATUS, Entered, new_key, run
from rts.web.frame import Frame
from rts.web.guard import Pages, actor, store
from rts.web.language import gettext as _
from rts.web.rooms import frame

pages = Pages("unblinding", __name__)


@pages.page("/emergency", Permission.PUBLIC)
def offline() -> str:
    """How to break a code without this service."""
    return render_template("unblinding/offline.html")


@pages.page("/trials/<trial>/sites/<site>/code-break/", Permission.UNBLIND)
def find(trial: str, site: str) -> Response | str:
    """Find the subject by code or randomisation number."""
    typed = request.args.get("subject", "").strip()[:80]
    found = []
    if typed:
        with store().transaction() as tx:
            found = find_subjects(tx, g.site, typed)
        if len(found) == 1:
            return redirect(url_for("unblinding.unblind", trial=trial, subject=found[0].code), 303)
    return render_template("unblinding/find.html", typed=typed, found=found, sexes=sexes(), entered=request.args)


@pages.page("/trials/<trial>/subjects/<subject>/code-break", Permission.UNBLIND, methods=("GET", "POST"))
def unblind(trial: str, subject: str) -> tuple[str, int]:
    """Compare the subject with the patient, say why, sign, and see the treatment."""
    failed: tuple[FailedRule, ...] = ()
    status = 200
    opened_before = False
    if request.method == "POST":
        entered = Entered(request.form)
        command = UnblindSubject(
            trial, subject, entered.text("reason", 1000), adverse_event=entered.yes_or_no("adverse_event")
        )
        try:
            entered.check()
            around = frame()
            outcome: Unblinded | Done = run(unblind_subject, command, signed=True)
        except Refusal as refusal:
            if refusal.code in {"unavailable", "not_found", "forbidden"}:
                raise
            failed, status = refusal.failed, STATUS[refusal.code]
        else:
            if isinstance(outcome, Unblinded):
                return _told(outcome, around)
            opened_before = True
    return (
        render_template(
            "unblinding/unblind.html",
            subject=card_of(g.subject),
            openings=_openings(),
            opened_before=opened_before,
            failed=failed,
            entered=request.form,
            key=new_key(),
            meaning=MEANING,
            person=actor(),
            sexes=sexes(),
            subject_site=g.site.code,
        ),
        status,
    )


def _told(unblinded: Unblinded, around: Frame) -> tuple[str, int]:
    """The one page that names a treatment. It is made of what was read before the commit: should the database fail
    after it, the physician sees the treatment all the same.
    """
    g.without_database = True
    page = render_template(
        "unblinding/treatment.html",
        frame=around,
        subject=card_of(g.subject),
        opened=unblinded,
        trial=g.trial.code,
        sexes=sexes(),
        subject_site=g.site.code,
    )
    return page, 200


def _openings() -> list[CodeBreakRow]:
    with store().transaction() as tx:
        return code_breaks(tx, g.subject)


def sexes() -> dict[str, str]:
    """Sex in words."""
    return {"female": _("Female"), "male": _("Male")}
