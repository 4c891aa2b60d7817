"""Loading a trial's definition: a numbered, immutable version, in force at every site from a date."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from sqlalchemy import func, select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.clock import local_date
from rts.conduct.perform import Done
from rts.refusal import refuse, say
from rts.store import audit, definitions
from rts.store.sealed_rows import key_from_text, key_to_text
from rts.store.tables import DefinitionInForce, DefinitionVersion, Depot, Site, Trial
from rts.store.transaction import Transaction
from rts.trial.reading import read_definition, read_restricted
from rts.trial.versions import arms_stand, definition_digest, restricted_digest
from rts.vault.vault import Opener

RESTRICTED_STEP = 4096


@dataclass(frozen=True)
class LoadDefinition:
    """Load both parts of a definition, in force at all its sites from their local date `in_force_from`."""

    public_text: str
    restricted_text: str = field(repr=False)
    in_force_from: date


def load_definition(tx: Transaction, actor: Actor, command: LoadDefinition, opener: Opener) -> Done:
    """Check and store a definition; the first one of a trial makes the trial, its depots and its sites.

    Raises Refusal naming every mistake, `rule` when it leaves out a site or depot, lets an arm or kit type stand for
    something else than before, or would be in force from a past date, and `conflict` when a version is in force from
    that date or later already.
    """
    definition = read_definition(command.public_text)
    restricted_text = command.restricted_text
    restricted = read_restricted(restricted_text, definition)
    trial = tx.session.scalar(select(Trial).where(Trial.code == definition.code))
    require(tx, actor, Permission.DEFINITION_LOAD, trial)
    if trial is None:
        key = tx.store.vault.new_data_key(f"trial {definition.code}")
        trial = Trial(code=definition.code, data_key=key_to_text(key), created_at=tx.now)
        tx.session.add(trial)
        tx.session.flush()
        audit.start_chain(tx, trial)
    digest = definition_digest(command.public_text)
    latest = tx.session.scalar(
        select(DefinitionVersion)
        .where(DefinitionVersion.trial_id == trial.id)
        .order_by(DefinitionVersion.version.desc())
        .limit(1)
    )
    # Lists and kits are made under these codes. Exchanged, a subject would get, and a code break tell, another
    # treatment.
    if latest is not None and not arms_stand(definitions.open_restricted(tx, trial, latest, opener), restricted):
        raise refuse(
            "rule",
            "definition.arms",
            say("An arm or kit type of the version before is missing, or stands for something else."),
            "arms",
        )
    number = (latest.version if latest else 0) + 1
    salt = tx.store.entropy.bytes(definitions.RESTRICTED_SALT_BYTES)
    sealed = tx.store.vault.seal(
        key_from_text(trial.data_key),
        salt + restricted_text.encode(),
        definitions.restricted_context(trial.code, number),
        RESTRICTED_STEP,
    )
    version = DefinitionVersion(
        trial_id=trial.id,
        version=number,
        digest=digest,
        public_text=command.public_text,
        restricted_box=sealed.box,
        restricted_digest=restricted_digest(restricted_text, salt),
        loaded_at=tx.now,
        loaded_by=actor.name,
    )
    tx.session.add(version)
    tx.session.flush()
    depots = {depot.code: depot for depot in tx.session.scalars(select(Depot).where(Depot.trial_id == trial.id))}
    for facts in definition.depots:
        if facts.code not in depots:
            depots[facts.code] = Depot(trial_id=trial.id, code=facts.code)
            tx.session.add(depots[facts.code])
    tx.session.flush()
    gone_depots = sorted(set(depots) - {facts.code for facts in definition.depots})
    if gone_depots:
        raise refuse(
            "rule",
            "definition.depot_gone",
            say("A depot that was in use is never left out: %(depots)s.", depots=", ".join(gone_depots)),
            "depots",
        )
    for facts in definition.depots:
        depots[facts.code].parent_id = depots[facts.parent].id if facts.parent else None
    sites = {site.code: site for site in tx.session.scalars(select(Site).where(Site.trial_id == trial.id))}
    gone = sorted(set(sites) - {facts.code for facts in definition.sites})
    if gone:
        raise refuse(
            "rule",
            "definition.site_gone",
            say("A site is closed, never left out: %(sites)s.", sites=", ".join(gone)),
            "sites",
        )
    for place in definition.sites:
        site = sites.get(place.code)
        if site is None:
            site = Site(trial_id=trial.id, depot_id=depots[place.depot].id, code=place.code, state="planned")
            tx.session.add(site)
            tx.session.flush()
        site.depot_id = depots[place.depot].id
        if latest is not None and command.in_force_from < local_date(tx.now, place.time_zone):
            raise refuse(
                "rule",
                "definition.past",
                say("A new version is in force from today or later: what was done stays under the old one."),
                "in_force_from",
            )
        if tx.session.scalar(
            select(func.count()).where(
                DefinitionInForce.site_id == site.id, DefinitionInForce.from_date >= command.in_force_from
            )
        ):
            raise refuse(
                "conflict",
                "definition.date",
                say("At site %(site)s a version is in force from that date or later already.", site=place.code),
                "in_force_from",
            )
        tx.session.add(DefinitionInForce(site_id=site.id, version_id=version.id, from_date=command.in_force_from))
    tx.audit(
        "definition.loaded",
        "definition",
        f"{trial.code}/{number}",
        {
            "digest": digest,
            "restricted_digest": version.restricted_digest,
            "in_force_from": command.in_force_from.isoformat(),
            "protocol_version": definition.protocol_version,
        },
        trial=trial,
        definition=number,
    )
    return Done("load_definition", {"trial": trial.code, "version": str(number)})
