"""The language of whoever reads the page being made. Here, and nowhere else in the pages, words take it on.

Templates show sentences of the core and texts of a trial as they come: `install` has them said in the reader's
language wherever a template prints one or puts one into a sentence. Where a template joins texts itself (`~`), and in
Python outside `gettext`, `sentence` says them, and `listed` joins them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import flask_babel
from flask import Flask
from jinja2 import pass_context
from jinja2.runtime import Context

from rts.refusal import Message
from rts.translating import in_language, known_language
from rts.trial.texts import Text


def language() -> str:
    """The language of the page being made: `en` or `zh_Hans`."""
    return known_language(str(flask_babel.get_locale()))


def sentence(words: object) -> str:
    """A sentence of the core or a text of a trial in the reader's language; anything else as it is."""
    return in_language(words, language()) if isinstance(words, (Message, Text)) else str(words)


def gettext(text: str, **values: object) -> str:
    """The English `text` in the reader's language, `values` put in and said in that language too."""
    return str(flask_babel.gettext(text, **_all_said(values)))


def ngettext(singular: str, plural: str, num: int, **values: object) -> str:
    """As `gettext`, of two texts the one for `num`."""
    return str(flask_babel.ngettext(singular, plural, num, **_all_said(values)))


def listed(items: Iterable[object]) -> str:
    """Words and texts one after another, with the comma that lists have in the reader's language."""
    return gettext(", ").join(map(sentence, items))


def duration(time: timedelta) -> str:
    """How long something lasted, in hours and minutes, a begun minute as a whole one."""
    hours, minutes = divmod(math.ceil(time.total_seconds() / 60), 60)
    if hours:
        return gettext("%(hours)d h %(minutes)d min", hours=hours, minutes=minutes)
    return gettext("%(minutes)d min", minutes=minutes)


def language_name(code: str) -> str:
    """A language by its own name."""
    return {"en": "English", "zh_Hans": "中文"}[code]


def country_name(code: str) -> str:
    """A country (ISO 3166-1, two letters) in the reader's language; the code of one that has no name."""
    return str(flask_babel.get_locale().territories.get(code, code))


def install(app: Flask) -> None:
    """Have the templates of `app` speak the reader's language. Call it after Flask-Babel is set up."""
    app.jinja_env.finalize = _said
    for words in (sentence, listed, duration, language_name, country_name):
        app.jinja_env.filters[words.__name__] = words
    for name in ("gettext", "ngettext"):
        app.jinja_env.globals[name] = _with_values_said(app.jinja_env.globals[name])


def _said(value: Any) -> Any:
    return sentence(value) if isinstance(value, (Message, Text)) else value


def _all_said(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _said(value) for name, value in values.items()}


def _with_values_said(translate: Any) -> Any:
    @pass_context
    def translate_all(context: Context, *texts: Any, **values: Any) -> Any:
        return translate(context, *texts, **_all_said(values))

    return translate_all
