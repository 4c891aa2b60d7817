"""Specifications of lists in the database: sealed whole, known by a salted digest."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import rfc8785
from sqlalchemy import select

from rts.refusal import refuse, say
from rts.store.sealed_rows import key_from_text
from rts.store.tables import ListSpecification, Trial
from rts.store.transaction import Transaction
from rts.vault.sealed import Sealed
from rts.vault.vault import Opener

CONTENT_STEP = 4096
# A bare digest would tell the few plausible block sizes to whoever tries them.
SALT_BYTES = 32


def seal_specification(
    tx: Transaction, trial: Trial, plan: str, number: int, content: dict[str, Any]
) -> tuple[str, Sealed]:
    """The digest (hex) of a specification under a fresh salt, and salt and content sealed."""
    salt = tx.store.entropy.bytes(SALT_BYTES)
    text = json.dumps({"salt": salt.hex(), "content": content}, sort_keys=True)
    key, context = key_from_text(trial.data_key), _context(trial, plan, number)
    return _digest(salt, content), tx.store.vault.seal(key, text.encode(), context, CONTENT_STEP)


def newest_specification(tx: Transaction, trial: Trial, plan: str) -> ListSpecification | None:
    """The newest specification of a plan; None before the first."""
    return tx.session.scalar(
        select(ListSpecification)
        .where(ListSpecification.trial_id == trial.id, ListSpecification.plan_id == plan)
        .order_by(ListSpecification.number.desc())
        .limit(1)
    )


def sealed_specification(tx: Transaction, trial: Trial, found: ListSpecification) -> Sealed:
    """The content of a specification, sealed."""
    context = _context(trial, found.plan_id, found.number)
    return tx.store.vault.sealed(key_from_text(trial.data_key), found.content_box, context)


def open_specification(tx: Transaction, trial: Trial, found: ListSpecification, opener: Opener) -> dict[str, Any]:
    """The content of a specification. Raises Refusal `unavailable` when it is not what its digest was taken of."""
    opened = json.loads(opener.text(sealed_specification(tx, trial, found)))
    content: dict[str, Any] = opened["content"]
    if _digest(bytes.fromhex(opened["salt"]), content) != found.digest:
        raise refuse("unavailable", "specification.altered", say("The specification is not the one that was signed."))
    return content


def _digest(salt: bytes, content: dict[str, Any]) -> str:
    return hashlib.sha256(salt + rfc8785.dumps(content)).hexdigest()


def _context(trial: Trial, plan: str, number: int) -> str:
    return f"list_specification/content/{trial.code}/{plan}/{number}"
