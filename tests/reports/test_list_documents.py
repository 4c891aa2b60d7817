"""The unblinded documents about a list say what was specified, generated, approved, and what is in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from rts.conduct.approving_lists import ApproveList, approve_list
from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.importing_lists import import_list
from rts.conduct.lists import list_named, read_file
from rts.conduct.opening_annexes import annex_of
from rts.conduct.retiring_lists import WithdrawList, withdraw_list
from rts.conduct.specifying_lists import SpecifyList, specify_list
from rts.refusal import Refusal
from rts.reports.document_parts import IssuedDocument
from rts.reports.list_annex import annex_document, issue_annex
from rts.reports.list_documents import (
    issue_approval_record,
    issue_generation_report,
    issue_specification,
    newest_specification_of,
)
from rts.reports.typesetting import typeset
from rts.store.sealed_rows import key_from_text
from rts.store.tables import AuditDetail, AuditEvent, ListFile
from rts.vault.offline import open_offline
from tests.conduct.test_importing_lists import GOOD, definition_texts, importing
from tests.reports.pdf import alternatives_in, metadata_in, opened, words_in
from tests.reports.test_list_certificate import FURTHER
from tests.trial.texts import MINIMISED
from tests.world import World

Issue = Callable[..., IssuedDocument]
HOSTILE = '#import "x": * $y$ *Chen* \u202e<script>'


def issued(world: World, issue: Issue, list_id: str = "SIRIUS-R1", who: str = "statistician.one") -> IssuedDocument:
    if issue is issue_specification:
        list_id = newest_specification_of(world.store, world.who("statistician.one"), "SIRIUS", list_id)
    return issue(world.store, world.who(who), "SIRIUS", list_id, "en")


def listed(world: World, list_id: str) -> ListFile:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(ListFile).where(ListFile.list_id == list_id)).one()


ALL = [issue_specification, issue_generation_report, issue_approval_record, issue_annex]


@pytest.mark.requirement("LIST-02")
def test_a_specification_says_everything_that_was_signed(world: World) -> None:
    pdf = issued(world, issue_specification)

    text = words_in(pdf.pdf)
    assert "List SIRIUS-R1 Number of the specification 1 Purpose Test Number prefix R" in text
    assert "Procedure Permuted blocks of 4, 6 Arm and ratio KILDU: 1 Arm and ratio ORVEN: 1" in text
    assert "Stratum SLEDAI-LOW.STEROID-LOW Stratum SLEDAI-LOW.STEROID-HIGH" in text
    assert "Entries in each stratum 148 Seed Drawn from the operating system" in text
    assert "Approved document Randomisation plan of SIRIUS, version 1.0" in text
    assert "Chen Lihua I specify this list 2026-01-05 01:00:00 UTC RTS 0.1.0" in text
    digest = newest_specification_of(world.store, world.who("statistician.one"), "SIRIUS", "SIRIUS-R1")
    assert f"This specification {digest}" in text
    assert pdf.file_name == "SIRIUS-SIRIUS-R1-specification-1.pdf"


def test_a_specification_of_kits_names_types_lot_and_expiry(world: World) -> None:
    text = words_in(issued(world, issue_specification, "SIRIUS-K1").pdf)

    assert re.search(r"Kit type and quantity GAFIB: \d+ Kit type and quantity WUBEK: \d+ Blinded lot BL-2601", text)
    assert "Entries in each stratum" not in text


def test_what_a_statistician_wrote_in_a_specification_stays_text(world: World) -> None:
    world.load(restricted=FURTHER)
    people = ("statistician.one", "statistician.two")
    command = SpecifyList("SIRIUS", "SIRIUS-K3", f"{HOSTILE}\nsecond line", HOSTILE, people)
    world.do(specify_list, "statistician.one", command, sign=True)

    text = words_in(issued(world, issue_specification, "SIRIUS-K3").pdf)

    assert text.count(HOSTILE.replace("\u202e", "[U+202E]")) == 2
    assert "Made together by two people Contributor Chen Lihua Contributor Marta Novak" in text


def test_a_generation_report_binds_list_specification_and_files(world: World) -> None:
    found = listed(world, "SIRIUS-R1")

    text = words_in(issued(world, issue_generation_report).pdf)

    assert "Scheme rts/permuted-blocks/1" in text
    assert f"Commitment {found.commitment} File digest (SHA-256) {found.file_digest}" in text
    assert f"Manifest {found.manifest_digest}" in text
    assert "SLEDAI-HIGH.STEROID-HIGH 148" in text
    assert "Chen Lihua I generated this list 2026-01-05 01:00:00 UTC RTS 0.1.0" in text
    assert "I checked" not in text


@pytest.mark.requirement("LIST-04")
def test_a_generation_report_shows_every_list_made_for_the_plan(world: World) -> None:
    world.load(restricted=FURTHER)
    world.stage.specify("SIRIUS-K3")
    world.do(generate_list, "statistician.one", GenerateList("SIRIUS", "SIRIUS-K3"), sign=True)
    world.do(withdraw_list, "statistician.one", WithdrawList("SIRIUS", "SIRIUS-K3", "a slip"))
    world.do(generate_list, "statistician.two", GenerateList("SIRIUS", "SIRIUS-K3"), sign=True)

    text = words_in(issued(world, issue_generation_report, "SIRIUS-K3-2").pdf)

    assert "SIRIUS-K3 1 Chen Lihua 2026-01-08 01:00:00 UTC withdrawn from use" in text
    assert "SIRIUS-K3-2 2 Marta Novak 2026-01-08 01:00:00 UTC generated" in text


@pytest.mark.requirement("LIST-06")
def test_an_approval_record_tells_the_checks_and_both_signatures(world: World) -> None:
    text = words_in(issued(world, issue_approval_record).pdf)

    assert "Only arms of the definition, each where the procedure allows it passed" in text
    assert "The entries meet the published commitment passed" in text
    assert text.count(" passed") == 7
    assert "Marta Novak I checked this list and approve it 2026-01-05 01:00:00 UTC RTS 0.1.0" in text


def test_a_list_that_is_not_approved_has_no_approval_record(world: World) -> None:
    world.load(restricted=FURTHER)
    world.stage.specify("SIRIUS-K3")
    world.do(generate_list, "statistician.one", GenerateList("SIRIUS", "SIRIUS-K3"), sign=True)

    with pytest.raises(Refusal) as refusal:
        issued(world, issue_approval_record, "SIRIUS-K3")

    assert (refusal.value.code, refusal.value.rules) == ("conflict", ("list.not_approved",))
    assert world.events("list.document_issued") == 0


def test_an_annex_tells_procedure_frequencies_runs_and_balance(world: World) -> None:
    text = words_in(issued(world, issue_annex).pdf)

    assert "Procedure Permuted blocks of 4, 6" in text
    assert "Arm and ratio KILDU (matching placebo): 1 Arm and ratio ORVEN (sirolimus): 1" in text
    assert "Every check passed" in text
    assert "Stratum Entries KILDU ORVEN Runs Longest run Greatest imbalance" in text
    rows = re.findall(r"SLEDAI-(?:LOW|HIGH)\.STEROID-(?:LOW|HIGH) 148 7\d 7\d \d+ \d+ \d", text)
    assert len(rows) == 4
    assert "entries of KILDU less those of ORVEN" in text


def test_the_figures_of_an_annex_are_those_of_the_entries(world: World) -> None:
    with world.opened() as (tx, opener):
        found = list_named(tx, tx.trial("SIRIUS"), "SIRIUS-R1")
        sealed, key = read_file(tx, tx.trial("SIRIUS"), found), key_from_text(found.data_key)
        arms: dict[str, str] = {}
        for place, entry in sealed.entries(key, opener):
            arms[place.stratum] = arms.get(place.stratum, "") + entry.arm[0]

    text = words_in(issued(world, issue_annex).pdf)

    assert len(arms) == 4
    for stratum, letters in arms.items():
        runs = [len(run[0]) for run in re.finditer(r"K+|O+", letters)]
        greatest = max(abs(letters[:end].count("K") - letters[:end].count("O")) for end in range(1, len(letters) + 1))
        counts = f"{letters.count('K')} {letters.count('O')}"
        assert f"{stratum} 148 {counts} {len(runs)} {max(runs)} {greatest}" in text


def test_the_picture_of_balance_is_told_to_whoever_cannot_see_it(world: World) -> None:
    told = alternatives_in(issued(world, issue_annex).pdf)

    assert len(told) == 4
    assert all(re.fullmatch(r"148 entries; greatest imbalance [23], at the end (0|-?[123])", words) for words in told)


def test_an_annex_of_kits_counts_the_types_in_packaging_order(world: World) -> None:
    text = words_in(issued(world, issue_annex, "SIRIUS-K1").pdf)

    assert "Kit type and quantity GAFIB (" in text
    assert re.search(r"The whole list \d+ \d+ \d+ \d+ \d+", text)
    assert "Balance" not in text


def test_an_annex_of_a_tape_tells_that_words_have_no_arms(database_url: str, tmp_path: Path) -> None:
    with World.make(database_url, tmp_path, sites=("CN02",), restricted=MINIMISED, plans=("SIRIUS-R1",)) as world:
        text = words_in(issued(world, issue_annex).pdf)
        record = words_in(issued(world, issue_approval_record).pdf)

    assert "minimisation decides the arm" in text
    assert "The whole list 148" in text
    assert "Balance" not in text
    assert "Every entry is a word of 16 hex digits" in record


@pytest.mark.requirement("LIST-07")
def test_the_documents_of_an_imported_list_tell_what_was_read_and_checked(database_url: str, tmp_path: Path) -> None:
    public, restricted = definition_texts()
    with World.make(database_url, tmp_path, public=public, restricted=restricted, plans=()) as world:
        world.stage.specify("SIRIUS-R1")
        world.do(import_list, "statistician.one", importing(), sign=True)
        world.do(approve_list, "statistician.two", ApproveList("SIRIUS", "SIRIUS-R1"), sign=True)
        specification, report, record, annex = (words_in(issued(world, issue).pdf) for issue in ALL)

    assert "Made elsewhere, and imported Entries in each stratum at least 10" in specification
    assert "Chen Lihua I imported this list" in report
    assert "they tell no arm passed" in record
    assert "check digits" not in record
    assert f"The file that was read sirius_final.csv SHA-256 {sha256(GOOD).hexdigest()} Rows 43" in annex
    assert re.search(r"SLEDAI-HIGH\.STEROID-HIGH 13 7 6 \d+ \d+ \d", annex)


@pytest.mark.requirement("UNBL-06")
def test_whoever_can_open_the_list_offline_makes_the_same_annex(world: World) -> None:
    file = world.store.lists / "SIRIUS" / "SIRIUS-R1.rtslist"
    found = open_offline(file, file.with_suffix(".keys"), world.store.vault.keyring, lambda _place: None)

    offline = typeset(annex_document(annex_of(found.file, found.inputs(), found.entries()), "en"))

    assert offline == issued(world, issue_annex).pdf


@pytest.mark.parametrize("issue", ALL)
def test_every_document_is_an_archives_pdf_marked_as_unblinded(world: World, issue: Issue) -> None:
    pdf = issued(world, issue).pdf

    assert "<pdfaid:part>2</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>" in metadata_in(pdf)
    assert all("UNBLINDED" in page.extract_text() for page in opened(pdf).pages)
    assert pdf == issued(world, issue).pdf


@pytest.mark.parametrize("issue", ALL)
def test_a_blinded_person_gets_none_of_them(world: World, issue: Issue) -> None:
    with pytest.raises(Refusal) as refusal:
        issued(world, issue, who="manager")

    assert refusal.value.code == "forbidden"
    assert world.events("list.document_issued") == 0


@pytest.mark.parametrize("issue", ALL)
@pytest.mark.requirement("LIST-03")
def test_the_digest_of_an_unblinded_document_is_sealed_on_the_trail(world: World, issue: Issue) -> None:
    """Set anew with each plausible block size, a document would be found by its digest."""
    pdf = issued(world, issue)

    with world.store.transaction() as tx:
        (plain,) = tx.session.scalars(
            select(AuditDetail.detail).join(AuditEvent).where(AuditEvent.action == "list.document_issued")
        )
    assert plain is None
    assert world.sealed_detail("list.document_issued")["document_digest"] == pdf.digest


def test_opening_an_annex_is_a_look_at_the_list(world: World) -> None:
    issued(world, issue_annex)

    event, detail = world.last_event("list.reviewed")
    assert event.actor == "statistician.one"
    assert detail is not None
    assert detail["opened"]["list"] == 593


def test_what_an_annex_is_made_of_prints_itself_as_sealed(world: World) -> None:
    file = world.store.lists / "SIRIUS" / "SIRIUS-R1.rtslist"
    found = open_offline(file, file.with_suffix(".keys"), world.store.vault.keyring, lambda _place: None)
    annex: Any = annex_of(found.file, found.inputs(), found.entries())

    document = annex_document(annex, "en")
    assert {repr(annex), repr(document), *map(repr, document.sections)} == {"<sealed>"}
