"""Which page of a long table was asked for."""

from __future__ import annotations

from flask import request

PAGE_SIZE = 50


def page_asked_for() -> int:
    """The number in `?page=`, from 1; anything else means the first page."""
    text = request.args.get("page", "1")
    return int(text) if text.isdecimal() and 1 <= int(text) < 1_000_000 else 1


def page_of(total: int, size: int = PAGE_SIZE) -> dict[str, int]:
    """What the table macros need to know of the present page; past the last one, it is the last."""
    last = max(1, -(-total // size))
    return {"number": min(page_asked_for(), last), "size": size, "total": total}
