"""The fleet: homes as arrays; one slot takes every home's registers, battery and carries a step on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from energymarket.core.assets import Supply, SupplyBlock, SupplyOfSlot
from energymarket.core.battery import BatteryBlock
from energymarket.core.block import BLOCK_HOMES, I64, U32, Column, Scratch
from energymarket.core.demand import Demand, DemandBlock, DemandOfSlot
from energymarket.core.parameters import Period
from energymarket.core.state import State, Work, apply_receipt
from energymarket.core.weather import Sample

__all__ = ["Fleet", "FleetScenario", "Net", "State", "apply_receipt", "catch_up", "initial_state", "step"]


class FleetScenario(Protocol):
    """What a fleet needs of a compiled scenario."""

    @property
    def homes(self) -> Mapping[str, Column]:
        """One value per home and name, home 1 first."""

    @property
    def tables(self) -> Mapping[str, Column]:
        """Archetypes per slot of the period, and curves."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Elasticity classes, the U curve, heating and cooling limits."""

    @property
    def period(self) -> Period:
        """Slots and their length."""

    @property
    def seed(self) -> int:
        """Of all chance."""

    def table_row(self, slot: int) -> int:
        """The row of the tables for an absolute slot."""


@dataclass(frozen=True, slots=True)
class Net:
    """What each home lacked or had over in a slot, at its meter, after its battery: one of the two is 0."""

    need_wh: I64
    surplus_wh: I64


class _Block:
    """The homes start .. stop - 1 of a fleet."""

    __slots__ = ("battery", "demand", "start", "stop", "supply")

    def __init__(self, start: int, stop: int, parts: tuple[DemandBlock, SupplyBlock, BatteryBlock]) -> None:
        self.start = start
        self.stop = stop
        self.demand, self.supply, self.battery = parts


class Fleet:
    """The homes first .. first + count - 1 of a compiled scenario, as static columns.

    Nothing in it changes but scratch and the arrays of `Net`: a fleet serves one thread.
    """

    def __init__(self, compiled: FleetScenario, first: int, count: int) -> None:
        everyone = compiled.homes
        if first < 1 or count < 1 or first - 1 + count > everyone["policy"].size:
            last = first + count - 1
            raise ValueError(f"homes {first} .. {last}: the scenario has 1 .. {everyone['policy'].size}")
        slot_s = compiled.period.slot_s
        homes = {name: np.asarray(column)[first - 1 : first - 1 + count] for name, column in everyone.items()}
        self.first = first
        self.count = count
        self.ids: U32 = np.arange(first, first + count, dtype=np.uint32)
        self.policy = homes["policy"]
        self.single = homes["single"]
        self.battery_initial_wh = homes["battery_initial_wh"]
        self._table_row = compiled.table_row
        self._demand = Demand(compiled.tables, compiled.settings, slot_s, compiled.seed)
        self._supply = Supply(compiled.tables, compiled.settings, slot_s)
        profile = self._demand.key_profiles(homes)
        starts = range(0, count, BLOCK_HOMES)
        self._blocks = tuple(self._cut(homes, profile, start, slot_s) for start in starts)
        self._scratch = Scratch(min(count, BLOCK_HOMES))
        self._net = Net(np.zeros(count, np.int64), np.zeros(count, np.int64))

    def _cut(self, homes: Mapping[str, Column], profile: Column, start: int, slot_s: int) -> _Block:
        stop = min(start + BLOCK_HOMES, self.count)
        part = {name: column[start:stop] for name, column in homes.items()}
        demand = DemandBlock(part, self.ids[start:stop], self._demand, profile[start:stop])
        return _Block(start, stop, (demand, SupplyBlock(part, self._supply), BatteryBlock(part, slot_s)))

    def step(
        self, before: State, after: State, slot: int, weather: Sample, price_ueur_per_kwh: int | None
    ) -> Net:
        """See `step`."""
        row = self._table_row(slot)
        demand = self._demand.of_slot(slot, row, weather, price_ueur_per_kwh)
        supply = self._supply.of_slot(slot, row, weather)
        for block in self._blocks:
            work = Work(
                before.part(block.start, block.stop), after.part(block.start, block.stop), self._scratch
            )
            self._step_block(block, demand, supply, work)
        return self._net

    def _step_block(self, block: _Block, demand: DemandOfSlot, supply: SupplyOfSlot, work: Work) -> None:
        before, after = work.before, work.after
        consumption_wh = block.demand.consume(demand, work)
        production_wh = block.supply.produce(supply, work)
        np.add(before.consumption_wh, consumption_wh, out=after.consumption_wh)
        np.add(before.production_wh, production_wh, out=after.production_wh)
        net_wh = np.subtract(production_wh, consumption_wh, out=work.scratch.net_wh[: before.count])
        block.battery.balance(net_wh, demand.slot, work)
        surplus_wh = self._net.surplus_wh[block.start : block.stop]
        need_wh = self._net.need_wh[block.start : block.stop]
        np.maximum(net_wh, 0, out=surplus_wh)
        np.subtract(surplus_wh, net_wh, out=need_wh)
        np.add(before.export_wh, surplus_wh, out=after.export_wh)
        np.add(before.import_wh, need_wh, out=after.import_wh)
        after.given_wh[:] = before.given_wh
        after.received_wh[:] = before.received_wh


def initial_state(fleet: Fleet, state: State) -> None:
    """Registers at zero, batteries as the scenario fills them."""
    state.clear()
    state.battery_wh[:] = fleet.battery_initial_wh


def step(
    fleet: Fleet, before: State, after: State, slot: int, weather: Sample, price_ueur_per_kwh: int | None
) -> Net:
    """One slot: every column of `after` is written from `before`, which is not changed.

    Per home, in whole Wh and in every slot: production + battery out + import = consumption +
    battery in + export, and content = content before + battery in - battery out - losses. Registers
    of gifts are copied; `apply_receipt` raises them. The price moves elastic loads; None is each
    class's reference price. Weather is taken as given, stale or not.

    The arrays of the answer are the fleet's own: the next step overwrites them.
    """
    if before.count != fleet.count or after.count != fleet.count:
        raise ValueError(f"states of {before.count} and {after.count} homes, a fleet of {fleet.count}")
    if np.may_share_memory(before.production_wh, after.production_wh):
        raise ValueError("before and after are the same memory: a step needs two generations")
    return fleet.step(before, after, slot, weather, price_ueur_per_kwh)


def catch_up(
    fleet: Fleet, states: tuple[State, State], slots: range, weather_of: Callable[[int], Sample]
) -> tuple[State, State]:
    """Slots that pass without a market: `step` at the reference price, the two states taking turns.

    states[0] holds the state before the first of `slots`. Answers the same two, the state after the
    last slot first. With generations of slot mod 2 each state lands where it belongs, and may be
    committed slot by slot by a caller that steps one slot at a time. The registers then carry the
    gap; the market settles it as imbalance.
    """
    current, spare = states
    for slot in slots:
        step(fleet, current, spare, slot, weather_of(slot), None)
        current, spare = spare, current
    return current, spare
