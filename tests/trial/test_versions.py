import hashlib

import pytest

from rts.trial.reading import read_definition
from rts.trial.versions import Difference, definition_digest, differences, restricted_digest
from tests.trial.texts import PUBLIC, edited

sirius = read_definition(PUBLIC)


def test_the_digest_is_that_of_the_text_in_utf_8_with_line_feeds() -> None:
    assert definition_digest("a = \u4e2d\nb\n") == hashlib.sha256("a = \u4e2d\nb\n".encode()).hexdigest()


@pytest.mark.parametrize("same", ["a\r\nb\r\n", "a\rb\r", "\ufeffa\nb\n"])
def test_line_endings_and_a_byte_order_mark_do_not_change_the_digest(same: str) -> None:
    assert definition_digest(same) == definition_digest("a\nb\n")


@pytest.mark.parametrize("other", ["a\nb", "a\n\nb\n", "a \nb\n", "A\nb\n"])
def test_any_other_change_changes_the_digest(other: str) -> None:
    assert definition_digest(other) != definition_digest("a\nb\n")


def test_the_restricted_digest_depends_on_the_salt_and_the_text() -> None:
    digests = {
        restricted_digest("a\n", b"s" * 16),
        restricted_digest("b\n", b"s" * 16),
        restricted_digest("a\n", b"t" * 16),
        definition_digest("a\n"),
    }

    assert len(digests) == 4
    assert restricted_digest("a\r\n", b"s" * 16) in digests


def test_a_short_salt_is_not_taken() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        restricted_digest("a", b"s" * 15)


def test_a_definition_does_not_differ_from_itself() -> None:
    assert differences(sirius, read_definition(PUBLIC)) == []


def test_differences_name_the_path_with_old_and_new_value() -> None:
    text = edited(PUBLIC, "trial = 146", "trial = 150\nsite = 12\nby_site = { CN01 = 9 }")
    text = edited(text, "\ndnd = 31", "\ndnd = 32")
    text = edited(text, "day = 28", "day = 29")
    text = edited(text, "cut_off = 14:00:00", "cut_off = 15:30:00")
    text = edited(text, '"en", "zh_Hans"', '"en"')

    assert differences(sirius, read_definition(text)) == [
        Difference("visits[W4].day", "28", "29"),
        Difference("expiry.dnd", "31", "32"),
        Difference("depots[DEP-SH].cut_off", "14:00:00", "15:30:00"),
        Difference("caps.trial", "146", "150"),
        Difference("caps.site", "", "12"),
        Difference("caps.by_site.CN01", "", "9"),
        Difference("languages", "en, zh_Hans", "en"),
    ]


def test_an_element_added_or_removed_is_one_difference() -> None:
    rows = [line for line in PUBLIC.split("\n") if 'code = "CN07"' in line]
    shorter = read_definition(edited(PUBLIC, rows[0] + "\n", ""))

    (removed,) = differences(sirius, shorter)
    (added,) = differences(shorter, sirius)

    assert (removed.path, removed.new) == ("sites[CN07]", "")
    assert removed.old.startswith(
        "code: CN07; name: Shenzhen site 1 / 深圳中心 1; city: Shenzhen / 深圳; country: CN; "
    )
    assert (added.path, added.old, added.new) == ("sites[CN07]", "", removed.old)


def test_a_changed_order_is_a_difference() -> None:
    texts = (
        'text.en = "Stem-cell transplant"\ntext.zh_Hans = "接受过干细胞移植"',
        'text.en = "Splenectomy"\ntext.zh_Hans = "接受过脾切除术"',
    )
    first, second = (f'code = "{code}"\n{text}' for code, text in zip(("E16", "E17"), texts, strict=True))
    text = edited(edited(PUBLIC, second, "SECOND"), first, second).replace("SECOND", first)

    (difference,) = differences(sirius, read_definition(text))

    assert difference.path == "criteria (order)"
    assert difference.old.endswith("E15, E16, E17, E18")
    assert difference.new.endswith("E15, E17, E16, E18")
