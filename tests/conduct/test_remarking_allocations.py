"""What is found wrong with an allocation is written beside it and moves nothing."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from rts.conduct.remarking_allocations import (
    CorrectStratum,
    MarkRandomisedInError,
    correct_stratum,
    mark_randomised_in_error,
    values_on_record,
)
from rts.store.checks import run_checks
from rts.store.tables import AllocationRemark, ListEntry, Subject
from tests.world import World

INVESTIGATOR = "investigator.cn02"
# The subject was randomised with 12 and 7.5: high activity, low dose.
RIGHT = {"SLEDAI": 9.0, "STEROID": 7.5}


def allocation(world: World, subject: str) -> tuple[object, ...]:
    """Everything that an allocation is."""
    with world.store.transaction() as tx:
        found = tx.session.scalars(select(Subject).where(Subject.code == subject)).one()
        entry = tx.session.scalars(select(ListEntry).where(ListEntry.subject_id == found.id)).one()
        return (
            found.state,
            found.stratum,
            found.factor_values,
            found.randomisation_number,
            entry.stratum,
            entry.position,
        )


@pytest.mark.requirement("RAND-08")
def test_a_corrected_value_leaves_stratum_entry_and_kit_as_they_were(world: World) -> None:
    subject = world.randomise("CN02")
    before, kit = allocation(world, subject), world.kit_for(subject, "W0")

    world.do(correct_stratum, INVESTIGATOR, CorrectStratum("SIRIUS", subject, RIGHT, "misread the score"))

    assert allocation(world, subject) == before
    assert world.kit_for(subject, "W0") == kit
    with world.store.transaction() as tx:
        remark = tx.session.scalars(select(AllocationRemark)).one()
        found = tx.session.scalars(select(Subject).where(Subject.code == subject)).one()
        assert (remark.kind, remark.stratum, json.loads(remark.factor_values or "")) == (
            "stratum",
            "SLEDAI-LOW.STEROID-LOW",
            RIGHT,
        )
        assert values_on_record(tx, found) == RIGHT
    event, detail = world.last_event("subject.stratum_corrected")
    assert detail is not None
    assert (event.actor, detail["reason"], detail["allocated_in"]) == (
        INVESTIGATOR,
        "misread the score",
        "SLEDAI-HIGH.STEROID-LOW",
    )
    assert run_checks(world.store) == []


def test_the_next_subject_of_the_stratum_takes_the_next_entry_all_the_same(world: World) -> None:
    first = world.randomise("CN02")
    world.do(correct_stratum, INVESTIGATOR, CorrectStratum("SIRIUS", first, RIGHT, "misread the score"))

    assert allocation(world, world.randomise("CN02"))[4:] == ("SLEDAI-HIGH.STEROID-LOW", 2)


@pytest.mark.parametrize(
    ("values", "reason", "code", "rule"),
    [
        ({"SLEDAI": 9.0}, "misread", "invalid", "stratum.missing"),
        ({"SLEDAI": 999.0, "STEROID": 7.5}, "misread", "invalid", "stratum.bounds"),
        ({"SLEDAI": 9.5, "STEROID": 7.5}, "misread", "invalid", "stratum.decimals"),
        ({**RIGHT, "OTHER": 1.0}, "misread", "invalid", "stratum.unknown"),
        (RIGHT, " ", "invalid", "reason.missing"),
        ({"SLEDAI": 12.0, "STEROID": 7.5}, "misread", "conflict", "remark.same_values"),
    ],
)
def test_a_correction_that_is_none_is_refused(
    world: World, values: dict[str, float], reason: str, code: str, rule: str
) -> None:
    subject = world.randomise("CN02")

    with world.refuses(code, rule):
        world.do(correct_stratum, INVESTIGATOR, CorrectStratum("SIRIUS", subject, values, reason))


@pytest.mark.requirement("RAND-07")
def test_a_subject_randomised_in_error_keeps_number_and_entry(world: World) -> None:
    subject = world.randomise("CN02")
    before = allocation(world, subject)
    command = MarkRandomisedInError("SIRIUS", subject, "an exclusion criterion was overlooked")

    world.do(mark_randomised_in_error, INVESTIGATOR, command)

    assert allocation(world, subject) == before
    with world.refuses("conflict", "remark.marked"):
        world.do(mark_randomised_in_error, INVESTIGATOR, command)
    assert run_checks(world.store) == []


def test_only_a_randomised_subject_of_the_own_site_is_remarked_on(world: World) -> None:
    screened, randomised = world.screen("CN02"), world.randomise("CN02")
    with world.refuses("conflict", "subject.not_randomised"):
        world.do(mark_randomised_in_error, INVESTIGATOR, MarkRandomisedInError("SIRIUS", screened, "a mistake"))
    with world.refuses("invalid", "reason.missing"):
        world.do(mark_randomised_in_error, INVESTIGATOR, MarkRandomisedInError("SIRIUS", randomised, ""))
    for person, code, rule in (
        ("investigator.cn03", "not_found", "access.scope"),
        ("pharmacist.cn02", "forbidden", "access.permission"),
    ):
        with world.refuses(code, rule):
            world.do(mark_randomised_in_error, person, MarkRandomisedInError("SIRIUS", randomised, "a mistake"))
