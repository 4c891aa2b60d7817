"""Replacing a kit of a subject: the old one's end is recorded and another is set aside."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor
from rts.access.permissions import Permission
from rts.conduct.dispensing import arm_of, locked_place, note_pick, refuse_unless_in_treatment
from rts.conduct.kits_at_site import FATES, opened_shelf, set_aside
from rts.conduct.perform import Done
from rts.conduct.places import subject_at
from rts.conduct.visits import place_of_visit
from rts.randomisation.numbers import normal_number
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import definitions
from rts.store.ledger import Change, apply
from rts.store.sealed_rows import OpenedKit, open_kits
from rts.store.tables import Dispensing
from rts.store.transaction import Transaction
from rts.supply.expiry import may_be_dispensed
from rts.supply.kits import KitState, Move
from rts.trial.definition import RestrictedDefinition
from rts.vault.vault import Opener


@dataclass(frozen=True)
class ReplaceKit:
    """Give another kit of the same treatment for one that was lost or damaged (`fate`), or that no longer lasts the
    interval (`expired`).
    """

    trial: str
    subject: str
    kit: str
    fate: str
    reason: str


def replace_kit(tx: Transaction, actor: Actor, command: ReplaceKit, opener: Opener) -> Done:
    """Close the old kit with its reason and set another aside. A kit handed over keeps its state: what happens to it
    afterwards is accounted apart.
    """
    trial, site, subject = subject_at(tx, actor, Permission.DISPENSE, command.trial, command.subject)
    place = locked_place(tx, trial, site, subject)
    refuse_unless_in_treatment(subject)
    number = normal_number(command.kit)
    failed = []
    if command.fate not in {*FATES, "expired"}:
        failed.append(FailedRule("fate.unknown", say("Choose lost, damaged or expired."), "fate"))
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    row = next(
        (
            row
            for row in tx.session.scalars(
                select(Dispensing).where(
                    Dispensing.subject_id == subject.id, Dispensing.state.in_(["assigned", "dispensed"])
                )
            )
            if row.kit.number == number
        ),
        None,
    )
    if row is None:
        failed.append(FailedRule("kit.not_theirs", say("Kit %(kit)s is not a kit of this subject.", kit=number), "kit"))
    elif row.state == "dispensed" and command.fate == "expired":
        failed.append(
            FailedRule(
                "fate.handed_over", say("A kit that was handed over is replaced when it is lost or damaged."), "fate"
            )
        )
    refuse_all("invalid", failed)
    if row is None:
        raise RuntimeError("a missing kit was refused above")
    judged = place_of_visit(tx, place, row)
    visit = judged.definition.visit(row.visit)
    if row.state == "assigned":
        if command.fate == "expired":
            if may_be_dispensed(place.today, row.kit.lot.expiry, judged.definition.expiry.dnd_at(visit.code)):
                raise refuse(
                    "rule",
                    "kit.in_date",
                    say("Kit %(kit)s lasts the dosing interval and can be handed over.", kit=number),
                    "fate",
                )
            move = Move.QUARANTINE
            row.state = "put_back"
        else:
            move = FATES[command.fate]
            row.state = "replaced"
        change = Change(
            row.kit_id,
            move,
            KitState.ASSIGNED,
            site_id=site.id,
            shipment_id=row.kit.shipment_id,
            reason=command.reason.strip(),
        )
        apply(tx, [change], actor.name)
    else:
        row.state = "replaced"
    row.ended_at, row.end_reason = tx.now, f"{command.fate}: {command.reason.strip()}"
    tx.session.flush()
    restricted = definitions.open_restricted(tx, trial, judged.version, opener)
    group = _group_of(restricted, open_kits(tx, [row.kit], opener)[0])
    kits = set_aside(
        tx,
        judged,
        restricted,
        opened_shelf(tx, site, opener),
        subject,
        arm_of(tx, subject, opener),
        visit,
        actor.name,
        window_reason=row.window_reason,
        slots={group: [row.slot]},
    )
    tx.audit(
        "kit.replaced",
        "kit",
        number,
        {"subject": subject.code, "visit": visit.code, "fate": command.fate, "new_kits": list(kits.numbers)},
        trial=trial,
        site=site,
        reason=command.reason.strip(),
        definition=place.version.version,
        mentions=(("subject", subject.code), *(("kit", new) for new in kits.numbers)),
    )
    note_pick(tx, place, subject, visit.code, kits.possible_leak)
    return Done("replace_kit", {"trial": trial.code, "site": site.code, "subject": subject.code, "visit": visit.code})


def _group_of(restricted: RestrictedDefinition, kit: OpenedKit) -> str:
    """The group of a kit: told by the kit itself, since a later version may number the slots of a visit otherwise."""
    return next(kit_type.group for kit_type in restricted.kit_types if kit_type.code == kit.kit_type)
