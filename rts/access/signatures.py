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
    """SHA-256 (hex) of the RFC 8785 canonical JSON of what was signed."""
    return hashlib.sha256(rfc8785.dumps(record)).hexdigest()


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
    person: being signed in never counts.
    """
    if confirmation is None or confirmation.person_id != actor.person_id:
        raise refuse("wrong_password", "signature.missing", say("Enter your password to sign."), "password")
    person = tx.session.get_one(Person, confirmation.person_id)
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
    )
    tx.session.add(signature)
    tx.session.flush()
    return signature
