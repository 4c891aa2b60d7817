"""Shipments: what each carried, and where its kits are or went."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from rts.refusal import say
from rts.store.audit_verification import Finding
from rts.store.checks.view import View
from rts.store.tables import KitMove, Shipment, ShipmentKit
from rts.supply.kits import KitState, Move

RECEIPTS = {
    "good": Move.RECEIVE_GOOD,
    "damaged": Move.RECEIVE_DAMAGED,
    "missing": Move.RECEIVE_MISSING,
    "excursion": Move.RECEIVE_EXCURSION,
}

# The shipments a kit may belong to while it is on its way.
_UNDER_WAY = {KitState.REQUESTED.value: {"requested", "picked"}, KitState.IN_TRANSIT.value: {"in_transit"}}


def shipments_agree_with_kits(view: View) -> Iterator[Finding]:
    """Each line of a shipment agrees with its kit's ledger, and each kit under way is on a shipment under way."""
    by_id = {shipment.id: shipment for shipment in view.shipments}
    on_lines = set()
    for shipment in view.shipments:
        lines = view.shipment_lines.get(shipment.id, [])
        if not lines:
            text = say("Shipment %(shipment)s has no kit.", shipment=shipment.number)
            yield Finding("shipment.empty", text)
        for line in lines:
            on_lines.add((shipment.id, line.kit_id))
            if line.kit_id not in view.kits or not _line_agrees(view, shipment, line):
                text = say(
                    "Shipment %(shipment)s is %(state)s, but the ledger of kit %(kit)s says otherwise.",
                    shipment=shipment.number,
                    state=shipment.state,
                    kit=line.kit.number,
                )
                yield Finding("shipment.kit", text)
    for kit in view.kits.values():
        expected = _UNDER_WAY.get(kit.state)
        if expected is None:
            continue
        shipment_of = by_id.get(kit.shipment_id or 0)
        if shipment_of is None or shipment_of.state not in expected or (shipment_of.id, kit.id) not in on_lines:
            text = say("Kit %(kit)s is %(state)s, but on no shipment that is.", kit=kit.number, state=kit.state)
            yield Finding("kit.shipment", text)


def _line_agrees(view: View, shipment: Shipment, line: ShipmentKit) -> bool:
    kit, moves = view.kits[line.kit_id], view.moves.get(line.kit_id, [])
    if (line.outcome is not None) != (shipment.state == "received"):
        return False
    if shipment.state in {"requested", "picked"}:
        return kit.state == KitState.REQUESTED and kit.shipment_id == shipment.id
    if shipment.state == "in_transit":
        return kit.state == KitState.IN_TRANSIT and kit.shipment_id == shipment.id
    if shipment.state == "cancelled":
        return any(
            _is_of(before, Move.REQUEST, shipment) and after.move == Move.CANCEL_REQUEST
            for before, after in pairwise(moves)
        )
    ending = Move.LOSE_IN_TRANSIT if shipment.state == "lost" else RECEIPTS.get(line.outcome or "")
    arrived = [move for move in moves if ending is not None and _is_of(move, ending, shipment)]
    return len(arrived) == 1 and arrived[0].site_id == shipment.site_id


def _is_of(row: KitMove, move: Move, shipment: Shipment) -> bool:
    return row.move == move and row.shipment_id == shipment.id
