"""Reading the files that a command names, with a plain sentence for each way in which that can fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rts.refusal import refuse, say


def read_text(path: Path) -> str:
    """The text of `path`, or of standard input for `-`. Raises Refusal `not_found`, `unavailable`, or `invalid` when
    it is not UTF-8.
    """
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except FileNotFoundError:
        raise refuse("not_found", "file.missing", say("There is no file %(path)s.", path=path)) from None
    except OSError as error:
        message = say("%(path)s cannot be read (%(reason)s).", path=path, reason=error.strerror)
        raise refuse("unavailable", "file.read", message) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise refuse("invalid", "file.text", say("%(path)s is not UTF-8 text.", path=path)) from None


def read_json(path: Path) -> object:
    """The JSON value in `path`. Raises Refusal as `read_text` does, and `invalid` with the line of a slip."""
    text = read_text(path)
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        # The parser's own exception holds the whole text, which may be a list's seed.
        line, problem = error.lineno, error.msg
    else:
        return value
    message = say("%(path)s, line %(line)d: not JSON (%(problem)s).", path=path, line=line, problem=problem)
    raise refuse("invalid", "file.json", message)


def write_text(path: Path, text: str, *, replace: bool = False) -> None:
    """Write `text` to the file `path`, a new one unless `replace`. Raises Refusal `conflict` when it exists,
    `unavailable` when it cannot be written.
    """
    try:
        with path.open("w" if replace else "x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        message = say("%(path)s exists already; name another file.", path=path)
        raise refuse("conflict", "file.exists", message) from None
    except OSError as error:
        message = say("%(path)s could not be written (%(reason)s).", path=path, reason=error.strerror)
        raise refuse("unavailable", "file.write", message) from None
