"""The main job, once through, on both databases."""

from __future__ import annotations

import pytest

from tests.world import World


@pytest.mark.requirement("RAND-04")
def test_a_subject_is_randomised_and_gets_the_first_kit(world: World) -> None:
    subject = world.randomise("CN02")

    kit = world.dispense(subject)

    assert kit.startswith("K")
    assert world.events("subject.randomised") == 1
    assert world.events("kit.dispensed") == 1
