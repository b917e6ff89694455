"""What a manager can be waited for by: readable while there is something to hear, or something was heard."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from event_bus.shell.connection import Packets


class News:
    """The line to the keeper, and a mark beside it for what was heard and not yet told.

    The line alone would not do: a process that dies while its manager still waits for the others of its
    batch is heard of there, and nothing more comes.
    """

    def __init__(self, line: Packets) -> None:
        self._epoll = select.epoll()
        self._mark = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        for descriptor in (line.fileno(), self._mark):
            self._epoll.register(descriptor, select.EPOLLIN)

    def fileno(self) -> int:
        """The descriptor."""
        return self._epoll.fileno()

    def mark(self) -> None:
        """There is something to tell."""
        os.eventfd_write(self._mark, 1)

    def told(self) -> None:
        """All that was heard was told."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._mark)

    def close(self) -> None:
        """Close it."""
        self._epoll.close()
        os.close(self._mark)
