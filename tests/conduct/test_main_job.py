"""The main job, once through, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from rts.conduct.closing_shipments import CloseShipment, close_shipment
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.conduct.screening import FailScreening, fail_screening
from rts.conduct.site_gates import CloseSite, close_site
from rts.store.tables import AuditChain, AuditEvent
from tests.world import World


@pytest.mark.requirement("RAND-04")
def test_a_subject_is_randomised_and_gets_the_first_kit(world: World) -> None:
    subject = world.randomise("CN02")

    kit = world.dispense(subject)

    assert kit.startswith("K")
    assert world.events("subject.randomised") == 1
    assert world.events("kit.dispensed") == 1


def test_every_event_names_the_version_of_the_definition(world: World) -> None:
    first, second = world.randomise("CN02"), world.screen("CN02")
    world.dispense(first)
    world.do(fail_screening, "investigator.cn02", FailScreening("SIRIUS", second, "moved away"))
    world.lose("CN02", next(iter(world.kit_types_on_the_shelf("CN02"))))
    number = str(
        world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 2, "low stock")).ids["shipment"]
    )
    world.do(close_shipment, "supply", CloseShipment("SIRIUS", number, "cancelled", "too many"))
    world.do(close_site, "manager", CloseSite("SIRIUS", "CN03", "enough subjects"))
    world.clock.advance(timedelta(days=28))
    world.do(prepare_visit, "pharmacist.cn02", PrepareVisit("SIRIUS", first, "W4"))

    with world.store.transaction() as tx:
        chain = select(AuditChain.id).where(AuditChain.trial_id.is_not(None))
        events = select(AuditEvent.action, AuditEvent.definition).where(AuditEvent.chain_id.in_(chain))
        versions = dict(tx.session.execute(events).all())
    assert len(versions) > 20
    assert {action for action, version in versions.items() if version != 1} == set()
