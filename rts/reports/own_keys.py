"""A statistician's own keys as pages show them: the one in use, those before, and the lists it opens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from rts.reports.people import Name, printed_names
from rts.store.tables import Person, PersonKey
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class OwnKeyRow:
    """A key from its registration (UTC) to its retirement (None: in use), by whom and why."""

    version: int
    fingerprint: str
    registered_at: datetime
    retired_at: datetime | None
    retired_by: Name
    retire_reason: str


def own_keys_of(tx: Transaction, username: str) -> list[OwnKeyRow]:
    """Every key a person ever registered, the newest first."""
    statement = select(PersonKey).join(Person).where(Person.username == username).order_by(PersonKey.version.desc())
    found = list(tx.session.scalars(statement))
    names = printed_names(tx, [held.retired_by for held in found if held.retired_by])
    return [
        OwnKeyRow(
            held.version,
            held.fingerprint,
            held.registered_at,
            held.retired_at,
            names[held.retired_by] if held.retired_by else "",
            held.retire_reason or "",
        )
        for held in found
    ]
