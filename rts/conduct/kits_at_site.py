"""A site's kits as the deeds see them: which lie on the shelf, which of them a visit may take, and setting them
aside for a subject.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, func, select

from rts.conduct.places import Place
from rts.refusal import refuse, say
from rts.store.ledger import Change, apply
from rts.store.sealed_rows import TO_OPEN, OpenedKit, open_kits
from rts.store.tables import Dispensing, Kit, Site, Subject
from rts.store.transaction import Transaction
from rts.supply.kits import KitState, Move
from rts.supply.picking import every_type_is_in_stock, pick_for_subject
from rts.trial.definition import RestrictedDefinition, Visit
from rts.vault.vault import Opener

# What may befall a kit at a site, in the words of those who report it.
FATES = {"damaged": Move.REPORT_DAMAGED, "lost": Move.REPORT_LOST}

_SHELF = (
    select(Kit)
    .options(*TO_OPEN)
    .where(Kit.site_id == bindparam("site"), Kit.state == KitState.AVAILABLE)
    .order_by(Kit.number)
)


def kits_on_the_shelf(tx: Transaction, site: Site) -> list[Kit]:
    """Every available kit at `site`, by number."""
    return list(tx.session.scalars(_SHELF, {"site": site.id}))


def types_of_group(restricted: RestrictedDefinition, group: str) -> tuple[str, ...]:
    """The kit types of a blinding group."""
    return tuple(kit_type.code for kit_type in restricted.kit_types if kit_type.group == group)


def type_for_arm(restricted: RestrictedDefinition, arm: str, group: str) -> str:
    """The kit type of `group` that belongs to `arm`."""
    for kit_type in restricted.kit_types:
        if kit_type.arm == arm and kit_type.group == group:
            return kit_type.code
    raise LookupError("the definition names no kit type for an arm of this group")


def group_of_type(restricted: RestrictedDefinition, kit_type: str) -> str:
    """The blinding group of a kit type."""
    return next(found.group for found in restricted.kit_types if found.code == kit_type)


def stock_gate_holds(
    place: Place, restricted: RestrictedDefinition, shelf: list[OpenedKit], visit: Visit, dose_level: str
) -> bool:
    """Whether every type of every group that `visit` needs lies on the shelf: asked before an entry is read, so that
    a refusal tells nothing of it.
    """
    stock = [opened.as_stock() for opened in shelf]
    # Every group is judged even after one has failed: the time taken must not tell which was short.
    held = [
        every_type_is_in_stock(
            stock,
            types_of_group(restricted, group),
            visit.quantity(dose_level, group),
            place.today,
            place.definition.expiry.dnd_at(visit.code),
        )
        for group in place.definition.kit_groups
        if visit.quantity(dose_level, group)
    ]
    return all(held)


_ATTEMPTS = (
    select(Dispensing.slot, func.count())
    .where(Dispensing.subject_id == bindparam("subject"), Dispensing.visit == bindparam("visit"))
    .group_by(Dispensing.slot)
)


@dataclass(frozen=True)
class SetAside:
    """Kits set aside for a subject's visit; `possible_leak` when the choice may tell an arm (for unblinded eyes
    only).
    """

    numbers: tuple[str, ...]
    possible_leak: bool


def set_aside_if_there(
    tx: Transaction,
    place: Place,
    restricted: RestrictedDefinition,
    shelf: list[OpenedKit],
    subject: Subject,
    arm: str,
    visit: Visit,
    doer: str,
    *,
    window_reason: str | None = None,
    slots: dict[str, list[int]] | None = None,
) -> SetAside | None:
    """Pick the kits of `visit` for `subject` and set them aside: expiry class first, then secret pick order. None, and
    nothing done, when the shelf lacks one.

    `slots` limits it to some slots of a group (a replacement).
    """
    by_number = {opened.kit.number: opened.kit for opened in shelf}
    stock = [opened.as_stock() for opened in shelf]
    chosen: list[tuple[int, Kit]] = []
    possible_leak = False
    base = 0
    for group in place.definition.kit_groups:
        quantity = visit.quantity(subject.dose_level, group)
        wanted = list(range(base + 1, base + quantity + 1)) if slots is None else slots.get(group, [])
        base += quantity
        if not wanted:
            continue
        pick = pick_for_subject(
            stock,
            type_for_arm(restricted, arm, group),
            types_of_group(restricted, group),
            len(wanted),
            place.today,
            place.definition.expiry.dnd_at(visit.code),
        )
        if len(pick.numbers) < len(wanted):
            return None
        possible_leak = possible_leak or pick.possible_leak
        chosen += [(slot, by_number[number]) for slot, number in zip(wanted, pick.numbers, strict=True)]
    earlier = dict(tx.session.execute(_ATTEMPTS, {"subject": subject.id, "visit": visit.code}).all())
    apply(
        tx,
        [
            Change(
                kit.id,
                Move.ASSIGN,
                KitState.AVAILABLE,
                site_id=place.site.id,
                subject_id=subject.id,
                visit=visit.code,
                shipment_id=kit.shipment_id,
            )
            for _, kit in chosen
        ],
        doer,
    )
    rows = [
        {
            "subject_id": subject.id,
            "visit": visit.code,
            "slot": slot,
            "attempt": earlier.get(slot, 0) + 1,
            "kit_id": kit.id,
            "state": "assigned",
            "version_id": place.version.id,
            "assigned_at": tx.now,
            "assigned_by": doer,
            "window_reason": window_reason,
        }
        for slot, kit in chosen
    ]
    tx.insert(Dispensing, rows)
    return SetAside(tuple(kit.number for _, kit in chosen), possible_leak)


def set_aside(
    tx: Transaction,
    place: Place,
    restricted: RestrictedDefinition,
    shelf: list[OpenedKit],
    subject: Subject,
    arm: str,
    visit: Visit,
    doer: str,
    *,
    window_reason: str | None = None,
    slots: dict[str, list[int]] | None = None,
) -> SetAside:
    """As `set_aside_if_there`. Raises Refusal when the shelf lacks a kit, in words that fit whichever type is short."""
    kits = set_aside_if_there(
        tx, place, restricted, shelf, subject, arm, visit, doer, window_reason=window_reason, slots=slots
    )
    if kits is None:
        raise refuse(
            "rule",
            "kit.none_suitable",
            say(
                "Site %(site)s has no suitable kit for this visit now. Call the supply manager: a shipment "
                "can be sent at once.",
                site=place.site.code,
            ),
            sealed=True,
        )
    return kits


def opened_shelf(tx: Transaction, site: Site, opener: Opener) -> list[OpenedKit]:
    """The whole shelf with types read: always all of it, so that the number of openings depends on no arm."""
    return open_kits(tx, kits_on_the_shelf(tx, site), opener)
