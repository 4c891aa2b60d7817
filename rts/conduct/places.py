"""What most deeds look up first: the site with the definition in force there today, and a subject within the actor's
scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import bindparam, select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.clock import local_date
from rts.refusal import refuse, say
from rts.states import STATES
from rts.store import definitions, locks
from rts.store.tables import DefinitionVersion, Depot, Site, Subject, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import Site as SiteFacts
from rts.trial.definition import TrialDefinition


@dataclass(frozen=True)
class Place:
    """A site today: its local date, and the definition version in force there."""

    site: Site
    today: date
    version: DefinitionVersion
    definition: TrialDefinition
    facts: SiteFacts


def place_of(tx: Transaction, site: Site) -> Place:
    """`site` with the definition in force there now. Raises Refusal when none is in force."""
    return places_of(tx, [site])[0]


def places_of(tx: Transaction, sites: Sequence[Site]) -> list[Place]:
    """The places of several sites, in as many queries as for one. Raises Refusal as `place_of`."""
    in_force = definitions.versions_in_force(tx, sites)
    places = []
    for site in sites:
        if site not in in_force:
            raise refuse(
                "rule",
                "definition.not_in_force",
                say("No version of the protocol definition is in force at site %(site)s yet.", site=site.code),
                "site",
            )
        definition = definitions.parsed(in_force[site].public_text)
        facts = definition.site(site.code)
        places.append(Place(site, local_date(tx.now, facts.time_zone), in_force[site], definition, facts))
    return places


def supplying_depot(tx: Transaction, place: Place) -> Depot:
    """The depot that supplies `place`, as the version in force there says."""
    statement = select(Depot).where(Depot.trial_id == place.site.trial_id, Depot.code == place.facts.depot)
    return tx.session.scalars(statement).one()


def supply_locks(tx: Transaction, trial: Trial, *sites: Site) -> tuple[str, ...]:
    """The locks of the kits of `sites` and of every depot: which one supplies a site is told by the version in force
    there, and that is read behind the locks.
    """
    depots = tx.session.scalars(select(Depot.code).where(Depot.trial_id == trial.id))
    return (
        *(locks.site_stock(trial.code, site.code) for site in sites),
        *(locks.depot_stock(trial.code, depot) for depot in depots),
    )


def open_site(tx: Transaction, site: Site) -> Place:
    """The place of a site that is open. Raises Refusal `rule` when it is not yet open or has closed."""
    if site.state != "open":
        raise refuse(
            "rule",
            "site.not_open",
            say(
                "Site %(site)s is not open for new subjects (%(state)s). Ask the trial manager.",
                site=site.code,
                state=STATES[site.state],
            ),
            "site",
        )
    return place_of(tx, site)


_SUBJECT = (
    select(Trial, Site, Subject)
    .join(Subject, Subject.trial_id == Trial.id)
    .join(Site, Site.id == Subject.site_id)
    .where(Trial.code == bindparam("trial"), Subject.code == bindparam("subject"))
)


def subject_at(
    tx: Transaction, actor: Actor, permission: Permission, trial_code: str, code: str
) -> tuple[Trial, Site, Subject]:
    """The subject `code`, once `permission` at its site is proven. Raises Refusal `not_found` alike for an unknown
    subject and another site's.
    """
    found = tx.session.execute(_SUBJECT, {"trial": trial_code, "subject": code.strip().upper()}).first()
    if found is None:
        trial = tx.trial(trial_code)
        require(tx, actor, permission, trial, None) if actor.may(permission, trial) else tx.act_as(actor, "none")
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    trial, site, subject = found
    require(tx, actor, permission, trial, site)
    return trial, site, subject


_SUBJECT_AGAIN = (
    select(Subject, Site)
    .join(Site, Site.id == Subject.site_id)
    .where(Subject.id == bindparam("subject"))
    .execution_options(populate_existing=True)
)


def read_again(tx: Transaction, subject: Subject) -> None:
    """Read `subject` and its site afresh, behind a lock: what stood there before the wait may have changed."""
    tx.session.execute(_SUBJECT_AGAIN, {"subject": subject.id}).one()
