"""A monitor compares a site's kits with its papers and shelf, kit by kit, and signs for those that agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Exists, exists, select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.conduct.perform import Done
from rts.conduct.places import place_of
from rts.randomisation.numbers import normal_number
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import locks
from rts.store.tables import Kit, KitVerification, Site
from rts.store.transaction import Transaction
from rts.supply.kits import KitState

MEANING = say("I verified these kits against the records of the site").text

# Not yet in the hands of the site, or never.
NOT_THERE = (KitState.REQUESTED, KitState.IN_TRANSIT)


@dataclass(frozen=True)
class VerifyKits:
    """Verify the kits of these numbers at a site."""

    trial: str
    site: str
    kits: tuple[str, ...]


def is_verified() -> Exists:
    """Whether a kit was verified as it is now."""
    return exists().where(KitVerification.kit_id == Kit.id, KitVerification.moves == Kit.moves)


def kits_at(tx: Transaction, site: Site, numbers: Sequence[str]) -> list[Kit]:
    """The kits of these numbers that are or were in the hands of `site`. Raises Refusal naming those that are not."""
    wanted = sorted({normal_number(number) for number in numbers} - {""})
    if not wanted:
        raise refuse("invalid", "kits.none", say("Choose at least one kit."), "kits")
    statement = (
        select(Kit).where(Kit.site_id == site.id, Kit.number.in_(wanted), Kit.state.not_in(NOT_THERE)).order_by(Kit.id)
    )
    found = list(tx.session.scalars(statement))
    strangers = sorted(set(wanted) - {kit.number for kit in found})
    refuse_all(
        "invalid",
        [
            FailedRule("kit.not_here", say("Kit %(kit)s is not a kit of this site.", kit=number), "kits")
            for number in strangers
        ],
    )
    return found


def verify_kits(tx: Transaction, actor: Actor, command: VerifyKits, confirmation: Confirmation | None) -> Done:
    """Sign for kits. Whatever happens to one of them later opens its verification again.

    Raises Refusal for a kit that is not the site's, or that is verified as it stands.
    """
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.KIT_VERIFY, trial, site)
    locks.take(tx.session, locks.site_stock(trial.code, site.code))
    place = place_of(tx, site)
    kits = kits_at(tx, site, command.kits)
    ids = [kit.id for kit in kits]
    verified = set(tx.session.scalars(select(Kit.number).where(Kit.id.in_(ids), is_verified())))
    refuse_all(
        "conflict",
        [
            FailedRule("kit.verified", say("Kit %(kit)s is verified already.", kit=number), "kits")
            for number in sorted(verified)
        ],
    )
    record = {"trial": trial.code, "site": site.code, "kits": {kit.number: [kit.state, kit.moves] for kit in kits}}
    sign(tx, actor, confirmation, MEANING, "kits", site.code, record, trial=trial, time_zone=place.facts.time_zone)
    rows = [{"kit_id": kit.id, "moves": kit.moves, "verified_at": tx.now, "verified_by": actor.name} for kit in kits]
    tx.insert(KitVerification, rows)
    tx.audit(
        "kits.verified",
        "site",
        site.code,
        record,
        trial=trial,
        site=site,
        definition=place.version.version,
        mentions=tuple(("kit", kit.number) for kit in kits),
    )
    return Done("verify_kits", {"trial": trial.code, "site": site.code, "count": str(len(kits))})
