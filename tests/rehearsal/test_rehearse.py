"""Whole trials on a test clock: what comes of them, and that it comes again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path

import pytest
from sqlalchemy import func, select

from rts.access.actor import actor_of, service
from rts.clock import HeldClock
from rts.conduct.exporting_trials import ExportTrial, export_trial
from rts.conduct.installing import set_up
from rts.installation import open_store
from rts.randomisation.verification import verify
from rts.refusal import Refusal
from rts.rehearsal.ground import Ground, ground_at, scratch_ground
from rts.rehearsal.rehearse import rehearse
from rts.rehearsal.staging import Stage
from rts.rehearsal.story import Chances
from rts.rehearsal.summary import Summary
from rts.store.tables import AuditEvent, CodeBreak, Dispensing, Kit, Person, Shipment, Subject
from rts.trial.reading import read_definition, read_restricted
from rts.trial.shipped import shipped_definition
from tests.conduct.test_custody_of_lists import close, reveal_of
from tests.world import START, World

TROUBLED = Chances(
    screen_failure=0.1,
    dropout_per_28_days=0.08,
    replacement=0.4,
    kit_damage=0.1,
    shipment_loss=0.15,
    excursion=0.3,
    excursion_rejected=0.5,
    slip=0.3,
)
SITES = ("CN15", "CN18")


def told(summary: Summary) -> Summary:
    """A summary without the times that a machine took."""
    return replace(summary, seconds={})


def rehearsed(address: str, folder: Path, **options: object) -> Summary:
    ground = Ground(address, folder / "keyring.json", folder / "lists")
    return rehearse(ground, seed=1, **options)  # type: ignore[arg-type]


def counts_of(address: str, folder: Path) -> dict[str, dict[str, int]]:
    """Rows of a rehearsal's database by state."""
    store = open_store(address, folder / "keyring.json", folder / "lists", clock=HeldClock(START))
    try:
        with store.transaction() as tx:
            columns = (Shipment.state, Kit.state, Subject.state, CodeBreak.kind, AuditEvent.action)
            return {
                str(column): dict(tx.session.execute(select(column, func.count()).group_by(column)).all())
                for column in columns
            }
    finally:
        store.engine.dispose()


@pytest.fixture
def troubled(new_database: Callable[[], str], tmp_path: Path) -> tuple[Summary, dict[str, dict[str, int]]]:
    """A short trial in which much goes wrong."""
    address = new_database()
    summary = rehearsed(address, tmp_path, subjects=8, sites=SITES, chances=TROUBLED)
    return summary, counts_of(address, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.requirement("DISP-05")
@pytest.mark.requirement("SHIP-03")
def test_a_trial_in_which_much_goes_wrong_is_told_whole_and_checks_clean(
    troubled: tuple[Summary, dict[str, dict[str, int]]],
) -> None:
    summary, counts = troubled
    events = counts["AuditEvent.action"]

    assert summary.check == "clean"
    assert summary.randomised == sum(summary.randomised_by_stratum.values()) == 8
    assert summary.visits_due == summary.visits_dispensed + summary.visits_missed
    assert sum(summary.kits.values()) == sum(counts["Kit.state"].values()) == 1140
    assert summary.kits["dispensed"] == sum(summary.after_use.values())
    assert events["kit.returned"] > 0
    assert events["kits.verified"] > 0
    assert events["destruction.recorded"] > 0
    assert summary.after_use["destroyed"] > 0
    assert summary.shipments == sum(counts["Shipment.state"].values())
    assert summary.audit_events == sum(events.values())
    assert sum(summary.refusals.values()) == events["refused"]
    # What went wrong was met with the deed for it.
    assert counts["CodeBreak.kind"] == {"break": 1}
    assert counts["Subject.state"].keys() <= {"completed", "withdrawn", "screen_failed"}
    assert counts["Subject.state"]["withdrawn"] > 0
    assert events["shipment.lost"] == counts["Shipment.state"]["lost"] > 0
    assert events["kit.rejected"] + events["kit.released_from_quarantine"] > 0
    assert events["kit.replaced"] > 0
    assert summary.refusals["kit.mismatch"] > 0
    assert "quarantined" not in summary.kits
    assert "assigned" not in summary.kits


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.requirement("LIST-09")
def test_a_whole_trial_verifies_against_its_revealed_lists(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'rts.sqlite'}"
    summary = rehearsed(address, tmp_path, subjects=8, sites=SITES, chances=TROUBLED)
    clock = HeldClock(datetime(2028, 1, 3, tzinfo=UTC))
    store = open_store(address, tmp_path / "keyring.json", tmp_path / "lists", clock=clock)
    with store.transaction() as tx:
        people = {person.username: actor_of(tx, person) for person in tx.session.scalars(select(Person))}
        kits_given = tx.session.scalar(select(func.count()).select_from(Dispensing))
    public, restricted = shipped_definition("sirius")
    definition = read_definition(public)
    kit_types = read_restricted(restricted, definition).kit_types
    pairs = ", ".join(f"{kit_type.code} to {kit_type.arm}" for kit_type in sorted(kit_types, key=attrgetter("code")))
    with World(Stage(store, definition, "", {}, people), clock) as world:
        close(world)
        lists = [reveal_of(world, "SIRIUS-R1")]
        kit_lists = [reveal_of(world, name) for name in ("SIRIUS-K1", "SIRIUS-K2")]

        verified = verify(lists, kit_lists, world.do(export_trial, "manager", ExportTrial("SIRIUS")).text)

    assert (summary.randomised, summary.check) == (8, "clean")
    assert verified.differences == []
    assert verified.statement == (
        f"The revealed lists are the ones committed to. 8 subjects took their entries in turn. {kits_given} kits are "
        f"on the lists, each of one subject, and each type went to one arm: {pairs}."
    )


@pytest.mark.slow
@pytest.mark.postgresql
@pytest.mark.timeout(900)
def test_the_same_seed_gives_twenty_subjects_the_same_story_again_and_on_both_databases(
    postgresql_url: str, tmp_path: Path
) -> None:
    (tmp_path / "server").mkdir()

    on_server = rehearsed(postgresql_url, tmp_path / "server", subjects=20)
    with scratch_ground() as ground:
        in_file = rehearse(ground, seed=1, subjects=20)

    assert told(on_server) == told(in_file)
    assert (in_file.randomised, in_file.check) == (20, "clean")
    assert in_file.visits_due == in_file.visits_dispensed


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_trial_of_seed_1_ends_with_146_randomised_and_nobody_turned_away() -> None:
    with scratch_ground() as ground:
        summary = rehearse(ground, seed=1)

    assert summary.randomised == 146
    assert summary.check == "clean"
    assert summary.turned_away == 0
    # The plan allows half a visit in a hundred to be missed, and 35 kits in a hundred to be wasted.
    assert summary.visits_missed <= 0.005 * summary.visits_due
    assert summary.kits["dispensed"] >= 0.65 * 1140
    assert summary.refusals["cap.trial"] > 0


def test_a_rehearsal_needs_an_empty_database(database_url: str, tmp_path: Path) -> None:
    ground = Ground(database_url, tmp_path / "keyring.json", tmp_path / "lists")
    store = open_store(database_url, ground.keyring, ground.lists, create_keyring=True, clock=HeldClock(START))
    set_up(store, "test", service("operator"))
    store.engine.dispose()

    with pytest.raises(Refusal) as refused:
        rehearse(ground, seed=1)

    assert refused.value.rules == ("rehearsal.database",)
    assert counts_of(database_url, tmp_path)["AuditEvent.action"] == {"installation.set_up": 1}


def test_a_rehearsal_writes_over_no_lists(tmp_path: Path) -> None:
    (tmp_path / "lists" / "SIRIUS").mkdir(parents=True)
    ground = Ground(f"sqlite:///{tmp_path / 'rts.sqlite'}", tmp_path / "keyring.json", tmp_path / "lists")

    with pytest.raises(Refusal) as refused:
        rehearse(ground, seed=1)

    assert refused.value.rules == ("rehearsal.lists",)
    assert not (tmp_path / "rts.sqlite").exists()


@pytest.mark.parametrize("subjects", [0, 147])
def test_no_fewer_than_one_subject_and_no_more_than_the_cap_are_rehearsed(subjects: int, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        rehearse(ground_at(f"sqlite:///{tmp_path / 'rts.sqlite'}"), seed=1, subjects=subjects)

    assert refused.value.rules == ("rehearsal.subjects",)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_site_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="CN99") as refused:
        rehearse(ground_at(f"sqlite:///{tmp_path / 'rts.sqlite'}"), seed=1, sites=("CN99", "CN01"))

    assert refused.value.rules == ("site.unknown",)


def test_keyring_and_lists_lie_beside_the_database_and_rehearsals_share_a_folder(tmp_path: Path) -> None:
    first = ground_at(f"sqlite:///{tmp_path / 'a.sqlite'}")
    first.lists.mkdir()

    second = ground_at(f"sqlite:///{tmp_path / 'b.sqlite'}")

    assert (first.keyring, first.lists) == (tmp_path / "keyring.json", tmp_path / "allocation_lists")
    assert (second.keyring, second.lists) == (tmp_path / "keyring.json", tmp_path / "b-allocation_lists")


def test_a_summary_is_plain_json() -> None:
    summary = Summary(
        trial="SIRIUS",
        seed=1,
        days=479,
        days_to_target=310,
        randomised=146,
        randomised_by_stratum={"A": 146},
        turned_away=0,
        visits_due=849,
        visits_dispensed=848,
        visits_missed=1,
        refusals={"kit.mismatch": 14},
        shipments=194,
        kits={"dispensed": 857},
        after_use={"returned": 857},
        audit_events=4740,
        check="clean",
        seconds={"hand_over": {"count": 857, "median": 0.005, "total": 6.8}},
    )

    assert Summary(**json.loads(json.dumps(summary.as_json()))) == summary
