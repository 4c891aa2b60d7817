"""Withdrawal and completion: either ends dispensing."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor
from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.conduct.places import place_of, subject_at
from rts.refusal import refuse, say
from rts.store import locks
from rts.store.ledger import Change, apply
from rts.store.tables import Dispensing
from rts.store.transaction import Transaction
from rts.supply.kits import KitState, Move


@dataclass(frozen=True)
class EndTreatment:
    """End a randomised subject's treatment: `how` is `withdrawn` or `completed`."""

    trial: str
    subject: str
    how: str
    reason: str


def end_treatment(tx: Transaction, actor: Actor, command: EndTreatment) -> Done:
    """End treatment; kits set aside but not handed over go into quarantine and to nobody else: a kit that passed
    from one
    subject to another would tell both, and everybody who saw it, that they share an arm.

    Raises Refusal when the subject is not in treatment, `how` is unknown, or a withdrawal has no reason.
    """
    trial, site, subject = subject_at(tx, actor, Permission.END_TREATMENT, command.trial, command.subject)
    if command.how not in {"withdrawn", "completed"}:
        raise refuse("invalid", "ending.unknown", say("Choose withdrawn or completed."), "how")
    if command.how == "withdrawn" and not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    locks.take(tx.session, locks.site_stock(trial.code, site.code))
    tx.session.refresh(subject)
    place = place_of(tx, site)
    if subject.state != "randomised":
        raise refuse(
            "conflict",
            "subject.state",
            say("Subject %(subject)s is not in treatment.", subject=subject.code),
            "subject",
        )
    open_dispensings = tx.session.scalars(
        select(Dispensing)
        .where(Dispensing.subject_id == subject.id, Dispensing.state == "assigned")
        .order_by(Dispensing.id)
    ).all()
    apply(
        tx,
        [
            Change(
                row.kit_id,
                Move.QUARANTINE,
                KitState.ASSIGNED,
                site_id=site.id,
                shipment_id=row.kit.shipment_id,
                reason=command.how,
            )
            for row in open_dispensings
        ],
        actor.name,
    )
    for row in open_dispensings:
        row.state, row.ended_at, row.end_reason = "put_back", tx.now, command.how
    subject.state, subject.ended_at, subject.end_reason = command.how, tx.now, command.reason.strip() or None
    tx.audit(
        f"subject.{command.how}",
        "subject",
        subject.code,
        {"kits_quarantined": sorted(row.kit.number for row in open_dispensings)},
        trial=trial,
        site=site,
        reason=command.reason.strip(),
        before={"state": "randomised"},
        after={"state": command.how},
        definition=place.version.version,
        mentions=tuple(("kit", row.kit.number) for row in open_dispensings),
    )
    return Done("end_treatment", {"trial": trial.code, "site": site.code, "subject": subject.code})
