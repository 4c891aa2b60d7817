"""Tables that people save and open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from werkzeug.wrappers import Response


def table_to_save(columns: Sequence[str], rows: Iterable[Iterable[object]], name: str) -> Response:
    """A CSV file of this name; no cell of it is ever taken for a formula, and what is None is empty."""
    text = io.StringIO()
    csv.writer(text).writerows([columns, *(map(safe_cell, row) for row in rows)])
    return Response(
        text.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def safe_cell(value: object) -> str:
    """`value` as a spreadsheet cell that is never taken for a formula (OWASP: CSV injection)."""
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} else text
