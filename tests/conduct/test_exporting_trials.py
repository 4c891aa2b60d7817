"""The trial export: what stands in it, that it tells no arm, and that it verifies against the revealed lists."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import func, select, update

from rts.access.permissions import Role
from rts.conduct import exporting_trials
from rts.conduct.exporting_trials import ExportTrial, export_trial
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.replacing_kits import ReplaceKit, replace_kit
from rts.randomisation.verification import Revealed, verify
from rts.store.audit import Head, chain_of
from rts.store.tables import AuditChain, AuditEvent, ListFile, Subject
from rts.store.transaction import Transaction
from tests.conduct.test_custody_of_lists import (
    EXTENSION,
    KITS,
    MANAGER,
    ONE,
    PLAN,
    TWO,
    close,
    restock,
    reveal_of,
    short_trial,
)
from tests.world import GOOD_VALUES, World

SITE_STAFF = ("investigator.cn02", "pharmacist.cn02", "physician.cn02", "supply", "quality", "sponsor")


def exported(world: World, who: str = MANAGER) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(world.do(export_trial, who, ExportTrial("SIRIUS")).text)
    return content


def revealed(world: World, *names: str) -> list[Revealed]:
    return [reveal_of(world, name) for name in names]


@pytest.mark.requirement("LIST-09")
def test_a_closed_trial_verifies_subject_by_subject_and_kit_by_kit(database_url: str, tmp_path: Path) -> None:
    with short_trial(database_url, tmp_path, EXTENSION, "SIRIUS-R2") as world:
        subjects = [world.randomise("CN02")]
        first = world.dispense(subjects[0])
        for _ in range(2):
            restock(world)
            subjects.append(world.randomise("CN02"))
        restock(world)
        subjects.append(world.randomise("CN02", {"SLEDAI": 4.0, "STEROID": 7.5}))
        pharmacist = world.stage.at_site(Role.PHARMACIST, "CN02")
        world.do(replace_kit, pharmacist, ReplaceKit("SIRIUS", subjects[0], first, "lost", "left on the bus"))
        for name in (PLAN, "SIRIUS-R2"):
            close(world, name)
        trial = exported(world)

        verified = verify(revealed(world, PLAN, "SIRIUS-R2"), revealed(world, *KITS), json.dumps(trial))

    assert verified.differences == []
    assert "4 subjects took their entries in turn. 5 kits are on the lists" in verified.statement
    assert [subject["code"] for subject in trial["subjects"]] == subjects
    assert [kit["state"] for kit in trial["subjects"][0]["kits"]] == ["replaced", "assigned"]
    assert trial["subjects"][0]["kits"][0] == {"number": first, "visit": "W0", "state": "replaced"}
    assert [one["prefix"] for one in trial["lists"]] == ["R", "K", "L", "S"]
    assert [one["closed"] is not None for one in trial["lists"]] == [True, False, False, True]


def test_an_allocation_altered_behind_the_back_of_the_service_is_found(database_url: str, tmp_path: Path) -> None:
    with short_trial(database_url, tmp_path, "") as world:
        low = {"SLEDAI": 4.0, "STEROID": 7.5}
        one, other = world.randomise("CN02"), world.randomise("CN02", low)
        close(world)
        trial = exported(world)
        lists, kits = revealed(world, PLAN), revealed(world, *KITS)
    assert verify(lists, kits, json.dumps(trial)).differences == []

    numbers = [subject["randomisation_number"] for subject in trial["subjects"]]
    for subject, number in zip(trial["subjects"], reversed(numbers), strict=True):
        subject["randomisation_number"] = number
    found = verify(lists, kits, json.dumps(trial)).differences

    assert [line.partition(":")[0] for line in found][:2] == [f"subject {one}", f"subject {other}"]
    assert "took entry 1 of subject list, stratum SLEDAI-LOW.STEROID-LOW, where entry 1 of" in found[0]


def test_subjects_stand_in_the_order_of_the_audit_trail_even_at_the_same_moment(world: World) -> None:
    subjects = [world.randomise("CN02") for _ in range(3)]
    with world.store.transaction(write=True) as tx:
        tx.act_as(world.who(MANAGER), "test")
        # Subjects written in another order than they were randomised in.
        tx.session.execute(update(Subject).values(randomised_at=tx.now))
        tx.audit("test.moved", "installation", "1")

    trial = exported(world)

    assert [subject["code"] for subject in trial["subjects"]] == subjects
    events = [subject["event"] for subject in trial["subjects"]]
    with world.store.transaction() as tx:
        numbers = select(AuditEvent.number).where(AuditEvent.action == "subject.randomised").order_by(AuditEvent.number)
        assert list(tx.session.scalars(numbers)) == events == sorted(events)


def test_an_export_is_bound_to_the_audit_trail_and_the_trail_to_the_export(world: World) -> None:
    world.randomise("CN02")
    with world.store.transaction() as tx:
        chain = chain_of(tx, tx.trial("SIRIUS"))
        before = {"chain_id": chain.chain_id, "events": chain.count, "hash": chain.hash}

    text = world.do(export_trial, "auditor", ExportTrial("SIRIUS")).text

    assert json.loads(text)["audit_trail"] == before
    event, detail = world.last_event("trial.exported")
    assert (event.number, event.actor) == (before["events"] + 1, "auditor")
    assert detail == {"digest": sha256(text.encode()).hexdigest(), "events": before["events"]}


@pytest.mark.requirement("BLIND-01")
def test_an_export_tells_no_arm_and_no_list_id(world: World) -> None:
    world.randomise("CN02")

    text = world.do(export_trial, MANAGER, ExportTrial("SIRIUS")).text

    for word in ("KILDU", "ORVEN", "GAFIB", "WUBEK", PLAN, *KITS, "block", "position", "seed"):
        assert word not in text


def test_a_trial_without_subjects_is_exported_too(world: World) -> None:
    trial = exported(world)

    assert trial["subjects"] == []
    with world.store.transaction() as tx:
        assert len(trial["lists"]) == tx.session.scalar(select(func.count()).select_from(ListFile))


def test_whoever_reads_the_audit_trail_exports_and_nobody_else(world: World) -> None:
    for who in (ONE, TWO, MANAGER, "auditor"):
        assert exported(world, who)["trial"] == "SIRIUS"
    for who in SITE_STAFF:
        with world.refuses("forbidden", "access.permission"):
            world.do(export_trial, who, ExportTrial("SIRIUS"))
    with world.refuses("not_found", "trial.unknown"):
        world.do(export_trial, MANAGER, ExportTrial("NOWHERE"))


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("locked", [True, False])
def test_an_export_tells_of_no_subject_whose_event_its_trail_does_not_reach(
    world: World, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    """Somebody is randomised while the export is under way; without the lock of the trail the two do meet."""
    subject = world.screen("CN02")
    investigator = world.stage.at_site(Role.INVESTIGATOR, "CN02")
    command = RandomiseSubject("SIRIUS", subject, world.answers(), GOOD_VALUES)
    other = Thread(target=lambda: world.do(randomise_subject, investigator, command, sign=True))
    read_lists = exporting_trials._lists

    def lists_while_somebody_is_randomised(*given: Any) -> Any:
        other.start()
        other.join(2)
        return read_lists(*given)

    def unlocked_head(tx: Transaction, trial_id: int | None) -> Head:
        chain = tx.session.scalars(select(AuditChain).where(AuditChain.trial_id == trial_id)).one()
        return Head(chain.id, chain.chain_id, chain.count, chain.hash, chain.last_at)

    with monkeypatch.context() as patch:
        patch.setattr(exporting_trials, "_lists", lists_while_somebody_is_randomised)
        if not locked:
            patch.setattr(exporting_trials, "locked_head", unlocked_head)
        trial = exported(world)
        other.join()

    beyond = [one for one in trial["subjects"] if one["event"] > trial["audit_trail"]["events"]]
    assert [one["code"] for one in beyond] == ([] if locked else [subject])
    assert [one["code"] for one in exported(world)["subjects"]] == [subject]
