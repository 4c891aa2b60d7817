"""The command `rts`: one module per group of commands. Each parses, calls one deed or one query, and prints."""

from __future__ import annotations

import os

import click

import rts
from rts.cli.audit_trail import audit
from rts.cli.checking import check
from rts.cli.databases import db
from rts.cli.door import Door
from rts.cli.keys import keys
from rts.cli.lists import lists
from rts.cli.people import user
from rts.cli.rehearsing import demo, rehearse, trace
from rts.cli.running import scheduler, serve
from rts.cli.supply import supply
from rts.cli.trials import trial

__all__ = ["main"]


@click.group(cls=Door, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(rts.__version__, prog_name="rts")
def main() -> None:
    """Randomisation and trial supply for blinded clinical trials.

    Exit codes: 0 done; 1 checked and found wrong; 2 wrong usage; 3 bad input; 4 a rule of the trial says no; 5 done
    already or changed meanwhile; 6 not found; 7 not allowed; 8 wrong password; 9 database, key, disk or mail is
    missing; 70 unexpected error; 130 stopped.
    """
    # Databases, lists and exports are for this account alone, whatever the shell's habit.
    os.umask(0o077)


for command in (trial, lists, supply, db, user, keys, audit, check, serve, scheduler, rehearse, demo, trace):
    main.add_command(command)
