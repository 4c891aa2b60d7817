"""What a trial's definition says to people: one wording for everybody, or one for each language.

Only people read texts. What is counted, stored, signed or compared is a code, which is the same in every language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# In the place of a language: the wording is that of every language.
_EVERY = ""


@dataclass(frozen=True)
class Text:
    """A text in its wordings, each with its language, in the order of the definition. As `str` it speaks English."""

    wordings: tuple[tuple[str, str], ...]

    @property
    def is_plain(self) -> bool:
        """Whether every reader gets the same wording, whatever their language."""
        return self.wordings[0][0] == _EVERY

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that have a wording of their own; none when the text is plain."""
        return tuple(language for language, _ in self.wordings if language != _EVERY)

    @property
    def words(self) -> tuple[str, ...]:
        """Every wording, whatever its language."""
        return tuple(words for _, words in self.wordings)

    def in_language(self, language: str) -> str:
        """The wording for a reader of `language`; where there is none the English one, else the first."""
        wordings = dict(self.wordings)
        return wordings.get(language) or wordings.get("en") or self.wordings[0][1]

    def behind_code(self, code: str) -> Text:
        """The text with `code` before it, as people name a site: `CN02 Beijing site 2`."""
        return Text(tuple((language, f"{code} {words}") for language, words in self.wordings))

    def __str__(self) -> str:
        return self.in_language("en")

    def __bool__(self) -> bool:
        return any(self.words)


def plain(words: str) -> Text:
    """A text that is the same in every language."""
    return Text(((_EVERY, words),))


def by_language(wordings: Mapping[str, str]) -> Text:
    """A text with a wording for each language. Raises ValueError without one."""
    if not wordings:
        raise ValueError("a text has at least one wording")
    return Text(tuple(wordings.items()))
