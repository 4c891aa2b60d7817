"""Overdue shipments: whoever can ask after a parcel is told, once for each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission, Role
from rts.conduct.perform import Done
from rts.conduct.places import place_of
from rts.conduct.recipients import people_in
from rts.refusal import say
from rts.store import locks, outbox
from rts.store.tables import Shipment
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class ReportOverdue:
    """Tell of the shipments of a trial that should have been received by now."""

    trial: str


def report_overdue(tx: Transaction, actor: Actor, command: ReportOverdue) -> Done:
    """Write to supply managers and the site's pharmacists about each shipment in transit more than
    `supply.overdue_after_days` past the day it was expected, judged in the site's date. Each is told of once.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.JOBS_RUN, trial)
    untold = (
        select(Shipment)
        .where(Shipment.trial_id == trial.id, Shipment.state == "in_transit", Shipment.overdue_told_at.is_(None))
        .order_by(Shipment.number)
        .execution_options(populate_existing=True)
    )
    sites = {shipment.site.code for shipment in tx.session.scalars(untold)}
    # A receipt under way holds its site's lock: read again behind it, or a parcel just received would be reported.
    locks.take(tx.session, *(locks.site_stock(trial.code, site) for site in sites))
    reported = 0
    for shipment in list(tx.session.scalars(untold)):
        place = place_of(tx, shipment.site)
        patience = timedelta(days=place.definition.supply.overdue_after_days)
        if place.today <= shipment.expected_on + patience:
            continue
        shipment.overdue_told_at = tx.now
        reported += 1
        tx.audit(
            "shipment.overdue",
            "shipment",
            shipment.number,
            {"expected_on": shipment.expected_on.isoformat(), "on": place.today.isoformat()},
            trial=trial,
            site=shipment.site,
            definition=place.version.version,
        )
        outbox.write(
            tx,
            "shipment_overdue",
            trial,
            people_in(tx, trial, Role.SUPPLY_MANAGER, Role.PHARMACIST, site=shipment.site),
            say("%(trial)s: shipment %(shipment)s is overdue", trial=trial.code, shipment=shipment.number),
            say(
                "Shipment %(shipment)s to site %(site)s was expected on %(day)s and has not been received. If it has "
                "arrived, sign in and receive it kit by kit; if not, ask the carrier (%(carrier)s, %(tracking)s).",
                shipment=shipment.number,
                site=shipment.site.code,
                day=shipment.expected_on.isoformat(),
                carrier=shipment.carrier,
                tracking=shipment.tracking,
            ),
        )
    return Done("report_overdue", {"trial": trial.code, "shipments": str(reported)})
