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

from energymarket.core.block import Widening
from energymarket.core.claims import blocks, offer_key, summed, woven
from energymarket.core.limits import ENERGY_WH_MAX, INDEX_MAX
from energymarket.core.nothing import zeros
from energymarket.core.records import CLAIM, GIFT_COLUMNS
from energymarket.core.refusals import Refusal
from energymarket.core.rows import find, is_range
from energymarket.core.sums import bounds
from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.core.admission import Batch

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
    offered = np.concatenate(offered_wh) if offered_wh else np.zeros(0, np.int64)
    pieces = woven(batch.claims_seen() for batch in batches)
    found = None if pieces is None else _all_count(home, offered, pieces, batches)
    if found is not None:
        return found
    return _match(home, offered.astype(np.int64), _in_order(_joined([batch.claims for batch in batches])))


def _all_count(
    home: npt.NDArray[np.signedinteger[Any]],
    offered_wh: npt.NDArray[Any],
    pieces: Sequence[npt.NDArray[np.void]],
    batches: Sequence[Batch],
) -> Match | None:
    """The usual slot: every claim counts. None where one may not; part by part, so that it stays in cache.

    The claims ascend, each part of an offer once.
    """
    if not is_range(home):
        return None
    count = sum(len(piece) for piece in pieces)
    if not count:
        none = zeros(len(home), np.int16)
        return Match({name: np.zeros(0, np.int32) for name in GIFT_COLUMNS}, none, none, 0, ())
    first, homes = int(home[0]), len(home)
    if int(pieces[0]["giver"][0]) < first or int(pieces[-1]["giver"][-1]) >= first + homes:
        return None  # of a giver that is not here
    gifts = _gifts_of(pieces, count)
    energy = gifts["energy_wh"]
    low, high = bounds(energy)
    if low < 0 or high > ENERGY_WH_MAX:
        return None  # more than anybody offers; of more than 31 bits it would be below zero
    given = summed(gifts["giver"], energy, first, homes)
    if (given > offered_wh).any():
        return None
    received = _as_checked(batches, first, homes)
    if received is None:
        received = summed(gifts["taker"], energy, first, homes)
    return Match(gifts, given, received, 0, ())


def _as_checked(
    batches: Sequence[Batch], first: int, homes: int
) -> npt.NDArray[np.signedinteger[Any]] | None:
    """What each of the homes takes, if it has been added up for every batch and fits 16 bits."""
    taken_wh = None
    for batch in batches:
        if not len(batch.claims):
            continue
        its = batch.claims_seen().taken_wh
        if its is None or its.itemsize > _NARROW_BYTES:
            return None
        if batch.count == homes:
            return its
        if taken_wh is None:
            taken_wh = np.zeros(homes, np.int16)
        start = batch.first - first
        taken_wh[start : start + batch.count] = its
    return zeros(homes, np.int16) if taken_wh is None else taken_wh


_NARROW_BYTES: Final = 2


def _gifts_of(
    pieces: Sequence[npt.NDArray[np.void]], count: int
) -> dict[str, npt.NDArray[np.signedinteger[Any]]]:
    """Claims, so many in all, as GIFT_COLUMNS."""
    giver, taker = np.empty(count, np.int32), np.empty(count, np.int32)
    index, energy_wh = Widening(count), Widening(count)
    start = 0
    for part in (block for piece in pieces for block in blocks(piece)):
        here = slice(start, start + len(part))
        giver[here], taker[here] = part["giver"], part["taker"]
        index.put(start, part["index"].astype(np.int32))
        energy_wh.put(start, part["energy_wh"].astype(np.int32))
        start = here.stop
    columns = {"giver": giver, "taker": taker, "index": index.values, "energy_wh": energy_wh.values}
    return {name: columns[name] for name in GIFT_COLUMNS}


def _narrowed(column: npt.NDArray[np.signedinteger[Any]]) -> npt.NDArray[np.signedinteger[Any]]:
    return column.astype(np.int16) if len(column) and int(column.max()) <= _INT16_MAX else column


_INT16_MAX: Final = 2**15 - 1


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
        return Match(columns, _narrowed(given), _narrowed(received), 0, ())
    gifts = {name: column[good] for name, column in columns.items()}
    bad = np.flatnonzero(~good)
    voids = np.stack([*columns.values(), fits.astype(np.int64)], axis=1)[bad[:VOIDS_SHOWN_MAX]].tolist()
    return Match(gifts, _narrowed(given), _narrowed(received), len(bad), tuple(_void(*row) for row in voids))


def _joined(claims: Sequence[npt.NDArray[np.void]]) -> npt.NDArray[np.void]:
    # as pairs of u8: NumPy joins records twenty times slower than numbers
    parts = [np.ascontiguousarray(part).view("<u8") for part in claims]
    return np.concatenate(parts).view(CLAIM) if parts else np.zeros(0, CLAIM)


def _in_order(claims: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """By (giver, index, taker)."""
    key = offer_key(claims)
    found = _taken(claims, np.argsort(key, kind="stable"))
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
