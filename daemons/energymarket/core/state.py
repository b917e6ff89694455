"""What a fleet remembers from slot to slot: cumulative registers, batteries, debts, carried fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.block import F32, I32, Column, Scratch
from energymarket.core.records import REGISTERS

Register: TypeAlias = npt.NDArray[np.signedinteger[Any]]
"""Of one kind of energy, a value per home: int64, or int32 in a narrow state."""

STATE_COLUMNS: Final[tuple[tuple[str, np.dtype], ...]] = (
    *((name, np.dtype("<i8")) for name in REGISTERS),
    ("battery_wh", np.dtype("<i4")),  # in the cells
    ("deferred_wh", np.dtype("<i4")),  # load put off and not yet made up for
    ("load_carry_wh", np.dtype("<f4")),  # fractions below 1 Wh
    ("pv_carry_wh", np.dtype("<f4")),  # of PV and of series
    ("wind_carry_wh", np.dtype("<f4")),
    ("deferred_carry_wh", np.dtype("<f4")),
    ("battery_carry", np.dtype("<i4")),  # in 1/10,000 Wh: what rounding left in the battery
)
"""A fleet's state: columns back to back in this order, one value per home each."""

STATE_BYTES_PER_HOME: Final = sum(dtype.itemsize for _, dtype in STATE_COLUMNS)
"""Of a wide state, the widest that there is."""

NARROW_BYTES_PER_HOME: Final = STATE_BYTES_PER_HOME - 4 * len(REGISTERS)
NARROW_WH_MAX: Final = 2**31 - 1
"""What a register of 32 bits holds: a home of 4 MWh a year fills it in five hundred years."""


class Layout(Enum):
    """How wide a state's registers are; all else is the same."""

    WIDE = STATE_COLUMNS
    NARROW = tuple(
        (name, np.dtype("<i4") if name in REGISTERS else dtype) for name, dtype in STATE_COLUMNS
    )  # registers of 32 bits: for as long as they hold what a home has

    @property
    def widths(self) -> tuple[int, ...]:
        """Bytes of a home in each column."""
        return tuple(dtype.itemsize for _, dtype in self.value)

    def size_bytes(self, count: int) -> int:
        """Bytes that the state of so many homes takes."""
        return count * sum(self.widths)

    @classmethod
    def of(cls, count: int, payload_bytes: int) -> Layout | None:
        """That of a state of so many homes in so many bytes; None if there is none."""
        return next((each for each in cls if each.size_bytes(count) == payload_bytes), None)


class State:
    """Columns over a buffer that somebody else owns: a generation of the state file, or plain memory."""

    __slots__ = ("count", "layout", *(name for name, _ in STATE_COLUMNS))

    production_wh: Register
    consumption_wh: Register
    import_wh: Register
    export_wh: Register
    battery_in_wh: Register
    battery_out_wh: Register
    losses_wh: Register
    given_wh: Register
    received_wh: Register
    battery_wh: I32
    deferred_wh: I32
    load_carry_wh: F32
    pv_carry_wh: F32
    wind_carry_wh: F32
    deferred_carry_wh: F32
    battery_carry: I32

    def __init__(
        self, buffer: memoryview | bytearray | bytes, count: int, layout: Layout = Layout.WIDE
    ) -> None:
        """Lay the columns over the buffer's first bytes; a read-only buffer gives a state to read."""
        self.count = count
        self.layout = layout
        offset = 0
        for name, dtype in layout.value:
            setattr(self, name, np.frombuffer(buffer, dtype, count, offset))
            offset += count * dtype.itemsize

    @staticmethod
    def size_bytes(count: int) -> int:
        """Bytes that the wide state of `count` homes takes."""
        return Layout.WIDE.size_bytes(count)

    def part(self, start: int, stop: int) -> State:
        """The homes start .. stop - 1, as views."""
        part = State.__new__(State)
        part.count = stop - start
        part.layout = self.layout
        for name, _ in STATE_COLUMNS:
            setattr(part, name, getattr(self, name)[start:stop])
        return part

    def largest_wh(self) -> int:
        """The largest register of all."""
        return max(int(self.column(name).max(initial=0)) for name in REGISTERS)

    def copy_from(self, other: State) -> None:
        """Take over every column of another state of as many homes, of whatever layout.

        OverflowError if a register is larger than this state can hold.
        """
        if self.layout is Layout.NARROW and other.largest_wh() > NARROW_WH_MAX:
            raise OverflowError(f"a register of {other.largest_wh()} Wh does not fit 32 bits")
        for name, _ in STATE_COLUMNS:
            np.copyto(self.column(name), other.column(name), casting="same_kind")

    def clear(self) -> None:
        """All zero."""
        for name, _ in STATE_COLUMNS:
            self.column(name)[:] = 0

    def column(self, name: str) -> Column:
        """A column by its name."""
        column: Column = getattr(self, name)
        return column


@dataclass(frozen=True, slots=True)
class Work:
    """A block's way through a slot: its state before and after, and arrays to work in."""

    before: State
    after: State
    scratch: Scratch

    def keep(self, *names: str) -> None:
        """Columns that a step does not change: copied, unless before and after are the same state."""
        if self.before is not self.after:
            for name in names:
                np.copyto(self.after.column(name), self.before.column(name))


def apply_receipt(state: State, receipt: Mapping[str, Column]) -> None:
    """Add to the registers of gifts what a receipt (RECEIPT_COLUMNS) says was given and received.

    It changes `state` in place: apply it once, to the generation of the slot that the receipt is for.
    """
    state.given_wh += receipt["given_wh"]
    state.received_wh += receipt["received_wh"]
