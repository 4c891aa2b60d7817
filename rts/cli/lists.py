"""`rts list`: from plan to active list, the offline emergency route, and what a second programmer needs."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from rts.cli.door import FOUND_WRONG, Group, OfflineCommand, settings, show_json
from rts.cli.files import json_of, read_bytes, read_json, read_text
from rts.cli.installations import AS_USER, PASSWORD_FILE, ask_password, deed_of, signed_in_store
from rts.conduct.activating_lists import ActivateList, activate_list
from rts.conduct.approving_lists import ApproveList, approve_list
from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.importing_lists import ImportList, import_list
from rts.conduct.opening_annexes import annex_of
from rts.conduct.releasing_lists import (
    AskForRelease,
    ConfirmRelease,
    ProvedEntry,
    ProveEntry,
    RevealedList,
    RevealList,
    ask_for_release,
    confirm_release,
    prove_entry,
    reveal_list,
)
from rts.conduct.retiring_lists import CloseList, close_list
from rts.conduct.reviewing_lists import ReadDesign, read_design
from rts.conduct.seeding_lists import CommitSeedShare, RevealSeedShare, commit_seed_share, reveal_seed_share
from rts.conduct.specifying_lists import SpecifyList, specify_list
from rts.entropy import SystemEntropy
from rts.installation import load_keyring, transit_of
from rts.randomisation import verification
from rts.randomisation.designs.measures import MEASURES
from rts.randomisation.designs.written import measure_written
from rts.randomisation.joint_seed import SHARE_BYTES, share_commitment
from rts.randomisation.regenerate import regenerate as regenerate_list
from rts.refusal import LANGUAGES
from rts.reports.designs import design_lines, numbers_of_strata
from rts.reports.list_annex import annex_document, issue_annex
from rts.reports.list_certificate import issue_certificate
from rts.reports.list_documents import (
    issue_approval_record,
    issue_generation_report,
    issue_specification,
    newest_specification_of,
)
from rts.reports.typesetting import typeset
from rts.trial.procedures import procedure_from, written_form
from rts.vault import atomic_files
from rts.vault.keyring_file import MODE as OWNER_ONLY
from rts.vault.keys_file import read_keys
from rts.vault.list_file import ListFile
from rts.vault.offline import OpenedList, open_offline
from rts.vault.person_keys import unlock_person_key

# Blinded: it may lie in any trial file.
ANYONE = 0o644
REPORT_IT = (
    "The service has no record of this opening. Report it now to the trial manager, with the time, your name, the "
    "number and the reason."
)

DOCUMENTS = {
    "generation-report": issue_generation_report,
    "approval-record": issue_approval_record,
    "annex": issue_annex,
}
IN_LANGUAGE = click.option("--language", type=click.Choice(LANGUAGES), default="en", help="Of the document.")


@click.group("list", cls=Group)
def lists() -> None:
    """Allocation lists and kit lists."""


@lists.command("design")
@click.argument("trial")
@click.option(
    "--candidate", "candidates", multiple=True, metavar="JSON", help="A further procedure to put beside them."
)
@click.option("--json", "as_json", is_flag=True, help="Print every measure of every candidate as JSON.")
@AS_USER
@PASSWORD_FILE
def design(trial: str, candidates: tuple[str, ...], as_json: bool, username: str, password_file: Path | None) -> None:
    """Put the planned procedure beside others, for the trial's own subjects, ratio and strata."""
    further = [procedure_from(json_of(candidate)) for candidate in candidates]
    lines = design_lines(deed_of(read_design, ReadDesign(trial), username, password_file), further)
    if as_json:
        show_json(
            [
                {
                    "procedure": written_form(line.procedure),
                    "planned": line.is_planned,
                    "dominated_by": list(line.dominated_by),
                    "measures": dict(line.row.values),
                    "standard_errors": dict(line.row.standard_errors),
                    "strata": dict(line.row.strata),
                    "overall_imbalance_by_strata": dict(line.row.by_strata),
                    "advice": [{"rule": one.rule, "gravity": one.gravity} for one in line.advice],
                }
                for line in lines
            ]
        )
        return
    click.echo("no.  guesses  certain  max.imb.  SD overall  beaten by  procedure")
    for number, line in enumerate(lines, start=1):
        figure = line.row.figure
        shares = (100 * (figure("cg_convergence") or 0), 100 * (figure("deterministic") or 0))
        spread = (figure("E_max_abs_imbalance") or 0, figure("sd_overall_imbalance") or 0)
        beaten = ",".join(map(str, line.dominated_by)) or "-"
        words = " ".join(f"{key}={value}" for key, value in written_form(line.procedure).items() if key != "name")
        planned = " (planned)" if line.is_planned else ""
        click.echo(
            f"{number:3}  {shares[0]:6.1f}%  {shares[1]:6.1f}%  {spread[0]:8.2f}  {spread[1]:10.2f}  {beaten:>9}"
            f"  {line.procedure.name} {words}{planned}"
        )
        errors = line.row.standard_errors
        if errors:
            click.echo(
                f"     simulated; standard errors: guesses {100 * errors['cg_convergence']:.1f}%, "
                f"max.imb. {errors['E_max_abs_imbalance']:.2f}, SD overall {errors['sd_overall_imbalance']:.2f}"
            )
        for one in line.advice:
            click.echo(f"     {one.gravity}: {one.message} [{one.rule}]")
    click.echo("\nSD of the overall imbalance by number of strata")
    click.echo("no." + "".join(f"{number:8}" for number in numbers_of_strata(lines)))
    for number, line in enumerate(lines, start=1):
        if line.row.by_strata:
            click.echo(f"{number:3}" + "".join(f"{spread:8.2f}" for spread in line.row.by_strata.values()))


@lists.command("specify")
@click.argument("trial")
@click.argument("plan", metavar="LIST")
@click.option("--known-to", required=True, metavar="TEXT", help="Who may know what of the list.")
@click.option("--document", required=True, metavar="TEXT", help="The approved document that it follows.")
@click.option("--confirmed", is_flag=True, help="What the procedure does not promise is known, and meant.")
@click.option("--joint-seed", nargs=2, metavar="USERNAME USERNAME", help="Two people make the seed together.")
@AS_USER
@PASSWORD_FILE
def specify(
    trial: str,
    plan: str,
    known_to: str,
    document: str,
    confirmed: bool,
    joint_seed: tuple[str, str] | None,
    username: str,
    password_file: Path | None,
) -> None:
    """Specify the list that the definition plans as LIST, and sign it: before the list exists."""
    command = SpecifyList(trial, plan, known_to, document, joint_seed or (), confirmed)
    done = deed_of(specify_list, command, username, password_file)
    click.echo(f"Specified list {plan} of {trial}; digest of the specification {done.ids['specification']}")


@lists.group("seed", cls=Group)
def seed() -> None:
    """The joint seed of a list: each of two people commits to a share, then each reveals it."""


@seed.command("new", cls=OfflineCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--specification", required=True, metavar="HEX", help="The digest of the signed specification.")
@click.option("--person", required=True, metavar="USERNAME", help="Whose share it is.")
def new_share(file: Path, specification: str, person: str) -> None:
    """Draw a share of 32 bytes into FILE, for its owner's eyes only, and print the commitment to it."""
    share = SystemEntropy().bytes(SHARE_BYTES)
    atomic_files.write_new(file, f"{share.hex()}\n".encode(), OWNER_ONLY)
    click.echo(share_commitment(specification.strip().lower(), person.strip().lower(), share))


@seed.command("commit")
@click.argument("trial")
@click.argument("plan", metavar="LIST")
@click.argument("commitment", metavar="HEX")
@AS_USER
@PASSWORD_FILE
def commit_share(trial: str, plan: str, commitment: str, username: str, password_file: Path | None) -> None:
    """Commit to one's share; it cannot be changed afterwards."""
    deed_of(commit_seed_share, CommitSeedShare(trial, plan, commitment), username, password_file)
    click.echo("Committed. Keep the share secret until both have committed.")


@seed.command("reveal")
@click.argument("trial")
@click.argument("plan", metavar="LIST")
@click.argument("file", type=click.Path(path_type=Path))
@AS_USER
@PASSWORD_FILE
def reveal_share(trial: str, plan: str, file: Path, username: str, password_file: Path | None) -> None:
    """Reveal the share in FILE, once both have committed."""
    command = RevealSeedShare(trial, plan, read_text(file).strip())
    deed_of(reveal_seed_share, command, username, password_file)
    click.echo("The share is the one committed to.")


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


@lists.command("import")
@click.argument("trial")
@click.argument("plan", metavar="LIST")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sha256", "digest", required=True, metavar="HEX", help="The file's SHA-256, as its maker told it.")
@click.option("--rows", type=int, required=True, help="How many rows it has below the header, as its maker told it.")
@AS_USER
@PASSWORD_FILE
def import_(
    trial: str, plan: str, file: Path, digest: str, rows: int, username: str, password_file: Path | None
) -> None:
    """Import and seal the list made elsewhere that the definition plans as LIST.

    FILE is CSV with the columns stratum, position, number, arm. No copy of it is kept: delete it where it lies.
    """
    command = ImportList(trial, plan, read_bytes(file), file.name, digest, rows)
    done = deed_of(import_list, command, username, password_file)
    click.echo(f"Imported and sealed list {done.ids['list']} of {trial}. Another person approves it next.")


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


@lists.command("certificate")
@click.argument("trial")
@click.argument("list_id", metavar="LIST")
@click.argument("file", type=click.Path(path_type=Path))
@AS_USER
@IN_LANGUAGE
@PASSWORD_FILE
def certificate(trial: str, list_id: str, file: Path, username: str, language: str, password_file: Path | None) -> None:
    """Write the blinded certificate of a list into FILE, a PDF for the trial file."""
    atomic_files.refuse_existing(file)
    with signed_in_store(username, password_file) as (store, signatory):
        issued = issue_certificate(store, signatory.actor, trial, list_id, language)
    atomic_files.write_new(file, issued.pdf, ANYONE)
    click.echo(f"Certificate written to {file.name}; SHA-256 {issued.digest}")


@lists.command("document")
@click.argument("kind", type=click.Choice(("specification", *DOCUMENTS)))
@click.argument("trial")
@click.argument("list_id", metavar="LIST")
@click.argument("file", type=click.Path(path_type=Path))
@AS_USER
@IN_LANGUAGE
@PASSWORD_FILE
def document(
    kind: str, trial: str, list_id: str, file: Path, username: str, language: str, password_file: Path | None
) -> None:
    """Write an unblinded document about a list into FILE, as PDF/A. LIST is the plan for its newest specification."""
    atomic_files.refuse_existing(file)
    with signed_in_store(username, password_file) as (store, signatory):
        if kind == "specification":
            digest = newest_specification_of(store, signatory.actor, trial, list_id)
            issued = issue_specification(store, signatory.actor, trial, digest, language)
        else:
            issued = DOCUMENTS[kind](store, signatory.actor, trial, list_id, language)
    atomic_files.write_new(file, issued.pdf, OWNER_ONLY)
    click.echo(f"Written to {file.name}; SHA-256 {issued.digest}")


@lists.command("close")
@click.argument("trial")
@click.argument("list_id", metavar="LIST")
@click.option("--reason", required=True, metavar="TEXT")
@AS_USER
@PASSWORD_FILE
def close(trial: str, list_id: str, reason: str, username: str, password_file: Path | None) -> None:
    """Close the subject list in use: nobody is randomised from it any more."""
    deed_of(close_list, CloseList(trial, list_id, reason), username, password_file)
    click.echo(f"List {list_id} of {trial} is closed.")


@lists.command("release")
@click.argument("trial")
@click.argument("list_id", metavar="LIST")
@click.option("--document", metavar="TEXT", help="The record of the database lock: asks for the release.")
@click.option("--confirm", is_flag=True, help="Confirm the release that another person asked for.")
@AS_USER
@PASSWORD_FILE
def release(
    trial: str, list_id: str, document: str | None, confirm: bool, username: str, password_file: Path | None
) -> None:
    """Release a closed list after the database lock: one person asks, another confirms."""
    if (document is None) == (not confirm):
        raise click.UsageError("Give --document to ask for the release, or --confirm to confirm it.")
    if document is not None:
        deed_of(ask_for_release, AskForRelease(trial, list_id, document), username, password_file)
        click.echo("Asked for. A trial manager confirms it next.")
    else:
        deed_of(confirm_release, ConfirmRelease(trial, list_id), username, password_file)
        click.echo(f"List {list_id} of {trial} is released.")


@lists.command("reveal")
@click.argument("trial")
@click.argument("list_id", metavar="LIST")
@click.argument("file", type=click.Path(path_type=Path))
@AS_USER
@PASSWORD_FILE
def reveal(trial: str, list_id: str, file: Path, username: str, password_file: Path | None) -> None:
    """Write a released list into FILE, for anyone to verify against its commitment."""
    revealed: RevealedList = deed_of(reveal_list, RevealList(trial, list_id), username, password_file)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((revealed.columns, *revealed.rows))
    atomic_files.write_new(file, text.getvalue().encode(), OWNER_ONLY)
    click.echo(f"{len(revealed.rows)} entries written to {file.name}. Verify them: rts list verify")


@lists.command("prove")
@click.argument("trial")
@click.argument("list_id", metavar="LIST")
@click.argument("number")
@AS_USER
@PASSWORD_FILE
def prove(trial: str, list_id: str, number: str, username: str, password_file: Path | None) -> None:
    """Print one entry with its salt and path to the commitment, as JSON: for an auditor, never for a blinded person."""
    proved: ProvedEntry = deed_of(prove_entry, ProveEntry(trial, list_id, number), username, password_file)
    show_json(proved.proof)


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
@click.option("--parameters", is_flag=True, help="Print seed, parameters, entries and commitment as one JSON object.")
@click.option("--annex", type=click.Path(path_type=Path), help="Write the unblinded annex into this file, as PDF/A.")
@IN_LANGUAGE
@click.option("--key", type=click.Path(path_type=Path), help="A recipient's own private key in place of the keyring.")
@click.option("--keys", type=click.Path(path_type=Path), help="The list's keys file. Default: the one beside FILE.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Read the key's passphrase from this file.")
def open_list(
    file: Path,
    number: str | None,
    whole: bool,
    parameters: bool,
    annex: Path | None,
    language: str,
    key: Path | None,
    keys: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Open a sealed list offline: the emergency route when the service cannot be reached.

    Prints the arm and treatment of one number; with --parameters what a second programmer needs to make the list anew;
    with --annex writes its unblinded annex. Needs the keyring, or the private key file of a recipient, and neither
    server nor database.
    """
    if [number is not None, whole, parameters, annex is not None].count(True) != 1:
        raise click.UsageError(
            "Give --number to look one number up, --all for the whole list, --parameters for a second programmer, or "
            "--annex for its figures."
        )
    if key is None:
        chosen = settings()
        opener_key: Any = load_keyring(chosen.keyring_path, transit_of(chosen))
    else:
        opener_key = unlock_person_key(read_text(key), ask_password(passphrase_file, "Passphrase of the private key"))
    opened = open_offline(file, keys or file.with_suffix(".keys"), opener_key, lambda _place: None)
    click.echo(REPORT_IT, err=True)
    if parameters:
        show_json(opened.as_regenerated())
        return
    if annex is not None:
        pdf = typeset(annex_document(annex_of(opened.file, opened.inputs(), opened.entries()), language))
        atomic_files.write_new(annex, pdf, OWNER_ONLY)
        click.echo(f"Annex written to {annex.name}; SHA-256 {hashlib.sha256(pdf).hexdigest()}")
        return
    treatments = _treatments(opened)
    if number is not None:
        arm = opened.arm_of(number)
        click.echo(f"{number.strip().upper()}: {arm}, {treatments[arm]}")
        return
    click.echo("stratum,position,number,arm,treatment")
    for place, entry in opened.entries():
        arm = opened.arm_at(place, entry) or ""
        click.echo(f"{place.stratum},{place.position},{entry.number},{arm},{treatments.get(arm, '')}")


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


@lists.command("measures", cls=OfflineCommand)
@click.argument("design", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the design with its measures as one object.")
def measures(design: Path, as_json: bool) -> None:
    """Calculate how predictable and how balanced the procedure in the JSON file DESIGN is (- for standard input)."""
    found = measure_written(read_json(design))
    if as_json:
        show_json(found)
        return
    for measure in MEASURES:
        value = found.get(measure.name)
        if isinstance(value, dict):
            value = ", ".join(f"{largest}: {p:.6g}" for largest, p in value.items())
        elif value is not None:
            value = f"{value:.6f}"
        if value is not None:
            click.echo(f"{measure.title!s:54} {value}")


@lists.command("verify", cls=OfflineCommand)
@click.argument("reveals", metavar="REVEAL…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--commitment",
    "commitments",
    multiple=True,
    required=True,
    metavar="HEX",
    help="The published commitment of the subject list; of several lists one each, in their order.",
)
@click.option(
    "--kit-reveal",
    "kit_reveals",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The reveal file of a kit list; once for each.",
)
@click.option(
    "--kit-commitment",
    "kit_commitments",
    multiple=True,
    metavar="HEX",
    help="The published commitment of a kit list; once for each, in their order.",
)
@click.option(
    "--trial-export", type=click.Path(path_type=Path), help="A trial export: every subject is verified, entry and kits."
)
@click.option(
    "--minimisation", type=click.Path(path_type=Path), help="Arms and procedure of a tape, to work its arms out anew."
)
def verify(
    reveals: tuple[Path, ...],
    commitments: tuple[str, ...],
    kit_reveals: tuple[Path, ...],
    kit_commitments: tuple[str, ...],
    trial_export: Path | None,
    minimisation: Path | None,
) -> None:
    """Verify that revealed lists are the ones committed to. Needs no key and no database.

    REVEAL is CSV with the columns stratum, position, number, arm, salt; a kit reveal has position, number, kit_type,
    rank, salt.
    """
    if len(reveals) != len(commitments):
        raise click.UsageError("Each REVEAL needs one --commitment.")
    if len(kit_reveals) != len(kit_commitments):
        raise click.UsageError("Each --kit-reveal needs one --kit-commitment.")
    verified = verification.verify(
        [(read_text(path), commitment) for path, commitment in zip(reveals, commitments, strict=True)],
        [(read_text(path), commitment) for path, commitment in zip(kit_reveals, kit_commitments, strict=True)],
        None if trial_export is None else read_text(trial_export),
        None if minimisation is None else read_text(minimisation),
    )
    for difference in verified.differences:
        click.echo(difference, err=True)
    if verified.differences:
        raise click.exceptions.Exit(FOUND_WRONG)
    click.echo(verified.statement)
