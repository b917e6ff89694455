"""The books of a run: the chain, the rows of the ledger, what is committed at each checkpoint.

A run's ledger is a live one's: same file, same rows, same chain. It is committed per checkpoint, not per
slot: nobody was promised anything meanwhile, and a run that dies goes on from its last checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from energymarket.core import ledger, pricing
from energymarket.engine.digest import DaySums
from energymarket.market import recovery, snapshot
from energymarket.transport.store import SlotRow

if TYPE_CHECKING:
    from energymarket.core.market import Accounts, Opening
    from energymarket.core.parameters import Rule
    from energymarket.core.totals import Totals
    from energymarket.engine.settling import Settled
    from energymarket.engine.source import Rest
    from energymarket.market.retention import Retention
    from energymarket.transport.bulk_store import BulkStore

TIDY_STEPS_MAX: Final = 1_000
"""Steps of compaction at a checkpoint: each takes megabytes of the oldest detail, the next may go on."""


class Books:
    """Chains settled slots and writes them down."""

    def __init__(
        self,
        store: BulkStore,
        retention: Retention,
        chain_hash: bytes,
        contributions: tuple[float, ...],
        *,
        homes: int,
        rule: Rule,
        detail_from: int,
    ) -> None:
        """`detail_from` is the first slot whose detail is written: see `digest`."""
        self.store = store
        self.hash = chain_hash
        self._rule = rule
        self.detail_from = detail_from
        self._days = DaySums(homes, retention.slots_per_day)
        self._summed = False  # since the last commit
        last = store.last_slot()
        if last is not None:
            self._days.take_up(store, last)
        self._contributions = contributions
        self._retention = retention
        self._bulk = False

    def enter(self, settled: Settled) -> None:
        """Chain and write consecutive slots; they count from the next `commit` on. StoreError."""
        if not self._bulk:
            self.store.begin_bulk()
            self._bulk = True
        detailed = settled.openings[0].slot >= self.detail_from
        hashes, rows = {}, []
        for at, opening in enumerate(settled.openings):
            body = settled.bodies[at]
            self.hash = hashes[opening.slot] = ledger.chain(self.hash, body)
            meta = snapshot.meta_of(
                opening,
                settled.batches[at],
                settled.voids[at],
                rule=self._rule,
                contributions=self._contributions,
                reloaded=None,
            )
            kept = bytes(body) if detailed else None
            rows.append(self._row(opening, settled.totals[at], json.dumps(meta), kept))
            self._contributions = pricing.follow(opening.model, self._contributions, opening.terms)
        self.store.put_slots(rows)
        if not detailed:
            self._days.add(settled.passage, self.store, hashes)
            self._summed = True

    def _row(self, opening: Opening, totals: Totals, meta: str, body: bytes | None) -> SlotRow:
        row = SlotRow(
            slot=opening.slot,
            price_ueur_per_kwh=opening.prices.price,
            import_ueur_per_kwh=opening.prices.import_,
            export_ueur_per_kwh=opening.prices.export,
            gap=opening.gap,
            weather_stale=opening.weather_stale,
            totals=json.dumps(totals.by_name()),
            meta=meta,
            body=body,
            hash=self.hash,
            seal=b"",
        )
        return replace(row, seal=row.seal_now())

    def commit(self, slot: int, rest: Rest, accounts: Accounts) -> None:
        """Make every slot up to this one count, with what a market would go on from. StoreError."""
        if self._summed:
            self._days.put(self.store, self.hash)
            self._summed = False
        state = {"state": rest.state, "events": rest.events}
        self.store.end_bulk(slot, state, recovery.checkpoint_of(self.hash, accounts))
        self._bulk = False
        for _ in range(TIDY_STEPS_MAX):
            if not self._retention.tend(self.store):
                break
