"""The kit ledger: state and row together, on what the decision was made on, by the table of moves."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from rts.refusal import Refusal
from rts.store.ledger import Change, apply
from rts.store.tables import Kit, KitMove, Site
from rts.supply.kits import KitState, Move, replay
from tests.world import World


def one_kit(world: World) -> Kit:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(Kit).where(Kit.state == "available").order_by(Kit.id)).first()  # type: ignore[return-value]


def change(world: World, *changes: Change) -> None:
    with world.store.transaction(write=True) as tx:
        apply(tx, changes, "tester")


@pytest.mark.requirement("DISP-03")
def test_a_move_writes_state_place_and_row_together(world: World) -> None:
    kit = one_kit(world)

    change(world, Change(kit.id, Move.QUARANTINE, KitState.AVAILABLE, site_id=kit.site_id, reason="power cut"))

    with world.store.transaction() as tx:
        now = tx.session.get_one(Kit, kit.id)
        row = tx.session.scalars(
            select(KitMove).where(KitMove.kit_id == kit.id).order_by(KitMove.sequence.desc())
        ).first()
    assert (now.state, now.site_id, now.moves) == ("quarantined", kit.site_id, kit.moves + 1)
    assert row is not None
    assert (row.sequence, row.move, row.from_state, row.to_state, row.doer, row.reason, row.at) == (
        kit.moves + 1,
        "quarantine",
        "available",
        "quarantined",
        "tester",
        "power cut",
        world.clock.now(),
    )


@pytest.mark.requirement("DISP-03")
def test_a_decision_on_a_state_that_has_changed_is_refused_whole(world: World) -> None:
    kit = one_kit(world)
    before = world.rows()

    with pytest.raises(Refusal) as caught:
        change(
            world,
            Change(kit.id, Move.QUARANTINE, KitState.AVAILABLE, site_id=kit.site_id),
            Change(kit.id, Move.REPORT_LOST, KitState.AVAILABLE, site_id=kit.site_id),
        )

    assert (caught.value.code, caught.value.rules) == ("conflict", ("kit.moved",))
    assert world.rows() == before


@pytest.mark.requirement("DISP-03")
@pytest.mark.parametrize("move", [Move.DISPENSE, Move.SHIP, Move.RELEASE_LOT, Move.RECEIVE_GOOD])
def test_a_move_the_table_does_not_know_is_refused(world: World, move: Move) -> None:
    kit = one_kit(world)
    before = world.rows()

    with pytest.raises(Refusal) as caught:
        change(world, Change(kit.id, move, KitState.AVAILABLE, site_id=kit.site_id))

    assert (caught.value.code, caught.value.rules) == ("rule", ("kit.move",))
    assert world.rows() == before


def test_every_kits_state_is_what_its_moves_replay_to(world: World) -> None:
    world.dispense(world.randomise("CN02"))
    world.randomise("CN03")

    with world.store.transaction() as tx:
        kits = tx.session.scalars(select(Kit)).all()
        moves: dict[int, list[Move]] = {}
        for row in tx.session.scalars(select(KitMove).order_by(KitMove.kit_id, KitMove.sequence)):
            moves.setdefault(row.kit_id, []).append(Move(row.move))
        sites = tx.session.scalars(select(Site.id).where(Site.state == "open")).all()
    assert len(kits) == 1140
    assert len(sites) == 2
    for kit in kits:
        assert kit.state == replay(moves.get(kit.id, []))
        assert kit.moves == len(moves.get(kit.id, []))
