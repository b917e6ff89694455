"""Exact sharing, one claim after the other: for an offer that is split more often than its parts have names.

`serving` has the same outcome for everything else, many times faster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from energymarket.core.limits import INDEX_MAX
from energymarket.core.parameters import Sharing, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Table:
    """Offers on the table, oldest first, while they are taken one by one."""

    energies: list[int]
    indexes: list[int]
    lack: list[int]  # of each taker
    head: int = 0
    claims: list[tuple[int, int, int, int]] = field(default_factory=list)  # offer, taker, energy, index
    withdrawn: list[tuple[int, int, int]] = field(default_factory=list)  # offer, energy, index

    def serve(self, sharing: Sharing, turns: int | None) -> None:
        """Let takers take until nobody lacks anything, nothing is left, or the rounds are over."""
        for taker in self._turns(sharing, turns):
            if self.head == len(self.energies):
                break
            self.lack[taker] = self._take(taker, self.lack[taker])

    def _turns(self, sharing: Sharing, turns: int | None) -> Iterator[int]:
        needy = [taker for taker, lacking in enumerate(self.lack) if lacking > 0]
        if sharing.turn is Turn.SELFISH:
            for taker in needy:
                while self.lack[taker] > 0:
                    yield taker
            return
        rounds = 0
        while needy and (turns is None or rounds < turns):
            yield from needy
            needy = [taker for taker in needy if self.lack[taker] > 0]
            rounds += 1

    def _take(self, taker: int, lacking: int) -> int:
        """Take one offer or a part of it; the answer is what is still lacking."""
        head = self.head
        energy, index = self.energies[head], self.indexes[head]
        if lacking >= energy:
            self.claims.append((head, taker, energy, index))
            self.head = head + 1
            return lacking - energy
        self.claims.append((head, taker, lacking, index))
        if index < INDEX_MAX:
            self.energies[head] = energy - lacking
            self.indexes[head] = index + 1
        else:
            self.withdrawn.append((head, energy - lacking, INDEX_MAX))
            self.head = head + 1
        return 0
