"""`rts serve` and `rts scheduler`: the two processes of the service."""

from __future__ import annotations

import click

from rts.cli.databases import install
from rts.cli.door import Command, settings
from rts.cli.installations import opened_store


@click.command(cls=Command)
def serve() -> None:
    """Set up or upgrade the installation, serve its pages, and run the scheduled jobs in a second process beside
    them.
    """
    from rts.web.serving import serve as serve_pages

    chosen = settings()
    install(chosen, None)
    serve_pages(chosen)


@click.command(cls=Command)
@click.option("--parent", type=int, hidden=True, help="End when this process, which started the scheduler, has ended.")
def scheduler(parent: int | None) -> None:
    """Run the scheduled jobs (of one installation, one scheduler leads; others stand by)."""
    from rts.jobs.scheduler import run

    with opened_store() as store:
        run(store, settings(), parent=parent)
