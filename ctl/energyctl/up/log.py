"""up.log: what the daemons of a run say, and what the supervisor does. A full disk costs lines only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self


class Log:
    """A file of lines. What cannot be written is counted, and told with the next line that can."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self.lost = 0

    def __enter__(self) -> Self:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, 0o640)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def line(self, text: str) -> None:
        """Write a line."""
        told = f"energyctl: {self.lost} lines could not be written\n" if self.lost else ""
        data = f"{told}{text}\n".encode("utf-8", "replace")
        try:
            written = os.write(self._fd, data)
        except OSError:
            written = 0
        self.lost = 0 if written == len(data) else self.lost + 1
