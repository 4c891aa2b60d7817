"""The unblinded annex of a list as a document: what the sealed file tells whoever can open it."""

from __future__ import annotations

from datetime import UTC, datetime

from rts.access.actor import Actor
from rts.conduct.issuing_documents import RecordDocument, record_document
from rts.conduct.lists import procedure_of
from rts.conduct.opening_annexes import ListAnnex, OpenAnnex, open_annex
from rts.conduct.perform import perform
from rts.refusal import say
from rts.reports.document_parts import (
    KINDS,
    PURPOSES,
    UNBLINDED,
    IssuedDocument,
    issue,
    made_with,
    marks,
    stratum_words,
)
from rts.reports.procedures import procedure_words
from rts.reports.typesetting import Code, Document, Facts, Paragraph, Plot, Plots, Section, Table, Words
from rts.store.transaction import Store


def issue_annex(store: Store, actor: Actor, trial: str, list_id: str, language: str) -> IssuedDocument:
    """Open a list, make its annex, and record that it is issued.

    Raises Refusal for a blinded person, an unknown list, and a sealed file that is not as it was sealed.
    """
    annex: ListAnnex = perform(store, open_annex, actor, OpenAnnex(trial, list_id))
    name = annex.manifest.list_id
    return issue(
        annex_document(annex, language),
        f"{trial}-{name}-annex.pdf",
        lambda pdf: perform(store, record_document, actor, RecordDocument(trial, "annex", name, "", language, pdf)),
    )


def annex_document(annex: ListAnnex, language: str) -> Document:
    """What the annex says: the same from the service and offline, since it needs the sealed file alone."""
    manifest, inputs = annex.manifest, annex.inputs
    treatments: dict[str, str] = inputs["treatments"]
    of_kits = {kit_type: treatments[arm] for kit_type, arm in inputs["kit_type_arms"].items()}
    about: list[tuple[Words, Words]] = [
        (say("Trial"), manifest.trial),
        (say("List"), Code(manifest.list_id)),
        (say("Kind"), KINDS[manifest.kind]),
        (say("Purpose"), PURPOSES[manifest.purpose]),
        (say("Scheme"), Code(manifest.scheme)),
        (say("Commitment"), Code(manifest.commitment)),
        (say("File digest (SHA-256)"), Code(annex.file_digest)),
    ]
    if manifest.kind == "subjects":
        about.append((say("Procedure"), procedure_words(procedure_of(inputs))))
        about += [(say("Arm and ratio"), f"{code} ({treatments[code]}): {weight}") for code, weight in inputs["arms"]]
    else:
        about += [
            (say("Kit type and quantity"), f"{code} ({of_kits[code]}): {quantity}")
            for code, quantity in inputs["kit_types"]
        ]
    if "file" in inputs:
        about += [
            (say("The file that was read"), inputs["file"]["name"]),
            (say("SHA-256"), Code(inputs["file"]["sha256"])),
            (say("Rows"), str(inputs["file"]["rows"])),
        ]
    return Document(
        title=say("Unblinded annex of a list"),
        subtitle=manifest.trial,
        language=language,
        at=datetime.strptime(manifest.generated_at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC),
        marks=marks(UNBLINDED, manifest.purpose),
        sections=(
            Section(say("The list"), (Facts(tuple(about)),)),
            _checks(annex),
            _frequencies(annex),
            *_balance(annex),
            made_with(manifest.software_version),
        ),
    )


def _checks(annex: ListAnnex) -> Section:
    findings = annex.quality.findings
    if not findings:
        return Section(say("Checks"), (Paragraph(say("Every check passed")),))
    rows = tuple((stratum_words(finding.stratum), finding.message, Code(finding.rule)) for finding in findings)
    return Section(say("Checks"), (Table((say("Stratum"), say("What is wrong"), say("Rule")), rows),))


def _frequencies(annex: ListAnnex) -> Section:
    """Counts, runs and the greatest imbalance on the way, a stratum a line."""
    figures = annex.quality.figures
    codes = [code for code, _ in figures[0].counts]
    if not codes:
        head: tuple[Words, ...] = (say("Stratum"), say("Entries"))
        rows: list[tuple[Words, ...]] = [(stratum_words(each.stratum), str(each.entries)) for each in figures]
        no_arms = say("The entries are words: minimisation decides the arm when a subject takes one.")
        return Section(say("Frequencies and runs"), (Table(head, tuple(rows), (1,)), Paragraph(no_arms)))
    head = (say("Stratum"), say("Entries"), *map(Code, codes), say("Runs"), say("Longest run"))
    rows = [
        (
            stratum_words(each.stratum),
            str(each.entries),
            *(str(count) for _, count in each.counts),
            str(each.runs),
            str(each.longest_run),
        )
        for each in figures
    ]
    if annex.balance:
        head = (*head, say("Greatest imbalance"))
        rows = [(*row, f"{_greatest(annex.balance[each.stratum]):g}") for row, each in zip(rows, figures, strict=True)]
    return Section(say("Frequencies and runs"), (Table(head, tuple(rows), tuple(range(1, len(head)))),))


def _greatest(path: tuple[float, ...]) -> float:
    return max(map(abs, path), default=0)


def _balance(annex: ListAnnex) -> tuple[Section, ...]:
    if not annex.balance:
        return ()
    low = min(0.0, *map(min, annex.balance.values()))
    high = max(1.0, *map(max, annex.balance.values()))
    panels = tuple(
        Plot(
            stratum_words(stratum),
            path,
            say(
                "%(entries)d entries; greatest imbalance %(greatest)s, at the end %(last)s",
                entries=len(path),
                greatest=f"{_greatest(path):g}",
                last=f"{path[-1]:g}",
            ),
        )
        for stratum, path in annex.balance.items()
    )
    (first, weight), (second, other), *more = annex.inputs["arms"]
    explained = (
        say("After each entry: entries of %(first)s less those of %(second)s.", first=first, second=second)
        if weight == other and not more
        else say("After each entry: the largest count less the smallest, each divided by the weight of its arm.")
    )
    return (Section(say("Balance along the list"), (Paragraph(explained), Plots(panels, low, high))),)
