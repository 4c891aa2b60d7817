"""How long kits were out of their storage range, by the readings recorded of them so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import select

from rts.store import definitions
from rts.store.tables import KitExposure, TemperatureRecord
from rts.store.transaction import Transaction
from rts.supply.temperature import (
    Period,
    StorageRange,
    Summary,
    periods_since,
    readings_written,
    summarise,
    time_out_of_range,
)
from rts.trial.definition import StorageRules


def storage_range(rules: StorageRules) -> StorageRange:
    """The allowed temperatures, exactly as the definition writes them."""
    return StorageRange(Decimal(str(rules.minimum)), Decimal(str(rules.maximum)))


def summary_of(tx: Transaction, record: TemperatureRecord) -> Summary:
    """What the readings of `record` come to, by the version of the definition that was in force then."""
    return summarise(readings_written(record.readings), storage_range(rules_of(tx, record)))


def rules_of(tx: Transaction, record: TemperatureRecord) -> StorageRules:
    """The storage rules by which `record` is judged."""
    rules = definitions.by_id(tx, record.version_id).storage
    if rules is None:
        raise RuntimeError("readings are recorded only where a definition says how kits are stored")
    return rules


def out_of_range(summary: Summary) -> tuple[Period, ...]:
    """Every time that counts as out of range: below it, above it, or without readings. A record that has gaps was made
    by somebody who was asked and said so.
    """
    return (*summary.periods, *summary.gaps)


def periods_of_kits(tx: Transaction, kit_ids: Collection[int]) -> defaultdict[int, list[Period]]:
    """The times out of range of each of `kit_ids` that are recorded."""
    statement = (
        select(KitExposure, TemperatureRecord)
        .join(TemperatureRecord, TemperatureRecord.id == KitExposure.record_id)
        .where(KitExposure.kit_id.in_(kit_ids))
        .order_by(KitExposure.id)
    )
    judged: dict[int, tuple[Period, ...]] = {}
    found: defaultdict[int, list[Period]] = defaultdict(list)
    for exposure, record in tx.session.execute(statement):
        if record.id not in judged:
            judged[record.id] = out_of_range(summary_of(tx, record))
        periods = judged[record.id]
        found[exposure.kit_id] += periods if exposure.since is None else periods_since(periods, exposure.since)
    return found


def is_too_long(out: timedelta, rules: StorageRules) -> bool:
    """Whether a kit that was out of range for `out` in all must be decided on by quality assurance."""
    return out > timedelta(minutes=rules.allowed_minutes_out_of_range)


def kits_out_too_long(tx: Transaction, kit_ids: Collection[int], rules: StorageRules | None) -> set[int]:
    """Those of `kit_ids` that were out of range for longer than is allowed now, by all that is recorded."""
    if rules is None:
        return set()
    periods = periods_of_kits(tx, kit_ids)
    return {kit for kit in kit_ids if is_too_long(time_out_of_range(periods[kit]), rules)}
