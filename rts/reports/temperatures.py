"""What loggers measured, as the site, quality assurance and monitors see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from rts.randomisation.numbers import normal_number
from rts.reports.people import Name, printed_names
from rts.store.exposures import out_of_range, periods_of_kits, rules_of, summary_of
from rts.store.tables import Kit, KitExposure, Shipment, Site, TemperatureRecord, Trial
from rts.store.transaction import Transaction
from rts.supply.kits import KEPT_AT_SITE
from rts.supply.temperature import Reading, Summary, periods_since, readings_written, time_out_of_range
from rts.trial.definition import StorageRules


@dataclass(frozen=True)
class KitBeside:
    """A kit that was beside a logger: how long out of range by that record, and by all records now."""

    number: str
    state: str
    here: timedelta
    in_all: timedelta


@dataclass(frozen=True)
class RecordView:
    """A temperature record with its readings and kits; `shipment` is None for the shelf of the site."""

    number: str
    shipment: str | None
    recorded_at: datetime
    recorded_by: Name
    digest: str
    readings: tuple[Reading, ...]
    summary: Summary
    rules: StorageRules
    kits: tuple[KitBeside, ...]


@dataclass(frozen=True)
class KitExposures:
    """How long a kit was out of range in all, and the records that say so, the oldest first."""

    in_all: timedelta
    records: tuple[RecordView, ...]


@dataclass(frozen=True)
class RecordRow:
    """A line of the list of records."""

    number: str
    shipment: str | None
    kits: int
    recorded_at: datetime
    recorded_by: Name


def records_of_site(tx: Transaction, site: Site, shipment: Shipment | None = None) -> tuple[RecordRow, ...]:
    """The temperature records of `site`, or of one shipment to it, the newest first."""
    statement = (
        select(
            TemperatureRecord.number,
            Shipment.number.label("shipment"),
            func.count(KitExposure.id).label("kits"),
            TemperatureRecord.recorded_at,
            TemperatureRecord.recorded_by,
        )
        .outerjoin(Shipment, Shipment.id == TemperatureRecord.shipment_id)
        .join(KitExposure, KitExposure.record_id == TemperatureRecord.id)
        .where(TemperatureRecord.site_id == site.id)
        .group_by(TemperatureRecord.id, Shipment.number)
        .order_by(TemperatureRecord.id.desc())
    )
    if shipment is not None:
        statement = statement.where(TemperatureRecord.shipment_id == shipment.id)
    rows = tx.session.execute(statement).all()
    names = printed_names(tx, [row.recorded_by for row in rows])
    return tuple(RecordRow(*row[:4], names[row.recorded_by]) for row in rows)


def record_view(tx: Transaction, site: Site, number: str) -> RecordView | None:
    """The record `number` of `site`; None when there is none."""
    record = tx.session.scalar(
        select(TemperatureRecord).where(TemperatureRecord.site_id == site.id, TemperatureRecord.number == number)
    )
    return None if record is None else _view(tx, record)


def exposures_of_kit(tx: Transaction, trial: Trial, number: str) -> KitExposures:
    """Everything that loggers beside the kit `number` measured."""
    statement = (
        select(Kit.id, TemperatureRecord)
        .join(KitExposure, KitExposure.kit_id == Kit.id)
        .join(TemperatureRecord, TemperatureRecord.id == KitExposure.record_id)
        .where(Kit.trial_id == trial.id, Kit.number == normal_number(number))
        .order_by(TemperatureRecord.id)
    )
    rows = tx.session.execute(statement).all()
    periods = periods_of_kits(tx, {kit for kit, _ in rows})
    in_all = time_out_of_range(period for found in periods.values() for period in found)
    return KitExposures(in_all, tuple(_view(tx, record) for _, record in rows))


def _view(tx: Transaction, record: TemperatureRecord) -> RecordView:
    summary = summary_of(tx, record)
    statement = (
        select(Kit, KitExposure.since)
        .join(KitExposure, KitExposure.kit_id == Kit.id)
        .where(KitExposure.record_id == record.id)
        .order_by(Kit.number)
    )
    rows = tx.session.execute(statement).all()
    periods = periods_of_kits(tx, [kit.id for kit, _ in rows])
    found = out_of_range(summary)
    shipment = tx.session.get(Shipment, record.shipment_id) if record.shipment_id else None
    return RecordView(
        record.number,
        shipment.number if shipment else None,
        record.recorded_at,
        printed_names(tx, [record.recorded_by])[record.recorded_by],
        record.file_digest,
        readings_written(record.readings),
        summary,
        rules_of(tx, record),
        tuple(
            KitBeside(
                kit.number,
                kit.state,
                time_out_of_range(found if since is None else periods_since(found, since)),
                time_out_of_range(periods[kit.id]),
            )
            for kit, since in rows
        ),
    )


def kits_on_hand(tx: Transaction, site: Site) -> list[tuple[str, str]]:
    """Number and state of every kit that lies at `site` and may come into use, by number."""
    statement = (
        select(Kit.number, Kit.state).where(Kit.site_id == site.id, Kit.state.in_(KEPT_AT_SITE)).order_by(Kit.number)
    )
    return [(number, state) for number, state in tx.session.execute(statement)]
