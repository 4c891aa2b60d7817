"""The frame of a page: the rooms of this person's roles, and where the person is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from flask import Flask, current_app, g, request, url_for
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

import rts
from rts.access.actor import Grant
from rts.access.permissions import PERMISSIONS, Permission, Role
from rts.refusal import Refusal
from rts.store import definitions
from rts.store.tables import Depot, Site, Trial
from rts.store.transaction import Transaction
from rts.web.frame import Frame, Room
from rts.web.guard import store
from rts.web.language import gettext as _
from rts.web.language import language, listed, sentence

BUILD = rts.__version__

Named = TypeVar("Named", Trial, Site, Depot)


def role_name(role: Role | str) -> str:
    """The name of a role in the reader's language."""
    return {
        Role.INVESTIGATOR: _("Investigator"),
        Role.PHARMACIST: _("Pharmacist"),
        Role.PHYSICIAN: _("Physician"),
        Role.DEPOT_OPERATOR: _("Depot"),
        Role.SUPPLY_MANAGER: _("Supply manager"),
        Role.QUALITY: _("Quality assurance"),
        Role.TRIAL_MANAGER: _("Trial manager"),
        Role.MONITOR: _("Monitor"),
        Role.SPONSOR_CONTACT: _("Sponsor contact"),
        Role.STATISTICIAN: _("Unblinded statistician"),
        Role.AUDITOR: _("Auditor"),
        Role.ADMINISTRATOR: _("Administrator"),
        Role.SERVICE: _("Service"),
    }[Role(role)]


# Which room each page belongs to is told by the room's endpoint; the rooms of a grant, in order:
# endpoint, what the URL needs, permission, icon.
ROOMS: tuple[tuple[str, tuple[str, ...], Permission, str], ...] = (
    ("site.home", ("trial", "site"), Permission.SITE_VIEW, "home"),
    ("subjects.subject_list", ("trial", "site"), Permission.SITE_VIEW, "subjects"),
    ("unblinding.find", ("trial", "site"), Permission.UNBLIND, "unblind"),
    ("site.stock", ("trial", "site"), Permission.SITE_STOCK, "stock"),
    ("receiving.shipments", ("trial", "site"), Permission.RECEIVE, "receive"),
    ("accountability.account", ("trial", "site"), Permission.ACCOUNT_VIEW, "lists"),
    ("depot.home", ("trial", "depot"), Permission.DEPOT_VIEW, "ship"),
    ("trial.overview", ("trial",), Permission.TRIAL_VIEW, "home"),
    ("trial.sites", ("trial",), Permission.TRIAL_VIEW, "sites"),
    ("supply.overview", ("trial",), Permission.SUPPLY_VIEW, "chart"),
    ("lists.all_lists", ("trial",), Permission.LIST_VIEW, "lists"),
    ("trial.definition", ("trial",), Permission.TRIAL_VIEW, "settings"),
    ("audit.trail", ("trial",), Permission.AUDIT_VIEW, "audit"),
    ("accounts.people", (), Permission.ACCOUNTS, "accounts"),
    ("audit.installation_trail", (), Permission.ACCOUNTS, "audit"),
    ("jobs.runs", (), Permission.JOBS_VIEW, "jobs"),
)


# The room that answers "what must I do now?" where it is not the first that the role's rights open.
FIRST_ROOM = {
    Role.SUPPLY_MANAGER: "supply.overview",
    Role.QUALITY: "supply.overview",
    Role.STATISTICIAN: "lists.all_lists",
}


def room_label(endpoint: str) -> str:
    """The label of a room in the reader's language."""
    return {
        "site.home": _("Today"),
        "subjects.subject_list": _("Subjects"),
        "unblinding.find": _("Code break"),
        "site.stock": _("Stock"),
        "receiving.shipments": _("Shipments"),
        "accountability.account": _("Account"),
        "depot.home": _("Depot"),
        "trial.overview": _("Trial"),
        "trial.sites": _("Sites"),
        "supply.overview": _("Supply"),
        "lists.all_lists": _("Lists"),
        "trial.definition": _("Definition"),
        "audit.trail": _("Audit trail"),
        "accounts.people": _("Accounts"),
        "audit.installation_trail": _("System trail"),
        "jobs.runs": _("Jobs"),
    }[endpoint]


def _named(tx: Transaction, kind: type[Named], granted: int | None, here: Named | None) -> Named | None:
    """What a grant names, most often what the page is about; the latter when it names nothing."""
    return here if granted in {None, here.id if here else None} else tx.session.get(kind, granted)


def _urls_of(tx: Transaction, grant: Grant) -> dict[str, Any]:
    """The names a grant's place has in URLs; a role for the whole trial borrows the place that the page is about."""
    named: dict[str, Any] = {}
    trial = _named(tx, Trial, grant.trial_id, g.get("trial"))
    if trial is not None:
        named["trial"] = trial.code
    site = _named(tx, Site, grant.site_id, g.get("site"))
    if site is not None:
        named["site"] = site.code
    depot = _named(tx, Depot, grant.depot_id, g.get("depot"))
    if depot is None and trial is not None and grant.role in {Role.SUPPLY_MANAGER, Role.QUALITY}:
        depot = tx.session.scalar(select(Depot).where(Depot.trial_id == trial.id).order_by(Depot.id).limit(1))
    if depot is not None:
        named["depot"] = depot.code
    return named


# Pages that belong to another room than the first of their module.
ROOM_OF = {
    "site.kit": "site.stock",
    "dispensing.visit": "subjects.subject_list",
    "dispensing.replace": "subjects.subject_list",
    "dispensing.report": "site.stock",
    "dispensing.return_page": "subjects.subject_list",
    "dispensing.write_off": "subjects.subject_list",
    "accountability.at_depot": "depot.home",
    "accountability.authorise_at_depot": "depot.home",
    "accountability.record_at_depot": "depot.home",
    "temperatures.record_shelf": "site.stock",
    "temperatures.record_shipment": "receiving.shipments",
    "temperatures.show": "accountability.account",
    "own_key.show": "lists.all_lists",
    "own_key.register": "lists.all_lists",
    "own_key.retire": "lists.all_lists",
    "trial.site_page": "trial.sites",
    "trial.pass_gate": "trial.sites",
    "trial.open_site": "trial.sites",
    "trial.close_site": "trial.sites",
    "trial.change_plan": "trial.sites",
    "trial.put_in_force": "trial.definition",
    "trial.definition_version": "trial.definition",
    "trial.restricted": "trial.definition",
}


def _room_here(found: Iterable[str]) -> str:
    """Which of the rooms `found` the page being made belongs to: the room itself, or the first of the same module."""
    if (endpoint := ROOM_OF.get(str(request.endpoint), str(request.endpoint))) in set(found):
        return endpoint
    return next((endpoint for endpoint in found if endpoint.partition(".")[0] == request.blueprint), "")


def rooms_of(tx: Transaction) -> list[Room]:
    """The few rooms of the person signed in, each once."""
    found: dict[str, Room] = {}
    for grant in g.actor.grants:
        held = PERMISSIONS[grant.role]
        named = _urls_of(tx, grant)
        for endpoint, needs, permission, icon in ROOMS:
            if permission not in held or not g.actor.grants_of(permission) or not set(needs) <= set(named):
                continue
            if endpoint.startswith("site.") and not grant.site_id:
                continue  # people of the whole trial reach a site through the list of sites
            if endpoint in {"subjects.subject_list", "accountability.account"} and not grant.site_id:
                continue
            url = url_for(endpoint, **{need: named[need] for need in needs})
            found.setdefault(endpoint, Room(room_label(endpoint), url, icon))
    return [replace(room, current=endpoint == _room_here(found)) for endpoint, room in found.items()]


def frame() -> Frame:
    """The frame of the page being made; the bare one when the database does not answer or is damaged, so that an
    error can still be told.
    """
    if not g.get("without_database"):
        try:
            return _whole_frame()
        except Refusal as refusal:
            if refusal.code != "unavailable":
                raise
        except SQLAlchemyError:
            pass
    return _bare_frame()


def _bare_frame() -> Frame:
    return Frame(
        environment=current_app.extensions.get("rts_environment", "production"),
        now=store().clock.now(),
        zone="UTC",
        language=language(),
        version=rts.__version__,
        build=BUILD,
        sign_out_url=url_for("sign_in.sign_out"),
        language_url=url_for("sign_in.language"),
        home_url=url_for("sign_in.home"),
    )


def _whole_frame() -> Frame:
    with store().transaction() as tx:
        current_app.extensions["rts_environment"] = tx.installation.environment
        zone, place, rooms, person, role = "UTC", "", [], "", ""
        trial = g.get("trial")
        if g.get("actor") is not None:
            person = g.actor.printed_name
            role = listed(dict.fromkeys(role_name(grant.role) for grant in g.actor.grants))
            rooms = rooms_of(tx)
            if trial is None and g.actor.grants and g.actor.grants[0].trial_id:
                trial = tx.session.get(Trial, g.actor.grants[0].trial_id)
        if trial is not None:
            if g.get("site") is not None:
                facts = definitions.at_sites(tx, trial, [g.site])[g.site.code].site(g.site.code)
                zone, place = facts.time_zone, sentence(facts.title)
            elif g.get("depot") is not None:
                depot = definitions.of_depots(tx, trial)[g.depot.code]
                zone, place = depot.time_zone, sentence(depot.title)
            else:
                zone = definitions.of_trial(tx, trial).depots[0].time_zone
        return Frame(
            environment=tx.installation.environment,
            now=tx.now,
            zone=zone,
            language=language(),
            version=rts.__version__,
            build=BUILD,
            sign_out_url=url_for("sign_in.sign_out"),
            language_url=url_for("sign_in.language"),
            trial=trial.code if trial else "",
            place=place,
            person=person,
            role=role,
            home_url=url_for("sign_in.home"),
            rooms=rooms,
        )


def install(app: Flask) -> None:
    """Give every template its `frame`."""
    app.context_processor(lambda: {"frame": frame()})
