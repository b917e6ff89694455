"""A barrier, as the keeper has it: who has arrived, and when it opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class Barrier:
    """One barrier, round after round.

    It opens when every living process has arrived. One that is to keep everyone opens only when every seat
    is filled too, and no arrival counts that was made without knowing of the last loss.
    """

    __slots__ = ("_arrivals", "keep_all")

    def __init__(self, *, keep_all: bool) -> None:
        self.keep_all = keep_all
        self._arrivals: dict[int, int] = {}  # by life: the number of its arrival

    @property
    def arrived(self) -> int:
        """How many wait at it."""
        return len(self._arrivals)

    def arrive(self, life: int, arrival: int) -> None:
        """A process has come."""
        self._arrivals[life] = arrival

    def withdraw(self, life: int, arrival: int) -> bool:
        """A process waits no longer; whether it was waiting still."""
        if self._arrivals.get(life) != arrival:
            return False
        del self._arrivals[life]
        return True

    def lose(self, life: int) -> None:
        """A process is lost: a barrier that keeps everyone begins its round anew."""
        if self.keep_all:
            self._arrivals.clear()
        else:
            self._arrivals.pop(life, None)

    def open(self, living: Collection[int], seats: int) -> dict[int, int]:
        """If it opens, the arrivals that end, by life; else nothing."""
        if not living or (self.keep_all and len(living) < seats):
            return {}
        if any(life not in self._arrivals for life in living):
            return {}
        arrivals, self._arrivals = self._arrivals, {}
        return arrivals
