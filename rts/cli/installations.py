"""Opening the installation a command works on, and signing in at the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rts.access.actor import Actor, actor_of, person_named, service
from rts.access.sign_in import Confirmation, confirm_password, end_session, sign_in
from rts.access.signatures import refuse_unconfirmed
from rts.cli.door import settings, sqlite_file
from rts.cli.files import read_text
from rts.conduct.perform import perform
from rts.installation import follow_recorded_clock, open_installation
from rts.refusal import refuse, say
from rts.store.transaction import Store

# What throttling and the audit trail record in place of a network address.
ADDRESS = "command line"

OPERATOR = service("operator")

PASSWORD_FILE = click.option(
    "--password-file", type=click.Path(path_type=Path), help="Read the password from this file instead of asking."
)
AS_USER = click.option(
    "--as", "username", required=True, metavar="USERNAME", help="Whose deed this is; asks for the password."
)


@contextmanager
def opened_store() -> Iterator[Store]:
    """The installation that the command line or the environment names. Raises Refusal when a part of it is missing."""
    chosen = settings()
    file = sqlite_file(chosen.database_address)
    if file is not None and not file.exists():
        # SQLite would make an empty one, and a slip of the pen would look like a lost trial.
        message = say("There is no database %(file)s. Check the address, or run rts db upgrade.", file=file)
        raise refuse("not_found", "database.missing", message, "database")
    store = open_installation(chosen)
    try:
        follow_recorded_clock(store)
        yield store
    finally:
        store.engine.dispose()


@dataclass(frozen=True)
class Signatory:
    """A person who signed in at the command line, and the password re-entered for one deed."""

    actor: Actor
    confirmation: Confirmation


@contextmanager
def signed_in(store: Store, username: str, password: str) -> Iterator[Signatory]:
    """Sign in for one deed and out again. Raises Refusal `wrong_password`, or `forbidden` for an account that may not
    sign now.
    """
    session = sign_in(store, username, password, ADDRESS, time.sleep)
    try:
        if session.emergency_only or session.password_must_change:
            raise refuse(
                "forbidden",
                "sign_in.password_must_change",
                say(
                    "This password must be changed before anything else: run rts user password %(name)s.", name=username
                ),
                "password",
            )
        with store.transaction() as tx:
            person = person_named(tx, username)
            if person is None:
                raise LookupError("the person has just signed in")
            refuse_unconfirmed(person)
            actor = actor_of(tx, person)
        yield Signatory(actor, confirm_password(store, actor, password, ADDRESS, time.sleep))
    finally:
        end_session(store, session.token)


def ask_password(file: Path | None, prompt: str = "Password", *, twice: bool = False) -> str:
    """A password from the first line of `file`, or asked for without showing it."""
    if file is not None:
        lines = read_text(file).splitlines()
        if not lines or not lines[0]:
            raise refuse("invalid", "password.file", say("%(file)s holds no password.", file=file), "password")
        return lines[0]
    password: str = click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
    return password


def deed_of(deed: Callable[..., Any], command: object, username: str, password_file: Path | None) -> Any:
    """Do a deed for the person `username`, signed with their password where it is a signed one."""
    with signed_in_store(username, password_file) as (store, signatory):
        return perform(store, deed, signatory.actor, command, confirmation=signatory.confirmation)


@contextmanager
def signed_in_store(username: str, password_file: Path | None) -> Iterator[tuple[Store, Signatory]]:
    """The installation, with the person `username` signed in."""
    with (
        opened_store() as store,
        signed_in(store, username, ask_password(password_file, f"Password of {username}")) as signatory,
    ):
        yield store, signatory
