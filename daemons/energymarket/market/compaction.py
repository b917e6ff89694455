"""Slots that follow each other, added up per home: column by column, a piece of work at a time.

Nothing is held but one column of the sums and one of a slot, whatever the number of slots and homes; what
has been added up goes to its place at once. A piece is a column of a slot, some milliseconds of a million
homes, so that whoever owns the market can turn to it between two messages.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core import ledger
from energymarket.core.packed import narrow
from energymarket.core.records import SLOT_COLUMNS
from energymarket.core.rows import add_to
from energymarket.core.stored import StoredRows, array_of, rows_among, union
from energymarket.core.sums import bounds
from energymarket.transport.bodies import stretch_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from energymarket.core.packed import Signed
    from energymarket.core.stored import Ids
    from energymarket.transport.bodies import Draft
    from energymarket.transport.store import LedgerStore

    Body = Callable[[int, int], bytes]

HASHED_BYTES: Final = 4 << 20
"""At a time, of the sums: some milliseconds."""


@dataclass(frozen=True, slots=True)
class Span:
    """What becomes the sums of slots `first` to `last`."""

    first: int
    last: int
    bodies: Sequence[Body]  # sums or slots, which together say all of them
    absorbs: tuple[int, ...] = ()  # sums that begin with these slots are in it, and go


def compact(store: LedgerStore, span: Span) -> Iterator[None]:
    """Put the sums of a span in the place of its detail; each step is a piece of the work.

    Raises StoreError and LedgerCorrupt; the detail then stays as it is. It does so too if the steps end
    before the last one.
    """
    draft = store.draft(stretch_name(span.first, span.last), ledger.HEAD_OF_SUMS_BYTES)
    try:
        found: list[StoredRows] = []
        homes: Ids = range(0)
        for body in span.bodies:
            found.append(StoredRows(body))
            homes = union(homes, found[-1].ids())
            yield
        widths = [_append(draft, ledger.ids_as_stored(array_of(homes)))]
        places = [rows_among(each.ids(), homes) for each in found]
        yield
        for name in SLOT_COLUMNS[1:]:
            sums = _Sums(len(homes))
            for each, rows in zip(found, places, strict=True):
                if each.has(name):
                    sums.add(rows, each.column(name))
                    yield
            widths.append(_append(draft, sums.column))
            yield
        draft.finish(ledger.head_of_sums(span.first, len(homes), widths))
        digest = hashlib.sha256(store.hash_of(span.last))
        at = 0
        while part := draft.part(at, HASHED_BYTES):
            digest.update(part)
            at += len(part)
            yield
        store.compact(span.first, span.last, draft.in_row(), digest.digest(), absorbs=span.absorbs)
    finally:
        draft.close()


class _Sums:
    """A column of sums: in 32 bits until one could want more."""

    def __init__(self, homes: int) -> None:
        self.column: Signed = np.zeros(homes, np.int32)
        self._most = 0  # no sum is farther from zero

    def add(self, rows: slice | npt.NDArray[np.int64], values: Signed) -> None:
        """Add to some rows, none twice."""
        short = values.itemsize <= 2  # then it need not be looked through
        low, high = (np.iinfo(values.dtype).min, np.iinfo(values.dtype).max) if short else bounds(values)
        self._most += max(high, -low)
        if self._most > _INT32_MAX:
            self.column = self.column.astype(np.int64, copy=False)
        add_to(self.column, rows, values)


_INT32_MAX: Final = 2**31 - 1


def _append(draft: Draft, column: Signed) -> int:
    """Put a column down as narrowly as it can be; its width."""
    packed = narrow(column)
    if packed is None:
        return 0
    draft.append(packed.view(np.uint8).data)
    return packed.itemsize
