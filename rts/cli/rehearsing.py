"""`rts rehearse`, `rts demo` and `rts trace`: the whole trial on a test clock, one to look at, and what tests prove."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import click

from rts.cli.door import FOUND_WRONG, Command, OfflineCommand, given, settings, show_json
from rts.cli.files import write_lines
from rts.cli.progress import shown_progress
from rts.trial.shipped import SHIPPED


@click.command(cls=Command)
@click.argument("trial", type=click.Choice(SHIPPED))
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="The same seed, the same story.")
@click.option(
    "--subjects", type=click.IntRange(min=1), help="Stop recruitment after so many. Default: the trial's target."
)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the summary to this file (- to print it).")
def rehearse(trial: str, seed: int, subjects: int | None, out: Path | None) -> None:
    """Run a whole trial on a test clock through the real deeds, then check everything.

    On a scratch database that is removed afterwards; with --database on that one, which must be empty; keyring and
    lists then stay beside it. RTS_DATABASE and its like are not used here.
    """
    from rts.rehearsal.ground import ground_at, scratch_ground
    from rts.rehearsal.rehearse import rehearse as run_rehearsal

    database = given("database")
    named = nullcontext(ground_at(database, given("keyring"), given("lists"))) if database else scratch_ground()
    with named as ground, shown_progress("rehearsing") as progress:
        summary = run_rehearsal(ground, trial, seed=seed, subjects=subjects, progress=progress)
    if out is not None and str(out) != "-":
        write_lines(out, [json.dumps(summary.as_json(), indent=2) + "\n"], replace=True)
    elif out is not None:
        show_json(summary.as_json())
    if out is None or str(out) != "-":
        click.echo(
            f"{summary.randomised} randomised in {summary.days} days, {summary.visits_dispensed} of "
            f"{summary.visits_due} visits dispensed, {summary.shipments} shipments, {summary.audit_events} events: "
            f"{summary.check}"
        )
    if summary.check != "clean":
        raise click.exceptions.Exit(FOUND_WRONG)


@click.command(cls=Command)
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Where it is kept."
)
@click.option("--build-only", is_flag=True, help="Make it and print the accounts, without serving it.")
def demo(folder: Path, build_only: bool) -> None:
    """Make a training installation on day 120 of SIRIUS, print an account for each role, and serve it."""
    from rts.rehearsal.demo import DATABASE, KEYRING, LISTS, build_demo
    from rts.web.serving import serve

    chosen = settings()
    with shown_progress("building") as progress:
        facts = build_demo(folder, progress)
    click.echo("Accounts of this demonstration (its people and data are invented):\n")
    for account in facts.accounts:
        click.echo(f"  {account.role.value:16} {account.username:24} {account.password}")
        click.echo(f"  {'':16} {account.worth_trying}")
    if build_only:
        return
    click.echo(f"\nOpen http://{chosen.host}:{chosen.port} in a browser. Ctrl-C stops it; the next start goes on.")
    serve(
        chosen.model_copy(
            update={
                "home": facts.folder,
                "database": f"sqlite:///{facts.folder / DATABASE}",
                "keyring": facts.folder / KEYRING,
                "lists": facts.folder / LISTS,
                "environment": "training",
                "keys": "file",
            }
        )
    )


@click.command(cls=OfflineCommand)
@click.option(
    "--results", type=click.Path(path_type=Path), help="What the last test run wrote. Default: build/trace.json."
)
@click.option("--json", "as_json", is_flag=True, help="Print the matrix as JSON.")
def trace(results: Path | None, as_json: bool) -> None:
    """Print each requirement, the tests that prove it, and how they ended. Exits 1 when one failed."""
    from rts.reports.tracing import RESULTS
    from rts.reports.tracing import trace as trace_requirements

    rows = trace_requirements(results or RESULTS)
    if as_json:
        show_json(
            [
                {
                    "requirement": row.requirement.id,
                    "behaviour": row.requirement.behaviour,
                    "result": row.result,
                    "tests": [{"test": test, "outcome": outcome} for test, outcome in row.tests],
                }
                for row in rows
            ]
        )
    else:
        for row in rows:
            click.echo(f"{row.requirement.id:10} {row.result:9} {row.requirement.behaviour}")
            for test, outcome in row.tests:
                click.echo(f"{'':10} {outcome:9} {test}")
    if any(row.result == "failed" for row in rows):
        raise click.exceptions.Exit(FOUND_WRONG)
