"""Emergency unblinding: the physician of the site learns one subject's treatment at once, and nobody else learns
anything.

Nothing that serves order may stand in its way: not a lock, an expired password, a closed site, a withdrawn subject
or a wrong clock. Only one thing
may: if the record of the deed cannot be written, nothing is shown, and the offline route serves (docs/physician.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from rts.access.actor import Actor
from rts.access.permissions import Permission, Role
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.conduct.perform import Done
from rts.conduct.places import subject_at
from rts.conduct.recipients import people_in
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import definitions, locks, outbox
from rts.store.sealed_rows import arm_allocated
from rts.store.tables import CodeBreak, DefinitionVersion, ListEntry
from rts.store.transaction import Transaction
from rts.trial.texts import Text
from rts.vault.vault import Opener

MEANING = say("I unblind this subject in an emergency").text

UNCONFIRMED = say(
    "Somebody else had given this account a password, and nobody has confirmed it since: make sure by telephone that "
    "it was the physician."
)


@dataclass(frozen=True)
class UnblindSubject:
    """Open one subject's code: why, and whether an adverse event occurred."""

    trial: str
    subject: str
    reason: str
    adverse_event: bool | None


@dataclass(frozen=True, repr=False)
class Unblinded:
    """What the requester sees, once, after the commit: the treatment by its public label, with what is recorded of this
    opening, so that nothing has to be read again to show it. `at` is UTC. Prints as `<sealed>`.
    """

    done: Done
    treatment: Text
    at: datetime
    printed_name: str
    reason: str
    adverse_event: bool

    def __repr__(self) -> str:
        return "<sealed>"


def unblind_subject(
    tx: Transaction, actor: Actor, command: UnblindSubject, opener: Opener, confirmation: Confirmation | None
) -> Unblinded:
    """Open the code of one randomised subject of the actor's own site. Every later look is a deed of its own with
    its own record.

    Raises Refusal when the reason or the answer on the adverse event is missing, or the subject was never randomised.
    """
    tx.emergency = True
    trial, site, subject = subject_at(tx, actor, Permission.UNBLIND, command.trial, command.subject)
    failed = []
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    if command.adverse_event is None:
        failed.append(
            FailedRule("adverse_event.missing", say("Say whether an adverse event occurred."), "adverse_event")
        )
    refuse_all("invalid", failed)
    entry = tx.session.scalar(select(ListEntry).where(ListEntry.subject_id == subject.id))
    if entry is None:
        raise refuse(
            "rule",
            "subject.not_randomised",
            say("Subject %(subject)s was not randomised and has no treatment.", subject=subject.code),
            "subject",
        )
    version = tx.session.get_one(DefinitionVersion, subject.version_id)
    definition = definitions.parsed(version.public_text)
    zone = definition.site(site.code).time_zone
    locks.take(tx.session, locks.code_break(trial.code, subject.code))
    earlier = tx.session.scalar(select(CodeBreak.id).where(CodeBreak.subject_id == subject.id).limit(1))
    kind = "break" if earlier is None else "look"
    reason, adverse_event = command.reason.strip(), bool(command.adverse_event)
    record = {
        "trial": trial.code,
        "subject": subject.code,
        "reason": reason,
        "adverse_event": adverse_event,
        "kind": kind,
    }
    signature = sign(tx, actor, confirmation, MEANING, "code_break", subject.code, record, trial=trial, time_zone=zone)
    tx.session.flush()  # the break below names the signature by its id
    if kind == "break":  # judged behind the lock: of two breaks at once the first keeps its moment
        subject.unblinded_at = tx.now
    tx.session.add(
        CodeBreak(
            subject_id=subject.id,
            person_id=signature.person_id,
            signature_id=signature.id,
            kind=kind,
            at=tx.now,
            reason=reason,
            adverse_event=adverse_event,
        )
    )
    # Nobody is kept from a code for it, but whoever reads of it must know: another may have signed in this name.
    unconfirmed = {"password_given_by": signature.password_given_by} if signature.password_given_by else {}
    tx.audit(
        "subject.unblinded" if kind == "break" else "subject.unblinding_looked_at",
        "subject",
        subject.code,
        {"site": site.code, "adverse_event": adverse_event, **unconfirmed},
        trial=trial,
        site=site,
        reason=reason,
        definition=version.version,
    )
    told = say(
        "%(person)s opened the code of subject %(subject)s at site %(site)s. The treatment is told to the "
        "physician alone. Sign in to see the record.",
        person=signature.printed_name,
        subject=subject.code,
        site=site.code,
    )
    outbox.write(
        tx,
        "unblinding",
        trial,
        people_in(tx, trial, Role.SPONSOR_CONTACT, Role.TRIAL_MANAGER),
        say("%(trial)s: subject %(subject)s was unblinded in an emergency", trial=trial.code, subject=subject.code),
        say("%(told)s\n\n%(warning)s", told=told, warning=UNCONFIRMED) if unconfirmed else told,
    )
    arm = arm_allocated(tx, entry, opener)
    treatment = definitions.open_restricted(tx, trial, version, opener).treatment_of(arm)
    done = Done("unblind_subject", {"trial": trial.code, "site": site.code, "subject": subject.code, "kind": kind})
    label = definition.treatment_label(treatment)
    return Unblinded(done, label, tx.now, signature.printed_name, reason, adverse_event)
