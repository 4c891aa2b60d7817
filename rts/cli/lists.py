"""`rts list`: from plan to active list, the offline emergency route, and what a second programmer needs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from rts.cli.door import FOUND_WRONG, Group, OfflineCommand, settings, show_json
from rts.cli.files import read_json, read_text
from rts.cli.installations import AS_USER, PASSWORD_FILE, ask_password, deed_of
from rts.conduct.preparing_lists import (
    ActivateList,
    ApproveList,
    GenerateList,
    activate_list,
    approve_list,
    generate_list,
)
from rts.randomisation import verification
from rts.randomisation.regenerate import regenerate as regenerate_list
from rts.vault.keyring import Keyring
from rts.vault.keys_file import read_keys
from rts.vault.list_file import ListFile
from rts.vault.offline import OpenedList, open_offline
from rts.vault.person_keys import unlock_person_key

REPORT_IT = (
    "The service has no record of this opening. Report it now to the trial manager, with the time, your name, the "
    "number and the reason."
)


@click.group("list", cls=Group)
def lists() -> None:
    """Allocation lists and kit lists."""


@lists.command("generate")
@click.argument("trial")
@click.argument("plan", metavar="LIST")
@AS_USER
@click.option("--seed", default="", metavar="HEX", help="A given seed, in training and test installations only.")
@PASSWORD_FILE
def generate(trial: str, plan: str, username: str, seed: str, password_file: Path | None) -> None:
    """Generate and seal the list that the definition plans as LIST."""
    done = deed_of(generate_list, GenerateList(trial, plan, seed), username, password_file)
    click.echo(f"Generated and sealed list {done.ids['list']} of {trial}. Another person approves it next.")


@lists.command("approve")
@click.argument("trial")
@click.argument("list_id", metavar="LIST")
@AS_USER
@PASSWORD_FILE
def approve(trial: str, list_id: str, username: str, password_file: Path | None) -> None:
    """Check a generated list and approve it."""
    deed_of(approve_list, ApproveList(trial, list_id), username, password_file)
    click.echo(f"Approved list {list_id} of {trial}. A third person activates it next.")


@lists.command("activate")
@click.argument("trial")
@click.argument("list_id", metavar="LIST")
@AS_USER
@PASSWORD_FILE
def activate(trial: str, list_id: str, username: str, password_file: Path | None) -> None:
    """Put an approved list to use."""
    deed_of(activate_list, ActivateList(trial, list_id), username, password_file)
    click.echo(f"List {list_id} of {trial} is active.")


@lists.command("inspect", cls=OfflineCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def inspect(file: Path, as_json: bool) -> None:
    """Show the manifest of a sealed list file. Needs no key: it says nothing of any allocation."""
    sealed = ListFile.read(file)
    facts: dict[str, object] = {**asdict(sealed.manifest), "file_digest": sealed.digest}
    facts["strata"] = dict(sealed.manifest.strata)
    keys = file.with_suffix(".keys")
    if keys.exists():
        facts["recipients"] = [f"{found.kind} {found.recipient_id}" for found in read_keys(keys).recipients]
    if as_json:
        show_json(facts)
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{code or 'all'}: {entries}" for code, entries in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        click.echo(f"{name.replace('_', ' '):20} {value}")


@lists.command("open")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--number", help="The randomisation or kit number to look up.")
@click.option("--all", "whole", is_flag=True, help="Print every entry of the list.")
@click.option("--key", type=click.Path(path_type=Path), help="A recipient's own private key in place of the keyring.")
@click.option("--keys", type=click.Path(path_type=Path), help="The list's keys file. Default: the one beside FILE.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Read the key's passphrase from this file.")
def open_list(
    file: Path, number: str | None, whole: bool, key: Path | None, keys: Path | None, passphrase_file: Path | None
) -> None:
    """Open a sealed list offline: the emergency route when the service cannot be reached.

    Prints the arm and treatment of one number. Needs the keyring, or the private key file of a recipient, and neither
    server nor database.
    """
    if (number is None) == (not whole):
        raise click.UsageError("Give --number to look one number up, or --all for the whole list.")
    if key is None:
        opener_key: Any = Keyring.load(settings().keyring_path)
    else:
        opener_key = unlock_person_key(read_text(key), ask_password(passphrase_file, "Passphrase of the private key"))
    opened = open_offline(file, keys or file.with_suffix(".keys"), opener_key, lambda _place: None)
    click.echo(REPORT_IT, err=True)
    treatments = _treatments(opened)
    if number is not None:
        arm = opened.arm_of(number)
        click.echo(f"{number.strip().upper()}: {arm}, {treatments[arm]}")
        return
    click.echo("stratum,position,number,arm,treatment")
    for place, entry in opened.entries():
        click.echo(f"{place.stratum},{place.position},{entry.number},{entry.arm},{treatments[entry.arm]}")


def _treatments(opened: OpenedList) -> dict[str, str]:
    """The treatment's public name by arm code, and by kit type in a kit list."""
    inputs = opened.inputs()
    names: dict[str, str] = inputs["treatments"]
    return names | {kit_type: names[arm] for kit_type, arm in inputs["kit_type_arms"].items()}


@lists.command("regenerate", cls=OfflineCommand)
@click.argument("parameters", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the parameters with rows and commitment as one object.")
def regenerate(parameters: Path, as_json: bool) -> None:
    """Rebuild a list from the seed and the other parameters in a JSON file (- for standard input)."""
    made = regenerate_list(read_json(parameters))
    if as_json:
        show_json(made)
        return
    rows = made["rows"]
    if isinstance(rows, list):
        for row in rows:
            click.echo(",".join(str(value) for value in row))
    click.echo(f"commitment {made['commitment']}", err=True)


@lists.command("verify", cls=OfflineCommand)
@click.argument("reveal", type=click.Path(path_type=Path))
@click.option("--commitment", required=True, metavar="HEX", help="The published commitment of the subject list.")
@click.option("--kit-reveal", type=click.Path(path_type=Path), help="The reveal file of a kit list.")
@click.option("--kit-commitment", metavar="HEX", help="The published commitment of the kit list.")
def verify(reveal: Path, commitment: str, kit_reveal: Path | None, kit_commitment: str | None) -> None:
    """Verify that revealed lists are the ones committed to. Needs no key and no database.

    REVEAL.csv has the columns stratum, position, number, arm, salt; a kit reveal position, number, kit_type, rank,
    salt.
    """
    if (kit_reveal is None) != (kit_commitment is None):
        raise click.UsageError("--kit-reveal and --kit-commitment go together.")
    found = verification.differences(
        read_text(reveal), commitment, read_text(kit_reveal) if kit_reveal else "", kit_commitment or ""
    )
    for difference in found:
        click.echo(difference, err=True)
    if found:
        raise click.exceptions.Exit(FOUND_WRONG)
    click.echo("The revealed lists are the ones committed to.")
