"""Writing a file whole or not at all, so that a crash or a full disk never leaves half a key or half a list."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rts.refusal import Refusal, refuse, say

_STEP = 2**20


@contextmanager
def locked_directory(directory: Path) -> Iterator[None]:
    """Hold the directory against other writers, of this and other processes, for a read-check-write."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_new(path: Path, content: bytes | bytearray, mode: int) -> None:
    """Create `path` with `content` and permission bits `mode`, durably.

    Raises Refusal `conflict` when it exists (it is left as it was) and `unavailable` when the disk refuses.
    """
    with _written_beside(path, content, mode) as temporary:
        try:
            # A hard link fails when the name exists, where a rename would silently replace it.
            os.link(temporary, path)
        except FileExistsError:
            raise _exists(path) from None


def refuse_existing(path: Path) -> None:
    """Raise the Refusal that `write_new` would, before anything is done for the sake of the file."""
    if path.exists():
        raise _exists(path)


def _exists(path: Path) -> Refusal:
    message = say("%(name)s exists already and is never overwritten.", name=path.name)
    return refuse("conflict", "file.exists", message)


def replace(path: Path, content: bytes, mode: int) -> None:
    """Put `content` in place of whatever `path` holds, in one step. Raises Refusal `unavailable` as above."""
    with _written_beside(path, content, mode) as temporary:
        temporary.replace(path)


@contextmanager
def _written_beside(path: Path, content: bytes | bytearray, mode: int) -> Iterator[Path]:
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
    return OpenFile(path)[:]


class OpenFile:
    """A file opened for reading, of which a part is read when it is asked for: `file[start:stop]`.

    It stays the same file when another is put in its place, and is closed when nobody holds it any longer. Raises
    Refusal `not_found` when there is none, `unavailable` when it, or later a part of it, cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._descriptor)
            self._length = os.fstat(self._descriptor).st_size
        except FileNotFoundError:
            raise refuse("not_found", "file.missing", say("There is no file %(name)s.", name=path.name)) from None
        except OSError as problem:
            raise self._unreadable(problem) from None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._length)
        try:
            content = os.pread(self._descriptor, stop - start, start)
        except OSError as problem:
            raise self._unreadable(problem) from None
        if len(content) < stop - start:
            message = say("%(name)s was cut while it was being read.", name=self._name)
            raise refuse("unavailable", "file.cut", message)
        return content

    def digest(self) -> str:
        """SHA-256 of the content, in hex digits."""
        found = hashlib.sha256()
        for start in range(0, self._length, _STEP):
            found.update(self[start : start + _STEP])
        return found.hexdigest()

    def _unreadable(self, problem: OSError) -> Refusal:
        message = say("%(name)s cannot be read (%(reason)s).", name=self._name, reason=problem.strerror)
        return refuse("unavailable", "file.read", message)
