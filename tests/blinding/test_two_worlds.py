"""Exchanging the arms changes nothing that a blinded person receives: the same story in worlds that differ in what must
stay hidden alone.
"""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from rts.access.actor import actor_of
from rts.app import create_app
from rts.clock import HeldClock
from rts.conduct.exporting_trials import ExportTrial, export_trial
from rts.conduct.perform import perform
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.installation import open_store
from rts.store.tables import Person, Signature
from tests.blinding.collector import Collector, Doors, differences
from tests.blinding.conftest import Teller, Told
from tests.blinding.story import Story, tell_short, walk
from tests.blinding.worlds import ARMS, KIT_TYPES, SITES, secrets_of, stage
from tests.infrastructure.databases import NewDatabase
from tests.world import World


def _exchanged(codes: dict[str, str], pair: tuple[str, str]) -> dict[str, str]:
    return {key: pair[1 - pair.index(code)] for key, code in codes.items()}


@pytest.mark.slow
@pytest.mark.requirement("BLIND-01")
def test_exchanging_the_arms_changes_nothing_that_a_blinded_person_receives(told: Teller) -> None:
    one, other = told("A"), told("B")

    # The worlds are what they should be: every allocation and every kit is exchanged, and both arms occur.
    assert {place: ARMS[1 - ARMS.index(arm)] for place, arm in one.secrets.arms.items()} == other.secrets.arms
    assert _exchanged(one.secrets.kit_types, KIT_TYPES) == other.secrets.kit_types
    assert _exchanged(one.secrets.arm_of, ARMS) == other.secrets.arm_of
    assert len(one.secrets.arm_of) == 12
    assert set(one.secrets.arm_of.values()) == set(ARMS)

    assert differences(one.collector, other.collector) == []
    assert one.entropy_used == other.entropy_used


@pytest.mark.slow
@pytest.mark.requirement("BLIND-01")
def test_what_people_sign_of_a_subject_tells_no_arm(told: Teller) -> None:
    """The digest of a signed record has no salt: were an arm in the record, two guesses would name it."""
    one, other = signed_digests(told("A")), signed_digests(told("B"))

    assert {kind for kind, _ in one} == {"randomisation", "code_break", "kits"}
    assert one == other


def signed_digests(told: Told) -> dict[tuple[str, str], list[str]]:
    """What was signed of subjects, by kind and subject."""
    found: dict[tuple[str, str], list[str]] = {}
    store = open_store(f"sqlite:///{told.folder / 'rts.sqlite'}", told.folder / "keyring.json", told.folder / "lists")
    with store.transaction() as tx:
        of_subjects = Signature.object_type.not_in(["list", "list_specification"])
        for row in tx.session.scalars(select(Signature).where(of_subjects).order_by(Signature.id)):
            found.setdefault((row.object_type, row.object_id), []).append(row.record_digest)
    store.engine.dispose()
    return found


@pytest.mark.slow
@pytest.mark.requirement("BLIND-01")
def test_the_trial_export_is_the_same_in_both_worlds(told: Teller, tmp_path: Path) -> None:
    one, other = (exported(told(name), tmp_path / name) for name in ("A", "B"))

    assert one == other
    assert one.count('"randomised_at"') == 12
    assert one.count('"replaced"') > 0


def exported(told: Told, folder: Path) -> str:
    """The trial export after the story, told by the auditor, without the digests of what is sealed."""
    shutil.copytree(told.folder, folder)
    address = f"sqlite:///{folder / 'rts.sqlite'}"
    clock = HeldClock(datetime(2026, 12, 1, tzinfo=UTC))
    store = open_store(address, folder / "keyring.json", folder / "lists", clock=clock)
    with store.transaction() as tx:
        auditor = actor_of(tx, tx.session.scalars(select(Person).where(Person.username == "auditor")).one())
    text = perform(store, export_trial, auditor, ExportTrial("SIRIUS")).text
    store.engine.dispose()
    return re.sub("[0-9a-f]{64}", "<digest>", text)


@pytest.mark.slow
def test_other_recorded_seeds_and_block_sizes_change_nothing_that_a_blinded_person_receives(told: Teller) -> None:
    one, other = told("A"), told("C")

    assert one.secrets == other.secrets
    assert differences(one.collector, other.collector) == []
    assert one.entropy_used == other.entropy_used


@pytest.mark.slow
def test_the_story_reaches_every_page_that_a_blinded_role_may_open(told: Teller) -> None:
    one = told("A")

    assert one.endpoints - one.reached == set()


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
def test_the_worlds_are_equal_on_postgresql_too(new_database: NewDatabase, tmp_path: Path) -> None:
    told = []
    for name in ("A", "B"):
        collector = Collector()
        (tmp_path / name).mkdir()
        with collector.log(), stage(name, new_database(), tmp_path / name) as world:
            world.supply(*SITES)
            tell_short(Story(world, Doors(world, create_app(world.store), collector), collector))
            collector.dump_database(world.store.engine)
            collector.dump_files(world.store.lists)
        told.append(collector)

    assert differences(*told) == []


@pytest.mark.slow
@pytest.mark.requirement("BLIND-01")
@pytest.mark.parametrize("kind", KIT_TYPES)
def test_a_depot_out_of_one_kind_tells_nobody_which(supplied: dict[str, World], tmp_path: Path, kind: str) -> None:
    """The same boxes are gone in both worlds, all of one kind: what is short in the one is plentiful in the other."""
    gone = [number for number, kit_type in secrets_of(supplied["A"]).kit_types.items() if kit_type == kind]
    told = []
    for name, world in supplied.items():
        collector = Collector()
        (tmp_path / name).mkdir()
        shutil.copy(world.store.lists.parent / "rts.sqlite", tmp_path / name / "rts.sqlite")
        address = f"sqlite:///{tmp_path / name / 'rts.sqlite'}"
        with collector.log(), world.copy(address, tmp_path / name) as here:
            story = Story(here, Doors(here, create_app(here.store), collector), collector)
            here.take_from_depot(*gone)
            here.lose(SITES[0], *story.kits("available", SITES[0]))
            for _night in range(2):
                here.clock.advance(timedelta(days=1))
                report = here.night()
                assert (report.shipments, report.refused) == ((), {})
            story.do(request_shipment, "supply", RequestShipment("SIRIUS", SITES[0], 1, "none is left"), at_core=True)
            assert story.refused == ["depot.short"]
            walk(story)
            collector.dump_database(here.store.engine)
        told.append(collector)

    assert differences(*told) == []
    assert sum("site_not_supplied" in delivery.content for delivery in told[0].deliveries) == 3
