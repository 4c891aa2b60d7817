"""The expiry sweep: kits past their last usable day leave the shelf. Nothing relies on it: every deed judges expiry
at its own moment.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.clock import local_date
from rts.conduct.perform import Done
from rts.conduct.places import supply_locks
from rts.store import definitions, locks
from rts.store.ledger import Change, apply
from rts.store.tables import BlindedLot, Depot, Kit, Site
from rts.store.transaction import Transaction
from rts.supply.expiry import has_expired
from rts.supply.kits import KitState, Move

SWEPT = (KitState.AVAILABLE, KitState.QUARANTINED, KitState.IN_DEPOT, KitState.PACKED)


@dataclass(frozen=True)
class SweepExpired:
    """Mark the kits of a trial that have expired where they lie."""

    trial: str


def sweep_expired(tx: Transaction, actor: Actor, command: SweepExpired) -> Done:
    """Expire what is past its last usable day in its own place's zone; kits set aside for a subject are left to the
    pharmacist's replacement.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.SITE_STOCK, trial)
    sites = tx.session.scalars(select(Site).where(Site.trial_id == trial.id).order_by(Site.code)).all()
    locks.take(tx.session, *supply_locks(tx, trial, *sites))
    at_sites, of_depots = definitions.at_sites(tx, trial, sites), definitions.of_depots(tx, trial)
    zones: dict[tuple[str, int | None], str] = {
        ("site", site.id): at_sites[site.code].site(site.code).time_zone for site in sites
    }
    zones |= {
        ("depot", row.id): of_depots[row.code].time_zone
        for row in tx.session.scalars(select(Depot).where(Depot.trial_id == trial.id))
    }
    earliest = min(local_date(tx.now, zone) for zone in zones.values())
    rows = tx.session.execute(
        select(Kit, BlindedLot.expiry)
        .join(BlindedLot)
        .where(Kit.trial_id == trial.id, Kit.state.in_(SWEPT), BlindedLot.expiry <= earliest)
        .order_by(Kit.number)
    ).all()
    expired = [
        kit
        for kit, expiry in rows
        if has_expired(
            local_date(tx.now, zones["site", kit.site_id] if kit.site_id else zones["depot", kit.depot_id]), expiry
        )
    ]
    apply(
        tx,
        [
            Change(
                kit.id,
                Move.EXPIRE,
                KitState(kit.state),
                site_id=kit.site_id,
                depot_id=kit.depot_id,
                shipment_id=kit.shipment_id,
            )
            for kit in expired
        ],
        actor.name,
    )
    if expired:
        tx.audit(
            "kits.expired",
            "trial",
            trial.code,
            {"kits": [kit.number for kit in expired]},
            trial=trial,
            definition=definitions.versions_of_trial(tx, trial)[0].version,
            mentions=tuple(("kit", kit.number) for kit in expired),
        )
    return Done("sweep_expired", {"trial": trial.code, "kits": str(len(expired))})
