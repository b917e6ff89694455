"""How far a long work is: told to whoever asked for it, shown as a bar on a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from rich.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Told: TypeAlias = "Callable[[str, int, int], None]"
"""What is done, how much of it, of how much."""


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody asked."""


@contextmanager
def shown() -> Iterator[Told]:
    """A bar per work on standard error, if that is a terminal; it is gone at the end."""
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        tasks = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield told
