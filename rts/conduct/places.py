"""What most deeds look up first: the site with the definition in force there today, and a subject within the actor's
scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.clock import local_date
from rts.refusal import refuse, say
from rts.states import STATES
from rts.store import definitions
from rts.store.tables import DefinitionVersion, Site, Subject, Trial
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
    """`site` with the definition in force on its local date now. Raises Refusal when none is in force."""
    return places_of(tx, site.trial, [site])[0]


def places_of(tx: Transaction, trial: Trial, sites: Sequence[Site]) -> list[Place]:
    """The places of several sites of one trial, in as many queries as for one. Raises Refusal as `place_of`."""
    if not sites:
        return []
    latest = definitions.latest(tx, trial)
    today = {site: local_date(tx.now, latest.site(site.code).time_zone) for site in sites}
    places = []
    for site, version in definitions.versions_in_force(tx, today).items():
        definition = definitions.parsed(version.public_text)
        places.append(Place(site, today[site], version, definition, definition.site(site.code)))
    return places


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


def subject_at(
    tx: Transaction, actor: Actor, permission: Permission, trial_code: str, code: str
) -> tuple[Trial, Site, Subject]:
    """The subject `code`, once `permission` at its site is proven. Raises Refusal `not_found` alike for an unknown
    subject and another site's.
    """
    trial = tx.trial(trial_code)
    subject = tx.session.scalar(
        select(Subject).where(Subject.trial_id == trial.id, Subject.code == code.strip().upper())
    )
    if subject is None:
        require(tx, actor, permission, trial, None) if actor.may(permission, trial) else tx.act_as(actor, "none")
        raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
    require(tx, actor, permission, trial, subject.site)
    return trial, subject.site, subject
