"""The catalogues of translated words: gathered from code and templates, kept in `rts/translations`, compiled beside
their source.

Developers run `make translations` after a change of words; a test fails while a word lacks its Chinese.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

CHECKOUT = Path(__file__).parents[2]
CATALOGUES = CHECKOUT / "rts" / "translations"
TRANSLATED = ("zh_Hans",)
HEADER = "# Words of RTS. Edit the msgstr lines only, then run: make translations"
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "say": None}
METHODS = (("rts/**.py", "python"), ("templates/**.html", "jinja2"))


def gather() -> Catalog:
    """Every word that people read, from the code and templates without the places it was found at."""
    found = Catalog(project="RTS", charset="utf-8", fuzzy=False, header_comment=HEADER)
    for _file, _line, message, _comments, _context in extract_from_dir(
        str(CHECKOUT),
        method_map=list(METHODS),
        keywords=KEYWORDS,
        options_map={"templates/**.html": {"encoding": "utf-8"}},
        # Babel on its own passes over folders that begin with an underscore: the macros.
        directory_filter=lambda folder: not Path(folder).name.startswith("."),
    ):
        found.add(message)
    return found


def source_of(language: str) -> Path:
    """The catalogue that translators edit."""
    return CATALOGUES / language / "LC_MESSAGES" / "messages.po"


def read(language: str) -> Catalog:
    """The catalogue of `language`; an empty one when there is none yet."""
    source = source_of(language)
    if not source.exists():
        return Catalog(locale=language, project="RTS", charset="utf-8", fuzzy=False, header_comment=HEADER)
    with source.open("rb") as file:
        return read_po(file, locale=language)


def compiled(catalogue: Catalog) -> bytes:
    """The catalogue in the form that is read at run time."""
    out = io.BytesIO()
    write_mo(out, catalogue)
    return out.getvalue()


def update() -> dict[str, int]:
    """Bring every catalogue up to date and compile it; returns how many words lack a translation, by
    language.
    """
    lacking = {}
    words = gather()
    for language in TRANSLATED:
        catalogue = read(language)
        words.creation_date = catalogue.creation_date  # the file changes when words do, not with the day
        catalogue.update(words, no_fuzzy_matching=True)
        catalogue.fuzzy = False
        catalogue.obsolete.clear()
        source = source_of(language)
        source.parent.mkdir(parents=True, exist_ok=True)
        with source.open("wb") as file:
            write_po(file, catalogue, no_location=True, omit_header=False, sort_output=True, width=100)
        source.with_suffix(".mo").write_bytes(compiled(catalogue))
        lacking[language] = len(untranslated(catalogue))
    return lacking


def untranslated(catalogue: Catalog) -> list[str]:
    """The words that have no translation, or in a plural not all of its forms."""
    return [
        str(message.id)
        for message in catalogue
        if message.id and not (all(message.string) if isinstance(message.string, (tuple, list)) else message.string)
    ]


if __name__ == "__main__":
    for language, count in update().items():
        sys.stdout.write(f"{language}: {count} words lack a translation\n")
