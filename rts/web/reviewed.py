"""A deed in two steps on one page: the form, then a review of exactly what will be recorded, then the deed.

The form posts `step=review`, the review `step=record` (or `step=edit` to go back); what was entered travels along, so
nothing typed is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from flask import redirect, render_template, request
from werkzeug.wrappers import Response

from rts.conduct.perform import Done
from rts.refusal import FailedRule, Message, Refusal, say
from rts.store.transaction import Transaction
from rts.web.forms import STATUS, Entered, new_key, run
from rts.web.guard import store

Answer = Response | str | tuple[str, int]

NOT_CARRIED = frozenset({"csrf_token", "idempotency_key", "password", "step"})


def carried(form: Mapping[str, str]) -> dict[str, str]:
    """What was entered, without tokens and passwords."""
    return {name: value for name, value in form.items() if name not in NOT_CARRIED}


def chosen(entered: Entered, name: str, options: Collection[str], otherwise: Message) -> str:
    """One of `options`; anything else is refused in the words of `otherwise`."""
    value = entered.text(name, 40)
    if value not in options:
        entered.failed.append(FailedRule("form.choice", otherwise, name))
    return value


def required(entered: Entered, name: str, rule: str, missing: Message) -> str:
    """A text that may not be empty; `missing` asks for it under the code `rule`."""
    value = entered.text(name)
    if not value:
        entered.failed.append(FailedRule(rule, missing, name))
    return value


def required_reason(entered: Entered) -> str:
    """The reason of a deed."""
    return required(entered, "reason", "reason.missing", say("Give the reason."))


def reviewed_deed(
    template: str,
    deed: Callable[..., Any],
    command_of: Callable[[Entered], Any],
    done_url: Callable[[Done], str],
    context: Mapping[str, Any],
    *,
    check: Callable[[Transaction, Any], object] | None = None,
    signed: bool = False,
) -> Answer:
    """Show the form, the review or do the deed, as the request asks. A `signed` deed asks for the password on the
    review, which comes back when it is wrong.

    `command_of` reads the form and notes its mistakes; `template` gets `step` (`form` or `review`), `entered`,
    `command`, `failed` and `key`. `check` is what the deed itself asks of a command before it does anything, so that
    the review promises nothing that is then refused; what it returns, the template gets as `found` on the review.
    """
    step = request.form.get("step", "")
    if request.method == "GET" or step == "edit":
        shown = carried(request.form) if step == "edit" else {}
        return render_template(template, step="form", entered=shown, failed=(), key=new_key(), command=None, **context)
    entered = Entered(request.form)
    command = command_of(entered)
    try:
        entered.check()
        if step != "record":
            found = None
            if check is not None:
                with store().transaction() as tx:
                    found = check(tx, command)
            return _review(template, command, {"found": found, **context})
        return redirect(done_url(run(deed, command, signed=signed)), 303)
    except Refusal as refusal:
        if refusal.code == "wrong_password":
            return _review(template, command, context, refusal.failed), STATUS[refusal.code]
        page = render_template(
            template,
            step="form",
            entered=carried(request.form),
            command=None,
            failed=refusal.failed,
            key=new_key(),
            **context,
        )
        return page, STATUS[refusal.code]


def _review(template: str, command: Any, context: Mapping[str, Any], failed: tuple[FailedRule, ...] = ()) -> str:
    return render_template(
        template, step="review", entered=carried(request.form), command=command, failed=failed, key=new_key(), **context
    )
