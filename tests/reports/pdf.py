"""Reading a PDF as a person or an archive does."""

from __future__ import annotations

import io
import re

from pypdf import PdfReader
from pypdf.generic import DictionaryObject


def opened(pdf: bytes) -> PdfReader:
    return PdfReader(io.BytesIO(pdf), strict=True)


def words_in(pdf: bytes) -> str:
    """The text of all pages, blanks folded."""
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in opened(pdf).pages))


def metadata_in(pdf: bytes) -> str:
    """The XMP packet."""
    content: str = opened(pdf).root_object["/Metadata"].get_object().get_data().decode()
    return content


def fonts_in(pdf: bytes) -> dict[str, DictionaryObject]:
    """The descriptors of all fonts that pages use, by name."""
    found = {}
    for page in opened(pdf).pages:
        for font in page["/Resources"].get("/Font", {}).values():
            for descendant in font.get_object().get("/DescendantFonts", [font]):
                described = descendant.get_object()
                found[str(described["/BaseFont"])] = described["/FontDescriptor"].get_object()
    return found


def set_in(pdf: bytes) -> str:
    """Everything in a PDF that a reader or program is told: title, dates and tools, and the text of each page."""
    found = opened(pdf)
    assert found.metadata is not None
    told = [f"{name} {value}" for name, value in sorted(found.metadata.items())]
    return "\n".join([*told, *(page.extract_text() for page in found.pages)])


def alternatives_in(pdf: bytes) -> list[str]:
    """What a screen reader says of the pictures, in reading order."""

    def below(element: object) -> list[str]:
        found = element.get_object() if hasattr(element, "get_object") else element
        if isinstance(found, list):
            return [words for each in found for words in below(each)]
        if not isinstance(found, dict):
            return []
        own = [str(found["/Alt"])] if "/Alt" in found else []
        return own + (below(found["/K"]) if "/K" in found else [])

    return below(opened(pdf).root_object["/StructTreeRoot"])
