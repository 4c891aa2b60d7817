"""A process killed between any two statements of a randomisation leaves nothing half done, and the retry gives the
answer once.
"""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import func, select

from rts.conduct.randomising import RandomiseSubject
from rts.store.tables import AuditEvent, IdempotencyKey, Kit, KitMove, ListEntry, Signature, Subject
from tests.processes import Place, Request, dies_before, statements_sent
from tests.world import GOOD_VALUES, World


def taken(world: World) -> dict[str, int]:
    """What a randomisation leaves behind, counted."""
    counted = {
        "entries": select(func.count()).where(ListEntry.subject_id.is_not(None)),
        "subjects": select(func.count()).where(Subject.randomised_at.is_not(None)),
        "kits": select(func.count()).where(Kit.subject_id.is_not(None)),
        "moves": select(func.count()).where(KitMove.move == "assign"),
        "signatures": select(func.count()).where(Signature.object_type == "randomisation"),
        "keys": select(func.count()).select_from(IdempotencyKey),
        "events": select(func.count()).where(AuditEvent.action == "subject.randomised"),
        "sealed events": select(func.count()).where(AuditEvent.action == "allocation.taken"),
    }
    with world.store.transaction() as tx:
        return {name: tx.session.scalar(statement) or 0 for name, statement in counted.items()}


def randomisation(world: World, key: str) -> Request:
    """A request to randomise someone just screened."""
    command = RandomiseSubject("SIRIUS", world.screen("CN02"), world.answers(), GOOD_VALUES)
    return Request("rts.conduct.randomising:randomise_subject", world.who("investigator.cn02"), command, key)


@pytest.mark.requirement("RAND-04")
@pytest.mark.requirement("RAND-05")
def test_killed_before_any_statement_a_randomisation_is_whole_or_absent(world: World) -> None:
    statements = statements_sent(world, randomisation(world, "an earlier click"))
    request = randomisation(world, "one click")
    before = world.rows()
    world.store.engine.dispose()  # a forked child must not share a connection

    deaths = 0
    while dies_before(Place.of(world), request, deaths + 1):
        deaths += 1
        assert world.rows() == before
        world.store.engine.dispose()

    # The last child did not die: its commit was the last statement.
    assert deaths == statements
    assert set(taken(world).values()) == {2}
    assert request.do(world.store) == "again"
    assert set(taken(world).values()) == {2}


@pytest.mark.requirement("RAND-05")
def test_the_retry_after_a_death_gets_the_first_entry(world: World) -> None:
    request = randomisation(world, "one click")
    world.store.engine.dispose()
    assert dies_before(Place.of(world), request, 20)

    answers = Counter(request.do(world.store) for _ in range(3))

    assert answers == {"done": 1, "again": 2}
    assert set(taken(world).values()) == {1}
    with world.store.transaction() as tx:
        assert tx.session.scalars(select(ListEntry.position).where(ListEntry.subject_id.is_not(None))).all() == [1]
