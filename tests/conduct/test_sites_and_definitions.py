"""Screening, gates, opening and closing of sites, versions of the definition, installing and the clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from rts.access.actor import service
from rts.conduct.installing import MoveClock, move_clock, set_up
from rts.conduct.perform import Done, perform
from rts.conduct.screening import FailScreening, ScreenSubject, fail_screening, screen_subject
from rts.conduct.site_gates import CloseSite, OpenSite, PassGate, close_site, open_site_for_subjects, pass_gate
from rts.conduct.trial_definition import LoadDefinition, load_definition
from rts.refusal import Refusal
from rts.store.tables import DefinitionVersion, Subject
from rts.trial.shipped import shipped_definition
from tests.world import World

INVESTIGATOR = "investigator.cn02"


def screening(world: World, **changes: object) -> ScreenSubject:
    return replace(ScreenSubject("SIRIUS", "CN02", world.today, 1980, "female"), **changes)  # type: ignore[arg-type]


@pytest.mark.requirement("RAND-06")
def test_the_system_gives_the_subject_code(world: World) -> None:
    codes = [world.screen("CN02"), world.screen("CN03"), world.screen("CN02")]

    assert codes == ["CN02-001", "CN03-001", "CN02-002"]


@pytest.mark.requirement("RAND-06")
def test_a_look_alike_is_refused_until_confirmed_as_another_person(world: World) -> None:
    world.do(screen_subject, INVESTIGATOR, screening(world))

    with world.refuses("rule", "subject.possible_duplicate") as caught:
        world.do(screen_subject, INVESTIGATOR, screening(world))
    done = world.do(screen_subject, INVESTIGATOR, screening(world, is_new_person=True))

    assert str(caught.value) == (
        "Subject CN02-001 has the same consent date, year of birth and sex. Confirm that this is another person."
    )
    assert done == Done("screen_subject", {"trial": "SIRIUS", "site": "CN02", "subject": "CN02-002"})


@pytest.mark.requirement("RAND-06")
def test_a_second_screening_names_the_last_failed_one(world: World) -> None:
    first, running = world.screen("CN02"), world.screen("CN02")
    world.do(fail_screening, INVESTIGATOR, FailScreening("SIRIUS", first, "SLEDAI too low"))
    for previous in (running, "CN02-099"):
        with world.refuses("invalid", "previous.unknown"):
            world.do(screen_subject, INVESTIGATOR, screening(world, previous=previous, is_new_person=True))

    world.do(screen_subject, INVESTIGATOR, screening(world, previous=first.lower(), is_new_person=True))

    with world.store.transaction() as tx:
        assert tx.session.scalars(select(Subject.previous_code).where(Subject.code == "CN02-003")).one() == first
    with world.refuses("invalid", "previous.unknown"):
        world.do(screen_subject, INVESTIGATOR, screening(world, previous=first, is_new_person=True))


@pytest.mark.requirement("TIME-03")
@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"consent_on": date(2026, 1, 9)}, ("consent.future",)),
        ({"consent_on": date(2023, 12, 31)}, ("consent.old",)),
        ({"consent_on": date(2024, 1, 7)}, ("consent.old",)),
        ({"year_of_birth": 1905}, ("year_of_birth.range",)),
        ({"year_of_birth": 2027}, ("year_of_birth.range",)),
        ({"sex": "other"}, ("sex.unknown",)),
        (
            {"consent_on": date(2026, 1, 9), "year_of_birth": 80, "sex": "", "previous": "CN02-001"},
            ("consent.future", "year_of_birth.range", "sex.unknown", "previous.unknown"),
        ),
    ],
)
def test_every_wrong_entry_at_screening_is_named(
    world: World, changes: dict[str, object], rules: tuple[str, ...]
) -> None:
    with world.refuses("invalid", *rules):
        world.do(screen_subject, INVESTIGATOR, screening(world, **changes))


@pytest.mark.parametrize("site", ["CN03", "CN04"])
def test_nobody_screens_at_another_site(world: World, site: str) -> None:
    with world.refuses("not_found", "access.scope"):
        world.do(screen_subject, INVESTIGATOR, screening(world, site=site))


def test_a_screening_fails_once_and_with_a_reason(world: World) -> None:
    code = world.screen("CN02")
    with world.refuses("invalid", "reason.missing"):
        world.do(fail_screening, INVESTIGATOR, FailScreening("SIRIUS", code, " "))
    world.do(fail_screening, INVESTIGATOR, FailScreening("SIRIUS", code, "withdrew consent"))

    with world.refuses("conflict", "subject.state"):
        world.do(fail_screening, INVESTIGATOR, FailScreening("SIRIUS", code, "again"))


@pytest.mark.requirement("UNBL-07")
@pytest.mark.requirement("SHIP-02")
def test_a_site_opens_once_every_gate_is_passed(world: World) -> None:
    gates = ["ethics", "contract", "authority", "unblinding-access"]
    for number, gate in enumerate(gates):
        with world.refuses("rule", *["gate.missing"] * (4 - number)):
            world.do(open_site_for_subjects, "manager", OpenSite("SIRIUS", "CN04"))
        world.do(pass_gate, "manager", PassGate("SIRIUS", "CN04", gate, world.today, "TMF 1"))

    world.do(open_site_for_subjects, "manager", OpenSite("SIRIUS", "CN04"))

    with world.refuses("conflict", "site.open"):
        world.do(open_site_for_subjects, "manager", OpenSite("SIRIUS", "CN04"))
    with world.refuses("conflict", "gate.passed"):
        world.do(pass_gate, "manager", PassGate("SIRIUS", "CN04", "ethics", world.today, "TMF 2"))


def test_a_gate_is_recorded_with_its_date_and_document(world: World) -> None:
    tomorrow = world.today + timedelta(days=1)

    with world.refuses("invalid", "gate.unknown", "gate.future", "gate.document"):
        world.do(pass_gate, "manager", PassGate("SIRIUS", "CN04", "magic", tomorrow, " "))
    with world.refuses("not_found", "site.unknown"):
        world.do(pass_gate, "manager", PassGate("SIRIUS", "CN99", "ethics", world.today, "TMF"))


def test_a_site_closes_once_and_with_a_reason_and_screens_nobody_then(world: World) -> None:
    with world.refuses("invalid", "reason.missing"):
        world.do(close_site, "manager", CloseSite("SIRIUS", "CN02", " "))
    world.do(close_site, "manager", CloseSite("SIRIUS", "CN02", "enough"))

    with world.refuses("conflict", "site.not_open"):
        world.do(close_site, "manager", CloseSite("SIRIUS", "CN02", "enough"))
    with world.refuses("rule", "site.not_open"):
        world.do(screen_subject, INVESTIGATOR, screening(world))


def load(world: World, public: str, restricted: str, on: date) -> Done:
    command = LoadDefinition(public, restricted, on, "EC 2026-2")
    done = perform(world.store, load_definition, service("amendment"), command)
    assert isinstance(done, Done)
    return done


@pytest.mark.requirement("CHG-02")
def test_versions_are_numbered_and_never_in_force_from_the_past(world: World) -> None:
    public, restricted = shipped_definition("sirius")
    later = public.replace('protocol_version = "1.0"', 'protocol_version = "1.1"')

    with world.refuses("rule", "definition.past"):
        load(world, later, restricted, world.today - timedelta(days=1))
    assert load(world, later, restricted, world.today).ids == {"trial": "SIRIUS", "version": "2"}
    with world.refuses("conflict", "definition.date"):
        load(world, public, restricted, world.today)

    with world.store.transaction() as tx:
        versions = tx.session.scalars(select(DefinitionVersion).order_by(DefinitionVersion.version)).all()
        assert [version.version for version in versions] == [1, 2]
        assert b"KILDU" not in versions[1].restricted_box
        assert versions[0].restricted_digest != versions[1].restricted_digest  # the salt differs, the text does not


def test_a_version_leaves_out_no_site(world: World) -> None:
    public, restricted = shipped_definition("sirius")
    lines = [line for line in public.splitlines() if 'code = "CN20"' not in line]

    with world.refuses("rule", "definition.site_gone"):
        load(world, "\n".join(lines) + "\n", restricted, world.today)


def test_a_definition_with_mistakes_is_refused_by_name(world: World) -> None:
    public, restricted = shipped_definition("sirius")

    with pytest.raises(Refusal) as caught:
        load(world, public.replace("target = 146 ", "targett = 146 "), restricted, world.today)

    assert caught.value.code == "invalid"
    assert "targett" in str(caught.value)


def test_only_a_statistician_loads_a_definition(world: World) -> None:
    public, restricted = shipped_definition("sirius")

    with world.refuses("forbidden", "access.permission"):
        world.do(load_definition, "manager", LoadDefinition(public, restricted, world.today))


@pytest.mark.requirement("TIME-02")
def test_the_clock_moves_forward_only(world: World) -> None:
    with world.refuses("invalid", "clock.backwards"):
        world.do(move_clock, "administrator", MoveClock(0))
    with world.refuses("forbidden", "access.permission"):
        world.do(move_clock, "manager", MoveClock(60))

    assert world.do(move_clock, "administrator", MoveClock(60)).ids == {"offset": "60"}


def test_an_installation_keeps_its_environment(world: World) -> None:
    assert set_up(world.store, "test", service("operator")) is False
    for environment, rule in (("production", "environment.fixed"), ("staging", "environment.unknown")):
        with pytest.raises(Refusal) as caught:
            set_up(world.store, environment, service("operator"))
        assert caught.value.rules == (rule,)


@pytest.mark.requirement("UNBL-01")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (("matching placebo", "sirolimus"), ("sirolimus", "matching placebo")),
        (('arm = "ORVEN"', 'arm = "KILDU"'), ('arm = "KILDU"', 'arm = "ORVEN"')),
        (("KILDU", "ORVEN"), ("TAMOV", "BELIX")),
    ],
)
def test_no_version_gives_an_arm_another_meaning(world: World, old: tuple[str, ...], new: tuple[str, ...]) -> None:
    public, restricted = shipped_definition("sirius")
    for place, text in enumerate(old):
        restricted = restricted.replace(text, f"@{place}")
    for place, text in enumerate(new):
        restricted = restricted.replace(f"@{place}", text)

    with world.refuses("rule", "definition.arms") as caught:
        world.do(load_definition, service("amendment"), LoadDefinition(public, restricted, world.today))

    assert str(caught.value) == "An arm or kit type of the version before is missing, or stands for something else."
