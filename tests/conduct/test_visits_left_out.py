"""Subjects whose kits were set aside under an earlier version, at a site that goes by a later one: nobody is left
without a kit, and nothing breaks, because a visit, a criterion or a factor has gone or changed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.handing_over import HandOver, hand_over
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.replacing_kits import ReplaceKit, replace_kit
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.reports.site_home import site_today
from rts.reports.stock import kit_life
from rts.reports.subjects import randomisation_record, subject_life, subject_rows
from rts.reports.supply import site_stocks
from rts.store.tables import Dispensing, Subject
from tests.world import World

PHARMACIST = "pharmacist.cn02"
# Version 2 holds week 5 instead of week 4, a day beyond the window of week 4.
WEEK_5 = (
    'code = "W4"\nlabel = { en = "Week 4", zh_Hans = "第 4 周" }\nday = 28',
    'code = "W5"\nlabel = { en = "Week 5", zh_Hans = "第 5 周" }\nday = 35',
)
# Version 2 begins with a visit of another code.
FIRST_VISIT = (
    'code = "W0"\nlabel = { en = "Week 0, randomisation", zh_Hans = "第 0 周，随机" }',
    'code = "V1"\nlabel = { en = "Visit 1, randomisation", zh_Hans = "访视 1，随机" }',
)
OTHER_QUESTIONS = (
    (
        'code = "E18"\ntext.en = "Likely to drop out, or at added risk"',
        'code = "E19"\ntext.en = "Likely to drop out"',
    ),
    (
        'code = "SLEDAI"\nlabel = { en = "SLEDAI-2K at screening"',
        'code = "BILAG"\nlabel = { en = "BILAG at screening"',
    ),
)


@pytest.fixture
def subject(world: World) -> str:
    """A subject at CN02 who holds the kit of week 0, on the day week 4 is due."""
    code = world.randomise("CN02")
    world.dispense(code)
    world.clock.advance(timedelta(days=28))
    return code


def prepare(world: World, subject: str, visit: str, reason: str = "") -> str:
    world.do(prepare_visit, PHARMACIST, PrepareVisit("SIRIUS", subject, visit, reason))
    return world.kit_for(subject, visit)


def restock(world: World) -> None:
    """Bring six further kits of each type to the shelf of CN02."""
    world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 6, "for the test"))
    world.ship_all()
    world.receive_all()


def version_of(world: World, kit: str) -> list[tuple[str, int]]:
    """The visit a kit was given for and the row id of the version recorded with it."""
    with world.store.transaction() as tx:
        rows = tx.session.execute(select(Dispensing.visit, Dispensing.version_id).where(Dispensing.kit.has(number=kit)))
        return [(visit, version) for visit, version in rows]


@pytest.mark.requirement("CHG-02")
@pytest.mark.requirement("DISP-01")
def test_a_kit_set_aside_for_a_visit_that_has_gone_is_handed_over(world: World, subject: str) -> None:
    kit = prepare(world, subject, "W4")
    world.amend(WEEK_5, at=("CN02",))

    done = world.do(hand_over, PHARMACIST, HandOver("SIRIUS", subject, "W4", kit))

    assert (done.ids["visit"], done.ids["kit"]) == ("W4", kit)
    assert world.last_event("kit.dispensed")[0].definition == 2


def test_the_window_of_a_visit_that_has_gone_is_that_of_its_own_version(world: World, subject: str) -> None:
    kit = prepare(world, subject, "W4")
    world.amend(WEEK_5, at=("CN02",))
    world.clock.advance(timedelta(days=4))

    with world.refuses("rule", "visit.window") as caught:
        world.do(hand_over, PHARMACIST, HandOver("SIRIUS", subject, "W4", kit))

    assert "the window of Week 4, 2026-02-02 to 2026-02-08" in str(caught.value)


@pytest.mark.requirement("EXP-02")
def test_a_kit_for_a_visit_that_has_gone_must_last_as_its_own_version_says(world: World) -> None:
    longer = ("dnc = 38\ndns = 60", "dnc = 340\ndns = 345\ndnd_by_visit = { W4 = 320 }")
    world.amend(longer, at=("CN02",))
    code = world.randomise("CN02")
    world.dispense(code)
    world.clock.advance(timedelta(days=28))
    kit = prepare(world, code, "W4")  # it lasts 334 days from now
    world.amend(WEEK_5, at=("CN02",))
    world.clock.advance(timedelta(days=15))

    with world.refuses("rule", "kit.expiry"):
        world.do(hand_over, PHARMACIST, HandOver("SIRIUS", code, "W4", kit, "was on holiday"))


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.requirement("DISP-03")
def test_a_kit_for_a_visit_that_has_gone_is_replaced_under_its_own_version(
    world: World, subject: str, twice: bool
) -> None:
    restock(world)
    kit = prepare(world, subject, "W4")
    world.amend(WEEK_5, at=("CN02",))
    for _ in range(1 + twice):
        old = kit
        world.do(replace_kit, PHARMACIST, ReplaceKit("SIRIUS", subject, old, "damaged", "fell"))
        kit = world.kit_for(subject, "W4")
        assert kit != old
        assert version_of(world, kit) == version_of(world, old)

    world.do(hand_over, PHARMACIST, HandOver("SIRIUS", subject, "W4", kit))


@pytest.mark.parametrize("twice", [False, True])
def test_a_kit_of_a_visit_that_gives_fewer_now_is_replaced(world: World, twice: bool) -> None:
    two = ('window_after = 3\nkits = { standard = { study-drug = 1 } }\n\n[[visits]]\ncode = "W8"',
           'window_after = 3\nkits = { standard = { study-drug = 2 } }\n\n[[visits]]\ncode = "W8"')  # fmt: skip
    restock(world)
    world.amend(two, at=("CN02",))
    code = world.randomise("CN02")
    world.dispense(code)
    world.clock.advance(timedelta(days=28))
    world.do(prepare_visit, PHARMACIST, PrepareVisit("SIRIUS", code, "W4"))
    world.amend(('protocol_version = "1.0"', 'protocol_version = "1.2"'), at=("CN02",))  # one kit at week 4 again

    def second() -> str:
        with world.store.transaction() as tx:
            rows = (
                select(Dispensing)
                .join(Subject)
                .where(
                    Subject.code == code, Dispensing.visit == "W4", Dispensing.slot == 2, Dispensing.state == "assigned"
                )
            )
            return tx.session.scalars(rows).one().kit.number

    for _ in range(1 + twice):
        old = second()
        world.do(replace_kit, PHARMACIST, ReplaceKit("SIRIUS", code, old, "damaged", "fell"))
        assert second() != old


@pytest.mark.requirement("DISP-05")
def test_visits_go_in_order_over_a_change_of_versions(world: World, subject: str) -> None:
    kit = prepare(world, subject, "W4")
    world.do(hand_over, PHARMACIST, HandOver("SIRIUS", subject, "W4", kit))
    earlier = (WEEK_5[0], 'code = "W3"\nlabel = { en = "Week 3", zh_Hans = "第 3 周" }\nday = 21')
    world.amend(earlier, at=("CN02",))

    with world.refuses("rule", "visit.order", "visit.window"):
        prepare(world, subject, "W3")

    with world.store.transaction() as tx:
        site = tx.site(tx.trial("SIRIUS"), "CN02")
        (row,) = subject_rows(tx, site).rows
        states = {
            visit.code: visit.state for visit in subject_life(tx, tx.session.scalars(select(Subject)).one()).visits
        }
        (stock, _) = site_stocks(tx, tx.trial("SIRIUS"))
    assert row.next_visit is not None
    assert (row.next_visit.code, row.next_visit.due) == ("W8", date(2026, 3, 5))
    assert [states[code] for code in ("W0", "W3", "W4", "W8")] == ["dispensed", "passed", "dispensed", "coming"]
    assert stock.due == 1  # week 8 alone: nobody will come for week 3


def test_a_visit_that_has_gone_shows_as_it_was_recorded(world: World, subject: str) -> None:
    kit = prepare(world, subject, "W4")
    world.amend(WEEK_5, at=("CN02",))

    with world.store.transaction() as tx:
        site = tx.site(tx.trial("SIRIUS"), "CN02")
        life = subject_life(tx, tx.session.scalars(select(Subject)).one())
        today = site_today(tx, site)
        found = kit_life(tx, site, kit)
    assert life.next is not None
    assert (life.next.code, str(life.next.label), life.next.due, life.next.state) == (
        "W4", "Week 4", date(2026, 2, 5), "set_aside",
    )  # fmt: skip
    assert [visit.code for visit in life.visits] == ["W0", "W4", "W5", "W8", "W12", "W16", "W20", "W24"]
    assert [(one.visit, str(one.label), one.kit) for one in today.kits_to_hand_over] == [("W4", "Week 4", kit)]
    assert found is not None
    assert str(found.visit) == "Week 4"


def test_a_randomisation_shows_its_own_first_visit(world: World) -> None:
    code = world.randomise("CN02")
    kit = world.kit_for(code, "W0")
    world.amend(FIRST_VISIT, *OTHER_QUESTIONS, at=("CN02",))

    with world.store.transaction() as tx:
        record = randomisation_record(tx, tx.session.scalars(select(Subject)).one())
    assert record is not None
    assert (record.visit.code, [one.number for one in record.kits]) == ("W0", [kit])
    assert [(str(one.label), one.value) for one in record.subject.stratification] == [
        ("SLEDAI-2K at screening", "12"),
        ("Corticosteroid dose, prednisone equivalent", "7.5"),
    ]


def test_a_treatment_ends_whose_visit_has_gone(world: World, subject: str) -> None:
    kit = prepare(world, subject, "W4")
    world.amend(WEEK_5, at=("CN02",))

    world.do(end_treatment, "investigator.cn02", EndTreatment("SIRIUS", subject, "withdrawn", "moved away"))

    with world.store.transaction() as tx:
        life = subject_life(tx, tx.session.scalars(select(Subject)).one())
    gone = life.visit("W4")
    assert gone is not None
    assert (gone.state, [(one.number, one.state) for one in gone.kits]) == ("not_held", [(kit, "put_back")])


@pytest.mark.requirement("SHIP-06")
def test_a_night_run_passes_over_visits_that_have_gone(world: World, subject: str) -> None:
    kit = prepare(world, subject, "W4")
    world.do(hand_over, PHARMACIST, HandOver("SIRIUS", subject, "W4", kit))
    world.amend(WEEK_5, at=("CN02",))

    night = world.night()

    assert (night.looked_at, night.refused) == (2, {})


def test_a_visit_not_prepared_before_it_went_is_refused_in_words(world: World, subject: str) -> None:
    world.amend(WEEK_5, at=("CN02",))

    with world.refuses("invalid", "visit.unknown"):
        world.do(prepare_visit, PHARMACIST, replace(PrepareVisit("SIRIUS", subject, "W4")))
