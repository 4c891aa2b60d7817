"""The certificate of a list, for the trial file: that it was made, by whom, how many entries it has and what it is
committed to. It tells no allocation, and less than the blinded pages about the list: neither its id, nor positions,
scheme, procedure or block sizes, nor the entries of a stratum, of which block sizes are often divisors. Blinded and
unblinded readers get the same bytes.
"""

from __future__ import annotations

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.issuing_documents import RecordCertificate, record_certificate
from rts.conduct.lists import list_named, read_file
from rts.conduct.perform import perform
from rts.refusal import say
from rts.reports.document_parts import (
    BLINDED,
    KINDS,
    PURPOSES,
    IssuedDocument,
    issue,
    made_with,
    marks,
    signatures_of,
    signatures_section,
)
from rts.reports.typesetting import Code, Document, Facts, Paragraph, Section, Words
from rts.states import LIST_STATES
from rts.store import definitions
from rts.store.tables import DefinitionVersion, ListFile, Trial
from rts.store.transaction import Store, Transaction


def issue_certificate(store: Store, actor: Actor, trial: str, list_id: str, language: str) -> IssuedDocument:
    """Make the certificate of a list, found by its id or commitment, as it stands now, and record that it is issued.

    Raises Refusal for anyone who may not see lists, an unknown list, and a sealed file that is not as it was sealed.
    """
    with store.transaction() as tx:
        of = tx.trial(trial)
        require(tx, actor, Permission.LIST_VIEW, of)
        found = list_named(tx, of, list_id)
        document = certificate_of(tx, of, found, language)
        file_name = f"{of.code}-{found.prefix}-certificate.pdf"
    return issue(
        document,
        file_name,
        lambda digest: perform(store, record_certificate, actor, RecordCertificate(trial, list_id, language, digest)),
    )


def certificate_of(tx: Transaction, trial: Trial, found: ListFile, language: str) -> Document:
    """What the certificate says."""
    manifest = read_file(tx, trial, found).manifest
    definition = definitions.parsed(tx.session.get_one(DefinitionVersion, found.version_id).public_text)
    signed = signatures_of(tx, trial, "list", found.list_id, found.commitment)
    about: tuple[tuple[Words, Words], ...] = (
        (say("Trial"), definition.short_title.behind_code(trial.code)),
        (say("Kind"), KINDS[found.kind]),
        (say("Number prefix"), found.prefix),
        (say("Purpose"), PURPOSES[found.purpose]),
        (say("State"), LIST_STATES[found.state]),
        (say("Entries"), str(found.entries)),
        (say("Generation for this plan"), str(found.times_generated)),
        (say("Definition version"), str(manifest.definition_version)),
    )
    sections = (
        Section(say("The list"), (Facts(about),)),
        Section(
            say("What it is committed to"),
            (
                Facts(
                    (
                        (say("Commitment"), Code(found.commitment)),
                        (say("File digest (SHA-256)"), Code(found.file_digest)),
                        (say("Definition digest"), Code(manifest.definition_digest)),
                    )
                ),
                Paragraph(
                    say(
                        "The commitment was fixed when the list was sealed. After the database lock it proves to "
                        "anyone that every subject got what the list said."
                    )
                ),
            ),
        ),
        signatures_section(signed),
        made_with(manifest.software_version),
    )
    return Document(
        title=say("Certificate of a list"),
        subtitle=definition.short_title.behind_code(trial.code),
        language=language,
        at=signed[-1].at,
        marks=marks(BLINDED, found.purpose),
        sections=sections,
    )
