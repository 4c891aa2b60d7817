from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from rts.conduct.picking_shipments import PickShipment, pick_shipment
from rts.store.tables import Shipment
from tests.web.office import desk, words
from tests.world import World

DEPOT = "/trials/SIRIUS/depots/DEP-SH"
CODES = ("KILDU", "ORVEN", "GAFIB", "WUBEK", "SIRIUS-R1", "SIRIUS-K1", "study-drug")


@pytest.fixture
def waiting(world: World) -> str:
    """The number of a shipment that site CN02 needs and the depot has yet to pick."""
    for _subject in range(4):
        world.dispense(world.randomise("CN02"))
    world.night()
    return world.shipments("requested")[0]


def state_of(world: World, shipment: str) -> str:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Shipment.state).where(Shipment.number == shipment)).one()


def test_a_depot_scans_every_kit_confirms_the_box_and_sends_it(world: World, waiting: str) -> None:
    depot = desk(world, "depot.dep-sh")
    path = f"{DEPOT}/shipments/{waiting}/"
    kits = world.kit_numbers(waiting)
    assert f"Pick {waiting} for CN02" in words(depot.open(DEPOT + "/"))

    page = depot.send(path + "pick", {"kit": kits[0].lower()}, status=200)
    for place, kit in enumerate(kits[1:], start=2):
        assert f"{len(kits) - place + 1} kit" in words(page.text)
        page = depot.go_on(page, {"kit": kit}, status=200)
    assert "Every kit is in the box" in words(page.text)
    assert state_of(world, waiting) == "requested"
    receipt = words(depot.follow(depot.go_on(page)))
    assert "Box checked" in receipt
    assert state_of(world, waiting) == "picked"

    review = depot.send(path + "ship", {"carrier": "SF Express", "tracking": "SF-1", "logger": "L9"}, status=200)
    assert state_of(world, waiting) == "picked"
    receipt = words(depot.follow(depot.go_on(review)))
    assert "Shipment sent" in receipt
    assert "Carrier SF Express" in receipt
    assert state_of(world, waiting) == "in_transit"


def test_a_foreign_kit_is_named_and_stays_out_of_the_box(world: World, waiting: str) -> None:
    depot = desk(world, "depot.dep-sh")
    path = f"{DEPOT}/shipments/{waiting}/pick"
    kits = world.kit_numbers(waiting)
    first = depot.send(path, {"kit": kits[0]}, status=200)

    page = depot.go_on(first, {"kit": "K 999 999"}, status=422)

    assert "Kit K999999 does not belong to this shipment" in words(page.text)
    assert f"1 of {len(kits)}" in words(page.text)
    again = depot.go_on(page, {"kit": kits[0]}, status=422)
    assert "is in the box already" in words(again.text)


def test_a_box_that_lacks_a_kit_cannot_be_confirmed(world: World, waiting: str) -> None:
    depot = desk(world, "depot.dep-sh")
    path = f"{DEPOT}/shipments/{waiting}/pick"
    kits = world.kit_numbers(waiting)

    page = depot.send(path, {"step": "confirm", "in_box": ",".join(kits[1:])}, status=422)

    assert state_of(world, waiting) == "requested"
    assert "1 kit still to find" in words(page.text)


def test_kits_stand_by_number_and_no_page_of_the_depot_tells_a_type(world: World, waiting: str) -> None:
    depot = desk(world, "depot.dep-sh")
    path = f"{DEPOT}/shipments/{waiting}/"

    pages = [depot.open(DEPOT + end) for end in ("/", "/shipments/", "/stock")]
    pages += [depot.open(path + end) for end in ("", "pick", "packing-list")]

    kits = world.kit_numbers(waiting)
    for page in pages[3:]:
        assert [kit for kit in sorted(kits) if kit in words(page).replace(" ", "")] == sorted(kits)
        places = [words(page).replace(" ", "").index(kit) for kit in sorted(kits)]
        assert places == sorted(places)
    assert not [code for code in CODES for page in pages if code in page]
    assert f'aria-label="DataMatrix {waiting}"' in pages[-1]


def test_the_stock_of_the_depot_counts_each_lot_as_a_whole(world: World) -> None:
    page = words(desk(world, "depot.dep-sh").open(f"{DEPOT}/stock"))
    sent = sum(len(world.kit_numbers(number)) for number in world.shipments("received"))

    assert f"BL-2601 Released 2027-01-05 2026-11-06 0 {600 - sent} 0" in page
    assert "BL-2602 Not released 2027-10-07 2027-08-08 540 0 0" in page


def test_those_who_only_look_pick_nothing(world: World, waiting: str) -> None:
    supply = desk(world, "supply")
    path = f"{DEPOT}/shipments/{waiting}/"

    assert "Pick the kits" not in words(supply.open(path))
    assert supply.client.get(path + "pick").status_code == 403
    assert desk(world, "pharmacist.cn02").client.get(path).status_code in {403, 404}


@pytest.mark.requirement("EXP-02")
def test_the_review_of_a_dispatch_promises_nothing_that_is_then_refused(world: World, waiting: str) -> None:
    kits = tuple(world.kit_numbers(waiting))
    world.do(pick_shipment, "depot.dep-sh", PickShipment("SIRIUS", waiting, kits))
    world.clock.set(datetime(2026, 11, 7, 1, tzinfo=UTC))  # 59 days before the lot expires: one too few
    depot = desk(world, "depot.dep-sh")

    page = depot.send(f"{DEPOT}/shipments/{waiting}/ship", {"carrier": "SF Express"}, status=409)

    assert f"Kit {kits[0]} may no longer be shipped" in words(page.text)
    assert state_of(world, waiting) == "picked"
