"""Reading trial definitions out of the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from rts.refusal import refuse, say
from rts.store.sealed_rows import key_from_text
from rts.store.tables import DefinitionInForce, DefinitionVersion, Site, Trial
from rts.store.transaction import Transaction
from rts.trial.definition import RestrictedDefinition, TrialDefinition
from rts.trial.reading import read_definition, read_restricted
from rts.vault.sealed import Sealed
from rts.vault.vault import Opener


@lru_cache(maxsize=64)
def parsed(text: str) -> TrialDefinition:
    """The definition a stored public text says; parsed once, since versions are immutable."""
    return read_definition(text)


def latest_version(tx: Transaction, trial: Trial) -> DefinitionVersion:
    """The newest loaded version of `trial`'s definition."""
    version = tx.session.scalar(
        select(DefinitionVersion)
        .where(DefinitionVersion.trial_id == trial.id)
        .order_by(DefinitionVersion.version.desc())
        .limit(1)
    )
    if version is None:
        raise refuse(
            "not_found", "definition.none", say("Trial %(trial)s has no definition yet.", trial=trial.code), "trial"
        )
    return version


def latest(tx: Transaction, trial: Trial) -> TrialDefinition:
    """The newest definition of `trial`."""
    return parsed(latest_version(tx, trial).public_text)


def version_in_force(tx: Transaction, site: Site, on: date) -> DefinitionVersion:
    """The version in force at `site` on its local date `on`. Raises Refusal `rule` when none is yet."""
    return versions_in_force(tx, {site: on})[site]


def versions_in_force(tx: Transaction, on: Mapping[Site, date]) -> dict[Site, DefinitionVersion]:
    """The version in force at each site on its local date. Raises Refusal `rule` when a site has none yet."""
    statement = (
        select(DefinitionInForce)
        .options(joinedload(DefinitionInForce.version))
        .where(DefinitionInForce.site_id.in_([site.id for site in on]), DefinitionInForce.from_date <= max(on.values()))
        .order_by(DefinitionInForce.from_date)
    )
    begun = tx.session.scalars(statement).all()
    found = {}
    for site, day in on.items():
        versions = [row.version for row in begun if row.site_id == site.id and row.from_date <= day]
        if not versions:
            raise refuse(
                "rule",
                "definition.not_in_force",
                say(
                    "No version of the protocol definition is in force at site %(site)s on %(on)s.",
                    site=site.code,
                    on=day.isoformat(),
                ),
                "site",
            )
        found[site] = versions[-1]
    return found


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
