"""Settling slot by slot through the market itself: scenes, late homes, single orders, gifts by a rule.

Where a home misbehaves on purpose, trades by orders of its own, or gets its gifts from the market, a slot
is what a live market makes of it when nobody is late but those who are to be: batches are checked, claims
matched, gaps carried.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core import exchange
from energymarket.core.parameters import Rule
from energymarket.core.records import BATCH_COLUMNS, CLAIM, SLOT_COLUMNS, Policy
from energymarket.core.settlement import Batch
from energymarket.core.sharing.rules import GIFTS
from energymarket.engine.settling import Settled, passage_of
from energymarket.engine.track import market_of
from energymarket.home.scene import Scenes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.core.course import Lived
    from energymarket.core.market import Accounts, Closed, Opening
    from energymarket.core.units import I64
    from energymarket.scenario.compiled import Compiled

_NO_CLAIMS: Final = np.zeros(0, CLAIM)

METERS: Final = ("production_wh", "consumption_wh", "import_wh", "export_wh")


def needed_by(compiled: Compiled) -> bool:
    """Whether a scenario has scenes, single orders, or gifts that the market shares out."""
    if compiled.settings.get("scenes") or compiled.sharing.rule in GIFTS - {Rule.QUEUE}:
        return True
    return bool(np.asarray(compiled.homes["single"]).any())


class SingleSettler:
    """Settles one slot after the other, in order."""

    def __init__(self, compiled: Compiled, accounts: Accounts | None, registers: dict[str, I64]) -> None:
        """`registers` are the homes' own (METERS), as they were before the first slot that comes."""
        homes = compiled.homes_count
        self._market = market_of(compiled, homes=homes)
        if accounts is not None:
            self._market.accounts = accounts
        self._compiled = compiled
        self._homes = homes
        self._ids = np.arange(1, homes + 1, dtype=np.uint32)
        self._policy = np.ascontiguousarray(compiled.homes["policy"], "u1")
        self._singles = np.flatnonzero(np.asarray(compiled.homes["single"]))
        self._queued = compiled.sharing.rule is Rule.QUEUE
        self._registers = {name: column.copy() for name, column in registers.items()}
        first_slot = compiled.period.first_slot
        self._scenes = Scenes.of(compiled.settings, 1, homes, first_slot)
        self._scene_of = {
            home: Scenes.of(compiled.settings, home, 1, first_slot) for home in self._scenes.by_home
        }

    @property
    def accounts(self) -> Accounts:
        """What the ledger adds up to per home after the last settled slot."""
        return self._market.accounts

    def settle(self, openings: Sequence[Opening], lived: Lived) -> Settled:
        """Settle the next K slots of all homes."""
        closed = []
        for at, opening in enumerate(openings):
            flowed = (
                lived.production_wh[at],
                lived.consumption_wh[at],
                np.maximum(-lived.net_wh[at], 0),
                np.maximum(lived.net_wh[at], 0),
            )
            for name, energy_wh in zip(METERS, flowed, strict=True):
                self._registers[name] += energy_wh
            closed.append(self._settle(opening, lived.net_wh[at].astype(np.int64)))
        totals = [each.settlement.totals for each in closed]
        return Settled(
            openings=openings,
            totals=totals,
            bodies=[(each.body,) for each in closed],
            passage=passage_of(openings, self._columns(closed), totals),
            batches=[each.batches for each in closed],
            voids=[each.settlement.voids for each in closed],
        )

    def _columns(self, closed: list[Closed]) -> dict[str, npt.NDArray[np.signedinteger[Any]]]:
        """Columns of all homes, zeros where a home has no row."""
        columns: dict[str, npt.NDArray[np.signedinteger[Any]]] = {}
        for name in SLOT_COLUMNS[1:]:
            whole = np.zeros((len(closed), self._homes), np.int64)
            for row, each in zip(whole, closed, strict=True):
                row[each.settlement.columns["home"] - 1] = each.settlement.columns[name]
            columns[name] = whole
        return columns

    def _settle(self, opening: Opening, net_wh: I64) -> Closed:
        market, slot = self._market, opening.slot
        market.reopen_slot(opening)
        columns, claims = self._agree(slot, net_wh)
        singles = self._singles if self._queued else self._singles[:0]
        for at in singles.tolist():
            energy_wh = int(columns["sold_wh"][at] - columns["bought_wh"][at])
            if energy_wh:
                market.hear_order(at + 1, energy_wh, f"{at + 1}-{slot}")
            columns["sold_wh"][at] = columns["bought_wh"][at] = 0
        for first, count in self._on_time(slot):
            refusals = market.hear_batch(self._batch(columns, claims, slot, first, count))
            if refusals:
                raise RuntimeError(f"homes {first}+{count} are refused in slot {slot}: {refusals}")
        closed = market.close_slot()
        market.commit_slot(closed)
        return closed

    def _agree(self, slot: int, net_wh: I64) -> tuple[dict[str, I64], npt.NDArray[np.void]]:
        """What homes state after the exchange, scenes included."""
        surplus_wh = np.maximum(net_wh, 0)
        need_wh = surplus_wh - net_wh
        if not self._queued:
            none = np.zeros(self._homes, np.int64)
            columns = exchange.trade_columns(self._policy, surplus_wh, need_wh, none, none, none)
            self._scenes.misreport(slot, columns)
            return columns, _NO_CLAIMS
        result = exchange.outcome(
            self._ids, surplus_wh, need_wh, self._policy, self._compiled.sharing, self._compiled.seed, slot
        )
        phantoms = self._scenes.phantom_claims(slot)
        received_wh = result.received_wh.copy()
        np.add.at(received_wh, phantoms["taker"].astype(np.int64) - 1, phantoms["energy_wh"])
        offered_wh = np.where(self._policy == Policy.SELL, 0, surplus_wh)
        columns = exchange.trade_columns(
            self._policy, surplus_wh, need_wh, received_wh, result.excess_wh, offered_wh - result.given_wh
        )
        self._scenes.misreport(slot, columns)
        return columns, np.concatenate((result.claims, phantoms)) if len(phantoms) else result.claims

    def _on_time(self, slot: int) -> list[tuple[int, int]]:
        """Ranges of homes whose batch makes the gate."""
        late = sorted(home for home, scene in self._scene_of.items() if scene.is_late(slot))
        edges = [0, *late, self._homes + 1]
        return [(before + 1, after - before - 1) for before, after in pairwise(edges) if after - before > 1]

    def _batch(
        self, columns: dict[str, I64], claims: npt.NDArray[np.void], slot: int, first: int, count: int
    ) -> Batch:
        here = slice(first - 1, first - 1 + count)
        values = {**self._registers, **columns, "policy": self._policy}
        packed = {name: values[name][here].astype(kind) for name, kind in BATCH_COLUMNS}
        takers = claims["taker"]
        mine = claims[(takers >= first) & (takers < first + count)]
        return Batch(f"{first}+{count}@{slot}", first, count, packed, mine)
