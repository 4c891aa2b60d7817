"""Electronic signatures: bound to the record signed, with printed name, meaning, time and zone (21 CFR 11.50, 11.70,
11.200).
"""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785

from rts.access.actor import Actor
from rts.access.sign_in import Confirmation
from rts.refusal import refuse, say
from rts.store.tables import Person, Signature, Trial
from rts.store.transaction import Transaction


def record_digest(record: dict[str, Any]) -> str:
    """SHA-256 (hex) of the RFC 8785 canonical JSON of what was signed.

    It has no salt, unlike the details of the audit trail, since nobody can learn from it by guessing: whatever is
    signed stands in plain columns beside it (`rts check` computes the digest anew from these alone, without a key),
    and no page or export shows it. So it must stay: a record that holds an arm, or anything else that the database
    keeps sealed, is never signed this way.
    """
    return hashlib.sha256(rfc8785.dumps(record)).hexdigest()


def refuse_unconfirmed(person: Person) -> None:
    """Raise Refusal `forbidden` while somebody else may know the password of `person` (rts.conduct.accounts)."""
    if person.password_given_by is not None:
        raise refuse(
            "forbidden",
            "signature.unconfirmed",
            say(
                "Your signature waits: somebody else gave you a password. Ask another administrator to confirm that "
                "you have chosen your own since."
            ),
        )


def sign(
    tx: Transaction,
    actor: Actor,
    confirmation: Confirmation | None,
    meaning: str,
    object_type: str,
    object_id: str,
    record: dict[str, Any],
    *,
    trial: Trial | None,
    time_zone: str,
) -> Signature:
    """Sign `record`. Raises Refusal `wrong_password` when the password was not re-entered for this deed by this
    person: being signed in never counts. Raises Refusal `forbidden` while somebody else may know the password: misuse
    of a signature takes two people (21 CFR 11.200(a)(3)). A code break is signed even then, and marked.
    """
    if confirmation is None or confirmation.person_id != actor.person_id:
        raise refuse("wrong_password", "signature.missing", say("Enter your password to sign."), "password")
    person = tx.session.get_one(Person, confirmation.person_id)
    if not tx.emergency:
        refuse_unconfirmed(person)
    signature = Signature(
        person_id=person.id,
        trial_id=trial.id if trial else None,
        printed_name=person.printed_name,
        meaning=meaning,
        signed_at=tx.now,
        time_zone=time_zone,
        object_type=object_type,
        object_id=object_id,
        record_digest=record_digest(record),
        password_given_by=person.password_given_by,
    )
    tx.session.add(signature)
    return signature
