"""`rts check`: whether everything recorded agrees with everything else."""

from __future__ import annotations

import click

from rts.cli.door import FOUND_WRONG, Command, show_json
from rts.cli.installations import OPERATOR, opened_store
from rts.cli.progress import shown_progress
from rts.store.checks import run_checks


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def check(as_json: bool) -> None:
    """Replay the kit ledger, list order, signatures and audit trails, and say what does not agree.

    Prints `clean`, or every finding and exits 1. Findings name no treatment. The check is recorded on the audit trail.
    """
    with opened_store() as store, shown_progress("checking") as progress:
        findings = run_checks(store, OPERATOR, progress)
    if as_json:
        show_json(
            {
                "check": "findings" if findings else "clean",
                "findings": [{"rule": found.rule, "message": str(found)} for found in findings],
            }
        )
    elif not findings:
        click.echo("clean")
    else:
        for found in findings:
            click.echo(f"{found} [{found.rule}]")
    if findings:
        raise click.exceptions.Exit(FOUND_WRONG)
