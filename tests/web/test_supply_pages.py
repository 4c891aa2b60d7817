from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import select

from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.receiving_shipments import ReceiveShipment, receive_shipment
from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.reports.supply import days_of_cover, overview, site_stocks
from rts.store.tables import BlindedLot, Kit, Shipment
from tests.web.office import desk, words
from tests.world import World

SUPPLY = "/trials/SIRIUS/supply"
CODES = ("KILDU", "ORVEN", "GAFIB", "WUBEK", "SIRIUS-R1", "SIRIUS-K1")


@pytest.fixture
def waiting(world: World) -> str:
    """The number of a shipment that site CN02 needs and the depot has yet to pick."""
    for _subject in range(4):
        world.dispense(world.randomise("CN02"))
    world.night()
    return world.shipments("requested")[0]


@pytest.fixture
def quarantined(world: World, waiting: str) -> str:
    """The number of a kit that reached site CN02 after a temperature excursion."""
    world.ship_all()
    world.clock.advance(timedelta(days=2))
    kits = world.kit_numbers(waiting)
    outcomes = dict.fromkeys(kits, "good") | {kits[0]: "excursion"}
    world.do(receive_shipment, "pharmacist.cn02", ReceiveShipment("SIRIUS", waiting, outcomes))
    return kits[0]


def shipment_state(world: World, number: str) -> str:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Shipment.state).where(Shipment.number == number)).one()


def kit_state(world: World, number: str) -> str:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Kit.state).where(Kit.number == number)).one()


def test_the_supply_manager_requests_a_shipment_and_cancels_it(world: World) -> None:
    supply = desk(world, "supply")
    fields = {"site": "CN03", "sets": "2", "reason": "Two families come on Monday"}

    review = supply.send(f"{SUPPLY}/shipments/request", fields, status=200)
    assert "CN03" in words(review.text)
    assert world.shipments("requested") == []
    receipt = words(supply.follow(supply.go_on(review)))
    (number,) = world.shipments("requested")
    assert "Shipment requested" in receipt
    assert len(world.kit_numbers(number)) == 4

    review = supply.send(f"{SUPPLY}/shipments/{number}/close", {"reason": "They come later"}, status=200)
    assert shipment_state(world, number) == "requested"
    receipt = words(supply.follow(supply.go_on(review)))
    assert "Shipment cancelled" in receipt
    assert shipment_state(world, number) == "cancelled"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"site": "CN09", "sets": "1", "reason": "r"}, "Choose an open site."),
        ({"site": "CN03", "sets": "some", "reason": "r"}, "Give a whole number."),
        ({"site": "CN03", "sets": "1", "reason": " "}, "Give the reason."),
        ({"site": "CN03", "sets": "0", "reason": "r"}, "Between 1 and 30 sets fit in a consignment."),
        ({"site": "CN03", "sets": "31", "reason": "r"}, "Between 1 and 30 sets fit in a consignment."),
    ],
)
def test_a_request_with_a_mistake_comes_back_with_it(world: World, fields: dict[str, str], said: str) -> None:
    page = desk(world, "supply").send(f"{SUPPLY}/shipments/request", fields, status=422)

    assert said in words(page.text)
    assert "This will be recorded" not in words(page.text)
    assert world.shipments("requested") == []


@pytest.mark.requirement("BLIND-03")
@pytest.mark.parametrize("short", ["GAFIB", "WUBEK"])
def test_a_site_that_the_depot_cannot_supply_is_a_task_in_words_that_fit_either_kind(world: World, short: str) -> None:
    world.take_from_depot(*world.depot_stock()["BL-2601"][short])
    world.lose("CN02", *world.kit_types_on_the_shelf("CN02"))
    world.clock.advance(timedelta(days=1))
    assert "cannot supply" not in words(desk(world, "supply").open(SUPPLY + "/"))
    world.night()

    for username in ("supply", "quality"):
        page = words(desk(world, username).open(SUPPLY + "/"))
        assert (
            "Depot DEP-SH cannot supply CN02 Beijing site 2 "
            "Release a lot or bring kits to the depot; the order is tried again every night Not supplied"
        ) in page
    assert "cannot supply" not in words(desk(world, "auditor").open(SUPPLY + "/"))

    world.do(release_lot, "quality", ReleaseLot("SIRIUS", "BL-2602", "QP 2"))
    world.clock.advance(timedelta(days=1))
    world.night()
    assert "cannot supply" not in words(desk(world, "supply").open(SUPPLY + "/"))


def test_the_review_of_a_decision_promises_nothing_that_is_then_refused(world: World) -> None:
    subject = world.randomise("CN02")
    kit = world.kit_for(subject, "W0")
    world.do(end_treatment, "investigator.cn02", EndTreatment("SIRIUS", subject, "withdrawn", "moved away"))

    page = desk(world, "quality").send(
        f"{SUPPLY}/quarantine/{kit}/decide", {"decision": "release", "document": "QA 7"}, status=409
    )

    assert "was set aside for a subject once" in words(page.text)
    assert kit_state(world, kit) == "quarantined"


def test_an_overdue_shipment_is_a_task_and_is_written_off_as_lost(world: World, waiting: str) -> None:
    world.ship_all()
    supply = desk(world, "supply")
    assert "Find out where" not in words(supply.open(SUPPLY + "/"))
    world.clock.advance(timedelta(days=15))
    supply = desk(world, "supply")

    assert f"Find out where {waiting} is" in words(supply.open(SUPPLY + "/"))
    review = supply.send(f"{SUPPLY}/shipments/{waiting}/close", {"reason": "Carrier lost it"}, status=200)
    receipt = words(supply.follow(supply.go_on(review)))

    assert "Shipment written off as lost" in receipt
    assert shipment_state(world, waiting) == "lost"


def test_quality_releases_a_lot(world: World) -> None:
    quality = desk(world, "quality")
    assert "Release blinded lot BL-2602" in words(quality.open(SUPPLY + "/"))

    review = quality.send(f"{SUPPLY}/lots/BL-2602/release", {"document": "QP 2"}, status=200)
    receipt = words(quality.follow(quality.go_on(review)))

    assert "Blinded lot released" in receipt
    assert "Document QP 2" in receipt
    with world.store.transaction() as tx:
        lot = tx.session.scalars(select(BlindedLot).where(BlindedLot.code == "BL-2602")).one()
    assert (lot.release_document, lot.released_by) == ("QP 2", "quality")


@pytest.mark.parametrize(("decision", "state"), [("release", "available"), ("reject", "rejected")])
def test_quality_decides_on_a_kit_in_quarantine(world: World, quarantined: str, decision: str, state: str) -> None:
    quality = desk(world, "quality")
    assert "Decide on kits in quarantine" in words(quality.open(SUPPLY + "/"))
    path = f"{SUPPLY}/quarantine/{quarantined}/decide"

    assert "Choose what is decided." in words(quality.send(path, {"document": "QA 7"}, status=422).text)
    review = quality.send(path, {"decision": decision, "document": "QA 7"}, status=200)
    assert kit_state(world, quarantined) == "quarantined"
    receipt = words(quality.follow(quality.go_on(review)))

    assert ("Kit released from quarantine" in receipt) == (decision == "release")
    assert "Document QA 7" in receipt
    assert kit_state(world, quarantined) == state


def test_the_supply_manager_does_not_decide_on_quarantine(world: World, quarantined: str) -> None:
    supply = desk(world, "supply")

    assert quarantined in words(supply.open(f"{SUPPLY}/quarantine/")).replace(" ", "")
    assert supply.client.get(f"{SUPPLY}/quarantine/{quarantined}/decide").status_code == 403


def test_stock_by_site_counts_what_visits_will_need(world: World, waiting: str) -> None:
    with world.store.transaction() as tx:
        stocks = site_stocks(tx, tx.trial("SIRIUS"))
        page = overview(tx, tx.trial("SIRIUS"))
    first, second = (len(world.kit_numbers(number)) for number in world.shipments("received"))

    here = stocks[0]
    assert [stock.code for stock in stocks] == ["CN02", "CN03"]
    # Four subjects: week 0 dispensed, week 4 due in 28 days, weeks 8, 12, 16, 20 later.
    assert (here.usable, here.due, here.coming) == (first - 4, 4, len(world.kit_numbers(waiting)))
    assert (stocks[1].usable, stocks[1].due, stocks[1].days_of_cover) == (second, 0, None)
    assert page.shelf_by_day[-1] == (date(2026, 1, 8), first + second - 4)
    assert page.at_sites == first + second - 4


def test_cover_ends_on_the_day_that_a_scheduled_kit_is_lacking() -> None:
    today = date(2026, 3, 1)
    demand = [(date(2026, 3, 20), 1), (date(2026, 2, 27), 1), (date(2026, 3, 8), 1)]

    assert days_of_cover(0, demand, today) == 0
    assert days_of_cover(1, demand, today) == 7
    assert days_of_cover(2, demand, today) == 19
    assert days_of_cover(3, demand, today) is None
    assert days_of_cover(0, [(date(2026, 6, 30), 1)], today) is None


@pytest.mark.parametrize("person", ["supply", "quality", "manager", "auditor"])
def test_no_page_of_supply_tells_a_type(world: World, quarantined: str, person: str) -> None:
    reader = desk(world, person)
    number = world.shipments("received")[-1]

    for end in ("/", "/shipments/", f"/shipments/{number}/", "/lots/", "/quarantine/"):
        page = reader.open(SUPPLY + end)
        assert not [code for code in CODES if code in page]


def test_only_its_roles_open_supply(world: World) -> None:
    assert desk(world, "pharmacist.cn02").client.get(SUPPLY + "/").status_code == 403
    assert desk(world, "auditor").client.get(f"{SUPPLY}/shipments/request").status_code == 403
