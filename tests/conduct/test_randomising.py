"""Randomising: what it writes, in which order entries are used, and every rule that refuses it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from rts.access.permissions import Role
from rts.access.sign_in import Confirmation
from rts.access.signatures import record_digest
from rts.conduct.perform import Done, perform
from rts.conduct.randomising import MEANING, RandomiseSubject, randomise_subject
from rts.conduct.reporting_kits import ReportKit, report_kit
from rts.conduct.screening import FailScreening, fail_screening
from rts.conduct.site_gates import CloseSite, close_site
from rts.store.sealed_rows import open_entry
from rts.store.tables import Dispensing, Kit, ListEntry, Signature, Subject
from rts.trial.shipped import shipped_definition
from tests.world import GOOD_VALUES, World

STRATUM = "SLEDAI-HIGH.STEROID-LOW"


def randomising(world: World, subject: str, **changes: object) -> RandomiseSubject:
    command = RandomiseSubject(world.stage.trial, subject, world.answers(), GOOD_VALUES)
    return replace(command, **changes)  # type: ignore[arg-type]


def used(world: World, stratum: str = STRATUM) -> list[tuple[int, str]]:
    """Position and subject of every used entry of a stratum, by position."""
    with world.store.transaction() as tx:
        statement = (
            select(ListEntry.position, Subject.code)
            .join(Subject, ListEntry.subject_id == Subject.id)
            .where(ListEntry.stratum == stratum)
            .order_by(ListEntry.position)
        )
        return [(position, code) for position, code in tx.session.execute(statement)]


def test_randomising_answers_with_codes_only(world: World) -> None:
    subject = world.screen("CN02")

    done = world.do(randomise_subject, "investigator.cn02", randomising(world, subject), sign=True)

    assert done == Done("randomise_subject", {"trial": "SIRIUS", "site": "CN02", "subject": "CN02-001"})


@pytest.mark.requirement("RAND-02")
@pytest.mark.requirement("RAND-03")
def test_the_entries_of_a_stratum_are_used_one_after_the_other(world: World) -> None:
    first, second, third = world.randomise("CN02"), world.randomise("CN03"), world.randomise("CN02")
    other = world.randomise("CN03", {"SLEDAI": 9, "STEROID": 10})

    assert used(world) == [(1, first), (2, second), (3, third)]
    assert used(world, "SLEDAI-LOW.STEROID-HIGH") == [(1, other)]


@pytest.mark.requirement("RAND-09")
@pytest.mark.parametrize(
    ("sledai", "steroid", "stratum"),
    [
        (4, 0, "SLEDAI-LOW.STEROID-LOW"),
        (9, 9.9, "SLEDAI-LOW.STEROID-LOW"),
        (10, 10, "SLEDAI-HIGH.STEROID-HIGH"),
        (105, 20, "SLEDAI-HIGH.STEROID-HIGH"),
    ],
)
def test_the_stratum_follows_from_the_values_at_each_side_of_a_cut(
    world: World, sledai: float, steroid: float, stratum: str
) -> None:
    subject = world.randomise("CN02", {"SLEDAI": sledai, "STEROID": steroid})

    assert used(world, stratum) == [(1, subject)]


@pytest.mark.requirement("RAND-04")
def test_a_randomised_subject_holds_the_number_of_the_entry_and_a_kit_of_its_arm(world: World) -> None:
    code = world.randomise("CN02")

    with world.opened() as (tx, opener):
        subject = tx.session.scalars(select(Subject).where(Subject.code == code)).one()
        entry = tx.session.scalars(select(ListEntry).where(ListEntry.subject_id == subject.id)).one()
        opened = open_entry(tx, entry, opener)
        row = tx.session.scalars(select(Dispensing)).one()
        number, arm, kit = opened.number, opened.arm, row.kit.number
        facts = (subject.state, subject.randomisation_number, subject.randomised_on, subject.stratum, row.visit)
        assert row.kit.state == "assigned"
        assert row.kit.subject_id == subject.id
    assert facts == ("randomised", number, world.today, STRATUM, "W0")
    kit_arm = {"GAFIB": "ORVEN", "WUBEK": "KILDU"}
    with world.opened() as (tx, opener):
        from rts.store.sealed_rows import open_kits

        (found,) = open_kits(tx, [tx.session.scalars(select(Kit).where(Kit.number == kit)).one()], opener)
        assert kit_arm[found.kit_type] == arm


@pytest.mark.requirement("SIG-01")
@pytest.mark.requirement("SIG-02")
def test_the_signature_is_bound_to_what_was_randomised(world: World) -> None:
    world.randomise("CN02")

    _, detail = world.last_event("subject.randomised")
    assert detail is not None
    names = ("trial", "site", "subject", "randomisation_number", "consent_on", "year_of_birth", "sex", "answers")
    record = {name: detail[name] for name in (*names, "values", "stratum", "definition")}
    with world.store.transaction() as tx:
        signature = tx.session.scalars(select(Signature).where(Signature.object_type == "randomisation")).one()
    assert (signature.printed_name, signature.meaning) == (world.who("investigator.cn02").printed_name, MEANING)
    assert (signature.signed_at, signature.time_zone) == (world.clock.now(), "Asia/Shanghai")
    assert signature.record_digest == record_digest(record)
    assert signature.record_digest != record_digest({**record, "year_of_birth": 1981})


@pytest.mark.requirement("AUD-06")
def test_no_plain_event_of_a_randomisation_names_arm_list_or_position(world: World) -> None:
    world.randomise("CN02")

    event, detail = world.last_event("allocation.taken")
    assert (event.object_id, detail) == ("CN02-001", None)
    with world.store.transaction() as tx:
        plain = "".join(tx.session.scalars(text("SELECT detail FROM audit_detail WHERE detail IS NOT NULL")))
        after = plain[plain.index('"randomisation_number"') :]
    for word in ("KILDU", "ORVEN", "GAFIB", "WUBEK", "sirolimus", "placebo", "SIRIUS-R1", "position", "block"):
        assert word not in after


def test_the_trial_manager_gets_a_notice_without_treatment(world: World) -> None:
    world.randomise("CN02")

    with world.store.transaction() as tx:
        notice = tx.session.execute(text("SELECT subject_line, body FROM notice WHERE kind = 'randomisation'")).one()
    number = world.last_event("subject.randomised")[1]
    assert number is not None
    assert notice.subject_line == "SIRIUS: subject CN02-001 randomised"
    assert notice.body == (
        f"Subject CN02-001 at site CN02 was randomised as {number['randomisation_number']}. Sign in to see more."
    )


NO_I02, YES_E04 = {"I02": False}, {"E04": True}


@pytest.mark.requirement("RAND-01")
@pytest.mark.parametrize(
    ("answers", "values", "rules"),
    [
        ({"I02": None}, {}, ("eligibility.unanswered",)),
        (NO_I02, {}, ("eligibility.I02",)),
        (YES_E04, {}, ("eligibility.E04",)),
        ({**NO_I02, **YES_E04}, {"SLEDAI": None}, ("eligibility.I02", "eligibility.E04", "stratum.missing")),
        ({"I99": True}, {}, ("eligibility.unknown",)),
        ({}, {"SLEDAI": None}, ("stratum.missing",)),
        ({}, {"SLEDAI": 3}, ("stratum.bounds",)),
        ({}, {"SLEDAI": 106}, ("stratum.bounds",)),
        ({}, {"SLEDAI": float("nan")}, ("stratum.bounds",)),
        ({}, {"SLEDAI": 12.5}, ("stratum.decimals",)),
        ({}, {"STEROID": 20.1}, ("eligibility.I06", "stratum.bounds")),
        ({}, {"WEIGHT": 60}, ("stratum.unknown",)),
    ],
)
def test_every_failed_rule_is_named_and_nothing_is_taken(
    world: World, answers: dict[str, bool | None], values: dict[str, float | None], rules: tuple[str, ...]
) -> None:
    subject = world.screen("CN02")
    given = {code: answer for code, answer in {**world.answers(), **answers}.items() if answer is not None}
    entered = {code: value for code, value in {**GOOD_VALUES, **values}.items() if value is not None}

    with world.refuses("rule", *rules):
        world.do(
            randomise_subject,
            "investigator.cn02",
            randomising(world, subject, answers=given, values=entered),
            sign=True,
        )


@pytest.mark.requirement("RAND-01")
@pytest.mark.requirement("TIME-03")
@pytest.mark.parametrize(
    ("year_of_birth", "confirmed", "rules"),
    [
        (2009, True, ("eligibility.age",)),
        (2008, False, ("eligibility.age_edge",)),
        (1960, False, ("eligibility.age_edge",)),
        (1959, True, ("eligibility.age",)),
    ],
)
def test_an_age_that_no_birthday_makes_right_or_nobody_confirmed_is_refused(
    world: World, year_of_birth: int, confirmed: bool, rules: tuple[str, ...]
) -> None:
    subject = world.screen("CN02", year_of_birth)

    with world.refuses("rule", *rules):
        world.do(
            randomise_subject,
            "investigator.cn02",
            randomising(world, subject, age_confirmed=confirmed),
            sign=True,
        )


@pytest.mark.parametrize(("year_of_birth", "confirmed"), [(2008, True), (2007, False), (1961, False), (1960, True)])
def test_an_age_within_the_limits_is_accepted(world: World, year_of_birth: int, confirmed: bool) -> None:
    subject = world.screen("CN02", year_of_birth)

    world.do(randomise_subject, "investigator.cn02", randomising(world, subject, age_confirmed=confirmed), sign=True)

    assert used(world) == [(1, subject)]


@pytest.mark.requirement("SIG-03")
def test_without_a_re_entered_password_nothing_is_randomised(world: World) -> None:
    subject = world.screen("CN02")

    with world.refuses("wrong_password", "signature.missing"):
        world.do(randomise_subject, "investigator.cn02", randomising(world, subject))


@pytest.mark.requirement("SIG-04")
def test_someone_elses_password_signs_nothing(world: World) -> None:
    subject = world.screen("CN02")
    other = world.who("investigator.cn03").person_id
    assert other is not None

    with world.refuses("wrong_password", "signature.missing"):
        perform(
            world.store,
            randomise_subject,
            world.who("investigator.cn02"),
            randomising(world, subject),
            confirmation=Confirmation(other),
        )


@pytest.mark.requirement("RAND-10")
@pytest.mark.parametrize(
    ("target", "caps", "rule"),
    [
        (1, "trial = 1", "cap.trial"),
        (20, "trial = 20\nsite = 1", "cap.site"),
        (146, "trial = 146\nby_site = { CN02 = 1 }", "cap.site"),
        (4, "trial = 4\nstratum = 1", "cap.stratum"),
        (146, 'trial = 146\nby_stratum = { "SLEDAI-HIGH.STEROID-LOW" = 1 }', "cap.stratum"),
    ],
)
def test_a_reached_cap_refuses(world: World, target: int, caps: str, rule: str) -> None:
    world.amend(("[caps]\ntrial = 146", f"[caps]\n{caps}"), ("target = 146 ", f"target = {target} "))
    world.randomise("CN02")
    subject = world.screen("CN02")

    with world.refuses("rule", rule):
        world.do(randomise_subject, "investigator.cn02", randomising(world, subject), sign=True)


def test_a_cap_of_another_site_or_stratum_refuses_nobody(world: World) -> None:
    world.amend(("[caps]\ntrial = 146", "[caps]\ntrial = 146\nby_site = { CN02 = 1 }"))
    world.randomise("CN02")

    subject = world.randomise("CN03")

    assert used(world)[-1] == (2, subject)


@pytest.mark.requirement("BLIND-03")
@pytest.mark.parametrize("short", ["GAFIB", "WUBEK"])
def test_the_stock_gate_refuses_alike_whichever_type_is_short(world: World, short: str) -> None:
    shelf = world.kit_types_on_the_shelf("CN02")
    assert sorted(shelf.values()) == ["GAFIB"] * 3 + ["WUBEK"] * 3
    subject = world.screen("CN02")
    world.lose("CN02", *[number for number, kit_type in shelf.items() if kit_type == short])

    with world.refuses("rule", "stock.gate") as caught:
        world.do(randomise_subject, "investigator.cn02", randomising(world, subject), sign=True)

    assert str(caught.value) == (
        "Site CN02 does not hold enough kits to randomise a subject now. Call the supply manager: a shipment can be "
        "sent at once."
    )
    _, detail = world.last_event("refused")
    assert detail == {
        "deed": "randomise_subject",
        "code": "rule",
        "rules": ["stock.gate"],
        "opened": {"definition_version": 1, "list": 3},
    }


def test_the_stock_gate_holds_with_one_kit_of_each_type(world: World) -> None:
    shelf = world.kit_types_on_the_shelf("CN02")
    one_of_each = {kit_type: number for number, kit_type in shelf.items()}.values()
    world.lose("CN02", *(set(shelf) - set(one_of_each)))

    world.randomise("CN02")

    assert world.kit_for("CN02-001", "W0") in one_of_each


@pytest.mark.requirement("EXP-02")
@pytest.mark.requirement("EXP-03")
def test_kits_that_do_not_last_the_interval_do_not_open_the_gate(world: World) -> None:
    # The last usable day is 2027-01-05; do not dispense 31 days before: 2026-12-05 is the last day.
    world.clock.set(world.clock.now().replace(month=12, day=5, hour=1))
    world.randomise("CN02")
    subject = world.screen("CN02")
    world.clock.set(world.clock.now().replace(hour=16))  # 2026-12-06 00:00 in Shanghai, still the 5th in UTC

    with world.refuses("rule", "stock.gate"):
        world.do(randomise_subject, "investigator.cn02", randomising(world, subject), sign=True)


def test_a_closed_site_randomises_nobody(world: World) -> None:
    subject = world.screen("CN02")
    world.do(close_site, "manager", CloseSite("SIRIUS", "CN02", "recruitment ended"))

    with world.refuses("rule", "site.not_open"):
        world.do(randomise_subject, "investigator.cn02", randomising(world, subject), sign=True)


@pytest.mark.requirement("RAND-06")
def test_a_subject_is_randomised_once(world: World) -> None:
    subject = world.randomise("CN02")

    with world.refuses("conflict", "subject.already_randomised"):
        world.do(randomise_subject, "investigator.cn02", randomising(world, subject), sign=True)


def test_a_failed_screening_is_not_randomised(world: World) -> None:
    subject = world.screen("CN02")
    world.do(fail_screening, "investigator.cn02", FailScreening("SIRIUS", subject, "does not meet I02"))

    with world.refuses("conflict", "subject.state"):
        world.do(randomise_subject, "investigator.cn02", randomising(world, subject), sign=True)


@pytest.mark.requirement("ACC-02")
@pytest.mark.parametrize("code", ["CN03-001", "CN09-001", "nonsense"])
def test_another_sites_subject_looks_as_if_it_did_not_exist(world: World, code: str) -> None:
    world.screen("CN03")

    with world.refuses("not_found", "access.scope") as caught:
        world.do(randomise_subject, "investigator.cn02", randomising(world, code), sign=True)

    assert str(caught.value) == "There is nothing here with that name."


@pytest.mark.requirement("ACC-02")
@pytest.mark.parametrize("person", ["pharmacist.cn02", "physician.cn02", "manager", "statistician.one"])
def test_only_an_investigator_randomises(world: World, person: str) -> None:
    subject = world.screen("CN02")

    with world.refuses("forbidden", "access.permission"):
        world.do(randomise_subject, person, randomising(world, subject), sign=True)


@pytest.mark.requirement("RAND-02")
def test_a_full_stratum_refuses_and_never_wraps(database_url: str, tmp_path: Path) -> None:
    public, restricted = shipped_definition("sirius")
    small = public.replace("target = 146 ", "target = 8 ").replace("[caps]\ntrial = 146", "[caps]\ntrial = 8")
    short = restricted.replace("block_sizes = [4, 6]", "block_sizes = [2]").replace("length = 148", "length = 2")
    with World.make(database_url, tmp_path, public=small, restricted=short) as world:
        world.supply("CN02")
        first, second = world.randomise("CN02"), world.randomise("CN02")
        subject = world.screen("CN02")

        with world.refuses("rule", "list.no_entry") as caught:
            world.do(randomise_subject, "investigator.cn02", randomising(world, subject), sign=True)

        assert used(world) == [(1, first), (2, second)]
        assert str(caught.value) == (
            "No allocation is available for this stratum. Nothing was recorded; call the trial manager."
        )


@pytest.mark.requirement("CHG-04")
def test_a_randomisation_names_the_version_in_force_at_the_site_that_day(world: World) -> None:
    world.amend(('protocol_version = "1.0"', 'protocol_version = "1.1"'))
    world.randomise("CN02")

    event, _ = world.last_event("subject.randomised")

    assert event.definition == 2


@pytest.mark.requirement("CHG-02")
def test_a_version_serves_from_its_date_and_not_before(world: World) -> None:
    world.amend(('protocol_version = "1.0"', 'protocol_version = "1.1"'), on=world.today + timedelta(days=1))

    world.randomise("CN02")
    before = world.last_event("subject.randomised")[0].definition
    world.clock.set(world.clock.now().replace(hour=15, minute=59))
    world.randomise("CN02")
    last_minute = world.last_event("subject.randomised")[0].definition
    world.clock.advance(timedelta(minutes=1))  # midnight in Shanghai
    world.randomise("CN02")

    assert (before, last_minute, world.last_event("subject.randomised")[0].definition) == (1, 1, 2)


def test_what_was_entered_is_kept_as_it_was_entered(world: World) -> None:
    world.randomise("CN02", {"SLEDAI": 12, "STEROID": 7.5})

    with world.store.transaction() as tx:
        subject = tx.session.scalars(select(Subject)).one()
    assert json.loads(subject.factor_values or "") == {"SLEDAI": 12, "STEROID": 7.5}
    assert json.loads(subject.answers or "") == world.answers()
    assert subject.consent_on == date(2026, 1, 8)


def test_a_kit_lost_on_the_shelf_is_not_given_to_anybody(world: World) -> None:
    shelf = world.kit_types_on_the_shelf("CN02")
    gone = sorted(shelf)[:2]
    for kit in gone:
        world.do(
            report_kit,
            world.stage.at_site(Role.PHARMACIST, "CN02"),
            ReportKit("SIRIUS", "CN02", kit, "damaged", "wet"),
        )

    for _ in range(2):
        world.randomise("CN02")

    with world.store.transaction() as tx:
        given = set(tx.session.scalars(select(Kit.number).where(Kit.subject_id.is_not(None))))
    assert not given & set(gone)
    assert len(given) == 2
