"""A statistician imports a list that was made elsewhere: read from a CSV file, checked, given salts from a fresh seed,
sealed and recorded as if it had been generated here. The file itself is kept nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from rts.access.actor import Actor
from rts.access.sign_in import Confirmation
from rts.conduct.lists import judge_as_specified
from rts.conduct.making_lists import SEED_BYTES, MadeList, ReadyPlan, ready_plan, seal_list
from rts.conduct.perform import Done
from rts.randomisation import imported
from rts.randomisation.imported import ImportedListInputs, read_imported_list
from rts.refusal import FailedRule, Refusal, refuse, say
from rts.store.transaction import Transaction
from rts.trial.definition import CHECKED
from rts.trial.secrecy import NeverPrinted
from rts.vault.entries import ListEntry
from rts.vault.vault import Opener


@dataclass(frozen=True, repr=False)
class ImportList(NeverPrinted):
    """Import the list that the restricted definition plans as `plan` from the bytes of a CSV file.

    `file_name`, `digest` (SHA-256, hex) and `rows` (below the header) are as whoever made the file told them: a file
    that was mixed up or cut on its way is refused.
    """

    trial: str
    plan: str
    content: bytes
    file_name: str
    digest: str
    rows: int


def import_list(
    tx: Transaction, actor: Actor, command: ImportList, opener: Opener, confirmation: Confirmation | None
) -> Done:
    """Read, check, seal and record a list. Raises Refusal for a plan whose list is generated here, a file that is not
    the one announced, or any mistake in it: named by line and column, without a cell. Nothing is kept then.
    """
    ready = ready_plan(tx, actor, command.trial, command.plan, opener)
    if "imported" not in ready.inputs:
        message = say("The definition plans this list as one that is generated here.")
        raise refuse("rule", "list.not_imported", message, "plan")
    digest = sha256(command.content).hexdigest()
    if digest != command.digest.strip().lower():
        message = say("The file is not the one announced: its SHA-256 is %(digest)s.", digest=digest)
        raise refuse("invalid", "import.digest", message, "digest")
    seed = tx.store.entropy.bytes(SEED_BYTES)
    made = _read(ready, command, seed)
    file = {"name": command.file_name, "sha256": digest, "rows": len(made.rows)}
    seal_list(tx, actor, confirmation, ready, made, deed="import", further={"file": file})
    return Done("import_list", {"trial": ready.trial.code, "list": ready.list_id})


def _read(ready: ReadyPlan, command: ImportList, seed: bytes) -> MadeList:
    inputs = ImportedListInputs(
        seed,
        ready.list_id,
        ready.plan.prefix,
        tuple(ready.inputs["strata"]),
        tuple(code for code, _ in ready.inputs["arms"]),
        has_check_digits=ready.inputs["imported"] == CHECKED,
    )
    try:
        text = command.content.decode()
    except UnicodeDecodeError:
        # Without the cause, which holds the content.
        raise refuse("invalid", "import.utf8", say("the file is not UTF-8 text"), "file") from None
    found = read_imported_list(inputs, text)
    if len(found.numbers) != command.rows:
        count = len(found.numbers)
        message = say("The file has %(found)d rows, not the %(told)d announced.", found=count, told=command.rows)
        raise refuse("invalid", "import.rows", message, "rows")
    quality = judge_as_specified(list(found.entries()), ready.inputs)
    if quality.findings:
        raise Refusal("rule", *[FailedRule(one.rule, one.message, "file") for one in quality.findings], sealed=True)
    rows = list(map(ListEntry, found.numbers, found.arms, found.salts))
    return MadeList(imported.SCHEME, "subjects", seed, found.strata, rows, found.commitment())
