"""What a certificate says of a list is the same whichever arms the list holds, but for what hides by construction."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import select

from rts.reports.list_certificate import certificate_of
from rts.reports.typesetting import Document, typeset
from rts.store.database import upgrade
from rts.store.tables import ListFile
from tests.blinding.worlds import ARMS, KIT_TYPES, LIST_IDS, MANUFACTURING_LOTS, TREATMENTS, stage
from tests.reports.pdf import set_in


def certificates(name: str, folder: Path) -> list[tuple[Document, dict[str, str]]]:
    """The certificate of each list of world `name`, and the values in it that hide by construction."""
    folder.mkdir()
    address = f"sqlite:///{folder / 'rts.sqlite'}"
    upgrade(address)
    with stage(name, address, folder) as world, world.store.transaction() as tx:
        trial = tx.trial("SIRIUS")
        found = list(tx.session.scalars(select(ListFile).order_by(ListFile.id)))
        hidden = [{one.commitment: "<commitment>", one.file_digest: "<file digest>"} for one in found]
        return [(certificate_of(tx, trial, one, "en"), values) for one, values in zip(found, hidden, strict=True)]


def told(document: Document, hidden: dict[str, str]) -> str:
    """Everything that goes into the bytes of the certificate, with the places of what hides."""
    text = str(asdict(document))
    for value, place in hidden.items():
        assert text.count(value) == 1
        text = text.replace(value, place)
    return text


@pytest.mark.slow
@pytest.mark.requirement("BLIND-01")
@pytest.mark.requirement("LIST-03")
@pytest.mark.parametrize("other", ["B", "C"])
def test_certificates_differ_in_commitment_and_file_digest_alone(tmp_path: Path, other: str) -> None:
    """The bytes follow from the document (tests/reports/test_typesetting.py), and the document is the same."""
    one, exchanged = certificates("A", tmp_path / "A"), certificates(other, tmp_path / other)

    assert len(one) == len(exchanged) == len(LIST_IDS)
    for (document, hidden), (twin, hidden_too) in zip(one, exchanged, strict=True):
        assert told(document, hidden) == told(twin, hidden_too)


def test_no_secret_word_stands_in_a_certificate(tmp_path: Path) -> None:
    for document, _hidden in certificates("A", tmp_path / "A"):
        text = set_in(typeset(document))
        secret = (*ARMS, *KIT_TYPES, *LIST_IDS, *MANUFACTURING_LOTS, *TREATMENTS)
        assert not [word for word in secret if word in text]
