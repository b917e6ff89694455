"""A player: a shard's homes on whatever machine; it lives slots as it is told and says what flowed.

What it answers is a function of the scenario, its homes, the state it began with and the prices it was
told. So a player that is lost is made again from an earlier state, told the same prices, and is the same.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.course import Course, Lived
from energymarket.core.fleet import Fleet
from energymarket.core.state import STATE_COLUMNS, State
from energymarket.engine.parcel import program_hash
from energymarket.exits import ConfigError

if TYPE_CHECKING:
    from energymarket.engine.parcel import Parcel
    from energymarket.scenario.compiled import Compiled

Flowed: TypeAlias = tuple[int, int]
"""What a shard's homes have consumed and produced in a slot, in Wh."""

Columns: TypeAlias = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]
"""Consumption, production and net at the meter, in Wh: shape (slots, homes)."""

METERED_ELSEWHERE = frozenset({"given_wh", "received_wh"})
"""Registers of gifts: settlement raises them, players neither read nor change them."""


@dataclass(slots=True)
class Passage:
    """Consecutive slots as a player was told them, and what it answered."""

    slots: range
    prices_ueur_per_kwh: list[int] = field(default_factory=list)
    flowed_wh: list[Flowed] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Entrance:
    """What a player says of itself when it begins."""

    machine: str
    host: str
    pid: int
    flowed_wh: list[list[Flowed]]  # of the passages that it has lived again


class Player:
    """The homes first .. first + count - 1 (from 0) of a scenario."""

    def __init__(self, parcel: Parcel, first: int, count: int, slots_max: int) -> None:
        """Store what it is made of: `begin` makes it, and its failures reach the run as they are."""
        self._parcel = parcel
        self._first = first
        self._count = count
        self._slots_max = slots_max
        self._compiled: Compiled | None = None
        self._course: Course | None = None
        self._state = State(bytearray(State.size_bytes(count)), count)
        self._lived = Lived.room(slots_max, count)
        self._slots = range(0)

    def begin(self, state: bytes, passages: list[Passage]) -> Entrance:
        """Take a state and live what was lived from it. ConfigError if program or scenario is another."""
        if self._parcel.program != program_hash():
            what = f"{socket.gethostname()} has another energy-market than the machine that the run is on"
            raise ConfigError(what, "install the same version on all machines of the cluster")
        self._compiled = self._parcel.unpack()
        unpack_state(state, self._state)
        fleet = Fleet(self._compiled, self._first + 1, self._count)
        self._course = Course(fleet, self._state, self._slots_max)
        flowed = []
        for passage in passages:
            self.look(passage.slots)
            prices = passage.prices_ueur_per_kwh
            flowed.append([self.live(at, price)[0] for at, price in enumerate(prices)])
        return Entrance(self.machine(), socket.gethostname(), os.getpid(), flowed)

    def look(self, slots: range) -> None:
        """Turn to the slots that come next."""
        compiled, course = self._made
        rows = [compiled.table_row(slot) for slot in slots]
        course.turn_to(slots, np.asarray(compiled.weather)[rows])
        self._slots = slots

    def live(self, at: int, price_ueur_per_kwh: int) -> tuple[Flowed, Columns | None]:
        """Play the slot at a place; with the last one comes what all homes did in all of them."""
        _, course = self._made
        flowed = course.live(at, price_ueur_per_kwh, self._lived)
        if at < len(self._slots) - 1:
            return flowed, None
        lived = self._lived.part(0, self._count, len(self._slots))
        course.book(lived)
        return flowed, (lived.consumption_wh, lived.production_wh, lived.net_wh)

    def machine(self) -> str:
        """The name by which its cluster knows the machine that it is on."""
        return socket.gethostname()

    def state(self) -> bytes:
        """The homes' state after the last slot."""
        return pack_state(self._state)

    @property
    def _made(self) -> tuple[Compiled, Course]:
        if self._compiled is None or self._course is None:
            raise RuntimeError("this player has not begun")
        return self._compiled, self._course


def pack_state(state: State) -> bytes:
    """A state's columns, back to back."""
    return b"".join(state.column(name).tobytes() for name, _ in STATE_COLUMNS)


def unpack_state(packed: bytes, into: State) -> None:
    """Write what a player keeps of a state that was packed. ValueError if the size is wrong."""
    if len(packed) != State.size_bytes(into.count):
        raise ValueError(f"{len(packed)} bytes are no state of {into.count} homes")
    found = State(packed, into.count)
    for name, _ in STATE_COLUMNS:
        if name not in METERED_ELSEWHERE:
            into.column(name)[:] = found.column(name)
