"""What a fleet remembers from slot to slot: cumulative registers, batteries, debts, carried fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from energymarket.core.block import F32, I32, I64, Column, Scratch
from energymarket.core.records import REGISTERS

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

STATE_WIDTHS: Final = tuple(dtype.itemsize for _, dtype in STATE_COLUMNS)
"""Bytes of a home in each column."""

STATE_BYTES_PER_HOME: Final = sum(STATE_WIDTHS)


class State:
    """Columns over a buffer that somebody else owns: a generation of the state file, or plain memory."""

    __slots__ = ("count", *(name for name, _ in STATE_COLUMNS))

    production_wh: I64
    consumption_wh: I64
    import_wh: I64
    export_wh: I64
    battery_in_wh: I64
    battery_out_wh: I64
    losses_wh: I64
    given_wh: I64
    received_wh: I64
    battery_wh: I32
    deferred_wh: I32
    load_carry_wh: F32
    pv_carry_wh: F32
    wind_carry_wh: F32
    deferred_carry_wh: F32
    battery_carry: I32

    def __init__(self, buffer: memoryview | bytearray | bytes, count: int) -> None:
        """Lay the columns over the buffer's first bytes; a read-only buffer gives a state to read."""
        self.count = count
        offset = 0
        for name, dtype in STATE_COLUMNS:
            setattr(self, name, np.frombuffer(buffer, dtype, count, offset))
            offset += count * dtype.itemsize

    @staticmethod
    def size_bytes(count: int) -> int:
        """Bytes that the state of `count` homes takes."""
        return count * STATE_BYTES_PER_HOME

    def part(self, start: int, stop: int) -> State:
        """The homes start .. stop - 1, as views."""
        part = State.__new__(State)
        part.count = stop - start
        for name, _ in STATE_COLUMNS:
            setattr(part, name, getattr(self, name)[start:stop])
        return part

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


def apply_receipt(state: State, receipt: Mapping[str, Column]) -> None:
    """Add to the registers of gifts what a receipt (RECEIPT_COLUMNS) says was given and received.

    It changes `state` in place: apply it once, to the generation of the slot that the receipt is for.
    """
    state.given_wh += receipt["given_wh"]
    state.received_wh += receipt["received_wh"]
