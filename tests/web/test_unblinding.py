"""The code break over HTTP: the right subject, the password, the treatment once, and the offline route."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select, text

from rts.access import sign_in as access
from rts.app import create_app
from rts.store.tables import CodeBreak, Person, Subject
from tests.web.doors import Person as At
from tests.web.doors import words_of
from tests.world import PASSWORD, World

REASON = {"reason": "Anaphylaxis, dose of the study drug must be known", "adverse_event": "yes"}


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.store)


def treatments(world: World) -> list[str]:
    return [treatment.name for treatment in world.stage.definition.treatments]


def shows_a_treatment(world: World, page: str) -> bool:
    return any(name in page for name in treatments(world))


def openings(world: World) -> int:
    with world.store.transaction() as tx:
        return len(tx.session.scalars(select(CodeBreak)).all())


def number_of(world: World, subject: str) -> str:
    with world.store.transaction() as tx:
        return str(tx.session.scalars(select(Subject).where(Subject.code == subject)).one().randomisation_number)


@pytest.mark.requirement("UNBL-01")
def test_the_physician_of_the_site_sees_one_treatment_once(world: World, app: Flask) -> None:
    subject = world.randomise("CN02")
    physician = At(app).sign_in("physician.cn02")
    url = f"/trials/SIRIUS/subjects/{subject}/code-break"
    form = physician.fill(url, **REASON, password=PASSWORD)

    told = physician.client.post(url, data=form)
    repeated = physician.client.post(url, data=form)

    assert told.status_code == 200
    assert sum(name in words_of(told) for name in treatments(world)) == 1
    assert "no-store" in told.headers["Cache-Control"]
    assert repeated.status_code == 200
    assert "The code is already open" in words_of(repeated)
    assert not shows_a_treatment(world, repeated.text)
    assert openings(world) == 1
    assert world.events("subject.unblinded") == 1
