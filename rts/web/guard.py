"""The gate before every page: who is asking, what the page needs, and whether the thing asked for lies in their scope.

Each route declares one `Permission` (`Pages.page`); one without is refused to everybody and fails a test. What a URL
names (trial, site, depot, subject,
shipment, list) is looked up here, once, so that a foreign object answers 404 exactly as one that does not exist.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, abort, current_app, g, redirect, request, url_for
from sqlalchemy import or_, select
from werkzeug.wrappers import Response

from rts.access.actor import Actor, Grant, actor_of, require
from rts.access.permissions import Permission
from rts.access.sign_in import password_has_expired, session_of
from rts.refusal import refuse, say
from rts.store.tables import Depot, ListFile, Shipment, Site, Subject, Trial
from rts.store.transaction import Store, Transaction
from rts.web import cookies

SEEN_AFTER_SECONDS = 60
SIGN_IN = "sign_in.sign_in"
# What someone who must choose a new password first may still open.
WITHOUT_OWN_PASSWORD = frozenset({"sign_in.change_password", "sign_in.sign_out", "sign_in.language"})


class Pages(Blueprint):
    """A blueprint whose every route declares the permission it needs."""

    def page(self, rule: str, permission: Permission, methods: tuple[str, ...] = ("GET",)) -> Callable[[Any], Any]:
        """Declare a page at `rule` for those who hold `permission`."""

        def declare(view: Any) -> Any:
            view.permission = permission
            return self.route(rule, methods=list(methods))(view)

        return declare


def store() -> Store:
    """The installation's store."""
    found: Store = current_app.extensions["rts"]
    return found


def actor() -> Actor:
    """Who is signed in. Pages for signed-in people only."""
    found: Actor = g.actor
    return found


def address() -> str:
    """The address the request came from, as throttling counts it."""
    return request.remote_addr or "unknown"


def install(app: Flask) -> None:
    """Put the gate before every request of `app`."""
    app.before_request(_open_gate)
    app.after_request(_keep_sign_in_token)
    app.jinja_env.globals["csrf_token"] = csrf_token


def csrf_token() -> str:
    """The token that a form must carry: bound to the session, or before sign-in to a cookie of its own."""
    session = g.get("session")
    return sign_in_token() if session is None else str(session.csrf_secret)


def sign_in_token() -> str:
    """The token of the form for signing in, bound to a cookie of its own: also for somebody whose session may have
    ended before they send it.
    """
    if "sign_in_token" not in g:
        g.sign_in_token = cookies.kept(cookies.SIGN_IN) or store().entropy.bytes(32).hex()
    return str(g.sign_in_token)


def _keep_sign_in_token(response: Response) -> Response:
    """Bind the token to the browser on whatever page a form carried it: each has one for the language."""
    if "sign_in_token" in g and g.sign_in_token != cookies.kept(cookies.SIGN_IN):
        cookies.keep(response, cookies.SIGN_IN, g.sign_in_token)
    return response


def _is_own(origin: str) -> bool:
    """Whether `origin` is this service's. The plain twin of a host served over TLS is not: whoever sits in between
    writes its pages.
    """
    parts = urlsplit(origin)
    return parts.netloc == request.host and (parts.scheme == "https" or not cookies.is_over_tls())


def _check_origin() -> None:
    """Refuse a form sent from another site: by what the browser says of its origin, and by the token."""
    fetch_site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    foreign_origin = origin is not None and not _is_own(origin)
    expected = [g.session.csrf_secret] if g.session is not None else []
    if not expected or request.endpoint == SIGN_IN:
        expected.append(cookies.kept(cookies.SIGN_IN))
    given = request.form.get("csrf_token", "").encode()
    is_ours = any(token and hmac.compare_digest(token.encode(), given) for token in expected)
    if fetch_site not in {"same-origin", "none"} or foreign_origin or not is_ours:
        raise refuse(
            "forbidden",
            "form.token",
            say("This form is no longer valid. Open the page again and repeat; nothing was recorded."),
        )


def _open_gate() -> Response | None:
    g.session = g.actor = g.person = g.trial = g.site = g.depot = g.subject = g.shipment = g.list = None
    if request.endpoint is None or request.endpoint == "static":
        return None
    view = current_app.view_functions[request.endpoint]
    permission: Permission | None = getattr(view, "permission", None)
    if permission is None:
        raise RuntimeError(f"the route {request.endpoint} declares no permission")
    token = cookies.kept(cookies.SESSION)
    must_change = _know_person(token) if token else False
    if g.session is None and (permission is not Permission.PUBLIC or (token and _changes_own_browser())):
        return redirect(url_for(SIGN_IN, next=_way_back()), 303)
    if request.method == "POST":
        _check_origin()
    if permission is Permission.PUBLIC:
        return None
    _keep_session()
    if must_change and request.endpoint not in WITHOUT_OWN_PASSWORD:
        return redirect(url_for("sign_in.change_password"), 303)
    with store().transaction() as tx:
        named = dict(request.view_args or {})
        _find_place(tx, named)
        # A page of no trial (jobs) shows what the roles held in any trial allow.
        is_held = g.trial is None and bool(g.actor.grants_of(permission))
        if permission is not Permission.SIGNED_IN and not is_held:
            require(tx, g.actor, permission, g.trial, g.site, g.depot)
        _find_object(tx, named)
    return None


def _know_person(token: str) -> bool:
    """Find out whose live session `token` is; returns whether a new password must be chosen before anything else.

    A lock, or for a physician an expired password, leaves the code break and nothing else.
    """
    with store().transaction() as tx:
        g.session = session_of(tx, token)
        if g.session is None:
            return False
        g.person = g.session.person
        # As it is now, not as it was at sign-in: an account unlocked, or a password changed, since then opens the rest.
        g.actor = actor_of(tx, g.person)
        has_expired = password_has_expired(g.person, tx)
        if has_expired and g.actor.grants_of(Permission.UNBLIND):
            g.actor = actor_of(tx, g.person, emergency_only=True)
            has_expired = False
        return bool(g.person.password_must_change or (has_expired and not g.actor.emergency_only))


def _changes_own_browser() -> bool:
    """Whether the form is one that the frame of every page carries: sent from a page whose session has ended, it
    leads to the sign-in page.
    """
    return request.method == "POST" and request.endpoint in {"sign_in.sign_out", "sign_in.language"}


def _way_back() -> str | None:
    """The page to show after signing in: the one asked for, or the form that could not be sent."""
    if request.method == "GET":
        return request.full_path.rstrip("?")
    rule = request.url_rule
    return request.path if rule is not None and "GET" in (rule.methods or ()) else None


def _keep_session() -> None:
    """Note that the session is in use, at most once a minute: a page view must not cost a write."""
    now = store().clock.now()
    if (now - g.session.seen_at).total_seconds() < SEEN_AFTER_SECONDS:
        return
    with store().transaction(write=True) as tx:
        tx.emergency = True
        session = session_of(tx, cookies.kept(cookies.SESSION))
        if session is not None:
            session.seen_at = tx.now


def _find_place(tx: Transaction, named: dict[str, str]) -> None:
    """Look up the trial, site, depot and subject that the URL names; 404 alike for what is unknown and for where the
    person holds no role.
    """
    if "trial" not in named:
        return
    g.trial = tx.session.scalar(select(Trial).where(Trial.code == named["trial"])) or abort(404)
    if "site" in named:
        g.site = tx.session.scalar(
            select(Site).where(Site.trial_id == g.trial.id, Site.code == named["site"])
        ) or abort(404)
    if "depot" in named:
        g.depot = tx.session.scalar(
            select(Depot).where(Depot.trial_id == g.trial.id, Depot.code == named["depot"])
        ) or abort(404)
    if "subject" in named:
        statement = select(Subject).where(Subject.trial_id == g.trial.id, Subject.code == named["subject"])
        g.subject = tx.session.scalar(statement) or abort(404)
        g.site = g.subject.site
    if not any(_reaches(grant) for grant in g.actor.grants):
        abort(404)


def _reaches(grant: Grant) -> bool:
    """Whether a role is held where the URL leads, whatever it allows there."""
    return (
        grant.trial_id == g.trial.id
        and (g.site is None or grant.site_id in {None, g.site.id})
        and (g.depot is None or grant.depot_id in {None, g.depot.id})
        and not (g.site is not None and grant.depot_id is not None)
        and not (g.depot is not None and grant.site_id is not None)
    )


def _find_object(tx: Transaction, named: dict[str, str]) -> None:
    """Look up the shipment and list that the URL names, once the right to them is proven; 404 for one of another
    trial, site or depot.
    """
    if "shipment" in named:
        shipments = select(Shipment).where(Shipment.trial_id == g.trial.id, Shipment.number == named["shipment"])
        g.shipment = tx.session.scalar(shipments) or abort(404)
        if (g.site is not None and g.shipment.site_id != g.site.id) or (
            g.depot is not None and g.shipment.depot_id != g.depot.id
        ):
            abort(404)
    if "list_id" in named:
        # Blinded people know a list by its commitment: list ids are for unblinded eyes.
        name = ListFile.commitment == named["list_id"]
        if g.actor.is_unblinded(g.trial):
            name = or_(name, ListFile.list_id == named["list_id"])
        lists = select(ListFile).where(ListFile.trial_id == g.trial.id, name)
        g.list = tx.session.scalar(lists) or abort(404)
