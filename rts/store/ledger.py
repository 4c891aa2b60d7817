"""The kit ledger: the only writer of a kit's state and place.

A deed decides (rts.supply.kits, pure); `apply` re-reads the kits under lock, checks that each is still what the
decision was made on, and writes
the new state and a ledger row together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

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


def apply(tx: Transaction, changes: Sequence[Change], doer: str) -> None:
    """Carry out `changes`. Raises Refusal `conflict` when a kit was moved by someone else meanwhile, `rule` for an
    illegal move.
    """
    kits = lock_kits(tx, [change.kit_id for change in changes])
    for change in changes:
        kit = kits[change.kit_id]
        if kit.state != change.expected:
            raise refuse(
                "conflict",
                "kit.moved",
                say("Kit %(kit)s was changed by someone else a moment ago. Look again and repeat.", kit=kit.number),
                "kit",
            )
        after = state_after(KitState(kit.state), change.move)
        kit.moves += 1
        tx.session.add(
            KitMove(
                kit_id=kit.id,
                sequence=kit.moves,
                at=tx.now,
                move=change.move,
                from_state=kit.state,
                to_state=after,
                depot_id=change.depot_id,
                site_id=change.site_id,
                shipment_id=change.shipment_id,
                subject_id=change.subject_id,
                visit=change.visit,
                doer=doer,
                reason=change.reason,
            )
        )
        kit.state = after
        kit.depot_id, kit.site_id, kit.shipment_id = change.depot_id, change.site_id, change.shipment_id
        kit.subject_id, kit.visit = change.subject_id, change.visit
    tx.session.flush()
