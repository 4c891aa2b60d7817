"""Destruction: the sponsor authorises it for kits that are of no further use, and whoever keeps them records it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.clock import local_date
from rts.conduct.perform import Done
from rts.conduct.places import place_of
from rts.conduct.reconciling import balance_of
from rts.conduct.verifying_kits import is_verified
from rts.randomisation.numbers import normal_number
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import definitions, locks
from rts.store.ledger import Change, apply
from rts.store.tables import Depot, Destruction, DestructionKit, Kit, Site, Trial
from rts.store.transaction import Transaction
from rts.supply.kits import MAY_BE_DESTROYED, KitState, Move


@dataclass(frozen=True)
class AuthoriseDestruction:
    """Authorise the destruction of kits at a site, or at a depot, by a document of the sponsor's."""

    trial: str
    kits: tuple[str, ...]
    document: str
    site: str = ""
    depot: str = ""


@dataclass(frozen=True)
class RecordDestruction:
    """The kits of an authorised destruction were destroyed on a day, local to where they lay, as a certificate says."""

    trial: str
    number: str
    destroyed_on: date
    certificate: str


def where_kept(tx: Transaction, trial: Trial, site: str, depot: str) -> Site | Depot:
    """The site or depot of this code. Raises Refusal when neither or both are named, or there is none."""
    if bool(site) == bool(depot):
        raise refuse("invalid", "place.one", say("Name a site or a depot."), "site")
    return tx.site(trial, site) if site else _depot(tx, trial, depot)


def _depot(tx: Transaction, trial: Trial, code: str) -> Depot:
    found = tx.session.scalar(select(Depot).where(Depot.trial_id == trial.id, Depot.code == code))
    if found is None:
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    return found


def check_authorisation(tx: Transaction, place: Site | Depot, command: AuthoriseDestruction) -> list[Kit]:
    """The kits whose destruction may be authorised; the review page asks it too.

    Each lies at `place` and is of no further use. At a site it is verified by a monitor as it stands, and the account
    of the site's kits agrees: what is destroyed cannot be counted again. Raises Refusal naming every rule that failed.
    """
    failed = []
    if not command.document.strip():
        failed.append(FailedRule("document.missing", say("Name the document that authorises it."), "document"))
    numbers = sorted({normal_number(number) for number in command.kits} - {""})
    if not numbers:
        failed.append(FailedRule("kits.none", say("Choose at least one kit."), "kits"))
    here = Kit.site_id == place.id if isinstance(place, Site) else Kit.depot_id == place.id
    rows = tx.session.execute(select(Kit, is_verified()).where(here, Kit.number.in_(numbers)).order_by(Kit.id))
    found: dict[str, tuple[Kit, bool]] = {kit.number: (kit, verified) for kit, verified in rows}
    for number in numbers:
        if number not in found:
            message = say("Kit %(kit)s does not lie here.", kit=number)
            failed.append(FailedRule("kit.not_here", message, "kits"))
            continue
        kit, verified = found[number]
        if kit.state not in MAY_BE_DESTROYED:
            message = say("Kit %(kit)s is not returned, expired, damaged or rejected.", kit=number)
            failed.append(FailedRule("kit.in_use", message, "kits"))
        elif isinstance(place, Site) and not verified:
            message = say("Kit %(kit)s is not verified by a monitor.", kit=number)
            failed.append(FailedRule("kit.not_verified", message, "kits"))
    if isinstance(place, Site) and balance_of(tx, place).broken:
        failed.append(FailedRule("site.unbalanced", say("The account of this site's kits does not balance."), "kits"))
    refuse_all("rule", failed)
    return [kit for kit, _ in found.values()]


def authorise_destruction(tx: Transaction, actor: Actor, command: AuthoriseDestruction) -> Done:
    """Authorise the destruction of kits. Raises Refusal as `check_authorisation`."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.DESTRUCTION_AUTHORISE, trial)
    place = where_kept(tx, trial, command.site, command.depot)
    at_site = isinstance(place, Site)
    locks.take(
        tx.session,
        locks.site_stock(trial.code, place.code) if at_site else locks.depot_stock(trial.code, place.code),
    )
    kits = check_authorisation(tx, place, command)
    here = Destruction.site_id == place.id if at_site else Destruction.depot_id == place.id
    earlier = tx.session.scalar(select(func.count()).select_from(Destruction).where(here)) or 0
    destruction = Destruction(
        trial_id=trial.id,
        number=f"{place.code}-D{earlier + 1}",
        site_id=place.id if at_site else None,
        depot_id=None if at_site else place.id,
        document=command.document.strip(),
        authorised_at=tx.now,
        authorised_by=actor.name,
    )
    tx.session.add(destruction)
    tx.session.flush()
    tx.insert(DestructionKit, [{"destruction_id": destruction.id, "kit_id": kit.id} for kit in kits])
    apply(tx, [_change(kit, Move.AUTHORISE_DESTRUCTION, destruction.document) for kit in kits], actor.name)
    tx.audit(
        "destruction.authorised",
        "destruction",
        destruction.number,
        {"kits": sorted(kit.number for kit in kits), "document": destruction.document},
        trial=trial,
        site=place if isinstance(place, Site) else None,
        mentions=tuple(("kit", kit.number) for kit in kits),
    )
    return Done("authorise_destruction", {"trial": trial.code, "destruction": destruction.number})


def destruction_named(tx: Transaction, trial: Trial, number: str) -> Destruction:
    """The destruction of this number. Raises Refusal `not_found`."""
    found = tx.session.scalar(
        select(Destruction).where(Destruction.trial_id == trial.id, Destruction.number == number.strip().upper())
    )
    if found is None:
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    return found


def place_of_destruction(tx: Transaction, destruction: Destruction) -> Site | Depot:
    """Where the kits of a destruction lie."""
    if destruction.site_id is not None:
        return tx.session.get_one(Site, destruction.site_id)
    return tx.session.get_one(Depot, destruction.depot_id)


def today_at(tx: Transaction, trial: Trial, place: Site | Depot) -> date:
    """The local date at a site or depot."""
    return local_date(tx.now, _time_zone(tx, trial, place))


def _time_zone(tx: Transaction, trial: Trial, place: Site | Depot) -> str:
    if isinstance(place, Site):
        return place_of(tx, place).facts.time_zone
    return definitions.of_depots(tx, trial)[place.code].time_zone


def check_record(tx: Transaction, trial: Trial, destruction: Destruction, command: RecordDestruction) -> None:
    """What speaks against recording; the review page asks it too. Raises Refusal naming every rule that failed."""
    place = place_of_destruction(tx, destruction)
    if destruction.recorded_at is not None:
        message = say("Destruction %(number)s is recorded already.", number=destruction.number)
        raise refuse("conflict", "destruction.recorded", message)
    failed = []
    if not command.certificate.strip():
        failed.append(FailedRule("certificate.missing", say("Name the certificate of destruction."), "certificate"))
    authorised_on = local_date(destruction.authorised_at, _time_zone(tx, trial, place))
    if not authorised_on <= command.destroyed_on <= today_at(tx, trial, place):
        message = say(
            "Destruction was authorised on %(day)s: it took place on a day from then to today.",
            day=authorised_on.isoformat(),
        )
        failed.append(FailedRule("destroyed_on.range", message, "destroyed_on"))
    refuse_all("invalid", failed)


def record_destruction(tx: Transaction, actor: Actor, command: RecordDestruction) -> Done:
    """Record that the kits were destroyed. Raises Refusal as `check_record`, and when kits of it were moved since."""
    trial = tx.trial(command.trial)
    destruction = destruction_named(tx, trial, command.number)
    place = place_of_destruction(tx, destruction)
    if isinstance(place, Site):
        require(tx, actor, Permission.DESTROY, trial, place)
        locks.take(tx.session, locks.site_stock(trial.code, place.code))
    else:
        require(tx, actor, Permission.DESTROY, trial, depot=place)
        locks.take(tx.session, locks.depot_stock(trial.code, place.code))
    tx.session.refresh(destruction)
    check_record(tx, trial, destruction, command)
    statement = select(Kit).join(DestructionKit).where(DestructionKit.destruction_id == destruction.id).order_by(Kit.id)
    kits = list(tx.session.scalars(statement))
    certificate = command.certificate.strip()
    apply(tx, [_change(kit, Move.DESTROY, certificate) for kit in kits], actor.name)
    destruction.certificate, destruction.destroyed_on = certificate, command.destroyed_on
    destruction.recorded_at, destruction.recorded_by = tx.now, actor.name
    tx.audit(
        "destruction.recorded",
        "destruction",
        destruction.number,
        {
            "kits": sorted(kit.number for kit in kits),
            "certificate": certificate,
            "on": command.destroyed_on.isoformat(),
        },
        trial=trial,
        site=place if isinstance(place, Site) else None,
        mentions=tuple(("kit", kit.number) for kit in kits),
    )
    return Done("record_destruction", {"trial": trial.code, "destruction": destruction.number})


def _change(kit: Kit, move: Move, reason: str) -> Change:
    return Change(
        kit.id,
        move,
        KitState(kit.state),
        depot_id=kit.depot_id,
        site_id=kit.site_id,
        shipment_id=kit.shipment_id,
        reason=reason,
    )
