"""Reading trial definitions out of the database."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

from sqlalchemy import select

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
    in_force = tx.session.scalar(
        select(DefinitionInForce)
        .where(DefinitionInForce.site_id == site.id, DefinitionInForce.from_date <= on)
        .order_by(DefinitionInForce.from_date.desc())
        .limit(1)
    )
    if in_force is None:
        raise refuse(
            "rule",
            "definition.not_in_force",
            say(
                "No version of the protocol definition is in force at site %(site)s on %(on)s.",
                site=site.code,
                on=on.isoformat(),
            ),
            "site",
        )
    return in_force.version


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
