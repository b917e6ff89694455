"""A fleet that lives slot after slot in place, as fast-forward has it: some slots are looked at together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from energymarket.core.block import added_up, positive
from energymarket.core.fleet import Outlook
from energymarket.core.state import Work

if TYPE_CHECKING:
    from energymarket.core.block import F32, I32
    from energymarket.core.demand import Answer
    from energymarket.core.fleet import Fleet
    from energymarket.core.state import Register, State
    from energymarket.core.weather import Samples


class Lived:
    """What homes did in K slots, as a `Course` writes it: int32 arrays of shape (K, homes)."""

    __slots__ = ("consumption_wh", "net_wh", "production_wh")

    def __init__(self, consumption_wh: I32, production_wh: I32, net_wh: I32) -> None:
        self.consumption_wh = consumption_wh
        self.production_wh = production_wh
        self.net_wh = net_wh  # at the meter: above zero is a surplus

    @classmethod
    def room(cls, slots: int, homes: int) -> Lived:
        """Room for so many slots."""
        return cls(*(np.empty((slots, homes), np.int32) for _ in range(3)))

    def part(self, first: int, count: int, slots: int) -> Lived:
        """The first `slots` slots of the homes first .. first + count - 1 (from 0), as views."""
        here = slice(first, first + count)
        return Lived(
            self.consumption_wh[:slots, here], self.production_wh[:slots, here], self.net_wh[:slots, here]
        )


class Course:
    """A fleet that lives slot after slot in place: one state, no generation before.

    Only what homes consume waits for the price. Where several slots are looked at, what they produce is made
    for all of them when they are turned to, and batteries follow by `book`; so do the registers of the meter.
    """

    def __init__(self, fleet: Fleet, state: State, slots_max: int) -> None:
        self._fleet = fleet
        self._outlook = Outlook(fleet, slots_max)
        parts = [state.part(block.start, block.stop) for block in fleet.blocks]
        self._works = [Work(part, part, fleet.scratch) for part in parts]
        self._ahead: _Ahead | None = None
        if slots_max > 1:
            self._ahead = _Ahead(fleet, self._outlook, self._works, slots_max)
        else:
            for noise in (block.demand.noise for block in fleet.blocks):
                if noise is not None:
                    noise.keep_hours()

    def turn_to(self, slots: range, weather: Samples) -> None:
        """Look at the slots that come next: all of them are lived before others are turned to."""
        self._outlook.turn_to(slots, weather)
        if self._ahead is not None:
            self._ahead.look()

    def live(self, at: int, price_ueur_per_kwh: int, into: Lived) -> tuple[int, int]:
        """Play the slot at a place of the outlook; what all homes together have consumed and produced.

        `into` is complete after `book`.
        """
        answer = self._fleet.answer(price_ueur_per_kwh)
        if self._ahead is not None:
            return self._ahead.live(at, answer, into)
        consumed_wh = produced_wh = 0
        for block, work in zip(self._fleet.blocks, self._works, strict=True):
            consumption, production, net = self._fleet.live_block(block, self._outlook, answer, work)
            here = slice(block.start, block.stop)
            into.consumption_wh[at, here] = consumption
            into.production_wh[at, here] = production
            into.net_wh[at, here] = net
            consumed_wh += int(np.add.reduce(consumption, dtype=np.int64))
            produced = int(np.add.reduce(production, dtype=np.int64))
            produced_wh += produced
            if produced or int(np.maximum.reduce(net)) > 0:
                _book(work.after, consumption, production, net)  # now that they are in the cache
            else:  # of a block of homes without roofs, and by night of nearly all
                work.after.consumption_wh += consumption
                work.after.import_wh -= net
        return consumed_wh, produced_wh

    def book(self, lived: Lived) -> None:
        """Complete what was lived in all slots of the outlook, and add it to the registers of the meter."""
        if self._ahead is None:
            return
        self._ahead.complete(lived)
        for block, work in zip(self._fleet.blocks, self._works, strict=True):
            columns = (lived.consumption_wh, lived.production_wh)
            consumption, production = (added_up(each[:, block.start : block.stop]) for each in columns)
            _book(work.after, consumption, production, lived.net_wh[:, block.start : block.stop])


def _book(state: State, consumption_wh: Register, production_wh: Register, net_wh: Register) -> None:
    """Add to the registers of the meter; `net_wh` is of one slot, or (K, homes)."""
    export_wh = positive(net_wh)
    if net_wh.ndim > 1:
        export_wh, net_wh = added_up(export_wh), added_up(net_wh)
    state.consumption_wh += consumption_wh
    state.production_wh += production_wh
    state.export_wh += export_wh
    export_wh -= net_wh
    state.import_wh += export_wh


class _Ahead:
    """Several slots of a course: made for all of them but for what waits for the price."""

    def __init__(self, fleet: Fleet, outlook: Outlook, works: list[Work], slots_max: int) -> None:
        self._outlook = outlook
        self._parts = list(zip(fleet.blocks, works, strict=True))
        self._rooms = [np.empty(slots_max * block.homes, np.float32) for block in fleet.blocks]
        self._wanted: list[F32] = []  # of each block, (K, homes)
        self._production_wh: I32 = np.empty((slots_max, fleet.count), np.int32)
        self._produced_wh: list[int] = []  # by all homes in each slot

    def look(self) -> None:
        """What the homes produce in all slots of the outlook, and what they want."""
        outlook = self._outlook
        production_wh = self._production_wh[: len(outlook.slots)]
        for block, work in self._parts:
            here = production_wh[:, block.start : block.stop]
            block.supply.produce_slots(outlook.offer(block), work.after, here, outlook.spare)
        self._produced_wh = production_wh.sum(axis=1, dtype=np.int64).tolist()
        self._wanted = [
            outlook.want(block, room) for (block, _), room in zip(self._parts, self._rooms, strict=True)
        ]

    def live(self, at: int, answer: Answer, into: Lived) -> tuple[int, int]:
        """What is consumed in a slot."""
        consumed_wh = 0
        for (block, work), wanted in zip(self._parts, self._wanted, strict=True):
            consumption = block.demand.consume(wanted[at], answer, work)
            into.consumption_wh[at, block.start : block.stop] = consumption
            consumed_wh += int(np.add.reduce(consumption, dtype=np.int64))
        return consumed_wh, self._produced_wh[at]

    def complete(self, lived: Lived) -> None:
        """What was produced, and what is left at the meter when the batteries have had their part."""
        slots = self._outlook.slots
        np.copyto(lived.production_wh, self._production_wh[: len(slots)])
        np.subtract(lived.production_wh, lived.consumption_wh, out=lived.net_wh)
        for block, work in self._parts:
            block.battery.balance_slots(lived.net_wh[:, block.start : block.stop], slots, work.after)
