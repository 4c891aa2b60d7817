"""Who is told: the people who hold a right at this moment, never a list of addresses kept apart."""

from __future__ import annotations

from sqlalchemy import or_, select

from rts.access.actor import in_force
from rts.access.permissions import PERMISSIONS, Permission, Role
from rts.store.tables import Depot, Person, RoleGrant, Site, Trial
from rts.store.transaction import Transaction


def people_in(
    tx: Transaction, trial: Trial, *roles: Role, site: Site | None = None, depot: Depot | None = None
) -> list[Person]:
    """The people who hold one of `roles` in `trial` now (for site and depot roles: there), by user name; closed
    accounts left out.
    """
    statement = (
        select(Person)
        .join(RoleGrant, RoleGrant.person_id == Person.id)
        .where(
            RoleGrant.trial_id == trial.id,
            RoleGrant.role.in_([role.value for role in roles]),
            in_force(),
            Person.closed_at.is_(None),
            or_(RoleGrant.site_id.is_(None), RoleGrant.site_id == (site.id if site else None)),
            or_(RoleGrant.depot_id.is_(None), RoleGrant.depot_id == (depot.id if depot else None)),
        )
        .order_by(Person.username)
        .distinct()
    )
    return list(tx.session.scalars(statement))


def people_with(
    tx: Transaction, trial: Trial, permission: Permission, site: Site | None = None, depot: Depot | None = None
) -> list[Person]:
    """The people who hold `permission` in `trial` now."""
    roles = [role for role, held in PERMISSIONS.items() if permission in held and role is not Role.SERVICE]
    return people_in(tx, trial, *roles, site=site, depot=depot)
