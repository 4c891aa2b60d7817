"""A document is an archive's PDF, the same from the same data, and sets what people wrote as text whatever it is."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rts.refusal import say
from rts.reports.typesetting import Code, Document, Facts, Paragraph, Section, Table, typeset
from tests.reports.pdf import fonts_in, metadata_in, opened, words_in

AT = datetime(2026, 1, 5, 1, 2, 3, tzinfo=UTC)


def document(words: str = "Chen Jing", language: str = "en") -> Document:
    return Document(
        title=say("Certificate of a list"),
        subtitle="SIRIUS 一项试验",
        language=language,
        at=AT,
        marks=(say("Test"),),
        sections=(
            Section(
                say("The list"),
                (
                    Facts(((say("Printed name"), words), (say("Commitment"), Code("0123456789abcdef" * 4)))),
                    Paragraph(words),
                    Table((say("Stratum"), say("Entries")), ((Code("A.B"), "146"),), (1,)),
                ),
            ),
        ),
    )


def test_a_document_claims_to_be_what_an_archive_and_a_screen_reader_need() -> None:
    metadata = metadata_in(typeset(document()))

    assert "<pdfaid:part>2</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>" in metadata
    assert "<pdfuaid:part>1</pdfuaid:part>" in metadata


def test_a_document_has_what_pdf_a_asks_of_it() -> None:
    """ISO 19005-2: 6.1.3 (file identifier), 6.2.3 (output intent), 6.2.11.4 (embedded fonts), 6.6.1 (no actions)."""
    pdf = typeset(document())
    found = opened(pdf)
    root = found.root_object

    (intent,) = root["/OutputIntents"]
    assert intent.get_object()["/S"] == "/GTS_PDFA1"
    assert intent.get_object()["/DestOutputProfile"].get_object().get_data()[36:40] == b"acsp"  # an ICC profile
    assert len(found.trailer["/ID"]) == 2
    assert "/Encrypt" not in found.trailer
    assert not {"/OpenAction", "/AA", "/AcroForm", "/Names"} & set(root)
    fonts = fonts_in(pdf)
    assert {name.partition("+")[2] for name in fonts} == {
        "NotoSans-Regular",
        "NotoSansMono-Regular",
        "NotoSansCJKsc-Regular",
    }
    assert all({"/FontFile2", "/FontFile3"} & set(descriptor) for descriptor in fonts.values())
    assert not re.search(rb"/(JavaScript|JS|Launch|EmbeddedFile)\b", pdf)


def test_the_date_of_a_document_is_that_of_its_latest_record() -> None:
    found = opened(typeset(document())).metadata

    assert found is not None
    assert (found.creation_date, found.modification_date) == (AT, AT)


def test_equal_documents_are_equal_to_the_byte_and_others_are_not() -> None:
    assert typeset(document()) == typeset(document())
    assert typeset(document("Chen Jing")) != typeset(document("Chen Jin"))
    assert typeset(document()) != typeset(replace(document(), at=AT.replace(second=4)))


@pytest.mark.parametrize(
    "written",
    [
        '#import "/etc/passwd": *',
        "#read(sys.inputs.document)",
        "$x^2$ *bold* _slanted_ `raw`",
        "= heading",
        "a // comment /* and */ this",
        '<label> @reference \\ ~ -- --- ... \' "quoted"',
        "[block] {code} #panic()",
        "\\u{41} & &lt;b&gt;",
    ],
)
def test_markup_that_somebody_wrote_is_set_as_text(written: str) -> None:
    found = words_in(typeset(document(written)))

    assert found.count(written) == 2


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("陈静 王𫖯", "陈静 王𫖯"),
        ("Nguyễn Łukasz Dvořák Αθηνά Юлия", "Nguyễn Łukasz Dvořák Αθηνά Юлия"),
        ("Nova\u0301kova\u0301", "Nov\u00e1kov\u00e1"),
        ("Ann\u202eeoD", "Ann[U+202E]eoD"),
        ("zero\u200bwidth", "zero[U+200B]width"),
        ("\u0639\u0644\u064a", "[U+0639][U+0644][U+064A]"),
        ("null\x00bell\x07", "null[U+0000]bell[U+0007]"),
        ("\U0001f48a", "[U+1F48A]"),
    ],
)
def test_every_character_of_a_name_is_seen(written: str, shown: str) -> None:
    """No empty boxes, nothing invisible, nothing turned around: a character that no font has is told by its code."""
    assert words_in(typeset(document(written))).count(shown) == 2


def test_lines_stay_lines() -> None:
    text = opened(typeset(document("first line\r\nsecond line"))).pages[0].extract_text()

    assert "first line\nsecond line" in text


def test_words_are_those_of_the_language_and_codes_are_not() -> None:
    pdf = typeset(document(language="zh_Hans"))

    assert opened(pdf).root_object["/Lang"] == "zh-CN"
    assert "签名姓名 Chen Jing" in words_in(pdf)
    assert "Printed name" not in words_in(pdf)
    assert "0123456789abcdef" * 4 in words_in(pdf)


def test_a_long_table_goes_on_with_its_head_repeated() -> None:
    rows = tuple((Code(f"S{number}"), str(number)) for number in range(120))
    table = Table((say("Stratum"), say("Entries")), rows, (1,))
    pdf = typeset(replace(document(), sections=(Section("Long", (table,)),)))

    pages = [page.extract_text() for page in opened(pdf).pages]
    assert len(pages) > 2
    assert all("Stratum" in page and "Test" in page for page in pages)
    assert "S119" in pages[-1]
