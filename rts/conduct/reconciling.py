"""The account of a site's kits: what was sent, what became of it, and whether the two sides agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace

from sqlalchemy import select

from rts.store.tables import Kit, KitMove, Site
from rts.store.transaction import Transaction
from rts.supply.kits import ENDED, BrokenIdentity, KitState, LedgerRow, Move, conservation


@dataclass(frozen=True)
class Balance:
    """Kits of a site by what became of them, all kit types together.

    `fates` counts each kit once, by its state or, for one to be destroyed or destroyed, by the state before that;
    `destroyed` and `to_be_destroyed` are counted among them. `broken` names the identities that do not hold, with both
    sides; the kits of such a site are not reconciled.
    """

    sent: int
    fates: dict[str, int]
    to_be_destroyed: int
    destroyed: int
    broken: tuple[BrokenIdentity, ...]

    @property
    def received(self) -> int:
        """Kits that arrived, damaged ones among them."""
        return self.sent - sum(self.fates.get(state, 0) for state in ("in_transit", "lost_in_transit", "missing"))


def balance_of(tx: Transaction, site: Site) -> Balance:
    """The account of `site`: its ledger against where its kits are now."""
    statement = (
        select(Kit.number, KitMove.move, KitMove.to_state, Kit.state, Kit.site_id)
        .join(Kit, Kit.id == KitMove.kit_id)
        .where(KitMove.site_id == site.id)
        .order_by(KitMove.kit_id, KitMove.sequence)
    )
    rows: dict[str, list[LedgerRow]] = defaultdict(list)
    stands: dict[str, KitState] = {}
    for number, move, state, now, where in tx.session.execute(statement):
        rows[number].append(LedgerRow(number, Move(move), KitState(state), site.code))
        if where == site.id:
            stands[number] = KitState(now)
    for number, now in stands.items():
        # Where a kit ended is what is recorded of it, not what its last move says: a move that is missing must show.
        rows[number][-1] = replace(rows[number][-1], state=now)
    fates: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    sent = 0
    for steps in rows.values():
        if not any(step.move is Move.SHIP for step in steps):
            continue  # asked for, and not on its way
        sent += 1
        fates[[step.state for step in steps if step.state not in ENDED][-1]] += 1
        ended[steps[-1].state] += 1
    broken = [
        found
        for found in conservation([step for steps in rows.values() for step in steps])
        if found.identity != "released" and found.place
    ]
    return Balance(
        sent,
        dict(fates),
        ended[KitState.PENDING_DESTRUCTION],
        ended[KitState.DESTROYED],
        tuple(broken),
    )
