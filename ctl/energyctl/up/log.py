"""up.log: what the daemons of a run say, and what the supervisor does. A full disk costs lines only.

It is bounded: a full file becomes up.log.1, whose lines before are gone.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Self

BYTES_MAX: Final = 8 << 20
"""Of a file, and there are two. A run directory is memory; a busy run writes some hundred bytes a minute."""
_STANDARD: Final = (1, 2)


class Log:
    """A file of lines. What cannot be written is counted, and told with the next line that can."""

    def __init__(self, path: Path, bytes_max: int = BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._fd = -1
        self._bytes = 0
        self.lost = 0

    def __enter__(self) -> Self:
        self._fd = _opened(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def line(self, text: str) -> None:
        """Write a line."""
        told = f"energyctl: {self.lost} lines could not be written\n" if self.lost else ""
        data = f"{told}{text}\n".encode("utf-8", "replace")
        try:
            if self._bytes + len(data) > self._bytes_max:
                self._begin_anew()
            written = os.write(self._fd, data)
        except OSError:
            written = 0
        self._bytes += written
        self.lost = 0 if written == len(data) else self.lost + 1

    def _begin_anew(self) -> None:
        """The name is never without a file: who follows it by name goes on in the new one. OSError."""
        self._bytes = 0  # where this fails, it is tried again after as many lines more
        fresh = self._path.with_name(f"{self._path.name}.new")
        made = _opened(fresh)
        try:
            before(self._path).unlink(missing_ok=True)
            os.link(self._path, before(self._path))
            fresh.replace(self._path)
        except OSError:
            os.close(made)
            fresh.unlink(missing_ok=True)
            raise
        old, self._fd = self._fd, made
        for fd in _STANDARD:  # of a detached run, they are the log
            if _is_same(fd, old):
                os.dup2(made, fd)
        os.close(old)


def before(path: Path) -> Path:
    """Where the lines before are."""
    return path.with_name(f"{path.name}.1")


def _opened(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o640)


def _is_same(one: int, other: int) -> bool:
    here, there = os.fstat(one), os.fstat(other)
    return stat.S_ISREG(here.st_mode) and os.path.samestat(here, there)
