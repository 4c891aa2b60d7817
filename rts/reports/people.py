"""People as pages name them: printed names in place of user names, and whom to call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from rts.access.permissions import Permission
from rts.conduct.recipients import people_with
from rts.refusal import Message, say
from rts.states import JOBS
from rts.store.tables import Person, Site, Trial
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class Contact:
    """Somebody to call: printed name, organisation and mail address."""

    name: str
    organisation: str
    email: str


# A person by printed name, or a service by words that are translated for each reader.
Name = str | Message


def printed_names(tx: Transaction, usernames: Iterable[str | None]) -> dict[str, Name]:
    """What people are shown for a user name: the printed name; for a service, which is no person, what it is."""
    wanted = {username for username in usernames if username}
    names = {username: _service(username) for username in wanted}
    rows = tx.session.execute(select(Person.username, Person.printed_name).where(Person.username.in_(wanted)))
    names.update((username, printed) for username, printed in rows)
    return names


def _service(name: str) -> Name:
    """What the service `name` is (rts.access.actor.service): the operator, or a job, as a rule with its run."""
    if name == "operator":
        return say("Operator")
    job, _, run = name.partition(" run ")
    if job not in JOBS:
        return name
    return say("%(job)s, run %(run)s", job=JOBS[job], run=run) if run else JOBS[job]


def contacts(tx: Transaction, trial: Trial, permission: Permission, site: Site | None = None) -> tuple[Contact, ...]:
    """The people who hold `permission` in `trial` now, to be called."""
    people = people_with(tx, trial, permission, site=site)
    return tuple(Contact(person.printed_name, person.organisation, person.email) for person in people)
