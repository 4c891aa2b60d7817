"""Reading trial definitions out of the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache

from sqlalchemy import bindparam, select

from rts.clock import local_date
from rts.refusal import refuse, say
from rts.store.sealed_rows import key_from_text
from rts.store.tables import DefinitionInForce, DefinitionVersion, Site, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import Depot, RestrictedDefinition, TrialDefinition
from rts.trial.reading import read_definition, read_restricted
from rts.vault.sealed import Sealed
from rts.vault.vault import Opener


@lru_cache(maxsize=64)
def parsed(text: str) -> TrialDefinition:
    """The definition a stored public text says; parsed once, since versions are immutable."""
    return read_definition(text)


_LATEST = (
    select(DefinitionVersion)
    .where(DefinitionVersion.trial_id == bindparam("trial"))
    .order_by(DefinitionVersion.version.desc())
    .limit(1)
)


def latest_version(tx: Transaction, trial: Trial) -> DefinitionVersion:
    """The newest loaded version of `trial`'s definition, which may be in force nowhere yet: what lists and accounts are
    prepared by. Whatever happens at a site goes by the version in force there.
    """
    version = tx.session.scalar(_LATEST, {"trial": trial.id})
    if version is None:
        raise refuse(
            "not_found", "definition.none", say("Trial %(trial)s has no definition yet.", trial=trial.code), "trial"
        )
    return version


def latest(tx: Transaction, trial: Trial) -> TrialDefinition:
    """The newest definition of `trial`."""
    return parsed(latest_version(tx, trial).public_text)


def by_id(tx: Transaction, version_id: int) -> TrialDefinition:
    """The definition that a row recorded as its version."""
    return parsed(tx.session.get_one(DefinitionVersion, version_id).public_text)


def version_numbered(tx: Transaction, trial: Trial, number: int) -> DefinitionVersion:
    """The loaded version `number` of `trial`. Raises Refusal `not_found` when there is none."""
    version = tx.session.scalar(
        select(DefinitionVersion).where(DefinitionVersion.trial_id == trial.id, DefinitionVersion.version == number)
    )
    if version is None:
        raise refuse(
            "not_found",
            "definition.unknown",
            say("No version %(version)s of this definition is loaded.", version=number),
            "version",
        )
    return version


def standing(tx: Transaction, site: Site) -> list[DefinitionInForce]:
    """What was put in force at `site` and not taken back, by date: past, present and planned."""
    statement = (
        select(DefinitionInForce)
        .where(DefinitionInForce.site_id == site.id, DefinitionInForce.ended_at.is_(None))
        .order_by(DefinitionInForce.from_date)
    )
    return list(tx.session.scalars(statement))


def has_begun(definition: TrialDefinition, site: str, from_date: date, now: datetime) -> bool:
    """Whether `definition`, in force at `site` from its local date `from_date`, is so `now`.

    The date is that of the zone which this same definition gives the site: a version that moves a site to another zone
    begins by the new one.
    """
    return local_date(now, definition.site(site).time_zone) >= from_date


_STANDING = (
    select(DefinitionInForce.site_id, DefinitionInForce.version_id, DefinitionInForce.from_date)
    .where(DefinitionInForce.site_id.in_(bindparam("sites", expanding=True)), DefinitionInForce.ended_at.is_(None))
    .order_by(DefinitionInForce.from_date.desc())
)


def versions_in_force(tx: Transaction, sites: Sequence[Site]) -> dict[Site, DefinitionVersion]:
    """The version in force now at each of `sites`, in their order; those where none is yet are left out."""
    codes = {site.id: site.code for site in sites}
    versions: dict[int, DefinitionVersion] = {}
    found: dict[int, DefinitionVersion] = {}
    for site_id, version_id, from_date in tx.session.execute(_STANDING, {"sites": list(codes)}):
        if site_id in found:
            continue
        if version_id not in versions:
            versions[version_id] = tx.session.get_one(DefinitionVersion, version_id)
        version = versions[version_id]
        if has_begun(parsed(version.public_text), codes[site_id], from_date, tx.now):
            found[site_id] = version
    return {site: found[site.id] for site in sites if site.id in found}


def at_sites(tx: Transaction, trial: Trial, sites: Sequence[Site]) -> dict[str, TrialDefinition]:
    """What to show of `sites` of `trial`, by code: the definition in force at each; where none is yet, the newest
    loaded. Deeds ask rts.conduct.places, which refuses a site without.
    """
    found = {site.code: parsed(version.public_text) for site, version in versions_in_force(tx, sites).items()}
    if len(found) < len(sites):
        newest = latest(tx, trial)
        found = {site.code: newest for site in sites} | found
    return found


def versions_of_trial(tx: Transaction, trial: Trial) -> list[DefinitionVersion]:
    """Every version in force at a site of `trial` now, the newest first; before the first is, the newest loaded."""
    sites = tx.session.scalars(select(Site).where(Site.trial_id == trial.id)).all()
    versions = set(versions_in_force(tx, sites).values()) or {latest_version(tx, trial)}
    return sorted(versions, key=lambda version: version.version, reverse=True)


def of_trial(tx: Transaction, trial: Trial) -> TrialDefinition:
    """The definition by which `trial` as a whole goes, where no one site is meant: the newest in force at a site."""
    return parsed(versions_of_trial(tx, trial)[0].public_text)


def of_depots(tx: Transaction, trial: Trial) -> dict[str, Depot]:
    """The facts of every depot of `trial`, by code: as `of_trial` says; of one it does not name yet, as the newest
    loaded does.
    """
    return {depot.code: depot for definition in (latest(tx, trial), of_trial(tx, trial)) for depot in definition.depots}


def restricted_context(trial: str, version: int) -> str:
    """The associated data of a sealed restricted definition."""
    return f"definition_version/restricted/{trial}/{version}"


def sealed_restricted(tx: Transaction, trial: Trial, version: DefinitionVersion) -> Sealed:
    """The restricted part of `version`, sealed."""
    return tx.store.vault.sealed(
        key_from_text(trial.data_key), version.restricted_box, restricted_context(trial.code, version.version)
    )


# What is sealed is the salt of the restricted digest, then the text.
RESTRICTED_SALT_BYTES = 32


def open_restricted(tx: Transaction, trial: Trial, version: DefinitionVersion, opener: Opener) -> RestrictedDefinition:
    """The restricted definition of `version`, opened."""
    plain = opener.open(sealed_restricted(tx, trial, version))
    return _parsed_restricted(plain[RESTRICTED_SALT_BYTES:].decode(), version.public_text)


@lru_cache(maxsize=16)
def _parsed_restricted(text: str, public_text: str) -> RestrictedDefinition:
    return read_restricted(text, parsed(public_text))
