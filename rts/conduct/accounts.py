"""People, their roles from one moment to another, and their passwords. Nothing is deleted: "who could do what on
date D" stays answerable.

Whoever gives a person a password could use it first and choose the next. So an account whose password was given signs
nothing but an emergency code break, and unblinded roles and that of an administrator rest, until somebody else has made
sure of the person and confirmed it: to act as another takes two people (21 CFR 11.200(a)(3)).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sqlalchemy import select

from rts.access import passwords
from rts.access.actor import Actor, administrators, person_named, require
from rts.access.permissions import DEPOT_ROLES, INSTALLATION_ROLES, SITE_ROLES, Permission, Role, is_blinded
from rts.clock import utc_text
from rts.conduct.own_keys import follow_roles
from rts.conduct.perform import Done
from rts.refusal import FailedRule, Message, Refusal, refuse, refuse_all, say
from rts.store import locks, outbox
from rts.store.tables import Depot, Person, RoleGrant, Site, Trial, WebSession
from rts.store.transaction import Transaction

USERNAME = re.compile(r"[a-z][a-z0-9._-]{1,62}")
# What HTML takes for a mail address, with a dot in the domain. Characters that mean something in a mail's header stay
# out: one address that cannot be written there would stop the whole outbox.
EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


@dataclass(frozen=True)
class AddPerson:
    """An account for one named person. `password` is a first one, to be changed at first sign-in unless
    `keeps_password`. The operator vouches for administrators (`is_vouched_for`): somebody has to be the first.
    """

    username: str
    printed_name: str
    organisation: str
    email: str
    password: str = field(repr=False)
    language: str = "en"
    keeps_password: bool = False
    is_vouched_for: bool = False


def add_person(tx: Transaction, actor: Actor, command: AddPerson) -> Done:
    """Add an account. Raises Refusal naming every field that is wrong; a user name is never given to someone else."""
    require(tx, actor, Permission.ACCOUNTS)
    username = command.username.strip().lower()
    failed = []
    if not USERNAME.fullmatch(username):
        failed.append(
            FailedRule(
                "person.username", say("A user name has 2 to 63 small letters, digits, dots or dashes."), "username"
            )
        )
    # A Chinese name is written without a space.
    if len(command.printed_name.split()) < 2 and (command.printed_name.isascii() or len(command.printed_name) < 2):
        failed.append(
            FailedRule(
                "person.printed_name",
                say("Give the full name of one person: it is printed with every signature."),
                "printed_name",
            )
        )
    if not command.organisation.strip():
        failed.append(FailedRule("person.organisation", say("Give the organisation."), "organisation"))
    if not EMAIL.fullmatch(command.email.strip()):
        failed.append(FailedRule("person.email", say("Give a mail address."), "email"))
    if person_named(tx, username) is not None:
        failed.append(
            FailedRule(
                "person.exists", say("The user name %(username)s is taken for ever.", username=username), "username"
            )
        )
    refuse_all("invalid", failed)
    passwords.check_new(command.password, username)
    given_by = None if command.keeps_password or command.is_vouched_for else actor.name
    tx.session.add(
        Person(
            username=username,
            printed_name=command.printed_name.strip(),
            organisation=command.organisation.strip(),
            email=command.email.strip(),
            language=command.language,
            password_hash=passwords.hash_password(command.password),
            password_changed_at=tx.now,
            password_must_change=not command.keeps_password,
            password_given_by=given_by,
            created_at=tx.now,
        )
    )
    tx.audit(
        "person.added",
        "person",
        username,
        {"printed_name": command.printed_name.strip(), "organisation": command.organisation.strip()},
    )
    if given_by is not None:
        tx.session.flush()
        _tell(
            tx,
            actor,
            the_person(tx, username),
            say("An account for %(person)s", person=command.printed_name.strip()),
            say(
                "%(actor)s made an account for %(person)s (%(organisation)s) with a first password.",
                actor=actor.printed_name,
                person=command.printed_name.strip(),
                organisation=command.organisation.strip(),
            ),
        )
    return Done("add_person", {"person": username})


def _tell(tx: Transaction, actor: Actor, person: Person, subject_line: Message, body: Message) -> None:
    """Write to the person and to every administrator but the one who did it: somebody will know if nobody asked."""
    people = [one for one in dict.fromkeys([person, *administrators(tx)]) if one.username != actor.name]
    what_follows = say(
        "%(what)s Until another administrator, or the operator, has confirmed that %(person)s chose the next one, the "
        "account signs nothing but an emergency code break and shows nothing sealed. If nobody asked for this, call "
        "the other administrators.",
        what=body,
        person=person.printed_name,
    )
    outbox.write(tx, "account", None, people, subject_line, what_follows)


def the_person(tx: Transaction, username: str) -> Person:
    """The person `username`. Raises Refusal `not_found`."""
    person = person_named(tx, username)
    if person is None:
        raise refuse(
            "not_found", "person.unknown", say("There is no account %(username)s.", username=username), "username"
        )
    return person


def _lock(tx: Transaction, person: Person) -> None:
    """Let nobody else change the person's roles or account until the end, and read the account afresh."""
    locks.take(tx.session, locks.person(person.username))
    tx.session.refresh(person)


def _end_sessions(tx: Transaction, person: Person, *, but: int | None = None) -> None:
    """End the person's sessions now, except the one numbered `but`."""
    live = select(WebSession).where(WebSession.person_id == person.id, WebSession.ended_at.is_(None))
    for session in tx.session.scalars(live):
        if session.id != but:
            session.ended_at = tx.now


def _is_closed() -> Refusal:
    return refuse("conflict", "account.closed", say("The account is closed already."), "username")


@dataclass(frozen=True)
class GrantRole:
    """Give a person a role in a trial, at one site or depot where the role is held there."""

    username: str
    role: str
    reason: str
    trial: str = ""
    site: str = ""
    depot: str = ""


def grant_role(tx: Transaction, actor: Actor, command: GrantRole) -> Done:
    """Grant a role from this moment. Raises Refusal for a closed account, and for a mixture of blinded and unblinded
    roles, or a move from unblinded to blinded, in one trial.
    """
    require(tx, actor, Permission.ACCOUNTS)
    person = the_person(tx, command.username)
    _lock(tx, person)
    if person.closed_at is not None:
        raise _is_closed()
    if command.role not in {role.value for role in Role} - {Role.SERVICE.value}:
        raise refuse("invalid", "role.unknown", say("There is no role %(role)s.", role=command.role), "role")
    role = Role(command.role)
    failed = []
    if not command.reason.strip():
        failed.append(FailedRule("reason.missing", say("Give the reason."), "reason"))
    if (role in INSTALLATION_ROLES) != (not command.trial):
        failed.append(
            FailedRule("role.trial", say("Name the trial for this role, or none for an administrator."), "trial")
        )
    if (role in SITE_ROLES) != bool(command.site):
        failed.append(
            FailedRule("role.site", say("This role is held at one site: name it. Other roles name none."), "site")
        )
    if (role in DEPOT_ROLES) != bool(command.depot):
        failed.append(
            FailedRule("role.depot", say("This role is held at one depot: name it. Other roles name none."), "depot")
        )
    refuse_all("invalid", failed)
    trial: Trial | None = tx.trial(command.trial) if command.trial else None
    site: Site | None = tx.site(trial, command.site) if trial and command.site else None
    depot: Depot | None = None
    if trial and command.depot:
        depot = tx.session.scalar(select(Depot).where(Depot.trial_id == trial.id, Depot.code == command.depot))
        if depot is None:
            raise refuse(
                "not_found", "depot.unknown", say("There is no depot %(depot)s.", depot=command.depot), "depot"
            )
    held = tx.session.scalars(select(RoleGrant).where(RoleGrant.person_id == person.id)).all()
    in_force = [grant for grant in held if grant.granted_to is None]
    here = (role.value, trial.id if trial else None, site.id if site else None, depot.id if depot else None)
    if any((grant.role, grant.trial_id, grant.site_id, grant.depot_id) == here for grant in in_force):
        raise refuse(
            "conflict", "role.held", say("%(person)s holds this role already.", person=person.printed_name), "role"
        )
    if trial is not None:
        # An unblinded role once held counts for ever: what has been seen cannot be unseen.
        seen = [Role(grant.role) for grant in held if grant.trial_id == trial.id]
        now = [Role(grant.role) for grant in in_force if grant.trial_id == trial.id]
        if (is_blinded(role) and not all(map(is_blinded, seen))) or (
            not is_blinded(role) and any(map(is_blinded, now))
        ):
            raise refuse(
                "rule",
                "role.blinding",
                say(
                    "%(person)s would hold a blinded role after or beside an unblinded one in this trial.",
                    person=person.printed_name,
                ),
                "role",
            )
    if (role is Role.ADMINISTRATOR and in_force) or any(grant.role == Role.ADMINISTRATOR for grant in in_force):
        raise refuse(
            "rule",
            "role.administrator",
            say("An administrator of the system holds no role in the conduct of a trial."),
            "role",
        )
    tx.session.add(
        RoleGrant(
            person_id=person.id,
            role=role.value,
            trial_id=trial.id if trial else None,
            site_id=site.id if site else None,
            depot_id=depot.id if depot else None,
            granted_from=tx.now,
            granted_by=actor.name,
            reason=command.reason.strip(),
        )
    )
    tx.audit(
        "role.granted",
        "person",
        person.username,
        {"role": role.value, "trial": command.trial, "site": command.site, "depot": command.depot},
        reason=command.reason.strip(),
    )
    if trial is not None and not is_blinded(role):
        follow_roles(tx, actor, person, [trial])
    return Done("grant_role", {"person": person.username})


@dataclass(frozen=True)
class EndRole:
    """End a role grant, by its number, from this moment."""

    grant: int
    reason: str


def end_role(tx: Transaction, actor: Actor, command: EndRole) -> Done:
    """End a grant. Raises Refusal when it has ended or no reason is given."""
    require(tx, actor, Permission.ACCOUNTS)
    grant = tx.session.get(RoleGrant, command.grant)
    if grant is None:
        raise refuse("not_found", "role.unknown", say("There is no such role grant."))
    if not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    _lock(tx, grant.person)
    tx.session.refresh(grant)
    if grant.granted_to is not None:
        raise refuse("conflict", "role.ended", say("This role has ended already."))
    grant.granted_to, grant.ended_by = tx.now, actor.name
    tx.audit(
        "role.ended",
        "person",
        grant.person.username,
        {"role": grant.role, "grant": grant.id},
        reason=command.reason.strip(),
    )
    _follow_ended(tx, actor, grant.person, [grant])
    return Done("end_role", {"person": grant.person.username})


def _follow_ended(tx: Transaction, actor: Actor, person: Person, grants: list[RoleGrant]) -> None:
    """Take from the person what ended unblinded roles had opened."""
    trials = {grant.trial_id for grant in grants if grant.trial_id is not None and not is_blinded(Role(grant.role))}
    if trials:
        seen = select(Trial).where(Trial.id.in_(trials)).order_by(Trial.code)
        follow_roles(tx, actor, person, list(tx.session.scalars(seen)))


@dataclass(frozen=True)
class UnlockAccount:
    """Unlock an account that many wrong passwords locked."""

    username: str
    reason: str


def unlock_account(tx: Transaction, actor: Actor, command: UnlockAccount) -> Done:
    """Unlock. Raises Refusal when the account is not locked."""
    require(tx, actor, Permission.ACCOUNTS)
    person = the_person(tx, command.username)
    if not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    _lock(tx, person)
    if person.locked_at is None:
        raise refuse("conflict", "account.not_locked", say("The account is not locked."), "username")
    person.locked_at, person.failed_sign_ins = None, 0
    tx.audit("account.unlocked", "person", person.username, reason=command.reason.strip())
    return Done("unlock_account", {"person": person.username})


@dataclass(frozen=True)
class CloseAccount:
    """Close an account for good: its person has left."""

    username: str
    reason: str


def close_account(tx: Transaction, actor: Actor, command: CloseAccount) -> Done:
    """Close an account, end its roles and its sessions at once."""
    require(tx, actor, Permission.ACCOUNTS)
    person = the_person(tx, command.username)
    if not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    _lock(tx, person)
    if person.closed_at is not None:
        raise _is_closed()
    person.closed_at = tx.now
    held = select(RoleGrant).where(RoleGrant.person_id == person.id, RoleGrant.granted_to.is_(None))
    ended = list(tx.session.scalars(held))
    for grant in ended:
        grant.granted_to, grant.ended_by = tx.now, actor.name
    _end_sessions(tx, person)
    tx.audit("account.closed", "person", person.username, reason=command.reason.strip())
    _follow_ended(tx, actor, person, ended)
    return Done("close_account", {"person": person.username})


@dataclass(frozen=True)
class ResetPassword:
    """Give a person a new first password, which must be changed at the next sign-in before anything else. The `reason`
    says who asked and how that person was known.
    """

    username: str
    reason: str
    password: str = field(repr=False)


def reset_password(tx: Transaction, actor: Actor, command: ResetPassword) -> Done:
    """Reset a password and end the person's sessions. It opens nothing but the change of password, and what is chosen
    then signs nothing until somebody else has confirmed it (`confirm_account`).
    """
    require(tx, actor, Permission.ACCOUNTS)
    person = the_person(tx, command.username)
    if not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    passwords.check_new(command.password, person.username)
    _lock(tx, person)
    if person.closed_at is not None:
        raise _is_closed()
    _set_password(tx, person, command.password)
    person.password_must_change, person.password_given_by = True, actor.name
    _end_sessions(tx, person)
    tx.audit("password.reset", "person", person.username, reason=command.reason.strip())
    _tell(
        tx,
        actor,
        person,
        say("A new first password for %(person)s", person=person.printed_name),
        say(
            "%(actor)s set a new first password for the account of %(person)s. Reason: %(reason)s.",
            actor=actor.printed_name,
            person=person.printed_name,
            reason=command.reason.strip().rstrip("."),
        ),
    )
    return Done("reset_password", {"person": person.username})


def _set_password(tx: Transaction, person: Person, password: str) -> None:
    person.password_hash, person.password_changed_at = passwords.hash_password(password), tx.now


@dataclass(frozen=True)
class ConfirmAccount:
    """Confirm that a person has chosen the present password, at the moment `chosen_at` (`rts.clock.utc_text`); the
    `reason` says how the person was known and asked.
    """

    username: str
    chosen_at: str
    reason: str


def confirm_account(tx: Transaction, actor: Actor, command: ConfirmAccount) -> Done:
    """Let an account sign, and its roles work, after somebody else gave its password.

    Raises Refusal `rule` for whoever gave it and for its owner, and while the first password is not yet changed:
    whoever gave it could then still choose the next. Raises Refusal `conflict` when there is nothing to confirm, or
    another password was chosen since: the person was asked about an earlier one.
    """
    require(tx, actor, Permission.ACCOUNTS)
    person = the_person(tx, command.username)
    if not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Say how you made sure of the person."), "reason")
    _lock(tx, person)
    if person.closed_at is not None:
        raise _is_closed()
    given_by = person.password_given_by
    if given_by is None:
        raise refuse("conflict", "account.confirmed", say("The account is confirmed already."), "username")
    if person.password_must_change:
        message = say("%(person)s has not chosen a password yet.", person=person.printed_name)
        raise refuse("rule", "account.first_password", message)
    if utc_text(person.password_changed_at) != command.chosen_at:
        message = say("Another password was chosen since. Ask %(person)s again.", person=person.printed_name)
        raise refuse("conflict", "account.password_changed", message)
    if actor.name in {given_by, person.username}:
        message = say(
            "An account is confirmed neither by its owner nor by whoever gave the password, but by another "
            "administrator, or by the operator with rts user confirm."
        )
        raise refuse("rule", "account.second_person", message)
    person.password_given_by = None
    tx.audit(
        "account.confirmed", "person", person.username, {"password_given_by": given_by}, reason=command.reason.strip()
    )
    outbox.write(
        tx,
        "account",
        None,
        [person],
        say("Your account is confirmed"),
        say(
            "%(actor)s has confirmed that you chose the password of your account. It signs your records from now on.",
            actor=actor.printed_name,
        ),
    )
    return Done("confirm_account", {"person": person.username})


@dataclass(frozen=True)
class ChangePassword:
    """Change one's own password. `session` is the number of the session it is changed in; every other one ends."""

    password: str = field(repr=False)
    session: int | None = None


def change_password(tx: Transaction, actor: Actor, command: ChangePassword) -> Done:
    """Set a new password for the actor. The door asks for the old one first. Raises Refusal when it breaks a rule or
    is the old one.
    """
    tx.emergency = True  # a first password is changed on the way to a code break
    tx.act_as(actor, "none")
    person = the_person(tx, actor.name)
    passwords.check_new(command.password, person.username)
    _lock(tx, person)
    if passwords.matches(person.password_hash, command.password):
        raise refuse("invalid", "password.same", say("The new password is the old one."), "password")
    _set_password(tx, person, command.password)
    person.password_must_change = False
    _end_sessions(tx, person, but=command.session)
    tx.audit("password.changed", "person", person.username)
    return Done("change_password", {"person": person.username})
