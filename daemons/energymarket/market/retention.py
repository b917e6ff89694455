"""Bounded disk: beyond the limit, the oldest detail becomes sums per home and day.

Rule: while ledger, write-ahead log and the homes' registers together take more than 80 % of `disk_max`,
the oldest slots that still have detail lose their bodies: what they said per home is added to one packed
table of sums per UTC day. Slots since the checkpoint before the newest one keep their detail, whatever
the limit. When there are more than `STRETCHES_MAX` tables, or they take more than a quarter of
`disk_max`, the two oldest become one. Prices, totals, hashes and seals of every slot stay. With its body
goes a slot's record of inputs; a replay begins at the next start, which a checkpoint leaves.

It is done while a slot is open, some milliseconds at a time, for two slots or more in each slot. A step
takes slots that have up to a quarter of `disk_max` together and ends with a transaction: the table grows by
the slots that lose their bodies. Nothing of it counts before, so a market killed in the middle goes on where
the ledger says.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from energymarket.core.ledger import LedgerCorrupt
from energymarket.core.records import SLOT_COLUMNS
from energymarket.core.state import STATE_BYTES_PER_HOME
from energymarket.market.compaction import Span, compact
from energymarket.transport.store import WAL_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from energymarket.transport.store import LedgerStore

log = logging.getLogger(__name__)

FULL_SHARE: Final = 0.8
"""The rest is for slots that come during a step, and for a market that is stopped on a full disk."""

WAL_SHARE: Final = 1 / 8
SUMS_SHARE: Final = 1 / 4
STRETCHES_MAX: Final = 64

STEP_SHARE: Final = 1 / 4
"""Of `disk_max`: bodies of one step. The fewer steps, the less often a day's sums are written once more; and
half as much as a step takes away comes meanwhile."""

STEP_SLOTS_MAX: Final = 256
"""Each has a file that is open meanwhile."""

HELD_BYTES_MAX: Final = 4 << 20
"""Of bodies that lie in the database a step holds no more: they cannot be read a column at a time."""

PIECES_PER_SLOT: Final = 3 * len(SLOT_COLUMNS)
"""Of a step, while a slot is open. Two slots are added up meanwhile, or more would come than go."""

GENERATIONS: Final = 2  # of the homes' registers: see `transport.generation`
_DONE: Final = object()


@dataclass(slots=True)
class Retention:
    """The rule, and whether it could be kept."""

    disk_max_bytes: int
    slots_per_day: int
    too_small: bool = False  # detail that must stay takes more than `disk_max` allows
    _registers_bytes: int | None = field(default=None, init=False)
    _begun: Iterator[None] | None = field(default=None, init=False)  # a step that has not come to its end
    _damage: str | None = field(default=None, init=False)  # of detail: then all of it stays

    @property
    def wal_bytes_max(self) -> int:
        """How large the write-ahead log may get before it is folded back."""
        return min(WAL_BYTES_MAX, round(self.disk_max_bytes * WAL_SHARE))

    def taken_bytes(self, store: LedgerStore) -> int:
        """What the state directory takes at most until the log is folded back: the homes' part by its size.

        The market never reads the homes' registers; how large they are follows from their number.
        """
        if self._registers_bytes is None:
            homes = int(store.meta("homes") or 0)
            self._registers_bytes = homes * STATE_BYTES_PER_HOME * GENERATIONS
        return store.used_bytes() + self.wal_bytes_max + self._registers_bytes

    def tend(self, store: LedgerStore) -> bool:
        """Take a step to its end if too much is taken; whether there was one. Raises StoreError."""
        begun = self._begun or self._next(store)
        if begun is None:
            return False
        self._begun = None
        for _ in begun:
            pass
        return self._damage is None

    def pieces(self, store: LedgerStore) -> Iterator[None]:
        """The pieces of work that are to be done while a slot is open; the caller may leave off at each.

        A step that does not come to its end goes on with the next call. Raises StoreError.
        """
        for _ in range(PIECES_PER_SLOT):
            begun, self._begun = self._begun or self._next(store), None
            if begun is None or next(begun, _DONE) is _DONE:
                return
            self._begun = begun
            yield

    def _step(self, store: LedgerStore, span: Span) -> Iterator[None]:
        try:
            yield from compact(store, span)
        except LedgerCorrupt as error:
            log.error("detail stays, compaction ends: %s: `energyctl ledger verify` says where", error)  # noqa: TRY400
            self._damage = str(error)
            return
        if not span.absorbs and (span.last + 1) % self.slots_per_day == 0:
            log.info("slots %d to %d compacted to sums per home", span.first, span.last)

    def _next(self, store: LedgerStore) -> Iterator[None] | None:
        """What is to be done now."""
        if self.taken_bytes(store) < FULL_SHARE * self.disk_max_bytes:
            self.too_small = False
            return None
        if self._damage is not None:
            return None
        span = self._two_oldest(store) or self._oldest(store)
        if span is None and not self.too_small:
            log.warning("all that can be compacted is: disk_max (%d bytes) is too small", self.disk_max_bytes)
        self.too_small = span is None
        return None if span is None else self._step(store, span)

    def _oldest(self, store: LedgerStore) -> Span | None:
        """The oldest slots with detail join the day's sums; None if there are none that may go."""
        stretches, kept = store.stretches(), store.older_checkpoint()
        first = store.first_slot() if not stretches else stretches[-1][1] + 1
        if first is None or kept is None or first > kept:
            return None
        last = min(kept, first - first % self.slots_per_day + self.slots_per_day - 1)
        begin, bodies = first, []
        if stretches and stretches[-1][0] // self.slots_per_day == first // self.slots_per_day:
            begin = stretches[-1][0]
            bodies.append(store.body_of_stretch(*stretches[-1][:2]))
        size, slots = 0, 0
        for slot, its in store.detail(first, last):
            last, slots, size = slot, slots + 1, size + (its or 0)
            if its is not None:
                bodies.append(store.body_of_slot(slot))
            if slots == STEP_SLOTS_MAX or (size >= self._step_bytes(store) and slots >= 2):
                break
        return Span(begin, last, bodies) if slots else None

    def _step_bytes(self, store: LedgerStore) -> float:
        most = STEP_SHARE * self.disk_max_bytes
        return most if store.in_files else min(most, HELD_BYTES_MAX)

    def _two_oldest(self, store: LedgerStore) -> Span | None:
        """The two oldest tables become one if there are too many or they are too large; never the newest."""
        stretches = store.stretches()
        size = sum(each[2] for each in stretches)
        if len(stretches) <= STRETCHES_MAX and size <= SUMS_SHARE * self.disk_max_bytes:
            return None
        if len(stretches) <= 2:
            return None
        (first, middle, _), (second, last, _) = stretches[:2]
        bodies = [store.body_of_stretch(first, middle), store.body_of_stretch(second, last)]
        return Span(first, last, bodies, absorbs=(second,))
