"""People as pages name them: printed names in place of user names, and whom to call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from rts.access.permissions import Permission
from rts.conduct.recipients import people_with
from rts.store.tables import Person, Site, Trial
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class Contact:
    """Somebody to call: printed name, organisation and mail address."""

    name: str
    organisation: str
    email: str


def printed_names(tx: Transaction, usernames: Iterable[str | None]) -> dict[str, str]:
    """Printed name by user name; a service, which is no person, is named as it signs."""
    wanted = {username for username in usernames if username}
    names = {username: username for username in wanted}
    rows = tx.session.execute(select(Person.username, Person.printed_name).where(Person.username.in_(wanted)))
    names.update((username, printed) for username, printed in rows)
    return names


def contacts(tx: Transaction, trial: Trial, permission: Permission, site: Site | None = None) -> tuple[Contact, ...]:
    """The people who hold `permission` in `trial` now, to be called."""
    people = people_with(tx, trial, permission, site=site)
    return tuple(Contact(person.printed_name, person.organisation, person.email) for person in people)
