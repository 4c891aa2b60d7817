"""The certificate of a list: who made it, how many entries it has, what it is committed to; and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.retiring_lists import WithdrawList, withdraw_list
from rts.refusal import Refusal
from rts.reports.document_parts import IssuedDocument
from rts.reports.list_certificate import issue_certificate
from rts.store.tables import AuditDetail, AuditEvent, ListFile
from tests.reports.pdf import words_in
from tests.world import World


def listed(world: World, list_id: str) -> ListFile:
    with world.store.transaction() as tx:
        return tx.session.scalars(select(ListFile).where(ListFile.list_id == list_id)).one()


def certificate(world: World, list_id: str = "SIRIUS-R1", who: str = "manager", language: str = "en") -> IssuedDocument:
    return issue_certificate(world.store, world.who(who), "SIRIUS", listed(world, list_id).commitment, language)


def issues(world: World) -> list[dict[str, Any]]:
    with world.store.transaction() as tx:
        statement = select(AuditDetail.detail).join(AuditEvent)
        return [
            json.loads(detail)
            for detail in tx.session.scalars(statement.where(AuditEvent.action == "list.certificate_issued"))
            if detail is not None
        ]


def test_a_certificate_says_how_many_entries_a_list_has_and_what_it_is_committed_to(world: World) -> None:
    found = listed(world, "SIRIUS-R1")

    text = words_in(certificate(world).pdf)

    assert "Kind Subject list Number prefix R Purpose Test State active Entries 592" in text
    assert f"Commitment {found.commitment}" in text
    assert f"File digest (SHA-256) {found.file_digest}" in text
    assert "Made by software version RTS 0.1.0" in text
    assert re.search(r"This document RTS 0\.1\.0, Typst 0\.15\.\d", text)


def test_a_certificate_names_who_signed_what_and_when(world: World) -> None:
    text = words_in(certificate(world).pdf)

    for name, meaning in (
        ("Chen Lihua", "I generated this list"),
        ("Marta Novak", "I checked this list and approve it"),
        ("Zhao Min", "I activate this list"),
    ):
        assert f"{name} {meaning} 2026-01-05 01:00:00 UTC RTS 0.1.0" in text


@pytest.mark.parametrize("list_id", ["SIRIUS-R1", "SIRIUS-K1"])
@pytest.mark.requirement("LIST-03")
def test_a_certificate_tells_no_list_id_procedure_or_code(world: World, list_id: str) -> None:
    for language in ("en", "zh_Hans"):
        text = words_in(certificate(world, list_id, language=language).pdf)

        assert not [
            word
            for word in (
                "SIRIUS-R1",
                "SIRIUS-K1",
                "KILDU",
                "ORVEN",
                "GAFIB",
                "WUBEK",
                "SLEDAI",
                "rts/",
                "block",
                "区组",
            )
            if word in text
        ]


def test_blinded_and_unblinded_readers_get_the_same_certificate_again_and_again(world: World) -> None:
    first = certificate(world)
    world.clock.advance(timedelta(days=3))

    assert certificate(world).pdf == certificate(world, who="statistician.one").pdf == first.pdf


def test_the_digest_of_every_certificate_issued_is_on_the_trail(world: World) -> None:
    english, chinese = certificate(world), certificate(world, language="zh_Hans")

    assert english.digest == hashlib.sha256(english.pdf).hexdigest()
    assert issues(world) == [
        {"language": "en", "document_digest": english.digest},
        {"language": "zh_Hans", "document_digest": chinese.digest},
    ]


def test_a_certificate_is_made_in_chinese(world: World) -> None:
    text = words_in(certificate(world, language="zh_Hans").pdf)

    assert "我生成了本列表" in text
    assert "I generated" not in text


def test_the_file_of_a_certificate_is_called_by_what_blinded_people_know(world: World) -> None:
    assert certificate(world).file_name == "SIRIUS-R-certificate.pdf"


def test_a_list_whose_file_was_changed_gets_no_certificate(world: World) -> None:
    file = world.store.lists / "SIRIUS" / "SIRIUS-R1.rtslist"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)

    with pytest.raises(Refusal) as refusal:
        certificate(world)

    assert refusal.value.rules == ("list_file.digest",)
    assert issues(world) == []


@pytest.mark.parametrize("who", ["quality", "investigator.cn02", "auditor"])
def test_whoever_may_not_see_lists_gets_no_certificate(world: World, who: str) -> None:
    with pytest.raises(Refusal) as refusal:
        certificate(world, who=who)

    assert refusal.value.code in {"forbidden", "not_found"}
    assert issues(world) == []


def test_a_certificate_tells_that_a_list_is_withdrawn(world: World) -> None:
    world.load(restricted=FURTHER)
    world.stage.specify("SIRIUS-K3")
    world.do(generate_list, "statistician.one", GenerateList("SIRIUS", "SIRIUS-K3"), sign=True)
    before = certificate(world, "SIRIUS-K3")
    world.do(withdraw_list, "statistician.one", WithdrawList("SIRIUS", "SIRIUS-K3", "a slip"))

    after = certificate(world, "SIRIUS-K3")

    assert "State generated" in words_in(before.pdf)
    assert "State withdrawn from use" in words_in(after.pdf)


FURTHER = """
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
