"""Temperatures: readings are whole, and kits that they say were out of range for too long did not stay on a shelf."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import select

from rts.refusal import say
from rts.store.audit_verification import Finding
from rts.store.checks.view import View
from rts.store.exposures import is_too_long, out_of_range, rules_of, summary_of
from rts.store.tables import KitExposure, TemperatureRecord
from rts.supply.kits import KEPT_AT_SITE, KitState
from rts.supply.temperature import Period, periods_since, time_out_of_range

_READY = KEPT_AT_SITE - {KitState.QUARANTINED}


def kits_exposed_for_too_long_were_held(view: View) -> Iterator[Finding]:
    """After a record that adds to a time out of range longer than allowed, a kit is not on the shelf until quality
    assurance has decided; one that was on its way is not received as good.
    """
    statement = (
        select(KitExposure, TemperatureRecord)
        .join(TemperatureRecord, TemperatureRecord.id == KitExposure.record_id)
        .where(TemperatureRecord.trial_id == view.trial.id)
        .order_by(TemperatureRecord.id, KitExposure.kit_id)
    )
    found: dict[int, tuple[Period, ...] | None] = {}
    periods: defaultdict[int, list[Period]] = defaultdict(list)
    for exposure, record in view.tx.session.execute(statement):
        if record.id not in found:
            try:
                found[record.id] = out_of_range(summary_of(view.tx, record))
            except (ValueError, ArithmeticError, LookupError):
                found[record.id] = None
                text = say("Temperature record %(record)s: its readings cannot be read.", record=record.number)
                yield Finding("temperature.readings", text)
        measured = found[record.id]
        if measured is None:
            continue
        before = time_out_of_range(periods[exposure.kit_id])
        periods[exposure.kit_id] += measured if exposure.since is None else periods_since(measured, exposure.since)
        in_all = time_out_of_range(periods[exposure.kit_id])
        if in_all > before and is_too_long(in_all, rules_of(view.tx, record)) and _was_left(view, exposure):
            text = say(
                "Kit %(kit)s was out of range for too long by temperature record %(record)s, and was not quarantined.",
                kit=view.kits[exposure.kit_id].number,
                record=record.number,
            )
            yield Finding("temperature.not_quarantined", text)


def _was_left(view: View, exposure: KitExposure) -> bool:
    """Whether the kit stayed where it may be handed over, or came there straight from its way."""
    moves = view.moves.get(exposure.kit_id, [])
    state = moves[exposure.moves - 1].to_state if 0 < exposure.moves <= len(moves) else KitState.PACKED
    following = moves[exposure.moves].to_state if exposure.moves < len(moves) else ""
    return state in _READY or (state == KitState.IN_TRANSIT and following in _READY)
