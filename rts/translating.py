"""Sentences in the language of whoever reads them, also where no page is being made (mails)."""

from __future__ import annotations

import gettext
from functools import cache
from importlib.resources import as_file, files

from rts.refusal import Message

LANGUAGES = ("en", "zh_Hans")


def known_language(wanted: str) -> str:
    """The language of the pages and mails of a person who wants `wanted`, such as `zh_CN` or `zh-Hans`: every Chinese
    is Simplified Chinese (`zh_Hans`), whatever is not known is English (`en`).
    """
    return "zh_Hans" if wanted.lower().startswith("zh") else "en"


def in_language(message: Message, language: str) -> str:
    """`message` in `language` (see `known_language`), its values put in; values that are sentences or words themselves
    are translated too.
    """
    text = _catalogue(known_language(language)).gettext(message.text)
    values = {
        name: in_language(value, language) if isinstance(value, Message) else value
        for name, value in message.values.items()
    }
    return text % values if values else text


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    """The compiled catalogue of `language`; English is the language of the sources and has none."""
    if language == "en":
        return gettext.NullTranslations()
    with as_file(files("rts") / "translations") as folder:
        return gettext.translation("messages", folder, [language])
