"""Recall of a blinded lot: one deed blocks every kit of it, wherever it lies."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import select

from rts.conduct.deciding_quarantine import DecideQuarantine, decide_quarantine
from rts.conduct.handing_over import HandOver, hand_over
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.recalling_lots import EndRecall, RecallLot, end_recall, lot_named, recall_lot
from rts.conduct.receiving_shipments import ReceiveShipment, receive_shipment
from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.conduct.returning_kits import ReturnKit, return_kit
from rts.reports.accountability import account_of
from rts.reports.lots import LotTrace, trace_lot
from rts.store.checks import run_checks
from rts.store.tables import Kit, Shipment
from tests.world import World

LOT = "BL-2601"
ORDER = RecallLot("SIRIUS", LOT, "Recall order 1", "a label may come off")


def recall(world: World) -> None:
    world.do(recall_lot, "quality", ORDER)


def end(world: World, how: str) -> None:
    world.do(end_recall, "quality", EndRecall("SIRIUS", LOT, how, "QA decision 9"))


def states(world: World) -> Counter[str]:
    with world.store.transaction() as tx:
        lot = lot_named(tx, tx.trial("SIRIUS"), LOT)
        return Counter(tx.session.scalars(select(Kit.state).where(Kit.blinded_lot_id == lot.id)))


def trace(world: World, *, place: str = "", state: str = "", text: str = "") -> LotTrace:
    with world.store.transaction() as tx:
        return trace_lot(tx, lot_named(tx, tx.trial("SIRIUS"), LOT), place=place, state=state, text=text)


@pytest.mark.requirement("SHIP-08")
def test_one_deed_blocks_every_kit_and_the_trace_shows_where_each_is(world: World) -> None:
    subject = world.randomise("CN02")
    given = world.dispense(subject)
    waiting = world.kit_for(world.randomise("CN03"), "W0")
    world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 2, "a holiday"))
    before = states(world)

    recall(world)

    after = states(world)
    assert after["dispensed"] == 1
    assert after["recalled"] == before["available"] + before["assigned"]
    assert after["recalled_in_depot"] == before["in_depot"] + before["requested"]
    assert sum(after.values()) == sum(before.values())
    with world.store.transaction() as tx:
        assert set(tx.session.scalars(select(Shipment.state).where(Shipment.state != "received"))) == {"cancelled"}
    found = trace(world)
    assert found.recall is not None
    assert (found.recall.document, found.recall.reason) == ("Recall order 1", "a label may come off")
    assert sum(sum(line.counts.values()) for line in found.places) == found.total == sum(before.values())
    assert [(kit.number, kit.subject, kit.place) for kit in found.kits if kit.subject] == [(given, subject, "CN02")]
    assert next(kit for kit in found.kits if kit.number == waiting).state == "recalled"
    assert {mail[0] for mail in world.mails("recall")} == {
        *("supply", "manager"),
        *(f"depot.{depot.code.lower()}" for depot in world.stage.definition.depots),
        *(f"{role}.{site}" for role in ("pharmacist", "investigator") for site in ("cn02", "cn03")),
    }
    assert run_checks(world.store) == []


def test_nothing_of_a_recalled_lot_is_handed_over_sent_or_released(world: World) -> None:
    subject = world.randomise("CN02")
    kit = world.kit_for(subject, "W0")
    recall(world)

    with world.refuses("conflict", "visit.not_prepared"):
        world.do(hand_over, "pharmacist.cn02", HandOver("SIRIUS", subject, "W0", kit))
    with world.refuses("rule", "kit.none_suitable"):
        world.do(prepare_visit, "pharmacist.cn02", PrepareVisit("SIRIUS", subject, "W0"))
    with world.refuses("rule", "depot.empty"):
        world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 1, "more"))
    with world.refuses("conflict", "lot.recalled"):
        recall(world)
    world.do(recall_lot, "quality", RecallLot("SIRIUS", "BL-2602", "Recall order 2", "the same label"))
    with world.refuses("rule", "lot.recalled"):
        world.do(release_lot, "quality", ReleaseLot("SIRIUS", "BL-2602", "QP 2"))


def test_what_is_on_its_way_is_blocked_when_it_arrives(world: World) -> None:
    world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 2, "a holiday"))
    world.ship_all()
    (number,) = world.shipments("in_transit")
    kits = world.kit_numbers(number)
    recall(world)
    assert states(world)["in_transit"] == len(kits)

    outcomes = dict.fromkeys(kits, "good") | {kits[0]: "damaged", kits[1]: "excursion"}
    world.do(receive_shipment, "pharmacist.cn02", ReceiveShipment("SIRIUS", number, outcomes))

    now = {kit.number: kit.state for kit in trace(world).kits}
    assert [now[kit] for kit in kits] == ["damaged", "quarantined", *["recalled"] * (len(kits) - 2)]
    release = DecideQuarantine("SIRIUS", kits[1], release=True, document="QA 1")
    with world.refuses("rule", "lot.recalled"):
        world.do(decide_quarantine, "quality", release)
    end(world, "lifted")
    assert {kit.number: kit.state for kit in trace(world).kits}[kits[1]] == "quarantined"
    world.do(decide_quarantine, "quality", release)
    assert run_checks(world.store) == []


def test_the_kit_of_a_subject_is_to_come_back(world: World) -> None:
    subject = world.randomise("CN02")
    kit = world.dispense(subject)
    recall(world)

    with world.store.transaction() as tx:
        lines = account_of(tx, tx.site(tx.trial("SIRIUS"), "CN02"), choice="due_back").lines
    assert [line.number for line in lines] == [kit]
    world.do(return_kit, "pharmacist.cn02", ReturnKit("SIRIUS", subject, kit, 28, world.today))
    assert states(world)["returned"] == 1


@pytest.mark.parametrize("how", ["lifted", "rejected"])
def test_a_recall_ends_and_what_was_set_aside_is_never_used(world: World, how: str) -> None:
    kit = world.kit_for(world.randomise("CN02"), "W0")
    before = states(world)
    recall(world)
    world.clock.advance(timedelta(days=1))

    end(world, how)

    after = states(world)
    if how == "lifted":
        assert after == before - Counter(assigned=1) + Counter(rejected=1)
    else:
        assert after == Counter(rejected=sum(before.values()))
    assert next(one for one in trace(world).kits if one.number == kit).state == "rejected"
    (recalled,) = trace(world).recalls
    assert (recalled.how, recalled.end_document) == (how, "QA decision 9")
    assert trace(world).recall is None
    with world.refuses("conflict", "lot.not_recalled"):
        end(world, how)
    assert run_checks(world.store) == []


def test_only_quality_recalls_and_says_why(world: World) -> None:
    for who in ("supply", "manager", "pharmacist.cn02"):
        with world.refuses("forbidden", "access.permission"):
            world.do(recall_lot, who, ORDER)
    with world.refuses("invalid", "document.missing", "reason.missing"):
        world.do(recall_lot, "quality", RecallLot("SIRIUS", LOT, " ", ""))
    with world.refuses("not_found", "access.scope"):
        world.do(recall_lot, "quality", RecallLot("SIRIUS", "BL-9999", "order", "why"))
    recall(world)
    with world.refuses("invalid", "recall.how", "document.missing"):
        world.do(end_recall, "quality", EndRecall("SIRIUS", LOT, "forgotten", ""))


def test_the_trace_is_limited_to_a_place_a_state_or_a_number(world: World) -> None:
    depot = world.stage.definition.depots[0].code
    whole = trace(world)
    assert trace(world, place="CN02").total + trace(world, place="CN03").total + trace(world, place=depot).total == (
        whole.total
    )
    assert {kit.state for kit in trace(world, state="available").kits} == {"available"}
    assert [kit.number for kit in trace(world, text=whole.kits[3].number).kits] == [whole.kits[3].number]
