"""The night run: once a site and date, in need only, explained in records of one size; and what a depot that runs out
of something sends.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from rts.access.actor import service
from rts.conduct.closing_shipments import CloseShipment, close_shipment
from rts.conduct.perform import perform
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.conduct.resupplying import ResupplySite, record_context, resupply_site
from rts.store.sealed_rows import key_from_text, open_kits
from rts.store.tables import Kit, ResupplyRecord, Shipment, Site
from tests.world import World

TYPES = ("GAFIB", "WUBEK")
BOTH_SHORT = pytest.mark.parametrize("short", TYPES)


def other(kit_type: str) -> str:
    return TYPES[1 - TYPES.index(kit_type)]


def empty_shelves(world: World, *sites: str) -> None:
    """Lose every kit on the shelves of `sites`, so that the next night they need more."""
    for site in sites:
        world.lose(site, *world.kit_types_on_the_shelf(site))
    world.clock.advance(timedelta(days=1))


def leave(world: World, **most: int) -> None:
    """Let vanish from the depot all kits of a type but so many."""
    (stock,) = world.depot_stock().values()
    for kit_type, kits in most.items():
        world.take_from_depot(*stock[kit_type][kits:])


def types_in(world: World, shipment: str) -> Counter[str]:
    """How many kits of each type a shipment holds."""
    with world.opened() as (tx, opener):
        kits = tx.session.scalars(select(Kit).where(Kit.number.in_(world.kit_numbers(shipment)))).all()
        return Counter(opened.kit_type for opened in open_kits(tx, list(kits), opener))


def record_of(world: World, site: str) -> dict[str, Any]:
    """The newest sealed record of a site."""
    with world.opened() as (tx, opener):
        trial = tx.trial("SIRIUS")
        row = tx.session.scalars(
            select(ResupplyRecord).join(Site).where(Site.code == site).order_by(ResupplyRecord.id.desc()).limit(1)
        ).one()
        context = record_context("SIRIUS", site, row.run_date)
        sealed = tx.store.vault.sealed(key_from_text(trial.data_key), row.record_box, context)
        record: dict[str, Any] = json.loads(opener.open(sealed))
        return record


def site_of(world: World, shipment: str) -> str:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Site.code).join(Shipment).where(Shipment.number == shipment)).one()


def unsupplied(world: World) -> list[str]:
    with world.store.transaction() as tx:
        return list(tx.session.scalars(select(Site.code).where(Site.unsupplied_since.is_not(None)).order_by(Site.code)))


@pytest.mark.requirement("SHIP-06")
def test_a_night_run_again_orders_nothing(world: World) -> None:
    world.lose("CN02", *world.kit_types_on_the_shelf("CN02"))
    world.clock.advance(timedelta(days=1))
    first = world.night()
    before = world.rows()

    second = world.night()

    assert (first.looked_at, len(first.shipments), first.refused) == (2, 1, {})
    assert (second.looked_at, second.shipments) == (0, ())
    assert world.rows() == before
    done = perform(world.store, resupply_site, service("night"), ResupplySite("SIRIUS", "CN02", world.today))
    assert done.again
    assert world.rows() == before


@pytest.mark.requirement("BLIND-03")
@pytest.mark.parametrize("short", ["GAFIB", "WUBEK"])
def test_whichever_type_is_short_the_consignment_holds_every_type(world: World, short: str) -> None:
    shelf = world.kit_types_on_the_shelf("CN02")
    world.lose("CN02", *[kit for kit, kit_type in shelf.items() if kit_type == short])
    world.clock.advance(timedelta(days=1))

    (number,) = world.night().shipments

    assert types_in(world, number) == {short: 3, other(short): 1}


@pytest.mark.requirement("BLIND-03")
def test_the_records_of_a_night_have_one_size_whatever_was_ordered(world: World) -> None:
    world.lose("CN02", *world.kit_types_on_the_shelf("CN02"))
    world.clock.advance(timedelta(days=1))
    world.night()

    with world.store.transaction() as tx:
        sizes = {len(box) for box in tx.session.scalars(select(ResupplyRecord.record_box))}
        states = tx.session.scalars(select(Shipment.state).order_by(Shipment.number)).all()
    assert len(sizes) == 1
    assert states == ["received", "received", "requested"]


# --- a depot that has run out of something --------------------------------------------------------------------------


@pytest.mark.requirement("BLIND-03")
@BOTH_SHORT
def test_when_one_type_cannot_be_had_nothing_is_sent_and_it_is_told_in_words_that_fit_either(
    world: World, short: str
) -> None:
    leave(world, **{short: 0})
    empty_shelves(world, "CN02")

    report = world.night()

    assert (report.shipments, report.refused) == ((), {})
    assert unsupplied(world) == ["CN02"]
    subject_line = "SIRIUS: depot DEP-SH cannot supply site CN02 now"
    told = (
        "Site CN02 needs kits, and depot DEP-SH cannot fill the order now. It is tried again every night. See whether "
        "a lot can be released or kits can be brought to the depot. Who may read sealed details finds the reason on "
        "the audit trail."
    )
    assert world.mails("site_not_supplied") == [
        (name, subject_line, told) for name in ("supply", "statistician.one", "statistician.two")
    ]
    assert world.last_event("site.not_supplied")[1] == {
        "run_date": world.today.isoformat(),
        "depot": "DEP-SH",
        "opened": {"definition_version": 1, "list": 294},
    }
    # The record of the night, and the trail, tell the unblinded why.
    cut = {short: "none_left", other(short): "blind"}
    assert (record_of(world, "CN02")["sent"], record_of(world, "CN02")["cut"]) == (dict.fromkeys(TYPES, 0), cut)
    detail = world.sealed_detail("consignment.chosen")
    assert (detail["ordered"], detail["sent"], detail["cut"]) == (dict.fromkeys(TYPES, 3), dict.fromkeys(TYPES, 0), cut)
    assert (detail["is_split"], detail["possible_leak"]) == (False, False)


@pytest.mark.requirement("BLIND-03")
def test_the_record_of_a_site_that_gets_nothing_has_the_size_of_any_other(world: World) -> None:
    leave(world, GAFIB=0)
    empty_shelves(world, "CN02")
    world.night()

    with world.store.transaction() as tx:
        assert len({len(box) for box in tx.session.scalars(select(ResupplyRecord.record_box))}) == 1


def test_it_is_told_once_until_the_site_is_supplied_again(world: World) -> None:
    leave(world, GAFIB=0)
    empty_shelves(world, "CN02")
    world.night()
    world.clock.advance(timedelta(days=1))
    world.night()
    assert len(world.mails("site_not_supplied")) == 3
    assert (world.events("site.not_supplied"), world.events("consignment.chosen")) == (2, 4)

    world.do(release_lot, "quality", ReleaseLot("SIRIUS", "BL-2602", "QP release 2"))
    world.clock.advance(timedelta(days=1))
    (number,) = world.night().shipments

    assert types_in(world, number) == dict.fromkeys(TYPES, 3)
    assert unsupplied(world) == []


@pytest.mark.requirement("BLIND-03")
@BOTH_SHORT
def test_an_order_that_is_cut_keeps_every_type(world: World, short: str) -> None:
    leave(world, **{short: 1})
    empty_shelves(world, "CN02")

    (number,) = world.night().shipments

    assert types_in(world, number) == {short: 1, other(short): 3}
    assert world.sealed_detail("consignment.chosen")["cut"] == {short: "none_left", other(short): ""}
    assert unsupplied(world) == []


@BOTH_SHORT
def test_a_consignment_comes_from_one_lot_and_is_cut_rather_than_split(world: World, short: str) -> None:
    world.do(release_lot, "quality", ReleaseLot("SIRIUS", "BL-2602", "QP release 2"))
    stock = world.depot_stock()
    world.take_from_depot(*stock["BL-2601"][short][2:], *stock["BL-2602"][short][1:])
    empty_shelves(world, "CN02")

    (number,) = world.night().shipments

    assert {kit[0] for kit in world.kit_numbers(number)} == {"K"}
    assert types_in(world, number) == {short: 2, other(short): 3}
    detail = world.sealed_detail("consignment.chosen")
    assert (detail["cut"], detail["is_split"]) == ({short: "one_lot", other(short): ""}, False)


def test_where_no_lot_holds_every_type_the_box_is_split_and_counted_as_a_possible_leak(world: World) -> None:
    world.do(release_lot, "quality", ReleaseLot("SIRIUS", "BL-2602", "QP release 2"))
    stock = world.depot_stock()
    world.take_from_depot(*stock["BL-2601"]["GAFIB"], *stock["BL-2602"]["WUBEK"])
    empty_shelves(world, "CN02")

    (number,) = world.night().shipments

    assert types_in(world, number) == dict.fromkeys(TYPES, 3)
    detail = world.sealed_detail("consignment.chosen")
    assert (detail["is_split"], detail["possible_leak"]) == (True, True)
    assert record_of(world, "CN02")["split_over_lots"] is True


def test_a_shipment_by_hand_from_several_lots_is_counted_as_a_possible_leak_too(world: World) -> None:
    world.do(release_lot, "quality", ReleaseLot("SIRIUS", "BL-2602", "QP release 2"))
    stock = world.depot_stock()
    world.take_from_depot(*stock["BL-2601"]["GAFIB"], *stock["BL-2602"]["WUBEK"])

    world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 2, "a holiday"))

    assert world.sealed_detail("consignment.chosen") == {
        "ordered": dict.fromkeys(TYPES, 2),
        "sent": dict.fromkeys(TYPES, 2),
        "cut": dict.fromkeys(TYPES, ""),
        "is_split": True,
        "possible_leak": True,
    }


# --- sharing out ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SHIP-06")
@pytest.mark.parametrize(("waiting", "without"), [("CN02", "CN03"), ("CN03", "CN02")])
def test_a_site_with_a_dated_visit_comes_before_one_without_whatever_its_name(
    world: World, waiting: str, without: str
) -> None:
    subject = world.randomise(waiting)
    world.dispense(subject)
    world.clock.advance(timedelta(days=24))
    leave(world, GAFIB=1, WUBEK=1)
    empty_shelves(world, "CN02", "CN03")

    report = world.night()

    (number,) = report.shipments
    assert (site_of(world, number), unsupplied(world)) == (waiting, [without])
    world.ship_all()
    world.clock.advance(timedelta(days=3))
    world.receive_all()
    world.do(prepare_visit, f"pharmacist.{waiting.lower()}", PrepareVisit("SIRIUS", subject, "W4"))


@pytest.mark.requirement("SHIP-06")
def test_of_two_sites_in_equal_need_now_the_one_and_now_the_other_gets_the_last_set(world: World) -> None:
    leave(world, GAFIB=1, WUBEK=1)
    empty_shelves(world, "CN02", "CN03")
    served = set()

    for _night in range(8):
        (number,) = world.night().shipments
        served.add(site_of(world, number))
        world.do(close_shipment, "supply", CloseShipment("SIRIUS", number, "cancelled", "called back"))
        world.clock.advance(timedelta(days=1))

    assert served == {"CN02", "CN03"}
