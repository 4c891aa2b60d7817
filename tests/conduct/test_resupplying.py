"""The night run: once a site and date, in need only, and explained in records of one size."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from rts.access.actor import service
from rts.conduct.perform import perform
from rts.conduct.resupplying import ResupplySite, resupply_site
from rts.store.tables import ResupplyRecord, Shipment
from tests.world import World


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
    world.ship_all()
    world.receive_all()

    types = world.kit_types_on_the_shelf("CN02")
    sent = [types[kit] for kit in world.kit_numbers(number)]
    assert (sent.count(short), len(sent)) == (3, 4)


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
