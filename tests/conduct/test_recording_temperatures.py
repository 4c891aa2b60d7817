"""What a logger beside kits measured, and what becomes of the kits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from sqlalchemy import select

from rts.conduct.deciding_quarantine import DecideQuarantine, decide_quarantine
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.recalling_lots import EndRecall, RecallLot, end_recall, recall_lot
from rts.conduct.receiving_shipments import ReceiveShipment, receive_shipment
from rts.conduct.recording_temperatures import RecordTemperatures, record_temperatures
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.store.checks import run_checks
from rts.store.exposures import periods_of_kits
from rts.store.tables import Dispensing, Kit, KitExposure, TemperatureRecord
from rts.supply.temperature import time_out_of_range
from tests.world import World

PHARMACIST = "pharmacist.cn02"


def logger_file(until: datetime, *celsius: str) -> bytes:
    """Readings every ten minutes, the last one at `until`, in UTC."""
    lines = ["time (UTC),temperature (°C)"]
    for place, degrees in enumerate(celsius):
        at = until.astimezone(UTC) - timedelta(minutes=10 * (len(celsius) - 1 - place))
        lines.append(f"{at:%Y-%m-%d %H:%M:%S},{degrees}")
    return "\n".join(lines).encode()


def command(world: World, kits: Sequence[str] = (), shipment: str = "", file: bytes = b"") -> RecordTemperatures:
    return RecordTemperatures("SIRIUS", "CN02", shipment, tuple(kits), file, "Asia/Shanghai")


def record(world: World, kits: Sequence[str] = (), *celsius: str, shipment: str = "") -> None:
    file = logger_file(world.clock.now(), *celsius)
    world.do(record_temperatures, PHARMACIST, command(world, kits, shipment, file))


def shelf(world: World, state: str = "available") -> list[str]:
    with world.store.transaction() as tx:
        site = tx.site(tx.trial("SIRIUS"), "CN02")
        statement = select(Kit.number).where(Kit.site_id == site.id, Kit.state == state).order_by(Kit.number)
        return list(tx.session.scalars(statement))


def minutes_out(world: World, kit: str) -> float:
    with world.store.transaction() as tx:
        kit_id = tx.session.scalars(select(Kit.id).where(Kit.number == kit)).one()
        return time_out_of_range(periods_of_kits(tx, [kit_id])[kit_id]).total_seconds() / 60


@pytest.fixture
def stocked(world: World) -> World:
    """The site has had its kits for a day."""
    world.clock.advance(timedelta(days=1))
    return world


HOUR_OUT = ("20", "31", "31", "31", "31", "31", "31", "20")
LONGER_OUT = ("20", "31", "31", "31", "31", "31", "31", "31", "20")


@pytest.mark.requirement("SHIP-05")
def test_kits_out_of_range_for_longer_than_allowed_go_into_quarantine_at_once(stocked: World) -> None:
    one, two, *_ = shelf(stocked)

    record(stocked, [one, two], *LONGER_OUT)

    assert shelf(stocked, "quarantined") == [one, two]
    event, detail = stocked.last_event("temperatures.recorded")
    assert (event.object_type, event.object_id) == ("temperature_record", "CN02-T1")
    assert detail is not None
    assert {name: detail[name] for name in ("lowest", "highest", "seconds_above", "seconds_below", "readings")} == {
        "lowest": "20.00",
        "highest": "31.00",
        "seconds_above": 4200,
        "seconds_below": 0,
        "readings": 9,
    }
    assert detail["kits_quarantined"] == detail["kits_out_too_long"] == [one, two]
    assert detail["file_digest"] == sha256(logger_file(stocked.clock.now(), *LONGER_OUT)).hexdigest()
    subjects = {subject for _, subject, _ in stocked.mails("temperature_excursion")}
    assert subjects == {"SIRIUS: temperature excursion at site CN02"}


@pytest.mark.requirement("SHIP-05")
def test_as_long_as_is_allowed_only_the_exposure_is_recorded(stocked: World) -> None:
    kits = shelf(stocked)

    record(stocked, kits[:2], *HOUR_OUT)

    assert shelf(stocked) == kits
    assert [minutes_out(stocked, kit) for kit in kits[:3]] == [60, 60, 0]
    assert stocked.mails("temperature_excursion") == []


@pytest.mark.requirement("SHIP-05")
def test_the_time_out_of_range_adds_up_for_each_kit(stocked: World) -> None:
    one, two, *_ = shelf(stocked)
    record(stocked, [one], "20", "31", "31", "31", "31", "20")
    stocked.clock.advance(timedelta(days=1))

    record(stocked, [one, two], "20", "1", "1", "1", "20")

    assert (minutes_out(stocked, one), minutes_out(stocked, two)) == (70, 30)
    assert shelf(stocked, "quarantined") == [one]


def test_the_same_readings_twice_count_once(stocked: World) -> None:
    (one, *_) = shelf(stocked)
    file = logger_file(stocked.clock.now(), *HOUR_OUT)
    for _ in range(2):
        stocked.do(record_temperatures, PHARMACIST, command(stocked, [one], file=file))

    assert minutes_out(stocked, one) == 60
    assert shelf(stocked, "quarantined") == []


def test_what_quality_released_is_not_taken_away_again_by_readings_in_range(stocked: World) -> None:
    (one, *_) = shelf(stocked)
    record(stocked, [one], *LONGER_OUT)
    stocked.do(decide_quarantine, "quality", DecideQuarantine("SIRIUS", one, release=True, document="QA 1"))
    stocked.clock.advance(timedelta(days=1))

    record(stocked, [one], "20", "20", "20")
    assert one in shelf(stocked)
    record(stocked, [one], "20", "31", "20")
    assert shelf(stocked, "quarantined") == [one]


def test_what_was_measured_before_a_kit_came_does_not_count_for_it(stocked: World) -> None:
    (one, *_) = shelf(stocked)
    since_received = 24 * 6  # ten minutes each

    record(stocked, [one], *["31"] * 30, *["20"] * (since_received + 1))

    assert minutes_out(stocked, one) == 0


@pytest.mark.requirement("SHIP-05")
def test_a_kit_set_aside_is_taken_back_and_another_is_given_for_the_visit(stocked: World) -> None:
    subject = stocked.randomise("CN02")
    kit = stocked.kit_for(subject, "W0")

    record(stocked, [kit], *LONGER_OUT)

    with stocked.store.transaction() as tx:
        row = tx.session.scalars(select(Dispensing)).one()
        assert (row.state, row.end_reason) == ("put_back", "excursion")
    assert shelf(stocked, "quarantined") == [kit]
    stocked.do(prepare_visit, PHARMACIST, PrepareVisit("SIRIUS", subject, "W0"))
    other = stocked.dispense(subject, "W0")
    assert other != kit
    assert run_checks(stocked.store) == []


def test_a_recalled_kit_that_was_too_warm_stays_in_quarantine_when_the_recall_is_lifted(stocked: World) -> None:
    one, *others = shelf(stocked)
    stocked.do(recall_lot, "quality", RecallLot("SIRIUS", "BL-2601", "order 1", "a label may come off"))

    record(stocked, [one], *LONGER_OUT)
    stocked.do(end_recall, "quality", EndRecall("SIRIUS", "BL-2601", "lifted", "QA 2"))

    assert (shelf(stocked, "quarantined"), shelf(stocked)) == ([one], others)
    assert run_checks(stocked.store) == []


@pytest.fixture
def on_its_way(stocked: World) -> tuple[World, str, list[str]]:
    """A shipment that left the depot a day ago."""
    stocked.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 1, "more"))
    stocked.ship_all()
    stocked.clock.advance(timedelta(days=1))
    (shipment,) = stocked.shipments("in_transit")
    return stocked, shipment, sorted(stocked.kit_numbers(shipment))


@pytest.mark.requirement("SHIP-05")
def test_kits_that_were_too_warm_on_the_way_are_not_received_as_good(on_its_way: tuple[World, str, list[str]]) -> None:
    world, shipment, kits = on_its_way
    record(world, (), *LONGER_OUT, shipment=shipment)
    good = dict.fromkeys(kits, "good")

    with world.refuses("invalid", *["kit.out_of_range"] * len(kits)):
        world.do(receive_shipment, PHARMACIST, ReceiveShipment("SIRIUS", shipment, good))

    told = good | dict.fromkeys(kits, "excursion") | {kits[0]: "damaged"}
    world.do(receive_shipment, PHARMACIST, ReceiveShipment("SIRIUS", shipment, told))
    assert shelf(world, "quarantined") == kits[1:]


@pytest.mark.requirement("SHIP-05")
def test_the_logger_of_a_received_shipment_concerns_every_kit_of_it_wherever_it_is(
    on_its_way: tuple[World, str, list[str]],
) -> None:
    world, shipment, kits = on_its_way
    outcomes = dict.fromkeys(kits, "good") | {kits[0]: "missing", kits[1]: "damaged"}
    world.do(receive_shipment, PHARMACIST, ReceiveShipment("SIRIUS", shipment, outcomes))
    file = logger_file(world.clock.now() - timedelta(minutes=5), *LONGER_OUT)

    world.do(record_temperatures, PHARMACIST, command(world, shipment=shipment, file=file))

    assert shelf(world, "quarantined") == kits[2:]
    with world.store.transaction() as tx:
        exposed = tx.session.scalars(select(Kit.number).join(KitExposure, KitExposure.kit_id == Kit.id)).all()
    assert sorted(exposed) == kits[1:]


@pytest.mark.requirement("SHIP-05")
def test_of_a_kit_that_was_handed_over_already_quality_is_told(stocked: World) -> None:
    subject = stocked.randomise("CN02")
    kit = stocked.dispense(subject, "W0")
    (shipment,) = {number for number in stocked.shipments("received") if kit in stocked.kit_numbers(number)}
    left = shelf(stocked)

    record(stocked, (), *LONGER_OUT, shipment=shipment)

    assert shelf(stocked, "dispensed") == [kit]
    assert shelf(stocked, "quarantined") == left
    bodies = {body for _, _, body in stocked.mails("temperature_excursion")}
    assert bodies == {
        f"{len(left) + 1} kits of site CN02 were out of their storage range for longer than is allowed. {len(left)} of "
        "them went into quarantine now; the others were not on the shelf. Sign in to see the readings and to decide."
    }


def gapped(world: World) -> bytes:
    lines = logger_file(world.clock.now(), *["20"] * 12).decode().splitlines()
    return "\n".join([*lines[:4], *lines[9:]]).encode()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"kits": ()}, "kits.none"),
        ({"kits": ("K999999",)}, "kit.not_on_hand"),
        ({"zone": "Europe/Berlin"}, "zone.unknown"),
        ({"file": b""}, "logger.header"),
        ({"file": "gapped"}, "logger.gap"),
        ({"file": "future"}, "logger.future"),
        ({"start": datetime(2030, 1, 1, tzinfo=UTC)}, "logger.nothing_between"),
    ],
)
@pytest.mark.requirement("SHIP-05")
def test_a_wrong_file_time_or_kit_is_refused_and_nothing_changes(
    stocked: World, changes: dict[str, object], rule: str
) -> None:
    files = {
        "gapped": gapped(stocked),
        "future": logger_file(stocked.clock.now() + timedelta(minutes=1), "20", "20"),
    }
    changes = {name: files.get(str(value), value) for name, value in changes.items()}
    asked = command(stocked, shelf(stocked)[:1], file=logger_file(stocked.clock.now(), *LONGER_OUT))

    with stocked.refuses("invalid", rule):
        stocked.do(record_temperatures, PHARMACIST, replace(asked, **changes))


def test_a_gap_counts_as_out_of_range_when_the_pharmacist_says_so(stocked: World) -> None:
    (one, *_) = shelf(stocked)
    asked = command(stocked, [one], file=gapped(stocked))

    stocked.do(record_temperatures, PHARMACIST, replace(asked, count_gaps=True))

    assert minutes_out(stocked, one) == 60


def test_only_readings_of_the_chosen_time_are_kept(stocked: World) -> None:
    (one, *_) = shelf(stocked)
    now = stocked.clock.now()
    asked = command(stocked, [one], file=logger_file(now, *LONGER_OUT))

    times = {"start": now - timedelta(minutes=30), "end": now - timedelta(minutes=10)}
    stocked.do(record_temperatures, PHARMACIST, replace(asked, **times))

    with stocked.store.transaction() as tx:
        kept = tx.session.scalars(select(TemperatureRecord.readings)).one()
    assert len(kept.splitlines()) == 3
    assert minutes_out(stocked, one) == 20


def test_a_shipment_that_has_not_left_and_one_to_another_site_are_refused(stocked: World) -> None:
    stocked.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 1, "more"))
    (shipment,) = stocked.shipments("requested")
    asked = command(stocked, shipment=shipment, file=logger_file(stocked.clock.now(), *HOUR_OUT))

    with stocked.refuses("conflict", "shipment.state"):
        stocked.do(record_temperatures, PHARMACIST, asked)
    with stocked.refuses("not_found", "access.scope"):
        stocked.do(record_temperatures, "pharmacist.cn03", replace(asked, site="CN03"))


def test_where_the_definition_says_nothing_of_storage_no_file_is_read(stocked: World) -> None:
    table = "[storage]\nminimum = 2.0\nmaximum = 30.0\nallowed_minutes_out_of_range = 60\n"
    assumed = '[[assumptions]]\nkeys = ["storage"]\n'
    stocked.amend((table, ""), (assumed, '[[assumptions]]\nkeys = ["expiry"]\n'))

    with stocked.refuses("rule", "storage.unknown"):
        record(stocked, shelf(stocked)[:1], *HOUR_OUT)
