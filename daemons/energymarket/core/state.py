"""What a fleet remembers from slot to slot: cumulative registers, batteries, debts, carried fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.block import F32, I32, Column, Scratch
from energymarket.core.owned import KIND_OF, Owned
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
"""A fleet's state: columns back to back in this order, one value per home each.

A sparse state comes in blocks: see `core.sparse`. A block has the bits of `Owned` in front, and columns as
long as its homes have what they are of.
"""

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
    """Columns over a buffer that somebody else owns: a generation of the state file, or plain memory.

    In a sparse state (`owned` is not None) an attribute has the values of those alone who have what it is of;
    `column` answers one per home in any state.
    """

    __slots__ = ("count", "layout", "owned", *(name for name, _ in STATE_COLUMNS))

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
        self,
        buffer: memoryview | bytearray | bytes,
        count: int,
        layout: Layout = Layout.WIDE,
        owned: Owned | None = None,
    ) -> None:
        """Lay the columns over the buffer's first bytes; a read-only buffer gives a state to read.

        The bits in front of a sparse state are left as they are.
        """
        self.count = count
        self.layout = layout
        self.owned = owned
        offset = 0 if owned is None else owned.packed_bytes
        for name, dtype in layout.value:
            rows = count if owned is None else owned.rows(name)
            setattr(self, name, np.frombuffer(buffer, dtype, rows, offset) if rows else np.zeros(0, dtype))
            offset += rows * dtype.itemsize

    @staticmethod
    def size_bytes(count: int) -> int:
        """Bytes that the wide state of `count` homes takes."""
        return Layout.WIDE.size_bytes(count)

    def part(self, start: int, stop: int) -> State:
        """The homes start .. stop - 1, as views. ValueError of a sparse state, which is lived as a whole."""
        if self.owned is not None:
            raise ValueError("a sparse state has no parts")
        part = State.__new__(State)
        part.count = stop - start
        part.layout = self.layout
        part.owned = None
        for name, _ in STATE_COLUMNS:
            setattr(part, name, getattr(self, name)[start:stop])
        return part

    def largest_wh(self) -> int:
        """The largest register of all."""
        return max(int(self._kept(name).max(initial=0)) for name in REGISTERS)

    def copy_from(self, other: State) -> None:
        """Take over every column of another state of as many homes, of whatever layout.

        OverflowError if a register is larger than this state can hold; ValueError if this one is sparse and
        the other one has something where it has no room.
        """
        if self.layout is Layout.NARROW and other.largest_wh() > NARROW_WH_MAX:
            raise OverflowError(f"a register of {other.largest_wh()} Wh does not fit 32 bits")
        for name, _ in STATE_COLUMNS:
            values = self.of_owners(name, other.column(name))
            if values is None:
                raise ValueError(f"{name} of a home that has none")
            np.copyto(self._kept(name), values, casting="same_kind")

    def clear(self) -> None:
        """All zero."""
        for name, _ in STATE_COLUMNS:
            self._kept(name)[:] = 0

    def column(self, name: str) -> Column:
        """A column by its name, a value per home; of a sparse state it may be a copy, which is read-only."""
        kept, kind = self._kept(name), KIND_OF.get(name)
        if self.owned is None or kind is None:
            return kept
        column = np.zeros(self.count, kept.dtype)
        column[self.owned.mask(kind)] = kept
        column.flags.writeable = False
        return column

    def of_owners(self, name: str, values: Column) -> Column | None:
        """Of a value per home those that this state has room for; None if one of the others is not 0."""
        kind = KIND_OF.get(name)
        if self.owned is None or kind is None or self.owned.counts[kind] == self.count:
            return values
        found: Column = values[self.owned.mask(kind)] if self.owned.counts[kind] else values[:0]
        return found if np.count_nonzero(found) == np.count_nonzero(values) else None

    def packed(self) -> bytes:
        """The columns of a state that is not sparse, as bytes: what a buffer of it is."""
        return b"".join(self._kept(name).tobytes() for name, _ in STATE_COLUMNS)

    def _kept(self, name: str) -> Column:
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
                np.copyto(getattr(self.after, name), getattr(self.before, name))


def apply_receipt(state: State, receipt: Mapping[str, Column]) -> bool:
    """Add to the registers of gifts what a receipt (RECEIPT_COLUMNS) says was given and received.

    It changes `state` in place: apply it once, to the generation of the slot that the receipt is for.
    False, and nothing is changed: the state is sparse, and has no room for what somebody has given.
    """
    given_wh = state.of_owners("given_wh", receipt["given_wh"])
    if given_wh is None:
        return False
    state.given_wh += given_wh
    state.received_wh += receipt["received_wh"]
    return True
