"""Writing a file whole or not at all, so that a crash or a full disk never leaves half a key or half a list."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rts.refusal import Refusal, refuse, say


@contextmanager
def locked_directory(directory: Path) -> Iterator[None]:
    """Hold the directory against other writers, of this and other processes, for a read-check-write."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Create `path` with `content` and permission bits `mode`, durably.

    Raises Refusal `conflict` when it exists (it is left as it was) and `unavailable` when the disk refuses.
    """
    with _written_beside(path, content, mode) as temporary:
        try:
            # A hard link fails when the name exists, where a rename would silently replace it.
            os.link(temporary, path)
        except FileExistsError:
            message = say("%(name)s exists already and is never overwritten.", name=path.name)
            raise refuse("conflict", "file.exists", message) from None


def replace(path: Path, content: bytes, mode: int) -> None:
    """Put `content` in place of whatever `path` holds, in one step. Raises Refusal `unavailable` as above."""
    with _written_beside(path, content, mode) as temporary:
        temporary.replace(path)


@contextmanager
def _written_beside(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """A flushed temporary file in the same directory; gone afterwards, and the directory flushed."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(descriptor, mode)
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
        _flush_directory(path.parent)
    except OSError as problem:
        raise disk_refused(path, problem) from None


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_refused(path: Path, problem: OSError) -> Refusal:
    """The refusal for a write that the disk or its permissions did not allow."""
    message = say(
        "%(name)s could not be written (%(reason)s). Nothing was kept of it: make room or correct the permissions, "
        "then try again.",
        name=path.name,
        reason=problem.strerror or type(problem).__name__,
    )
    return refuse("unavailable", "file.write", message)


def read(path: Path) -> bytes:
    """The content of `path`. Raises Refusal `not_found` when there is none, `unavailable` when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise refuse("not_found", "file.missing", say("There is no file %(name)s.", name=path.name)) from None
    except OSError as problem:
        message = say("%(name)s cannot be read (%(reason)s).", name=path.name, reason=problem.strerror)
        raise refuse("unavailable", "file.read", message) from None
