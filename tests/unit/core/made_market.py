"""A market of four homes made by hand, and batches that say what the test wants them to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core import ledger
from energymarket.core.events import EventBook
from energymarket.core.market import Accounts, Closed, Market, Outside, Rules
from energymarket.core.parameters import EventKind, Factor, PriceModel, Tariff
from energymarket.core.records import BATCH_COLUMNS, CLAIM, Policy
from energymarket.core.settlement import Batch

HOMES: Final = 4
FIRST: Final = 1_000
SCENARIO_HASH: Final = "ab" * 32
GENESIS: Final = ledger.genesis(SCENARIO_HASH)
MODEL: Final = PriceModel(
    initial_ueur_per_kwh=200_000,
    gamma=0.5,
    factors=(Factor("base", 100_000.0), Factor("imbalance", 40_000.0)),
    events=(EventKind("storm", 50_000.0, 0.0, 1.0),),
    floor_ueur_per_kwh=0,
    cap_ueur_per_kwh=1_000_000,
)
TARIFF: Final = Tariff(300_000, 80_000)
CALM: Final = Outside(temperature_mc=20_000, raining=False, weather_stale=False)


def tariff_at(_slot: int) -> tuple[int, int]:
    """Import and export price, the same at all times."""
    return TARIFF.import_ueur_per_kwh, TARIFF.export_ueur_per_kwh


def rules(tariff: Tariff = TARIFF) -> Rules:
    """What the made market goes by."""
    return Rules(MODEL, tariff, HOMES, tariff_at)


def fresh(tariff: Tariff = TARIFF) -> Market:
    """A market before its first slot."""
    return Market(rules(tariff), Accounts.fresh(HOMES), GENESIS, 200_000, EventBook(1))


@dataclass
class Meters:
    """Cumulative registers of the four homes, which batches are read from."""

    production_wh: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(HOMES, np.int64))
    consumption_wh: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(HOMES, np.int64))
    import_wh: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(HOMES, np.int64))
    export_wh: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(HOMES, np.int64))

    def run(self, net_wh: Sequence[int]) -> None:
        """A slot passes: above zero a home feeds in, below it draws."""
        net = np.array(net_wh, np.int64)
        for name in ("production_wh", "export_wh"):
            getattr(self, name)[:] += np.maximum(net, 0)
        for name in ("consumption_wh", "import_wh"):
            getattr(self, name)[:] += np.maximum(-net, 0)

    def batch(self, first: int = 1, count: int = HOMES, *, name: str = "b", **agreed: Sequence[int]) -> Batch:
        """The batch of a range; `agreed` are columns like sold_wh=(100, 0)."""
        columns: dict[str, npt.NDArray[Any]] = {}
        for column, kind in BATCH_COLUMNS:
            values = np.full(count, Policy.SELL if column == "policy" else 0, kind)
            if column in self.__dataclass_fields__:
                values[:] = getattr(self, column)[first - 1 : first - 1 + count]
            if column in agreed:
                values[:] = agreed[column]
            columns[column] = values
        return Batch(name, first, count, columns, np.zeros(0, CLAIM))


def play(market: Market, slot: int, *batches: Batch) -> Closed:
    """A whole slot with these batches, committed."""
    market.open_slot(slot, CALM)
    for batch in batches:
        assert market.hear_batch(batch) == []
    closed = market.close_slot()
    market.commit_slot(closed)
    return closed
