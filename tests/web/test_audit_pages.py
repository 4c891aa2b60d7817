"""The audit trail over HTTP: filters, events, exports, and nothing of what is sealed."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from hashlib import sha256

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import select, text

from rts.app import create_app
from rts.conduct.activating_lists import ActivateList, activate_list
from rts.conduct.approving_lists import ApproveList, approve_list
from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.perform import perform
from rts.conduct.reading_sealed import ReadSealedDetail, read_sealed_detail
from rts.conduct.retiring_lists import WithdrawList, withdraw_list
from rts.conduct.reviewing_lists import ReviewList, review_list
from rts.refusal import Refusal
from rts.reports.audit_trail import Wanted, trail
from rts.store.audit_export import export_lines
from rts.store.audit_verification import SEALED_ACTIONS
from rts.store.checks import run_checks
from rts.store.tables import AuditDetail, AuditEvent, ListFile
from rts.trial.reading import read_definition, read_restricted
from rts.trial.shipped import shipped_definition
from rts.web.saving import safe_cell
from tests.web.doors import Person as At
from tests.web.doors import token_in, words_of
from tests.world import World


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.store)


def number_of(world: World, action: str) -> int:
    with world.store.transaction() as tx:
        statement = select(AuditEvent.number).where(AuditEvent.action == action).order_by(AuditEvent.id.desc())
        return tx.session.scalars(statement).first() or 0


@pytest.mark.requirement("AUD-05")
def test_filters_find_what_a_subject_a_kit_and_a_person_were_part_of(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    kit = world.dispense(subject)
    auditor = At(app).sign_in("auditor")

    def found(query: str) -> list[str]:
        exported = auditor.get(f"/trials/SIRIUS/audit/export.jsonl?{query}")
        return [json.loads(line)["action"] for line in exported.text.splitlines()]

    assert found(f"subject={subject}&action=subject.randomised") == ["subject.randomised"]
    assert found(f"kit={kit.lower()}")[:2] == ["kit.dispensed", "subject.randomised"]
    assert set(found("actor=pharmacist.cn02")) == {"shipment.received", "kit.dispensed"}
    assert set(found("site=CN03")) & {"subject.randomised", "kit.dispensed"} == set()
    assert found("since=2026-01-09&until=2026-01-09") == []
    assert found("since=2026-01-08&until=2026-01-08&action=kit.dispensed") == ["kit.dispensed"]


def test_a_date_that_is_none_is_told(app: Flask) -> None:
    answer = At(app).sign_in("auditor").get("/trials/SIRIUS/audit/?since=yesterday")

    assert answer.status_code == 422
    assert "year-month-day" in words_of(answer)


@pytest.mark.requirement("AUD-06")
def test_a_sealed_event_looks_like_one_with_nothing_to_tell(world: World, app: Flask) -> None:
    world.randomise("CN02")
    auditor = At(app).sign_in("auditor")

    page = auditor.get(f"/trials/SIRIUS/audit/{number_of(world, 'allocation.taken')}")

    assert "No further detail." in words_of(page)
    assert "sealed" not in page.text.lower()
    assert "full record" not in words_of(page)


def test_every_kind_that_is_ever_sealed_is_never_shown_in_detail(world: World) -> None:
    world.dispense(world.randomise("CN02"))
    world.night()

    with world.store.transaction() as tx:
        sealed = set(
            tx.session.scalars(
                select(AuditEvent.action)
                .join(AuditDetail, AuditDetail.event_id == AuditEvent.id)
                .where(AuditDetail.detail_box.is_not(None))
            )
        )

    assert sealed
    assert sealed <= SEALED_ACTIONS


def test_a_refusal_tells_blinded_readers_no_rule(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    with pytest.raises(Refusal):
        world.do(read_sealed_detail, "auditor", ReadSealedDetail("SIRIUS", 1))
    assert subject

    with world.store.transaction() as tx:
        rows = trail(tx, tx.trial("SIRIUS"), Wanted(action="refused")).rows

    assert [row.detail for row in rows] == [None]


@pytest.mark.requirement("AUD-06")
def test_no_page_of_the_trail_names_a_list_a_kit_type_or_an_arm(world: World, app: Flask) -> None:
    world.dispense(world.randomise("CN02"))
    definition = read_definition(shipped_definition("sirius")[0])
    restricted = read_restricted(shipped_definition("sirius")[1], definition)
    with world.store.transaction() as tx:
        words = set(tx.session.scalars(select(ListFile.list_id)))
        last = trail(tx, tx.trial("SIRIUS"), Wanted()).count
    words |= {arm.code for arm in restricted.arms} | {kit_type.code for kit_type in restricted.kit_types}
    auditor = At(app).sign_in("auditor")

    urls = ["/trials/SIRIUS/audit/", "/trials/SIRIUS/audit/export.csv", "/trials/SIRIUS/audit/export.jsonl"]
    pages = [auditor.get(url).text for url in [*urls, *(f"/trials/SIRIUS/audit/{n}" for n in range(1, last + 1))]]

    assert last > 20
    assert [word for word in words if any(f"{word}" in page for page in pages)] == []


def test_an_unblinded_person_reads_the_full_record_and_each_reading_is_recorded(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    number = number_of(world, "allocation.taken")
    statistician = At(app).sign_in("statistician.one")
    url = f"/trials/SIRIUS/audit/{number}"
    token = token_in(statistician.get(url))

    opened = statistician.client.post(f"{url}/full", data={"csrf_token": token})

    assert opened.status_code == 200
    assert "Position" in words_of(opened)
    assert opened.headers["Cache-Control"] == "no-store"
    assert world.events("detail.opened") == 1
    assert "Position" not in words_of(statistician.get(url))
    assert subject in words_of(opened)


def test_reading_a_plain_event_in_full_leaves_the_same_trace(world: World) -> None:
    statistician = world.who("statistician.one")
    perform(world.store, read_sealed_detail, statistician, ReadSealedDetail("SIRIUS", 1))

    with world.store.transaction() as tx:
        row = trail(tx, tx.trial("SIRIUS"), Wanted(action="detail.opened")).rows[0]
    assert (row.object_type, row.object_id, row.detail) == ("event", "1", None)


@pytest.mark.requirement("AUD-06")
def test_a_blinded_person_cannot_read_a_record_in_full(world: World, app: Flask) -> None:
    world.randomise("CN02")
    auditor = At(app).sign_in("auditor")
    url = f"/trials/SIRIUS/audit/{number_of(world, 'allocation.taken')}"

    answer = auditor.client.post(f"{url}/full", data={"csrf_token": token_in(auditor.get(url))})

    assert answer.status_code == 403
    assert world.events("detail.opened") == 0


def test_the_export_holds_the_rows_of_the_page(world: World, app: Flask) -> None:
    world.randomise("CN02")
    auditor = At(app).sign_in("auditor")

    exported = auditor.get("/trials/SIRIUS/audit/export.csv?site=CN02")

    rows = list(csv.DictReader(io.StringIO(exported.text)))
    with world.store.transaction() as tx:
        shown = trail(tx, tx.trial("SIRIUS"), Wanted(site="CN02")).rows
    assert [int(row["number"]) for row in rows] == [row.number for row in shown]
    assert rows[0]["at"].endswith("Z")
    assert exported.headers["Content-Disposition"] == 'attachment; filename="audit-SIRIUS.csv"'


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_cell_is_never_a_formula(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert safe_cell(f"a{text}") == f"a{text}"


def test_the_trail_goes_on_page_by_page(world: World, app: Flask) -> None:
    with world.store.transaction() as tx:
        trial = tx.trial("SIRIUS")
        first = trail(tx, trial, Wanted(), limit=10)
        second = trail(tx, trial, Wanted(), before=first.before, limit=10)

    assert [row.number for row in first.rows] == list(range(first.count, first.count - 10, -1))
    assert second.rows[0].number == first.rows[-1].number - 1


def test_the_administrator_signs_checkpoints_and_the_auditor_sees_the_trials(world: World, app: Flask) -> None:
    administrator = At(app).sign_in("administrator")
    token = token_in(administrator.get("/system/audit/checkpoints"))

    made = administrator.client.post("/system/audit/checkpoints", data={"csrf_token": token, "idempotency_key": "1"})

    assert made.status_code == 303
    assert "rts/audit/1/" in administrator.get("/system/audit/checkpoints").text
    assert "rts/audit/1/" in At(app).sign_in("auditor").get("/trials/SIRIUS/audit/checkpoints").text


# --- names of lists --------------------------------------------------------------------------------------------------


def exported(world: World) -> str:
    """The whole trail as an auditor is handed it (`rts audit export`)."""
    with world.store.transaction() as tx:
        return "".join(export_lines(tx, tx.trial("SIRIUS")))


def commitments(world: World) -> dict[str, str]:
    with world.store.transaction() as tx:
        return {found.list_id: found.commitment for found in tx.session.scalars(select(ListFile))}


@pytest.mark.requirement("BLIND-01")
@pytest.mark.requirement("AUD-06")
def test_the_exported_trail_names_lists_by_their_commitments_alone(world: World) -> None:
    with world.store.transaction(write=True) as tx:
        tx.session.execute(text("UPDATE list_file SET state = 'withdrawn' WHERE list_id = 'SIRIUS-R1'"))
    one, two, manager = "statistician.one", "statistician.two", "manager"
    world.do(generate_list, one, GenerateList("SIRIUS", "SIRIUS-R1"), sign=True)
    world.do(review_list, one, ReviewList("SIRIUS", "SIRIUS-R1-2"))
    refused = (
        (approve_list, one, ApproveList("SIRIUS", "SIRIUS-R1-2")),  # her own
        (activate_list, manager, ActivateList("SIRIUS", "SIRIUS-R1-2")),  # not yet approved
        (activate_list, manager, ActivateList("SIRIUS", "SIRIUS-R7")),  # a slip of the pen
        (generate_list, one, GenerateList("SIRIUS", "SIRIUS-R8")),
    )
    for deed, who, command in refused:
        with pytest.raises(Refusal):
            world.do(deed, who, command, sign=True)
    world.do(approve_list, two, ApproveList("SIRIUS", "SIRIUS-R1-2"), sign=True)
    world.do(withdraw_list, one, WithdrawList("SIRIUS", "SIRIUS-R1-2", "a better one follows"))

    trail_text = exported(world)

    named = commitments(world)
    assert len(named) == 4
    assert [name for name in named if name in trail_text] == []
    assert "SIRIUS-R" not in trail_text
    events = [json.loads(line) for line in trail_text.splitlines()[1:]]
    about = [(event["action"], event["object"]["id"]) for event in events if event["object"]["type"] == "list"]
    made = named["SIRIUS-R1-2"]
    assert about[-6:] == [
        ("list.generated", made),
        ("list.reviewed", made),
        ("refused", made),
        ("refused", made),
        ("list.approved", made),
        ("list.withdrawn", made),
    ]
    assert [event["object"] for event in events if event["action"] == "refused"][2:] == [
        {"type": "deed", "id": "activate_list"},
        {"type": "deed", "id": "generate_list"},
    ]
    # The signatures are of records with the ids, and sound; it was this test that took the first list out of use.
    assert {found.rule for found in run_checks(world.store)} == {"list.not_active"}


def test_events_of_an_earlier_version_still_verify_and_show_no_list_id(world: World, app: Flask) -> None:
    """They name a list by its id, in what their hash covers: the trail stays, and pages show the commitment."""
    manager, trial_code = world.who("manager"), "SIRIUS"
    with world.store.transaction(write=True) as tx:
        trial = tx.trial(trial_code)
        tx.act_as(manager, "trial_manager")
        tx.audit("list.withdrawn", "deed", "x", {"list": "SIRIUS-R1", "reason": "a mistake"}, trial=trial)
        tx._events[-1] = replace(
            tx._events[-1], object_type="list", object_id="SIRIUS-R1", mentions=(("list", "SIRIUS-R1"),)
        )
        tx.session.execute(text("UPDATE list_file SET state = 'withdrawn' WHERE list_id = 'SIRIUS-R1'"))
    number = number_of(world, "list.withdrawn")
    short = commitments(world)["SIRIUS-R1"][:12]

    page = At(app).sign_in("auditor").get(f"/trials/SIRIUS/audit/{number}")
    line = At(app).sign_in("auditor").get("/trials/SIRIUS/audit/export.jsonl?action=list.withdrawn").text
    history = At(app).sign_in("statistician.one").get("/trials/SIRIUS/lists/SIRIUS-R1/")

    assert short in page.text.replace('<span class="trio">', "").replace("</span>", "")
    assert "SIRIUS-R1" not in page.text
    assert (json.loads(line)["object_id"], "SIRIUS-R1" in line) == (short, False)
    assert "a mistake" in words_of(history)
    assert "SIRIUS-R1" in exported(world)
    assert {found.rule for found in run_checks(world.store)} == {"list.not_active"}


@pytest.mark.parametrize("person", ["auditor", "manager", "statistician.one"])
def test_the_trial_export_is_saved_from_the_trail_by_whoever_reads_it(world: World, app: Flask, person: str) -> None:
    subject = world.randomise("CN02")
    reader = At(app).sign_in(person)
    page = reader.get("/trials/SIRIUS/audit/")
    form = BeautifulSoup(page.text, "html.parser").select_one("form[action$=trial-export]")
    assert form is not None

    answer = reader.client.post(str(form["action"]), data={"csrf_token": token_in(page)})

    exported = json.loads(answer.text)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert [one["code"] for one in exported["subjects"]] == [subject]
    event, detail = world.last_event("trial.exported")
    assert (event.actor, detail and detail["digest"]) == (person, sha256(answer.data).hexdigest())
