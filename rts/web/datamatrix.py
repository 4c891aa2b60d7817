"""A number as a DataMatrix that a hand scanner reads from screen or paper."""

from __future__ import annotations

import re
from functools import lru_cache

import zxingcpp
from flask import Flask
from markupsafe import Markup


@lru_cache(maxsize=1024)
def datamatrix(number: str) -> Markup:
    """`number` as an inline SVG, one unit a module, with its quiet zone; it carries no id, style or script."""
    drawn = zxingcpp.create_barcode(number, zxingcpp.BarcodeFormat.DataMatrix).to_svg(add_quiet_zones=True)
    size = re.search(r'width="(\d+)" height="(\d+)"', drawn)
    path = re.search(r' d="([MmhHvVzZ0-9 .-]+)"', drawn)
    if size is None or path is None:
        raise RuntimeError("the symbol was not drawn as expected")
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="DataMatrix {}" shape-rendering="crispEdges" '
        'focusable="false"><path d="{}" fill="#000"/></svg>'
    ).format(size[1], size[2], number, path[1])


def install(app: Flask) -> None:
    """Give the templates the filter `datamatrix`."""
    app.jinja_env.filters["datamatrix"] = datamatrix
