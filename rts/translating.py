"""Sentences in the language of whoever reads them, also where no page is being made (mails)."""

from __future__ import annotations

import gettext
from functools import cache
from importlib.resources import as_file, files
from typing import Protocol, runtime_checkable

from rts.refusal import Message


@runtime_checkable
class Worded(Protocol):
    """What has its own wording in each language, as the texts of a trial do (rts.trial.texts)."""

    def in_language(self, language: str) -> str:
        """The wording for a reader of `language`."""


def known_language(wanted: str) -> str:
    """The language of the pages and mails of a person who wants `wanted`, such as `zh_CN` or `zh-Hans`: every Chinese
    is Simplified Chinese (`zh_Hans`), whatever is not known is English (`en`).
    """
    return "zh_Hans" if wanted.lower().startswith("zh") else "en"


def in_language(words: Message | Worded, language: str) -> str:
    """A sentence or a text of a trial in `language` (see `known_language`), the values of a sentence put in and
    worded in that language too.
    """
    if not isinstance(words, Message):
        return words.in_language(known_language(language))
    text = _catalogue(known_language(language)).gettext(words.text)
    values = {name: _worded(value, language) for name, value in words.values.items()}
    return text % values if values else text


def _worded(value: object, language: str) -> object:
    """`value` ready to be put into a sentence: numbers stay numbers."""
    return in_language(value, language) if isinstance(value, (Message, Worded)) else value


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    """The compiled catalogue of `language`; English is the language of the sources and has none."""
    if language == "en":
        return gettext.NullTranslations()
    with as_file(files("rts") / "translations") as folder:
        return gettext.translation("messages", folder, [language])
