"""Bounded disk: beyond the limit, the oldest detail becomes sums per home and stretch of slots.

Rule: while the ledger uses more than 80 % of `disk_max`, the oldest `slots_per_day` slots that still
have detail (never one within the last two checkpoints) lose their bodies for one packed table of sums
per home. When more than `STRETCHES_MAX` such tables have come together, the two oldest become one.
Prices, totals, hashes and seals of every slot stay.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.core import ledger
from energymarket.core.records import GIFT_COLUMNS, ORDER_COLUMNS, SLOT_COLUMNS
from energymarket.market.audit_chain import stretch_digest

if TYPE_CHECKING:
    from energymarket.transport.store import LedgerStore, SlotRow

log = logging.getLogger(__name__)

FULL_SHARE: Final = 0.8
KEPT_SLOTS_MIN: Final = 192
"""Detail of so many slots always stays: two days of quarter-hours, more than two checkpoints."""

STRETCHES_MAX: Final = 64
SLOTS_PER_STEP: Final = 16
"""Compacting is done between two slots, a few slots at a time."""


@dataclass(slots=True)
class Retention:
    """The rule, and the stretch that is being summed up."""

    disk_max_bytes: int
    slots_per_day: int

    def tend(self, store: LedgerStore, last_slot: int) -> None:
        """After a commit: compact the oldest detail if the ledger has grown too large."""
        if last_slot % SLOTS_PER_STEP or store.used_bytes() < FULL_SHARE * self.disk_max_bytes:
            return
        first = store.oldest_detailed_slot()
        if first is None:
            return
        last = min(first + self.slots_per_day - 1, last_slot - KEPT_SLOTS_MIN)
        rows = list(store.slots(first, last)) if last >= first else []
        if not rows:
            log.debug("the ledger is full of detail that must stay: disk_max is too small for it")
            return
        body = summed(rows)
        store.compact(rows[0].slot, rows[-1].slot, body, stretch_digest(rows[-1].hash, body))
        log.info("slots %d to %d compacted to sums per home", rows[0].slot, rows[-1].slot)
        self._merge(store)

    def _merge(self, store: LedgerStore) -> None:
        stretches = store.days()
        if len(stretches) <= STRETCHES_MAX:
            return
        (first, _, one, _), (second, last, two, _) = stretches[:2]
        row = store.slot(last)
        if row is None:
            return
        body = _sum_bodies([one, two], first)
        store.compact(first, last, body, stretch_digest(row.hash, body), absorbs=(second,))


def summed(rows: list[SlotRow]) -> bytes:
    """The packed sums per home of slots with detail."""
    return _sum_bodies([row.body for row in rows if row.body is not None], rows[0].slot)


def _sum_bodies(bodies: list[bytes], slot: int) -> bytes:
    """Add slots, or sums of slots, per home; packed as a slot is, without prices, gifts and orders."""
    tables = [ledger.unpack(body)[1] for body in bodies]
    homes = np.unique(np.concatenate([table["home"] for table in tables]))
    sums: dict[str, Any] = {name: np.zeros(len(homes), np.int64) for name in SLOT_COLUMNS}
    sums["home"] = homes
    for table in tables:
        at = np.searchsorted(homes, table["home"])
        for name in SLOT_COLUMNS[1:]:
            sums[name][at] += table[name]
    gifts = {name: np.zeros(0, np.int64) for name in GIFT_COLUMNS}
    orders = {name: np.zeros(0, np.int64) for name in ORDER_COLUMNS}
    head = ledger.SlotHead(slot, 0, 0, 0, 0, 0, 0)
    return ledger.pack(head, sums, gifts, orders)
