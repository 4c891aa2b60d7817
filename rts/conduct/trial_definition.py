"""Loading a trial's definition: a numbered, immutable version. Where it is in force is said apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.conduct.places import supply_locks
from rts.conduct.putting_in_force import put_at
from rts.refusal import refuse, say
from rts.store import audit, definitions, locks
from rts.store.sealed_rows import key_from_text, key_to_text
from rts.store.tables import DefinitionVersion, Depot, Site, Trial
from rts.store.transaction import Transaction
from rts.trial.reading import read_definition, read_restricted
from rts.trial.versions import arms_stand, definition_digest, restricted_digest
from rts.vault.vault import Opener

RESTRICTED_STEP = 4096


@dataclass(frozen=True)
class LoadDefinition:
    """Load both parts of a definition: in force at all its sites from their local date `in_force_from`, by `document`,
    or, with None, nowhere yet (rts.conduct.putting_in_force).
    """

    public_text: str
    restricted_text: str = field(repr=False)
    in_force_from: date | None = None
    document: str = ""


def load_definition(tx: Transaction, actor: Actor, command: LoadDefinition, opener: Opener) -> Done:
    """Check and store a definition; the first one of a trial makes the trial, its depots and its sites.

    Raises Refusal naming every mistake, `rule` when it leaves out a site, a depot or a dose level, or lets an arm or
    kit type stand for something else than before, and as `put_at` when it is to be in force from a date.
    """
    definition = read_definition(command.public_text)
    restricted_text = command.restricted_text
    restricted = read_restricted(restricted_text, definition)
    trial = tx.session.scalar(select(Trial).where(Trial.code == definition.code))
    require(tx, actor, Permission.DEFINITION_LOAD, trial)
    if trial is None:
        locks.take(tx.session, locks.keys())
        key = tx.store.vault.new_data_key(f"trial {definition.code}")
        trial = Trial(code=definition.code, data_key=key_to_text(key), created_at=tx.now)
        tx.session.add(trial)
        tx.session.flush()
        audit.start_chain(tx, trial)
    elif command.in_force_from is not None:
        require(tx, actor, Permission.SITE_MANAGE, trial)
    known = {site.code: site for site in tx.session.scalars(select(Site).where(Site.trial_id == trial.id))}
    locks.take(tx.session, locks.randomisation(trial.code), *supply_locks(tx, trial, *known.values()))
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
    if latest is not None:
        # Each subject keeps the dose level given at screening: were it gone, no visit would have kits for them.
        gone_levels = sorted(set(definitions.parsed(latest.public_text).dose_levels) - set(definition.dose_levels))
        if gone_levels:
            raise refuse(
                "rule",
                "definition.dose_level_gone",
                say("A dose level is never left out: %(levels)s.", levels=", ".join(gone_levels)),
                "dose_levels",
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
    gone = sorted(set(known) - {facts.code for facts in definition.sites})
    if gone:
        raise refuse(
            "rule",
            "definition.site_gone",
            say("A site is closed, never left out: %(sites)s.", sites=", ".join(gone)),
            "sites",
        )
    new = [Site(trial_id=trial.id, code=site.code) for site in definition.sites if site.code not in known]
    tx.session.add_all(new)
    tx.session.flush()
    tx.audit(
        "definition.loaded",
        "definition",
        f"{trial.code}/{number}",
        {
            "digest": digest,
            "restricted_digest": version.restricted_digest,
            "protocol_version": definition.protocol_version,
        },
        trial=trial,
        definition=number,
    )
    if command.in_force_from is not None:
        sites = sorted([*known.values(), *new], key=lambda site: site.code)
        put_at(tx, actor, trial, version, sites, command.in_force_from, command.document, is_first=latest is None)
    return Done("load_definition", {"trial": trial.code, "version": str(number)})
