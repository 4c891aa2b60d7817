"""A pharmacist records what a temperature logger beside kits measured; kits exposed for too long go into quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission, Role
from rts.conduct.perform import Done
from rts.conduct.places import Place, place_of
from rts.conduct.recipients import people_in
from rts.conduct.shipments import kits_of, refuse_unless, shipment_named
from rts.randomisation.numbers import normal_number
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import locks, outbox
from rts.store.exposures import is_too_long, out_of_range, periods_of_kits, storage_range
from rts.store.ledger import Change, apply
from rts.store.tables import Dispensing, Kit, KitExposure, KitMove, Shipment, TemperatureRecord
from rts.store.transaction import Transaction
from rts.supply.kits import KEPT_AT_SITE, KitState, Move
from rts.supply.temperature import (
    Period,
    Reading,
    Summary,
    periods_since,
    read_logger_file,
    summarise,
    time_out_of_range,
    written,
)
from rts.trial.definition import StorageRules

EXCURSION = "excursion"
"""The reason, in the ledger and beside a subject's kit, of a quarantine because of the temperature."""

SOURCE_STATES = ("in_transit", "received")
"""The states of a shipment whose logger can be read."""

RECEIVED = (Move.RECEIVE_GOOD, Move.RECEIVE_EXCURSION)


@dataclass(frozen=True)
class RecordTemperatures:
    """The file of a logger that was with a `shipment`, or (empty) with `kits` on the shelf of `site`.

    `zone` holds for times that name none. Readings before `start` and after `end` are left out. `count_gaps` says that
    times without readings count as out of range; without it a file that has any is refused.
    """

    trial: str
    site: str
    shipment: str
    kits: tuple[str, ...]
    file: bytes
    zone: str
    start: datetime | None = None
    end: datetime | None = None
    count_gaps: bool = False


@dataclass(frozen=True)
class ExposedKit:
    """A kit that was beside the logger from `since` on (None: all the time), how long it was out of range by this
    record and by all together. `too_long` when this record adds to a time that is longer than allowed: what quality
    assurance decided on before is not decided again because of readings that were in range.
    """

    kit: Kit
    since: datetime | None
    now: timedelta
    in_all: timedelta
    too_long: bool

    @property
    def goes_into_quarantine(self) -> bool:
        """Whether it leaves the shelf, the place where it was set aside, or those recalled, because of this."""
        return self.too_long and self.kit.state in KEPT_AT_SITE - {KitState.QUARANTINED}


@dataclass(frozen=True)
class Exposure:
    """What a command comes to, before anything is recorded."""

    readings: tuple[Reading, ...]
    summary: Summary
    rules: StorageRules
    kits: tuple[ExposedKit, ...]


def zones_offered(place: Place) -> tuple[str, ...]:
    """Time zones a logger at the site may have been set to: the site's, its depot's, and UTC."""
    depot = place.definition.depot(place.facts.depot)
    return tuple(dict.fromkeys((place.facts.time_zone, depot.time_zone, "UTC")))


def check_temperatures(tx: Transaction, place: Place, command: RecordTemperatures) -> Exposure:
    """What the file says and means for each kit; the review page shows it. Raises Refusal naming what is wrong with the
    file, the time or the kits.
    """
    rules = place.definition.storage
    if rules is None:
        message = say(
            "The definition in force does not say at what temperatures kits are kept. Call the trial manager."
        )
        raise refuse("rule", "storage.unknown", message, "file")
    if command.zone not in zones_offered(place):
        raise refuse("invalid", "zone.unknown", say("Choose the time zone of the logger."), "zone")
    kits = _kits_beside(tx, place, command)
    readings = _readings_between(tx, command)
    summary = summarise(readings, storage_range(rules))
    if summary.gaps and not command.count_gaps:
        gap = max(summary.gaps, key=lambda period: period.length)
        zone = ZoneInfo(place.facts.time_zone)
        message = say(
            "The logger has no readings from %(start)s to %(end)s. Choose a time without a gap, or say that what was "
            "not measured counts as out of range.",
            start=f"{gap.start.astimezone(zone):%Y-%m-%d %H:%M}",
            end=f"{gap.end.astimezone(zone):%Y-%m-%d %H:%M}",
        )
        raise refuse("invalid", "logger.gap", message, "count_gaps")
    since = {} if command.shipment else _received_at(tx, kits)
    earlier = periods_of_kits(tx, [kit.id for kit in kits])
    found = out_of_range(summary)
    return Exposure(
        readings,
        summary,
        rules,
        tuple(_exposed(kit, since.get(kit.id), found, earlier[kit.id], rules) for kit in kits),
    )


def _exposed(
    kit: Kit, since: datetime | None, found: tuple[Period, ...], earlier: list[Period], rules: StorageRules
) -> ExposedKit:
    here = found if since is None else periods_since(found, since)
    before, in_all = time_out_of_range(earlier), time_out_of_range([*earlier, *here])
    return ExposedKit(kit, since, time_out_of_range(here), in_all, in_all > before and is_too_long(in_all, rules))


def _kits_beside(tx: Transaction, place: Place, command: RecordTemperatures) -> list[Kit]:
    """The kits of the shipment that did not go missing, or those named, which are on hand at the site; by number."""
    if command.shipment:
        shipment = _shipment_here(tx, place, command.shipment)
        refuse_unless(shipment, *SOURCE_STATES)
        return [line.kit for line in kits_of(tx, shipment) if line.outcome != "missing"]
    numbers = sorted({normal_number(number) for number in command.kits} - {""})
    if not numbers:
        raise refuse("invalid", "kits.none", say("Choose at least one kit."), "kits")
    statement = select(Kit).where(Kit.site_id == place.site.id, Kit.state.in_(KEPT_AT_SITE), Kit.number.in_(numbers))
    found = {kit.number: kit for kit in tx.session.scalars(statement)}
    failed = [
        FailedRule("kit.not_on_hand", say("Kit %(kit)s is not on hand at this site.", kit=number), "kits")
        for number in numbers
        if number not in found
    ]
    refuse_all("invalid", failed)
    return [found[number] for number in numbers]


def _shipment_here(tx: Transaction, place: Place, number: str) -> Shipment:
    shipment = shipment_named(tx, place.site.trial, number)
    if shipment.site_id != place.site.id:
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    return shipment


def _readings_between(tx: Transaction, command: RecordTemperatures) -> tuple[Reading, ...]:
    readings = tuple(
        reading
        for reading in read_logger_file(command.file, ZoneInfo(command.zone), tx.now)
        if (command.start is None or command.start <= reading.at) and (command.end is None or reading.at <= command.end)
    )
    if len(readings) < 2:
        message = say("The logger has fewer than two readings in this time.")
        raise refuse("invalid", "logger.nothing_between", message, "start")
    return readings


def _received_at(tx: Transaction, kits: Sequence[Kit]) -> dict[int, datetime]:
    """When each kit came to the site: what the shelf's logger measured before did not reach it."""
    statement = select(KitMove.kit_id, func.max(KitMove.at).label("at")).where(
        KitMove.kit_id.in_([kit.id for kit in kits]), KitMove.move.in_(RECEIVED)
    )
    return {row.kit_id: row.at for row in tx.session.execute(statement.group_by(KitMove.kit_id))}


def record_temperatures(tx: Transaction, actor: Actor, command: RecordTemperatures) -> Done:
    """Keep the readings with the kits that were beside the logger, and put into quarantine those that were out of range
    for longer, in all, than the definition in force allows. A kit set aside for a visit goes to nobody else; another is
    set aside when the visit is prepared again. Raises Refusal as `check_temperatures`.
    """
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.SITE_STOCK, trial, site)
    locks.take(tx.session, locks.site_stock(trial.code, site.code))
    place = place_of(tx, site)
    exposure = check_temperatures(tx, place, command)
    earlier = tx.session.scalar(select(func.count()).where(TemperatureRecord.site_id == site.id)) or 0
    shipment = _shipment_here(tx, place, command.shipment) if command.shipment else None
    record = TemperatureRecord(
        trial_id=trial.id,
        number=f"{site.code}-T{earlier + 1}",
        site_id=site.id,
        shipment_id=shipment.id if shipment else None,
        version_id=place.version.id,
        file_digest=sha256(command.file).hexdigest(),
        readings=written(exposure.readings),
        recorded_at=tx.now,
        recorded_by=actor.name,
    )
    tx.session.add(record)
    tx.session.flush()
    quarantined = [one.kit for one in exposure.kits if one.goes_into_quarantine]
    _quarantine(tx, quarantined, actor.name)
    tx.insert(
        KitExposure,
        [
            {"record_id": record.id, "kit_id": one.kit.id, "since": one.since, "moves": one.kit.moves}
            for one in exposure.kits
        ],
    )
    _note(tx, place, record, command, exposure, quarantined)
    return Done("record_temperatures", {"trial": trial.code, "site": site.code, "record": record.number})


def _quarantine(tx: Transaction, kits: Sequence[Kit], doer: str) -> None:
    set_aside = select(Dispensing).where(
        Dispensing.kit_id.in_([kit.id for kit in kits]), Dispensing.state == "assigned"
    )
    rows = tx.session.scalars(set_aside.order_by(Dispensing.id)).all()
    changes = [
        Change(
            kit.id,
            Move.QUARANTINE,
            KitState(kit.state),
            site_id=kit.site_id,
            shipment_id=kit.shipment_id,
            reason=EXCURSION,
        )
        for kit in kits
    ]
    apply(tx, changes, doer)
    for row in rows:
        row.state, row.ended_at, row.end_reason = "put_back", tx.now, EXCURSION


def _note(
    tx: Transaction,
    place: Place,
    record: TemperatureRecord,
    command: RecordTemperatures,
    exposure: Exposure,
    quarantined: Sequence[Kit],
) -> None:
    """The audit event, and when kits were out of range for too long, wherever they are now, a mail to those who supply
    the site and decide.
    """
    trial, summary = place.site.trial, exposure.summary
    too_long = [one.kit.number for one in exposure.kits if one.too_long]
    tx.audit(
        "temperatures.recorded",
        "temperature_record",
        record.number,
        {
            "from": summary.start.isoformat(),
            "until": summary.end.isoformat(),
            "readings": summary.readings,
            "lowest": str(summary.lowest),
            "highest": str(summary.highest),
            "mean_kinetic": str(summary.mean_kinetic),
            "seconds_below": int(summary.below.total_seconds()),
            "seconds_above": int(summary.above.total_seconds()),
            "seconds_unknown": int(time_out_of_range(summary.gaps).total_seconds()),
            "kits": [one.kit.number for one in exposure.kits],
            "kits_out_too_long": too_long,
            "kits_quarantined": sorted(kit.number for kit in quarantined),
            "file_digest": record.file_digest,
        },
        trial=trial,
        site=place.site,
        definition=place.version.version,
        mentions=(
            *((("shipment", command.shipment.strip().upper()),) if command.shipment else ()),
            *(("kit", one.kit.number) for one in exposure.kits),
        ),
    )
    if too_long:
        outbox.write(
            tx,
            "temperature_excursion",
            trial,
            people_in(tx, trial, Role.SUPPLY_MANAGER, Role.QUALITY),
            say("%(trial)s: temperature excursion at site %(site)s", trial=trial.code, site=place.site.code),
            say(
                "%(count)d kits of site %(site)s were out of their storage range for longer than is allowed. "
                "%(held)d of them went into quarantine now; the others were not on the shelf. "
                "Sign in to see the readings and to decide.",
                site=place.site.code,
                count=len(too_long),
                held=len(quarantined),
            ),
        )
