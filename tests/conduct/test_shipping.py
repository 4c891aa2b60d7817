"""Lots, shipments and quarantine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from rts.conduct.closing_shipments import CloseShipment, close_shipment
from rts.conduct.consignments import opened_depot
from rts.conduct.deciding_quarantine import DecideQuarantine, decide_quarantine
from rts.conduct.picking_shipments import PickShipment, pick_shipment
from rts.conduct.places import place_of, supplying_depot
from rts.conduct.receiving_shipments import ReceiveShipment, receive_shipment
from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.conduct.sending_shipments import ShipShipment, ship_shipment
from rts.conduct.site_gates import CloseSite, close_site
from rts.store.tables import BlindedLot, Kit, Notice, Shipment, ShipmentKit
from rts.supply.kits import KitState
from tests.world import World

DEPOT, PHARMACIST = "depot.dep-sh", "pharmacist.cn02"


def request(world: World, sets: int = 2, site: str = "CN02") -> str:
    done = world.do(request_shipment, "supply", RequestShipment("SIRIUS", site, sets, "low stock"))
    return str(done.ids["shipment"])


def in_transit(world: World) -> str:
    number = request(world)
    world.ship_all()
    return number


def states(world: World, shipment: str) -> set[str]:
    with world.store.transaction() as tx:
        statement = select(Kit.state).join(ShipmentKit).join(Shipment).where(Shipment.number == shipment)
        return set(tx.session.scalars(statement))


def shipment_state(world: World, number: str) -> str:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Shipment.state).where(Shipment.number == number)).one()


@pytest.mark.requirement("BLIND-03")
def test_a_shipment_by_hand_holds_every_type_and_names_none(world: World) -> None:
    number = request(world, 3)

    kits = world.kit_numbers(number)
    assert len(kits) == 6
    assert world.last_event("shipment.requested")[1] == {
        "site": "CN02",
        "depot": "DEP-SH",
        "kits": kits,
        "ship_on": "2026-01-12",
        "expected_on": "2026-01-13",
        "opened": {"definition_version": 1, "list": 588},
    }
    assert (shipment_state(world, number), states(world, number)) == ("requested", {"requested"})


@pytest.mark.parametrize(
    ("sets", "reason", "rules"),
    [
        (0, "x", ("shipment.sets",)),
        (31, "x", ("shipment.sets",)),
        (0, "", ("shipment.sets", "reason.missing")),
    ],
)
def test_a_request_without_its_facts_is_refused(world: World, sets: int, reason: str, rules: tuple[str, ...]) -> None:
    with world.refuses("invalid", *rules):
        world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", sets, reason))


@pytest.mark.requirement("SHIP-02")
@pytest.mark.parametrize("site", ["CN04", "CN02"])
def test_nothing_is_sent_to_a_site_that_is_not_open(world: World, site: str) -> None:
    world.do(close_site, "manager", CloseSite("SIRIUS", "CN02", "ended"))

    with world.refuses("rule", "site.not_open"):
        request(world, site=site)


@pytest.mark.requirement("EXP-02")
def test_an_empty_depot_refuses_without_saying_what_is_short(world: World) -> None:
    # Do not ship: 60 days before 2027-01-05 no kit of the only released lot may leave.
    world.clock.set(datetime(2026, 11, 10, 1, tzinfo=UTC))

    with world.refuses("rule", "depot.empty") as caught:
        request(world)

    assert str(caught.value) == "Depot DEP-SH has no kits it may ship now. Nothing was requested."
    assert world.last_event("refused")[1] is None


@pytest.mark.requirement("SHIP-03")
def test_a_box_is_packed_with_exactly_the_kits_the_system_named(world: World) -> None:
    number = request(world)
    kits = world.kit_numbers(number)
    foreign = world.kit_numbers(request(world))[0]

    scanned = (kits[0], kits[0], kits[1], foreign)
    with world.refuses("invalid", "kit.not_in_shipment", "kit.not_scanned", "kit.not_scanned", "kit.scanned_twice"):
        world.do(pick_shipment, DEPOT, PickShipment("SIRIUS", number, scanned))
    world.do(pick_shipment, DEPOT, PickShipment("SIRIUS", number, tuple(kit.lower() for kit in kits)))

    assert shipment_state(world, number) == "picked"
    with world.refuses("conflict", "shipment.state"):
        world.do(pick_shipment, DEPOT, PickShipment("SIRIUS", number, tuple(kits)))


def test_a_box_leaves_once_packed_and_with_a_carrier(world: World) -> None:
    number = request(world)
    with world.refuses("conflict", "shipment.state"):
        world.do(ship_shipment, DEPOT, ShipShipment("SIRIUS", number, "SF", "1"))
    world.do(pick_shipment, DEPOT, PickShipment("SIRIUS", number, tuple(world.kit_numbers(number))))
    with world.refuses("rule", "carrier.missing"):
        world.do(ship_shipment, DEPOT, ShipShipment("SIRIUS", number, " ", "1"))

    world.do(ship_shipment, DEPOT, ShipShipment("SIRIUS", number, "SF", "1", "LOG-7"))

    assert (shipment_state(world, number), states(world, number)) == ("in_transit", {"in_transit"})
    with world.store.transaction() as tx:
        told = tx.session.scalars(select(Notice).where(Notice.kind == "shipment").order_by(Notice.id.desc())).first()
        assert told is not None
        assert (told.person.username, told.body) == (
            PHARMACIST,
            f"Shipment {number} to site CN02 is expected on 2026-01-13. Sign in to receive it kit by kit.",
        )


@pytest.mark.requirement("EXP-02")
@pytest.mark.requirement("EXP-03")
def test_a_kit_too_near_its_expiry_does_not_leave_the_depot(world: World) -> None:
    number = request(world, 1)
    world.do(pick_shipment, DEPOT, PickShipment("SIRIUS", number, tuple(world.kit_numbers(number))))
    world.clock.set(datetime(2026, 11, 6, 16, 0, tzinfo=UTC))  # 7 November in Shanghai: 59 days left

    with world.refuses("rule", "kit.do_not_ship", "kit.do_not_ship"):
        world.do(ship_shipment, DEPOT, ShipShipment("SIRIUS", number, "SF", "1"))
    world.clock.advance(timedelta(minutes=-1))
    world.do(ship_shipment, DEPOT, ShipShipment("SIRIUS", number, "SF", "1"))

    assert shipment_state(world, number) == "in_transit"


@pytest.mark.requirement("SHIP-04")
@pytest.mark.requirement("SHIP-05")
def test_receipt_is_kit_by_kit_and_an_excursion_is_in_quarantine_at_once(world: World) -> None:
    number = in_transit(world)
    kits = world.kit_numbers(number)
    outcomes = dict(zip(kits, ("good", "damaged", "missing", "excursion"), strict=True))

    world.do(receive_shipment, PHARMACIST, ReceiveShipment("SIRIUS", number, outcomes))

    with world.store.transaction() as tx:
        found = [tx.session.scalars(select(Kit.state).where(Kit.number == kit)).one() for kit in kits]
        trouble = tx.session.scalars(select(Notice.body).where(Notice.kind == "receipt_trouble")).all()
    assert found == ["available", "damaged", "missing", "quarantined"]
    assert (
        trouble
        == [
            f"Of shipment {number} to site CN02, 3 kits were damaged, missing or exposed to a temperature excursion. "
            "Sign in to see which and to decide."
        ]
        * 2
    )


@pytest.mark.requirement("SHIP-04")
def test_every_kit_of_a_shipment_needs_an_answer_and_no_other(world: World) -> None:
    number = in_transit(world)
    first, second, third, fourth = world.kit_numbers(number)

    with world.refuses("invalid", "kit.not_in_shipment", "kit.no_outcome", "kit.no_outcome"):
        outcomes = {first: "good", second: "good", third: "eaten", "K1": "good"}
        world.do(receive_shipment, PHARMACIST, ReceiveShipment("SIRIUS", number, outcomes))

    assert fourth in world.kit_numbers(number)


def test_a_shipment_is_received_once_and_by_its_own_site(world: World) -> None:
    number = in_transit(world)
    outcomes = dict.fromkeys(world.kit_numbers(number), "good")
    with world.refuses("not_found", "access.scope"):
        world.do(receive_shipment, "pharmacist.cn03", ReceiveShipment("SIRIUS", number, outcomes))
    world.do(receive_shipment, PHARMACIST, ReceiveShipment("SIRIUS", number, outcomes))

    with world.refuses("conflict", "shipment.state"):
        world.do(receive_shipment, PHARMACIST, ReceiveShipment("SIRIUS", number, outcomes))


@pytest.mark.parametrize(
    ("how", "ready", "after"), [("cancelled", False, "in_depot"), ("lost", True, "lost_in_transit")]
)
def test_a_shipment_that_will_not_arrive_is_closed(world: World, how: str, ready: bool, after: str) -> None:
    number = in_transit(world) if ready else request(world)
    wrong = {"cancelled": "lost", "lost": "cancelled"}[how]
    with world.refuses("conflict", "shipment.state"):
        world.do(close_shipment, "supply", CloseShipment("SIRIUS", number, wrong, "storm"))
    with world.refuses("invalid", "shipment.how", "reason.missing"):
        world.do(close_shipment, "supply", CloseShipment("SIRIUS", number, "eaten", ""))

    world.do(close_shipment, "supply", CloseShipment("SIRIUS", number, how, "storm"))

    assert (shipment_state(world, number), states(world, number)) == (how, {after})


@pytest.mark.requirement("SHIP-05")
@pytest.mark.parametrize(("release", "after"), [(True, "available"), (False, "rejected")])
def test_quality_decides_on_a_kit_in_quarantine_with_a_document(world: World, release: bool, after: str) -> None:
    number = in_transit(world)
    outcomes = dict.fromkeys(world.kit_numbers(number), "excursion")
    world.do(receive_shipment, PHARMACIST, ReceiveShipment("SIRIUS", number, outcomes))
    kit = world.kit_numbers(number)[0]
    with world.refuses("invalid", "document.missing"):
        world.do(decide_quarantine, "quality", DecideQuarantine("SIRIUS", kit, release, " "))
    with world.refuses("forbidden", "access.permission"):
        world.do(decide_quarantine, "supply", DecideQuarantine("SIRIUS", kit, release, "QA-1"))

    world.do(decide_quarantine, "quality", DecideQuarantine("SIRIUS", kit, release, "QA-1"))

    with world.store.transaction() as tx:
        assert tx.session.scalars(select(Kit.state).where(Kit.number == kit)).one() == after
    with world.refuses("conflict", "kit.state"):
        world.do(decide_quarantine, "quality", DecideQuarantine("SIRIUS", kit, release, "QA-2"))
    with world.refuses("not_found", "access.scope"):
        world.do(decide_quarantine, "quality", DecideQuarantine("SIRIUS", "K1", release, "QA-1"))


@pytest.mark.requirement("SHIP-01")
def test_a_lot_is_released_once_with_a_document(world: World) -> None:
    with world.refuses("invalid", "document.missing"):
        world.do(release_lot, "quality", ReleaseLot("SIRIUS", "BL-2602", ""))
    with world.refuses("not_found", "access.scope"):
        world.do(release_lot, "quality", ReleaseLot("SIRIUS", "BL-9999", "QP 2"))
    with world.refuses("conflict", "lot.released"):
        world.do(release_lot, "quality", ReleaseLot("SIRIUS", "BL-2601", "QP 2"))
    with world.refuses("forbidden", "access.permission"):
        world.do(release_lot, DEPOT, ReleaseLot("SIRIUS", "BL-2602", "QP 2"))

    world.do(release_lot, "quality", ReleaseLot("SIRIUS", "BL-2602", "QP 2"))

    with world.store.transaction() as tx:
        lot = tx.session.scalars(select(BlindedLot).where(BlindedLot.code == "BL-2602")).one()
        assert (lot.released_by, lot.release_document) == ("quality", "QP 2")


@pytest.mark.requirement("SHIP-01")
def test_kits_of_a_lot_not_released_are_never_requested(world: World) -> None:
    for _ in range(9):
        request(world, 30)  # 594 kits are left of the released lot
    with world.refuses("rule", "depot.short"):
        request(world, 28)
    request(world, 24)

    with world.refuses("rule", "depot.empty"):
        request(world, 1)


@pytest.mark.requirement("BLIND-03")
def test_a_box_with_one_type_alone_is_never_sent(world: World) -> None:
    with world.opened() as (tx, opener):
        place = place_of(tx, tx.site(tx.trial("SIRIUS"), "CN02"))
        stock = opened_depot(tx, supplying_depot(tx, place), opener)
        gone = [opened.kit.id for opened in stock if opened.kit_type == stock[0].kit_type]
        tx.session.execute(update(Kit).where(Kit.id.in_(gone)).values(state=KitState.EXPIRED))

    with world.refuses("rule", "depot.short") as caught:
        request(world)

    assert str(caught.value) == "Depot DEP-SH cannot fill these sets now. Nothing was requested."
    assert world.last_event("refused")[1] is None
