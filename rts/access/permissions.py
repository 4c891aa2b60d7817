"""Every right there is, and which role holds which. Deny by default.

A route, a command and a deed each name one `Permission`. Whether a role is blinded is stated once, here; nobody
holds a blinded and an unblinded role in
the same trial, nor moves from an unblinded to a blinded one (rts.conduct.accounts).
"""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """A right to do or see one kind of thing. `PUBLIC` and `SIGNED_IN` are for pages that belong to no trial."""

    PUBLIC = "public"
    SIGNED_IN = "signed_in"
    # site
    SITE_VIEW = "site_view"
    SCREEN = "screen"
    RANDOMISE = "randomise"
    DISPENSE = "dispense"
    END_TREATMENT = "end_treatment"
    RECEIVE = "receive"
    SITE_STOCK = "site_stock"
    ACCOUNT_VIEW = "account_view"
    UNBLIND = "unblind"
    KIT_VERIFY = "kit_verify"
    DESTROY = "destroy"
    # supply
    DEPOT_VIEW = "depot_view"
    SHIP = "ship"
    SUPPLY_VIEW = "supply_view"
    SHIPMENT_REQUEST = "shipment_request"
    SHIPMENT_CLOSE = "shipment_close"
    LOT_RELEASE = "lot_release"
    LOT_RECALL = "lot_recall"
    QUARANTINE_DECIDE = "quarantine_decide"
    DESTRUCTION_AUTHORISE = "destruction_authorise"
    RESUPPLY = "resupply"
    # trial
    TRIAL_VIEW = "trial_view"
    DEFINITION_LOAD = "definition_load"
    SITE_MANAGE = "site_manage"
    LIST_VIEW = "list_view"
    LIST_GENERATE = "list_generate"
    LIST_APPROVE = "list_approve"
    LIST_ACTIVATE = "list_activate"
    SEALED_VIEW = "sealed_view"
    OWN_KEY = "own_key"
    # installation
    AUDIT_VIEW = "audit_view"
    ACCOUNTS = "accounts"
    JOBS_VIEW = "jobs_view"
    JOBS_RUN = "jobs_run"
    CLOCK_MOVE = "clock_move"
    KEYS_ROTATE = "keys_rotate"


class Role(StrEnum):
    """A duty. The value is what grants and audit events record."""

    INVESTIGATOR = "investigator"
    PHARMACIST = "pharmacist"
    PHYSICIAN = "physician"
    DEPOT_OPERATOR = "depot_operator"
    SUPPLY_MANAGER = "supply_manager"
    QUALITY = "quality"
    TRIAL_MANAGER = "trial_manager"
    MONITOR = "monitor"
    SPONSOR_CONTACT = "sponsor_contact"
    STATISTICIAN = "statistician"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"
    SERVICE = "service"


P = Permission

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.INVESTIGATOR: frozenset({P.SITE_VIEW, P.SCREEN, P.RANDOMISE, P.END_TREATMENT}),
    Role.PHARMACIST: frozenset({P.SITE_VIEW, P.DISPENSE, P.RECEIVE, P.SITE_STOCK, P.ACCOUNT_VIEW, P.DESTROY}),
    Role.PHYSICIAN: frozenset({P.SITE_VIEW, P.UNBLIND}),
    Role.DEPOT_OPERATOR: frozenset({P.DEPOT_VIEW, P.SHIP, P.DESTROY}),
    Role.SUPPLY_MANAGER: frozenset(
        {P.SUPPLY_VIEW, P.DEPOT_VIEW, P.SHIPMENT_REQUEST, P.SHIPMENT_CLOSE, P.TRIAL_VIEW, P.JOBS_VIEW}
    ),
    Role.QUALITY: frozenset(
        {
            P.SUPPLY_VIEW,
            P.DEPOT_VIEW,
            P.LOT_RELEASE,
            P.LOT_RECALL,
            P.QUARANTINE_DECIDE,
            P.DESTRUCTION_AUTHORISE,
            P.ACCOUNT_VIEW,
            P.TRIAL_VIEW,
        }
    ),
    Role.MONITOR: frozenset({P.TRIAL_VIEW, P.SITE_VIEW, P.ACCOUNT_VIEW, P.KIT_VERIFY}),
    Role.TRIAL_MANAGER: frozenset(
        {
            P.TRIAL_VIEW,
            P.SITE_VIEW,
            P.ACCOUNT_VIEW,
            P.SUPPLY_VIEW,
            P.SITE_MANAGE,
            P.LIST_VIEW,
            P.LIST_ACTIVATE,
            P.AUDIT_VIEW,
            P.JOBS_VIEW,
        }
    ),
    Role.SPONSOR_CONTACT: frozenset({P.TRIAL_VIEW}),
    Role.STATISTICIAN: frozenset(
        {
            P.TRIAL_VIEW,
            P.DEFINITION_LOAD,
            P.LIST_VIEW,
            P.LIST_GENERATE,
            P.LIST_APPROVE,
            P.SEALED_VIEW,
            P.OWN_KEY,
            P.AUDIT_VIEW,
        }
    ),
    Role.AUDITOR: frozenset({P.TRIAL_VIEW, P.SITE_VIEW, P.ACCOUNT_VIEW, P.SUPPLY_VIEW, P.AUDIT_VIEW, P.JOBS_VIEW}),
    Role.ADMINISTRATOR: frozenset({P.ACCOUNTS, P.JOBS_VIEW, P.JOBS_RUN, P.CLOCK_MOVE}),
    Role.SERVICE: frozenset(
        {
            P.RESUPPLY,
            P.SITE_STOCK,
            P.SUPPLY_VIEW,
            P.DEFINITION_LOAD,
            P.SITE_MANAGE,
            P.ACCOUNTS,
            P.CLOCK_MOVE,
            P.JOBS_RUN,
            P.KEYS_ROTATE,
        }
    ),
}

UNBLINDED_ROLES = frozenset({Role.STATISTICIAN})

# What rests while a password that somebody else gave is not confirmed (rts.conduct.accounts): an administrator who
# took over an account would else see what is sealed, or as a second administrator confirm an account alone.
RESTING_UNCONFIRMED = UNBLINDED_ROLES | {Role.ADMINISTRATOR}

# Where a role is held: at one site, at one depot, in one trial, or in the whole installation.
SITE_ROLES = frozenset({Role.INVESTIGATOR, Role.PHARMACIST, Role.PHYSICIAN})
DEPOT_ROLES = frozenset({Role.DEPOT_OPERATOR})
INSTALLATION_ROLES = frozenset({Role.ADMINISTRATOR})


def is_blinded(role: Role) -> bool:
    """Whether people in `role` must not learn any arm."""
    return role not in UNBLINDED_ROLES
