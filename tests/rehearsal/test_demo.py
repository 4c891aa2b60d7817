"""The demonstration: what stands in it on its day 120, who may sign in, and that it is made once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from rts.access.permissions import Role
from rts.access.sign_in import sign_in
from rts.clock import SystemClock
from rts.installation import follow_recorded_clock, open_store
from rts.refusal import Refusal
from rts.rehearsal import demo
from rts.rehearsal.demo import DemoFacts, build_demo
from rts.store.checks import run_checks
from rts.store.tables import CodeBreak, Dispensing, Kit, ListFile, Shipment, Subject
from rts.store.transaction import Store
from rts.supply.windows import is_in_window
from rts.trial.reading import read_definition
from rts.trial.shipped import shipped_definition

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("demo")]

MORNING = datetime(2026, 5, 5, 0, 30, tzinfo=UTC)  # 8:30 in Shanghai, 120 days after the first site's opening


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> DemoFacts:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "building").mkdir()
    (folder / "building" / "rts.sqlite").write_text("left by an interrupted start")
    return build_demo(folder)


@pytest.fixture
def store(facts: DemoFacts) -> Iterator[Store]:
    """The demonstration as `rts serve` opens it."""
    home = facts.folder
    opened = open_store(f"sqlite:///{home / 'rts.sqlite'}", home / "keyring.json", home / "allocation_lists")
    follow_recorded_clock(opened)
    yield opened
    opened.engine.dispose()


def site_of(facts: DemoFacts) -> str:
    pharmacist = next(account for account in facts.accounts if account.role is Role.PHARMACIST)
    return pharmacist.username.removeprefix("pharmacist.").upper()


def test_its_clock_goes_on_from_the_morning_of_day_120(store: Store) -> None:
    assert store.environment() == "training"
    assert isinstance(store.clock, SystemClock)
    assert MORNING <= store.clock.now() < MORNING + timedelta(hours=2)


def test_everyone_printed_signs_in_with_the_password_printed(facts: DemoFacts, store: Store) -> None:
    for account in facts.accounts:
        signed_in = sign_in(store, account.username, account.password, "127.0.0.1", lambda _seconds: None)

        assert not signed_in.password_must_change

    assert {account.role for account in facts.accounts} == set(Role) - {Role.SERVICE}
    assert len({account.password for account in facts.accounts}) == len(facts.accounts)


def test_the_trial_is_as_it_would_be_on_its_day_and_clean(store: Store) -> None:
    with store.transaction() as tx:
        subjects = list(tx.session.scalars(select(Subject.state)))
        kits = list(tx.session.scalars(select(Kit.state)))
        breaks = list(tx.session.scalars(select(CodeBreak.kind)))

    assert 20 < subjects.count("randomised") < 80
    assert subjects.count("screen_failed") > 5
    assert kits.count("dispensed") > 40
    assert breaks == ["break"]
    assert [str(found) for found in run_checks(store)] == []


def test_work_waits_for_every_one_at_the_site(facts: DemoFacts, store: Store) -> None:
    definition = read_definition(shipped_definition("sirius")[0])
    with store.transaction() as tx:
        subjects = [found for found in tx.session.scalars(select(Subject)) if found.site.code == site_of(facts)]
        shipments = list(tx.session.scalars(select(Shipment)))
        done = {(given.subject.code, given.visit) for given in tx.session.scalars(select(Dispensing))}
        due = [
            subject.code
            for subject in subjects
            if subject.state == "randomised" and subject.randomised_on is not None
            for visit in definition.visits
            if is_in_window(MORNING.date(), subject.randomised_on, visit) and (subject.code, visit.code) not in done
        ]
        coming = [found.state for found in shipments if found.site.code == site_of(facts)]
        lists = {found.plan_id: found.state for found in tx.session.scalars(select(ListFile))}

    assert due
    assert [subject.code for subject in subjects if subject.state == "screened"]
    assert "in_transit" in coming
    assert [found.number for found in shipments if found.state == "requested"]
    assert lists == {"SIRIUS-R1": "active", "SIRIUS-K1": "active", "SIRIUS-K2": "generated"}


def test_a_second_start_shows_the_same_accounts_and_makes_nothing(facts: DemoFacts) -> None:
    before = (facts.folder / "rts.sqlite").stat()

    again = build_demo(facts.folder)

    assert again == facts
    assert (facts.folder / "rts.sqlite").stat().st_ino == before.st_ino
    assert (facts.folder / "accounts.txt").stat().st_mode & 0o777 == 0o600
    assert not (facts.folder / "building").exists()


def test_another_installation_is_left_alone(facts: DemoFacts, tmp_path: Path) -> None:
    shutil.copy(facts.folder / "keyring.json", tmp_path / "keyring.json")

    with pytest.raises(Refusal) as refused:
        build_demo(tmp_path)

    assert refused.value.rules == ("demo.folder",)
    assert [path.name for path in tmp_path.iterdir()] == ["keyring.json"]


def test_every_role_is_told_what_to_try() -> None:
    assert set(demo.WORTH_TRYING) == set(Role) - {Role.SERVICE}
