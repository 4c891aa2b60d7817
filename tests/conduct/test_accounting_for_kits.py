"""Kits after use: they come back and are counted, a monitor verifies them, the sponsor has them destroyed."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import select

from rts.access.permissions import Role
from rts.conduct.destroying_kits import (
    AuthoriseDestruction,
    RecordDestruction,
    authorise_destruction,
    record_destruction,
)
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.handing_over import HandOver, hand_over
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.reconciling import balance_of
from rts.conduct.replacing_kits import ReplaceKit, replace_kit
from rts.conduct.reporting_kits import ReportKit, report_kit
from rts.conduct.returning_kits import ReturnKit, WriteOffKit, return_kit, write_off_kit
from rts.conduct.verifying_kits import VerifyKits, verify_kits
from rts.refusal import Refusal
from rts.reports.accountability import AccountLine, GivenKit, account_of
from rts.store.checks import run_checks
from rts.store.tables import Kit, Signature
from rts.supply.compliance import Intake
from tests.store.damage import damage
from tests.world import World

PHARMACIST = "pharmacist.cn02"


@pytest.fixture
def given(world: World) -> tuple[World, str, str]:
    """A subject who took the first kit home four weeks ago."""
    subject = world.randomise("CN02")
    kit = world.dispense(subject)
    world.clock.advance(timedelta(days=28))
    return world, subject, kit


def state_of(world: World, kit: str) -> str:
    with world.store.transaction() as tx:
        return str(tx.session.scalars(select(Kit.state).where(Kit.number == kit)).one())


def line_of(world: World, kit: str, choice: str = "") -> AccountLine | None:
    with world.store.transaction() as tx:
        lines = account_of(tx, tx.site(tx.trial("SIRIUS"), "CN02"), choice=choice).lines
    return next((line for line in lines if line.number == kit), None)


def account(world: World, kit: str) -> tuple[AccountLine, GivenKit]:
    """The line of a kit that was handed over."""
    line = line_of(world, kit)
    assert line is not None
    assert line.given is not None
    return line, line.given


def bring_back(
    world: World, subject: str, kit: str, units: int | None = 2, on: date | None = None, why: str = ""
) -> None:
    world.do(return_kit, PHARMACIST, ReturnKit("SIRIUS", subject, kit, units, on or world.today, why))


def verify(world: World, *kits: str) -> None:
    world.do(verify_kits, "monitor", VerifyKits("SIRIUS", "CN02", kits), sign=True)


@pytest.mark.requirement("ACCT-01")
def test_a_kit_comes_back_with_its_count_and_what_was_taken(given: tuple[World, str, str]) -> None:
    world, subject, kit = given

    bring_back(world, subject, kit, 2)

    line, one = account(world, kit)
    assert (line.state, one.left, one.held, one.returned_on) == ("returned", 2, 28, world.today)
    assert one.taken == Intake(26, 28)
    event, detail = world.last_event("kit.returned")
    assert event.object_id == kit
    assert detail == {
        "subject": subject,
        "units": 2,
        "on": world.today.isoformat(),
        "before": {"state": "dispensed"},
        "after": {"state": "returned"},
    }
    assert run_checks(world.store) == []


def test_what_should_have_been_taken_ends_with_the_next_kit(given: tuple[World, str, str]) -> None:
    world, subject, kit = given
    world.do(prepare_visit, PHARMACIST, PrepareVisit("SIRIUS", subject, "W4"))
    world.dispense(subject, "W4")
    world.clock.advance(timedelta(days=10))

    bring_back(world, subject, kit, 0)

    assert account(world, kit)[1].taken == Intake(28, 28)


def test_a_kit_is_due_back_once_the_next_one_was_given_or_treatment_ended(given: tuple[World, str, str]) -> None:
    world, subject, kit = given
    assert line_of(world, kit, "due_back") is None

    world.do(end_treatment, "investigator.cn02", EndTreatment("SIRIUS", subject, "withdrawn", "moved abroad"))

    assert line_of(world, kit, "due_back") is not None
    bring_back(world, subject, kit)
    assert line_of(world, kit, "due_back") is None


@pytest.mark.parametrize(
    ("units", "days", "rule"),
    [
        (29, 0, "units.too_many"),
        (-1, 0, "units.too_many"),
        (None, 0, "units.missing"),
        (3, 1, "returned_on.range"),
        (3, -29, "returned_on.range"),
    ],
)
def test_a_count_or_a_day_that_cannot_be_is_refused(
    given: tuple[World, str, str], units: int | None, days: int, rule: str
) -> None:
    world, subject, kit = given
    with world.refuses("invalid", rule):
        bring_back(world, subject, kit, units, world.today + timedelta(days=days))


def test_a_kit_of_another_subject_or_never_handed_over_does_not_come_back(given: tuple[World, str, str]) -> None:
    world, subject, kit = given
    other = world.randomise("CN02")
    for whose, which in ((other, kit), (other, world.kit_for(other, "W0")), (subject, "K000000")):
        with world.refuses("invalid", "kit.not_theirs"):
            bring_back(world, whose, which)


def test_no_units_are_counted_where_the_definition_counts_none(world: World) -> None:
    units = "units_a_kit = { study-drug = 28 }\nunits_a_day = { standard = { study-drug = 1 } }\n"
    world.amend((units, ""), (', "dosing.units_a_kit", "dosing.units_a_day"', ""))
    subject = world.randomise("CN02")
    kit = world.dispense(subject)

    with world.refuses("invalid", "units.not_counted"):
        bring_back(world, subject, kit, 3)
    bring_back(world, subject, kit, None)

    line, one = account(world, kit)
    assert (line.state, one.left, one.taken) == ("returned", None, None)


def test_a_second_count_needs_a_reason_and_the_newest_holds(given: tuple[World, str, str]) -> None:
    world, subject, kit = given
    bring_back(world, subject, kit, 2)
    with world.refuses("conflict", "kit.returned_before"):
        bring_back(world, subject, kit, 3)

    bring_back(world, subject, kit, 3, why="two tablets stuck together")

    _, one = account(world, kit)
    assert (one.left, one.remark) == (3, "two tablets stuck together")
    detail = world.last_event("kit.recounted")[1]
    assert detail is not None
    assert detail["reason"] == "two tablets stuck together"
    assert run_checks(world.store) == []


def test_a_kit_given_up_for_lost_may_turn_up(given: tuple[World, str, str]) -> None:
    world, subject, kit = given
    with world.refuses("invalid", "reason.missing"):
        world.do(write_off_kit, PHARMACIST, WriteOffKit("SIRIUS", subject, kit, " "))
    world.do(write_off_kit, PHARMACIST, WriteOffKit("SIRIUS", subject, kit, "left on the train"))
    assert state_of(world, kit) == "unreturned"
    with world.refuses("conflict", "kit.state"):
        world.do(write_off_kit, PHARMACIST, WriteOffKit("SIRIUS", subject, kit, "again"))

    bring_back(world, subject, kit)

    assert state_of(world, kit) == "returned"
    assert run_checks(world.store) == []


@pytest.mark.requirement("DISP-04")
def test_a_returned_kit_is_never_given_again(given: tuple[World, str, str]) -> None:
    world, subject, kit = given
    bring_back(world, subject, kit)
    other = world.randomise("CN02")
    assert world.kit_for(other, "W0") != kit
    with world.refuses("rule", "kit.mismatch"):
        world.do(hand_over, PHARMACIST, HandOver("SIRIUS", other, "W0", kit))


def test_a_replaced_kit_comes_back_too(given: tuple[World, str, str]) -> None:
    world, subject, kit = given
    world.do(replace_kit, PHARMACIST, ReplaceKit("SIRIUS", subject, kit, "damaged", "wet"))

    bring_back(world, subject, kit, 20)

    assert state_of(world, kit) == "returned"
    assert run_checks(world.store) == []


@pytest.mark.requirement("ACCT-03")
def test_a_monitor_verifies_kit_by_kit_and_a_later_record_opens_it_again(given: tuple[World, str, str]) -> None:
    world, subject, kit = given
    bring_back(world, subject, kit, 2)

    verify(world, kit)

    assert account(world, kit)[0].verified_by == "Elena Rossi"
    with world.store.transaction() as tx:
        signed = tx.session.scalars(select(Signature).where(Signature.object_type == "kits")).one()
    assert (signed.printed_name, signed.meaning) == (
        "Elena Rossi",
        "I verified these kits against the records of the site",
    )
    with world.refuses("conflict", "kit.verified"):
        verify(world, kit)

    bring_back(world, subject, kit, 3, why="counted again")

    assert account(world, kit)[0].verified_at is None
    verify(world, kit)


def test_only_a_monitor_verifies_and_only_kits_of_the_site(given: tuple[World, str, str]) -> None:
    world, _, kit = given
    with world.refuses("forbidden", "access.permission"):
        world.do(verify_kits, PHARMACIST, VerifyKits("SIRIUS", "CN02", (kit,)), sign=True)
    with world.refuses("wrong_password", "signature.missing"):
        world.do(verify_kits, "monitor", VerifyKits("SIRIUS", "CN02", (kit,)))
    with world.refuses("invalid", "kit.not_here"):
        world.do(verify_kits, "monitor", VerifyKits("SIRIUS", "CN03", (kit,)), sign=True)
    with world.refuses("invalid", "kits.none"):
        verify(world)


@pytest.mark.requirement("ACCT-04")
def test_destruction_is_authorised_after_verification_and_recorded_with_a_certificate(
    given: tuple[World, str, str],
) -> None:
    world, subject, kit = given
    bring_back(world, subject, kit)
    authority = AuthoriseDestruction("SIRIUS", (kit,), "QA letter 12", site="CN02")
    with world.refuses("rule", "kit.not_verified"):
        world.do(authorise_destruction, "quality", authority)
    verify(world, kit)
    number = world.do(authorise_destruction, "quality", authority).ids["destruction"]
    assert (number, state_of(world, kit)) == ("CN02-D1", "pending_destruction")
    with world.refuses("conflict", "kit.decided"):
        bring_back(world, subject, kit, 1, why="counted again")
    for certificate, days, rule in (("", 0, "certificate.missing"), ("C 1", 1, "destroyed_on.range")):
        command = RecordDestruction("SIRIUS", number, world.today + timedelta(days=days), certificate)
        with world.refuses("invalid", rule):
            world.do(record_destruction, PHARMACIST, command)

    record = RecordDestruction("SIRIUS", number, world.today, "Certificate 2026-77")
    world.do(record_destruction, PHARMACIST, record)

    line = line_of(world, kit)
    assert line is not None
    assert (line.state, line.destruction, line.destroyed_on) == ("destroyed", "CN02-D1", world.today)
    with world.refuses("conflict", "destruction.recorded"):
        world.do(record_destruction, PHARMACIST, record)
    assert run_checks(world.store) == []


@pytest.mark.requirement("DISP-03")
def test_a_kit_in_use_is_not_destroyed(given: tuple[World, str, str]) -> None:
    world, _, kit = given
    on_shelf = next(iter(world.kit_types_on_the_shelf("CN02")))
    verify(world, kit, on_shelf)
    for number in (kit, on_shelf):
        with world.refuses("rule", "kit.in_use"):
            world.do(authorise_destruction, "quality", AuthoriseDestruction("SIRIUS", (number,), "QA 1", site="CN02"))
    with world.refuses("rule", "document.missing", "kit.not_here"):
        world.do(authorise_destruction, "quality", AuthoriseDestruction("SIRIUS", (kit,), "", site="CN03"))
    with world.refuses("forbidden", "access.permission"):
        world.do(authorise_destruction, PHARMACIST, AuthoriseDestruction("SIRIUS", (kit,), "QA 1", site="CN02"))


def test_another_sites_pharmacist_does_not_record_a_destruction(given: tuple[World, str, str]) -> None:
    world, subject, kit = given
    bring_back(world, subject, kit)
    verify(world, kit)
    authority = AuthoriseDestruction("SIRIUS", (kit,), "QA letter 12", site="CN02")
    number = world.do(authorise_destruction, "quality", authority).ids["destruction"]
    command = RecordDestruction("SIRIUS", number, world.today, "C 1")
    with world.refuses("not_found", "access.scope"):
        world.do(record_destruction, "pharmacist.cn03", command)


def test_expired_kits_of_a_depot_are_destroyed_there(world: World) -> None:
    kit = next(iter(world.depot_stock()["BL-2601"]["GAFIB"]))
    world.take_from_depot(kit)
    depot = world.stage.definition.depots[0].code
    authority = AuthoriseDestruction("SIRIUS", (kit,), "QA letter 3", depot=depot)

    number = world.do(authorise_destruction, "quality", authority).ids["destruction"]
    operator = world.stage.at_depot(depot)
    world.do(record_destruction, operator, RecordDestruction("SIRIUS", number, world.today, "C 9"))

    assert (number, state_of(world, kit)) == (f"{depot}-D1", "destroyed")
    with world.refuses("invalid", "place.one"):
        world.do(authorise_destruction, "quality", AuthoriseDestruction("SIRIUS", (kit,), "QA 1"))


@pytest.mark.requirement("ACCT-02")
def test_the_account_of_a_site_balances_and_an_imbalance_blocks_destruction(given: tuple[World, str, str]) -> None:
    world, subject, kit = given
    bring_back(world, subject, kit)
    spoilt = next(iter(world.kit_types_on_the_shelf("CN02")))
    world.do(report_kit, PHARMACIST, ReportKit("SIRIUS", "CN02", spoilt, "damaged", "seal broken"))
    verify(world, kit, spoilt)
    with world.store.transaction() as tx:
        balance = balance_of(tx, tx.site(tx.trial("SIRIUS"), "CN02"))
    assert balance.broken == ()
    assert balance.sent == balance.received == sum(balance.fates.values())
    assert (balance.fates["returned"], balance.fates["damaged"]) == (1, 1)

    damage(
        world.store.engine,
        "DELETE FROM kit_move WHERE id = (SELECT max(id) FROM kit_move WHERE move = 'receive_good'"
        " AND site_id = (SELECT id FROM site WHERE code = 'CN02'))",
    )

    with world.store.transaction() as tx:
        assert {found.identity for found in balance_of(tx, tx.site(tx.trial("SIRIUS"), "CN02")).broken}
    with pytest.raises(Refusal) as caught:
        world.do(authorise_destruction, "quality", AuthoriseDestruction("SIRIUS", (kit,), "QA letter 12", site="CN02"))
    assert caught.value.rules == ("site.unbalanced",)
    assert state_of(world, kit) == "returned"


def test_a_pharmacist_of_another_site_returns_nothing_here(given: tuple[World, str, str]) -> None:
    world, subject, kit = given
    with world.refuses("not_found", "access.scope"):
        world.do(
            return_kit, world.stage.at_site(Role.PHARMACIST, "CN03"), ReturnKit("SIRIUS", subject, kit, 1, world.today)
        )
