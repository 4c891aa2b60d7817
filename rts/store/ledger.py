"""The kit ledger: the only writer of a kit's state and place.

A deed decides (rts.supply.kits, pure); `apply` re-reads the kits under lock, checks that each is still what the
decision was made on, and writes
the new state and a ledger row together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm.attributes import set_committed_value

from rts.refusal import refuse, say
from rts.store.tables import Kit, KitMove
from rts.store.transaction import Transaction
from rts.supply.kits import KitState, Move, state_after

# What a kit is when its list is activated, before any row of the ledger.
opening_state = KitState.PACKED


@dataclass(frozen=True)
class Change:
    """One decided move of one kit, and where it is afterwards. `expected` is the state the decision was made on."""

    kit_id: int
    move: Move
    expected: KitState
    depot_id: int | None = None
    site_id: int | None = None
    shipment_id: int | None = None
    subject_id: int | None = None
    visit: str | None = None
    reason: str = ""


def lock_kits(tx: Transaction, kit_ids: Sequence[int]) -> dict[int, Kit]:
    """The kits `kit_ids` re-read under row lock, in ascending order so that two deeds never wait for each other."""
    statement = (
        select(Kit)
        .where(Kit.id.in_(sorted(kit_ids)))
        .order_by(Kit.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {kit.id: kit for kit in tx.session.scalars(statement)}


_MOVE = update(Kit).where(Kit.id == bindparam("kit"))


def apply(tx: Transaction, changes: Sequence[Change], doer: str) -> None:
    """Carry out `changes`. Raises Refusal `conflict` when a kit was moved by someone else meanwhile, `rule` for an
    illegal move.
    """
    kits = lock_kits(tx, [change.kit_id for change in changes])
    moved, moves = [], []
    # Written in one order, whatever the deed's: the order of rows must tell nothing of how kits were chosen.
    for change in sorted(changes, key=lambda change: change.kit_id):
        kit = kits[change.kit_id]
        if kit.state != change.expected:
            raise refuse(
                "conflict",
                "kit.moved",
                say("Kit %(kit)s was changed by someone else a moment ago. Look again and repeat.", kit=kit.number),
                "kit",
            )
        place = {
            "depot_id": change.depot_id,
            "site_id": change.site_id,
            "shipment_id": change.shipment_id,
            "subject_id": change.subject_id,
            "visit": change.visit,
        }
        after = {"state": state_after(KitState(kit.state), change.move), "moves": kit.moves + 1, **place}
        moves.append(
            {
                "kit_id": kit.id,
                "sequence": after["moves"],
                "at": tx.now,
                "move": change.move,
                "from_state": kit.state,
                "to_state": after["state"],
                **place,
                "doer": doer,
                "reason": change.reason,
            }
        )
        moved.append({"kit": kit.id, **after})
        for name, value in after.items():
            set_committed_value(kit, name, value)  # written below, all kits in one statement
    if changes:
        tx.connection.execute(_MOVE, moved)
        tx.insert(KitMove, moves)
