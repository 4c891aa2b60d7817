"""Asking for a shipment by hand."""

from __future__ import annotations

from dataclasses import dataclass

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.consignments import delivery_for, opened_depot, request_consignment
from rts.conduct.perform import Done
from rts.conduct.places import open_site, supply_locks, supplying_depot
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import definitions, locks
from rts.store.transaction import Transaction
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


def request_shipment(tx: Transaction, actor: Actor, command: RequestShipment, opener: Opener) -> Done:
    """Request a shipment by hand. Raises Refusal for a site that is not open, a number out of range, or a depot that
    cannot fill every set.
    """
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.SHIPMENT_REQUEST, trial, site)
    locks.take(tx.session, *supply_locks(tx, trial, site))
    tx.session.refresh(site)
    place = open_site(tx, site)
    restricted = definitions.open_restricted(tx, trial, place.version, opener)
    most = place.definition.supply.maximum_consignment // max(1, len(restricted.kit_types))
    failed = []
    if not 1 <= command.sets <= most:
        failed.append(
            FailedRule("shipment.sets", say("Between 1 and %(most)d sets fit in a consignment.", most=most), "sets")
        )
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    refuse_all("invalid", failed)
    order = {kit_type.code: command.sets for kit_type in restricted.kit_types}
    stock = opened_depot(tx, supplying_depot(tx, place), opener)
    requested = request_consignment(tx, place, restricted, stock, order, delivery_for(tx, place), actor.name)
    if requested.is_short:
        # Sent all the same, the box would hold more of one type than of another, or one alone.
        raise refuse(
            "rule",
            "depot.short",
            say("Depot %(depot)s cannot fill these sets now. Nothing was requested.", depot=place.facts.depot),
            "sets",
            sealed=True,
        )
    number = requested.shipment.number
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
