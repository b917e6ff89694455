"""The fleet: homes as arrays; one slot takes every home's registers, battery and carries a step on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from energymarket.core.assets import Prospect, Supply, SupplyBlock, SupplyOfSlots
from energymarket.core.battery import BatteryBlock
from energymarket.core.block import BLOCK_HOMES, F32, I32, Column, Scratch, Spare, Widening, positive
from energymarket.core.demand import Answer, Demand, DemandBlock, DemandOfSlots
from energymarket.core.owned import Owned
from energymarket.core.packed import Signed
from energymarket.core.parameters import Period
from energymarket.core.state import State, Work, apply_receipt
from energymarket.core.weather import Sample, Samples

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


class Net:
    """What each home lacked or had over in a slot, at its meter, after its battery: one of the two is 0."""

    __slots__ = ("_column", "_consumption", "_production", "flowed_wh")

    def __init__(self, homes: int) -> None:
        self._column = Widening(homes)
        self._production = Widening(homes)
        self._consumption = Widening(homes)
        self.flowed_wh = 0  # through all four registers of the meter, of all homes

    def put(self, start: int, net_wh: I32, production_wh: I32, consumption_wh: I32, room: I32) -> bool:
        """What a block of homes, from one on, had over (below zero: lacked), produced and consumed.

        Blocks come in their order; `room` is to work in. Answers whether anything was produced.
        """
        if start == 0:
            self.flowed_wh = 0
        self._put(self._column, start, net_wh, np.abs(net_wh, out=room))
        self._put(self._consumption, start, consumption_wh, consumption_wh)
        return self._put(self._production, start, production_wh, production_wh)

    def _put(self, column: Widening, start: int, values: I32, flow: I32) -> bool:
        """Whether anything has flowed."""
        largest_wh = int(np.maximum.reduce(flow.view(np.uint32)))  # one below zero is very large
        # A block of values of 16 bits adds up in 32.
        kind = np.int32 if column.put(start, values, largest_wh) else np.int64
        if largest_wh:
            self.flowed_wh += int(np.add.reduce(flow, dtype=kind))
        return largest_wh > 0

    def flows(self) -> dict[str, npt.NDArray[np.signedinteger[Any]]]:
        """What has flowed through the registers of the meter in this slot, by their names."""
        net_wh = self._column.values
        return {
            "production_wh": self._production.values,
            "consumption_wh": self._consumption.values,
            "import_wh": -np.minimum(net_wh, 0),
            "export_wh": np.maximum(net_wh, 0),
        }

    @property
    def net_wh(self) -> npt.NDArray[np.signedinteger[Any]]:
        """Above zero a surplus, below zero a need: int16, or int32 where a home wants that."""
        return self._column.values

    def sides(self, here: slice, kind: type[np.signedinteger[Any]] = np.int32) -> tuple[Signed, Signed]:
        """Surplus and need of some homes, in integers that hold them."""
        net_wh = self._column.values[here].astype(kind)
        surplus_wh = positive(net_wh)
        return surplus_wh, np.subtract(surplus_wh, net_wh, out=net_wh)

    @property
    def surplus_wh(self) -> Signed:
        """What each home had over."""
        return self.sides(slice(None))[0]

    @property
    def need_wh(self) -> Signed:
        """What each home lacked."""
        return self.sides(slice(None))[1]


class Block:
    """The homes start .. stop - 1 of a fleet."""

    __slots__ = ("battery", "demand", "homes", "start", "stop", "supply")

    def __init__(self, start: int, stop: int, parts: tuple[DemandBlock, SupplyBlock, BatteryBlock]) -> None:
        self.homes = stop - start
        self.start = start
        self.stop = stop
        self.demand, self.supply, self.battery = parts


class Fleet:
    """The homes first .. first + count - 1 of a compiled scenario, as static columns, in blocks.

    Nothing in it changes but scratch and the arrays of `Net`: a fleet serves one thread.
    """

    def __init__(
        self, compiled: FleetScenario, first: int, count: int, block_homes: int = BLOCK_HOMES
    ) -> None:
        everyone = compiled.homes
        if first < 1 or count < 1 or first - 1 + count > everyone["policy"].size:
            last = first + count - 1
            raise ValueError(f"homes {first} .. {last}: the scenario has 1 .. {everyone['policy'].size}")
        if not 1 <= block_homes <= BLOCK_HOMES:
            raise ValueError(f"blocks of {block_homes} homes; they have 1 .. {BLOCK_HOMES}")
        slot_s = compiled.period.slot_s
        homes = {name: np.asarray(column)[first - 1 : first - 1 + count] for name, column in everyone.items()}
        self.first = first
        self.count = count
        self.policy = homes["policy"]
        self.single = homes["single"]
        self.battery_initial_wh = homes["battery_initial_wh"]
        self._homes = homes
        self._table_row = compiled.table_row
        self._demand = Demand(compiled.tables, compiled.settings, slot_s, compiled.seed)
        self._supply = Supply(compiled.tables, compiled.settings, slot_s)
        profile = self._demand.key_profiles(homes)
        spans = [(start, min(start + block_homes, count)) for start in range(0, count, block_homes)]
        self._blocks = tuple(self._cut(homes, profile, span, slot_s) for span in spans)
        self._scratch = Scratch(self._blocks[0].homes)
        self._outlook = Outlook(self, 1)
        self._room = np.empty(self._blocks[0].homes, np.float32)
        self._net = Net(count)
        self._stepped: tuple[State, State, list[Work]] | None = None

    def _cut(self, homes: Mapping[str, Column], profile: Column, span: tuple[int, int], slot_s: int) -> Block:
        start, stop = span
        part = {name: column[start:stop] for name, column in homes.items()}
        demand = DemandBlock(part, self.first + start, self._demand, profile[start:stop])
        return Block(start, stop, (demand, SupplyBlock(part, self._supply), BatteryBlock(part, slot_s)))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The homes in the blocks that they are lived in."""
        return self._blocks

    @property
    def owned(self) -> Owned:
        """Who of the homes has what, made when it is asked for."""
        return Owned.of(self._homes)

    @property
    def scratch(self) -> Scratch:
        """Arrays that a block works in."""
        return self._scratch

    def of_slots(self, slots: range, weather: Samples) -> tuple[DemandOfSlots, SupplyOfSlots]:
        """What the homes share in these slots, whatever the prices."""
        rows = np.array([self._table_row(slot) for slot in slots], np.int64)
        return self._demand.of_slots(slots, rows, weather), self._supply.of_slots(rows, weather)

    def answer(self, price_ueur_per_kwh: int | None) -> Answer:
        """How elastic homes answer a price."""
        return self._demand.answer(price_ueur_per_kwh)

    def step(
        self, before: State, after: State, slot: int, weather: Sample, price_ueur_per_kwh: int | None
    ) -> Net:
        """See `step`; here `after` may also be `before`: then the state moves on in place."""
        return self.live(self._works_on(before, after), slot, weather, price_ueur_per_kwh)

    def live(self, works: Iterable[Work], slot: int, weather: Sample, price_ueur_per_kwh: int | None) -> Net:
        """Live a slot block by block, each as its `Work` comes; `works` is asked once more at the end."""
        self._outlook.turn_to(range(slot, slot + 1), np.atleast_1d(weather))
        answer = self.answer(price_ueur_per_kwh)
        for block, work in zip(self._blocks, works, strict=True):
            self._step_block(block, answer, work)
        return self._net

    def _works_on(self, before: State, after: State) -> list[Work]:
        """The blocks' ways from one state to another; who steps in place does so again and again."""
        if self._stepped is not None and self._stepped[0] is before and self._stepped[1] is after:
            return self._stepped[2]
        works = []
        for block in self._blocks:
            part = before.part(block.start, block.stop)
            onward = part if after is before else after.part(block.start, block.stop)
            works.append(Work(part, onward, self._scratch))
        self._stepped = (before, after, works)
        return works

    def live_block(self, block: Block, outlook: Outlook, answer: Answer, work: Work) -> tuple[I32, I32, I32]:
        """Play the one slot of an outlook for a block: consumption, production, net at the meter, in scratch.

        Batteries, debts and carries move on from `work.before` to `work.after`, which may be the same;
        registers of the meter do not.
        """
        wanted = outlook.want(block, self._room)
        consumption_wh = block.demand.consume(wanted[0], answer, work)
        production_wh = block.supply.produce(outlook.offer(block), 0, work)
        net_wh = np.subtract(production_wh, consumption_wh, out=work.scratch.net_wh[: block.homes])
        block.battery.balance(net_wh, outlook.slots[0], work)
        return consumption_wh, production_wh, net_wh

    def _step_block(self, block: Block, answer: Answer, work: Work) -> None:
        before, after = work.before, work.after
        consumption_wh, production_wh, net_wh = self.live_block(block, self._outlook, answer, work)
        np.add(before.consumption_wh, consumption_wh, out=after.consumption_wh)
        surplus_wh, spare = work.scratch.integers[0][: block.homes], work.scratch.integers[1]
        gives = self._net.put(block.start, net_wh, production_wh, consumption_wh, room=surplus_wh)
        positive(net_wh, out=surplus_wh)
        need_wh = np.subtract(surplus_wh, net_wh, out=net_wh)
        np.add(before.import_wh, need_wh, out=after.import_wh)
        work.keep("given_wh", "received_wh")
        # Without production nobody exports either: a battery covers what its home lacks.
        owners = block.supply.owners if gives else None
        if owners is None or owners.count < block.homes:
            work.keep("production_wh", "export_wh")
        if owners is not None:
            for name, flow in (("production_wh", production_wh), ("export_wh", surplus_wh)):
                owners.accumulate(getattr(before, name), getattr(after, name), owners.read(flow, spare))


class Outlook:
    """What some slots hold for a fleet whatever their prices are; the cut into looks never shows in a result.

    `turn_to` looks at slots; `want` and `offer` then say block by block what homes want, and what sun and
    wind bring, in arrays that are used up.
    """

    def __init__(self, fleet: Fleet, slots_max: int) -> None:
        self._fleet = fleet
        self._slots_max = slots_max
        largest = slots_max * fleet.blocks[0].homes
        self.spare = Spare(slots_max, fleet.blocks[0].homes)
        self._sun, self._wind = (np.empty(largest, np.float32) for _ in range(2))
        self._shared: tuple[DemandOfSlots, SupplyOfSlots] | None = None
        self.slots = range(0)

    def turn_to(self, slots: range, weather: Samples) -> None:
        """Look at these slots (K at most as made for) under this weather (K samples)."""
        if not 1 <= len(slots) <= self._slots_max:
            raise ValueError(f"{len(slots)} slots at once, 1 .. {self._slots_max} were made room for")
        self.slots = slots
        self._shared = self._fleet.of_slots(slots, weather)

    def want(self, block: Block, room: F32) -> F32:
        """What the block's homes want, (K, homes), in a flat array with room for it."""
        shape = (len(self.slots), block.homes)
        wanted = room[: shape[0] * shape[1]].reshape(shape)
        block.demand.want(self._looked[0], wanted, self.spare)
        return wanted

    def offer(self, block: Block) -> Prospect:
        """What sun and wind bring them; the next block's takes its place."""
        return block.supply.offer(self._looked[1], self._sun, self._wind, self.spare)

    @property
    def _looked(self) -> tuple[DemandOfSlots, SupplyOfSlots]:
        if self._shared is None:
            raise RuntimeError("no slots have been looked at")
        return self._shared


def initial_state(fleet: Fleet, state: State) -> None:
    """Registers at zero, batteries as the scenario fills them."""
    state.clear()
    state.battery_wh[:] = fleet.battery_initial_wh


def begin(homes: Mapping[str, Column], state: State) -> None:
    """`initial_state` of all homes of a scenario, in memory that has nothing but zeros."""
    state.battery_wh[:] = homes["battery_initial_wh"]


def initial_block(fleet: Fleet, block: Block, state: State) -> None:
    """The same for the homes of a block, of whatever kind their state is."""
    state.clear()
    initial_wh = state.of_owners("battery_wh", fleet.battery_initial_wh[block.start : block.stop])
    if initial_wh is None:
        raise ValueError("a home without a battery has something in it")
    state.battery_wh[:] = initial_wh


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
