"""`rts audit`: writing the trail out, signing how far it goes, and verifying an export without the server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from sqlalchemy import select

from rts.cli.door import FOUND_WRONG, Group, OfflineCommand, show_json
from rts.cli.files import read_lines, read_text, write_lines
from rts.cli.installations import OPERATOR, opened_store
from rts.conduct.checkpointing import MakeCheckpoints, make_checkpoints
from rts.conduct.perform import perform
from rts.store.audit import chain_of
from rts.store.audit_export import export_lines
from rts.store.audit_verification import verify_export
from rts.store.tables import AuditCheckpoint

TRIAL = click.argument("trial", required=False)
OUT = click.option("--out", type=click.Path(path_type=Path), help="Write to this new file. Default: standard output.")


@click.group(cls=Group)
def audit() -> None:
    """The audit trail."""


def _write(lines: Iterable[str], out: Path | None) -> None:
    if out is None:
        for line in lines:
            click.echo(line, nl=False)
    else:
        click.echo(f"Wrote {write_lines(out, lines)} lines to {out}.")


@audit.command("export")
@TRIAL
@OUT
def export(trial: str | None, out: Path | None) -> None:
    """Write the trail of TRIAL (without one: of the installation) as JSON Lines.

    Sealed details are not part of it: nothing in it tells a treatment, and lists are named by their commitments.
    """
    with opened_store() as store, store.transaction() as tx:
        _write(export_lines(tx, tx.trial(trial) if trial else None), out)


@audit.command("checkpoint")
@TRIAL
@OUT
def checkpoint(trial: str | None, out: Path | None) -> None:
    """Sign how far each trail goes now, send it as the daily job does, and print that of TRIAL.

    Without TRIAL it prints that of the installation's own trail. Keep checkpoints outside the operator's reach.
    """
    with opened_store() as store:
        with store.transaction() as tx:
            chain = chain_of(tx, tx.trial(trial) if trial else None)
        perform(store, make_checkpoints, OPERATOR, MakeCheckpoints())
        with store.transaction() as tx:
            kept = tx.session.scalars(
                select(AuditCheckpoint)
                .where(AuditCheckpoint.chain_id == chain.id)
                .order_by(AuditCheckpoint.id.desc())
                .limit(1)
            ).one()
    _write(kept.text.splitlines(keepends=True), out)


@audit.command("key")
@click.option(
    "--version", type=click.IntRange(min=1), help="An older one, for older checkpoints. Default: the one that signs."
)
@OUT
def key(version: int | None, out: Path | None) -> None:
    """Print the public key of the checkpoints. Hand it over once, in person: an export never brings it."""
    with opened_store() as store:
        _write(store.vault.keyring.audit_public_key(version).splitlines(keepends=True), out)


@audit.command("verify", cls=OfflineCommand)
@click.argument("export", type=click.Path(path_type=Path))
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), required=True, help="A checkpoint received at some earlier time."
)
@click.option(
    "--public-key", type=click.Path(path_type=Path), required=True, help="The installation's public audit key (PEM)."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def verify(export: Path, checkpoint: Path, public_key: Path, as_json: bool) -> None:
    """Verify an export offline: no server, database or keyring.

    Finds events edited, removed, inserted or moved, a missing tail, details replaced or missing without an event that
    says why, and a whole forged trail.
    """
    # As saved from a mail, the checkpoint may have got other line ends.
    signed = read_text(checkpoint).replace("\r\n", "\n")
    verified = verify_export(read_lines(export), signed, read_text(public_key))
    if as_json:
        show_json(
            {
                "events": verified.events,
                "signed": verified.signed,
                "findings": [{"rule": found.rule, "message": str(found)} for found in verified.findings],
            }
        )
    else:
        for found in verified.findings:
            click.echo(f"{found} [{found.rule}]", err=True)
        if not verified.findings:
            later = verified.events - verified.signed
            click.echo(
                f"{verified.events} events verified; the signature covers the first {verified.signed}"
                + (f", and the {later} after them fit the chain." if later else ".")
            )
    if verified.findings:
        raise click.exceptions.Exit(FOUND_WRONG)
