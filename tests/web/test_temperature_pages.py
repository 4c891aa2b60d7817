"""Reading a logger at the pages: what the pharmacist sends, sees and records, and what quality sees of it."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO

import pytest
from sqlalchemy import select

from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.store.tables import KitExposure, TemperatureRecord
from rts.supply.temperature import LARGEST_FILE
from rts.web.uploads import packed, unpacked
from tests.conduct.test_recording_temperatures import HOUR_OUT, LONGER_OUT, gapped, logger_file, shelf
from tests.web.office import desk, words
from tests.world import World

SITE = "/trials/SIRIUS/sites/CN02"
SHELF = f"{SITE}/stock/temperatures"
RECORD = {"step": "record"}


@pytest.fixture
def stocked(world: World) -> World:
    world.clock.advance(timedelta(days=1))
    return world


def sent(world: World, *celsius: str, name: str = "logger.csv") -> dict[str, object]:
    return {"file": (BytesIO(logger_file(world.clock.now(), *celsius)), name), "zone": "Asia/Shanghai"}


def counted(world: World) -> tuple[int, int]:
    with world.store.transaction() as tx:
        return tuple(len(tx.session.scalars(select(table)).all()) for table in (TemperatureRecord, KitExposure))


@pytest.mark.requirement("SHIP-05")
def test_the_pharmacist_reads_the_logger_of_the_shelf_and_kits_go_into_quarantine(stocked: World) -> None:
    pharmacist = desk(stocked, "pharmacist.cn02")
    kits = shelf(stocked)
    assert "Read a temperature logger" in words(pharmacist.open(f"{SITE}/stock/"))

    review = pharmacist.send(SHELF, sent(stocked, *LONGER_OUT) | {f"elsewhere-{kits[0]}": "yes"}, status=200)

    told = words(review.text)
    assert "Above the range 1 h 10 min" in told
    # 70 of 80 minutes at 31, 10 at 20: e^-32.87851 (7 + e^-1.23372) / 8 = e^-32.97128; 10,000 / 32.97128 = 303.294 K
    assert "Mean kinetic temperature 30.14 °C" in told
    assert f"Go into quarantine {len(kits) - 1}" in told
    assert "<svg" in review.text
    assert counted(stocked) == (0, 0)
    assert len(review.data) < 200_000
    shown = words(pharmacist.follow(pharmacist.go_on(review, RECORD)))
    assert "Readings recorded" in shown
    assert counted(stocked) == (1, len(kits) - 1)
    assert shelf(stocked) == kits[:1]
    life = words(pharmacist.open(f"{SITE}/stock/{kits[1]}/"))
    assert "Out of range, in all 1 h 10 min · allowed 60 min · CN02-T1" in life
    assert "out of its storage range" in life


@pytest.mark.requirement("SHIP-05")
def test_quality_sees_figures_and_picture_when_deciding(stocked: World) -> None:
    pharmacist = desk(stocked, "pharmacist.cn02")
    pharmacist.go_on(pharmacist.send(SHELF, sent(stocked, *LONGER_OUT), status=200), RECORD)
    kit = shelf(stocked, "quarantined")[0]
    quality = desk(stocked, "quality")

    page = quality.open(f"/trials/SIRIUS/supply/quarantine/{kit}/decide")

    assert "Out of range in all: 1 h 10 min. Allowed: 60 min." in words(page)
    assert "Highest 31.00 °C" in words(page)
    assert 'class="line-real"' in page
    answer = quality.send(
        f"/trials/SIRIUS/supply/quarantine/{kit}/decide", {"decision": "release", "document": "QA 7"}, status=200
    )
    quality.go_on(answer)
    assert shelf(stocked) == [kit]


@pytest.mark.requirement("SHIP-05")
def test_a_shipment_read_on_arrival_is_received_as_an_excursion(stocked: World) -> None:
    stocked.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 1, "more"))
    stocked.ship_all()
    stocked.clock.advance(timedelta(days=1))
    (shipment,) = stocked.shipments("in_transit")
    kits = sorted(stocked.kit_numbers(shipment))
    pharmacist = desk(stocked, "pharmacist.cn02")
    page = f"{SITE}/shipments/{shipment}/"
    pharmacist.go_on(pharmacist.send(f"{page}temperatures", sent(stocked, *LONGER_OUT), status=200), RECORD)
    assert "Out of range for longer than allowed" in words(pharmacist.open(page))

    good = {f"outcome-{kit}": "good" for kit in kits}
    refused = pharmacist.send(page, good, status=422)
    assert f"Kit {kits[0]} was out of its storage range for too long" in words(refused.text)
    filled = pharmacist.send(page, {"unanswered": "good"}, status=200)
    assert filled.text.count('value="excursion" checked') == len(kits)
    pharmacist.go_on(pharmacist.send(page, {f"outcome-{kit}": "excursion" for kit in kits}, status=200))
    assert shelf(stocked, "quarantined") == kits


def test_a_refused_file_is_told_in_words_and_nothing_is_recorded(stocked: World) -> None:
    pharmacist = desk(stocked, "pharmacist.cn02")
    wrong = {
        "Choose the file of the logger.": {"zone": "UTC"},
        "The file is larger than 500 kB": {"file": (BytesIO(b"x" * (LARGEST_FILE + 1)), "a.csv"), "zone": "UTC"},
        "The logger has no readings from": {"file": (BytesIO(gapped(stocked)), "a.csv"), "zone": "UTC"},
        "Give date and time such as": sent(stocked, *HOUR_OUT) | {"start": "yesterday"},
        "The file has no line that names": {"file": (BytesIO(b"%PDF"), "a.csv"), "zone": "UTC"},
    }
    for sentence, fields in wrong.items():
        assert sentence in words(pharmacist.send(SHELF, fields, status=422).text)

    assert counted(stocked) == (0, 0)


def test_the_file_stays_when_something_else_is_mended(stocked: World) -> None:
    pharmacist = desk(stocked, "pharmacist.cn02")
    review = pharmacist.send(SHELF, sent(stocked, *HOUR_OUT), status=200)

    form = pharmacist.go_on(review, {"step": "edit"}, status=200)

    assert "The file chosen before is kept" in words(form.text)
    assert packed(logger_file(stocked.clock.now(), *HOUR_OUT)) in form.text
    pharmacist.go_on(pharmacist.go_on(form, {"zone": "UTC"}, status=200), RECORD)
    assert counted(stocked)[0] == 1


def test_the_review_of_the_largest_file_stays_within_the_size_of_a_page(stocked: World) -> None:
    degrees = [f"{20 + (place * 7919) % 113 / 10:.1f}" for place in range(18_000)]
    lines = [
        f"{stocked.clock.now() - timedelta(minutes=5 * place):%Y-%m-%d %H:%M:%S},{each}"
        for place, each in enumerate(degrees)
    ]
    content = "\n".join(["time (UTC),temp °C", *lines]).encode()
    assert LARGEST_FILE - 70_000 < len(content) <= LARGEST_FILE

    sent = {"file": (BytesIO(content), "a.csv"), "zone": "UTC"}
    review = desk(stocked, "pharmacist.cn02").send(SHELF, sent, status=200)

    assert "The longest 50 of" in words(review.text)
    assert len(review.data) < 200_000


def test_records_are_listed_in_the_account_and_another_sites_are_not_found(stocked: World) -> None:
    pharmacist = desk(stocked, "pharmacist.cn02")
    pharmacist.go_on(pharmacist.send(SHELF, sent(stocked, *HOUR_OUT), status=200), RECORD)

    assert "CN02-T1 the shelf" in words(desk(stocked, "monitor").open(f"{SITE}/account/"))
    desk(stocked, "monitor").open(f"{SITE}/temperatures/CN02-T1/")
    desk(stocked, "monitor").open("/trials/SIRIUS/sites/CN03/temperatures/CN02-T1/", status=404)


@pytest.mark.parametrize("content", [b"", b"time", b"x" * 1000])
def test_a_file_travels_unchanged(content: bytes) -> None:
    assert unpacked(packed(content), 1000) == content


def test_what_is_no_packed_file_is_nothing_and_a_larger_one_is_cut() -> None:
    assert unpacked("§", 10) == unpacked("AAAA", 10) == b""
    assert unpacked(packed(b"x" * 10_000_000), 10) == b"x" * 11
