"""What a broker has taken over of what was published on a channel: confirms come one by one, or in bulk."""

from __future__ import annotations


class Confirms:
    """Tags count from 1 on each channel; all up to `floor` are confirmed."""

    def __init__(self) -> None:
        self.published = 0
        self.floor = 0
        self._ahead: set[int] = set()  # confirmed above the floor

    def begin(self) -> None:
        """A new channel."""
        self.published = self.floor = 0
        self._ahead.clear()

    def settle(self, tag: int, *, multiple: bool) -> None:
        """The broker has confirmed a tag, or all up to it."""
        if multiple:
            self.floor = max(self.floor, tag)
        else:
            self._ahead.add(tag)
        while self.floor + 1 in self._ahead:
            self.floor += 1
            self._ahead.discard(self.floor)
        if multiple and self._ahead:
            self._ahead = {each for each in self._ahead if each > self.floor}
