"""Sentences in the database are read by each reader in their own language."""

from __future__ import annotations

from datetime import date

import pytest

from rts.refusal import Message, say
from rts.states import STATES
from rts.store.kept_words import kept, recalled
from rts.translating import in_language
from rts.trial.texts import by_language

WEEK_4 = by_language({"en": "Week 4", "zh_Hans": "第 4 周"})


@pytest.mark.parametrize(
    ("sentence", "english", "chinese"),
    [
        (say("%(count)s kits marked as expired.", count="3"), "3 kits marked as expired.", "3 个药盒已标记为过期。"),
        (say("%(sent)d mails sent.", sent=2), "2 mails sent.", "已发送 2 封邮件。"),
        (
            say("Nothing is dispensed at %(visit)s.", visit=WEEK_4),
            "Nothing is dispensed at Week 4.",
            "“第 4 周”不发放药品。",
        ),
        (
            say("a kit that is %(state)s cannot do this: %(move)s", state=STATES["lost"], move='say "no"'),
            'a kit that is lost cannot do this: say "no"',
            '状态为“丢失”的药盒不能进行此操作：say "no"',
        ),
        (
            say("Refused; the audit trail tells why."),
            "Refused; the audit trail tells why.",
            "未获准；原因见稽查轨迹。",
        ),
    ],
)
def test_a_sentence_kept_is_read_in_the_language_of_the_reader(sentence: Message, english: str, chinese: str) -> None:
    again = recalled(kept(sentence))

    assert str(again) == english
    assert in_language(again, "zh_Hans") == chinese


def test_a_sentence_kept_by_its_english_alone_is_shown_as_it_is() -> None:
    for words in ("Night of 2026-01-09: 3 sites looked at, 100 % of them.", "3 kits marked as expired."):
        assert str(recalled(words)) == in_language(recalled(words), "zh_Hans") == words


def test_a_date_is_kept_as_it_is_shown() -> None:
    assert str(recalled(kept(say("The date of consent is not after today (%(today)s).", today=date(2026, 1, 5))))) == (
        "The date of consent is not after today (2026-01-05)."
    )
