"""The readings of temperature loggers: recording them for a shipment or the shelf, and looking at them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from flask import abort, g, render_template, request, url_for

from rts.access.permissions import Permission
from rts.conduct.places import place_of
from rts.conduct.recording_temperatures import (
    Exposure,
    RecordTemperatures,
    check_temperatures,
    record_temperatures,
    zones_offered,
)
from rts.refusal import FailedRule, say
from rts.reports.temperatures import kits_on_hand, record_view
from rts.store.exposures import out_of_range
from rts.supply.temperature import LARGEST_FILE, Period, Reading, Summary
from rts.trial.definition import StorageRules
from rts.web.charts import TemperatureChart, temperature_chart
from rts.web.forms import Entered
from rts.web.guard import Pages, store
from rts.web.here import site_here
from rts.web.language import gettext as _
from rts.web.reviewed import Answer, reviewed_deed
from rts.web.uploads import packed, unpacked

pages = Pages("temperatures", __name__)

SENT = "sent"
"""The hidden field in which the file travels from the review to the deed."""


def picture(readings: Sequence[Reading], summary: Summary, rules: StorageRules, zone: str) -> TemperatureChart:
    """The picture of a record, in the local time of the site."""
    local = ZoneInfo(zone)

    def times(periods: Sequence[Period]) -> list[tuple[datetime, datetime]]:
        return [(period.start.astimezone(local), period.end.astimezone(local)) for period in periods]

    return temperature_chart(
        [(reading.at.astimezone(local), float(reading.celsius)) for reading in readings],
        (rules.minimum, rules.maximum),
        times(summary.periods),
        times(summary.gaps),
    )


def _file_of(entered: Entered) -> bytes:
    """The file that was chosen now, else the one that came with the review."""
    sent = request.files.get("file")
    if sent is not None and sent.filename:
        return sent.stream.read(LARGEST_FILE + 1)
    content = unpacked(entered.form.get(SENT, ""), LARGEST_FILE)
    if not content:
        entered.failed.append(FailedRule("logger.file", say("Choose the file of the logger."), "file"))
    return content


def _moment(entered: Entered, name: str, zone: str) -> datetime | None:
    """A local date and time, or None when the field is empty."""
    text = entered.text(name, 20)
    if not text:
        return None
    try:
        return datetime.strptime(text.replace("T", " "), "%Y-%m-%d %H:%M").replace(tzinfo=ZoneInfo(zone))
    except ValueError:
        message = say("Give date and time such as 2026-03-09 14:05.")
        entered.failed.append(FailedRule("form.field", message, name))
        return None


def _record(trial: str, site: str, shipment: str, back_url: str) -> Answer:
    with store().transaction() as tx:
        place = place_of(tx, site_here(tx))
        on_hand = [] if shipment else kits_on_hand(tx, site_here(tx))
    zone, zones = place.facts.time_zone, zones_offered(place)

    def command_of(entered: Entered) -> RecordTemperatures:
        elsewhere = {number for number, _state in on_hand if entered.text(f"elsewhere-{number}") == "yes"}
        return RecordTemperatures(
            trial,
            site,
            shipment,
            tuple(number for number, _state in on_hand if number not in elsewhere),
            _file_of(entered),
            entered.text("zone", 40),
            _moment(entered, "start", zone),
            _moment(entered, "end", zone),
            entered.text("count_gaps") == "yes",
        )

    def picture_of(found: Exposure) -> TemperatureChart:
        return picture(found.readings, found.summary, found.rules, zone)

    return reviewed_deed(
        "temperatures/record.html",
        record_temperatures,
        command_of,
        lambda done: url_for("temperatures.show", trial=trial, site=site, record=done.ids["record"], done="yes"),
        {
            "shipment": shipment,
            "on_hand": on_hand,
            "zones": zones,
            "storage": place.definition.storage,
            "packed": packed,
            "picture_of": picture_of,
            "out_of_range": out_of_range,
            "largest": LARGEST_FILE // 1000,
            "back_url": back_url,
        },
        check=lambda tx, command: check_temperatures(tx, place_of(tx, site_here(tx)), command),
    )


@pages.page("/trials/<trial>/sites/<site>/stock/temperatures", Permission.SITE_STOCK, methods=("GET", "POST"))
def record_shelf(trial: str, site: str) -> Answer:
    """Record what a logger beside the shelf measured."""
    return _record(trial, site, "", url_for("site.stock", trial=trial, site=site))


@pages.page(
    "/trials/<trial>/sites/<site>/shipments/<shipment>/temperatures", Permission.SITE_STOCK, methods=("GET", "POST")
)
def record_shipment(trial: str, site: str, shipment: str) -> Answer:
    """Record what the logger of a shipment measured."""
    return _record(trial, site, shipment, url_for("receiving.show", trial=trial, site=site, shipment=shipment))


@pages.page("/trials/<trial>/sites/<site>/temperatures/<record>/", Permission.ACCOUNT_VIEW)
def show(trial: str, site: str, record: str) -> str:
    """One temperature record: figures, picture, kits."""
    with store().transaction() as tx:
        found = record_view(tx, site_here(tx), record) or abort(404)
        zone = place_of(tx, site_here(tx)).facts.time_zone
    return render_template(
        "temperatures/show.html",
        record=found,
        picture=picture(found.readings, found.summary, found.rules, zone),
        title=_("Temperature record %(number)s", number=found.number),
        done=bool(request.args.get("done")),
        trial=trial,
        code=g.site.code,
    )
