"""Mails are written in the language of the person they go to."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from rts.access.permissions import Role
from rts.conduct.unblinding import UnblindSubject, unblind_subject
from rts.notices.delivery import message_of
from rts.settings import Settings
from rts.store.tables import Notice, Person
from tests.world import World


@pytest.mark.parametrize(
    ("language", "subject_line", "body", "way_in"),
    [
        (
            "en",
            "SIRIUS: subject CN02-001 was unblinded in an emergency",
            "opened the code of subject CN02-001 at site CN02. The treatment is told to the physician alone.",
            "Sign in: https://rts.trials.example",
        ),
        (
            "zh_CN",
            "SIRIUS：受试者 CN02-001 已紧急揭盲",
            "已对中心 CN02 的受试者 CN02-001 揭盲。所用治疗仅告知该医师。",
            "登录：https://rts.trials.example",
        ),
    ],
)
def test_a_mail_is_written_in_the_language_of_its_reader(
    world: World, language: str, subject_line: str, body: str, way_in: str
) -> None:
    subject = world.randomise("CN02")
    with world.store.transaction(write=True) as tx:
        tx.session.scalars(select(Person).where(Person.username == "sponsor")).one().language = language

    unblind(world, subject)

    with world.store.transaction() as tx:
        statement = select(Notice).join(Person).where(Person.username == "sponsor").order_by(Notice.id.desc())
        notice = tx.session.scalars(statement).first()
        assert notice is not None
        assert notice.subject_line == subject_line
        assert body in notice.body
        mail = message_of(notice, Settings(address="https://rts.trials.example"), "test")
        assert way_in in mail.get_content()
        assert mail["Subject"] == f"[TEST] {subject_line}"


def unblind(world: World, subject: str) -> None:
    command = UnblindSubject(world.stage.trial, subject, "Anaphylaxis", adverse_event=True)
    world.do(unblind_subject, world.stage.at_site(Role.PHYSICIAN, "CN02"), command, sign=True)
