"""Claims against offers: which gifts count, and which claims are void and why.

In the order of (giver, index, taker), whatever batch they came in: a claim is void if its giver has not
offered as much in a batch of the slot (OfferUnknown); if a claim of the same part stands before it, or
if the offer is used up by those before it (OfferTaken).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.admission import BLOCK_CLAIMS, Batch, offer_key
from energymarket.core.limits import ENERGY_WH_MAX, INDEX_MAX
from energymarket.core.records import CLAIM, GIFT_COLUMNS
from energymarket.core.refusals import Refusal
from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Sequence

Mask: TypeAlias = npt.NDArray[np.bool_]

VOIDS_SHOWN_MAX: Final = 16
"""Void claims that are kept by name: the first tell what is wrong, the count tells how much."""


@dataclass(frozen=True, slots=True)
class VoidClaim:
    """A claim that did not count: its taker is in imbalance."""

    giver: int
    index: int
    taker: int
    energy_wh: int
    reason: Refusal  # OFFER_UNKNOWN or OFFER_TAKEN


@dataclass(frozen=True, slots=True)
class Match:
    """Claims, sorted into those that count and those that do not."""

    gifts: dict[str, npt.NDArray[np.signedinteger[Any]]]  # GIFT_COLUMNS
    given_wh: npt.NDArray[np.signedinteger[Any]]  # by row
    received_wh: npt.NDArray[np.signedinteger[Any]]  # by row
    void_claims: int
    voids: tuple[VoidClaim, ...]  # the first of them


def match(
    home: npt.NDArray[np.signedinteger[Any]], offered_wh: Sequence[npt.NDArray[Any]], batches: Sequence[Batch]
) -> Match:
    """Match the claims of a slot. `home` ascends; `offered_wh`, in parts, goes by its rows."""
    claims = _joined(batches)
    order = _order_of(claims)
    offered = np.concatenate(offered_wh) if offered_wh else np.zeros(0, np.int64)
    found = _all_count(home, offered, claims, order)
    return _match(home, offered.astype(np.int64), _in_order(claims, order)) if found is None else found


def _all_count(
    home: npt.NDArray[np.signedinteger[Any]],
    offered_wh: npt.NDArray[Any],
    claims: npt.NDArray[np.void],
    order: I64 | None,
) -> Match | None:
    """The usual slot: every claim counts. None where one may not; part by part, so that it stays in cache."""
    if not is_range(home):
        return None
    given, received = np.zeros(len(home), np.int32), np.zeros(len(home), np.int32)
    gifts = {name: np.empty(len(claims), np.int32) for name in GIFT_COLUMNS}
    first, last_key = int(home[0]), -1
    for start in range(0, len(claims), BLOCK_CLAIMS):
        here = slice(start, start + BLOCK_CLAIMS)
        part = claims[here] if order is None else _taken(claims, order[here])
        key = offer_key(part)
        if int(part["energy_wh"].max()) > ENERGY_WH_MAX:
            return None
        energy = part["energy_wh"].astype(np.int32)  # as wide as the sums: NumPy then adds ten times faster
        giver, taker = (key >> 16) - first, part["taker"].astype(np.int64) - first
        low, high = int(giver[0]), int(giver[-1])
        if int(key[0]) <= last_key or not (key[1:] > key[:-1]).all() or low < 0 or high >= len(home):
            return None  # claimed twice, or of a giver that is not here
        last_key = int(key[-1])
        np.add.at(given, giver, energy)
        np.add.at(received, taker, energy)
        if (given[low : high + 1] > offered_wh[low : high + 1]).any():
            return None
        for name in GIFT_COLUMNS:
            gifts[name][here] = part[name]
    return Match(gifts, given, received, 0, ())


def _match(home: npt.NDArray[np.signedinteger[Any]], offered_wh: I64, claims: npt.NDArray[np.void]) -> Match:
    key = offer_key(claims)
    energy = claims["energy_wh"].astype(np.int64)
    taker = claims["taker"].astype(np.int64)
    giver = key >> 16
    giver_at, known = find(home, giver)
    taker_at, _ = find(home, taker)
    fits = known & (energy <= offered_wh[giver_at])
    good = _first_of_each(key, fits)
    counted = energy if good.all() else energy * good
    given = _sum_at(giver_at, counted, len(home))
    if (given > offered_wh).any():
        good = good & (_within(giver_at, counted) <= offered_wh[giver_at])
        counted = energy * good
        given = _sum_at(giver_at, counted, len(home))
    received = _sum_at(taker_at, counted, len(home))
    columns = dict(zip(GIFT_COLUMNS, (giver, key & INDEX_MAX, taker, energy), strict=True))
    if counted is energy:
        return Match(columns, given, received, 0, ())
    gifts = {name: column[good] for name, column in columns.items()}
    bad = np.flatnonzero(~good)
    voids = np.stack([*columns.values(), fits.astype(np.int64)], axis=1)[bad[:VOIDS_SHOWN_MAX]].tolist()
    return Match(gifts, given, received, len(bad), tuple(_void(*row) for row in voids))


def find(home: npt.NDArray[np.signedinteger[Any]], ids: I64) -> tuple[I64, Mask]:
    """The row of each id, and whether there is one (else the row given is just a valid one)."""
    if is_range(home):
        row = ids - home[0]
        known = (row >= 0) & (row < len(home))
        return (row if known.all() else np.where(known, row, 0)), known
    row = np.minimum(np.searchsorted(home, ids), len(home) - 1)
    return row, home[row] == ids


def is_range(home: npt.NDArray[np.signedinteger[Any]]) -> bool:
    """Whether ascending ids have no hole, so that a row is an id less a constant."""
    return len(home) > 0 and int(home[-1]) - int(home[0]) + 1 == len(home)


def rows_of(home: npt.NDArray[np.signedinteger[Any]], first: int, count: int) -> slice:
    """The rows of the homes `first` and up, so many ids; of ids that ascend."""
    if is_range(home):
        low, high = (min(max(end - int(home[0]), 0), len(home)) for end in (first, first + count))
    else:
        # in the type of the column, or NumPy makes a wider copy of all of it first
        low, high = np.searchsorted(home, np.array((first, first + count), home.dtype)).tolist()
    return slice(low, high)


def _joined(batches: Sequence[Batch]) -> npt.NDArray[np.void]:
    # as pairs of u8: NumPy joins records twenty times slower than numbers
    parts = [np.ascontiguousarray(batch.claims).view("<u8") for batch in batches]
    if len(parts) == 1:
        return parts[0].view(CLAIM)
    return np.concatenate(parts).view(CLAIM) if parts else np.zeros(0, CLAIM)


def _order_of(claims: npt.NDArray[np.void]) -> I64 | None:
    """The order by (giver, index); None if they stand in it, each part once."""
    key = offer_key(claims)
    if (key[1:] > key[:-1]).all():
        return None
    return np.argsort(key, kind="stable")  # runs, one per shard and cut of the ring: a merge


def _in_order(claims: npt.NDArray[np.void], order: I64 | None) -> npt.NDArray[np.void]:
    """By (giver, index, taker)."""
    if order is None:
        return claims
    found = _taken(claims, order)
    key = offer_key(found)
    if (key[1:] == key[:-1]).any():
        return _taken(found, np.lexsort((found["taker"], key)))
    return found


def _taken(claims: npt.NDArray[np.void], rows: I64) -> npt.NDArray[np.void]:
    taken: npt.NDArray[np.void] = claims.view(np.complex128).take(rows).view(CLAIM)
    return taken  # as numbers of 16 bytes, which NumPy takes faster than records


def _first_of_each(key: I64, fits: Mask) -> Mask:
    """Of the claims that fit, the first of each part; `key` ascends."""
    if not (key[1:] == key[:-1]).any():
        return fits
    at = np.flatnonzero(fits)
    first = np.zeros(len(key), np.bool_)
    first[at[np.diff(key[at], prepend=-1) != 0]] = True
    return first


def _within(giver_at: I64, energy: I64) -> I64:
    """Running sum of each giver's claims; givers stand together."""
    running = np.cumsum(energy)
    opens = np.diff(giver_at, prepend=-1) != 0
    return running - np.maximum.accumulate(np.where(opens, running - energy, 0))


def _sum_at(row: I64, energy: I64, rows: int) -> I64:
    total = np.zeros(rows, np.int64)
    np.add.at(total, row, energy)
    return total


def _void(giver: int, index: int, taker: int, energy_wh: int, fits: int) -> VoidClaim:
    reason = Refusal.OFFER_TAKEN if fits else Refusal.OFFER_UNKNOWN
    return VoidClaim(giver, index, taker, energy_wh, reason)
