"""Who is told: the people who hold a right at this moment, never a list of addresses kept apart."""

from __future__ import annotations

from sqlalchemy import bindparam, or_, select

from rts.access.actor import in_force
from rts.access.permissions import PERMISSIONS, Permission, Role
from rts.store.tables import Depot, Person, RoleGrant, Site, Trial
from rts.store.transaction import Transaction

_PEOPLE = (
    select(Person)
    .where(
        Person.closed_at.is_(None),
        Person.id.in_(
            select(RoleGrant.person_id).where(
                RoleGrant.trial_id == bindparam("trial"),
                RoleGrant.role.in_(bindparam("roles", expanding=True)),
                in_force(),
                or_(RoleGrant.site_id.is_(None), RoleGrant.site_id == bindparam("site")),
                or_(RoleGrant.depot_id.is_(None), RoleGrant.depot_id == bindparam("depot")),
            )
        ),
    )
    .order_by(Person.username)
)


def people_in(
    tx: Transaction, trial: Trial, *roles: Role, site: Site | None = None, depot: Depot | None = None
) -> list[Person]:
    """The people who hold one of `roles` in `trial` now (for site and depot roles: there), by user name; closed
    accounts left out.
    """
    wanted = {
        "trial": trial.id,
        "roles": [role.value for role in roles],
        "site": site.id if site else None,
        "depot": depot.id if depot else None,
    }
    return list(tx.session.scalars(_PEOPLE, wanted))


def people_with(
    tx: Transaction, trial: Trial, permission: Permission, site: Site | None = None, depot: Depot | None = None
) -> list[Person]:
    """The people who hold `permission` in `trial` now."""
    roles = [role for role, held in PERMISSIONS.items() if permission in held and role is not Role.SERVICE]
    return people_in(tx, trial, *roles, site=site, depot=depot)
