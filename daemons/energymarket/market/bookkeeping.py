"""The keeper of the books: everything the market acknowledges passes through here to the disk first."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from energymarket.core.market import Order
from energymarket.core.records import Phase
from energymarket.market import checkpoints, recovery, snapshot
from energymarket.runtime import memory
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.occasions import Occasion
from energymarket.transport.store import OrderRow, SlotRow, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from energymarket.core.clock import Deadlines
    from energymarket.core.market import Closed, Market, Opening, Outside
    from energymarket.core.parameters import PriceModel
    from energymarket.core.weather import Sample
    from energymarket.market.recorder import Recorder
    from energymarket.market.retention import Retention
    from energymarket.transport.store import LedgerStore

log = logging.getLogger(__name__)

CHECKPOINT_SLOTS: Final = 64
"""A restart reads at most so many slots: 64 slots of 100,000 homes are read in well under a second."""

CHECKPOINT_HOME_SLOTS: Final = 32_000_000
"""A larger market has a checkpoint more often: after so many slots times homes."""

PIECE_NS: Final = 10_000_000
"""A piece of what is done beside an open slot takes less, unless the disk hangs."""

PIECE_PART: Final = 0.02
"""Of a slot: no more is left free before a deadline, or in short slots nothing would ever be done."""

TRADE_NS: Final = 200_000_000
"""Where trade lasts so long, pieces wait for it: at the exchange the homes have the processor's cache and
memory, and both would take longer."""

_DONE: Final = object()
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
        self._tidying: Iterator[None] | None = None  # what is left to do beside an open slot
        self._checkpoint_due = False
        self._keeps_too_much = False  # malloc: the room of what comes once
        homes = market.rules.homes
        self._checkpoint_slots = max(1, min(CHECKPOINT_SLOTS, CHECKPOINT_HOME_SLOTS // max(homes, 1)))

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
        record = None if self._recorder is None else self._recorder.record(closed, counts)
        try:
            self.store.commit_slot(self._row(closed, counts), facts, record, closed.parts)
        except StoreError as error:
            self._trouble(str(error))
            return False
        if self._recorder is not None:
            self._recorder.recorded(record)
        self._checkpoint_due = self._checkpoint_due or closed.slot % self._checkpoint_slots == 0
        self._keeps_too_much = self._keeps_too_much or self._has_heard_whole_registers()
        if self.failed is not None:
            log.warning("the ledger can be written again", extra=Occasion.LEDGER_RECOVERED.fields())
        self.failed, self.retry_ns = None, None
        self._tidying = self._tidy()
        return True

    def _has_heard_whole_registers(self) -> bool:
        """Whether very many homes have stated whole registers: mostly they state what has flowed."""
        whole = (batch.count for batch in self._market.batches.values() if batch.since is None)
        return sum(whole) > memory.WHOLE_HOMES_MAX

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

    # between slots

    @property
    def untidy(self) -> bool:
        """Whether there is something to do before the next slot is closed."""
        return self._tidying is not None

    def has_time(self, phase: Phase, moments: Deadlines) -> bool:
        """Whether there is something to do, and a piece of it ends before the open slot's next deadline."""
        if not self.untidy or phase is Phase.CLEARING:
            return False
        if phase is Phase.EXCHANGE and moments.gate_ns - moments.exchange_ns >= TRADE_NS:
            return False
        due_ns = {Phase.EXCHANGE: moments.exchange_ns, Phase.TRADE: moments.gate_ns}.get(phase)
        if due_ns is None:
            return True
        piece_ns = min(PIECE_NS, round((moments.next_open_ns - moments.open_ns) * PIECE_PART))
        return boottime_ns() + piece_ns < due_ns

    def tidy(self) -> None:
        """Do a piece of it: a checkpoint, the write-ahead log, a bit of detail that has grown too large.

        What is not done before the next slot is closed, is done after it.
        """
        if self._tidying is not None and next(self._tidying, _DONE) is _DONE:
            self._tidying = None

    def _tidy(self) -> Iterator[None]:
        try:
            if self._checkpoint_due:
                yield from checkpoints.put(self.store, self._market, self._recorder)
                self._checkpoint_due, self._keeps_too_much = False, True
            if self._keeps_too_much:
                self._keeps_too_much = False
                memory.give_back()
            self.store.fold_wal(self._retention.wal_bytes_max)
            yield from self._retention.pieces(self.store)
        except StoreError as error:
            log.warning("tidying the ledger failed, it is tried again: %s", error)

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
