"""The keeper of the books: everything the market acknowledges passes through here to the disk first."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from energymarket.core.market import Order
from energymarket.market import recovery, snapshot
from energymarket.runtime import memory
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.occasions import Occasion
from energymarket.transport.store import OrderRow, SlotRow, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from energymarket.core.market import Accounts, Closed, Market, Opening, Outside
    from energymarket.core.parameters import PriceModel
    from energymarket.core.weather import Sample
    from energymarket.market.recorder import Recorder
    from energymarket.market.retention import Retention
    from energymarket.transport.store import LedgerStore

log = logging.getLogger(__name__)

CHECKPOINT_SLOTS: Final = 64
"""A restart reads at most so many slots: 64 slots of 100,000 homes are read in well under a second."""

RETRY_NS: Final = 500_000_000
"""A slot that the disk refused is tried again after this long; until then nothing is acknowledged."""


class Bookkeeper:
    """Writes orders, slots and events; knows whether the disk still takes them."""

    def __init__(
        self, store: LedgerStore, market: Market, retention: Retention, recorder: Recorder | None = None
    ) -> None:
        self.store = store
        self.failed: str | None = None  # what the disk said
        self.retry_ns: int | None = None
        self._market = market
        self._retention = retention
        self._recorder = recorder  # None: what comes from outside is not kept
        self._heavy = False  # whether the last slot came with accounts of all homes

    # openings

    def note_opening(self, outside: Outside, sample: Sample | None) -> None:
        """The slot that was just opened: what was known of the world goes into its record."""
        if self._recorder is not None:
            self._recorder.open(outside, sample)

    def note_reopening(self) -> None:
        """The slot that was just opened again as it was: what was noted of it then goes into its record."""
        if self._recorder is not None:
            self._recorder.reopen(self.store.meta("opening_inputs"))

    # single orders

    def orders_of(self, slot: int) -> list[Order]:
        """Orders of a slot that were acknowledged before, in order of receipt."""
        return [recovery.order_of(row) for row in self.store.orders_of(slot)]

    def opening_as_it_was(self, slot: int) -> Opening | None:
        """How a slot with acknowledged orders was opened: their price is the slot's, also after a restart."""
        opening = recovery.opening_of(self.store.meta("opening"))
        return opening if opening is not None and opening.slot == slot else None

    def append(self, orders: Sequence[Order]) -> bool:
        """Make orders durable; the slot's first ones together with how the slot was opened."""
        state = {}
        if len(self._market.orders) == len(orders) and self._market.opening is not None:
            state["opening"] = json.dumps(asdict(self._market.opening))
            state["opening_inputs"] = "" if self._recorder is None else self._recorder.note()
        try:
            self.store.append_orders([OrderRow(**asdict(order)) for order in orders], state)
        except StoreError as error:
            self._trouble(str(error))
            return False
        return True

    # slots

    def commit(self, closed: Closed, counts: snapshot.Counts) -> bool:
        """Make a slot durable. False: the disk refused, nothing counts, it may be tried again."""
        facts = {
            "state": self._market.state_after(closed),
            "events": json.dumps(self._market.book.to_dict()),
        }
        after = self._accounts_after(closed) if closed.slot % CHECKPOINT_SLOTS == 0 else None
        checkpoint = None if after is None else recovery.checkpoint_of(closed.hash, after)
        record = None if self._recorder is None else self._recorder.record(closed, counts, after)
        try:
            self.store.commit_slot(self._row(closed, counts), facts, checkpoint, record, closed.parts)
        except StoreError as error:
            self._trouble(str(error))
            return False
        if self._recorder is not None:
            self._recorder.recorded(record)
        self._heavy = checkpoint is not None or bool(record and record.starts)
        if self.failed is not None:
            log.warning("the ledger can be written again", extra=Occasion.LEDGER_RECOVERED.fields())
        self.failed, self.retry_ns = None, None
        return True

    def _row(self, closed: Closed, counts: snapshot.Counts) -> SlotRow:
        head, market = closed.head, self._market
        meta = snapshot.meta_of(
            market.opened(),
            closed.batches,
            closed.settlement.voids,
            rule=market.rules.sharing,
            contributions=market.contributions,
            reloaded=market.reloaded_model(),
            counts=counts,
        )
        row = SlotRow(
            slot=closed.slot,
            price_ueur_per_kwh=head.price_ueur_per_kwh,
            import_ueur_per_kwh=head.import_ueur_per_kwh,
            export_ueur_per_kwh=head.export_ueur_per_kwh,
            gap=head.gap,
            weather_stale=head.weather_stale,
            totals=json.dumps(snapshot.totals_of(closed)),
            meta=json.dumps(meta),
            body=None,  # in parts beside it
            hash=closed.hash,
            seal=b"",
        )
        return replace(row, seal=row.seal_now())

    def _accounts_after(self, closed: Closed) -> Accounts:
        after = self._market.accounts.copy()
        after.apply(closed.slot, closed.settlement.columns, closed.batches)
        return after

    def tidy(self) -> None:
        """Once a slot is durable: fold the write-ahead log, compact detail that has grown too large."""
        try:
            self.store.fold_wal(self._retention.wal_bytes_max)
            self._retention.tend(self.store)
        except StoreError as error:
            log.warning("tidying the ledger failed, it is tried again: %s", error)
        if self._heavy:
            memory.give_back()
            self._heavy = False

    def beat(self, answer: Callable[[], None]) -> None:
        """Progress: the owner hears, and the ledger answers. A disk that fails is told elsewhere."""
        try:
            self.store.last_slot()
        except StoreError as error:
            log.debug("the ledger cannot be read: %s", error)
        answer()

    # events

    def save_events(self) -> bool:
        """Make the book of events durable now: an operator's word is not lost with us."""
        try:
            self.store.put_state({"events": json.dumps(self._market.book.to_dict())})
        except StoreError as error:
            self._trouble(str(error))
            return False
        return True

    def save_price(self, model: PriceModel) -> bool:
        """Make reloaded coefficients durable: a restart goes on with them."""
        try:
            self.store.put_state({"price": json.dumps(asdict(model))})
        except StoreError as error:
            self._trouble(str(error))
            return False
        return True

    # epochs

    def save_epoch(self, epoch: int) -> bool:
        """Make the epoch durable: the next start takes one above it."""
        try:
            self.store.put_state({"epoch": str(epoch)})
        except StoreError as error:
            self._trouble(str(error))
            return False
        return True

    # trouble

    def _trouble(self, reason: str) -> None:
        if self.failed is None:
            log.error(
                "the ledger cannot be written: %s", reason, extra=Occasion.LEDGER_FAILED.fields(cause=reason)
            )
        self.failed = reason
        self.retry_ns = boottime_ns() + RETRY_NS

    def facts(self) -> dict[str, Any]:
        """For `status`."""
        return {"path": str(self.store.path), "failed": self.failed}
