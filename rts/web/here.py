"""What a page's URL names (site, depot, subject, shipment), in the page's own transaction; what may be done there."""

from __future__ import annotations

from flask import g
from sqlalchemy.orm import joinedload

from rts.access.permissions import Permission
from rts.store.tables import Depot, Shipment, Site, Subject
from rts.store.transaction import Transaction
from rts.web.guard import actor


def may(permission: Permission) -> bool:
    """Whether the person signed in holds `permission` at the site of this page."""
    return actor().may(permission, g.trial, g.site)


def site_here(tx: Transaction) -> Site:
    """The site this page is about."""
    return tx.session.get_one(Site, g.site.id, options=[joinedload(Site.trial)])


def depot_here(tx: Transaction) -> Depot:
    """The depot this page is about."""
    return tx.session.get_one(Depot, g.depot.id)


def subject_here(tx: Transaction) -> Subject:
    """The subject this page is about."""
    return tx.session.get_one(Subject, g.subject.id)


def shipment_here(tx: Transaction) -> Shipment:
    """The shipment this page is about."""
    return tx.session.get_one(Shipment, g.shipment.id)
