"""A market of four homes, played through the real core, store and register files, without processes.

Per slot: home 1 (policy 1) has 500 Wh and uses 100, home 3 (policy 3) has 300 and uses 100; home 2 uses 300,
home 4 uses 250, of which its battery (500 Wh at first, 400 W, no losses) covers 100 while it lasts.
So 600 Wh are offered, and 450 Wh are needed, 550 once the battery is empty: needs are met by gifts alone.
The price: gamma 0.5, base 0.10 €/kWh, imbalance 0.02 €/kWh, from 0.20 €/kWh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from energymarket.core import exchange, ledger
from energymarket.core.events import Event, EventBook, Origin
from energymarket.core.fleet import Fleet, Net
from energymarket.core.market import Accounts, Closed, Market, Outside, Rules
from energymarket.core.parameters import (
    EventKind,
    Factor,
    Period,
    PriceModel,
    Sharing,
    Tariff,
    price_model_digest,
)
from energymarket.core.records import Policy
from energymarket.core.settlement import Batch, receipt_columns
from energymarket.home.books import Books
from energymarket.market import snapshot
from energymarket.market.bookkeeping import CHECKPOINT_SLOTS, Bookkeeper
from energymarket.market.retention import Retention
from energymarket.scenario import compiled as compiling
from energymarket.scenario.compiled import Compiled
from energymarket.transport.store import LedgerStore
from tests.unit.core.made_fleet import FIRST_SLOT, Recipe, weather

MODEL = PriceModel(
    initial_ueur_per_kwh=200_000,
    gamma=0.5,
    factors=(Factor("base", 100_000), Factor("heating_degrees", 1_000, 15), Factor("imbalance", 20_000)),
    events=(EventKind("strike", 30_000, 0, 4), EventKind("law", -5_000, 0, 4)),
    floor_ueur_per_kwh=50_000,
    cap_ueur_per_kwh=400_000,
)
TARIFF = Tariff(300_000, 80_000, 10_000)
SHARDS = ((1, 2), (3, 2))  # first home, homes
PRODUCTION_WH = (500, 0, 300, 0)
CONSUMPTION_WH = (100, 300, 100, 250)
TEMPERATURE_MC = 20_000  # too warm for heating degrees: the term is 0
OUTSIDE = Outside(TEMPERATURE_MC, raining=False, weather_stale=False)
CHECKPOINT_AT = 3  # slot of a run, counted from 0, that gets a checkpoint
START = -(-FIRST_SLOT // CHECKPOINT_SLOTS) * CHECKPOINT_SLOTS - CHECKPOINT_AT
KEPT_SLOTS = 3 * CHECKPOINT_SLOTS  # with so many, the oldest day may be compacted

Tamper = Callable[[Batch], Batch]


def compile_small(directory: Path, slots: int = 8) -> Compiled:
    """The four homes as a compiled scenario."""
    battery = [0, 0, 0, 1000]
    made = Recipe(
        homes={
            "policy": [Policy.GIVE, Policy.SELL, Policy.GIVE_THEN_SELL, Policy.SELL],
            "series": [0, 1, 2, 3],
            "battery_capacity_wh": battery,
            "battery_initial_wh": [0, 0, 0, 500],
            "battery_charge_w": 400,
            "battery_discharge_w": 400,
        },
        tables={
            "series_production_wh": np.tile(PRODUCTION_WH, (slots, 1)),
            "series_consumption_wh": np.tile(CONSUMPTION_WH, (slots, 1)),
        },
        slots=slots,
    ).made()
    samples = np.array([weather(FIRST_SLOT + at, temperature_mc=TEMPERATURE_MC) for at in range(slots)])
    head: dict[str, Any] = {
        "name": "small",
        "title": "Four homes",
        "seed": made.seed,
        "sharing": Sharing(),
        "price": MODEL,
        "tariff": TARIFF,
        "period": Period(900, FIRST_SLOT, slots, 900.0, "UTC"),
        "settings": {"weather": {"live": False}},
    }
    directory.mkdir(parents=True)
    compiling.save(directory, head, samples, dict(made.homes), dict(made.tables))
    return compiling.load(directory)


@dataclass
class SmallMarket:
    """The market and its homes; `ledger_path` and `homes` are what the checker reads."""

    directory: Path
    model: PriceModel = MODEL  # what the market prices by, whatever the scenario says
    slots: int = 8
    first_slot: int = START
    counts: snapshot.Counts = field(default_factory=snapshot.Counts)

    def __post_init__(self) -> None:
        self.compiled = compile_small(self.directory / "compiled", self.slots)
        self.ledger_path = self.directory / "market" / "ledger.db"
        self.homes = self.directory / "homes"
        self.homes.mkdir()
        genesis = ledger.genesis(self.compiled.hash)
        self.store = LedgerStore(self.ledger_path)
        self.store.open(scenario_hash=self.compiled.hash, genesis=genesis, homes=4)
        rules = Rules(self.model, TARIFF, 4, self.compiled.import_export_at)
        accounts = Accounts.fresh(4)
        book = EventBook(len(self.model.events))
        # Its own coefficients count as the scenario's: a wrong model is no reload that anybody was told of.
        name = price_model_digest(self.model)
        self.market = Market(rules, accounts, genesis, 200_000, book, coefficients=name)
        self.bookkeeper = Bookkeeper(
            self.store, self.market, Retention(disk_max_bytes=1 << 40, slots_per_day=16)
        )
        self.books = [self._books(first, count) for first, count in SHARDS]
        self.slot = self.first_slot - 1

    def _books(self, first: int, count: int) -> Books:
        path = self.homes / f"shard-{first}-{count}.state"
        books = Books(path, Fleet(self.compiled, first, count), bytes.fromhex(self.compiled.hash))
        books.fresh(self.first_slot - 1)
        return books

    def close(self) -> None:
        """All slots have been played: the homes say goodbye, as they do when they are stopped."""
        for books in self.books:
            books.write()
            books.close()
        self.store.close()

    def raise_event(self, kind: int, slot: int, until: int, permille: int = 1000) -> None:
        """An event of a kind, from a slot of the run on (counted from 0)."""
        start, end = self.first_slot + slot, self.first_slot + until
        self.market.book.begin(Event(Origin.EXTERNAL, kind, slot, permille, start, end))

    def play(
        self,
        slots: int = 1,
        *,
        late: tuple[int, ...] = (),
        orders: tuple[tuple[int, int], ...] = (),
        tamper: Tamper | None = None,
        gap: bool = False,
    ) -> Closed:
        """Play slots alike. `late` shards miss the gate; `tamper` falsifies batches in the market's hands."""
        return [self._slot(late, orders, tamper, gap=gap) for _ in range(slots)][-1]

    def _slot(
        self, late: tuple[int, ...], orders: tuple[tuple[int, int], ...], tamper: Tamper | None, *, gap: bool
    ) -> Closed:
        self.slot += 1
        price = self.market.open_slot(self.slot, OUTSIDE, gap=gap).prices.price
        nets = []
        for books in self.books:
            sample = self.compiled.weather[self.compiled.table_row(self.slot)]
            books.live_until(self.slot - 1, lambda _slot, sample=sample: sample)  # type: ignore[misc]
            nets.append(books.step(self.slot, sample, price))
            books.write()
        heard = [] if gap else [at for at in range(len(SHARDS)) if at not in late]
        if not gap:
            batches = self._batches(nets)
            for at in heard:
                assert self.market.hear_batch(batches[at]) == []
            self._order(orders)
        told = self.market.close_slot()
        if tamper is not None:
            self.market.batches = {key: tamper(batch) for key, batch in self.market.batches.items()}
        closed = self.market.close_slot()
        self.commit(closed)
        for at in heard:  # the homes hear the truth, whatever the ledger says
            self.books[at].settle(self.slot, receipt_columns(told.settlement, *SHARDS[at]))
        return closed

    def _batches(self, nets: list[Net]) -> list[Batch]:
        surplus = np.concatenate([net.surplus_wh for net in nets])
        need = np.concatenate([net.need_wh for net in nets])
        ids = np.arange(1, 5)
        policies = np.asarray(self.compiled.homes["policy"])
        result = exchange.outcome(ids, surplus, need, policies, Sharing(), self.compiled.seed, self.slot)
        found = []
        for books, (first, count) in zip(self.books, SHARDS, strict=True):
            columns, claims = exchange.batch_columns(result, first, count)
            registers: dict[str, npt.NDArray[Any]] = {
                name: books.column(name).astype(np.int64)
                for name in ("production_wh", "consumption_wh", "import_wh", "export_wh")
            }
            found.append(Batch(f"{first}@{self.slot}", first, count, registers | columns, claims))
        return found

    def _order(self, orders: tuple[tuple[int, int], ...]) -> None:
        heard = [
            self.market.hear_order(home, energy_wh, f"{self.slot}-{at}")
            for at, (home, energy_wh) in enumerate(orders)
        ]
        if heard:
            assert self.bookkeeper.append(heard)

    def commit(self, closed: Closed) -> None:
        """As the owner of a market does it."""
        assert self.bookkeeper.commit(closed, self.counts)
        self.market.commit_slot(closed)
        while self.bookkeeper.untidy:
            self.bookkeeper.tidy()

    def compact(self) -> None:
        """Let the retention rule compact the oldest day, as if the disk were full."""
        rule = Retention(disk_max_bytes=1, slots_per_day=16)
        days = len(self.store.stretches())
        while rule.tend(self.store):
            stretches = self.store.stretches()
            if len(stretches) > days and (stretches[-1][1] + 1) % 16 == 0:
                return
