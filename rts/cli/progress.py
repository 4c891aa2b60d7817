"""Progress bars on long work: on a terminal only, and on stderr, so that what a command prints stays clean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def shown_progress(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A function to be told the steps done, their number and what is being done, shown as a bar."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total, words: bar.update(task, completed=done, total=total, description=words or title)
