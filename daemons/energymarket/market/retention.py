"""Bounded disk: beyond the limit, the oldest detail becomes sums per home and day.

Rule: while ledger, write-ahead log and the homes' registers together take more than 80 % of `disk_max`,
the oldest slots that still have detail lose their bodies: what they said per home is added to one packed
table of sums per UTC day. Slots since the checkpoint before the newest one keep their detail, whatever
the limit. When there are more than `STRETCHES_MAX` tables, or they take more than a quarter of
`disk_max`, the two oldest become one. Prices, totals, hashes and seals of every slot stay. With its body
goes a slot's record of inputs; a replay begins at the next start, which a checkpoint leaves.

It is done between two slots, a few slots at a time, and each time is a transaction: the table grows by
the slots that lose their bodies. Nothing is remembered in between, so a market killed in the middle
goes on where the ledger says.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core import ledger
from energymarket.core.records import GIFT_COLUMNS, ORDER_COLUMNS, SLOT_COLUMNS
from energymarket.core.state import STATE_BYTES_PER_HOME
from energymarket.market.audit_chain import stretch_digest
from energymarket.transport.store import WAL_BYTES_MAX

if TYPE_CHECKING:
    from energymarket.transport.store import LedgerStore, SlotRow

log = logging.getLogger(__name__)

FULL_SHARE: Final = 0.8
"""The rest is for the next slot, for a step's own pages, and for a market that is stopped on a full disk."""

WAL_SHARE: Final = 1 / 8
SUMS_SHARE: Final = 1 / 4
STRETCHES_MAX: Final = 64

STEP_BYTES: Final = 4 << 20
"""Bodies that one step reads: some 25 ms of work. Two slots at least, or it would never catch up."""

GENERATIONS: Final = 2  # of the homes' registers: see `transport.generation`


@dataclass(slots=True)
class Retention:
    """The rule, and whether it could be kept."""

    disk_max_bytes: int
    slots_per_day: int
    too_small: bool = False  # detail that must stay takes more than `disk_max` allows
    _registers_bytes: int | None = field(default=None, init=False)

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
        """After a commit: compact some of the oldest detail if too much is taken; whether it did."""
        if self.taken_bytes(store) < FULL_SHARE * self.disk_max_bytes:
            self.too_small = False
            return False
        compacted = self._compact(store)
        merged = self._merge(store)
        if not compacted and not merged and not self.too_small:
            log.warning("all that can be compacted is: disk_max (%d bytes) is too small", self.disk_max_bytes)
        self.too_small = not compacted and not merged
        return not self.too_small

    def _compact(self, store: LedgerStore) -> bool:
        """Add the oldest slots with detail to the day's sums; False if there are none that may go."""
        stretches, kept = store.stretches(), store.older_checkpoint()
        first = store.first_slot() if not stretches else stretches[-1][1] + 1
        if first is None or kept is None or first > kept:
            return False
        last = min(kept, first - first % self.slots_per_day + self.slots_per_day - 1)
        begin, sums = first, Sums()
        if stretches and stretches[-1][0] // self.slots_per_day == first // self.slots_per_day:
            begin = stretches[-1][0]
            sums.add_bodies([row[2] for row in [store.stretch_over(begin)] if row is not None])
        rows = _step(store, first, last)
        if not rows:
            return False
        sums.add_bodies([row.body for row in rows if row.body is not None])
        body, end = sums.pack(begin), rows[-1]
        store.compact(begin, end.slot, body, stretch_digest(end.hash, body))
        if (end.slot + 1) % self.slots_per_day == 0:
            log.info("slots %d to %d compacted to sums per home", begin, end.slot)
        return True

    def _merge(self, store: LedgerStore) -> bool:
        """Join the two oldest tables if there are too many or they are too large; never the newest."""
        stretches = store.stretches()
        size = sum(each[2] for each in stretches)
        if len(stretches) <= STRETCHES_MAX and size <= SUMS_SHARE * self.disk_max_bytes:
            return False
        if len(stretches) <= 2:
            return False
        found = [store.stretch_over(first) for first, _, _ in stretches[:2]]
        last = store.slot(stretches[1][1])
        if last is None:
            return False
        sums = Sums()
        sums.add_bodies([each[2] for each in found if each is not None])
        first = stretches[0][0]
        body = sums.pack(first)
        store.compact(first, last.slot, body, stretch_digest(last.hash, body), absorbs=(stretches[1][0],))
        return True


def _step(store: LedgerStore, first: int, last: int) -> list[SlotRow]:
    """Slots from `first` on, as many as one step reads."""
    rows: list[SlotRow] = []
    size = 0
    for row in store.slots(first, last):
        rows.append(row)
        size += len(row.body or b"")
        if size >= STEP_BYTES and len(rows) >= 2:
            break
    return rows


class Sums:
    """Slots added up per home, packed as a slot is: without prices, gifts and orders."""

    def __init__(self) -> None:
        self._sums = {name: np.zeros(0, np.int64) for name in SLOT_COLUMNS}

    def add_bodies(self, bodies: list[bytes]) -> None:
        """Add slots, or sums of slots, one after the other: only one is unpacked at a time."""
        for body in bodies:
            _, columns, _, _ = ledger.unpack(body)
            self._add(columns)

    def _add(self, columns: ledger.Columns) -> None:
        sums = self._sums
        if not np.array_equal(sums["home"], columns["home"]):
            homes = np.union1d(sums["home"], columns["home"])
            at = np.searchsorted(homes, sums["home"])
            for name in SLOT_COLUMNS[1:]:
                wider = np.zeros(len(homes), np.int64)
                wider[at] = sums[name]
                sums[name] = wider
            sums["home"] = homes
        rows = np.searchsorted(sums["home"], columns["home"])
        for name in SLOT_COLUMNS[1:]:
            sums[name][rows] += columns[name]

    def pack(self, first_slot: int) -> bytes:
        """The body of the stretch that begins with this slot."""
        gifts = {name: np.zeros(0, np.int64) for name in GIFT_COLUMNS}
        orders = {name: np.zeros(0, np.int64) for name in ORDER_COLUMNS}
        return ledger.pack(ledger.SlotHead(first_slot, 0, 0, 0, 0, 0, 0), self._sums, gifts, orders)
