"""The line that shows on a terminal how far an answer is; nowhere else is anything shown."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Final, Self

from energyctl.render import clean

if TYPE_CHECKING:
    from types import TracebackType

_BAR: Final = 20


class WaitingLine:
    """One line on standard error, written over again and again, and gone at the end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = False
        self._on = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def told(self, share: float | None, doing: str) -> None:
        """So much is done; None while it waits."""
        if not self._on:
            return
        bar = "" if share is None else f" {_bar(share)} {share:4.0%}"
        columns = shutil.get_terminal_size().columns
        sys.stderr.write("\r\x1b[K" + clean(f"{self._what}{bar}  {doing}")[: columns - 1])
        sys.stderr.flush()
        self._shown = True


def _bar(share: float) -> str:
    full = round(min(max(share, 0.0), 1.0) * _BAR)
    return "█" * full + "░" * (_BAR - full)
