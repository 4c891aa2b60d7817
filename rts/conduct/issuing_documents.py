"""A document about a list is handed out only once its digest is on the audit trail: anyone who holds a file can ask
whether it is one of those that were issued.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.lists import list_named
from rts.conduct.perform import Done
from rts.refusal import refuse, say
from rts.store.tables import ListSpecification
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class RecordCertificate:
    """Record that the certificate of a list is issued in `language`: a PDF whose SHA-256 is `digest` (hex)."""

    trial: str
    list_id: str
    language: str
    digest: str


def record_certificate(tx: Transaction, actor: Actor, command: RecordCertificate) -> Done:
    """Record it for everyone to read. Raises Refusal for anyone who may not see lists."""
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.LIST_VIEW, trial)
    found = list_named(tx, trial, command.list_id)
    detail = {"language": command.language, "document_digest": command.digest}
    tx.audit("list.certificate_issued", "list", found.list_id, detail, trial=trial)
    return Done("record_certificate", {"trial": trial.code, "list": found.list_id})


@dataclass(frozen=True)
class RecordDocument:
    """Record that an unblinded `document` about a list is issued; one about a specification names it by its digest."""

    trial: str
    document: str
    list_id: str
    specification: str
    language: str
    digest: str


def record_document(tx: Transaction, actor: Actor, command: RecordDocument) -> Done:
    """Record it, the digest sealed: set anew with each plausible block size, the document would be found by it.

    Raises Refusal for a blinded person.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.SEALED_VIEW, trial)
    detail = {"document": command.document, "language": command.language, "document_digest": command.digest}
    if command.specification:
        specified = select(ListSpecification.id).where(
            ListSpecification.trial_id == trial.id, ListSpecification.digest == command.specification
        )
        if tx.session.scalar(specified) is None:
            raise refuse("not_found", "access.scope", say("There is nothing here with that name."))
        kind, name = "list_specification", command.specification
    else:
        kind, name = "list", list_named(tx, trial, command.list_id).list_id
    tx.audit("list.document_issued", kind, name, detail, trial=trial, sealed=True)
    return Done("record_document", {"trial": trial.code, "document": command.document})
