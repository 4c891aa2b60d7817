"""The one place where deeds take locks: sorted, once a transaction, as late as possible. Behind them the kit ledger
and, last of all, the audit trail lock the rows they change.

PostgreSQL takes transaction-level advisory locks. SQLite has one writer at a time: its lock is the write transaction
itself, and asking for a lock outside one is an error, never silently nothing.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import text
from sqlalchemy.orm import Session


def request(username: str, key: str) -> str:
    """The lock of one idempotency key: a retry waits for the first try. Taken before all others."""
    return f"request:{username}:{key}"


def person(username: str) -> str:
    """The lock of a person's roles."""
    return f"person:{username}"


def code_break(trial: str, subject: str) -> str:
    """The lock of one subject's code breaks. Nothing else waits for it or holds it: an emergency does not queue."""
    return f"code_break:{trial}:{subject}"


def randomisation(trial: str) -> str:
    """The lock of a trial's lists, caps and subject codes, and of whether its sites are open."""
    return f"randomisation:{trial}"


def site_stock(trial: str, site: str) -> str:
    """The lock of a site's kits."""
    return f"stock:{trial}:{site}"


def depot_stock(trial: str, depot: str) -> str:
    """The lock of a depot's kits."""
    return f"depot:{trial}:{depot}"


def keys() -> str:
    """The lock of wrapped data keys, in the database and beside the lists, and of whose keys wrap them. What must not
    meet a rotation takes it: a new list or trial, a statistician who comes or goes.
    """
    return "keys"


def take(session: Session, *names: str) -> None:
    """Take the locks `names` until the transaction ends, waiting for whoever holds them.

    Raises RuntimeError in a transaction that may not write: there a lock would protect nothing.
    """
    if not session.info.get("rts_write"):
        raise RuntimeError("a lock is taken in a write transaction only")
    if session.get_bind().dialect.name != "postgresql":
        return  # BEGIN IMMEDIATE already excludes every other writer; the check above proves that it was used
    session.connection().execute(_TAKE, {"numbers": [_number(name) for name in sorted(names)]})


# One after the other in the order of the array, so that two deeds never wait for each other.
_TAKE = text("SELECT pg_advisory_xact_lock(number) FROM unnest(CAST(:numbers AS bigint[])) AS number")


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
