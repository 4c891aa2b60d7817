"""The statisticians' own keys: made on their own computers, their public halves registered here.

A person has one live key at most; registering another retires the one before. With each change the lists of the trials
in which the person is statistician are sealed to whoever may open them now.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from rts.access.actor import Actor, in_force, person_named, require
from rts.access.permissions import UNBLINDED_ROLES, Permission
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.conduct.list_recipients import renew_recipients
from rts.conduct.perform import Done
from rts.refusal import refuse, say
from rts.store import locks
from rts.store.tables import Person, PersonKey, RoleGrant, Trial
from rts.store.transaction import Transaction
from rts.vault.person_keys import read_public_key

MEANING = say("I register this key as mine").text


@dataclass(frozen=True)
class RegisterOwnKey:
    """Register the public key (PEM) of the actor: lists are sealed to it from now on, and to no earlier one."""

    public_key: str


def register_own_key(tx: Transaction, actor: Actor, command: RegisterOwnKey, confirmation: Confirmation | None) -> Done:
    """Register a key, signed; the lists of the actor's trials are sealed to it at once.

    Raises Refusal `invalid` for what is no public key, `conflict` for one that was registered before, by whomever.
    """
    _require_own_key(tx, actor)
    public = read_public_key(command.public_key)
    person = tx.session.get_one(Person, actor.person_id)
    locks.take(tx.session, locks.person(person.username), locks.keys())
    if tx.session.scalar(select(PersonKey.id).where(PersonKey.fingerprint == public.fingerprint)):
        message = say("This key was registered before. Make a new one: a key serves one person, once.")
        raise refuse("conflict", "own_key.registered", message, "public_key")
    version = (tx.session.scalar(select(func.max(PersonKey.version)).where(PersonKey.person_id == person.id)) or 0) + 1
    record = {"person": person.username, "version": version, "fingerprint": public.fingerprint}
    sign(
        tx,
        actor,
        confirmation,
        MEANING,
        "own_key",
        f"{person.username}/{version}",
        record,
        trial=None,
        time_zone="UTC",
    )
    earlier = live_key(tx, person)
    if earlier is not None:
        _retire(tx, earlier, actor, f"replaced by key {version}")
    tx.session.flush()  # the earlier one is no longer live before the new one is
    tx.session.add(
        PersonKey(
            person_id=person.id,
            version=version,
            public_key=public.pem,
            fingerprint=public.fingerprint,
            registered_at=tx.now,
        )
    )
    tx.audit("own_key.registered", "person", person.username, record)
    renew_recipients(tx, _trials_seen_by(tx, person))
    return Done("register_own_key", {"person": person.username, "version": str(version)})


def fingerprint_of(public_key: str) -> str:
    """The fingerprint (hex) of a public key in PEM form. Raises Refusal as `read_public_key` does."""
    return read_public_key(public_key).fingerprint


@dataclass(frozen=True)
class RetireOwnKey:
    """Retire the live key of `username`: lists are sealed to it no longer."""

    username: str
    reason: str


def retire_own_key(tx: Transaction, actor: Actor, command: RetireOwnKey) -> Done:
    """Retire a key: one's own, or as administrator anybody's. Raises Refusal `not_found` for a person without one."""
    if command.username == actor.name:
        _require_own_key(tx, actor)
    else:
        require(tx, actor, Permission.ACCOUNTS)
    if not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    person = person_named(tx, command.username)
    if person is not None:
        locks.take(tx.session, locks.person(person.username), locks.keys())
    found = live_key(tx, person) if person is not None else None
    if person is None or found is None:
        message = say("%(person)s has no key of their own that is in use.", person=command.username)
        raise refuse("not_found", "own_key.none", message, "username")
    _retire(tx, found, actor, command.reason.strip())
    renew_recipients(tx, _trials_seen_by(tx, person))
    return Done("retire_own_key", {"person": person.username, "version": str(found.version)})


def follow_roles(tx: Transaction, actor: Actor, person: Person, trials: list[Trial]) -> None:
    """After unblinded roles of `person` in `trials` began or ended: seal the lists to whoever may open them now. A key
    whose owner holds no unblinded role any longer is retired.
    """
    found = live_key(tx, person)
    if found is None:
        return
    if not _trials_seen_by(tx, person):
        _retire(tx, found, actor, "the person is no unblinded statistician any longer")
    renew_recipients(tx, trials)


def _require_own_key(tx: Transaction, actor: Actor) -> None:
    """An own key belongs to a person, not to a trial: the right to one is held in whichever trial gives it."""
    trials = [grant.trial_id for grant in actor.grants_of(Permission.OWN_KEY)]
    require(tx, actor, Permission.OWN_KEY, tx.session.get(Trial, trials[0]) if trials else None)


def live_key(tx: Transaction, person: Person) -> PersonKey | None:
    """The key of `person` that is in use."""
    return tx.session.scalar(select(PersonKey).where(PersonKey.person_id == person.id, PersonKey.retired_at.is_(None)))


def _retire(tx: Transaction, found: PersonKey, actor: Actor, reason: str) -> None:
    found.retired_at, found.retired_by, found.retire_reason = tx.now, actor.name, reason
    facts = {"version": found.version, "fingerprint": found.fingerprint}
    tx.audit("own_key.retired", "person", found.person.username, facts, reason=reason)


def _trials_seen_by(tx: Transaction, person: Person) -> list[Trial]:
    """The trials in which `person` holds an unblinded role, also while it rests until the account is confirmed: the
    private key is the person's own all the same.
    """
    roles = [role.value for role in UNBLINDED_ROLES]
    held = select(RoleGrant.trial_id).where(RoleGrant.person_id == person.id, RoleGrant.role.in_(roles), in_force())
    return list(tx.session.scalars(select(Trial).where(Trial.id.in_(held)).order_by(Trial.code)))
