"""Blocks of homes: who of a block owns a thing, scratch arrays, carried fractions.

Every operation here and in its users is +, -, x, /, a comparison, floor or an integer operation on
single elements: IEEE 754 rounds them alike everywhere, so the cut into blocks and shards never
shows in a result.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
Bools = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]
Places = npt.NDArray[np.integer[Any]]
Column = npt.NDArray[Any]
C = TypeVar("C", bound=np.generic)
Whole = TypeVar("Whole", bound=npt.NDArray[np.signedinteger[Any]])

BLOCK_HOMES: Final = 65_536
"""Homes that live a slot together, at most: with fewer, the calls of NumPy would cost more than the cache
saves; of more, places would want more than 16 bits, and sums of 16-bit values more than 32."""

NARROW_HOMES: Final = 65_536
"""Homes whose columns of 16 bits are looked through together: a call of NumPy costs as much as 8,000."""

_ZEROS: Final = np.zeros(NARROW_HOMES, np.int32)  # nobody writes into it: it takes no memory

_NARROW_BYTES: Final = 2
_NARROW_MAX: Final = 2**15 - 1

_PLACES_MAX: Final = 1 << 16
_DENSE_SHARE: Final = 0.5  # above it, working on the whole block beats gathering and scattering (measured)


def added_up(rows: npt.NDArray[np.signedinteger[Any]]) -> npt.NDArray[np.signedinteger[Any]]:
    """The sums of (K, homes) over K slots, int64; a single slot is its own sum, of whatever width."""
    if len(rows) != 1:
        summed: I64 = np.add.reduce(rows, axis=0, dtype=np.int64)
        return summed
    only: npt.NDArray[np.signedinteger[Any]] = rows[0]
    return only


def positive(values: Whole, out: npt.NDArray[Any] | None = None) -> Whole:
    """The values above zero, and zero for the others: max(0, values) of whole numbers, homes last.

    Held against an array of zeros: NumPy goes through it six times as fast as against a single one.
    """
    kind = values.dtype
    zeros = _ZEROS.view(kind)[: values.shape[-1]]
    found: Whole = np.maximum(values, zeros if zeros.size == values.shape[-1] else kind.type(0), out=out)
    return found


class Owners:
    """The homes of a block that own a thing: the whole block if they are many, else an index list.

    A column of what only owners have holds `count` values: one per home of the block when dense
    (those who own nothing have neutral values there), else one per owner. A column that is to be read
    or written may be of the block or, as in a sparse state, of the owners already.
    """

    __slots__ = ("_where", "count")

    def __init__(self, mask: Bools, dense_share: float = _DENSE_SHARE) -> None:
        owners = int(np.count_nonzero(mask))
        dense = owners >= dense_share * mask.size
        # Two bytes a home of a block: NumPy makes an index of them where they are used.
        kind = np.uint16 if mask.size <= _PLACES_MAX else np.intp
        self._where: Places | None = None if dense else np.flatnonzero(mask).astype(kind)
        self.count: int = mask.size if dense else owners

    def column(self, values: npt.NDArray[C]) -> npt.NDArray[C]:
        """The owners' values of a static column, as a contiguous array to keep."""
        return np.ascontiguousarray(values if self._where is None else values[self._where])

    def read(self, column: npt.NDArray[C], scratch: npt.NDArray[C]) -> npt.NDArray[C]:
        """The owners' values: the column itself when dense or theirs already, else a copy in `scratch`.

        A column may have slots before homes: (K, homes); `scratch` is flat in any case.
        """
        if self._where is None or self._is_theirs(column):
            return column
        return column.take(self._where, axis=-1, out=self._fit(column, scratch), mode="clip")

    def _is_theirs(self, column: Column) -> bool:
        return bool(column.shape[-1] == self.count)  # an index list is shorter than its block

    def _fit(self, column: npt.NDArray[C], scratch: npt.NDArray[C]) -> npt.NDArray[C]:
        if column.ndim == 1:
            return scratch[: self.count]
        slots = column.shape[0]
        return scratch[: slots * self.count].reshape(slots, self.count)

    def place(self, column: npt.NDArray[C], scratch: npt.NDArray[C]) -> npt.NDArray[C]:
        """Where to compute the owners' values of `column`; `write` then brings them home."""
        return column if self._where is None or self._is_theirs(column) else self._fit(column, scratch)

    def write(self, column: npt.NDArray[C], values: npt.NDArray[C]) -> None:
        """Bring values from `read` or `place` back to the column."""
        if self._where is None or self._is_theirs(column):
            return
        if column.ndim == 1:
            column[self._where] = values  # nearly twice as fast as the general index
        else:
            column[..., self._where] = values

    def store(self, column: npt.NDArray[C], values: Column) -> None:
        """Bring values from anywhere else to the column."""
        column[slice(None) if self._where is None or self._is_theirs(column) else self._where] = values

    def add(self, rows: Column, values: Column) -> None:
        """Add the owners' values to (K, homes) in place."""
        rows[:, slice(None) if self._where is None or self._is_theirs(rows) else self._where] += values

    def accumulate(self, before: Column, after: Column, values: Column) -> None:
        """Make after = before + values for the owners; `after` must have the others' values already."""
        if self._where is None or self._is_theirs(after):
            np.add(before, values, out=after, casting="same_kind")
        else:
            after[self._where] += values


def owners_or_none(mask: Bools) -> Owners | None:
    """The owners, or None if there is no one."""
    return Owners(mask) if bool(mask.any()) else None


def keepers_or_none(mask: Bools) -> Owners | None:
    """Those who have something in a state, or None if there is no one: the whole block only if all are."""
    return Owners(mask, 1.0) if bool(mask.any()) else None


class Widening:
    """A column that is filled block by block: of 16 bits, until a value wants 32."""

    __slots__ = ("values",)

    def __init__(self, homes: int) -> None:
        self.values: npt.NDArray[np.signedinteger[Any]] = np.zeros(homes, np.int16)

    def put(self, start: int, values: npt.NDArray[np.signedinteger[Any]], largest: int | None = None) -> bool:
        """Fill a block that begins at a home; whether 16 bits hold it.

        Who knows how large the largest value is, whatever its sign, may say so.
        """
        if largest is None:
            is_narrow = values.itemsize == _NARROW_BYTES or fits_16(values)
        else:
            is_narrow = largest <= _NARROW_MAX
        if self.values.itemsize == _NARROW_BYTES and not is_narrow:
            self.values = self.values.astype(np.int32)
        np.copyto(self.values[start : start + len(values)], values, casting="same_kind")
        return is_narrow


def fits_16(values: Column) -> bool:
    """Whether 16 bits hold all of these."""
    return int(values.min()) >= -_NARROW_MAX and int(values.max()) <= _NARROW_MAX


class Scratch:
    """Arrays as long as a block, made once and used by every block in turn."""

    __slots__ = ("consumption_wh", "floats", "index", "integers", "net_wh", "production_wh")

    def __init__(self, homes: int) -> None:
        self.floats: tuple[F32, ...] = tuple(np.empty(homes, np.float32) for _ in range(6))
        self.integers: tuple[I32, ...] = tuple(np.empty(homes, np.int32) for _ in range(10))
        self.index: Index = np.empty(homes, np.intp)
        self.production_wh: I32 = np.empty(homes, np.int32)
        self.consumption_wh: I32 = np.empty(homes, np.int32)
        self.net_wh: I32 = np.empty(homes, np.int32)

    def look_up(self, table: npt.NDArray[C], keys: Column, out: npt.NDArray[C]) -> npt.NDArray[C]:
        """table[keys] for keys of any integer width; take() is fastest with indices of its own width."""
        index = self.index[: keys.size]
        np.copyto(index, keys, casting="unsafe")
        return table.take(index, out=out[: keys.size], mode="clip")


class Spare:
    """Arrays for several slots of a block at once: what is the same at any price is made for all of them."""

    __slots__ = ("_index", "floats", "integers")

    def __init__(self, slots: int, homes: int) -> None:
        self.floats: tuple[F32, ...] = tuple(np.empty(slots * homes, np.float32) for _ in range(3))
        self.integers: I32 = np.empty(slots * homes, np.int32)
        self._index: Index = np.empty(homes, np.intp)

    def like(self, part: F32, number: int) -> F32:
        """A spare array of the same shape."""
        return self.floats[number][: part.size].reshape(part.shape)

    def look_up(self, tables: npt.NDArray[C], keys: Column, out: npt.NDArray[C]) -> npt.NDArray[C]:
        """tables[:, keys]: one table per slot, one key per home."""
        index = self._index[: keys.size]
        np.copyto(index, keys, casting="unsafe")
        return tables.take(index, axis=1, out=out, mode="clip")


def split_wh(energy_wh: F32, carry: tuple[F32, F32], whole_wh: I32, spare: F32) -> None:
    """Whole Wh of `energy_wh` plus what was carried before; the fraction is carried on.

    `carry` is (before, after); `energy_wh` and `spare` are used up. Energies must be 0 .. 2**24 Wh,
    where float32 still knows whole numbers. The fraction is split off before the carry is added: from
    1 Wh on both are multiples of 2**-23 and their sum, below 2, is exact; below 1 Wh a slot may round
    by 2**-24 Wh. Adding first would round by up to 2**-15 Wh in every slot of 1,000 Wh.
    """
    before, after = carry
    np.floor(energy_wh, out=spare)
    np.subtract(energy_wh, spare, out=energy_wh)
    np.add(energy_wh, before, out=energy_wh)
    np.floor(energy_wh, out=after)
    np.add(spare, after, out=spare)
    np.subtract(energy_wh, after, out=after)
    np.copyto(whole_wh, spare, casting="unsafe")


def split_wh_of_slots(energy_wh: F32, carry: F32, whole_wh: I32, spare: tuple[F32, F32]) -> None:
    """`split_wh` of K slots that follow each other: (K, n) each; `carry` (n) moves on in place.

    Rows of zeros change nothing. `energy_wh` and `spare`, (K, n) and (n), are used up.
    """
    floors, floor = spare
    np.floor(energy_wh, out=floors)
    energy_wh -= floors
    for row in energy_wh:
        np.add(row, carry, out=row)
        np.floor(row, out=floor)
        np.subtract(row, floor, out=carry)
    np.floor(energy_wh, out=energy_wh)
    energy_wh += floors
    np.copyto(whole_wh, energy_wh, casting="unsafe")
