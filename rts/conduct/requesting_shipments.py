"""Asking for a shipment by hand."""

from __future__ import annotations

from dataclasses import dataclass

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.consignments import choose_kits, delivery_for, note_choice, opened_depot, request_consignment
from rts.conduct.perform import Done
from rts.conduct.places import Place, open_site, supply_locks, supplying_depot
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import definitions, locks
from rts.store.tables import Site
from rts.store.transaction import Transaction
from rts.supply.rationing import Share
from rts.vault.vault import Opener


@dataclass(frozen=True)
class RequestShipment:
    """Send `sets` kits of every type of every group to a site. One number for a whole group: the supply manager is
    blinded.
    """

    trial: str
    site: str
    sets: int
    reason: str


def check_request(tx: Transaction, site: Site, command: RequestShipment) -> Place:
    """The place of a site that may be sent these sets, whatever the depot holds; the review page asks it too. Raises
    Refusal for a site that is not open, a number out of range or no reason.
    """
    place = open_site(tx, site)
    definition = place.definition
    # Every treatment has one kit type in every group.
    most = definition.supply.maximum_consignment // (len(definition.treatments) * len(definition.kit_groups))
    failed = []
    if not 1 <= command.sets <= most:
        failed.append(
            FailedRule("shipment.sets", say("Between 1 and %(most)d sets fit in a consignment.", most=most), "sets")
        )
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    refuse_all("invalid", failed)
    return place


def request_shipment(tx: Transaction, actor: Actor, command: RequestShipment, opener: Opener) -> Done:
    """Request a shipment by hand. Raises Refusal for a site that is not open, a number out of range, or a depot that
    cannot fill every set.
    """
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.SHIPMENT_REQUEST, trial, site)
    locks.take(tx.session, *supply_locks(tx, trial, site))
    tx.session.refresh(site)
    place = check_request(tx, site, command)
    restricted = definitions.open_restricted(tx, trial, place.version, opener)
    order = {kit_type.code: command.sets for kit_type in restricted.kit_types}
    delivery = delivery_for(tx, place)
    stock = opened_depot(tx, supplying_depot(tx, place), opener)
    consignment = choose_kits(place, restricted, stock, order, delivery)
    if not consignment.kits:
        raise refuse(
            "rule",
            "depot.empty",
            say("Depot %(depot)s has no kits it may ship now. Nothing was requested.", depot=place.facts.depot),
            sealed=True,
        )
    if consignment.is_short:
        # Sent all the same, the box would hold more of one type than of another, or one alone.
        raise refuse(
            "rule",
            "depot.short",
            say("Depot %(depot)s cannot fill these sets now. Nothing was requested.", depot=place.facts.depot),
            "sets",
            sealed=True,
        )
    number = request_consignment(tx, place, consignment, delivery, actor.name).number
    note_choice(tx, place, order, Share(order, {}), is_split=consignment.is_split)
    tx.audit(
        "shipment.asked_for",
        "shipment",
        number,
        {"sets": command.sets},
        trial=trial,
        site=site,
        reason=command.reason.strip(),
        definition=place.version.version,
    )
    return Done("request_shipment", {"trial": trial.code, "site": site.code, "shipment": number})
