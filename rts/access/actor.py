"""Who is acting, what they may do, and where."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, select

from rts.access.permissions import PERMISSIONS, RESTING_UNCONFIRMED, UNBLINDED_ROLES, Permission, Role
from rts.refusal import refuse, say
from rts.store.tables import Depot, Person, RoleGrant, Site, Trial
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class Grant:
    """A role held now; `trial_id` None means everywhere, `site_id` or `depot_id` None the whole trial."""

    role: Role
    trial_id: int | None = None
    site_id: int | None = None
    depot_id: int | None = None


@dataclass(frozen=True)
class Actor:
    """A person, or a service of this installation, with the roles held at this moment.

    `emergency_only` marks a session of someone whose account is locked or whose password has expired: it may unblind
    and nothing else.
    """

    name: str
    printed_name: str
    organisation: str
    grants: tuple[Grant, ...]
    person_id: int | None = None
    emergency_only: bool = False

    def grants_of(self, permission: Permission) -> tuple[Grant, ...]:
        """The grants that carry `permission`."""
        if self.emergency_only and permission not in {Permission.UNBLIND, Permission.SIGNED_IN}:
            return ()
        return tuple(grant for grant in self.grants if permission in PERMISSIONS[grant.role])

    def may(
        self, permission: Permission, trial: Trial | None = None, site: Site | None = None, depot: Depot | None = None
    ) -> bool:
        """Whether `permission` is held for this trial, site or depot."""
        return any(_covers(grant, trial, site, depot) for grant in self.grants_of(permission))

    def is_unblinded(self, trial: Trial) -> bool:
        """Whether an unblinded role is held in `trial`."""
        return any(grant.role in UNBLINDED_ROLES and grant.trial_id == trial.id for grant in self.grants)


def _covers(grant: Grant, trial: Trial | None, site: Site | None, depot: Depot | None) -> bool:
    if grant.trial_id is not None and (trial is None or grant.trial_id != trial.id):
        return False
    if grant.site_id is not None and (site is None or grant.site_id != site.id):
        return False
    return not (grant.depot_id is not None and (depot is None or grant.depot_id != depot.id))


def service(name: str) -> Actor:
    """An actor for what the installation does by itself; `name` says which service and run."""
    return Actor(name=name, printed_name=name, organisation="RTS", grants=(Grant(Role.SERVICE),))


def in_force() -> ColumnElement[bool]:
    """Whether a grant is in force now: not ended. A grant begins when it is written and ends at a moment that has been,
    so the clock is not asked: set back, it would take a physician the way to a code break and give back ended roles.
    """
    return RoleGrant.granted_to.is_(None)


def actor_of(tx: Transaction, person: Person, *, emergency_only: bool = False) -> Actor:
    """`person` with the roles in force at this moment; a locked account may do nothing but unblind.

    While somebody else may know the password, some roles rest (`RESTING_UNCONFIRMED`).
    """
    rows = tx.session.scalars(
        select(RoleGrant).where(RoleGrant.person_id == person.id, in_force()).order_by(RoleGrant.id)
    )
    grants = tuple(
        Grant(role, row.trial_id, row.site_id, row.depot_id)
        for row in rows
        if (role := Role(row.role)) not in RESTING_UNCONFIRMED or person.password_given_by is None
    )
    return Actor(
        person.username,
        person.printed_name,
        person.organisation,
        grants,
        person.id,
        emergency_only or person.locked_at is not None,
    )


def person_named(tx: Transaction, username: str) -> Person | None:
    """The person with this user name."""
    return tx.session.scalar(select(Person).where(Person.username == username.strip().lower()))


def administrators(tx: Transaction) -> list[Person]:
    """Everyone who is an administrator now, by user name: whom to tell of what happens to accounts."""
    held = (RoleGrant.person_id == Person.id) & (RoleGrant.role == Role.ADMINISTRATOR.value) & in_force()
    statement = select(Person).where(exists().where(held), Person.closed_at.is_(None)).order_by(Person.username)
    return list(tx.session.scalars(statement))


def require(
    tx: Transaction,
    actor: Actor,
    permission: Permission,
    trial: Trial | None = None,
    site: Site | None = None,
    depot: Depot | None = None,
) -> Role:
    """Prove that `actor` may do this here, and record in the transaction who acts in which role.

    Raises Refusal `forbidden` when the right is not held in this trial at all, `not_found` when it is held but not
    for this site or depot: what lies
    outside one's scope looks as if it did not exist.
    """
    held = actor.grants_of(permission)
    for grant in held:
        if _covers(grant, trial, site, depot):
            tx.act_as(actor, grant.role)
            return grant.role
    knows_trial = trial is None or any(grant.trial_id in {None, trial.id} for grant in actor.grants)
    if not knows_trial or any(grant.trial_id in {None, trial.id if trial else None} for grant in held):
        tx.act_as(actor, actor.grants[0].role if actor.grants else "none")
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    tx.act_as(actor, actor.grants[0].role if actor.grants else "none")
    raise refuse(
        "forbidden", "access.permission", say("Your role does not include this. Ask the trial manager if you need it.")
    )
