"""Accounts and roles: who there is, who may do what where, and who could on a given day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select

from rts.access.actor import in_force
from rts.access.permissions import UNBLINDED_ROLES
from rts.access.sign_in import password_has_expired
from rts.refusal import refuse, say
from rts.reports.people import Name, printed_names
from rts.store import definitions
from rts.store.tables import Depot, Person, RoleGrant, Site, Trial
from rts.store.transaction import Transaction
from rts.trial.texts import Text


@dataclass(frozen=True)
class GrantRow:
    """A role of a person at a place, from a moment (UTC) to another (None: still held), by whom and why."""

    id: int
    username: str
    printed_name: str
    role: str
    trial: str
    site: str
    depot: str
    granted_from: datetime
    granted_to: datetime | None
    granted_by: Name
    ended_by: Name
    reason: str


@dataclass(frozen=True)
class PersonRow:
    """An account. `state` is `open`, `locked`, `first_password`, `unconfirmed`, `expired` (its password) or `closed`;
    `password_given_by` is the printed name of whoever gave a password that awaits its confirmation.
    """

    username: str
    printed_name: str
    organisation: str
    email: str
    state: str
    created_at: datetime
    closed_at: datetime | None
    password_given_by: Name
    password_changed_at: datetime
    roles: tuple[GrantRow, ...]


@dataclass(frozen=True)
class PeoplePage:
    """The accounts of one page of the list, and how many there are in all."""

    people: tuple[PersonRow, ...]
    total: int


@dataclass(frozen=True)
class Place:
    """Somewhere a role can be held: a whole trial, one of its sites, or one of its depots."""

    trial: str
    name: Text
    site: str = ""
    depot: str = ""


def people_page(
    tx: Transaction, *, search: str = "", role: str = "", state: str = "", page: int = 1, size: int = 50
) -> PeoplePage:
    """Accounts by name. `search` is part of a name, user name or organisation; `role` one held now; `state` `open`,
    `locked`, `unconfirmed` (a first password not yet changed counts) or `closed`.
    """
    conditions: list[ColumnElement[bool]] = []
    if search:
        columns = (Person.username, Person.printed_name, Person.organisation)
        conditions.append(or_(*[func.lower(column).contains(search.lower(), autoescape=True) for column in columns]))
    if role:
        held = and_(RoleGrant.person_id == Person.id, RoleGrant.role == role, in_force())
        conditions.append(exists().where(held))
    if state == "closed":
        conditions.append(Person.closed_at.is_not(None))
    elif state == "locked":
        conditions += [Person.locked_at.is_not(None), Person.closed_at.is_(None)]
    elif state == "unconfirmed":
        conditions += [Person.password_given_by.is_not(None), Person.closed_at.is_(None)]
    elif state == "open":
        conditions += [Person.locked_at.is_(None), Person.closed_at.is_(None)]
    total = tx.session.scalar(select(func.count()).select_from(Person).where(*conditions)) or 0
    statement = select(Person).where(*conditions).order_by(Person.printed_name, Person.id)
    people = tx.session.scalars(statement.limit(size).offset((page - 1) * size)).all()
    grants = _rows(tx, _grants().where(RoleGrant.person_id.in_([person.id for person in people]), in_force()))
    names = printed_names(tx, [person.password_given_by for person in people])
    return PeoplePage(tuple(_person_row(tx, person, grants, names) for person in people), total)


def person_row(tx: Transaction, username: str) -> PersonRow:
    """One account with every role it ever held, the latest first. Raises Refusal `not_found`."""
    person = tx.session.scalar(select(Person).where(Person.username == username))
    if person is None:
        raise refuse("not_found", "person.unknown", say("There is nothing here with that name."))
    grants = _rows(tx, _grants().where(RoleGrant.person_id == person.id))
    return _person_row(tx, person, grants, printed_names(tx, [person.password_given_by]))


def grant_row(tx: Transaction, number: int) -> GrantRow:
    """One grant by its number. Raises Refusal `not_found`."""
    rows = _rows(tx, _grants().where(RoleGrant.id == number))
    if not rows:
        raise refuse("not_found", "role.unknown", say("There is nothing here with that name."))
    return rows[0]


def grants_on(tx: Transaction, day: date) -> list[GrantRow]:
    """Every role that was in force at any moment of `day` (UTC), by name: who could do what on that day."""
    begin = datetime.combine(day, time(), UTC)
    held = and_(
        RoleGrant.granted_from < begin + timedelta(days=1),
        or_(RoleGrant.granted_to.is_(None), RoleGrant.granted_to > begin),
    )
    return sorted(_rows(tx, _grants().where(held)), key=lambda row: (row.printed_name, row.id))


def unblinded_people(tx: Transaction, trial: Trial | None = None) -> list[GrantRow]:
    """The register of unblinded persons: every unblinded role ever held, in `trial` or in all, the earliest first."""
    statement = _grants().where(RoleGrant.role.in_([role.value for role in UNBLINDED_ROLES]))
    if trial is not None:
        statement = statement.where(RoleGrant.trial_id == trial.id)
    return sorted(_rows(tx, statement), key=lambda row: row.id)


def places(tx: Transaction) -> list[Place]:
    """Where roles can be held: for each trial the whole of it, its depots, its sites."""
    found = []
    for trial in tx.session.scalars(select(Trial).order_by(Trial.code)):
        definition = definitions.latest(tx, trial)
        found.append(Place(trial.code, definition.short_title))
        found += [Place(trial.code, depot.name, depot=depot.code) for depot in definition.depots]
        found += [Place(trial.code, site.name, site=site.code) for site in definition.sites]
    return found


def _grants() -> Select[RoleGrant, Person, str, str, str]:
    return (
        select(RoleGrant, Person, Trial.code, Site.code, Depot.code)
        .join(Person, Person.id == RoleGrant.person_id)
        .outerjoin(Trial, Trial.id == RoleGrant.trial_id)
        .outerjoin(Site, Site.id == RoleGrant.site_id)
        .outerjoin(Depot, Depot.id == RoleGrant.depot_id)
        .order_by(RoleGrant.id.desc())
    )


def _rows(tx: Transaction, statement: Select[RoleGrant, Person, str, str, str]) -> list[GrantRow]:
    found = tx.session.execute(statement).all()
    names = printed_names(tx, [name for grant, *_ in found for name in (grant.granted_by, grant.ended_by)])
    return [
        GrantRow(
            grant.id,
            person.username,
            person.printed_name,
            grant.role,
            trial or "",
            site or "",
            depot or "",
            grant.granted_from,
            grant.granted_to,
            names[grant.granted_by],
            names[grant.ended_by] if grant.ended_by else "",
            grant.reason,
        )
        for grant, person, trial, site, depot in found
    ]


def _person_row(tx: Transaction, person: Person, grants: Iterable[GrantRow], names: Mapping[str, Name]) -> PersonRow:
    return PersonRow(
        person.username,
        person.printed_name,
        person.organisation,
        person.email,
        _state(tx, person),
        person.created_at,
        person.closed_at,
        names[person.password_given_by] if person.password_given_by else "",
        person.password_changed_at,
        tuple(row for row in grants if row.username == person.username),
    )


def _state(tx: Transaction, person: Person) -> str:
    if person.closed_at is not None:
        return "closed"
    if person.locked_at is not None:
        return "locked"
    if person.password_must_change:
        return "first_password"
    if person.password_given_by is not None:
        return "unconfirmed"
    return "expired" if password_has_expired(person, tx) else "open"
