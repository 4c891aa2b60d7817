"""Minimisation in a live trial: the arm follows from the tape's word and all subjects before, and every way that needs
an arm finds it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from rts.access.actor import service
from rts.access.permissions import Role
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.exporting_trials import ExportTrial, export_trial
from rts.conduct.lists import inputs_of_list, list_named, quality_of
from rts.conduct.perform import perform
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.releasing_lists import (
    AskForRelease,
    ConfirmRelease,
    RevealList,
    ask_for_release,
    confirm_release,
    reveal_list,
)
from rts.conduct.retiring_lists import CloseList, close_list
from rts.conduct.trial_definition import LoadDefinition, load_definition
from rts.conduct.unblinding import UnblindSubject, unblind_subject
from rts.conduct.warning_of_lists import WarnOfLowLists, warn_of_low_lists
from rts.randomisation import verification
from rts.randomisation.regenerate import regenerate
from rts.refusal import Refusal
from rts.store.checks import run_checks
from rts.store.checks.view import View
from rts.store.sealed_rows import open_entry, open_kits
from rts.store.tables import Dispensing, ListEntry, MinimisedAllocation, Site, Subject
from rts.vault.allocations import PAD_TO
from rts.vault.boxes import box_length
from rts.vault.offline import OpenedList, open_offline
from tests.conduct.test_custody_of_lists import MANAGER, ONE, PLAN, TWO
from tests.infrastructure import r
from tests.store.damage import damage
from tests.trial.texts import MINIMISED, PUBLIC
from tests.world import World

WEIGHTS = {"SLEDAI": 2, "STEROID": 1, "site": 1}
ARMS = ("KILDU", "ORVEN")
PEOPLE = [
    ("CN02", {"SLEDAI": 12.0, "STEROID": 7.5}),
    ("CN03", {"SLEDAI": 12.0, "STEROID": 7.5}),
    ("CN02", {"SLEDAI": 8.0, "STEROID": 7.5}),
    ("CN02", {"SLEDAI": 12.0, "STEROID": 20.0}),
    ("CN03", {"SLEDAI": 8.0, "STEROID": 20.0}),
    ("CN03", {"SLEDAI": 12.0, "STEROID": 7.5}),
]


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    """SIRIUS with minimisation, its two sites stocked."""
    with World.make(database_url, tmp_path, restricted=MINIMISED) as made:
        made.supply("CN02", "CN03")
        yield made


def taken_words(world: World) -> list[tuple[str, str, str, str]]:
    """Who took the words of the tape, by position: subject, stratum, site, word."""
    with world.opened() as (tx, opener):
        rows = tx.session.execute(
            select(ListEntry, Subject, Site.code)
            .join(Subject, Subject.id == ListEntry.subject_id)
            .join(Site, Site.id == Subject.site_id)
            .order_by(ListEntry.position)
        ).all()
        return [
            (subject.code, str(subject.stratum), site, open_entry(tx, entry, opener).arm)
            for entry, subject, site in rows
        ]


def level(factor: str, stratum: str, site: str) -> str:
    return site if factor == "site" else stratum.split(".")[list(WEIGHTS).index(factor)]


def by_hand(taken: list[tuple[str, str, str, str]]) -> list[str]:
    """The arms that Pocock and Simon's rule gives, worked out apart from the product: two arms 1:1, range."""
    arms: list[str] = []
    for _, stratum, site, word in taken:
        scores = []
        for candidate in ARMS:
            score = 0
            for factor, weight in WEIGHTS.items():
                counts = dict.fromkeys(ARMS, 0)
                counts[candidate] += 1
                for arm, (_, their_stratum, their_site, _) in zip(arms, taken, strict=False):
                    counts[arm] += level(factor, stratum, site) == level(factor, their_stratum, their_site)
                score += weight * abs(counts[ARMS[0]] - counts[ARMS[1]])
            scores.append(score)
        first = Fraction(1, 2) if scores[0] == scores[1] else Fraction(4 if scores[0] < scores[1] else 1, 5)
        arms.append(ARMS[0] if int(word[:8], 16) < first * 2**32 // 1 else ARMS[1])
    return arms


def arms_recorded(world: World) -> dict[str, str]:
    """The arm of each subject, by the kit set aside: each type goes to one arm."""
    arm_of_type = {"WUBEK": "KILDU", "GAFIB": "ORVEN"}
    with world.opened() as (tx, opener):
        subjects = list(tx.session.scalars(select(Subject).where(Subject.randomised_at.is_not(None))))
        found = {}
        for subject in subjects:
            given = tx.session.scalars(select(Dispensing).where(Dispensing.subject_id == subject.id)).first()
            assert given is not None
            (kit,) = open_kits(tx, [given.kit], opener)
            found[subject.code] = arm_of_type[kit.kit_type]
    return found


def records(world: World) -> list[dict[str, Any]]:
    """What minimisation recorded, in the order of the entries."""
    with world.opened() as (tx, _opener):
        view = View.of(tx, tx.trial("SIRIUS"))
        found = [view.minimised(entry) for entry in view.entries if entry.subject_id]
    return [record for record in found if record is not None]


def list_path(world: World, name: str = PLAN) -> Path:
    return world.store.lists / "SIRIUS" / f"{name}.rtslist"


def offline(world: World, name: str = PLAN) -> OpenedList:
    path = list_path(world, name)
    return open_offline(path, path.with_suffix(".keys"), world.store.vault.keyring, lambda _place: None)


def number_of(world: World, subject: str) -> str:
    with world.store.transaction() as tx:
        return str(tx.session.scalars(select(Subject.randomisation_number).where(Subject.code == subject)).one())


@pytest.mark.requirement("RAND-06")
def test_arms_follow_from_the_words_and_the_subjects_before(world: World) -> None:
    subjects = [world.randomise(site, values) for site, values in PEOPLE]

    taken = taken_words(world)
    assert [code for code, *_ in taken] == subjects
    assert [arms_recorded(world)[code] for code in subjects] == by_hand(taken)
    assert run_checks(world.store) == []


def test_every_way_to_the_arm_tells_the_same(world: World) -> None:
    subject, second = world.randomise("CN02"), world.randomise("CN03")
    arm = arms_recorded(world)[subject]

    shown = world.do(
        unblind_subject, "physician.cn02", UnblindSubject("SIRIUS", subject, "anaphylaxis", True), sign=True
    )
    assert {"KILDU": "placebo", "ORVEN": "irolimus"}[arm] in shown.treatment.words[0]
    assert offline(world).arm_of(number_of(world, subject)) == arm
    assert world.sealed_detail("allocation.taken")["arm"] == arms_recorded(world)[second]


@pytest.mark.requirement("LIST-01")
def test_both_programs_make_the_tape_that_was_sealed(world: World, tmp_path: Path) -> None:
    tape = offline(world).as_regenerated()
    (tmp_path / "tape.json").write_text(json.dumps(tape), "utf-8")

    in_r = r.run_second_program(tmp_path, "tape.json")

    parameters = {key: value for key, value in tape.items() if key not in {"rows", "commitment"}}
    assert regenerate(parameters) == tape
    assert in_r == (0, f"tape.json: {len(tape['rows'])} entries agree, commitment {tape['commitment']}\n", "")


def test_a_number_that_nobody_took_has_no_arm_yet(world: World) -> None:
    world.randomise("CN02")
    opened = offline(world)
    unused = [entry.number for place, entry in opened.entries() if place.position == 2]

    with pytest.raises(Refusal) as caught:
        opened.arm_of(unused[0])
    assert (caught.value.code, caught.value.rules) == ("not_found", ("list.not_allocated",))
    assert [opened.arm_at(*each) is not None for each in opened.entries()] == [True] + [False] * 147


def test_who_was_withdrawn_still_counts(world: World) -> None:
    first = world.randomise("CN02")
    site = world.stage.at_site(Role.INVESTIGATOR, "CN02")
    world.do(end_treatment, site, EndTreatment("SIRIUS", first, "withdrawn", "moved abroad"))
    world.randomise("CN02")

    found = records(world)
    assert [sum(record["counts"]["site"].values()) for record in found] == [0, 1]


def test_all_records_have_one_length(world: World) -> None:
    for site, values in PEOPLE:
        world.randomise(site, values)

    with world.store.transaction() as tx:
        in_database = [len(row) for row in tx.session.scalars(select(MinimisedAllocation.record))]
    beside = [file.stat().st_size for file in list_path(world).with_suffix(".allocations").iterdir()]
    assert in_database == beside == [box_length(1, PAD_TO)] * len(PEOPLE)


def test_where_the_disk_refuses_nobody_is_randomised(world: World) -> None:
    subject = world.screen("CN02")
    list_path(world).with_suffix(".allocations").write_text("in the way")
    command = RandomiseSubject("SIRIUS", subject, world.answers(), PEOPLE[0][1])

    with world.refuses("unavailable", "file.write"):
        world.do(randomise_subject, world.stage.at_site(Role.INVESTIGATOR, "CN02"), command, sign=True)


def test_what_a_deed_that_was_broken_off_left_beside_the_list_is_replaced(world: World) -> None:
    folder = list_path(world).with_suffix(".allocations")
    folder.mkdir()
    first = next(entry.number for place, entry in offline(world).entries() if place.position == 1)
    (folder / first).write_bytes(b"of a deed that was never committed")

    assert [finding.rule for finding in run_checks(world.store)] == ["allocation.minimised_stray"]

    subject = world.randomise("CN02")

    assert number_of(world, subject) == first
    assert offline(world).arm_of(first) == arms_recorded(world)[subject]
    assert run_checks(world.store) == []


@pytest.mark.parametrize("damage", ["file.missing", "file.altered", "file.exchanged"])
def test_the_checks_find_what_is_wrong_beside_the_list(world: World, damage: str) -> None:
    numbers = [number_of(world, world.randomise("CN02")) for _ in range(2)]
    folder = list_path(world).with_suffix(".allocations")
    if damage == "file.missing":
        (folder / numbers[0]).unlink()
    elif damage == "file.altered":
        box = bytearray((folder / numbers[0]).read_bytes())
        box[100] ^= 1
        (folder / numbers[0]).write_bytes(box)
    else:
        (folder / numbers[0]).write_bytes((folder / numbers[1]).read_bytes())

    assert [finding.rule for finding in run_checks(world.store)] == ["allocation.minimised_file"]
    if damage != "file.missing":
        with pytest.raises(Refusal) as caught:
            offline(world).arm_of(numbers[0])
        assert caught.value.code == "unavailable"


def test_the_checks_find_an_allocation_that_does_not_follow(world: World) -> None:
    world.randomise("CN02", PEOPLE[0][1])
    world.randomise("CN02", PEOPLE[0][1])
    damage(world.store.engine, """UPDATE subject SET factor_values = '{"SLEDAI": 8.0, "STEROID": 7.5}' WHERE id = 1""")

    assert "allocation.minimised_otherwise" in [finding.rule for finding in run_checks(world.store)]


def test_other_weights_hold_from_the_version_in_force_and_the_record_says_which(world: World) -> None:
    world.randomise("CN02")
    hidden = MINIMISED.replace("SLEDAI = 2", "SLEDAI = 5")
    done = perform(world.store, load_definition, service("amendment"), LoadDefinition(PUBLIC, hidden))
    world.put_in_force(int(done.ids["version"]), "CN02")
    world.randomise("CN02")
    world.randomise("CN03")

    found = records(world)
    assert [record["weights"]["SLEDAI"] for record in found] == [2, 5, 2]
    assert run_checks(world.store) == []


def test_a_tape_is_gone_on_from_by_another_when_it_is_used_up(database_url: str, tmp_path: Path) -> None:
    further = '[[subject_lists]]\nid = "SIRIUS-R2"\nprefix = "S"\nlength = 148\nextends = "SIRIUS-R1"\n\n[[kit_lists]]'
    longer = MINIMISED.replace("[[kit_lists]]", further, 1)
    with World.make(database_url, tmp_path, restricted=longer) as world:
        world.supply("CN02", "CN03")
        damage(world.store.engine, "DELETE FROM list_entry WHERE position > 1 AND list_id = 1")

        subjects = [world.randomise("CN02") for _ in range(3)]

        numbers = [number_of(world, subject) for subject in subjects]
        assert [number[0] for number in numbers] == ["R", "S", "S"]
        tapes = [offline(world, name) for name in (PLAN, "SIRIUS-R2", "SIRIUS-R2")]
        arms = [tape.arm_of(number) for tape, number in zip(tapes, numbers, strict=True)]
        assert dict(zip(subjects, arms, strict=True)) == arms_recorded(world)
        found = records(world)
        assert [sum(record["counts"]["site"].values()) for record in found] == [0, 1, 2]


def test_a_statistician_sees_one_part_and_no_arms(world: World) -> None:
    with world.opened() as (tx, opener):
        trial = tx.trial("SIRIUS")
        quality = quality_of(tx, trial, list_named(tx, trial, PLAN), opener)
    (figures,) = quality.figures
    assert (figures.stratum, figures.entries, figures.counts) == ("", 148, ())
    assert quality.findings == ()


def test_the_statisticians_are_told_when_a_tape_runs_low(world: World) -> None:
    world.do(warn_of_low_lists, service("lists"), WarnOfLowLists("SIRIUS"))
    assert world.mails("entries_low") == []
    damage(world.store.engine, "DELETE FROM list_entry WHERE position > 5")

    world.do(warn_of_low_lists, service("lists"), WarnOfLowLists("SIRIUS"))

    assert {mail[0] for mail in world.mails("entries_low")} == {ONE, TWO}
    assert world.sealed_detail("lists.checked") == {"unused": {"": 5}, "told": [""]}


def test_a_tape_is_closed_released_revealed_and_every_subject_verified(world: World) -> None:
    for site, values in PEOPLE:
        world.randomise(site, values)
    world.do(close_list, MANAGER, CloseList("SIRIUS", PLAN, "the last subject is in"), sign=True)
    revealed, rule = [], {}
    for name in (PLAN, "SIRIUS-K1"):
        world.do(ask_for_release, ONE, AskForRelease("SIRIUS", name, "lock memo 7"), sign=True)
        world.do(confirm_release, MANAGER, ConfirmRelease("SIRIUS", name), sign=True)
        rows = world.do(reveal_list, ONE, RevealList("SIRIUS", name))
        with world.opened() as (tx, opener):
            found = list_named(tx, tx.trial("SIRIUS"), name)
            rule = rule if name != PLAN else inputs_of_list(tx, tx.trial("SIRIUS"), found, opener)
        revealed.append(("\n".join(",".join(row) for row in (rows.columns, *rows.rows)), found.commitment))
    export = world.do(export_trial, "auditor", ExportTrial("SIRIUS")).text

    verified = verification.verify([revealed[0]], [revealed[1]], export, json.dumps(rule))

    assert verified.differences == []
    assert verified.statement.endswith("each type went to one arm: GAFIB to ORVEN, WUBEK to KILDU.")
    assert {row.split(",")[0] for row in revealed[0][0].splitlines()[1:]} == {""}


def test_a_closed_tape_makes_place_for_another(world: World) -> None:
    world.randomise("CN02")
    world.do(close_list, MANAGER, CloseList("SIRIUS", PLAN, "a new tape"), sign=True)
    world.clock.advance(timedelta(minutes=1))
    subject = world.screen("CN02")
    command = RandomiseSubject("SIRIUS", subject, world.answers(), PEOPLE[0][1])
    with world.refuses("rule", "list.no_entry"):
        world.do(randomise_subject, world.stage.at_site(Role.INVESTIGATOR, "CN02"), command, sign=True)
