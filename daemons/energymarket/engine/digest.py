"""Detail that is not kept: sums per home and day, added up as the slots are settled.

A run of a year of a million homes has more detail than its disk may take. The rule of retention says
that the oldest goes first, so what would be compacted before the run's end is never written: its slots
have prices, totals, hash and seal, and their day's sums stand where the market would put them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core import ledger
from energymarket.core.block import added_up
from energymarket.core.kpi.home_sums import NARROW_MAX, Column, size_of
from energymarket.core.records import GIFT_COLUMNS, ORDER_COLUMNS, SLOT_COLUMNS
from energymarket.market.audit_chain import stretch_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.core.passage import Passage
    from energymarket.transport.bulk_store import BulkStore

BODY_BYTES_PER_HOME: Final = 24
BODY_BYTES: Final = 1_024
"""What a slot's detail takes, by measurement: 19 to 21 bytes per home in the default scenario."""

DETAIL_SHARE: Final = 0.5
"""Of the disk that the ledger may take, this much is detail. Sums, rows and transactions need the rest."""


def detail_from(first_slot: int, end_slot: int, homes: int, disk_max_bytes: int) -> int:
    """The first slot of a run whose detail is written."""
    each = BODY_BYTES + BODY_BYTES_PER_HOME * homes
    return max(first_slot, end_slot - int(DETAIL_SHARE * disk_max_bytes) // each)


class DaySums:
    """The sums of the present day's slots that have no detail."""

    def __init__(self, homes: int, slots_per_day: int) -> None:
        self._homes = homes
        self._slots_per_day = slots_per_day
        self._first: int | None = None
        self._last = -1
        self._last_hash = b""  # of the last slot that was added, not of the last one that was chained
        self._sums: dict[str, Column] = {}  # in 32 bits until one could want more
        self._bounds: dict[str, int] = {}  # no value of a column is larger

    def take_up(self, store: BulkStore, slot: int) -> None:
        """Go on with the day of a slot, if the ledger has begun to sum it up."""
        found = store.stretch_over(slot)
        if found is not None and found[0] // self._slots_per_day == slot // self._slots_per_day:
            self._first, self._last = found[0], found[1]
            self._sums = {name: column.copy() for name, column in ledger.unpack(found[2])[1].items()}
            self._bounds = {name: size_of(column) for name, column in self._sums.items()}

    def add(self, passage: Passage, ended: BulkStore, hash_of: Mapping[int, bytes]) -> None:
        """Add the slots of a passage; a day that ends within it goes to the ledger."""
        slots, at = passage.slots, 0
        sizes = passage.sizes or {name: size_of(column) for name, column in passage.columns.items()}
        while at < slots:
            slot = passage.first_slot + at
            until = min(slots, at + self._slots_per_day - slot % self._slots_per_day)
            if self._first is None:
                self._begin(slot)
            for name in (name for name in SLOT_COLUMNS[1:] if sizes[name]):
                self._make_room(name, sizes[name] * (until - at))
                self._sums[name] += added_up(passage.columns[name][at:until])
            self._last = passage.first_slot + until - 1
            self._last_hash = hash_of[self._last]
            if (self._last + 1) % self._slots_per_day == 0:
                self.put(ended)
                self._first = None
            at = until

    def _begin(self, slot: int) -> None:
        self._first = slot
        self._sums = {name: np.zeros(self._homes, np.int32) for name in SLOT_COLUMNS[1:]}
        self._bounds = dict.fromkeys(SLOT_COLUMNS[1:], 0)

    def _make_room(self, name: str, growth: int) -> None:
        """Widen a column before it could want more than 32 bits."""
        self._bounds[name] += growth
        if self._bounds[name] > NARROW_MAX:
            self._sums[name] = self._sums[name].astype(np.int64, copy=False)

    def put(self, store: BulkStore) -> None:
        """Write the day as far as it has been added up, within the open transaction."""
        if self._first is None:
            return
        home = np.arange(1, self._homes + 1, dtype=np.int64)
        body = ledger.pack(
            ledger.SlotHead(self._first, 0, 0, 0, 0, 0, 0),
            {**self._sums, "home": home},
            {name: np.zeros(0, np.int64) for name in GIFT_COLUMNS},
            {name: np.zeros(0, np.int64) for name in ORDER_COLUMNS},
        )
        store.put_stretch(self._first, self._last, body, stretch_digest(self._last_hash, body))
