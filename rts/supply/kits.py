"""The life cycle of a kit: one table of moves, and what always holds of a ledger of moves. Pure.

A kit begins `packed` (its list is active, its lot not yet released) and changes only by a move of `MOVES`; whatever is
not in the table is refused. Type labels that occur here were opened by the caller; nothing here prints them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rts.refusal import refuse, say
from rts.states import MOVES as MOVE_WORDS
from rts.states import STATES


class Sealed:
    """A value that holds type labels: its `repr`, and so its `str`, says nothing."""

    def __repr__(self) -> str:
        return "<sealed>"


class KitState(StrEnum):
    """Where a kit stands. `available`, `assigned` and `quarantined` kits are on hand at a site."""

    PACKED = "packed"
    IN_DEPOT = "in_depot"
    REQUESTED = "requested"
    IN_TRANSIT = "in_transit"
    AVAILABLE = "available"
    ASSIGNED = "assigned"
    DISPENSED = "dispensed"
    QUARANTINED = "quarantined"
    DAMAGED = "damaged"
    MISSING = "missing"
    LOST_IN_TRANSIT = "lost_in_transit"
    LOST = "lost"
    EXPIRED = "expired"
    REJECTED = "rejected"
    RECALLED = "recalled"
    RECALLED_IN_DEPOT = "recalled_in_depot"
    RETURNED = "returned"
    UNRETURNED = "unreturned"
    PENDING_DESTRUCTION = "pending_destruction"
    DESTROYED = "destroyed"


class Move(StrEnum):
    """What may happen to a kit, in the words of those who do it."""

    RELEASE_LOT = "release_lot"
    REQUEST = "request"
    CANCEL_REQUEST = "cancel_request"
    SHIP = "ship"
    RECEIVE_GOOD = "receive_good"
    RECEIVE_DAMAGED = "receive_damaged"
    RECEIVE_MISSING = "receive_missing"
    RECEIVE_EXCURSION = "receive_excursion"
    LOSE_IN_TRANSIT = "lose_in_transit"
    QUARANTINE = "quarantine"
    RELEASE_FROM_QUARANTINE = "release_from_quarantine"
    REJECT = "reject"
    ASSIGN = "assign"
    DISPENSE = "dispense"
    REPORT_DAMAGED = "report_damaged"
    REPORT_LOST = "report_lost"
    EXPIRE = "expire"
    RECALL = "recall"
    RECALL_IN_DEPOT = "recall_in_depot"
    LIFT_RECALL = "lift_recall"
    LIFT_IN_DEPOT = "lift_in_depot"
    RETURN = "return"
    RECOUNT = "recount"
    WRITE_OFF = "write_off"
    AUTHORISE_DESTRUCTION = "authorise_destruction"
    DESTROY = "destroy"


ON_HAND = frozenset({KitState.AVAILABLE, KitState.ASSIGNED, KitState.QUARANTINED})

KEPT_AT_SITE = ON_HAND | {KitState.RECALLED}
"""A kit in one of these states lies at its site and may come into use, if only once a recall is lifted."""

MAY_BE_DESTROYED = frozenset({KitState.RETURNED, KitState.EXPIRED, KitState.DAMAGED, KitState.REJECTED})
"""A kit in one of these states is of no further use and lies where it can be destroyed."""

ENDED = frozenset({KitState.PENDING_DESTRUCTION, KitState.DESTROYED})
"""What was decided of a kit after it had come to an end: which end, the ledger before tells."""

MOVES: dict[Move, tuple[frozenset[KitState], KitState]] = {
    Move.RELEASE_LOT: (frozenset({KitState.PACKED}), KitState.IN_DEPOT),
    Move.REQUEST: (frozenset({KitState.IN_DEPOT}), KitState.REQUESTED),
    Move.CANCEL_REQUEST: (frozenset({KitState.REQUESTED}), KitState.IN_DEPOT),
    Move.SHIP: (frozenset({KitState.REQUESTED}), KitState.IN_TRANSIT),
    Move.RECEIVE_GOOD: (frozenset({KitState.IN_TRANSIT}), KitState.AVAILABLE),
    Move.RECEIVE_DAMAGED: (frozenset({KitState.IN_TRANSIT}), KitState.DAMAGED),
    Move.RECEIVE_MISSING: (frozenset({KitState.IN_TRANSIT}), KitState.MISSING),
    Move.RECEIVE_EXCURSION: (frozenset({KitState.IN_TRANSIT}), KitState.QUARANTINED),
    Move.LOSE_IN_TRANSIT: (frozenset({KitState.IN_TRANSIT}), KitState.LOST_IN_TRANSIT),
    # A recalled kit too: should the recall be lifted, it stays in quarantine until quality has decided.
    Move.QUARANTINE: (
        frozenset({KitState.AVAILABLE, KitState.ASSIGNED, KitState.RECALLED}),
        KitState.QUARANTINED,
    ),
    Move.RELEASE_FROM_QUARANTINE: (frozenset({KitState.QUARANTINED}), KitState.AVAILABLE),
    Move.REJECT: (
        frozenset({KitState.QUARANTINED, KitState.RECALLED, KitState.RECALLED_IN_DEPOT}),
        KitState.REJECTED,
    ),
    Move.ASSIGN: (frozenset({KitState.AVAILABLE}), KitState.ASSIGNED),
    Move.DISPENSE: (frozenset({KitState.ASSIGNED}), KitState.DISPENSED),
    Move.REPORT_DAMAGED: (ON_HAND, KitState.DAMAGED),
    Move.REPORT_LOST: (ON_HAND, KitState.LOST),
    Move.EXPIRE: (ON_HAND | {KitState.PACKED, KitState.IN_DEPOT}, KitState.EXPIRED),
    # A kit on its way is recalled when it arrives, one that was asked for once its shipment is cancelled; one in
    # quarantine stays there, so that no recall that is lifted takes it out without quality's decision.
    Move.RECALL: (frozenset({KitState.AVAILABLE, KitState.ASSIGNED}), KitState.RECALLED),
    Move.RECALL_IN_DEPOT: (frozenset({KitState.IN_DEPOT}), KitState.RECALLED_IN_DEPOT),
    Move.LIFT_RECALL: (frozenset({KitState.RECALLED}), KitState.AVAILABLE),
    Move.LIFT_IN_DEPOT: (frozenset({KitState.RECALLED_IN_DEPOT}), KitState.IN_DEPOT),
    # A box that was given up for lost may turn up; one that came back is counted again, never given back.
    Move.RETURN: (frozenset({KitState.DISPENSED, KitState.UNRETURNED}), KitState.RETURNED),
    Move.RECOUNT: (frozenset({KitState.RETURNED}), KitState.RETURNED),
    Move.WRITE_OFF: (frozenset({KitState.DISPENSED}), KitState.UNRETURNED),
    Move.AUTHORISE_DESTRUCTION: (MAY_BE_DESTROYED, KitState.PENDING_DESTRUCTION),
    Move.DESTROY: (frozenset({KitState.PENDING_DESTRUCTION}), KitState.DESTROYED),
}


def state_after(state: KitState, move: Move) -> KitState:
    """The state of a kit after `move`. Raises Refusal (`rule`, `kit.move`) when the table has no such move."""
    allowed_from, to = MOVES[move]
    if state not in allowed_from:
        raise refuse(
            "rule",
            "kit.move",
            say("a kit that is %(state)s cannot do this: %(move)s", state=STATES[state], move=MOVE_WORDS[move]),
        )
    return to


def replay(moves: Iterable[Move]) -> KitState:
    """The state of a kit after all its moves, from `packed` on. Raises Refusal (`rule`, `kit.move`) at the first
    illegal one."""
    state = KitState.PACKED
    for move in moves:
        state = state_after(state, move)
    return state


@dataclass(frozen=True, repr=False)
class LedgerRow(Sealed):
    """One line of the kit ledger: the move and the state it left the kit in.

    `place` is the site a kit is sent to, arrives or stands at (empty: sites are not told apart); `kit_type` is an
    opened label, or empty when the caller holds no opener.
    """

    kit: str
    move: Move
    state: KitState
    place: str = ""
    kit_type: str = ""


@dataclass(frozen=True, repr=False)
class BrokenIdentity(Sealed):
    """An identity that does not hold: its name (`sent`, `received` or `released`), where, of which type, and both
    sides.

    An empty `place` or `kit_type` means all places or all types together.
    """

    identity: str
    place: str
    kit_type: str
    left: int
    right: int


_RECEIPTS = frozenset({Move.RECEIVE_GOOD, Move.RECEIVE_DAMAGED, Move.RECEIVE_EXCURSION})
_SITE_FATES = frozenset({KitState.EXPIRED, KitState.DAMAGED, KitState.LOST, KitState.REJECTED})
_LOST_ON_THE_WAY = frozenset({KitState.IN_TRANSIT, KitState.LOST_IN_TRANSIT, KitState.MISSING})


def conservation(rows: Iterable[LedgerRow]) -> list[BrokenIdentity]:
    """The conservation identities that a kit ledger breaks; empty when all hold.

    `rows` hold each kit's moves in the order they happened; kits may be interleaved. Checked over everything, per
    place, per type, and per place and type (`released` has no place):

    - sent to a site = in transit + lost on the way + missing + received (damaged included);
    - received = on hand + ever dispensed + expired + damaged + lost + rejected + recalled;
    - released = ever dispensed + undispensed by the same fates.

    What happens to a box after it was dispensed is counted apart, and destruction changes no fate.

    Left sides count moves; right sides count where kits ended, by the recorded states. The two come from different
    columns, so a row that is missing, doubled or edited shows.
    """
    history: dict[str, list[LedgerRow]] = defaultdict(list)
    for row in rows:
        history[row.kit].append(row)
    left: Counter[tuple[str, str, str]] = Counter()
    right: Counter[tuple[str, str, str]] = Counter()

    def count(side: Counter[tuple[str, str, str]], identity: str, row: LedgerRow) -> None:
        places = {"", row.place} if identity != "released" else {""}
        for place in places:
            for kit_type in {"", row.kit_type}:
                side[identity, place, kit_type] += 1

    for steps in history.values():
        released = dispensed = False
        for row in steps:
            if row.move is Move.RELEASE_LOT:
                released = True
                count(left, "released", row)
            elif row.move is Move.SHIP:
                count(left, "sent", row)
            elif row.move in _RECEIPTS:
                count(right, "sent", row)
                count(left, "received", row)
            elif row.move is Move.DISPENSE:
                dispensed = True
                count(right, "received", row)
                count(right, "released", row)
        until_its_end = [row for row in steps if row.state not in ENDED]
        last = until_its_end[-1]
        if last.state in _LOST_ON_THE_WAY:
            count(right, "sent", last)
        before = until_its_end[-2].state if len(until_its_end) > 1 else KitState.PACKED
        # A kit that expires or is rejected in the depot has never been at a site; one damaged on receipt has.
        at_site = last.state in KEPT_AT_SITE or (
            last.state in _SITE_FATES and (before in KEPT_AT_SITE or last.move is Move.RECEIVE_DAMAGED)
        )
        if at_site and not dispensed:
            count(right, "received", last)
        never_released = last.state is KitState.PACKED or (last.state is KitState.EXPIRED and not released)
        if not dispensed and not never_released:
            count(right, "released", last)

    return [
        BrokenIdentity(*key, left=left[key], right=right[key])
        for key in sorted(left.keys() | right.keys())
        if left[key] != right[key]
    ]
