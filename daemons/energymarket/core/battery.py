"""Batteries with losses, in whole Wh: they take what a home has over and give what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from energymarket.core.block import I32, Bools, Column, Scratch, keepers_or_none, positive
from energymarket.core.state import State, Work

EFFICIENCY_STEPS: Final = 10_000  # an efficiency is known to 0.01 %

_SECONDS_PER_HOUR: Final = 3_600
_NARROW_LIMIT_WH: Final = 200_000  # what moves in a slot, times EFFICIENCY_STEPS, still fits in 32 bits
_COLUMNS: Final = ("battery_wh", "battery_carry", "battery_in_wh", "battery_out_wh", "losses_wh")


class BatteryBlock:
    """The batteries of a block of homes.

    Moving x Wh at one end brings y = (x * q + carry) // 10,000 at the other, with the efficiency q in
    1/10,000; the rest of the division is carried, so that losses are exact over time and y never
    passes x: no energy is made. Charging, x comes from the home; discharging, from the cells. x is
    the least that fills the cells, or covers the lack, within the limits of power and content.
    Standby (whole watts) comes from the cells and is a loss.
    """

    def __init__(self, homes: Mapping[str, Column], slot_s: int) -> None:
        owns = homes["battery_capacity_wh"] > 0
        self._owners = keepers_or_none(owns)
        if self._owners is None:
            return
        charge = _Limit(np.where(owns, homes["battery_charge_w"], 0), slot_s)
        discharge = _Limit(np.where(owns, homes["battery_discharge_w"], 0), slot_s)
        kind = np.int32 if max(charge.largest_wh, discharge.largest_wh) < _NARROW_LIMIT_WH else np.int64
        column = self._owners.column
        is_same = np.array_equal(homes["battery_charge_w"][owns], homes["battery_discharge_w"][owns])
        self._charge = charge.keep(column, kind)
        self._discharge = self._charge if is_same else discharge.keep(column, kind)
        standby_w = homes.get("battery_standby_w")
        self._standby: _Limit | None = None
        if standby_w is not None and bool((standby_w[owns] > 0).any()):
            whole_w = np.floor(np.where(owns, standby_w, 0) + 0.5)
            self._standby = _Limit(whole_w, slot_s).keep(column, kind)
        self._capacity_wh = column(np.where(owns, homes["battery_capacity_wh"], 0).astype(kind))
        charge_q = _steps(homes["battery_charge_efficiency"], owns)
        discharge_q = _steps(homes["battery_discharge_efficiency"], owns)
        kinds = np.unique(np.concatenate((charge_q[owns], discharge_q[owns])))
        # NumPy divides by one number nine times as fast as by an array of them.
        self._one_q: int | None = int(kinds[0]) if kinds.size == 1 else None
        if self._one_q is None:
            self._discharge_q = column(discharge_q.astype(kind))
            self._charge_more_q = column((charge_q - discharge_q).astype(kind))

    def balance(self, net_wh: I32, slot: int, work: Work) -> None:
        """Charge from, or discharge into, `net_wh` = production - consumption; it becomes the meter's net.

        Contents, registers and carries move on from before to after.
        """
        before, after, spare = work.before, work.after, work.scratch.integers
        owners = self._owners
        if owners is None or owners.count < net_wh.size:
            work.keep(*_COLUMNS)
        if owners is None:
            return
        net = owners.read(net_wh, spare[0])
        level = owners.read(before.battery_wh, spare[1])
        carry = owners.read(before.battery_carry, spare[2])
        charges, moved, arrived, rest = self._move(net, level, carry, slot, self._arrays(work.scratch))
        owners.store(after.battery_carry, rest)
        into = np.multiply(moved, charges, out=rest)
        stored = np.multiply(arrived, charges, out=charges)
        level_after = np.add(level, stored, out=spare[1][: owners.count], casting="unsafe")
        level_after -= (moved - into).astype(np.int32, copy=False)
        moved -= arrived
        if self._standby is not None:
            self._stand_by(self._standby.of_slot(slot, np.empty_like(moved)), level_after, moved)
        owners.store(after.battery_wh, level_after)
        owners.accumulate(before.losses_wh, after.losses_wh, moved)
        owners.accumulate(before.battery_in_wh, after.battery_in_wh, into)
        arrived -= stored
        owners.accumulate(before.battery_out_wh, after.battery_out_wh, arrived)
        arrived -= into
        net += arrived.astype(np.int32, copy=False)
        owners.write(net_wh, net)

    @staticmethod
    def _stand_by(standby_wh: Column, level_wh: I32, losses_wh: Column) -> None:
        """What the electronics take from the cells, as long as there is something."""
        taken_wh = np.minimum(standby_wh, level_wh)
        level_wh -= taken_wh.astype(np.int32, copy=False)
        losses_wh += taken_wh

    def balance_slots(self, net_wh: I32, slots: range, state: State) -> None:
        """`balance` in slots that follow each other: `net_wh` (K, homes), and the state moves on in place.

        What a slot asks of the batteries is known for all of them; only contents and carries go on from
        slot to slot.
        """
        owners = self._owners
        if owners is None:
            return
        kind, shape = self._capacity_wh.dtype, (len(slots), owners.count)
        net = owners.read(net_wh, np.empty(shape[0] * shape[1], np.int32))
        over, lack, charges, moved, arrived, other, room = (np.empty(shape, kind) for _ in range(7))
        turns = (np.arange(slots.start, slots.stop) % _SECONDS_PER_HOUR).astype(kind)[:, None]
        limit = np.broadcast_to(self._ask(net, turns, (over, lack, charges, room, other)), shape)
        q = self._q_of(charges, np.empty(shape, kind))
        level, carry = (owners.column(each).astype(kind) for each in (state.battery_wh, state.battery_carry))
        lost = np.zeros(shape[1], kind)
        for at, slot in enumerate(slots):
            row = charges[at], moved[at], arrived[at], other[at]
            q_now = q if isinstance(q, int) else q[at]
            self._shift((limit[at], over[at], lack[at], q_now), (level, carry), row, carry)
            self._fill(level, row)
            if self._standby is not None:
                self._stand_by(self._standby.of_slot(slot, np.empty(shape[1], kind)), level, lost)
        owners.store(state.battery_wh, level)
        owners.store(state.battery_carry, carry)
        lost = lost + np.add.reduce(moved - arrived, axis=0, dtype=np.int64)
        owners.accumulate(state.losses_wh, state.losses_wh, lost)
        into, stored = np.multiply(moved, charges, out=moved), np.multiply(arrived, charges, out=charges)
        arrived -= stored
        for name, flow in (("battery_in_wh", into), ("battery_out_wh", arrived)):
            column = getattr(state, name)
            owners.accumulate(column, column, np.add.reduce(flow, axis=0, dtype=np.int64))
        arrived -= into
        owners.add(net_wh, arrived)

    @staticmethod
    def _fill(level: Column, row: tuple[Column, ...]) -> None:
        """Cells take what arrives where they are charged, and give what is moved elsewhere."""
        charges, moved, arrived, spare = row
        np.add(arrived, moved, out=spare)
        spare *= charges
        spare -= moved
        level += spare

    def _ask(self, net: Column, slot: int | Column, arrays: tuple[Column, ...]) -> Column:
        """What homes have over and lack, and where they charge; answers what may go into the cells.

        Of one slot or of K slots; `arrays` are over, lack, charges, and two that the limits may lie in.
        """
        over, lack, charges, limit_room, other = arrays
        np.maximum(net, 0, out=over, casting="same_kind")
        np.subtract(over, net, out=lack)
        np.minimum(over, 1, out=charges)
        limit = self._charge.of_slot(slot, limit_room)
        np.minimum(over, limit, out=over)
        same = self._discharge is self._charge
        np.minimum(lack, limit if same else self._discharge.of_slot(slot, other), out=lack)
        return limit

    def _q_of(self, charges: Column, each_q: Column) -> int | Column:
        """The efficiency that holds for each home."""
        if self._one_q is not None:
            return self._one_q
        np.multiply(charges, self._charge_more_q, out=each_q)
        each_q += self._discharge_q
        return each_q

    def _move(
        self, net: I32, level: I32, carry: I32, slot: int, arrays: tuple[Column, ...]
    ) -> tuple[Column, Column, Column, Column]:
        """(1 where it charges, Wh that leave one end, Wh that reach the other, new carry)."""
        over, lack, charges, moved, arrived, other, each_q = arrays
        limit = self._ask(net, slot, (over, lack, charges, arrived, other))
        q = self._q_of(charges, each_q)
        rest = self._shift((limit, over, lack, q), (level, carry), (charges, moved, arrived, other), other)
        return charges, moved, arrived, rest

    def _shift(
        self,
        asked: tuple[Column, Column, Column, int | Column],
        content: tuple[Column, Column],
        arrays: tuple[Column, ...],
        rest: Column,
    ) -> Column:
        """Fill what is moved and what arrives, and `rest`, the new carry; what homes have over is used up."""
        limit, over, lack, q = asked
        level, carry = content
        charges, moved, arrived, other = arrays
        np.subtract(self._capacity_wh, level, out=moved)
        np.minimum(moved, limit, out=moved)
        moved *= charges
        moved += lack  # what should reach the other end
        moved *= EFFICIENCY_STEPS
        moved -= carry
        moved += q
        moved -= 1
        np.floor_divide(moved, q, out=moved)  # rounded up: the least that brings it there
        np.subtract(1, charges, out=other)
        other *= level
        other += over  # what there is to move: of the home's, or of the cells'
        np.minimum(moved, other, out=moved)
        positive(moved, out=moved)  # a carry alone may cover it
        np.multiply(moved, q, out=other)
        other += carry
        np.floor_divide(other, EFFICIENCY_STEPS, out=arrived)
        np.multiply(arrived, EFFICIENCY_STEPS, out=over)
        return np.subtract(other, over, out=rest)

    def _arrays(self, scratch: Scratch) -> tuple[Column, ...]:
        count, kind = self._capacity_wh.size, self._capacity_wh.dtype
        if kind == np.int32:
            return tuple(array[:count] for array in scratch.integers[3:10])
        return tuple(np.empty(count, kind) for _ in range(7))  # megawatt batteries are rare


class _Limit:
    """What may move in a slot. Fractions of a Wh of the power come as one more Wh now and then."""

    def __init__(self, power_w: Column, slot_s: int) -> None:
        energy_ws = power_w.astype(np.int64) * slot_s
        self.largest_wh: int = int(energy_ws.max(initial=0)) // _SECONDS_PER_HOUR + 1
        self._whole_wh: Column = energy_ws // _SECONDS_PER_HOUR
        self._rest_ws: Column | None = energy_ws % _SECONDS_PER_HOUR

    def keep(self, column: Callable[[Column], Column], kind: type[np.signedinteger[Any]]) -> _Limit:
        """Cut down to the owners and to the width that is used."""
        self._whole_wh = column(self._whole_wh.astype(kind))
        rest_ws = self._rest_ws
        self._rest_ws = column(rest_ws.astype(kind)) if rest_ws is not None and bool(rest_ws.any()) else None
        return self

    def of_slot(self, slot: int | Column, out: Column) -> Column:
        """Whole Wh of this slot; over an hour of slots of any length they add up to the power.

        `slot` may be a column (K, 1), and `out` then is (K, homes).
        """
        if self._rest_ws is None:
            return self._whole_wh
        turn = slot % _SECONDS_PER_HOUR
        np.multiply(self._rest_ws, turn + 1, out=out)
        out //= _SECONDS_PER_HOUR
        out -= self._rest_ws * turn // _SECONDS_PER_HOUR
        out += self._whole_wh
        return out


def _steps(efficiency: Column, owns: Bools) -> Column:
    """Efficiencies in 1/10,000; homes without a battery get 1."""
    steps = np.floor(np.where(owns, efficiency, 1.0).astype(np.float64) * EFFICIENCY_STEPS + 0.5)
    if not bool(((steps >= 1) & (steps <= EFFICIENCY_STEPS)).all()):
        raise ValueError("a battery's efficiencies must be above 0 and at most 1")
    return steps.astype(np.int64)
