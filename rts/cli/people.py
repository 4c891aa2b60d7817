"""`rts user`: accounts, for the first administrator and for scripts; the pages do the rest."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import click

from rts.access.actor import Actor, actor_of, person_named
from rts.access.permissions import Role
from rts.access.sign_in import end_session, sign_in
from rts.cli.door import Group
from rts.cli.installations import ADDRESS, OPERATOR, ask_password, opened_store
from rts.clock import utc_text
from rts.conduct.accounts import (
    AddPerson,
    ChangePassword,
    ConfirmAccount,
    GrantRole,
    add_person,
    change_password,
    confirm_account,
    grant_role,
    the_person,
)
from rts.conduct.perform import Done, perform
from rts.entropy import Entropy
from rts.refusal import refuse, say
from rts.store.transaction import Transaction

# Without letters and digits that look alike.
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
GROUPS, GROUP_LENGTH = 5, 4  # 20 letters of 32: 100 bits

ROLES = [role.value for role in Role if role is not Role.SERVICE]


@click.group(cls=Group)
def user() -> None:
    """People's accounts."""


@dataclass(frozen=True)
class AddPersonWithRole:
    """An account, and a first role with it: both or neither."""

    person: AddPerson
    role: GrantRole | None


def add_person_with_role(tx: Transaction, actor: Actor, command: AddPersonWithRole) -> Done:
    """Add the account and grant the role. Raises Refusal as the two deeds do."""
    if command.person.keeps_password and tx.installation.environment == "production":
        message = say("In production a person changes a password that somebody else has known.")
        raise refuse("rule", "password.kept", message, "keep-password")
    is_administrator = command.role is not None and command.role.role == Role.ADMINISTRATOR
    done = add_person(tx, actor, replace(command.person, is_vouched_for=is_administrator))
    if command.role is not None:
        tx.session.flush()
        grant_role(tx, actor, command.role)
    return done


def new_password(entropy: Entropy) -> str:
    """A random password in groups that can be read aloud."""
    letters = [ALPHABET[byte % len(ALPHABET)] for byte in entropy.bytes(GROUPS * GROUP_LENGTH)]
    return "-".join("".join(letters[at : at + GROUP_LENGTH]) for at in range(0, len(letters), GROUP_LENGTH))


@user.command("add")
@click.argument("username")
@click.option("--name", required=True, help="Full name, printed with every signature.")
@click.option("--organisation", required=True)
@click.option("--email", required=True)
@click.option("--language", type=click.Choice(["en", "zh_CN"]), default="en", show_default=True)
@click.option("--role", type=click.Choice(ROLES), help="A first role.")
@click.option("--trial", default="", help="The trial of the role.")
@click.option("--site", default="", help="The site of a role held at a site.")
@click.option("--depot", default="", help="The depot of a role held at a depot.")
@click.option("--password-file", type=click.Path(path_type=Path), help="Read the first password from this file.")
@click.option("--generate-password", is_flag=True, help="Make a first password and print it once.")
@click.option("--keep-password", is_flag=True, help="Not to be changed at first sign-in; training and test only.")
def add(
    username: str,
    name: str,
    organisation: str,
    email: str,
    language: str,
    role: str | None,
    trial: str,
    site: str,
    depot: str,
    password_file: Path | None,
    generate_password: bool,
    keep_password: bool,
) -> None:
    """Add an account for one named person. The first password is changed at the first sign-in."""
    with opened_store() as store:
        if generate_password:
            password = new_password(store.entropy)
        else:
            password = ask_password(password_file, "First password", twice=True)
        person = AddPerson(username, name, organisation, email, password, language, keep_password)
        grant = GrantRole(username, role, "first role", trial, site, depot) if role else None
        done = perform(store, add_person_with_role, OPERATOR, AddPersonWithRole(person, grant))
    click.echo(f"Added {done.ids['person']}" + (f" as {role}." if role else "; no role yet."))
    if generate_password:
        click.echo(f"First password, shown this once: {password}")


@user.command("confirm")
@click.argument("username")
@click.option("--reason", required=True, help="How you made sure of the person.")
def confirm(username: str, reason: str) -> None:
    """Confirm an account whose password an administrator gave: its owner has chosen the next, and may sign.

    It says when that was, to be compared with what the person told you, and asks before it confirms.
    """
    with opened_store() as store:
        with store.transaction() as tx:
            person = the_person(tx, username)
        chosen_at = utc_text(person.password_changed_at)
        click.confirm(
            f"{person.printed_name} chose the present password at {chosen_at}. Confirm?", abort=True, err=True
        )
        done = perform(store, confirm_account, OPERATOR, ConfirmAccount(username, chosen_at, reason))
    click.echo(f"Confirmed {done.ids['person']}.")


@user.command("password")
@click.argument("username")
@click.option("--password-file", type=click.Path(path_type=Path), help="Read the present password from this file.")
@click.option("--new-password-file", type=click.Path(path_type=Path), help="Read the new password from this file.")
def password(username: str, password_file: Path | None, new_password_file: Path | None) -> None:
    """Change one's own password."""
    with opened_store() as store:
        session = sign_in(store, username, ask_password(password_file, "Present password"), ADDRESS, time.sleep)
        try:
            new = ask_password(new_password_file, "New password", twice=True)
            with store.transaction() as tx:
                person = person_named(tx, username)
                if person is None:
                    raise LookupError("the person has just signed in")
                actor = actor_of(tx, person)
            perform(store, change_password, actor, ChangePassword(new))
        finally:
            end_session(store, session.token)
    click.echo("The password is changed.")
