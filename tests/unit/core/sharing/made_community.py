"""Four homes and a slot that a pencil can settle under every rule."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core import exchange, ledger
from energymarket.core.events import EventBook
from energymarket.core.market import Accounts, Closed, Market, Outside, Rules
from energymarket.core.parameters import Factor, PriceModel, Rule, Sharing, Tariff
from energymarket.core.passage import Passage
from energymarket.core.records import BATCH_COLUMNS, CLAIM, SLOT_COLUMNS
from energymarket.core.settlement import Batch
from energymarket.core.sharing import mid_price

I64 = npt.NDArray[np.int64]
CALM: Final = Outside(temperature_mc=20_000, raining=False, weather_stale=False)
P, R, E = 180_000, 300_000, 100_000  # µ€/kWh
SEED: Final = 7


def whole(*values: int) -> I64:
    return np.array(values, np.int64)


def linear(price: int = P) -> PriceModel:
    """A price that is the same in every slot."""
    return PriceModel(price, 0.0, (Factor("base", float(price)),), (), 0, 10_000_000)


class Community:
    """Homes with meters, and a market with a rule; a slot is what flows over the meters."""

    def __init__(
        self,
        rule: Rule,
        policies: I64,
        *,
        weights: I64 | None = None,
        prices: tuple[int, int, int] = (P, R, E),
        fee: int = 0,
    ) -> None:
        price, asked, paid = prices
        model = mid_price.price_model(price) if rule is Rule.MID_MARKET else linear(price)
        homes = len(policies)
        rules = Rules(model, Tariff(asked, paid, fee), homes, lambda _slot: (asked, paid), rule, weights)
        self.sharing = Sharing(rule=rule)
        self.policies = policies
        self.market = Market(rules, Accounts.fresh(homes), ledger.genesis("00" * 32), price, EventBook(0))
        self.registers = np.zeros((4, homes), np.int64)  # production, consumption, import, export
        self.slot = 100
        self.closed: list[Closed] = []

    def flow(self, net_wh: I64) -> None:
        """Energy over the meters: above zero is fed in."""
        out, into = np.maximum(net_wh, 0), np.maximum(-net_wh, 0)
        self.registers += np.stack((out, into, into, out))

    def batches(self, net_wh: I64, cuts: tuple[int, ...] = ()) -> list[Batch]:
        """What homes hand in, cut into ranges."""
        surplus, need = np.maximum(net_wh, 0), np.maximum(-net_wh, 0)
        ids = np.arange(1, len(net_wh) + 1)
        if self.sharing.rule is Rule.QUEUE:
            ends = exchange.outcome(ids, surplus, need, self.policies, self.sharing, SEED, self.slot)
            agreed = {
                name: getattr(ends, name) for name in ("offered_wh", "returned_wh", "sold_wh", "bought_wh")
            }
            claims = ends.claims
        else:
            none = np.zeros_like(net_wh)
            agreed = exchange.trade_columns(self.policies, surplus, need, none, none, none)
            claims = np.zeros(0, CLAIM)
        registers = dict(
            zip(("production_wh", "consumption_wh", "import_wh", "export_wh"), self.registers, strict=True)
        )
        columns: dict[str, Any] = {**registers, **agreed, "policy": self.policies}
        edges = (0, *cuts, len(net_wh))
        found = []
        for start, stop in pairwise(edges):
            part = {name: np.array(columns[name][start:stop], kind) for name, kind in BATCH_COLUMNS}
            mine = (claims["taker"] > start) & (claims["taker"] <= stop)
            found.append(Batch(f"b{start}", start + 1, stop - start, part, claims[mine]))
        return found

    def play(
        self, *net_wh: int, orders: tuple[tuple[int, int], ...] = (), cuts: tuple[int, ...] = ()
    ) -> Closed:
        """A whole slot, committed."""
        net = whole(*net_wh)
        self.flow(net)
        self.market.open_slot(self.slot, CALM)
        for number, (home, energy) in enumerate(orders):
            self.market.hear_order(home, energy, f"o{number}")
        for batch in self.batches(net, cuts):
            assert self.market.hear_batch(batch) == []
        return self.close()

    def close(self) -> Closed:
        """Close and commit the open slot."""
        closed = self.market.close_slot()
        self.market.commit_slot(closed)
        self.closed.append(closed)
        self.slot += 1
        return closed

    def passage(self) -> Passage:
        """All that was played; homes without a row have zeros."""
        homes = len(self.policies)
        columns = {}
        for name in SLOT_COLUMNS[1:]:
            table = np.zeros((len(self.closed), homes), np.int64)
            for row, closed in zip(table, self.closed, strict=True):
                settled = closed.settlement.columns
                row[settled["home"] - 1] = settled[name]
            columns[name] = table
        heads = [closed.head for closed in self.closed]
        return Passage(
            heads[0].slot,
            whole(*(head.price_ueur_per_kwh for head in heads)),
            whole(*(head.import_ueur_per_kwh for head in heads)),
            whole(*(head.export_ueur_per_kwh for head in heads)),
            columns,
        )
