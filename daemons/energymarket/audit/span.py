"""A ledger from one slot to another, seen as if there were no more: for reports of a period."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from energymarket.audit.live import LiveLedger
    from energymarket.audit.source import Facts, Stretch
    from energymarket.transport.store import SlotRow


class Span:
    """The slots first .. last of a ledger, as a `Source`.

    What has been compacted cannot be cut: where an end lies inside a stretch the span grows to the whole of
    it, and `first` and `last` say so once the stretches have been asked for. `told` hears of every slot.
    """

    def __init__(self, ledger: LiveLedger, first: int, last: int, told: Callable[[int], None]) -> None:
        self._ledger = ledger
        self._told = told
        self._asked = (first, last)
        self.first = first
        self.last = last

    @property
    def is_widened(self) -> bool:
        """Whether more is read than was asked for."""
        return (self.first, self.last) != self._asked

    def facts(self) -> Facts:
        """Those of the whole ledger."""
        return self._ledger.facts()

    def stretches(self) -> list[Stretch]:
        """Those that have a slot of the span, which takes them in whole."""
        self.first, self.last = self._asked
        found = [
            each
            for each in self._ledger.stretches()
            if each.first <= self._asked[1] and each.last >= self._asked[0]
        ]
        for each in found:
            self.first, self.last = min(self.first, each.first), max(self.last, each.last)
        return found

    def rows(self, first: int) -> Iterator[SlotRow]:
        """The span's slots from `first` on, in order."""
        for row in self._ledger.rows(max(first, self.first), self.last):
            self._told(row.slot)
            yield row

    def beside(self) -> None:
        """Nothing: a span is of slots."""
