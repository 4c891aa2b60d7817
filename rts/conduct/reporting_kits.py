"""Reporting a kit on a site's shelf as lost or damaged."""

from __future__ import annotations

from dataclasses import dataclass

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.kits_at_site import FATES, kits_on_the_shelf
from rts.conduct.perform import Done
from rts.conduct.places import place_of
from rts.randomisation.numbers import normal_number
from rts.refusal import FailedRule, refuse_all, say
from rts.store import locks
from rts.store.ledger import Change, apply
from rts.store.tables import Kit, Site
from rts.store.transaction import Transaction
from rts.supply.kits import KitState


@dataclass(frozen=True)
class ReportKit:
    """A kit on the site's shelf was found lost or damaged."""

    trial: str
    site: str
    kit: str
    fate: str
    reason: str


def check_report(tx: Transaction, site: Site, command: ReportKit) -> Kit:
    """The kit on the shelf of `site` that is reported; the review page asks it too. Raises Refusal naming every rule
    that failed.
    """
    number = normal_number(command.kit)
    failed = []
    if command.fate not in FATES:
        failed.append(FailedRule("fate.unknown", say("Choose lost or damaged."), "fate"))
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    kit = next((kit for kit in kits_on_the_shelf(tx, site) if kit.number == number), None)
    if kit is None:
        failed.append(
            FailedRule("kit.not_on_shelf", say("Kit %(kit)s is not on the shelf of this site.", kit=number), "kit")
        )
    refuse_all("invalid", failed)
    if kit is None:
        raise RuntimeError("a missing kit was refused above")
    return kit


def report_kit(tx: Transaction, actor: Actor, command: ReportKit) -> Done:
    """Take a kit off the shelf for good. Raises Refusal when it is not on this site's shelf."""
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.SITE_STOCK, trial, site)
    locks.take(tx.session, locks.site_stock(trial.code, site.code))
    kit = check_report(tx, site, command)
    apply(
        tx,
        [
            Change(
                kit.id,
                FATES[command.fate],
                KitState.AVAILABLE,
                site_id=site.id,
                shipment_id=kit.shipment_id,
                reason=command.reason.strip(),
            )
        ],
        actor.name,
    )
    tx.audit(
        f"kit.{command.fate}",
        "kit",
        kit.number,
        trial=trial,
        site=site,
        reason=command.reason.strip(),
        before={"state": "available"},
        after={"state": command.fate},
        definition=place_of(tx, site).version.version,
    )
    return Done("report_kit", {"trial": trial.code, "site": site.code, "kit": kit.number})
