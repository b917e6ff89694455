"""The hash chain and the seals of the ledger, slot after slot: finds any flipped byte.

A compacted stretch has lost the bodies that its hashes were made of: there the kept hashes are tied by
the seals, and the sums per home by the digest with the stretch's last hash.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from energymarket.core import ledger
from energymarket.transport.store import StoreError

if TYPE_CHECKING:
    from energymarket.transport.store import LedgerStore, SlotRow


def stretch_digest(last_hash: bytes, body: bytes) -> bytes:
    """What ties the sums of a compacted stretch to the chain."""
    return hashlib.sha256(last_hash + body).digest()


def sound_slot(store: LedgerStore, slot: int) -> SlotRow | None:
    """A slot whose row is as it was written; None if there is none. Raises StoreError if it was changed."""
    row = store.slot(slot)
    if row is not None and row.seal_now() != row.seal:
        raise StoreError(f"slot {slot}: the seal does not hold: a column of its row was changed")
    return row


class ChainAudit:
    """Hears rows in order and stops at the first that does not hold."""

    def __init__(self, store: LedgerStore, first: int) -> None:
        self.first: int | None = None
        self.last: int | None = None
        self.slots = 0
        self.compacted = 0
        self.problem: str | None = None
        before = store.slot(first - 1)
        self.hash = before.hash if before is not None else bytes.fromhex(store.meta("genesis") or "")
        self._store = store
        self._stretch: tuple[int, int, bytes, bytes] | None = None  # that the last compacted slot lay in

    def hear(self, row: SlotRow) -> None:
        """Check one slot against what came before it."""
        if self.problem is not None:
            return
        if self.first is None:
            self.first = row.slot
        elif self.last is not None and row.slot != self.last + 1:
            self.problem = f"slot {self.last + 1}: missing"
            return
        self.problem = self._problem_of(row)
        if self.problem is None:
            self.hash, self.last = row.hash, row.slot
            self.slots += 1

    def _problem_of(self, row: SlotRow) -> str | None:
        if row.seal_now() != row.seal:
            return f"slot {row.slot}: the seal does not hold: a column of its row was changed"
        if row.body is None:
            return self._compacted(row)
        if not row.body:
            return f"slot {row.slot}: its body is not there"
        if ledger.chain(self.hash, row.body) != row.hash:
            return f"slot {row.slot}: the hash does not follow from the slot before and the body"
        try:
            head, _, _, _ = ledger.unpack(row.body)
        except ledger.LedgerCorrupt as error:
            return f"slot {row.slot}: {error}"
        shown = (row.slot, row.price_ueur_per_kwh, row.import_ueur_per_kwh, row.export_ueur_per_kwh)
        sealed = (head.slot, head.price_ueur_per_kwh, head.import_ueur_per_kwh, head.export_ueur_per_kwh)
        if shown != sealed:
            return f"slot {row.slot}: the row's prices {shown} are not the body's {sealed}"
        return None

    def _compacted(self, row: SlotRow) -> str | None:
        self.compacted += 1
        if self._stretch is None or row.slot > self._stretch[1]:
            # Looked up as it is now: the market may be compacting while it verifies.
            self._stretch = self._store.stretch_over(row.slot)
        if self._stretch is None:
            return f"slot {row.slot}: its body is gone, and no compacted stretch covers it"
        _, last, body, digest = self._stretch
        if row.slot == last and stretch_digest(row.hash, body) != digest:
            return f"slot {row.slot}: the sums of the compacted stretch that ends here do not hold"
        return None
