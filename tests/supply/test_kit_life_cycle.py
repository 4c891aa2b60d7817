"""The kit's table of moves, and the conservation identities of a ledger."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rts.refusal import Refusal
from rts.supply.kits import (
    MOVES,
    ON_HAND,
    KitState,
    LedgerRow,
    Move,
    conservation,
    replay,
    state_after,
)

GOOD_LIFE = (Move.RELEASE_LOT, Move.REQUEST, Move.SHIP, Move.RECEIVE_GOOD, Move.ASSIGN, Move.DISPENSE)


def reachable(start: KitState, without: Collection[Move] = ()) -> set[KitState]:
    """Every state that any sequence of moves leads to, none of `without` among them."""
    found, waiting = {start}, [start]
    while waiting:
        state = waiting.pop()
        for move in Move:
            if move in without:
                continue
            try:
                after = state_after(state, move)
            except Refusal:
                continue
            if after not in found:
                found.add(after)
                waiting.append(after)
    return found


def ledger(kit: str, *moves: Move, place: str = "CN01", kit_type: str = "") -> list[LedgerRow]:
    rows, state = [], KitState.PACKED
    for move in moves:
        state = state_after(state, move)
        rows.append(LedgerRow(kit, move, state, place, kit_type))
    return rows


def test_an_ordinary_kit_is_dispensed() -> None:
    assert replay(GOOD_LIFE) is KitState.DISPENSED


@pytest.mark.requirement("DISP-03")
@pytest.mark.parametrize(
    ("state", "later"),
    [
        (KitState.MISSING, set()),
        (KitState.LOST_IN_TRANSIT, set()),
        (KitState.LOST, set()),
        (KitState.DAMAGED, {KitState.PENDING_DESTRUCTION, KitState.DESTROYED}),
        (KitState.EXPIRED, {KitState.PENDING_DESTRUCTION, KitState.DESTROYED}),
        (KitState.REJECTED, {KitState.PENDING_DESTRUCTION, KitState.DESTROYED}),
        (KitState.RETURNED, {KitState.PENDING_DESTRUCTION, KitState.DESTROYED}),
        (KitState.PENDING_DESTRUCTION, {KitState.DESTROYED}),
        (KitState.DESTROYED, set()),
        (
            KitState.DISPENSED,
            {KitState.RETURNED, KitState.UNRETURNED, KitState.PENDING_DESTRUCTION, KitState.DESTROYED},
        ),
    ],
)
def test_a_kit_at_its_end_can_only_be_accounted_for_and_destroyed(state: KitState, later: set[KitState]) -> None:
    assert reachable(state) == {state} | later


@pytest.mark.requirement("SHIP-04")
@pytest.mark.parametrize(
    ("state", "without"),
    [
        (KitState.QUARANTINED, {Move.RELEASE_FROM_QUARANTINE}),
        (KitState.IN_TRANSIT, {Move.RECEIVE_GOOD, Move.RECEIVE_EXCURSION}),
        (KitState.IN_TRANSIT, {Move.RECEIVE_GOOD, Move.RELEASE_FROM_QUARANTINE}),
        (KitState.IN_DEPOT, {Move.SHIP}),
        (KitState.PACKED, {Move.RELEASE_LOT}),
        (KitState.PACKED, {Move.ASSIGN}),
    ],
)
def test_no_way_to_a_subject_avoids_release_shipment_receipt_and_assignment(
    state: KitState, without: set[Move]
) -> None:
    assert KitState.DISPENSED not in reachable(state, without)
    assert KitState.DISPENSED in reachable(state)


@pytest.mark.requirement("DISP-03")
@pytest.mark.parametrize("state", sorted(set(KitState) - {KitState.ASSIGNED}))
def test_only_an_assigned_kit_can_be_dispensed(state: KitState) -> None:
    with pytest.raises(Refusal) as caught:
        state_after(state, Move.DISPENSE)
    assert (caught.value.code, caught.value.rules) == ("rule", ("kit.move",))
    assert state_after(KitState.ASSIGNED, Move.DISPENSE) is KitState.DISPENSED


def test_every_state_but_the_first_is_reached_by_some_move() -> None:
    assert {to for _, to in MOVES.values()} | {KitState.PACKED} == set(KitState)
    assert set(MOVES) == set(Move)


def test_an_illegal_move_names_state_and_move() -> None:
    with pytest.raises(Refusal, match="a kit that is in transit cannot do this: dispense"):
        replay((Move.RELEASE_LOT, Move.REQUEST, Move.SHIP, Move.DISPENSE))


def whole_story() -> list[LedgerRow]:
    sent = GOOD_LIFE[:3]
    return [
        *ledger("K1", *GOOD_LIFE, kit_type="A"),
        *ledger("K2", *sent, Move.RECEIVE_DAMAGED, kit_type="A"),
        *ledger("K3", *sent, Move.RECEIVE_MISSING, kit_type="P"),
        *ledger("K4", *sent, Move.LOSE_IN_TRANSIT, kit_type="P"),
        *ledger("K5", *sent, Move.RECEIVE_EXCURSION, Move.REJECT, kit_type="A"),
        *ledger("K6", *sent, Move.RECEIVE_GOOD, Move.EXPIRE, kit_type="P"),
        *ledger("K7", *sent, Move.RECEIVE_GOOD, Move.ASSIGN, Move.REPORT_LOST, kit_type="P"),
        *ledger("K8", Move.RELEASE_LOT, Move.EXPIRE, place="CN-DEPOT", kit_type="A"),
        *ledger("K9", Move.RELEASE_LOT, Move.REQUEST, Move.CANCEL_REQUEST, place="CN-DEPOT", kit_type="A"),
        *ledger("K10", Move.EXPIRE, place="CN-DEPOT", kit_type="P"),
        *ledger("K11", *sent, kit_type="P", place="CN02"),
    ]


def test_the_identities_hold_for_every_end_a_kit_can_come_to() -> None:
    assert conservation(whole_story()) == []


def test_a_kit_sent_to_one_site_and_received_at_another_breaks_both_sites_identities() -> None:
    rows = ledger("K1", *GOOD_LIFE[:4])
    rows[3] = replace(rows[3], place="CN02")
    broken = [(one.identity, one.place, one.left, one.right) for one in conservation(rows)]
    assert broken == [("sent", "CN01", 1, 0), ("sent", "CN02", 0, 1)]


def test_a_missing_receipt_shows() -> None:
    rows = [row for row in whole_story() if not (row.kit == "K1" and row.move is Move.RECEIVE_GOOD)]
    assert {
        (one.identity, one.left, one.right) for one in conservation(rows) if (one.place, one.kit_type) == ("", "")
    } == {
        ("sent", 8, 7),
        ("received", 4, 5),
    }


def test_a_kit_dispensed_twice_shows() -> None:
    rows = whole_story()
    rows.append(LedgerRow("K1", Move.DISPENSE, KitState.DISPENSED, "CN01", "A"))
    broken = {(one.identity, one.place, one.kit_type) for one in conservation(rows)}
    assert ("received", "CN01", "A") in broken
    assert ("released", "", "A") in broken
    assert not any(kit_type == "P" for _, _, kit_type in broken)


def test_an_edited_final_state_shows() -> None:
    rows = ledger("K1", *GOOD_LIFE[:4])
    rows[3] = replace(rows[3], state=KitState.IN_TRANSIT)
    assert {(one.identity, one.left, one.right) for one in conservation(rows) if one.place == ""} == {
        ("sent", 1, 2),
        ("received", 1, 0),
    }


def test_ledger_rows_and_broken_identities_print_as_sealed() -> None:
    row = replace(ledger("K1", Move.EXPIRE, kit_type="A")[0], state=KitState.AVAILABLE)
    assert repr(row) == "<sealed>"
    assert {repr(one) for one in conservation([row])} == {"<sealed>"}


class Kits(RuleBasedStateMachine):
    """Any moves on any of six kits of two types at two sites: what the table allows keeps every identity."""

    def __init__(self) -> None:
        super().__init__()
        self.states = dict.fromkeys(("K1", "K2", "K3", "K4", "K5", "K6"), KitState.PACKED)
        self.moves: dict[str, list[Move]] = {kit: [] for kit in self.states}
        self.rows: list[LedgerRow] = []

    @rule(kit=st.sampled_from(["K1", "K2", "K3", "K4", "K5", "K6"]), data=st.data())
    def move_on(self, kit: str, data: st.DataObject) -> None:
        before = self.states[kit]
        legal = [move for move, (allowed, _) in MOVES.items() if before in allowed]
        if not legal:
            return
        move = data.draw(st.sampled_from(legal))
        self.states[kit] = state_after(before, move)
        self.moves[kit].append(move)
        number = int(kit[1])
        self.rows.append(LedgerRow(kit, move, self.states[kit], f"CN0{number % 2}", "AP"[number % 3 == 0]))

    @precondition(lambda self: self.rows)
    @rule(kit=st.sampled_from(["K1", "K2", "K3", "K4", "K5", "K6"]), move=st.sampled_from(list(Move)))
    def try_any_move(self, kit: str, move: Move) -> None:
        if self.states[kit] not in MOVES[move][0]:
            with pytest.raises(Refusal):
                state_after(self.states[kit], move)

    @invariant()
    def identities_hold(self) -> None:
        assert conservation(self.rows) == []

    @invariant()
    def the_ledger_replays_to_the_state(self) -> None:
        assert {kit: replay(moves) for kit, moves in self.moves.items()} == self.states

    @invariant()
    def a_dispensed_kit_was_received_good_or_released_from_quarantine(self) -> None:
        for kit, state in self.states.items():
            if state is KitState.DISPENSED:
                done = self.moves[kit]
                assert Move.RECEIVE_GOOD in done or Move.RELEASE_FROM_QUARANTINE in done
                on_hand_moves = [move for move in done if MOVES[move][1] in ON_HAND]
                assert on_hand_moves[-1] is Move.ASSIGN


TestKits = Kits.TestCase
TestKits.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
