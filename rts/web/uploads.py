"""Files that are sent with a form stay in memory."""

from __future__ import annotations

from io import BytesIO
from typing import IO

from flask import Request


class RequestInMemory(Request):
    """A request whose files never touch the disk: Werkzeug puts one above 500 kB into a temporary file, and a list that
    is sent to be imported tells every arm. How much is read at all is bounded by MAX_CONTENT_LENGTH.
    """

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return BytesIO()
