"""`rts keys`: root keys and audit keys of the installation, and the statisticians' own keys."""

from __future__ import annotations

from pathlib import Path

import click
from sqlalchemy import select

from rts.cli.door import Group, OfflineCommand, settings, show_json
from rts.cli.files import read_text
from rts.cli.installations import OPERATOR, ask_password, opened_store, signed_in
from rts.cli.progress import shown_progress
from rts.conduct.own_keys import (
    RegisterOwnKey,
    RetireOwnKey,
    fingerprint_of,
    register_own_key,
    retire_own_key,
)
from rts.conduct.perform import Done, perform
from rts.conduct.rotating_keys import Wrapped, retire_root_key, rotate_audit_key, rotate_root_key, wrapped_by_version
from rts.entropy import SystemEntropy
from rts.refusal import Refusal
from rts.store.tables import PersonKey
from rts.vault import atomic_files
from rts.vault.person_keys import create_person_key

COPY_THE_KEYRING = "Copy the keyring {path} now, before anything else, as you did when it was made."


def in_groups(fingerprint: str) -> str:
    """A fingerprint in groups of four, as the pages show it, to be compared by eye."""
    return " ".join(fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4))


@click.group(cls=Group)
def keys() -> None:
    """The keys: what wraps what, rotation, retirement, and the statisticians' own keys."""


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_keys(as_json: bool) -> None:
    """Show the root keys and what each wraps, and the audit keys. No key is shown."""
    with opened_store() as store:
        keyring = store.vault.keyring
        with store.transaction() as tx:
            wrapped = wrapped_by_version(tx)
        held, current = keyring.root_keys(), keyring.current_root_key
        audit_keys, current_audit_key = keyring.audit_keys(), keyring.current_audit_key
        keyring_id = keyring.keyring_id
    rows = []
    for version in range(1, held[-1] + 1):
        found = wrapped.get(version, Wrapped())
        state = "retired" if version not in held else "newest" if version == held[-1] else "older"
        rows.append({"version": version, "state": state, "data_keys": found.data_keys, "keys_files": found.keys_files})
    rotating = held[-1] != current
    if as_json:
        show_json(
            {
                "keyring": keyring_id,
                "root_keys": rows,
                "rotation_under_way": rotating,
                "audit_keys": list(audit_keys),
                "current_audit_key": current_audit_key,
            }
        )
        return
    click.echo(f"keyring {keyring_id}")
    for row in rows:
        click.echo(
            f"root key {row['version']:3}   {row['state']:8} wraps {row['data_keys']} data keys and "
            f"{row['keys_files']} keys files"
        )
    for version in audit_keys:
        state = "signs" if version == current_audit_key else "older" if version < current_audit_key else "waits"
        click.echo(f"audit key {version:2}   {state}")
    if rotating:
        click.echo("A rotation was begun and not finished: run rts keys rotate.", err=True)


@keys.command("rotate")
@click.option("--add-only", is_flag=True, help="Make the root key and stop, to copy the keyring before it is needed.")
def rotate(add_only: bool) -> None:
    """Make a new root key and wrap every data key and keys file anew under it; entries stay as they are.

    Beside a running service, at any time. Cut short at any point, nothing is lost: the next run finishes it.
    """
    with opened_store() as store, shown_progress("rotating") as progress:
        done = rotate_root_key(store, OPERATOR, progress, add_only=add_only)
        path = store.vault.keyring.path.resolve()
    if add_only:
        click.echo(f"Root key {done.version} {'was added' if done.is_new else 'was there already'}.")
        click.echo(COPY_THE_KEYRING.format(path=path), err=True)
        click.echo("Then run rts keys rotate.", err=True)
        return
    if not done.is_new:
        click.echo("A rotation begun before was finished; no further root key was made.", err=True)
    click.echo(
        f"Root key {done.version} wraps everything now: {done.data_keys} data keys and {done.keys_files} keys files "
        "were wrapped anew."
    )
    for name in done.left_alone:
        click.echo(f"Left alone, as this keyring does not open it: {name}", err=True)
    click.echo(COPY_THE_KEYRING.format(path=path), err=True)


@keys.command("retire")
@click.argument("version", type=click.IntRange(min=1))
def retire(version: int) -> None:
    """Destroy root key VERSION and every older one, once nothing is wrapped by them.

    A backup of the database from before the rotation still needs them: keep the copy of the keyring that has them.
    """
    with opened_store() as store:
        retire_root_key(store, OPERATOR, version)
    click.echo(f"Root keys up to {version} are retired. Restart the service, so that no process keeps them in memory.")


@keys.command("rotate-audit")
def rotate_audit() -> None:
    """Make a new audit key, which signs the checkpoints from now on.

    The old one signs one more checkpoint, which covers the event that names the new one, and is sent as every day.
    """
    with opened_store() as store:
        named = settings().checkpoint_recipients.split(",")
        version = rotate_audit_key(store, OPERATOR, tuple(name.strip() for name in named if name.strip()))
        path = store.vault.keyring.path.resolve()
    click.echo(f"Audit key {version} signs from now on. Hand its public half over in person: rts audit key")
    click.echo(COPY_THE_KEYRING.format(path=path), err=True)


@keys.group("person", cls=Group)
def person() -> None:
    """A statistician's own key: lists are sealed to it, and it opens them with no server."""


def _name_of_public(private: Path) -> Path:
    return private.with_suffix(".public.pem")


@person.command("new", cls=OfflineCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Read the passphrase from this file.")
def new(file: Path, passphrase_file: Path | None) -> None:
    """Make a key pair: the private half into FILE, under a passphrase, the public half beside it.

    On one's own computer. The private half is never sent to anybody, also not to the service.
    """
    passphrase = ask_password(passphrase_file, "Passphrase, at least 12 characters", twice=True)
    private_text, public_text = create_person_key(passphrase, SystemEntropy())
    public_file = _name_of_public(file)
    atomic_files.write_new(file, private_text.encode(), 0o600)
    try:
        atomic_files.write_new(public_file, public_text.encode(), 0o644)
    except Refusal:
        file.unlink()
        raise
    click.echo(f"private key   {file}   keep it, and a copy apart; without it and its passphrase it opens nothing")
    click.echo(f"public key    {public_file}   register this one")
    click.echo(f"fingerprint   {in_groups(fingerprint_of(public_text))}")


@person.command("fingerprint", cls=OfflineCommand)
@click.argument("file", type=click.Path(path_type=Path))
def show_fingerprint(file: Path) -> None:
    """Print the fingerprint of the public key in FILE, to compare it with what a page or a person says."""
    click.echo(in_groups(fingerprint_of(read_text(file))))


@person.command("register")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "username", required=True, metavar="USERNAME", help="Whose key it is; signed.")
@click.option("--password-file", type=click.Path(path_type=Path), help="Read the password from this file.")
def register(file: Path, username: str, password_file: Path | None) -> None:
    """Register the public key in FILE: the lists of one's trials are sealed to it, and to no earlier one."""
    text = read_text(file)
    fingerprint = in_groups(fingerprint_of(text))
    with (
        opened_store() as store,
        signed_in(store, username, ask_password(password_file, f"Password of {username}")) as signatory,
    ):
        done: Done = perform(
            store, register_own_key, signatory.actor, RegisterOwnKey(text), confirmation=signatory.confirmation
        )
    click.echo(f"Registered as key {done.ids['version']} of {username}. Compare: {fingerprint}")


@person.command("retire")
@click.argument("username")
@click.option("--reason", required=True, help="Why: lost, read by somebody else, the person left.")
def retire_person(username: str, reason: str) -> None:
    """Retire the own key of USERNAME: lists are sealed to it no longer.

    An old copy of a keys file still opens with it, since the data key of a list stays.
    """
    with opened_store() as store:
        done: Done = perform(store, retire_own_key, OPERATOR, RetireOwnKey(username, reason))
    click.echo(f"Key {done.ids['version']} of {username} is retired.")


@person.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_people(as_json: bool) -> None:
    """Show every own key that was ever registered, and whether it is in use."""
    with opened_store() as store, store.transaction() as tx:
        rows = [
            {
                "person": held.person.username,
                "version": held.version,
                "fingerprint": held.fingerprint,
                "registered_at": held.registered_at.isoformat(),
                "retired_at": held.retired_at.isoformat() if held.retired_at else None,
            }
            for held in tx.session.scalars(select(PersonKey).order_by(PersonKey.id))
        ]
    if as_json:
        show_json(rows)
        return
    for row in rows:
        state = f"retired {row['retired_at']}" if row["retired_at"] else "in use"
        click.echo(f"{row['person']:24} key {row['version']}   {state}   {in_groups(str(row['fingerprint']))}")
