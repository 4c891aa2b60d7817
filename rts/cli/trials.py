"""`rts trial`: checking and loading a trial's definition."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import click

from rts.cli.door import FOUND_WRONG, Group, OfflineCommand, show_json
from rts.cli.files import read_text
from rts.cli.installations import OPERATOR, opened_store
from rts.conduct.perform import perform
from rts.conduct.trial_definition import LoadDefinition, load_definition
from rts.refusal import refuse, say
from rts.trial.reading import check_definition
from rts.trial.shipped import SHIPPED, shipped_definition


@click.group(cls=Group)
def trial() -> None:
    """Trial definitions: two TOML files, the public part and the restricted part."""


def _texts(public: str, restricted: Path | None) -> tuple[str, str | None]:
    """The texts of two files, or of a trial that is shipped with the package."""
    if public in SHIPPED and restricted is None:
        return shipped_definition(public)
    return read_text(Path(public)), read_text(restricted) if restricted else None


@trial.command("check", cls=OfflineCommand)
@click.argument("public", metavar="FILE")
@click.argument("restricted", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the mistakes as JSON.")
def check(public: str, restricted: Path | None, as_json: bool) -> None:
    """Name every mistake of a definition with its line and rule.

    FILE is the public part, or the name of a shipped trial (sirius). Warnings do not fail the check.
    """
    mistakes = check_definition(*_texts(public, restricted))
    files = {"public": public, "restricted": str(restricted or public)}
    errors = [mistake for mistake in mistakes if mistake.severity == "error"]
    if as_json:
        show_json(
            [
                {
                    "file": files[mistake.part],
                    "part": mistake.part,
                    "line": mistake.line,
                    "path": mistake.path,
                    "rule": mistake.rule,
                    "severity": mistake.severity,
                    "message": str(mistake.message),
                }
                for mistake in mistakes
            ]
        )
    else:
        for mistake in mistakes:
            where = f"{files[mistake.part]}:{mistake.line}: {mistake.path or mistake.part}"
            # A mistake is what was found wrong; a warning asks a person to look.
            click.echo(f"{where}: {mistake.severity}: {mistake.message} [{mistake.rule}]", err=True)
        warnings = len(mistakes) - len(errors)
        click.echo(f"{len(errors)} mistakes, {warnings} warnings.")
    if errors:
        raise click.exceptions.Exit(FOUND_WRONG)


@trial.command("load")
@click.argument("public", metavar="PUBLIC")
@click.argument("restricted", type=click.Path(path_type=Path), required=False)
@click.option(
    "--from",
    "in_force_from",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Local date from which it is in force at every site (YYYY-MM-DD). Default: today, UTC.",
)
def load(public: str, restricted: Path | None, in_force_from: datetime | None) -> None:
    """Load a definition as the next version of its trial.

    PUBLIC and RESTRICTED are its two files; or PUBLIC is the name of a shipped trial (sirius).
    """
    public_text, restricted_text = _texts(public, restricted)
    if restricted_text is None:
        message = say("Name the restricted part too; only shipped trials are loaded by name (%(all)s).", all=SHIPPED[0])
        raise refuse("invalid", "definition.restricted_missing", message, "RESTRICTED")
    with opened_store() as store:
        day: date = in_force_from.date() if in_force_from else store.clock.now().date()
        done = perform(store, load_definition, OPERATOR, LoadDefinition(public_text, restricted_text, day))
    click.echo(f"Loaded version {done.ids['version']} of {done.ids['trial']}, in force from {day.isoformat()}.")
