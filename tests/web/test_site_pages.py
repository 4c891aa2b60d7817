"""The investigator and the pharmacist at work over HTTP, from screening to the end of treatment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import event, func, select
from werkzeug.test import TestResponse

from rts.app import create_app
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.store.tables import AuditEvent, Dispensing, Kit, Person, Shipment, Signature, Subject
from tests.web.doors import Person as At
from tests.web.doors import hidden_fields, words_of
from tests.world import PASSWORD, World

T = "/trials/SIRIUS"
HOME = f"{T}/sites/CN02/"


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.store)


@pytest.fixture
def investigator(app: Flask) -> At:
    return At(app).sign_in("investigator.cn02")


@pytest.fixture
def pharmacist(app: Flask) -> At:
    return At(app).sign_in("pharmacist.cn02")


def go_on(person: At, answer: TestResponse, **entered: Any) -> TestResponse:
    """Send the form of the page in `answer`, with what stands in it and what is typed."""
    return person.client.post(answer.request.path, data=hidden_fields(answer) | entered)


def follow(person: At, answer: TestResponse) -> TestResponse:
    assert answer.status_code == 303, words_of(answer)
    return person.get(answer.headers["Location"])


def checklist(world: World, **changed: str) -> dict[str, str]:
    answers = {f"answers.{code}": "yes" if answer else "no" for code, answer in world.answers().items()}
    return answers | {"values.SLEDAI": "12", "values.STEROID": "7,5"} | changed


def tasks(page: TestResponse) -> list[tuple[str, str]]:
    """The tasks of a first page: what, and where it leads."""
    links = BeautifulSoup(page.text, "html5lib").select(".task-link")
    return [(link.get_text(), str(link["href"])) for link in links]


def row(world: World, statement: Any) -> Any:
    with world.store.transaction() as tx:
        return tx.session.scalars(statement).one()


def number_of(world: World, subject: str) -> str:
    return str(row(world, select(Subject).where(Subject.code == subject)).randomisation_number)


def count(world: World, table: Any, *conditions: Any) -> int:
    with world.store.transaction() as tx:
        return tx.session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


# --- screening -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("RAND-06")
def test_a_person_is_screened_after_a_review_and_gets_a_code(world: World, investigator: At) -> None:
    url = f"{T}/sites/CN02/subjects/screen"
    today = (world.clock.now() + timedelta(hours=8)).date().isoformat()

    review = investigator.post(url, consent_on=today, year_of_birth="1980", sex="female")
    assert review.status_code == 200
    assert "This will be recorded" in words_of(review)
    assert count(world, Subject) == 0

    page = follow(investigator, go_on(investigator, review))

    assert "Subject CN02-001" in words_of(page)
    assert "In screening" in words_of(page)
    found = row(world, select(Subject))
    assert (found.code, found.year_of_birth, found.sex, found.consent_on.isoformat()) == (
        "CN02-001",
        1980,
        "female",
        today,
    )


def test_mistakes_at_screening_are_named_by_field_and_nothing_typed_is_lost(world: World, investigator: At) -> None:
    answer = investigator.post(f"{T}/sites/CN02/subjects/screen", consent_on="2026-02-30", year_of_birth="1980")

    assert answer.status_code == 422
    page = BeautifulSoup(answer.text, "html5lib")
    assert [link["href"] for link in page.select(".errors a")] == ["#f-consent_on", "#f-sex"]
    assert page.select_one("#f-consent_on")["value"] == "2026-02-30"
    assert page.select_one("#f-year_of_birth")["value"] == "1980"
    assert count(world, Subject) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"consent_on": "2026-02-01"}, "The date of consent is not after today (2026-01-08)."),
        ({"consent_on": "2023-12-31"}, "The date of consent is more than two years ago."),
        ({"year_of_birth": "80"}, "The year of birth has four digits and is in the past."),
        ({"previous": "CN02-009"}, "A person is screened again under the code of their last failed screening."),
    ],
)
def test_the_review_of_a_screening_promises_nothing_that_is_then_refused(
    world: World, investigator: At, changes: dict[str, str], said: str
) -> None:
    entered = {"consent_on": "2026-01-08", "year_of_birth": "1980", "sex": "female"} | changes

    answer = investigator.post(f"{T}/sites/CN02/subjects/screen", **entered)

    assert answer.status_code == 422
    assert said in words_of(answer)
    assert "This will be recorded" not in words_of(answer)
    assert count(world, Subject) == 0


def test_a_look_alike_is_asked_about_only_when_there_is_one(world: World, investigator: At) -> None:
    world.screen("CN02")
    url = f"{T}/sites/CN02/subjects/screen"
    today = (world.clock.now() + timedelta(hours=8)).date().isoformat()
    entered = {"consent_on": today, "year_of_birth": "1980", "sex": "female"}
    assert "is_new_person" not in investigator.get(url).text

    refused = investigator.post(url, **entered)

    assert refused.status_code == 409
    assert "This will be recorded" not in words_of(refused)
    assert "CN02-001" in words_of(refused)
    assert BeautifulSoup(refused.text, "html5lib").select_one("#f-is_new_person") is not None
    assert count(world, Subject) == 1

    review = go_on(investigator, refused, **entered, is_new_person="yes")
    follow(investigator, go_on(investigator, review))
    assert count(world, Subject) == 2


def test_a_screening_failure_needs_a_reason_and_ends_the_screening(world: World, investigator: At) -> None:
    subject = world.screen("CN02")
    url = f"{T}/subjects/{subject}/screening-failure"

    without = investigator.post(url)
    assert without.status_code == 422
    assert row(world, select(Subject)).state == "screened"

    review = investigator.post(url, reason="E10: infection")
    page = follow(investigator, go_on(investigator, review))

    assert "Screening failed" in words_of(page)
    assert row(world, select(Subject)).end_reason == "E10: infection"


# --- randomisation -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("RAND-01")
def test_a_subject_is_randomised_after_a_review_by_a_signature(world: World, investigator: At) -> None:
    subject = world.screen("CN02")
    review = investigator.post(f"{T}/subjects/{subject}/randomise", **checklist(world))
    words = words_of(review)
    assert "Level for stratification: 10 or more" in words
    assert "Level for stratification: below 10 mg/day" in words
    assert "7.5 mg/day" in words
    assert count(world, Signature, Signature.object_type == "randomisation") == 0

    page = follow(investigator, go_on(investigator, review, password=PASSWORD))

    words = words_of(page)
    number = number_of(world, subject)
    kit = world.kit_for(subject, "W0")
    shipment = row(world, select(Shipment).join(Kit, Kit.shipment_id == Shipment.id).where(Kit.number == kit))
    codes = [code.get_text() for code in BeautifulSoup(page.text, "html5lib").select(".receipt-numbers .code")]
    assert codes == [subject, number, kit]
    assert f"Site pharmacy · shipment {shipment.number}" in words
    assert "UTC+8" in words
    assert row(world, select(Person).where(Person.username == "investigator.cn02")).printed_name in words
    assert f"DataMatrix {kit}" in page.text


@pytest.mark.requirement("RAND-05")
def test_a_double_click_randomises_once_and_gives_the_same_answer(world: World, investigator: At) -> None:
    subject = world.screen("CN02")
    review = investigator.post(f"{T}/subjects/{subject}/randomise", **checklist(world))
    form = hidden_fields(review) | {"password": PASSWORD}

    first = investigator.client.post(review.request.path, data=form)
    second = investigator.client.post(review.request.path, data=form)

    assert first.status_code == second.status_code == 303
    assert first.headers["Location"] == second.headers["Location"]
    assert world.events("subject.randomised") == 1
    assert count(world, Dispensing) == 1


def test_a_wrong_password_keeps_the_review_and_randomises_nobody(world: World, investigator: At) -> None:
    subject = world.screen("CN02")
    review = investigator.post(f"{T}/subjects/{subject}/randomise", **checklist(world))

    refused = go_on(investigator, review, password="not this one")

    assert refused.status_code == 403
    assert "This will be recorded" in words_of(refused)
    assert "not this one" not in refused.text
    assert world.events("subject.randomised") == 0
    assert follow(investigator, go_on(investigator, refused, password=PASSWORD)).status_code == 200


def test_what_was_left_open_is_linked_to_its_field(world: World, investigator: At) -> None:
    subject = world.screen("CN02")
    entered = checklist(world) | {"values.SLEDAI": "", "values.STEROID": "7.55"}
    del entered["answers.E04"]

    answer = investigator.post(f"{T}/subjects/{subject}/randomise", **entered)

    assert answer.status_code == 422
    page = BeautifulSoup(answer.text, "html5lib")
    links = {str(link["href"])[1:] for link in page.select(".errors a")}
    assert links == {"f-answers.E04", "f-values.SLEDAI", "f-values.STEROID"}
    assert links <= {str(element["id"]) for element in page.select("[id]")}
    assert page.find(id="f-answers.I02").has_attr("checked")


@pytest.mark.requirement("RAND-01")
def test_every_failed_rule_is_listed_with_whom_to_call(world: World, investigator: At) -> None:
    subject = world.screen("CN02")

    refused = investigator.post(
        f"{T}/subjects/{subject}/randomise", **checklist(world) | {"answers.I02": "no", "answers.E04": "yes"}
    )

    assert refused.status_code == 409
    words = words_of(refused)
    assert "I02 not met" in words
    assert "E04 excludes" in words
    assert "Zhao Min" in words
    assert 'type="password"' not in refused.text
    assert row(world, select(Subject)).state == "screened"


def test_the_age_at_the_edge_is_confirmed_by_the_investigator(world: World, investigator: At) -> None:
    subject = world.screen("CN02", year_of_birth=2008)
    url = f"{T}/subjects/{subject}/randomise"

    unconfirmed = investigator.post(url, **checklist(world))
    assert unconfirmed.status_code == 422
    assert 'href="#f-edge_confirmed"' in unconfirmed.text

    review = investigator.post(url, **checklist(world), edge_confirmed="yes")
    assert "Met, confirmed by you at the edge of the limits" in words_of(review)
    follow(investigator, go_on(investigator, review, password=PASSWORD))
    assert row(world, select(Subject)).state == "randomised"


def test_an_age_that_no_birthday_makes_right_is_refused(world: World, investigator: At) -> None:
    subject = world.screen("CN02", year_of_birth=2012)
    form = investigator.get(f"{T}/subjects/{subject}/randomise")
    assert "Not met" in words_of(form)

    refused = investigator.post(f"{T}/subjects/{subject}/randomise", **checklist(world))

    assert refused.status_code == 409
    assert "I01 not met" in words_of(refused)
    assert row(world, select(Subject)).state == "screened"


# --- dispensing ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DISP-01")
def test_a_kit_is_handed_over_only_by_its_own_number(world: World, pharmacist: At) -> None:
    subject = world.randomise("CN02")
    kit = world.kit_for(subject, "W0")
    url = f"{T}/subjects/{subject}/visits/W0/"
    other = row(world, select(Kit).where(Kit.state == "available", Kit.site_id.is_not(None)).order_by(Kit.id).limit(1))

    mismatch = pharmacist.post(url, kit=other.number)
    assert mismatch.status_code == 409
    assert "This is another kit" in words_of(mismatch)
    assert row(world, select(Kit).where(Kit.number == kit)).state == "assigned"
    assert count(world, AuditEvent, AuditEvent.action == "refused") == 1

    receipt = follow(pharmacist, go_on(pharmacist, mismatch, kit=f" {kit[:3].lower()} {kit[3:]} "))

    assert "Kit handed over" in words_of(receipt)
    assert row(world, select(Kit).where(Kit.number == kit)).state == "dispensed"


@pytest.mark.requirement("DISP-07")
def test_a_visit_outside_its_window_asks_for_the_reason(world: World, pharmacist: At) -> None:
    subject = world.randomise("CN02")
    world.dispense(subject)
    world.clock.advance(timedelta(days=20))
    pharmacist.sign_in("pharmacist.cn02")
    url = f"{T}/subjects/{subject}/visits/W4/"

    without = pharmacist.post(url, window_reason="")
    assert without.status_code == 409
    assert 'href="#f-window_reason"' in without.text
    assert count(world, Dispensing, Dispensing.visit == "W4") == 0

    ready = follow(pharmacist, go_on(pharmacist, without, window_reason="Travels next week"))
    kit = world.kit_for(subject, "W4")
    assert kit in words_of(ready).replace(" ", "")
    assert "DataMatrix" not in ready.text  # a code on the screen could be scanned in place of the box
    receipt = follow(pharmacist, go_on(pharmacist, ready, kit=kit))
    assert "Travels next week" in words_of(receipt)


@pytest.mark.requirement("DISP-05")
def test_a_damaged_kit_is_replaced_by_another(world: World, pharmacist: At) -> None:
    subject = world.randomise("CN02")
    old = world.kit_for(subject, "W0")
    url = f"{T}/subjects/{subject}/visits/W0/replace/{old}"

    review = pharmacist.post(url, fate="damaged", reason="Dropped at the counter")
    assert world.kit_for(subject, "W0") == old
    page = follow(pharmacist, go_on(pharmacist, review))

    new = world.kit_for(subject, "W0")
    assert new != old
    assert new in words_of(page).replace(" ", "")
    assert "Dropped at the counter" in words_of(page)
    assert row(world, select(Kit).where(Kit.number == old)).state == "damaged"


@pytest.mark.requirement("DISP-05")
def test_a_kit_is_reported_damaged_though_no_other_is_there_and_the_visit_waits_for_one(
    world: World, pharmacist: At
) -> None:
    subject = world.randomise("CN02")
    old = world.kit_for(subject, "W0")
    world.lose("CN02", *world.kit_types_on_the_shelf("CN02"))
    url = f"{T}/subjects/{subject}/visits/W0/"

    review = pharmacist.post(f"{url}replace/{old}", fate="damaged", reason="Dropped at the counter")
    page = follow(pharmacist, go_on(pharmacist, review))

    assert row(world, select(Kit).where(Kit.number == old)).state == "damaged"
    assert "A kit of this visit is lacking" in words_of(page)
    assert "Liu Yang" in words_of(page)  # the supply manager, to be called
    assert tasks(pharmacist.get(HOME)) == [(f"Dispense Week 0, randomisation to {subject}", url)]
    again = go_on(pharmacist, page)
    assert again.status_code == 409
    assert "No kit was set aside" in words_of(again)

    world.do(request_shipment, "supply", RequestShipment("SIRIUS", "CN02", 1, "none is left"))
    world.ship_all()
    world.receive_all()
    ready = follow(pharmacist, pharmacist.post(url))
    new = world.kit_for(subject, "W0")
    assert new in words_of(ready).replace(" ", "")


def test_the_review_of_a_replacement_promises_nothing_that_is_then_refused(world: World, pharmacist: At) -> None:
    subject = world.randomise("CN02")
    old = world.kit_for(subject, "W0")

    answer = pharmacist.post(f"{T}/subjects/{subject}/visits/W0/replace/{old}", fate="expired", reason="It looks old")

    assert answer.status_code == 409
    assert "lasts the dosing interval and can be handed over" in words_of(answer)
    assert world.kit_for(subject, "W0") == old


def test_the_review_of_a_report_promises_nothing_that_is_then_refused(world: World, pharmacist: At) -> None:
    kit = world.kit_for(world.randomise("CN02"), "W0")  # set aside, so no longer on the shelf

    answer = pharmacist.post(f"{T}/sites/CN02/stock/{kit}/report", fate="lost", reason="Not found")

    assert answer.status_code == 422
    assert "is not on the shelf of this site" in words_of(answer)


@pytest.mark.requirement("BLIND-02")
def test_a_kit_set_aside_for_somebody_who_withdraws_goes_into_quarantine(
    world: World, investigator: At, pharmacist: At
) -> None:
    subject = world.randomise("CN02")
    kit = world.kit_for(subject, "W0")

    review = investigator.post(f"{T}/subjects/{subject}/end-treatment", how="withdrawn", reason="Moved away")
    assert kit in words_of(review).replace(" ", "")
    page = follow(investigator, go_on(investigator, review))

    assert row(world, select(Kit).where(Kit.number == kit)).state == "quarantined"
    assert "kit put into quarantine" in words_of(page)
    life = pharmacist.get(f"{T}/sites/CN02/stock/{kit}/")
    assert "quarantine" in words_of(life).lower()


# --- end of treatment ----------------------------------------------------------------------------------------------


def test_a_withdrawal_needs_a_reason(world: World, investigator: At) -> None:
    subject = world.randomise("CN02")

    answer = investigator.post(f"{T}/subjects/{subject}/end-treatment", how="withdrawn", reason="")

    assert answer.status_code == 422
    assert 'href="#f-reason"' in answer.text
    assert row(world, select(Subject)).state == "randomised"


# --- the first page ------------------------------------------------------------------------------------------------


def test_the_first_page_lists_each_deed_to_those_who_may_do_it(world: World, investigator: At, pharmacist: At) -> None:
    waiting = world.screen("CN02")
    treated = world.randomise("CN02")
    kit = world.kit_for(treated, "W0")

    assert tasks(investigator.get(HOME)) == [(f"Randomise {waiting}", f"{T}/subjects/{waiting}/randomise")]
    assert tasks(pharmacist.get(HOME)) == [
        (f"Hand over kit {kit} to {treated}", f"{T}/subjects/{treated}/visits/W0/"),
    ]
    assert "Stock by expiry" not in words_of(investigator.get(HOME))
    assert "Stock by expiry" in words_of(pharmacist.get(HOME))


def test_a_visit_appears_a_week_before_its_window_and_is_overdue_after_it(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    world.dispense(subject)
    seen = {}
    for day in (17, 18, 28, 32):
        world.clock.set(row(world, select(Subject)).randomised_at + timedelta(days=day))
        page = At(app).sign_in("pharmacist.cn02").get(HOME)
        seen[day] = [str(tag.get_text(strip=True)) for tag in BeautifulSoup(page.text, "html5lib").select(".task .tag")]

    assert seen == {17: [], 18: ["Coming"], 28: ["Due now"], 32: ["Window over"]}


def test_who_does_nothing_at_the_site_still_sees_which_visits_come(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    world.dispense(subject)
    world.clock.advance(timedelta(days=28))

    page = At(app).sign_in("physician.cn02").get(HOME)

    assert tasks(page) == [(f"See {subject} at Week 4", f"{T}/subjects/{subject}/")]
    assert "Visits due and coming" in words_of(page)


def test_the_end_of_treatment_is_a_task_once_the_last_visit_is_due(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    world.dispense(subject)
    world.clock.advance(timedelta(days=166))
    investigator = At(app).sign_in("investigator.cn02")

    assert tasks(investigator.get(HOME)) == [
        (f"Record the end of treatment of {subject}", f"{T}/subjects/{subject}/end-treatment")
    ]
    review = investigator.post(f"{T}/subjects/{subject}/end-treatment", how="completed")
    page = follow(investigator, go_on(investigator, review))
    assert "Completed" in words_of(page)
    assert tasks(investigator.get(HOME)) == []


# --- stock and receiving -------------------------------------------------------------------------------------------


def test_the_stock_is_ordered_by_number_and_found_by_part_of_it(world: World, pharmacist: At) -> None:
    page = pharmacist.get(f"{T}/sites/CN02/stock/")
    codes = [code.get_text() for code in BeautifulSoup(page.text, "html5lib").select("th .code")]
    with world.store.transaction() as tx:
        held = list(tx.session.scalars(select(Kit.number).join(Shipment).where(Shipment.site.has(code="CN02"))))
    assert codes == sorted(held)

    found = pharmacist.get(f"{T}/sites/CN02/stock/?text={codes[3].lower()}")
    assert [c.get_text() for c in BeautifulSoup(found.text, "html5lib").select("th .code")] == [codes[3]]


def test_a_kit_of_another_site_does_not_exist_here(world: World, pharmacist: At) -> None:
    with world.store.transaction() as tx:
        foreign = tx.session.scalars(
            select(Kit.number).join(Shipment).where(Shipment.site.has(code="CN03")).limit(1)
        ).one()

    theirs = pharmacist.get(f"{T}/sites/CN02/stock/{foreign}/")
    nobodys = pharmacist.get(f"{T}/sites/CN02/stock/K999999/")

    assert theirs.status_code == nobodys.status_code == 404
    assert words_of(theirs) == words_of(nobodys)
    assert pharmacist.get(f"{T}/sites/CN03/stock/{foreign}/").status_code == 404


def test_a_kit_found_damaged_on_the_shelf_leaves_it(world: World, pharmacist: At) -> None:
    with world.store.transaction() as tx:
        kit = tx.session.scalars(select(Kit.number).join(Shipment).where(Shipment.site.has(code="CN02")).limit(1)).one()
    url = f"{T}/sites/CN02/stock/{kit}/report"

    page = follow(pharmacist, go_on(pharmacist, pharmacist.post(url, fate="damaged", reason="Wet")))

    assert "Reported damaged" in words_of(page)
    assert "Wet" in words_of(page)
    assert row(world, select(Kit).where(Kit.number == kit)).state == "damaged"


@pytest.fixture
def arriving(world: World) -> str:
    """The number of a shipment on its way to CN02, made needed by many randomisations."""
    for _ in range(4):
        world.dispense(world.randomise("CN02"))
    world.night()
    world.clock.advance(timedelta(days=1))
    world.ship_all()
    return str(row(world, select(Shipment).where(Shipment.state == "in_transit")).number)


@pytest.mark.requirement("SHIP-04")
@pytest.mark.requirement("SHIP-05")
def test_a_shipment_is_received_kit_by_kit_and_an_excursion_is_quarantined(
    world: World, app: Flask, arriving: str
) -> None:
    pharmacist = At(app).sign_in("pharmacist.cn02")
    url = f"{T}/sites/CN02/shipments/{arriving}/"
    kits = world.kit_numbers(arriving)
    assert (f"Receive shipment {arriving}", url) in tasks(pharmacist.get(HOME))

    open_rows = pharmacist.post(url, **{f"outcome-{kits[0]}": "excursion"})
    assert open_rows.status_code == 422
    links = [str(link["href"]) for link in BeautifulSoup(open_rows.text, "html5lib").select(".errors a")]
    assert links == [f"#f-outcome-{kit}" for kit in kits[1:]]

    outcomes = {f"outcome-{kit}": "good" for kit in kits} | {f"outcome-{kits[0]}": "excursion"}
    review = pharmacist.post(url, **outcomes)
    assert "quarantined at once" in words_of(review)
    assert row(world, select(Shipment).where(Shipment.number == arriving)).state == "in_transit"

    receipt = follow(pharmacist, go_on(pharmacist, review))

    assert "Kits in quarantine" in words_of(receipt)
    states = [row(world, select(Kit).where(Kit.number == kit)).state for kit in kits]
    assert states == ["quarantined"] + ["available"] * (len(kits) - 1)
    assert "Do not hand this kit over" in words_of(pharmacist.get(f"{T}/sites/CN02/stock/{kits[0]}/"))


def test_unanswered_kits_can_be_marked_good_and_answers_given_stay(world: World, app: Flask, arriving: str) -> None:
    pharmacist = At(app).sign_in("pharmacist.cn02")
    url = f"{T}/sites/CN02/shipments/{arriving}/"
    kits = world.kit_numbers(arriving)
    token = hidden_fields(pharmacist.get(url))["csrf_token"]

    answered = {f"outcome-{kits[1]}": "damaged"}
    page = pharmacist.client.post(url, data={"csrf_token": token, "step": "review", "unanswered": "good", **answered})

    chosen = BeautifulSoup(page.text, "html5lib").select("input[type=radio][checked]")
    assert {field["name"]: field["value"] for field in chosen} == {
        f"outcome-{kit}": "damaged" if kit == kits[1] else "good" for kit in kits
    }
    assert row(world, select(Shipment).where(Shipment.number == arriving)).state == "in_transit"


# --- rights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "path", "status"),
    [
        ("pharmacist.cn02", "/subjects/{subject}/randomise", 403),
        ("pharmacist.cn02", "/subjects/{subject}/end-treatment", 403),
        ("investigator.cn02", "/subjects/{subject}/visits/W0/", 403),
        ("investigator.cn02", "/sites/CN02/stock/", 403),
        ("investigator.cn02", "/sites/CN02/shipments/", 403),
        ("investigator.cn03", "/subjects/{subject}/", 404),
        ("pharmacist.cn03", "/subjects/{subject}/visits/W0/", 404),
        ("investigator.cn03", "/sites/CN02/", 404),
        ("physician.cn02", "/subjects/{subject}/", 200),
        ("auditor", "/subjects/{subject}/", 200),
    ],
)
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
def test_each_page_opens_only_to_its_role_at_its_site(
    world: World, app: Flask, who: str, path: str, status: int
) -> None:
    subject = world.randomise("CN02")

    assert At(app).sign_in(who).get(T + path.format(subject=subject)).status_code == status


# --- the pages are the same whichever arm --------------------------------------------------------------------------


@pytest.mark.requirement("BLIND-01")
@pytest.mark.requirement("BLIND-02")
def test_no_code_of_an_arm_kit_type_or_list_reaches_a_page(world: World, app: Flask) -> None:
    subjects = [world.randomise("CN02") for _ in range(3)]
    investigator, pharmacist = (At(app).sign_in(f"{role}.cn02") for role in ("investigator", "pharmacist"))
    kit = world.dispense(subjects[0])
    pages = [HOME, f"{T}/sites/CN02/subjects/"]
    pages += [f"{T}/subjects/{subject}/{page}" for subject in subjects for page in ("", "randomisation")]
    shown = [investigator.get(page) for page in pages]
    more = [HOME, f"{T}/sites/CN02/stock/?state=", f"{T}/sites/CN02/stock/{kit}/", f"{T}/sites/CN02/shipments/"]
    shown += [pharmacist.get(page) for page in [*more, f"{T}/subjects/{subjects[0]}/visits/W0/"]]

    text = " ".join(page.text for page in shown)
    assert [page.status_code for page in shown] == [200] * len(shown)
    for word in ("GAFIB", "WUBEK", "KILDU", "ORVEN", "SIRIUS-R1", "SIRIUS-K1", "BL-2601", "placebo"):
        assert word not in text


@pytest.mark.requirement("DISP-07")
def test_a_subject_not_in_treatment_gets_no_visit_prepared(world: World, pharmacist: At, investigator: At) -> None:
    subject = world.randomise("CN02")
    world.dispense(subject)
    review = investigator.post(f"{T}/subjects/{subject}/end-treatment", how="withdrawn", reason="Own wish")
    go_on(investigator, review)

    page = pharmacist.get(f"{T}/subjects/{subject}/visits/W4/")

    assert "Treatment has ended" in words_of(page)
    assert 'class="deed"' not in page.text


def test_the_number_of_queries_of_a_page_does_not_grow_with_its_rows(world: World, app: Flask) -> None:
    pharmacist = At(app).sign_in("pharmacist.cn02")
    counted: list[int] = [0]

    @event.listens_for(world.store.engine, "before_cursor_execute")
    def _count(*_: object) -> None:
        counted[0] += 1

    def queries(url: str) -> int:
        pharmacist.get(url)
        counted[0] = 0
        assert pharmacist.get(url).status_code == 200
        return counted[0]

    urls = (HOME, f"{T}/sites/CN02/subjects/", f"{T}/sites/CN02/stock/")
    world.randomise("CN02")
    few = [queries(url) for url in urls]
    for _ in range(2):
        world.randomise("CN02")
    many = [queries(url) for url in urls]

    assert many == few
