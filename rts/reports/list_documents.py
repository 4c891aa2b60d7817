"""What unblinded statisticians file of a list: its specification, the report of its generation, the record of its
approval. None tells an entry; the figures stand in the annex (rts.reports.list_annex).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.issuing_documents import RecordDocument, record_document
from rts.conduct.lists import list_named, procedure_of, read_file
from rts.conduct.perform import perform
from rts.conduct.reviewing_lists import ReadableSpecification, ReadSpecification, read_specification
from rts.randomisation import imported, tape
from rts.refusal import Message, refuse, say
from rts.reports.document_parts import (
    KINDS,
    PURPOSES,
    UNBLINDED,
    IssuedDocument,
    issue,
    made_with,
    marks,
    signatures_of,
    signatures_section,
    strata_table,
    stratum_words,
)
from rts.reports.people import printed_names
from rts.reports.procedures import procedure_words
from rts.reports.typesetting import Code, Document, Facts, Paragraph, Section, Table, Words, utc
from rts.states import LIST_STATES
from rts.store import definitions
from rts.store.tables import DefinitionVersion, ListFile, ListSpecification, Trial
from rts.store.transaction import Store, Transaction
from rts.trial.texts import Text

_IN_THE_ANNEX = say(
    "Procedure, frequencies, runs and balance stand in the unblinded annex, which follows from the sealed list alone."
)

_NUMBERS = say("Numbers: none twice, valid check digits, the prefix of the plan")
_ARMS = say("Only arms of the definition, each where the procedure allows it")
_CHECKS_OF: dict[str, tuple[Message, ...]] = {
    "subjects": (_NUMBERS, _ARMS, say("Each stratum has the planned length")),
    "imported": (
        say("Numbers: none twice, the prefix of the plan, and they tell no arm"),
        _ARMS,
        say("Each stratum has at least the planned length"),
    ),
    "tape": (_NUMBERS, say("Every entry is a word of 16 hex digits, and none occurs twice"), say("The planned length")),
    "kits": (
        _NUMBERS,
        say("Only kit types of the definition, in the planned quantities"),
        say("Pick order without gaps"),
    ),
}
_CHECKS_OF_ALL = (
    say("Positions without gaps or duplicates"),
    say("No other approved list of the trial has the prefix"),
    say("The sealed file is the one that was generated"),
    say("The entries meet the published commitment"),
)
_KINDS_BY_SCHEME = {tape.SCHEME: "tape", imported.SCHEME: "imported"}


def issue_specification(store: Store, actor: Actor, trial: str, digest: str, language: str) -> IssuedDocument:
    """Make the document of a signed specification, found by its digest, and record that it is issued.

    Raises Refusal for a blinded person and for a specification that does not exist.
    """
    found: ReadableSpecification = perform(store, read_specification, actor, ReadSpecification(trial, digest))
    with store.transaction() as tx:
        document = _specification(tx, tx.trial(trial), found, language)
    return issue(
        document,
        f"{trial}-{found.plan}-specification-{found.number}.pdf",
        lambda pdf: perform(
            store, record_document, actor, RecordDocument(trial, "specification", "", digest, language, pdf)
        ),
    )


def newest_specification_of(store: Store, actor: Actor, trial: str, plan: str) -> str:
    """The digest of the newest specification of a plan. Raises Refusal for a blinded person, and when there is none."""
    with store.transaction() as tx:
        of = tx.trial(trial)
        require(tx, actor, Permission.SEALED_VIEW, of)
        digest = tx.session.scalar(
            select(ListSpecification.digest)
            .where(ListSpecification.trial_id == of.id, ListSpecification.plan_id == plan)
            .order_by(ListSpecification.number.desc())
            .limit(1)
        )
    if digest is None:
        raise refuse("not_found", "list.not_specified", say("No list %(list)s is specified.", list=plan), "list_id")
    return digest


def issue_generation_report(store: Store, actor: Actor, trial: str, list_id: str, language: str) -> IssuedDocument:
    """Make the report of how a list was generated and record that it is issued. Raises Refusal for a blinded person,
    an unknown list, and a sealed file that is not as it was sealed.
    """
    with store.transaction() as tx:
        of, found = _readable(tx, actor, trial, list_id)
        document = _generation_report(tx, of, found, language)
        name = found.list_id
    return _issue(store, actor, document, trial, name, "generation-report", language)


def issue_approval_record(store: Store, actor: Actor, trial: str, list_id: str, language: str) -> IssuedDocument:
    """Make the record of a list's approval and record that it is issued. Raises Refusal as above, and `conflict` while
    the list is not approved.
    """
    with store.transaction() as tx:
        of, found = _readable(tx, actor, trial, list_id)
        if found.approved_at is None:
            raise refuse("conflict", "list.not_approved", say("This list has not been approved."), "list_id")
        document = _approval_record(tx, of, found, language)
        name = found.list_id
    return _issue(store, actor, document, trial, name, "approval-record", language)


def _readable(tx: Transaction, actor: Actor, trial: str, list_id: str) -> tuple[Trial, ListFile]:
    found = tx.trial(trial)
    require(tx, actor, Permission.SEALED_VIEW, found)
    return found, list_named(tx, found, list_id)


def _issue(
    store: Store, actor: Actor, document: Document, trial: str, list_id: str, kind: str, language: str
) -> IssuedDocument:
    return issue(
        document,
        f"{trial}-{list_id}-{kind}.pdf",
        lambda pdf: perform(store, record_document, actor, RecordDocument(trial, kind, list_id, "", language, pdf)),
    )


def _title_of(tx: Transaction, trial: Trial, version_id: int) -> Text:
    version = tx.session.get_one(DefinitionVersion, version_id)
    return definitions.parsed(version.public_text).short_title.behind_code(trial.code)


def _specification(tx: Transaction, trial: Trial, found: ReadableSpecification, language: str) -> Document:
    content = found.content
    inputs = content["inputs"]
    row = tx.session.scalars(
        select(ListSpecification).where(
            ListSpecification.trial_id == trial.id, ListSpecification.digest == found.digest
        )
    ).one()
    names = printed_names(tx, content["contributors"])
    joint = say("Made together by two people")
    seed: list[tuple[Words, Words]] = [
        (say("Seed"), joint if content["contributors"] else say("Drawn from the operating system"))
    ]
    seed += [(say("Contributor"), names[username]) for username in content["contributors"]]
    confirmed: list[tuple[Words, Words]] = [
        (say("Known of the design, and meant"), Code(rule)) for rule in content["confirmed"]
    ]
    title = _title_of(tx, trial, row.version_id)
    planned = _planned_subjects(inputs) if "arms" in inputs else _planned_kits(inputs)
    signed = signatures_of(tx, trial, "list_specification", found.digest)
    return Document(
        title=say("Specification of a list"),
        subtitle=title,
        language=language,
        at=found.specified_at,
        marks=marks(UNBLINDED, content["purpose"]),
        sections=(
            Section(
                say("What is specified"),
                (
                    Facts(
                        (
                            (say("Trial"), title),
                            (say("List"), Code(found.plan)),
                            (say("Number of the specification"), str(found.number)),
                            (say("Purpose"), PURPOSES[content["purpose"]]),
                            (say("Number prefix"), inputs["prefix"]),
                            *planned,
                            *seed,
                            *confirmed,
                        )
                    ),
                ),
            ),
            Section(say("Who may know what"), (Paragraph(content["known_to"]),)),
            Section(say("Approved document"), (Paragraph(content["document"]),)),
            Section(
                say("Digests"),
                (
                    Facts(
                        (
                            (say("This specification"), Code(found.digest)),
                            (say("Definition"), Code(content["definition"])),
                            (say("Its restricted part"), Code(content["restricted_definition"])),
                        )
                    ),
                    Paragraph(
                        say(
                            "The digest of the specification has a salt, which is sealed with it: nobody finds the "
                            "block sizes by trying."
                        )
                    ),
                ),
            ),
            signatures_section(signed),
            made_with(signed[0].software),
        ),
    )


def _planned_subjects(inputs: dict[str, Any]) -> list[tuple[Words, Words]]:
    return [
        (say("Procedure"), procedure_words(procedure_of(inputs))),
        *((say("Arm and ratio"), f"{code}: {weight}") for code, weight in inputs["arms"]),
        *((say("Stratum"), stratum_words(stratum)) for stratum in inputs["strata"]),
        *(
            (
                (say("Made"), say("elsewhere, and imported")),
                (say("Entries in each stratum"), say("at least %(number)d", number=inputs["length"])),
            )
            if "imported" in inputs
            else ((say("Entries in each stratum"), str(inputs["length"])),)
        ),
    ]


def _planned_kits(inputs: dict[str, Any]) -> list[tuple[Words, Words]]:
    return [
        *((say("Kit type and quantity"), f"{code}: {quantity}") for code, quantity in inputs["kit_types"]),
        (say("Blinded lot"), inputs["blinded_lot"]),
        (say("Expiry"), inputs["expiry"]),
    ]


def _generation_report(tx: Transaction, trial: Trial, found: ListFile, language: str) -> Document:
    manifest = read_file(tx, trial, found).manifest
    title = _title_of(tx, trial, found.version_id)
    signed = signatures_of(tx, trial, "list", found.list_id, found.commitment)[:1]
    every = list(
        tx.session.scalars(
            select(ListFile)
            .where(ListFile.trial_id == trial.id, ListFile.plan_id == found.plan_id)
            .order_by(ListFile.times_generated)
        )
    )
    names = printed_names(tx, [one.generated_by for one in every])
    generations = tuple(
        (
            Code(one.list_id),
            str(one.times_generated),
            names[one.generated_by],
            utc(one.generated_at),
            LIST_STATES[one.state],
        )
        for one in every
    )
    head = (say("List"), say("Generation"), say("Generated by"), say("Generated at"), say("State"))
    return Document(
        title=say("Report of the generation of a list"),
        subtitle=title,
        language=language,
        at=signed[0].at,
        marks=marks(UNBLINDED, found.purpose),
        sections=(
            _about(found, title, manifest.scheme),
            Section(say("Entries by stratum"), (strata_table(manifest.strata),)),
            Section(say("The specification it follows"), (Facts(_specified(tx, found)),)),
            Section(say("Every list generated for this plan"), (Table(head, generations, (1,)),)),
            Section(say("Digests"), (Facts(_digests(found, manifest.definition_digest)), Paragraph(_IN_THE_ANNEX))),
            signatures_section(signed),
            made_with(manifest.software_version),
        ),
    )


def _approval_record(tx: Transaction, trial: Trial, found: ListFile, language: str) -> Document:
    manifest = read_file(tx, trial, found).manifest
    title = _title_of(tx, trial, found.version_id)
    signed = signatures_of(tx, trial, "list", found.list_id, found.commitment)[:2]
    what = _KINDS_BY_SCHEME.get(manifest.scheme, manifest.kind)
    checks = tuple((check, say("passed")) for check in (*_CHECKS_OF[what], *_CHECKS_OF_ALL))
    return Document(
        title=say("Record of the approval of a list"),
        subtitle=title,
        language=language,
        at=signed[1].at,
        marks=marks(UNBLINDED, found.purpose),
        sections=(
            _about(found, title, manifest.scheme),
            Section(
                say("What was checked"),
                (
                    Table((say("Check"), say("Result")), checks),
                    Paragraph(
                        say(
                            "The service opened every entry at the approval, and refuses a list of which any of these "
                            "checks fails. Who generated a list cannot approve it, and neither of the two activates it."
                        )
                    ),
                ),
            ),
            Section(say("The specification it follows"), (Facts(_specified(tx, found)),)),
            Section(say("Digests"), (Facts(_digests(found, manifest.definition_digest)), Paragraph(_IN_THE_ANNEX))),
            signatures_section(signed),
            made_with(manifest.software_version),
        ),
    )


def _about(found: ListFile, title: Text, scheme: str) -> Section:
    rows: tuple[tuple[Words, Words], ...] = (
        (say("Trial"), title),
        (say("List"), Code(found.list_id)),
        (say("Planned as"), Code(found.plan_id)),
        (say("Kind"), KINDS[found.kind]),
        (say("Number prefix"), found.prefix),
        (say("Purpose"), PURPOSES[found.purpose]),
        (say("Entries"), str(found.entries)),
        (say("Generation for this plan"), str(found.times_generated)),
        (say("Scheme"), Code(scheme)),
    )
    return Section(say("The list"), (Facts(rows),))


def _specified(tx: Transaction, found: ListFile) -> tuple[tuple[Words, Words], ...]:
    if found.specification_id is None:
        return ((say("Specification"), say("none: the list was made before specifications were kept")),)
    row = tx.session.get_one(ListSpecification, found.specification_id)
    return (
        (say("Number of the specification"), str(row.number)),
        (say("Digest"), Code(row.digest)),
        (say("Signed by"), printed_names(tx, [row.specified_by])[row.specified_by]),
        (say("Signed at"), utc(row.specified_at)),
    )


def _digests(found: ListFile, definition: str) -> tuple[tuple[Words, Words], ...]:
    return (
        (say("Commitment"), Code(found.commitment)),
        (say("File digest (SHA-256)"), Code(found.file_digest)),
        (say("Manifest"), Code(found.manifest_digest)),
        (say("Definition"), Code(definition)),
    )
