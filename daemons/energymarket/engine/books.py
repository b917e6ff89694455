"""The books of a run: the chain, the rows of the ledger, what is committed at each checkpoint.

A run's ledger is a live one's: same file, same rows, same chain. It is committed per checkpoint, not per
slot: nobody was promised anything meanwhile, and a run that dies goes on from its last checkpoint.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from energymarket.core import ledger, pricing
from energymarket.core.totals import TOTALS
from energymarket.engine.digest import DaySums
from energymarket.market import recovery, snapshot
from energymarket.transport.store import SlotRow

if TYPE_CHECKING:
    from energymarket.core.market import Accounts, Opening
    from energymarket.core.parameters import Rule
    from energymarket.core.settlement import VoidClaim
    from energymarket.core.totals import Totals
    from energymarket.engine.settling import Batches, Settled
    from energymarket.engine.source import Rest
    from energymarket.market.retention import Retention
    from energymarket.transport.bulk_store import BulkStore

TIDY_STEPS_MAX: Final = 1_000
"""Steps of compaction at a checkpoint: each takes megabytes of the oldest detail, the next may go on."""


TOTALS_TEXT: Final = "{" + ", ".join(f'"{name}": %d' for name in TOTALS) + "}"
"""The totals of a slot as JSON, in order."""


class MetaText:
    """What the row of a slot keeps beside its body, as JSON: from slot to slot little of it changes."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._of: tuple[object, ...] = ()
        self._around = ("", "")

    def of(
        self,
        opening: Opening,
        batches: Batches,
        voids: tuple[VoidClaim, ...],
        contributions: tuple[float, ...],
    ) -> str:
        """`snapshot.meta_of` of the slot, as `json.dumps` writes it."""
        of = (opening.model, batches, voids)
        if self._of != of:
            meta = snapshot.meta_of(opening, batches, voids, rule=self._rule, contributions=(), reloaded=None)
            before, after = json.dumps({**meta, "contributions": _MARK}).split(json.dumps(_MARK))
            self._of, self._around = of, (before, after)
        return json.dumps(list(contributions)).join(self._around)


_MARK: Final = "\0"


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
        self._meta = MetaText(rule)
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
        """Chain and write consecutive slots; they count from the next `commit` on. StoreError.

        Their bodies are written beside, and are needed until `settle`.
        """
        if not self._bulk:
            self.store.begin_bulk()
            self._bulk = True
        detailed = settled.openings[0].slot >= self.detail_from
        bodies = dict(zip((each.slot for each in settled.openings), settled.bodies, strict=True))
        in_files = detailed and self.store.begin_bodies(bodies)
        hashes, rows = {}, []
        for at, opening in enumerate(settled.openings):
            body = bodies[opening.slot]
            self.hash = hashes[opening.slot] = ledger.chain(self.hash, *body)
            meta = self._meta.of(opening, settled.batches[at], settled.voids[at], self._contributions)
            kept = (b"" if in_files else b"".join(body)) if detailed else None
            rows.append(self._row(opening, settled.totals[at], meta, kept))
            self._contributions = pricing.follow(opening.model, self._contributions, opening.terms)
        self.store.put_slots(rows)
        if not detailed:
            self._days.add(settled.passage, self.store, hashes)
            self._summed = True

    def settle(self) -> None:
        """Wait until bodies are written: then they may go. StoreError."""
        self.store.settle()

    def _row(self, opening: Opening, totals: Totals, meta: str, body: bytes | None) -> SlotRow:
        prices = opening.prices
        plain = (
            opening.slot,
            prices.price,
            prices.import_,
            prices.export,
            opening.gap,
            opening.weather_stale,
        )
        texts = (TOTALS_TEXT % tuple(totals.by_name().values()), meta)
        seal = SlotRow(*plain, *texts, None, self.hash, b"").seal_now()
        return SlotRow(*plain, *texts, body, self.hash, seal)

    def close(self, slot: int, rest: Rest, accounts: Accounts) -> None:
        """Write what a market would go on from after this slot: nothing but `commit` is left. StoreError."""
        if self._summed:
            self._days.put(self.store)
            self._summed = False
        state = {"state": rest.state, "events": rest.events}
        self.store.put_rest(slot, state, recovery.checkpoint_of(self.hash, accounts))

    def commit(self) -> None:
        """Make every slot up to the one that was closed with count. StoreError."""
        self.store.end_bulk()
        self._bulk = False
        for _ in range(TIDY_STEPS_MAX):
            if not self._retention.tend(self.store):
                break
