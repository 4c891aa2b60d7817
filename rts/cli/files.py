"""Reading and writing the files that a command names, with a plain sentence for each way in which that can fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rts.refusal import refuse, say


def read_bytes(path: Path) -> bytes:
    """The bytes of `path`, or of standard input for `-`. Raises Refusal `not_found` or `unavailable`."""
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except FileNotFoundError:
        raise refuse("not_found", "file.missing", say("There is no file %(path)s.", path=path)) from None
    except OSError as error:
        message = say("%(path)s cannot be read (%(reason)s).", path=path, reason=error.strerror)
        raise refuse("unavailable", "file.read", message) from None


def read_text(path: Path) -> str:
    """The text of `path`. Raises Refusal as `read_bytes` does, and `invalid` when it is not UTF-8."""
    try:
        return read_bytes(path).decode("utf-8-sig")
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


def json_of(text: str) -> object:
    """The JSON value that an argument holds. Raises Refusal `invalid`."""
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        message = say("not JSON (%(problem)s): %(given)s", problem=error.msg, given=text)
        raise refuse("invalid", "argument.json", message) from None
    return value


def read_lines(path: Path) -> Iterator[str]:
    """The lines of `path`, one at a time. Raises Refusal as `read_text` does.

    A line ends at a line feed only: a detail in an audit export may hold U+2028, at which `splitlines` would cut it.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as stream:
            for line in stream:
                yield line.removesuffix("\n")
    except FileNotFoundError:
        raise refuse("not_found", "file.missing", say("There is no file %(path)s.", path=path)) from None
    except OSError as error:
        message = say("%(path)s cannot be read (%(reason)s).", path=path, reason=error.strerror)
        raise refuse("unavailable", "file.read", message) from None
    except UnicodeDecodeError:
        raise refuse("invalid", "file.text", say("%(path)s is not UTF-8 text.", path=path)) from None


def write_lines(path: Path, lines: Iterable[str], *, replace: bool = False) -> int:
    """Write `lines`, each with its end, to the file `path`, a new one unless `replace`; returns how many.

    Raises Refusal `conflict` when it exists, `unavailable` when it cannot be written; nothing is then left behind.
    """
    written = 0
    try:
        with path.open("w" if replace else "x", encoding="utf-8", newline="\n") as stream:
            try:
                for line in lines:
                    stream.write(line)
                    written += 1
                stream.flush()
            except BaseException:
                path.unlink()
                raise
    except FileExistsError:
        message = say("%(path)s exists already; name another file.", path=path)
        raise refuse("conflict", "file.exists", message) from None
    except OSError as error:
        message = say("%(path)s could not be written (%(reason)s).", path=path, reason=error.strerror)
        raise refuse("unavailable", "file.write", message) from None
    return written
