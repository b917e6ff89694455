"""From what homes did in some slots to what the ledger says of them: gifts, money, bodies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core import ledger
from energymarket.core.agreement import agree, allocate
from energymarket.core.block import positive
from energymarket.core.kpi.community_sums import TOTALS
from energymarket.core.market import head_of
from energymarket.core.nothing import zeros
from energymarket.core.parameters import Rule, Take
from energymarket.core.passage import Passage
from energymarket.core.postings import Columns, Legs
from energymarket.core.records import SLOT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from energymarket.core.agreement import Agreed
    from energymarket.core.course import Lived
    from energymarket.core.market import Opening
    from energymarket.core.postings import Bounds, Integers
    from energymarket.core.settlement import VoidClaim
    from energymarket.core.totals import Totals
    from energymarket.scenario.compiled import Compiled

Batches: TypeAlias = "tuple[tuple[int, int, str], ...]"
"""Who has handed in: (first home, count, id)."""

Body: TypeAlias = "tuple[bytes | memoryview, ...]"
"""What is hashed and stored of a slot, in parts that follow each other."""

BLOCK_VALUES: Final = 1 << 16
"""Slots times homes that are settled together: their twenty columns fit the second-level cache."""


class Width(Enum):
    """What the columns of settled slots are kept in: energies, and money."""

    NARROW = (np.dtype(np.int16), np.dtype(np.int32))  # of nearly all slots: half as much to go through
    WIDE = (np.dtype(np.int32), np.dtype(np.int64))

    def of(self, name: str) -> np.dtype[Any]:
        """The type of a column."""
        kinds: tuple[np.dtype[Any], np.dtype[Any]] = self.value
        return kinds[name == "money_ueur"]


class TooWide(Exception):
    """A value wants more than a narrow column has."""


_MOVED: Final = ("given_wh", "received_wh")
"""Columns that are filled before the postings."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Consecutive settled slots, ready for the chain and the store."""

    openings: Sequence[Opening]
    totals: Sequence[Totals]
    bodies: Sequence[Body]
    passage: Passage
    batches: Sequence[Batches]
    voids: Sequence[tuple[VoidClaim, ...]]


class Room:
    """Memory for the columns of K slots of N homes, of either width. What is never touched costs nothing."""

    def __init__(self, slots: int, homes: int, memory: memoryview | None = None) -> None:
        """`memory` has `size_bytes` at least; without it, some is taken."""
        self._homes = homes
        self._memory = np.empty(self.size_bytes(slots, homes), np.uint8).data if memory is None else memory

    @staticmethod
    def size_bytes(slots: int, homes: int) -> int:
        """What the columns take where all are wide."""
        return slots * homes * sum(Width.WIDE.of(name).itemsize for name in SLOT_COLUMNS[1:])

    def columns(self, slots: int, width: Width) -> Columns:
        """Where the first so many slots are settled."""
        columns, at = {}, 0
        for name in SLOT_COLUMNS[1:]:
            kept = np.frombuffer(self._memory, width.of(name), slots * self._homes, at)
            columns[name] = kept.reshape(slots, self._homes)
            at += kept.nbytes  # without gaps: large pages would reach into them
        return columns


class Settler:
    """Settles slots in which every home is honest and on time; they may come in any order."""

    def __init__(self, compiled: Compiled) -> None:
        self._policy: npt.NDArray[np.integer[Any]] = np.asarray(compiled.homes["policy"])
        self._sharing = compiled.sharing
        self._seed = compiled.seed
        weights = compiled.key_weights()
        self._weights = np.ones(compiled.homes_count, np.int64) if weights is None else weights
        self._everyone: Batches = ((1, compiled.homes_count, "all"),)
        # The greedy have more than a meter says, and a rule makes columns of its own.
        is_bounded = self._sharing.rule is Rule.QUEUE and self._sharing.take is Take.EXACT
        self._width = Width.NARROW if is_bounded else Width.WIDE

    def settle(self, openings: Sequence[Opening], lived: Lived, room: Room) -> Settled:
        """Settle K slots of all homes, opened at these prices; their columns lie in `room`."""
        if self._width is Width.NARROW:
            try:
                return self._settle(openings, lived, room.columns(len(openings), Width.NARROW))
            except TooWide:
                self._width = Width.WIDE  # a home so large will be so again
        return self._settle(openings, lived, room.columns(len(openings), Width.WIDE))

    def _settle(self, openings: Sequence[Opening], lived: Lived, columns: Columns) -> Settled:
        slots = range(openings[0].slot, openings[0].slot + len(openings))
        moved = columns["given_wh"], columns["received_wh"]
        agreed: Agreed
        if self._sharing.rule is Rule.QUEUE:
            agreed = agree(lived.net_wh, self._policy, self._sharing, self._seed, slots, moved)
        else:
            for column in moved:
                column[:] = 0
            agreed = allocate(self._sharing.rule, lived.net_wh, self._policy.astype(np.int64), self._weights)
        homes = lived.net_wh.shape[1]
        legs = Legs([opening.prices for opening in openings], homes)
        filled = {name: Filling(column, begun=name in _MOVED) for name, column in columns.items()}
        per_block = max(1, BLOCK_VALUES // len(openings))
        for start in range(0, homes, per_block):
            self._settle_block(slice(start, min(start + per_block, homes)), lived, agreed, legs, filled)
        totals = legs.totals(homes, agreed.gift_counts, [0] * len(openings))
        heads = [head_of(opening, void_claims=0) for opening in openings]
        found = {name: each.column() for name, each in filled.items()}
        of_each = {name: (each.low, each.high) for name, each in filled.items()}
        sizes = {name: each.size for name, each in filled.items()}
        return Settled(
            openings=openings,
            totals=totals,
            bodies=ledger.pack_slots(heads, found, agreed.gifts, agreed.gift_counts, of_each),
            passage=passage_of(openings, found, totals, sizes),
            batches=(self._everyone,) * len(openings),
            voids=((),) * len(openings),
        )

    def _settle_block(
        self, part: slice, lived: Lived, agreed: Agreed, legs: Legs, filled: Mapping[str, Filling]
    ) -> None:
        """Some homes: all that is done with a column is done while it is in the cache."""
        net = filled["exported_wh"].fitted(lived.net_wh[:, part])
        exported_wh = positive(net)
        imported_wh = exported_wh - net
        traded = agreed.traded(part, exported_wh, imported_wh)
        block = {
            "produced_wh": lived.production_wh[:, part],
            "consumed_wh": lived.consumption_wh[:, part],
            "given_wh": filled["given_wh"].into[:, part],
            "received_wh": filled["received_wh"].into[:, part],
            "imported_wh": imported_wh,
            "exported_wh": exported_wh,
            "sold_wh": traded.sold_wh,
            "bought_wh": traded.bought_wh,
        }
        legs.post(block, traded.offered_wh, traded.returned_wh, self._policy[part])
        money = block["money_ueur"]
        of_each = legs.bounds | {"money_ueur": (money.min(axis=1), money.max(axis=1))}
        for name, column in filled.items():
            column.put(part, block[name], of_each[name])


class Filling:
    """A column of settled slots, (K, N), that is filled block by block; of zeros alone nothing is written."""

    def __init__(self, into: Integers, *, begun: bool) -> None:
        """`begun`: somebody else fills it, and zeros are written."""
        self.into = into
        self._most = int(np.iinfo(into.dtype).max)
        self._begun = begun
        self._whole = begun
        self.low, self.high = np.zeros((2, len(into)), np.int64)  # zero is always among the values

    @property
    def size(self) -> int:
        """The largest absolute value."""
        return max(int(self.high.max()), -int(self.low.min()))

    def column(self) -> Integers:
        """All of it."""
        return self.into if self.size else zeros(self.into.shape, self.into.dtype)

    def fitted(self, values: Integers) -> Integers:
        """Some homes' values in the column's width. TooWide."""
        self._check(values.min(), values.max())
        return values.astype(self.into.dtype)

    def put(self, part: slice, values: Integers, bounds: Bounds) -> None:
        """Fill the next homes, whose values have these bounds. TooWide."""
        low, high = bounds
        np.minimum(self.low, low, out=self.low)
        np.maximum(self.high, high, out=self.high)
        self._check(self.low.min(), self.high.max())
        if self._whole:
            return
        if low.any() or high.any():
            if not self._begun:
                self.into[:, : part.start] = 0
                self._begun = True
            np.copyto(self.into[:, part], values, casting="same_kind")
        elif self._begun:
            self.into[:, part] = 0

    def _check(self, low: np.signedinteger[Any], high: np.signedinteger[Any]) -> None:
        if low < -self._most or high > self._most:
            raise TooWide


def passage_of(
    openings: Sequence[Opening],
    columns: Columns,
    totals: Sequence[Totals],
    sizes: Mapping[str, int] | None = None,
) -> Passage:
    """Settled slots as indicators hear them."""
    totals_wh = {name: np.array([getattr(each, name) for each in totals], np.int64) for name in TOTALS}
    prices = np.array([(o.prices.price, o.prices.import_, o.prices.export) for o in openings], np.int64).T
    balanced = not any(each.short_wh or each.long_wh for each in totals)
    return Passage(openings[0].slot, prices[0], prices[1], prices[2], columns, sizes, totals_wh, balanced)
