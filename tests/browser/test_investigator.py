"""An investigator with a patient: screening, checklist, review, signature, receipt."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from rts.store.tables import Subject
from tests.browser.people import look_at, sign_in
from tests.world import PASSWORD, World

pytestmark = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)


def answer_as_eligible(world: World, page: Page) -> None:
    for code, answer in world.answers().items():
        page.locator(f"[name='answers.{code}'][value={'yes' if answer else 'no'}]").check()
    page.get_by_label("SLEDAI-2K at screening", exact=True).fill("12")
    page.get_by_label("Corticosteroid dose, prednisone equivalent", exact=True).fill("7.5")


@pytest.mark.requirement("RAND-05")
def test_a_subject_is_screened_and_randomised(world: World, address: str, browser_page: Page) -> None:
    page = browser_page
    sign_in(page, address, "investigator.cn02")
    look_at(page)
    page.get_by_role("link", name="Screen a subject").click()
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("alert")).to_be_focused()
    look_at(page)
    page.get_by_label("Date of consent", exact=True).fill("2026-01-08")
    expect(page.get_by_text("Thursday")).to_be_visible()
    page.get_by_label("Year of birth").fill("1980")
    page.get_by_label("Female").check()
    page.get_by_role("button", name="Check").click()
    look_at(page)
    page.get_by_role("button", name="Record screening").click()
    expect(page.get_by_role("heading", name="Subject CN02-001")).to_be_visible()
    look_at(page)

    page.get_by_role("link", name="Randomise subject").click()
    look_at(page)
    answer_as_eligible(world, page)
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("Level for stratification: below 10 mg/day")).to_be_visible()
    look_at(page)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Randomise subject").dblclick()

    expect(page.get_by_role("heading", name="Subject randomised")).to_be_visible()
    with world.store.transaction() as tx:
        number = tx.session.scalars(select(Subject.randomisation_number)).one()
    expect(page.get_by_role("button", name=f"Copy {number}")).to_be_visible()
    look_at(page)
    assert world.events("subject.randomised") == 1


def test_a_refusal_is_a_calm_list_and_the_answers_are_kept(world: World, address: str, phone_page: Page) -> None:
    subject = world.screen("CN02")
    page = phone_page
    sign_in(page, address, "investigator.cn02")
    page.get_by_role("link", name=f"Randomise {subject}").click()
    answer_as_eligible(world, page)
    page.locator("[name='answers.E04'][value=yes]").check()
    page.get_by_role("button", name="Check").click()

    expect(page.get_by_text("E04 excludes: Pregnant or breast-feeding")).to_be_visible()
    expect(page.get_by_text("Zhao Min")).to_be_visible()
    look_at(page)

    page.get_by_role("button", name="Change the answers").click()
    expect(page.locator("[name='answers.E04'][value=yes]")).to_be_checked()
    expect(page.locator("[name='answers.I02'][value=yes]")).to_be_checked()
    assert world.events("subject.randomised") == 0
