"""Slots that follow each other, added up per home: column by column, a piece of work at a time.

Nothing is held but one column of the sums and one of a slot, whatever the number of slots and homes; what
has been added up goes to its place at once. A piece is a column of a slot, some milliseconds of a million
homes, so that whoever owns the market can turn to it between two messages.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.core import ledger
from energymarket.core.nothing import zeros
from energymarket.core.packed import narrow
from energymarket.core.records import SLOT_COLUMNS
from energymarket.core.stored import StoredRows, array_of, rows_among, rows_from, union
from energymarket.core.sums import bounds
from energymarket.transport.bodies import stretch_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from energymarket.core.packed import Signed
    from energymarket.core.stored import Ids, Rows
    from energymarket.transport.bodies import Draft, Part
    from energymarket.transport.store import LedgerStore

BLOCK_BYTES: Final = 1 << 18
"""Of values that are added together: they and their sums stay in the cache."""

HASHED_BYTES: Final = 4 << 20
"""At a time, of the sums: some milliseconds."""


@dataclass(frozen=True, slots=True)
class Span:
    """What becomes the sums of slots `first` to `last`."""

    first: int
    last: int
    bodies: Sequence[Part]  # sums or slots, which together say all of them
    absorbs: tuple[int, ...] = ()  # sums that begin with these slots are in it, and go


def compact(store: LedgerStore, span: Span) -> Iterator[None]:
    """Put the sums of a span in the place of its detail; each step is a piece of the work.

    Raises StoreError and LedgerCorrupt; the detail then stays as it is. It does so too if the steps end
    before the last one.
    """
    draft = store.draft(stretch_name(span.first, span.last), ledger.HEAD_OF_SUMS_BYTES)
    with ExitStack() as opened:
        opened.callback(draft.close)
        for body in span.bodies:
            opened.callback(body.close)
        found: list[StoredRows] = []
        homes: Ids = range(0)
        for body in span.bodies:
            found.append(StoredRows(body))
            homes = union(homes, found[-1].ids())
            yield
        widths = [_append(draft, ledger.ids_as_stored(array_of(homes)))]
        places = [rows_among(each.ids(), homes) for each in found]
        yield
        sums = _Sums(len(homes))
        for name in SLOT_COLUMNS[1:]:
            sums.begin()
            for each, rows in zip(found, places, strict=True):
                if each.has(name):
                    sums.add(rows, each.pieces(name))
                    yield
            widths.append(_append(draft, sums.column()))
            yield
        draft.finish(ledger.head_of_sums(span.first, len(homes), widths))
        yield
        digest = hashlib.sha256(store.hash_of(span.last))
        written = draft.part()
        opened.callback(written.close)
        at = 0
        while part := written(at, HASHED_BYTES):
            digest.update(part)
            at += len(part)
            yield
        store.compact(span.first, span.last, draft.in_row(), digest.digest(), absorbs=span.absorbs)


class _Tier:
    """Sums of one width, as long as none can be too far from zero for it."""

    def __init__(self, homes: int, kind: type[np.signedinteger[Any]]) -> None:
        self.column: Signed = np.empty(homes, kind)
        self.limit = int(np.iinfo(kind).max)
        self.begin()

    def begin(self) -> None:
        """The next column: nothing is in it."""
        self.used = False
        self.most = 0  # no sum of what has been added is farther from zero
        self.added = 0  # nor a value of what is being added

    def has_room(self, most: int) -> bool:
        """Whether values up to so far from zero can be added."""
        return self.most + max(self.added, most) <= self.limit

    def add(self, rows: Rows, values: Signed, most: int) -> None:
        """Add values to some rows, none twice before `rest`."""
        if not self.used:
            self.column.fill(0)
            self.used = True
        self.added = max(self.added, most)
        self.column[rows] += values

    def rest(self) -> None:
        """All that was to be added to different rows has been."""
        self.most += self.added
        self.added = 0


class _Sums:
    """Columns of sums, one after the other.

    What is narrow is added up in its own width, a fraction of the work, until it could want more.
    """

    def __init__(self, homes: int) -> None:
        self._homes = homes
        self._tiers = [_Tier(homes, kind) for kind in (np.int16, np.int32, np.int64)]
        self._block = np.empty(BLOCK_BYTES // 8, np.int64)

    def begin(self) -> None:
        """The next column: all zero."""
        for tier in self._tiers:
            tier.begin()

    def add(self, rows: Rows, pieces: Iterable[tuple[int, Signed]]) -> None:
        """Add a column, piece by piece, to some rows, none twice."""
        for start, piece in pieces:
            level = max(0, piece.itemsize.bit_length() - 2)
            for at in range(0, len(piece), len(self._block) * 8 // piece.itemsize):
                values = self._aligned(piece[at:])
                low, high = bounds(values)
                if low or high:
                    self._put(level, rows_from(rows, start + at, len(values)), values, max(high, -low))
        for tier in self._tiers:
            tier.rest()

    def _aligned(self, values: Signed) -> Signed:
        """The next values as they were read, but not in the midst of a word, where NumPy is slow."""
        block: Signed = self._block.view(values.dtype)[: len(values)]
        block[:] = values[: len(block)]
        return block

    def _put(self, level: int, rows: Rows, values: Signed, most: int) -> None:
        tier = self._tiers[level]
        if not tier.has_room(most):
            if tier.used:
                self._pour(level)
            if most > tier.limit:
                self._put(level + 1, rows, values, most)
                return
        tier.add(rows, values, most)

    def _pour(self, level: int) -> None:
        """Empty a tier into the one of twice the width."""
        tier = self._tiers[level]
        tier.rest()
        self._put(level + 1, slice(None), tier.column, tier.most)
        self._tiers[level + 1].rest()
        tier.begin()

    def column(self) -> Signed:
        """The sums; they stay until the next column begins."""
        for level, tier in enumerate(self._tiers[:-1]):
            if tier.used and any(wider.used for wider in self._tiers[level + 1 :]):
                self._pour(level)
        used = (tier.column for tier in self._tiers if tier.used)
        return next(used, zeros(self._homes, np.int16))


def _append(draft: Draft, column: Signed) -> int:
    """Put a column down as narrowly as it can be; its width."""
    packed = narrow(column)
    if packed is None:
        return 0
    draft.append(packed.view(np.uint8).data)
    return packed.itemsize
