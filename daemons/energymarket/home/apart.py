"""Homes that have left the pool: a home of the pool that is started by itself leaves it for good.

The word of it is a file `apart/ID` in the directory of the registers: the pool looks for it, and who starts
the suite again finds there which homes to start by themselves.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from energymarket.transport.generation import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

APART: Final = "apart"
_HOME: Final = re.compile(r"[1-9][0-9]{0,6}")  # what the unit that starts them takes for a number too


def homes_in(state: Path) -> frozenset[int]:
    """The homes that have left the pool of this state directory."""
    try:
        names = [path.name for path in (state / APART).iterdir()]
    except FileNotFoundError:
        return frozenset()
    return frozenset(int(name) for name in names if _HOME.fullmatch(name))


def leave(state: Path, home: int) -> None:
    """Say that a home leaves the pool; durable when this returns."""
    directory = state / APART
    directory.mkdir(mode=0o750, exist_ok=True)
    descriptor = os.open(
        directory / str(home), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640
    )
    os.close(descriptor)
    sync_directory(directory)
    sync_directory(state)
