"""Dispensing, replacing, reporting and ending treatment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from rts.conduct.deciding_quarantine import DecideQuarantine, decide_quarantine
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.expiring import SweepExpired, sweep_expired
from rts.conduct.handing_over import HandOver, hand_over
from rts.conduct.perform import Done, perform
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.replacing_kits import ReplaceKit, replace_kit
from rts.conduct.reporting_kits import ReportKit
from rts.conduct.reporting_kits import report_kit as report
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.store.tables import Dispensing, Kit, KitMove, Subject
from tests.world import GOOD_VALUES, World

PHARMACIST = "pharmacist.cn02"


def state_of(world: World, number: str) -> str:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Kit.state).where(Kit.number == number)).one()


def moves_of(world: World, number: str) -> list[tuple[str, str, str]]:
    with world.store.transaction() as tx:
        statement = select(KitMove.move, KitMove.from_state, KitMove.to_state).join(Kit, KitMove.kit_id == Kit.id)
        rows = tx.session.execute(statement.where(Kit.number == number).order_by(KitMove.sequence))
        return [tuple(row) for row in rows]  # type: ignore[misc]


def prepare(world: World, subject: str, visit: str, reason: str = "", who: str = PHARMACIST) -> str:
    world.do(prepare_visit, who, PrepareVisit("SIRIUS", subject, visit, reason))
    return world.kit_for(subject, visit)


@pytest.fixture
def subject(world: World) -> str:
    """A subject at CN02 who holds the kit of week 0."""
    code = world.randomise("CN02")
    world.dispense(code)
    return code


@pytest.mark.requirement("DISP-01")
@pytest.mark.requirement("SHIP-03")
def test_the_kit_set_aside_is_handed_over_when_its_number_is_scanned(world: World) -> None:
    code = world.randomise("CN02")
    kit = world.kit_for(code, "W0")
    grouped = f" {kit[:4].lower()}-{kit[4:]} "

    done = world.do(hand_over, PHARMACIST, HandOver("SIRIUS", code, "W0", grouped))

    assert done == Done("hand_over", {"trial": "SIRIUS", "site": "CN02", "subject": code, "visit": "W0", "kit": kit})
    assert moves_of(world, kit) == [
        ("release_lot", "packed", "in_depot"),
        ("request", "in_depot", "requested"),
        ("ship", "requested", "in_transit"),
        ("receive_good", "in_transit", "available"),
        ("assign", "available", "assigned"),
        ("dispense", "assigned", "dispensed"),
    ]


@pytest.mark.requirement("DISP-01")
def test_another_kit_is_refused_and_logged_whatever_it_is(world: World) -> None:
    mine, theirs = world.randomise("CN02"), world.randomise("CN02")
    on_the_shelf, elsewhere = (sorted(world.kit_types_on_the_shelf(site))[0] for site in ("CN02", "CN03"))
    texts = set()

    for number in (world.kit_for(theirs, "W0"), on_the_shelf, elsewhere, "K999999"):
        with world.refuses("rule", "kit.mismatch") as caught:
            world.do(hand_over, PHARMACIST, HandOver("SIRIUS", mine, "W0", number))
        texts.add(str(caught.value).replace(number, "X"))

    assert texts == {"Kit X is not the kit for this subject and visit. Do not hand it over; scan the kit shown above."}


def test_a_kit_is_handed_over_once(world: World, subject: str) -> None:
    with world.refuses("conflict", "kit.handed_over"):
        world.do(hand_over, PHARMACIST, HandOver("SIRIUS", subject, "W0", world.kit_for(subject, "W0")))


def test_nothing_is_handed_over_for_a_visit_not_prepared(world: World, subject: str) -> None:
    with world.refuses("conflict", "visit.not_prepared"):
        world.do(hand_over, PHARMACIST, HandOver("SIRIUS", subject, "W4", "K1"))


@pytest.mark.requirement("DISP-07")
@pytest.mark.requirement("TIME-03")
@pytest.mark.parametrize(("day", "refused"), [(24, True), (25, False), (28, False), (31, False), (32, True)])
def test_a_visit_is_prepared_in_its_window(world: World, subject: str, day: int, refused: bool) -> None:
    world.clock.advance(timedelta(days=day))

    if refused:
        with world.refuses("rule", "visit.window") as caught:
            prepare(world, subject, "W4")
        assert f"Today ({world.today}) is outside the window of Week 4, 2026-02-02 to 2026-02-08." in str(caught.value)
    else:
        assert state_of(world, prepare(world, subject, "W4")) == "assigned"


@pytest.mark.requirement("DISP-07")
def test_outside_the_window_a_reason_is_asked_and_kept(world: World, subject: str) -> None:
    world.clock.advance(timedelta(days=40))

    prepare(world, subject, "W4", "  travelled  ")

    with world.store.transaction() as tx:
        row = tx.session.scalars(select(Dispensing).where(Dispensing.visit == "W4")).one()
    assert (row.window_reason, row.attempt, row.slot) == ("travelled", 1, 1)
    detail = world.last_event("visit.prepared")[1]
    assert detail is not None
    assert detail["reason"] == "travelled"


@pytest.mark.requirement("DISP-07")
def test_a_kit_set_aside_in_the_window_and_fetched_after_it_asks_a_reason(world: World) -> None:
    code = world.randomise("CN02")
    kit = world.kit_for(code, "W0")
    world.clock.advance(timedelta(days=1))

    with world.refuses("rule", "visit.window"):
        world.do(hand_over, PHARMACIST, HandOver("SIRIUS", code, "W0", kit))
    world.do(hand_over, PHARMACIST, HandOver("SIRIUS", code, "W0", kit, "fetched a day later"))

    assert state_of(world, kit) == "dispensed"


@pytest.mark.requirement("DISP-07")
def test_visits_go_in_order(world: World, subject: str) -> None:
    world.clock.advance(timedelta(days=56))
    prepare(world, subject, "W8")

    with world.refuses("rule", "visit.order"):
        prepare(world, subject, "W4", "late")


def test_a_visit_is_prepared_once(world: World, subject: str) -> None:
    with world.refuses("conflict", "visit.done"):
        prepare(world, subject, "W0")


def test_a_visit_the_definition_does_not_know_is_refused(world: World, subject: str) -> None:
    with world.refuses("invalid", "visit.unknown"):
        prepare(world, subject, "W99")


def test_a_visit_without_kits_dispenses_nothing(world: World, subject: str) -> None:
    world.clock.advance(timedelta(days=168))

    with world.refuses("rule", "visit.no_kits"):
        prepare(world, subject, "W24")


@pytest.mark.requirement("EXP-03")
@pytest.mark.requirement("TIME-03")
def test_expiry_is_judged_when_the_kit_is_handed_over_not_by_a_nightly_job(world: World) -> None:
    # Last usable day 2027-01-05, do not dispense 31 days before: until 2026-12-05, midnight in Shanghai is 16:00 UTC.
    world.clock.set(datetime(2026, 12, 5, 15, 59, tzinfo=UTC))
    code = world.randomise("CN02")
    kit = world.kit_for(code, "W0")
    world.clock.advance(timedelta(minutes=1))

    with world.refuses("rule", "kit.expiry"):
        world.do(hand_over, PHARMACIST, HandOver("SIRIUS", code, "W0", kit))

    assert state_of(world, kit) == "assigned"
    world.clock.advance(timedelta(minutes=-1))
    world.do(hand_over, PHARMACIST, HandOver("SIRIUS", code, "W0", kit))
    assert state_of(world, kit) == "dispensed"


@pytest.mark.requirement("DISP-02")
def test_only_kits_of_ones_own_site_are_set_aside(world: World) -> None:
    mine = world.kit_types_on_the_shelf("CN02")

    for _ in range(3):
        code = world.randomise("CN02")
        assert world.kit_for(code, "W0") in mine


@pytest.mark.requirement("SHIP-04")
@pytest.mark.requirement("BLIND-03")
@pytest.mark.parametrize("outcome", ["excursion", "in_transit"])
def test_kits_in_transit_or_quarantine_are_never_set_aside(world: World, subject: str, outcome: str) -> None:
    from rts.conduct.receiving_shipments import ReceiveShipment, receive_shipment

    world.lose("CN02", *world.kit_types_on_the_shelf("CN02"))
    world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 2, "shelf is empty"))
    world.ship_all()
    (number,) = world.shipments("in_transit")
    if outcome == "excursion":
        outcomes = dict.fromkeys(world.kit_numbers(number), "excursion")
        world.do(receive_shipment, PHARMACIST, ReceiveShipment("SIRIUS", number, outcomes))
    world.clock.advance(timedelta(days=28))

    with world.refuses("rule", "kit.none_suitable") as caught:
        prepare(world, subject, "W4")

    assert str(caught.value) == (
        "Site CN02 has no suitable kit for this visit now. Call the supply manager: a shipment can be sent at once."
    )
    assert world.last_event("refused")[1] is None
    screened = world.screen("CN02")
    with world.refuses("rule", "stock.gate"):
        command = RandomiseSubject("SIRIUS", screened, world.answers(), GOOD_VALUES)
        world.do(randomise_subject, "investigator.cn02", command, sign=True)


@pytest.mark.requirement("DISP-02")
@pytest.mark.parametrize("how", ["withdrawn", "completed"])
def test_after_the_end_of_treatment_nothing_is_dispensed(world: World, subject: str, how: str) -> None:
    world.clock.advance(timedelta(days=28))
    kit = prepare(world, subject, "W4")

    done = world.do(end_treatment, "investigator.cn02", EndTreatment("SIRIUS", subject, how, "moved away"))

    assert done == Done("end_treatment", {"trial": "SIRIUS", "site": "CN02", "subject": subject})
    assert state_of(world, kit) == "quarantined"
    assert world.last_event(f"subject.{how}")[1] == {
        "kits_quarantined": [kit],
        "reason": "moved away",
        "before": {"state": "randomised"},
        "after": {"state": how},
    }
    with world.refuses("rule", "subject.not_in_treatment"):
        prepare(world, subject, "W8", "late")
    with world.refuses("rule", "subject.not_in_treatment"):
        world.do(hand_over, PHARMACIST, HandOver("SIRIUS", subject, "W4", kit))
    with world.refuses("rule", "subject.not_in_treatment"):
        world.do(replace_kit, PHARMACIST, ReplaceKit("SIRIUS", subject, kit, "lost", "gone"))
    with world.refuses("conflict", "subject.state"):
        world.do(end_treatment, "investigator.cn02", EndTreatment("SIRIUS", subject, how, "again"))


@pytest.mark.requirement("BLIND-02")
@pytest.mark.requirement("DISP-04")
def test_a_kit_once_set_aside_for_a_subject_never_goes_to_another(world: World, subject: str) -> None:
    world.clock.advance(timedelta(days=28))
    kit = prepare(world, subject, "W4")
    world.do(end_treatment, "investigator.cn02", EndTreatment("SIRIUS", subject, "withdrawn", "moved away"))

    with world.refuses("rule", "kit.was_set_aside"):
        world.do(decide_quarantine, "quality", DecideQuarantine("SIRIUS", kit, True, "QA 1"))
    world.do(decide_quarantine, "quality", DecideQuarantine("SIRIUS", kit, False, "QA 1"))

    assert state_of(world, kit) == "rejected"


@pytest.mark.parametrize(
    ("how", "reason", "rule"), [("vanished", "x", "ending.unknown"), ("withdrawn", " ", "reason.missing")]
)
def test_an_end_of_treatment_without_its_facts_is_refused(
    world: World, subject: str, how: str, reason: str, rule: str
) -> None:
    with world.refuses("invalid", rule):
        world.do(end_treatment, "investigator.cn02", EndTreatment("SIRIUS", subject, how, reason))


@pytest.mark.requirement("DISP-05")
@pytest.mark.parametrize("fate", ["lost", "damaged"])
def test_a_replacement_keeps_the_treatment_and_the_history(world: World, fate: str) -> None:
    world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 3, "stock"))
    world.ship_all()
    world.receive_all()
    types = world.kit_types_on_the_shelf("CN02")
    code = world.randomise("CN02")
    first = world.kit_for(code, "W0")

    world.do(replace_kit, PHARMACIST, ReplaceKit("SIRIUS", code, first, fate, "dropped"))

    second = world.kit_for(code, "W0")
    assert second != first
    assert types[second] == types[first]
    assert state_of(world, first) == fate
    with world.store.transaction() as tx:
        rows = tx.session.execute(
            select(Dispensing.state, Dispensing.slot, Dispensing.attempt, Dispensing.end_reason).order_by(Dispensing.id)
        ).all()
    assert [tuple(row) for row in rows] == [("replaced", 1, 1, f"{fate}: dropped"), ("assigned", 1, 2, None)]


@pytest.mark.requirement("DISP-04")
def test_a_kit_once_handed_over_stays_dispensed_when_it_is_replaced(world: World, subject: str) -> None:
    first = world.kit_for(subject, "W0")
    world.clock.advance(timedelta(days=2))

    world.do(replace_kit, PHARMACIST, ReplaceKit("SIRIUS", subject, first, "lost", "left in a train"))
    second = world.kit_for(subject, "W0")
    world.do(hand_over, PHARMACIST, HandOver("SIRIUS", subject, "W0", second))

    assert (state_of(world, first), state_of(world, second)) == ("dispensed", "dispensed")


def test_a_kit_that_lasts_is_not_replaced_as_expired(world: World) -> None:
    code = world.randomise("CN02")

    with world.refuses("rule", "kit.in_date"):
        world.do(replace_kit, PHARMACIST, ReplaceKit("SIRIUS", code, world.kit_for(code, "W0"), "expired", "old"))


def test_a_kit_handed_over_is_not_replaced_as_expired(world: World) -> None:
    code = world.randomise("CN02")
    kit = world.dispense(code)

    with world.refuses("invalid", "fate.handed_over"):
        world.do(replace_kit, PHARMACIST, ReplaceKit("SIRIUS", code, kit, "expired", "old"))


@pytest.mark.parametrize(
    ("fate", "reason", "other_kit", "rules"),
    [
        ("eaten", "x", False, ("fate.unknown",)),
        ("lost", "", False, ("reason.missing",)),
        ("lost", "x", True, ("kit.not_theirs",)),
        ("eaten", "", True, ("fate.unknown", "reason.missing", "kit.not_theirs")),
    ],
)
def test_a_replacement_without_its_facts_is_refused(
    world: World, subject: str, fate: str, reason: str, other_kit: bool, rules: tuple[str, ...]
) -> None:
    kit = sorted(world.kit_types_on_the_shelf("CN02"))[0] if other_kit else world.kit_for(subject, "W0")

    with world.refuses("invalid", *rules):
        world.do(replace_kit, PHARMACIST, ReplaceKit("SIRIUS", subject, kit, fate, reason))


@pytest.mark.requirement("ACCT-01")
def test_a_kit_reported_lost_leaves_the_shelf_for_good(world: World) -> None:
    kit = sorted(world.kit_types_on_the_shelf("CN02"))[0]

    world.lose("CN02", kit)

    assert state_of(world, kit) == "lost"
    with world.refuses("invalid", "kit.not_on_shelf"):
        world.do(report, PHARMACIST, ReportKit("SIRIUS", "CN02", kit, "damaged", "found broken"))


@pytest.mark.parametrize("site", ["CN03", "CN04"])
def test_another_sites_kits_are_not_reported(world: World, site: str) -> None:
    kit = sorted(world.kit_types_on_the_shelf("CN03"))[0]

    with world.refuses("not_found", "access.scope"):
        world.do(report, PHARMACIST, ReportKit("SIRIUS", site, kit, "lost", "x"))


def test_another_sites_kit_is_not_on_ones_shelf(world: World) -> None:
    kit = sorted(world.kit_types_on_the_shelf("CN03"))[0]

    with world.refuses("invalid", "fate.unknown", "reason.missing", "kit.not_on_shelf"):
        world.do(report, PHARMACIST, ReportKit("SIRIUS", "CN02", kit, "stolen", ""))


@pytest.mark.requirement("ACC-02")
def test_the_pharmacist_of_another_site_finds_no_such_subject(world: World, subject: str) -> None:
    with world.refuses("not_found", "access.scope"):
        prepare(world, subject, "W4", who="pharmacist.cn03")


@pytest.mark.requirement("EXP-01")
def test_the_sweep_takes_what_has_expired_off_the_shelf_and_no_day_before(world: World) -> None:
    shelf = sorted(world.kit_types_on_the_shelf("CN02"))
    from rts.access.actor import service

    world.clock.set(datetime(2027, 1, 5, 15, 59, tzinfo=UTC))  # the last minute of the last usable day in Shanghai
    nothing = perform(world.store, sweep_expired, service("sweep"), SweepExpired("SIRIUS"))
    world.clock.advance(timedelta(minutes=1))
    swept = perform(world.store, sweep_expired, service("sweep"), SweepExpired("SIRIUS"))

    assert (nothing.ids["kits"], swept.ids["kits"]) == ("0", "600")
    assert {state_of(world, kit) for kit in shelf} == {"expired"}


# --- a kit given up while the shelf holds no other ------------------------------------------------------------------


def give_up(world: World, subject: str, kit: str, fate: str = "damaged", reason: str = "dropped") -> None:
    world.do(replace_kit, PHARMACIST, ReplaceKit("SIRIUS", subject, kit, fate, reason))


def leave_on_the_shelf(world: World, *kit_types: str) -> None:
    """Lose all kits of CN02 but those of some types."""
    shelf = world.kit_types_on_the_shelf("CN02")
    world.lose("CN02", *[kit for kit, kit_type in shelf.items() if kit_type not in kit_types])


def bring_kits(world: World) -> None:
    world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 2, "the shelf is empty"))
    world.ship_all()
    world.receive_all()


def kits_of(world: World, subject: str, visit: str) -> list[tuple[int, int, str]]:
    """Slot, attempt and state of a visit's kits."""
    with world.store.transaction() as tx:
        statement = (
            select(Dispensing.slot, Dispensing.attempt, Dispensing.state)
            .join(Subject)
            .where(Subject.code == subject, Dispensing.visit == visit)
            .order_by(Dispensing.slot, Dispensing.attempt)
        )
        return [tuple(row) for row in tx.session.execute(statement)]  # type: ignore[misc]


@pytest.mark.requirement("DISP-05")
@pytest.mark.parametrize("handed_over", [False, True])
@pytest.mark.parametrize("kit_type", ["GAFIB", "WUBEK"])
def test_what_became_of_a_kit_is_recorded_though_no_other_is_there(
    world: World, handed_over: bool, kit_type: str
) -> None:
    code = world.randomise("CN02")
    kit = world.dispense(code) if handed_over else world.kit_for(code, "W0")
    leave_on_the_shelf(world)

    give_up(world, code, kit)

    assert kits_of(world, code, "W0") == [(1, 1, "replaced")]
    assert state_of(world, kit) == ("dispensed" if handed_over else "damaged")
    assert world.last_event("kit.replaced")[1] == {
        "subject": code,
        "visit": "W0",
        "fate": "damaged",
        "new_kits": [],
        "reason": "dropped",
        "opened": {"definition_version": 1, "list": 2},
    }
    assert world.sealed_detail("kits.picked") == {"visit": "W0", "possible_leak": False, "lacking": True}


@pytest.mark.requirement("DISP-05")
def test_the_visit_is_open_again_and_dispensed_once_kits_have_come_with_no_reason_asked(world: World) -> None:
    code = world.randomise("CN02")
    kit = world.dispense(code)
    leave_on_the_shelf(world)
    give_up(world, code, kit)

    with world.refuses("rule", "kit.none_suitable"):
        prepare(world, code, "W0")
    bring_kits(world)
    world.clock.advance(timedelta(days=9))  # week 0 has a window of one day: it was kept for the kit now replaced
    second = prepare(world, code, "W0")
    world.do(hand_over, PHARMACIST, HandOver("SIRIUS", code, "W0", second))

    assert kits_of(world, code, "W0") == [(1, 1, "replaced"), (1, 2, "dispensed")]
    with world.refuses("conflict", "visit.done"):
        prepare(world, code, "W0")


def test_a_kit_that_expired_on_the_shelf_is_given_up_though_no_other_is_there(world: World) -> None:
    code = world.randomise("CN02")
    kit = world.kit_for(code, "W0")
    leave_on_the_shelf(world)
    world.clock.set(datetime(2026, 12, 6, 1, tzinfo=UTC))  # 30 days before the lot expires: one too few

    give_up(world, code, kit, "expired", "too old")

    assert (state_of(world, kit), kits_of(world, code, "W0")) == ("quarantined", [(1, 1, "put_back")])


def test_the_night_run_orders_for_a_visit_that_lacks_its_kit(world: World) -> None:
    code = world.randomise("CN02")
    kit = world.dispense(code)
    leave_on_the_shelf(world)
    give_up(world, code, kit)

    (number,) = world.night().shipments

    # Of each type the buffer of three; of the subject's own one more for week 4, and one for the visit that lacks it.
    assert len(world.kit_numbers(number)) == 3 + 3 + 2


def test_a_later_visit_goes_on_though_an_earlier_one_lacks_a_kit(world: World, subject: str) -> None:
    give_up(world, subject, world.kit_for(subject, "W0"))
    give_up(world, subject, world.kit_for(subject, "W0"))
    leave_on_the_shelf(world)
    give_up(world, subject, world.kit_for(subject, "W0"))
    bring_kits(world)
    world.clock.advance(timedelta(days=28))

    prepare(world, subject, "W4")

    with world.refuses("rule", "visit.order"):
        prepare(world, subject, "W0")


WEEK_4 = """label = { en = "Week 4", zh_Hans = "第 4 周" }
day = 28
window_before = 3
window_after = 3
kits = { standard = { study-drug = 1 } }"""


def test_of_a_visit_with_several_kits_only_the_lacking_one_is_set_aside_again(world: World, subject: str) -> None:
    world.amend((WEEK_4, WEEK_4.replace("= 1 }", "= 2 }")))
    bring_kits(world)
    world.clock.advance(timedelta(days=28))
    world.do(prepare_visit, PHARMACIST, PrepareVisit("SIRIUS", subject, "W4"))
    with world.store.transaction() as tx:
        (first,) = tx.session.scalars(
            select(Kit.number).join(Dispensing).where(Dispensing.visit == "W4", Dispensing.slot == 1)
        )
    leave_on_the_shelf(world)
    give_up(world, subject, first)
    with world.refuses("rule", "kit.none_suitable"):
        world.do(prepare_visit, PHARMACIST, PrepareVisit("SIRIUS", subject, "W4"))

    bring_kits(world)
    world.do(prepare_visit, PHARMACIST, PrepareVisit("SIRIUS", subject, "W4"))

    assert kits_of(world, subject, "W4") == [(1, 1, "replaced"), (1, 2, "assigned"), (2, 1, "assigned")]


def test_a_visit_that_lacks_its_kit_is_dispensed_though_a_later_version_leaves_it_out(
    world: World, subject: str
) -> None:
    world.clock.advance(timedelta(days=28))
    kit = prepare(world, subject, "W4")
    leave_on_the_shelf(world)
    give_up(world, subject, kit)
    week_5 = WEEK_4.replace("Week 4", "Week 5").replace("day = 28", "day = 35")
    world.amend((f'code = "W4"\n{WEEK_4}', f'code = "W5"\n{week_5}'))
    bring_kits(world)

    second = prepare(world, subject, "W4")
    world.do(hand_over, PHARMACIST, HandOver("SIRIUS", subject, "W4", second))

    assert kits_of(world, subject, "W4") == [(1, 1, "replaced"), (1, 2, "dispensed")]
