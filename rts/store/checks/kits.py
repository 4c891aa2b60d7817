"""Kits: the ledger replayed, quantities conserved, and what subjects were given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from rts.refusal import Refusal, say
from rts.store.audit_verification import Finding
from rts.store.checks.view import View
from rts.store.tables import Dispensing, Kit, KitMove
from rts.supply.kits import ENDED, KitState, LedgerRow, Move, conservation, replay

_IDENTITIES = {
    "sent": say("sent = in transit + lost on the way + missing + received"),
    "received": say("received = on hand + dispensed + expired + damaged + lost + rejected + recalled"),
    "released": say("released = dispensed + undispensed by the same fates"),
}

# Where a kit may be, by what became of giving it to a subject.
_STATES_AFTER = {
    "assigned": {KitState.ASSIGNED},
    "dispensed": {KitState.DISPENSED, KitState.RETURNED, KitState.UNRETURNED, *ENDED},
    "replaced": {
        *(KitState.DISPENSED, KitState.RETURNED, KitState.UNRETURNED, KitState.DAMAGED, KitState.LOST),
        *ENDED,
    },
    "put_back": {
        *(KitState.QUARANTINED, KitState.REJECTED, KitState.EXPIRED, KitState.DAMAGED, KitState.LOST),
        *(KitState.RECALLED, *ENDED),
    },
}


def states_follow_from_the_ledger(view: View) -> Iterator[Finding]:
    """Each kit's moves are numbered without a gap, each is legal after the one before, and the last is where it is."""
    for kit in view.kits.values():
        moves = view.moves.get(kit.id, [])
        if [move.sequence for move in moves] != list(range(1, kit.moves + 1)):
            text = say("Kit %(kit)s: a row of its ledger is missing or was added.", kit=kit.number)
            yield Finding("kit.ledger_rows", text)
        states = [KitState.PACKED.value, *(move.to_state for move in moves)]
        if [move.from_state for move in moves] != states[:-1]:
            text = say("Kit %(kit)s: a row of its ledger does not begin where the row before it ended.", kit=kit.number)
            yield Finding("kit.ledger_states", text)
        try:
            replayed = replay(Move(move.move) for move in moves)
        except (Refusal, ValueError):
            text = say("Kit %(kit)s: its ledger has a move that is not possible.", kit=kit.number)
            yield Finding("kit.ledger_move", text)
            continue
        if not replayed == kit.state == states[-1]:
            text = say(
                "Kit %(kit)s is recorded as %(state)s, but by its ledger it is %(replayed)s.",
                kit=kit.number,
                state=kit.state,
                replayed=replayed.value,
            )
            yield Finding("kit.state", text)
        if moves and _place(kit) != _place(moves[-1]):
            text = say("Kit %(kit)s is recorded elsewhere than its ledger says.", kit=kit.number)
            yield Finding("kit.place", text)
        if any(later.at < earlier.at for earlier, later in pairwise(moves)):
            text = say("Kit %(kit)s: its ledger runs back in time.", kit=kit.number)
            yield Finding("kit.ledger_time", text)


def _place(row: Kit | KitMove) -> tuple[object, ...]:
    return row.depot_id, row.site_id, row.shipment_id, row.subject_id, row.visit


def quantities_are_conserved(view: View) -> Iterator[Finding]:
    """The identities of the kit ledger hold, in all, per site, and per kit type (of which nothing is told)."""
    rows = []
    for kit_id, moves in view.moves.items():
        kit = view.kits[kit_id]
        opened = view.opened_kit(kit)
        for move in moves:
            try:
                step = Move(move.move), KitState(move.to_state)
            except ValueError:
                continue  # told by states_follow_from_the_ledger
            place = view.site_codes.get(move.site_id or 0, "")
            rows.append(LedgerRow(kit.number, *step, place, opened.arm if opened else ""))
    told = set()
    for broken in conservation(rows):
        if (broken.identity, broken.place) in told:
            continue  # a type is counted within a whole that is told already
        told.add((broken.identity, broken.place))
        where = broken.place or view.trial.code
        named = {"where": where, "identity": _IDENTITIES[broken.identity]}
        if broken.kit_type:
            text = say("%(where)s: kits are not conserved within their types: %(identity)s does not hold.", **named)
        else:
            text = say(
                "%(where)s: kits are not conserved: %(identity)s does not hold (%(left)d and %(right)d).",
                **named,
                left=broken.left,
                right=broken.right,
            )
        yield Finding(f"kits.{broken.identity}", text)


def dispensings_agree_with_kits(view: View) -> Iterator[Finding]:
    """What was given to whom, the kits' states and the ledger say the same."""
    live: dict[int, list[Dispensing]] = defaultdict(list)
    for given in view.dispensings:
        kit, subject = view.kits.get(given.kit_id), view.subjects[given.subject_id]
        if kit is None:
            text = say("Subject %(subject)s was given a kit of another trial.", subject=subject.code)
            yield Finding("dispensing.other_trial", text)
            continue
        named = {"kit": kit.number, "subject": subject.code, "visit": given.visit}
        if subject.randomised_at is None:
            text = say("Kit %(kit)s was given to subject %(subject)s, who was not randomised.", **named)
            yield Finding("dispensing.not_randomised", text)
        if given.state != "put_back":
            live[kit.id].append(given)
        if KitState(kit.state) not in _STATES_AFTER[given.state]:
            text = say(
                "Kit %(kit)s is %(state)s, but for subject %(subject)s at %(visit)s it was %(given)s.",
                **named,
                state=kit.state,
                given=given.state,
            )
            yield Finding("dispensing.state", text)
        held_by = (kit.subject_id, kit.visit)
        if kit.state in {KitState.ASSIGNED, KitState.DISPENSED} and held_by != (given.subject_id, given.visit):
            text = say("Kit %(kit)s is not held by subject %(subject)s for %(visit)s, to whom it was given.", **named)
            yield Finding("dispensing.subject", text)
        handed_over = [move for move in view.moves.get(kit.id, []) if move.move == Move.DISPENSE]
        if (given.dispensed_at is not None) != bool(handed_over) or len(handed_over) > 1:
            text = say("Kit %(kit)s: its handing over to subject %(subject)s and its ledger disagree.", **named)
            yield Finding("dispensing.ledger", text)
    for kit in view.kits.values():
        if kit.state in {KitState.ASSIGNED, KitState.DISPENSED} and len(live[kit.id]) != 1:
            text = say(
                "Kit %(kit)s is %(state)s, but was given to %(count)d subjects.",
                kit=kit.number,
                state=kit.state,
                count=len(live[kit.id]),
            )
            yield Finding("dispensing.count", text)


def kits_are_of_the_subjects_treatment(view: View) -> Iterator[Finding]:
    """Each kit ever given to a subject is of a type of the subject's arm."""
    for given in view.dispensings:
        kit, entry = view.kits.get(given.kit_id), view.entry_of.get(given.subject_id)
        arms = view.arm_of_type.get(given.version_id)
        if kit is None or entry is None or arms is None:
            continue  # each told by a check of its own
        opened_kit, arm = view.opened_kit(kit), view.arm_of(entry)
        if opened_kit is None or arm is None:
            continue
        if arms.get(opened_kit.arm) != arm:
            text = say(
                "Kit %(kit)s is not of the treatment of subject %(subject)s, to whom it was given.",
                kit=kit.number,
                subject=view.subjects[given.subject_id].code,
            )
            yield Finding("dispensing.treatment", text)
