"""Two processes at once, on both databases; each with a twin whose locks are off, which must fail.

Without its twin a race test proves nothing: requests that happen not to meet pass under any code.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from rts.access.actor import Actor, service
from rts.conduct.preparing_visits import PrepareVisit
from rts.conduct.putting_in_force import PutInForce
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.recording_temperatures import RecordTemperatures
from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.conduct.screening import FailScreening
from rts.conduct.site_gates import PassGate
from rts.conduct.unblinding import UnblindSubject, unblind_subject
from rts.store import locks
from rts.store.sealed_rows import open_entry
from rts.store.tables import (
    BlindedLot,
    CodeBreak,
    DefinitionInForce,
    Depot,
    Dispensing,
    IdempotencyKey,
    Kit,
    ListEntry,
    Subject,
)
from tests.processes import Request, race
from tests.world import GOOD_VALUES, World

RANDOMISE = "rts.conduct.randomising:randomise_subject"
FAIL = "rts.conduct.screening:fail_screening"
PREPARE = "rts.conduct.preparing_visits:prepare_visit"
REQUEST = "rts.conduct.requesting_shipments:request_shipment"
RELEASE = "rts.conduct.releasing_lots:release_lot"
PASS_GATE = "rts.conduct.site_gates:pass_gate"
RECORD = "rts.conduct.recording_temperatures:record_temperatures"
PUT = "rts.conduct.putting_in_force:put_in_force"
STRATUM = "SLEDAI-HIGH.STEROID-LOW"


def stock(world: World, sets: int) -> None:
    """Bring `sets` kits of every type to CN02."""
    world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", sets, "for a race"))
    world.ship_all()
    world.receive_all()


def requests(world: World, count: int, site: str = "CN02") -> list[Request]:
    """Requests to randomise `count` subjects just screened."""
    investigator: Actor = world.who(f"investigator.{site.lower()}")
    return [
        Request(RANDOMISE, investigator, RandomiseSubject("SIRIUS", world.screen(site), world.answers(), GOOD_VALUES))
        for _ in range(count)
    ]


def used(world: World) -> dict[int, str]:
    with world.store.transaction() as tx:
        statement = select(ListEntry.position, Subject.code).join(Subject).where(ListEntry.stratum == STRATUM)
        return dict(tx.session.execute(statement.order_by(ListEntry.position)).all())


def live_kits(world: World) -> list[int]:
    with world.store.transaction() as tx:
        return list(tx.session.scalars(select(Dispensing.kit_id).where(Dispensing.state == "assigned")))


@pytest.mark.requirement("RAND-03")
def test_parallel_requests_take_consecutive_entries_and_no_kit_twice(world: World) -> None:
    stock(world, 16)
    first, second = requests(world, 8), requests(world, 8)

    answers = race(world, first, second)

    assert answers == ["done"] * 16
    entries = used(world)
    assert list(entries) == list(range(1, 17))
    assert sorted(entries.values()) == [f"CN02-{number:03d}" for number in range(1, 17)]
    assert len(set(live_kits(world))) == 16


@pytest.mark.requirement("RAND-03")
@pytest.mark.parametrize("sites", [("CN02", "CN02"), ("CN02", "CN03")])
def test_of_two_that_would_read_the_same_entry_one_waits(world: World, sites: tuple[str, str]) -> None:
    first, second = requests(world, 1, sites[0]), requests(world, 1, sites[1])

    answers = race(world, first, second, meet_after="rts.conduct.randomising:_next_entry")

    assert answers == ["done", "done"]
    assert list(used(world)) == [1, 2]


def test_without_locks_two_requests_do_meet_on_one_entry(world: World) -> None:
    first, second = requests(world, 1, "CN02"), requests(world, 1, "CN03")

    answers = race(world, first, second, locked=False, meet_after="rts.conduct.randomising:_next_entry")

    lost = {"sqlite": "store.unavailable", "postgresql": "list.taken"}[world.store.engine.dialect.name]
    assert answers == ["done", lost]
    assert list(used(world)) == [1]


@pytest.mark.requirement("CHG-02")
@pytest.mark.parametrize("locked", [True, False])
def test_of_two_who_put_a_version_in_force_from_one_date_one_is_told_why_not(world: World, locked: bool) -> None:
    world.load()
    manager = world.who("manager")
    command = PutInForce("SIRIUS", 2, ("CN02",), world.today, "EC 2")

    answers = race(
        world,
        [Request(PUT, manager, command)],
        [Request(PUT, manager, replace(command, document="EC 2a"))],
        locked=locked,
        meet_after="rts.store.definitions:standing",
    )

    # Without locks both read that nothing is planned: the database has the last word.
    lost = {"sqlite": "store.unavailable", "postgresql": "store.constraint"}[world.store.engine.dialect.name]
    assert answers == sorted(["done", "definition.date" if locked else lost])
    with world.store.transaction() as tx:
        second = tx.session.scalars(select(DefinitionInForce.id).where(DefinitionInForce.version.has(version=2)))
        assert len(second.all()) == 1


@pytest.mark.requirement("RAND-03")
@pytest.mark.requirement("RAND-10")
def test_a_cap_holds_under_parallel_requests(world: World) -> None:
    stock(world, 10)
    world.amend(("[caps]\ntrial = 146", "[caps]\ntrial = 5"), ("target = 146 ", "target = 5 "))
    first, second = requests(world, 4), requests(world, 4)

    answers = race(world, first, second)

    assert Counter(answers) == {"done": 5, "cap.trial": 3}
    assert list(used(world)) == [1, 2, 3, 4, 5]


@pytest.mark.requirement("RAND-10")
@pytest.mark.parametrize("locked", [True, False])
def test_the_last_place_under_a_cap_goes_to_one_of_two(world: World, locked: bool) -> None:
    world.amend(("[caps]\ntrial = 146", "[caps]\ntrial = 1"), ("target = 146 ", "target = 1 "))
    first = requests(world, 1, "CN02")
    (other,) = requests(world, 1, "CN03")
    low = RandomiseSubject("SIRIUS", other.command.subject, world.answers(), {"SLEDAI": 5, "STEROID": 5})

    answers = race(
        world,
        first,
        [Request(RANDOMISE, other.actor, low)],
        locked=locked,
        meet_after="rts.conduct.randomising:failed_rules",
    )

    if locked:
        assert answers == ["cap.trial", "done"]
    else:  # both counted before either was counted: another guard, or none, has the last word
        assert "cap.trial" not in answers


@pytest.mark.requirement("RAND-05")
def test_parallel_retries_with_one_key_take_one_entry(world: World) -> None:
    subject = world.screen("CN02")
    command = RandomiseSubject("SIRIUS", subject, world.answers(), GOOD_VALUES)
    answers = []

    def retry() -> None:
        done = world.do(randomise_subject, "investigator.cn02", command, sign=True, key="one click")
        answers.append((done.ids["subject"], done.again))

    threads = [threading.Thread(target=retry) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [(subject, False)] + [(subject, True)] * 5
    assert used(world) == {1: subject}
    assert world.events("refused") == 0
    with world.store.transaction() as tx:
        assert len(tx.session.scalars(select(IdempotencyKey)).all()) == 1


@pytest.mark.requirement("RAND-05")
def test_the_same_subject_from_two_processes_takes_one_entry(world: World) -> None:
    (request,) = requests(world, 1)

    answers = race(world, [request], [request])

    assert answers == ["done", "subject.already_randomised"]
    assert list(used(world)) == [1]


def test_a_screening_fails_or_is_randomised_but_never_both(world: World) -> None:
    (request,) = requests(world, 1)
    failing = Request(FAIL, request.actor, FailScreening("SIRIUS", request.command.subject, "consent withdrawn"))

    answers = race(world, [request], [failing], meet_after="rts.conduct.screening:subject_at")

    assert answers == ["done", "subject.state"]


def _two_of_one_arm(world: World) -> tuple[str, str]:
    """Two subjects at CN02 who share an arm, and will be given kits of one type."""
    stock(world, 8)
    for _ in range(3):
        world.dispense(world.randomise("CN02"))
    with world.opened() as (tx, opener):
        by_arm: dict[str, list[str]] = {}
        for subject in tx.session.scalars(select(Subject).order_by(Subject.code)):
            entry = tx.session.scalars(select(ListEntry).where(ListEntry.subject_id == subject.id)).one()
            by_arm.setdefault(open_entry(tx, entry, opener).arm, []).append(subject.code)
    first, second = max(by_arm.values(), key=len)[:2]
    world.clock.advance(timedelta(days=28))
    return first, second


def _preparing(world: World, subject: str) -> list[Request]:
    return [Request(PREPARE, world.who("pharmacist.cn02"), PrepareVisit("SIRIUS", subject, "W4"))]


@pytest.mark.requirement("DISP-04")
def test_two_visits_prepared_at_once_never_share_a_kit(world: World) -> None:
    first, second = _two_of_one_arm(world)

    answers = race(
        world,
        _preparing(world, first),
        _preparing(world, second),
        meet_after="rts.conduct.preparing_visits:opened_shelf",
    )

    assert answers == ["done", "done"]
    assert len(set(live_kits(world))) == 2


def test_without_locks_two_visits_do_meet_on_one_kit(world: World) -> None:
    first, second = _two_of_one_arm(world)

    answers = race(
        world,
        _preparing(world, first),
        _preparing(world, second),
        locked=False,
        meet_after="rts.conduct.preparing_visits:opened_shelf",
    )

    lost = {"sqlite": "store.unavailable", "postgresql": "kit.moved"}[world.store.engine.dialect.name]
    assert answers == ["done", lost]
    assert len(live_kits(world)) == 1


@pytest.mark.requirement("RAND-03")
def test_the_moment_of_a_randomisation_is_read_behind_its_lock(world: World) -> None:
    """Else the later of two entries could bear the earlier time, and `rts check` would call the list out of order."""
    subject = world.screen("CN02")
    command = RandomiseSubject("SIRIUS", subject, world.answers(), GOOD_VALUES)
    waiting = threading.Thread(
        target=world.do, args=(randomise_subject, "investigator.cn02", command), kwargs={"sign": True}
    )

    with world.store.transaction(write=True) as tx:
        locks.take(tx.session, locks.randomisation("SIRIUS"))
        waiting.start()
        time.sleep(1)
        world.clock.advance(timedelta(seconds=30))
    waiting.join()

    with world.store.transaction() as tx:
        assert tx.session.scalars(select(ListEntry.used_at).join(Subject)).one() == world.clock.now()


@pytest.mark.requirement("SHIP-01")
@pytest.mark.parametrize("locked", [True, False])
def test_a_lot_is_released_once_whoever_else_presses_the_button(world: World, locked: bool) -> None:
    first, second = (
        [Request(RELEASE, world.who("quality"), ReleaseLot("SIRIUS", "BL-2602", f"QP {number}"))] for number in "12"
    )

    answers = race(world, first, second, locked=locked, meet_after="rts.store.locks:take")

    if locked:
        assert answers == ["done", "lot.released"]
    else:  # the second release takes the place of the first, or another guard stops it
        assert "lot.released" not in answers


@pytest.mark.requirement("AUD-01")
@pytest.mark.parametrize("locked", [True, False])
def test_the_events_of_two_deeds_at_once_follow_each_other_in_the_chain(world: World, locked: bool) -> None:
    gate = world.stage.definition.gates[0]
    first, second = (
        [Request(PASS_GATE, world.who("manager"), PassGate("SIRIUS", site, gate, world.today, "TMF 1"))]
        for site in ("CN04", "CN05")
    )

    answers = race(world, first, second, locked=locked, meet_after="rts.store.audit:locked_head")

    if locked:
        assert answers == ["done", "done"]
    else:  # both would be the next event
        lost = {"sqlite": "store.unavailable", "postgresql": "store.constraint"}[world.store.engine.dialect.name]
        assert answers == ["done", lost]


@pytest.mark.requirement("UNBL-01")
def test_a_code_break_that_waited_for_another_is_a_look_and_leaves_its_moment_alone(world: World) -> None:
    subject = world.randomise("CN02")
    physician = world.who("physician.cn02")
    command = UnblindSubject("SIRIUS", subject, "anaphylaxis", True)
    waiting = threading.Thread(target=world.do, args=(unblind_subject, physician, command), kwargs={"sign": True})
    broken_at = world.clock.now()

    with world.store.transaction(write=True) as tx:
        unblind_subject(tx, physician, command, tx.opener(), world.stage.signed(physician))
        waiting.start()
        time.sleep(1)
        world.clock.advance(timedelta(seconds=30))
    waiting.join()

    with world.store.transaction() as tx:
        assert list(tx.session.scalars(select(CodeBreak.kind).order_by(CodeBreak.id))) == ["break", "look"]
        assert tx.session.scalars(select(Subject.unblinded_at).where(Subject.code == subject)).one() == broken_at


SECOND_DEPOT = """[[depots]]
code = "DEP-BJ"
name = "Beijing depot"
city = "Beijing"
country = "CN"
time_zone = "Asia/Shanghai"
calendar = "china"
cut_off = 14:00:00
processing_days = 1
ship_weekdays = [1, 2, 3, 4]

"""


def requests_of_two_depots(world: World) -> list[Request]:
    """One shipment asked for from each of two depots: CN03 is now supplied by another, which holds the second lot."""
    world.amend(
        ("# What a site does not state itself", SECOND_DEPOT + "# What a site does not state itself"),
        ('{ code = "CN03", ', '{ code = "CN03", depot = "DEP-BJ", '),
    )
    world.do(release_lot, "quality", ReleaseLot("SIRIUS", "BL-2602", "QP release 2"))
    with world.store.transaction(write=True) as tx:
        tx.act_as(service("test"), "service")
        depot = tx.session.scalars(select(Depot.id).where(Depot.code == "DEP-BJ")).one()
        lot = tx.session.scalars(select(BlindedLot.id).where(BlindedLot.code == "BL-2602")).one()
        tx.session.execute(update(Kit).where(Kit.blinded_lot_id == lot).values(depot_id=depot))
        tx.audit("test.moved", "installation", "1")
    supply = world.who("supply")
    return [Request(REQUEST, supply, RequestShipment("SIRIUS", site, 2, "a race")) for site in ("CN02", "CN03")]


@pytest.mark.requirement("SHIP-03")
def test_two_depots_that_send_at_once_get_two_numbers_and_nobody_is_refused(world: World) -> None:
    first, second = requests_of_two_depots(world)

    answers = race(world, [first], [second], meet_after="rts.conduct.consignments:next_number")

    assert answers == ["done", "done"]
    assert world.shipments("requested") == ["S00003", "S00004"]


def test_without_locks_two_depots_do_meet_on_one_number(world: World) -> None:
    first, second = requests_of_two_depots(world)

    answers = race(world, [first], [second], locked=False, meet_after="rts.conduct.consignments:next_number")

    lost = {"sqlite": "store.unavailable", "postgresql": "store.constraint"}[world.store.engine.dialect.name]
    assert answers == ["done", lost]
    assert world.shipments("requested") == ["S00003"]


def _two_loggers(world: World) -> list[Request]:
    """Two files of a logger of one shelf, each of 40 minutes out of range, an hour between them."""
    world.clock.advance(timedelta(days=1))
    kits = tuple(world.kit_types_on_the_shelf("CN02"))
    found = []
    for hours in (1, 3):
        start = world.clock.now() - timedelta(hours=hours)
        times = [(place, "31" if 0 < place < 5 else "20") for place in range(6)]
        lines = [f"{start + timedelta(minutes=10 * place):%Y-%m-%d %H:%M},{degrees}" for place, degrees in times]
        file = "\n".join(["time (UTC),temp (C)", *lines]).encode()
        command = RecordTemperatures("SIRIUS", "CN02", "", kits, file, "UTC")
        found.append(Request(RECORD, world.who("pharmacist.cn02"), command))
    return found


@pytest.mark.requirement("SHIP-05")
def test_of_two_loggers_read_at_once_the_second_adds_to_the_first(world: World) -> None:
    first, second = _two_loggers(world)

    answers = race(world, [first], [second], meet_after="rts.conduct.recording_temperatures:check_temperatures")

    assert answers == ["done", "done"]
    assert world.kit_types_on_the_shelf("CN02") == {}


def test_without_locks_two_loggers_do_meet(world: World) -> None:
    first, second = _two_loggers(world)

    answers = race(
        world, [first], [second], locked=False, meet_after="rts.conduct.recording_temperatures:check_temperatures"
    )

    lost = {"sqlite": "store.unavailable", "postgresql": "store.constraint"}[world.store.engine.dialect.name]
    assert sorted(answers) == sorted(["done", lost])
    assert world.kit_types_on_the_shelf("CN02") != {}
