"""`rts trial`: checking and loading a trial's definition, and putting its versions in force site by site."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from rts.cli.door import FOUND_WRONG, Group, OfflineCommand, show_json
from rts.cli.files import read_text, write_lines
from rts.cli.installations import AS_USER, OPERATOR, PASSWORD_FILE, deed_of, opened_store
from rts.conduct.exporting_trials import ExportedTrial, ExportTrial, export_trial
from rts.conduct.perform import perform
from rts.conduct.putting_in_force import ChangePlan, PutInForce, change_plan, put_in_force
from rts.conduct.trial_definition import LoadDefinition, load_definition
from rts.refusal import refuse, say
from rts.reports.trial_overview import site_rows
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


DAY = click.DateTime(["%Y-%m-%d"])
SITES = click.option("--site", "sites", multiple=True, metavar="CODE", help="A site; give the option once for each.")
EVERYWHERE = click.option("--everywhere", is_flag=True, help="Every site of the trial instead.")


@trial.command("load")
@click.argument("public", metavar="PUBLIC")
@click.argument("restricted", type=click.Path(path_type=Path), required=False)
@click.option("--from", "day", type=DAY, help="In force at every site from this local date (YYYY-MM-DD).")
@click.option("--document", default="", metavar="TEXT", help="What allows it; needed with --from for a later version.")
def load(public: str, restricted: Path | None, day: datetime | None, document: str) -> None:
    """Load a definition as the next version of its trial, in force nowhere unless --from says so.

    PUBLIC and RESTRICTED are its two files; or PUBLIC is the name of a shipped trial (sirius).
    """
    public_text, restricted_text = _texts(public, restricted)
    if restricted_text is None:
        message = say("Name the restricted part too; only shipped trials are loaded by name (%(all)s).", all=SHIPPED[0])
        raise refuse("invalid", "definition.restricted_missing", message, "RESTRICTED")
    command = LoadDefinition(public_text, restricted_text, day.date() if day else None, document)
    with opened_store() as store:
        done = perform(store, load_definition, OPERATOR, command)
    where = f"in force at every site from {day.date().isoformat()}" if day else "in force at no site yet"
    click.echo(f"Loaded version {done.ids['version']} of {done.ids['trial']}, {where}.")


@trial.command("put-in-force")
@click.argument("trial_code", metavar="TRIAL")
@click.argument("version", type=int)
@SITES
@EVERYWHERE
@click.option("--from", "day", type=DAY, required=True, help="From this local date at each site (YYYY-MM-DD).")
@click.option("--document", required=True, metavar="TEXT", help="What allows it, such as the ethics approval.")
@AS_USER
@PASSWORD_FILE
def put(
    trial_code: str,
    version: int,
    sites: tuple[str, ...],
    everywhere: bool,
    day: datetime,
    document: str,
    username: str,
    password_file: Path | None,
) -> None:
    """Put a loaded version in force at one or several sites: at all of them, or, when one is refused, at none."""
    command = PutInForce(trial_code, version, _sites(trial_code, sites, everywhere), day.date(), document)
    done = deed_of(put_in_force, command, username, password_file)
    click.echo(f"Version {version} of {trial_code} is in force from {day.date().isoformat()} at {done.ids['sites']}.")


@trial.command("change-plan")
@click.argument("trial_code", metavar="TRIAL")
@click.argument("version", type=int)
@SITES
@EVERYWHERE
@click.option("--from", "day", type=DAY, help="The right local date at each site (YYYY-MM-DD).")
@click.option("--withdraw", is_flag=True, help="Withdraw the plan instead.")
@click.option("--document", default="", metavar="TEXT", help="What allows the new date.")
@click.option("--reason", required=True, metavar="TEXT", help="Why the plan is changed.")
@AS_USER
@PASSWORD_FILE
def change(
    trial_code: str,
    version: int,
    sites: tuple[str, ...],
    everywhere: bool,
    day: datetime | None,
    withdraw: bool,
    document: str,
    reason: str,
    username: str,
    password_file: Path | None,
) -> None:
    """Correct the date from which a version is planned at sites, or withdraw it. What has begun stays."""
    if withdraw == bool(day):
        raise click.UsageError("Give the right date with --from, or take the plan back with --withdraw.")
    chosen = _sites(trial_code, sites, everywhere)
    command = ChangePlan(trial_code, version, chosen, day.date() if day else None, document, reason)
    done = deed_of(change_plan, command, username, password_file)
    what = f"planned from {day.date().isoformat()}" if day else "no longer planned"
    click.echo(f"Version {version} of {trial_code} is {what} at {done.ids['sites']}.")


def _sites(trial_code: str, sites: tuple[str, ...], everywhere: bool) -> tuple[str, ...]:
    if everywhere == bool(sites):
        raise click.UsageError("Name sites with --site, or all with --everywhere.")
    if not everywhere:
        return sites
    with opened_store() as store, store.transaction() as tx:
        return tuple(row.code for row in site_rows(tx, tx.trial(trial_code)))


@trial.command("in-force")
@click.argument("trial_code", metavar="TRIAL")
@click.option("--json", "as_json", is_flag=True, help="Print everything that stands at each site as JSON.")
def in_force(trial_code: str, as_json: bool) -> None:
    """Tell which version is in force at each site, and what is planned."""
    with opened_store() as store, store.transaction() as tx:
        rows = site_rows(tx, tx.trial(trial_code))
    if as_json:
        show_json(
            [
                {
                    "site": row.code,
                    "versions": [
                        {
                            "version": one.version,
                            "state": one.state,
                            "from": one.from_date.isoformat(),
                            "document": one.document,
                        }
                        for one in row.versions
                    ],
                }
                for row in rows
            ]
        )
        return
    for row in rows:
        now = f"version {row.in_force.version} from {row.in_force.from_date.isoformat()}" if row.in_force else "none"
        planned = [f"version {one.version} from {one.from_date.isoformat()}" for one in row.planned]
        click.echo("; ".join([f"{row.code}: {now}", *(f"planned: {one}" for one in planned)]))


@trial.command("export")
@click.argument("trial_code", metavar="TRIAL")
@click.argument("file", type=click.Path(path_type=Path))
@AS_USER
@PASSWORD_FILE
def export(trial_code: str, file: Path, username: str, password_file: Path | None) -> None:
    """Write who was randomised in which order, and given which kits, into FILE: nothing in it tells an arm.

    `rts list verify` holds it against the revealed lists.
    """
    exported: ExportedTrial = deed_of(export_trial, ExportTrial(trial_code), username, password_file)
    write_lines(file, [exported.text])
    click.echo(f"{trial_code} written to {file.name}. Verify it with the revealed lists: rts list verify")
