from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from flask import request
from sqlalchemy import select
from werkzeug import formparser

from rts.app import create_app
from rts.randomisation.joint_seed import share_commitment
from rts.randomisation.verification import verify
from rts.store.tables import Kit, ListFile, ListSpecification, Signature, Subject
from tests.conduct.test_importing_lists import GOOD, PLAN, definition_texts
from tests.reports.pdf import words_in
from tests.trial.texts import MINIMISED
from tests.web.doors import token_in
from tests.web.office import desk, words
from tests.world import PASSWORD, World

# A third kit list, beyond those that the staged world has used.
FURTHER_PLAN = """
[[kit_lists]]
id = "SIRIUS-K3"
prefix = "M"
blinded_lot = "BL-2603"
released_from = 2026-09-01
expiry = 2028-01-10
contents = [
  { kit_type = "GAFIB", quantity = 20, manufacturing_lot = "M26-0201" },
  { kit_type = "WUBEK", quantity = 20, manufacturing_lot = "M26-0202" },
]
"""
CODES = ("KILDU", "ORVEN", "GAFIB", "WUBEK")
GENERATE = "/trials/SIRIUS/lists/generate?plan=SIRIUS-K3"


@pytest.fixture
def planned(world: World) -> World:
    """SIRIUS with a version 2 of its definition that plans one more kit list."""
    world.load(('protocol_version = "1.0"', 'protocol_version = "1.1"'), restricted=FURTHER_PLAN)
    return world


SPECIFIED = {
    "known_to": "The unblinded statisticians alone.",
    "document": "Randomisation plan 1.1",
    "seed": "system",
}


@pytest.fixture
def specified(planned: World) -> World:
    """The further kit list specified too."""
    planned.stage.specify("SIRIUS-K3")
    return planned


def kit_list(world: World, list_id: str = "SIRIUS-K3") -> ListFile | None:
    with world.store.transaction() as tx:
        return tx.session.scalar(select(ListFile).where(ListFile.list_id == list_id))


def commitment_of(world: World, list_id: str) -> str:
    found = kit_list(world, list_id)
    assert found is not None
    return found.commitment


def test_a_list_is_specified_on_a_form_reviewed_and_signed(planned: World) -> None:
    first = desk(planned, "statistician.one")
    assert "not yet specified" in words(first.open(GENERATE))

    review = first.send("/trials/SIRIUS/lists/specify?plan=SIRIUS-K3", SPECIFIED, 200)
    assert "The unblinded statisticians alone." in words(review.text)
    assert "GAFIB × 20, WUBEK × 20" in words(review.text)
    wrong = first.go_on(review, {"password": "something else"}, 403)
    assert "The unblinded statisticians alone." in words(wrong.text)
    shown = words(first.follow(first.go_on(wrong, {"password": PASSWORD})))

    assert "Specification 1 of SIRIUS-K3" in shown
    assert "Randomisation plan 1.1" in shown
    assert "Generate the list" in shown
    assert "Specified" in words(first.open("/trials/SIRIUS/lists/"))


def test_a_specification_without_words_comes_back_with_what_is_missing(planned: World) -> None:
    first = desk(planned, "statistician.one")
    missing = SPECIFIED | {"document": " ", "seed": "joint", "first": "statistician.one", "second": "statistician.one"}

    review = first.send("/trials/SIRIUS/lists/specify?plan=SIRIUS-K3", missing, 200)
    answer = first.go_on(review, {"password": PASSWORD}, 422)

    assert "Name the approved document" in words(answer.text)
    assert "two different people" in words(answer.text)


def test_two_people_give_their_shares_on_pages(planned: World) -> None:
    first, second = desk(planned, "statistician.one"), desk(planned, "statistician.two")
    joint = SPECIFIED | {"seed": "joint", "first": "statistician.one", "second": "statistician.two"}
    review = first.send("/trials/SIRIUS/lists/specify?plan=SIRIUS-K3", joint, 200)
    done = first.go_on(review, {"password": PASSWORD})
    digest = done.headers["Location"].rstrip("/").rsplit("/", 1)[1]
    path = "/trials/SIRIUS/lists/seed?plan=SIRIUS-K3"
    share = "5a" * 32
    assert "has not committed to a share" in words(first.follow(done))

    for who, name in ((first, "statistician.one"), (second, "statistician.two")):
        who.send(path, {"commitment": share_commitment(digest, name, bytes.fromhex(share))})
    early = first.send(path, {"share": "00" * 32}, 409)
    assert "not the share that you committed to" in words(early.text)
    for who in (first, second):
        shown = words(who.follow(who.send(path, {"share": share})))
    assert "Generate the list" in shown
    first.send(GENERATE, {"password": PASSWORD})

    assert kit_list(planned) is not None


def test_the_list_of_subjects_is_closed_released_by_two_and_revealed(world: World) -> None:
    subject = world.randomise("CN02")
    first, manager = desk(world, "statistician.one"), desk(world, "manager")
    blinded = f"/trials/SIRIUS/lists/{commitment_of(world, 'SIRIUS-R1')}/"
    unblinded = "/trials/SIRIUS/lists/SIRIUS-R1/"

    review = manager.send(blinded + "close", {"reason": "the last subject is in"}, 200)
    closed = manager.follow(manager.go_on(review, {"password": PASSWORD}))
    assert "List closed" in words(closed)
    review = first.send(unblinded + "ask-for-release", {"document": "lock memo 7"}, 200)
    asked = first.follow(first.go_on(review, {"password": PASSWORD}))
    assert "Release asked for" in words(asked)
    released = manager.follow(manager.send(blinded + "release", {"password": PASSWORD}))
    assert "List released" in words(released)
    assert "Save the whole list" not in words(released)

    page = first.open(unblinded)
    form = BeautifulSoup(page, "html.parser").select_one(f"form[action='{unblinded}reveal']")
    assert form is not None
    hidden = {field["name"]: field.get("value", "") for field in form.select("input[type=hidden]")}
    answer = first.post(unblinded + "reveal", hidden, 200)
    assert answer.mimetype == "text/csv"
    assert verify([(answer.text, commitment_of(world, "SIRIUS-R1"))]).differences == []
    with world.store.transaction() as tx:
        number = tx.session.scalar(select(Subject.randomisation_number).where(Subject.code == subject))
    assert f",{number}," in answer.text
    assert "Proof" not in words(manager.open(blinded))
    manager.open(unblinded + "prove", 403)


def test_one_entry_is_proved_on_a_page_for_unblinded_eyes(world: World) -> None:
    subject = world.randomise("CN02")
    with world.store.transaction() as tx:
        number = tx.session.scalar(select(Subject.randomisation_number).where(Subject.code == subject))
    first = desk(world, "statistician.one")

    proved = first.send("/trials/SIRIUS/lists/SIRIUS-R1/prove", {"number": number}, 200)
    unknown = first.send("/trials/SIRIUS/lists/SIRIUS-R1/prove", {"number": "R000"}, 404)

    assert number in words(proved.text)
    assert "This list has no number R000" in words(unknown.text)


def test_three_people_generate_approve_and_activate_a_list(specified: World) -> None:
    first, second, manager = (desk(specified, name) for name in ("statistician.one", "statistician.two", "manager"))

    assert "SIRIUS-K3 · Kit list, prefix M" in words(first.open("/trials/SIRIUS/lists/"))
    made = first.follow(first.send(GENERATE, {"password": PASSWORD}))
    assert "List generated and sealed" in words(made)
    assert "signed by Chen Lihua" in words(made)
    assert "You did an earlier step" in words(made)
    assert "Who can: Marta Novak" in words(made)

    approval = second.open("/trials/SIRIUS/lists/SIRIUS-K3/approve")
    assert "Every check passed" in words(approval)
    approved = second.follow(second.send("/trials/SIRIUS/lists/SIRIUS-K3/approve", {"password": PASSWORD}))
    assert "Who can: Zhao Min" in words(approved)

    path = f"/trials/SIRIUS/lists/{commitment_of(specified, 'SIRIUS-K3')}/"
    receipt = manager.follow(manager.send(path + "activate", {"password": PASSWORD}))
    assert "List activated" in words(receipt)

    with specified.store.transaction() as tx:
        signed = tx.session.execute(
            select(Signature.printed_name, Signature.meaning).where(Signature.object_id == "SIRIUS-K3")
        ).all()
        kits = tx.session.scalars(select(Kit.state).where(Kit.number.startswith("M"))).all()
    assert [tuple(row) for row in signed] == [
        ("Chen Lihua", "I generated this list"),
        ("Marta Novak", "I checked this list and approve it"),
        ("Zhao Min", "I activate this list"),
    ]
    assert kits == ["packed"] * 40


def test_a_tape_is_made_and_looked_at_on_the_same_pages(database_url: str, tmp_path: Path) -> None:
    with World.make(database_url, tmp_path, sites=("CN02",), restricted=MINIMISED, plans=()) as world:
        first, second, manager = (desk(world, name) for name in ("statistician.one", "statistician.two", "manager"))

        compared = words(first.open("/trials/SIRIUS/lists/design"))
        assert "Minimisation by range with probability 4/5, weights SLEDAI 2, STEROID 1, site 1" in compared
        review = first.send("/trials/SIRIUS/lists/specify?plan=SIRIUS-R1", SPECIFIED | {"confirmed": "yes"}, 200)
        assert "148 a tape for the whole trial" in words(review.text)
        specified = words(first.follow(first.go_on(review, {"password": PASSWORD})))
        assert "Strata none: a tape for the whole trial" in specified
        first.send("/trials/SIRIUS/lists/generate?plan=SIRIUS-R1", {"password": PASSWORD})
        approval = words(second.open("/trials/SIRIUS/lists/SIRIUS-R1/approve"))
        assert "A tape holds words and no arms" in approval
        assert "The whole trial 148 – –" in approval
        second.send("/trials/SIRIUS/lists/SIRIUS-R1/approve", {"password": PASSWORD})
        path = f"/trials/SIRIUS/lists/{commitment_of(world, 'SIRIUS-R1')}/"
        receipt = manager.follow(manager.send(path + "activate", {"password": PASSWORD}))

        assert "The whole trial: 148" in words(receipt)
        assert "rts/tape/1" in words(receipt)


IMPORT = f"/trials/SIRIUS/lists/import?plan={PLAN}"


@pytest.fixture
def elsewhere(database_url: str, tmp_path: Path) -> Iterator[World]:
    """SIRIUS with its subject list planned as one that is made elsewhere, not yet specified."""
    public, restricted = definition_texts()
    with World.make(database_url, tmp_path, sites=("CN02",), public=public, restricted=restricted, plans=()) as made:
        yield made


def sent(content: bytes = GOOD, name: str = "sirius_final.csv", **changed: str) -> dict[str, object]:
    facts = {"digest": sha256(content).hexdigest(), "rows": "43", "password": PASSWORD}
    return {**facts, "file": (io.BytesIO(content), name), **changed}


def test_a_list_made_elsewhere_is_sent_checked_approved_and_activated(elsewhere: World) -> None:
    first, second, manager = (desk(elsewhere, name) for name in ("statistician.one", "statistician.two", "manager"))
    assert "not yet specified" in words(first.open(IMPORT))
    review = first.send(f"/trials/SIRIUS/lists/specify?plan={PLAN}", SPECIFIED, 200)
    assert "at least 40 4 strata" in words(review.text)
    specified = words(first.follow(first.go_on(review, {"password": PASSWORD})))
    assert "Entries in each stratum at least 10" in specified
    assert "Import the list" in specified
    assert "This list is made elsewhere" in words(first.open(f"/trials/SIRIUS/lists/generate?plan={PLAN}"))

    page = words(first.open(IMPORT))
    assert "Permuted blocks of 4, 6 made elsewhere, and imported" in page
    receipt = words(first.follow(first.send(IMPORT, sent())))
    assert "List imported and sealed" in receipt
    assert "rts/imported/1" in receipt
    assert "A list stands for this plan" in words(first.open(IMPORT))
    approval = words(second.open(f"/trials/SIRIUS/lists/{PLAN}/approve"))
    assert "Every check passed" in approval
    assert f"File sirius_final.csv SHA-256 {sha256(GOOD).hexdigest()[:32]}" in approval.replace("\u200b", "")
    second.send(f"/trials/SIRIUS/lists/{PLAN}/approve", {"password": PASSWORD})
    path = f"/trials/SIRIUS/lists/{commitment_of(elsewhere, PLAN)}/"
    activation = manager.open(path + "activate")
    assert "Imported by Chen Lihua" in words(activation)
    assert "sirius_final" not in activation
    assert "List activated" in words(manager.follow(manager.send(path + "activate", {"password": PASSWORD})))


def test_a_file_with_mistakes_comes_back_with_each_by_its_line_and_no_cell(elsewhere: World) -> None:
    elsewhere.stage.specify(PLAN)
    first = desk(elsewhere, "statistician.one")
    wrong = GOOD.replace(b"KILDU", b"CANARY", 1).replace(b"SLEDAI-LOW.STEROID-LOW,2,", b"SLEDAI-LOW.STEROID-LOW,x,", 1)

    answer = first.send(IMPORT, sent(wrong), 422)

    told = words(answer.text)
    assert "line 2: arm is none of the definition's" in told
    assert "line 3: position must be a whole number from 1" in told
    assert "Choose the file again: it was not kept." in told
    assert "CANARY" not in answer.text
    assert 'value="43"' in answer.text
    assert kit_list(elsewhere, PLAN) is None
    links = [link["href"] for link in BeautifulSoup(answer.text, "html.parser").select(".summary a, [role=alert] a")]
    assert links == ["#f-file"] * 2


@pytest.mark.parametrize(
    ("changed", "status", "expected"),
    [
        ({"name": ""}, 422, "Choose the file of the list."),
        ({"digest": ""}, 422, "Give the SHA-256 of the file"),
        ({"digest": "0" * 64}, 422, "The file is not the one announced"),
        ({"rows": "many"}, 422, "Give a whole number."),
        ({"rows": "44"}, 422, "The file has 43 rows, not the 44 announced."),
        ({"password": "not mine"}, 403, "password"),
    ],
)
def test_a_list_is_not_imported_unless_it_is_the_one_announced(
    elsewhere: World, changed: dict[str, str], status: int, expected: str
) -> None:
    elsewhere.stage.specify(PLAN)
    first = desk(elsewhere, "statistician.one")

    answer = first.send(IMPORT, sent(**changed), status)

    assert expected in words(answer.text)
    assert kit_list(elsewhere, PLAN) is None


def test_a_list_to_be_generated_has_no_page_to_import_it(specified: World) -> None:
    first, manager = desk(specified, "statistician.one"), desk(specified, "manager")

    for plan in ("SIRIUS-K3", PLAN, "NONE"):
        answer = first.client.get(f"/trials/SIRIUS/lists/import?plan={plan}")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/trials/SIRIUS/lists/")
    manager.open(IMPORT, 403)


@pytest.mark.requirement("BLIND-01")
def test_a_file_that_is_sent_never_touches_the_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a temporary file was made")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    monkeypatch.setattr(formparser, "SpooledTemporaryFile", refuse)
    large = b"stratum" * 200_000
    head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="list.csv"\r\n\r\n'
    body = head + large + b"\r\n--cut--\r\n"

    sending = {"input_stream": io.BytesIO(body), "content_length": len(body)}
    with create_app(world.store).test_request_context(
        method="POST", content_type="multipart/form-data; boundary=cut", **sending
    ):
        assert request.files["file"].read() == large


COMPARE = "/trials/SIRIUS/lists/design"
MINIMISATION = "Minimisation by range with probability 4/5, weights SLEDAI 1, STEROID 1, site 1"
on_sqlite = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)


def figures_of(page: str, table: str) -> dict[str, list[str]]:
    """The cells of a table of the comparison by procedure; the first row is that of the numbers of strata."""
    found = BeautifulSoup(page, "html.parser").select_one(f"[aria-labelledby={table}] table")
    rows = [[" ".join(cell.text.split()) for cell in row.find_all(["th", "td"])] for row in found.find_all("tr")]
    return {row[1].removesuffix(" planned"): row[2:] for row in rows}


@on_sqlite
def test_procedures_are_compared_and_minimisation_beside_them_with_standard_errors(world: World) -> None:
    page = desk(world, "statistician.one").open(COMPARE)

    figures, strata = figures_of(page, "designs-caption"), figures_of(page, "strata-caption")
    assert strata["Procedure"] == ["1", "2", "4 this trial", "8", "16", "32", "64"]
    # As published for 146 subjects.
    assert strata["Permuted blocks of 4"] == ["1.15", "1.29", "1.83", "2.58", "3.65", "5.16", "7.50"]
    assert ["±" in cell for cell in figures[MINIMISATION]] == [True, True, True, True, True, True, False]
    assert strata[MINIMISATION] == [figures[MINIMISATION][4]]
    assert not any("±" in cell for cell in figures["Permuted blocks of 4"])
    assert len(strata) == len(figures) == 13


@on_sqlite
def test_minimisation_of_ones_own_is_compared_with_the_weights_asked_for(world: World) -> None:
    first = desk(world, "statistician.one")

    asked = f"{COMPARE}?procedure=minimisation&metric=variance&probability=0.9&weights="
    weighed = figures_of(first.open(f"{asked}SLEDAI+2,+site+1"), "designs-caption")
    all_alike = figures_of(first.open(asked), "designs-caption")

    assert "Minimisation by variance with probability 9/10, weights SLEDAI 2, site 1" in weighed
    assert "Minimisation by variance with probability 9/10, weights SLEDAI 1, STEROID 1, site 1" in all_alike


@on_sqlite
@pytest.mark.parametrize(
    ("field", "entered", "says"),
    [
        *(
            ("weights", weights, "The factors are SLEDAI, STEROID, site.")
            for weights in ("age 1", "SLEDAI", "SLEDAI x", "SLEDAI 1; site 1", "SLEDAI 1,", "SLEDAI 1, SLEDAI 2")
        ),
        ("weights", "SLEDAI 0", "must be between 1 and"),
        ("probability", "1", "less than 1"),
        ("metric", "", "must be one of range, variance"),
    ],
)
def test_minimisation_that_cannot_be_is_refused_at_its_field(world: World, field: str, entered: str, says: str) -> None:
    query = {"procedure": "minimisation", "metric": "range", "probability": "4/5", "weights": "site 1", field: entered}

    answer = desk(world, "statistician.one").client.get(COMPARE, query_string=query)

    page = BeautifulSoup(answer.text, "html.parser")
    assert answer.status_code == 422
    assert says in page.select_one(f"#f-{field}-error").text
    assert MINIMISATION in figures_of(answer.text, "designs-caption")


def test_a_wrong_password_signs_nothing_and_keeps_the_page(specified: World) -> None:
    first = desk(specified, "statistician.one")

    page = first.send(GENERATE, {"password": "not my password"}, status=403)

    assert "Error:" in page.text
    assert "SIRIUS-K3 · Kit list, prefix M" in words(page.text)
    assert "not my password" not in page.text
    assert kit_list(specified) is None


def test_the_person_who_generated_a_list_cannot_approve_it(specified: World) -> None:
    first = desk(specified, "statistician.one")
    first.send(GENERATE, {"password": PASSWORD})

    page = words(first.open("/trials/SIRIUS/lists/SIRIUS-K3/approve"))

    assert "You cannot do this now" in page
    assert "Who can take it on: Marta Novak" in page
    assert "Approve list" not in page


def test_a_withdrawn_list_says_why_and_the_next_one_shows_that_it_is_the_second(specified: World) -> None:
    first = desk(specified, "statistician.one")
    first.send(GENERATE, {"password": PASSWORD})
    path = "/trials/SIRIUS/lists/SIRIUS-K3/withdraw"

    empty = first.send(path, {"reason": " "}, status=422)
    assert "Give the reason." in words(empty.text)
    review = first.send(path, {"reason": "Quantities were agreed anew"}, status=200)
    assert "Quantities were agreed anew" in words(review.text)
    assert kit_list(specified).state == "generated"  # type: ignore[union-attr]
    receipt = words(first.follow(first.go_on(review)))

    assert "List withdrawn" in receipt
    assert "Reason: Quantities were agreed anew" in receipt
    again = words(first.open(GENERATE))
    assert "A list was generated for this plan 1 time before" in again
    second = words(first.follow(first.send(GENERATE, {"password": PASSWORD})))
    assert "SIRIUS-K3-2 · Kit list, prefix M" in second
    assert "Generation for this plan 2" in second


def test_a_blinded_manager_knows_lists_by_kind_prefix_and_commitment_only(planned: World) -> None:
    manager = desk(planned, "manager")
    path = f"/trials/SIRIUS/lists/{commitment_of(planned, 'SIRIUS-R1')}/"

    overview, page = manager.open("/trials/SIRIUS/lists/"), manager.open(path)

    assert "Subject list, prefix R" in words(overview)
    assert path in overview
    for text in (overview, page, manager.open(path + "activate")):
        assert not [code for code in ("SIRIUS-R1", "SIRIUS-K1", "SIRIUS-K3", *CODES) if code in text]


@pytest.mark.parametrize("page", ["quality", "approve", "withdraw"])
def test_a_blinded_manager_opens_no_page_of_the_unblinded(world: World, page: str) -> None:
    manager = desk(world, "manager")
    path = f"/trials/SIRIUS/lists/{commitment_of(world, 'SIRIUS-R1')}/{page}"

    assert manager.client.get(path).status_code == 403
    assert world.events("list.reviewed") == 0


def test_a_manager_saves_the_certificate_of_a_list(world: World) -> None:
    manager = desk(world, "manager")
    path = f"/trials/SIRIUS/lists/{commitment_of(world, 'SIRIUS-R1')}/"
    assert f"{path}certificate.pdf" in manager.open(path)

    answer = manager.client.get(f"{path}certificate.pdf")

    assert (answer.status_code, answer.mimetype) == (200, "application/pdf")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="SIRIUS-R-certificate.pdf"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert commitment_of(world, "SIRIUS-R1") in words_in(answer.data)
    assert world.events("list.certificate_issued") == 1


UNBLINDED_DOCUMENTS = ("generation-report.pdf", "approval-record.pdf", "annex.pdf")


def test_a_statistician_saves_every_document_about_a_list(world: World) -> None:
    first = desk(world, "statistician.one")
    path = "/trials/SIRIUS/lists/SIRIUS-R1/"
    page = BeautifulSoup(first.open(path), "html.parser")
    links = [link["href"] for link in page.select("main a[href$='.pdf']")]
    specification = next(link["href"] for link in page.select("main a[href*='/specifications/']"))
    links += [
        link["href"] for link in BeautifulSoup(first.open(specification), "html.parser").select("a[href$='.pdf']")
    ]

    assert links == [
        *(f"{path}{name}" for name in ("certificate.pdf", *UNBLINDED_DOCUMENTS)),
        f"{specification}specification.pdf",
    ]
    for link in links:
        answer = first.client.get(link)
        assert (answer.status_code, answer.mimetype) == (200, "application/pdf")
    assert (world.events("list.certificate_issued"), world.events("list.document_issued")) == (1, 4)


def test_a_list_that_waits_for_its_approval_offers_no_record_of_it(specified: World) -> None:
    first = desk(specified, "statistician.one")
    first.send(GENERATE, {"password": PASSWORD})
    path = "/trials/SIRIUS/lists/SIRIUS-K3/"

    assert "approval-record.pdf" not in first.open(path)
    assert "has not been approved" in first.open(f"{path}approval-record.pdf", 409)


@pytest.mark.requirement("LIST-03")
def test_a_blinded_manager_gets_no_unblinded_document(world: World) -> None:
    manager = desk(world, "manager")
    path = f"/trials/SIRIUS/lists/{commitment_of(world, 'SIRIUS-R1')}/"
    found = kit_list(world, "SIRIUS-R1")
    assert found is not None
    with world.store.transaction() as tx:
        digest = tx.session.get_one(ListSpecification, found.specification_id).digest
    documents = [f"{path}{name}" for name in UNBLINDED_DOCUMENTS]
    documents.append(f"/trials/SIRIUS/lists/specifications/{digest}/specification.pdf")

    page = manager.open(path)

    for document in documents:
        assert document not in page
        manager.open(document, 403)
    assert world.events("list.document_issued") == 0


def test_the_certificate_speaks_the_language_of_the_reader(world: World) -> None:
    manager = desk(world, "manager")
    path = f"/trials/SIRIUS/lists/{commitment_of(world, 'SIRIUS-R1')}/"
    manager.post("/language", {"csrf_token": token_in(manager.client.get(path)), "language": "zh_Hans"}, 303)

    answer = manager.client.get(f"{path}certificate.pdf")

    assert "列表证明" in words_in(answer.data)


def test_every_look_at_the_figures_of_a_list_is_on_the_trail(world: World) -> None:
    statistician = desk(world, "statistician.two")

    page = words(statistician.open("/trials/SIRIUS/lists/SIRIUS-R1/quality"))

    assert re.search(r"SLEDAI-LOW\.STEROID-LOW 148 7\d 7\d \d+ \d ", page)
    assert world.events("list.reviewed") == 1


def test_an_altered_list_file_is_shown_as_such(world: World) -> None:
    file = world.store.lists / "SIRIUS" / "SIRIUS-R1.rtslist"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)

    page = words(desk(world, "manager").open(f"/trials/SIRIUS/lists/{commitment_of(world, 'SIRIUS-R1')}/"))

    assert "The sealed file is not as it was sealed" in page
