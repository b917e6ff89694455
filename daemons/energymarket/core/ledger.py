"""The slot's body in the ledger: canonical bytes that are stored, hashed and unpacked, and their chain.

Layout, all little-endian: a head of fixed size; the price's terms and the events; one width (0, 1, 2, 4
or 8) per column; then the columns, each packed to the narrowest signed integers that hold it, so that
a column of zeros costs nothing. Homes and givers are ascending and packed as differences: a market
without holes says its homes in no byte. The same slot has one body only, and `unpack` takes no other.

Nothing here tells of batches, shards, peers, epochs or wall time.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from energymarket.core.block import NARROW_HOMES
from energymarket.core.limits import (
    CLAIMS_PER_HOME_MAX,
    HOMES_MAX,
    INDEX_MAX,
    NAME_BYTES_MAX,
    ORDERS_PER_HOME_MAX,
)
from energymarket.core.nothing import zeros
from energymarket.core.packed import WIDTHS, CorruptError, Reader, Signed, narrow
from energymarket.core.records import GIFT_COLUMNS, ORDER_COLUMNS, SLOT_COLUMNS
from energymarket.core.rows import is_range
from energymarket.core.units import I64

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Columns: TypeAlias = dict[str, I64]

_MAGIC: Final = b"EMSL"
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<4sBBBB7q4I")
_GAP: Final = 1
_WEATHER_STALE: Final = 2
_TERM: Final = struct.Struct("<q")
_EVENT: Final = struct.Struct("<i")
_COLUMNS: Final = (
    *(("slot", name) for name in SLOT_COLUMNS),
    *(("gift", name) for name in GIFT_COLUMNS),
    *(("order", name) for name in ORDER_COLUMNS),
)
_ROWS_MAX: Final = (HOMES_MAX, CLAIMS_PER_HOME_MAX * HOMES_MAX, ORDERS_PER_HOME_MAX * HOMES_MAX)
_LEAST_STEP: Final = {("slot", "home"): 1, ("gift", "giver"): 0}
_ID_MAX: Final = 2**32 - 1


class LedgerCorrupt(CorruptError):
    """A body that `pack` never made: what is wrong, and at which byte."""

    thing = "ledger body"


@dataclass(frozen=True, slots=True)
class SlotHead:
    """What the ledger says of a slot as a whole: `explain` needs nothing else."""

    slot: int
    price_ueur_per_kwh: int  # p, published
    import_ueur_per_kwh: int  # r
    export_ueur_per_kwh: int  # e
    gift_fee_ueur_per_kwh: int
    previous_ueur_per_kwh: int  # p of the slot before
    unclipped_ueur_per_kwh: int  # the sum of the terms
    terms: tuple[tuple[str, int], ...] = ()  # name, µ€/kWh
    events: tuple[tuple[str, int], ...] = ()  # kind, intensity in thousandths
    gap: bool = False  # closed late: no trades
    weather_stale: bool = False
    void_claims: int = 0


def genesis(scenario_hash: str) -> bytes:
    """The hash before the first slot: it ties a ledger to its compiled scenario."""
    return hashlib.sha256(b"energy-market ledger 1\n" + scenario_hash.encode()).digest()


def chain(previous_hash: bytes, *body: bytes | memoryview) -> bytes:
    """h_t = SHA-256(h_{t-1} ‖ body), which may come in parts."""
    digest = hashlib.sha256(previous_hash)
    for part in body:
        digest.update(part)
    return digest.digest()


# pack


def pack(
    head: SlotHead, columns: Mapping[str, Signed], gifts: Mapping[str, Signed], orders: Mapping[str, I64]
) -> bytes:
    """The one body of a slot. ValueError if rows are not in order: our mistake."""
    return b"".join(parts_of(head, columns, gifts, orders))


def parts_of(
    head: SlotHead, columns: Mapping[str, Signed], gifts: Mapping[str, Signed], orders: Mapping[str, I64]
) -> tuple[bytes | memoryview, ...]:
    """The same in parts that follow each other: views of the columns that are as narrow as they can be."""
    tables: dict[str, Mapping[str, Signed]] = {"slot": columns, "gift": gifts, "order": orders}
    _check_order(columns, gifts)
    packed = [narrow(_as_stored(kind, name, tables[kind][name])) for kind, name in _COLUMNS]
    widths = bytes(0 if column is None else column.itemsize for column in packed)
    rows = [len(next(iter(table.values()))) for table in tables.values()]
    parts: list[bytes | memoryview] = [_pack_head(head, rows), _pack_names(head), widths]
    parts.extend(column.view(np.uint8).data for column in packed if column is not None and len(column))
    return tuple(parts)


def pack_slots(
    heads: Sequence[SlotHead],
    columns: Mapping[str, Signed],
    gifts: Mapping[str, Signed],
    gift_counts: Sequence[int],
    bounds: Mapping[str, tuple[Signed, Signed]],
) -> list[tuple[bytes | memoryview, ...]]:
    """The bodies of K slots in each of which all homes 1 .. N have a row and none sent a single order.

    Each is what `pack` makes of that slot alone; of many homes in parts that follow each other, of which
    those that are as narrow as they can be are views of the columns. `columns` has SLOT_COLUMNS but `home`,
    (K, N) each, and `bounds` the smallest and the largest value of each slot, (K,); `gifts` are those of all
    slots one after the other, `gift_counts` how many are of each.
    """
    stored = [_rows_as_stored(columns[name], _widths(*bounds[name])) for name in SLOT_COLUMNS[1:]]
    taken = _parts_as_stored(gifts, gift_counts)
    rows, none = columns[SLOT_COLUMNS[1]].shape[1], bytes(len(ORDER_COLUMNS))
    bodies = []
    for place, head in enumerate(heads):
        parts = [*(each[place] for each in stored), *(each[place] for each in taken)]
        widths = bytes([0, *(width for width, _ in parts)]) + none
        counts = (rows, gift_counts[place], 0)
        first = _pack_head(head, counts) + _pack_names(head) + widths
        body: tuple[bytes | memoryview, ...] = (first, *(data for width, data in parts if width))
        bodies.append(body if rows > _JOINED_ROWS_MAX else (b"".join(body),))
    return bodies


_JOINED_ROWS_MAX: Final = 1 << 14
"""Columns so short are joined sooner than they are told apart."""


def _parts_as_stored(
    gifts: Mapping[str, Signed], counts: Sequence[int]
) -> list[list[tuple[int, bytes | memoryview]]]:
    """Of each column of gifts, width and bytes of each slot's part."""
    ends = np.cumsum(counts, dtype=np.int64)
    filled = np.flatnonzero(counts)
    starts = (ends - counts)[filled].astype(np.intp)
    found = []
    for name in GIFT_COLUMNS:
        column = gifts[name]
        if name == "giver" and len(column):
            steps = np.empty_like(column)
            np.subtract(column[1:], column[:-1], out=steps[1:])
            steps[starts] = column[starts]
            column = steps
        parts: list[tuple[int, bytes | memoryview]] = [(0, b"")] * len(counts)
        if len(column):
            low, high = np.minimum.reduceat(column, starts), np.maximum.reduceat(column, starts)
            widths = _widths(low, high)
            narrowed = {width: column.astype(f"<i{width}", copy=False) for width in set(widths) if width}
            for slot, start, width in zip(filled.tolist(), starts.tolist(), widths, strict=True):
                if width:
                    part = narrowed[width][start : start + counts[slot]]
                    parts[slot] = (width, part.view(np.uint8).data)
        found.append(parts)
    return found


def _rows_as_stored(column: Signed, widths: Sequence[int]) -> list[tuple[int, bytes | memoryview]]:
    """Width and bytes of each row of a column (K, N), whose widths these are."""
    narrowed = {width: column.astype(f"<i{width}", copy=False) for width in set(widths) if width}
    return [
        (width, narrowed[width][row].view(np.uint8).data) if width else (0, b"")
        for row, width in enumerate(widths)
    ]


def _widths(low: Signed, high: Signed) -> list[int]:
    """The width of each column, of which these are the smallest and the largest values."""
    most = np.maximum(high.astype(np.int64), ~low.astype(np.int64))
    widths = _WIDTH_OF[np.searchsorted(_WIDTH_MAX, most)]
    widths[(most == 0) & (low == 0)] = 0
    found: list[int] = widths.tolist()
    return found


_WIDTH_OF: Final = np.array([width for width in WIDTHS if width])
_WIDTH_MAX: Final = np.array([(1 << (8 * width - 1)) - 1 for width in WIDTHS if width])


HEAD_OF_SUMS_BYTES: Final = _HEAD.size + len(_COLUMNS)


def head_of_sums(first_slot: int, homes: int, widths: Sequence[int]) -> bytes:
    """What `pack` puts before the columns of slots added up: no prices, gifts or orders are in them."""
    none = bytes(len(GIFT_COLUMNS) + len(ORDER_COLUMNS))
    return _pack_head(SlotHead(first_slot, 0, 0, 0, 0, 0, 0), (homes, 0, 0)) + bytes(widths) + none


def ids_as_stored(home: Signed) -> Signed:
    """Ascending ids of homes as `pack` puts them down."""
    return _as_stored("slot", "home", home)


def ids_as_meant(stored: Signed) -> I64:
    """The same read back. Raises LedgerCorrupt."""
    return _as_meant("slot", "home", stored.astype(np.int64), HEAD_OF_SUMS_BYTES)


def _pack_head(head: SlotHead, rows: Sequence[int]) -> bytes:
    return _HEAD.pack(
        _MAGIC,
        _VERSION,
        _GAP * head.gap + _WEATHER_STALE * head.weather_stale,
        len(head.terms),
        len(head.events),
        head.slot,
        head.price_ueur_per_kwh,
        head.import_ueur_per_kwh,
        head.export_ueur_per_kwh,
        head.gift_fee_ueur_per_kwh,
        head.previous_ueur_per_kwh,
        head.unclipped_ueur_per_kwh,
        head.void_claims,
        *rows,
    )


def _pack_names(head: SlotHead) -> bytes:
    parts: list[bytes] = []
    for pairs, number in ((head.terms, _TERM), (head.events, _EVENT)):
        for name, value in pairs:
            parts += (_pack_name(name), number.pack(value))
    return b"".join(parts)


@lru_cache(maxsize=256)  # of terms and kinds of events a market has a dozen
def _pack_name(name: str) -> bytes:
    data = name.encode()
    if not 0 < len(data) <= NAME_BYTES_MAX:
        raise ValueError(f"a name of 1 to {NAME_BYTES_MAX} bytes is wanted, not {name!r}")
    return bytes((len(data),)) + data


def _check_order(columns: Mapping[str, Signed], gifts: Mapping[str, Signed]) -> None:
    for table in (columns, gifts):
        if len({len(column) for column in table.values()}) > 1:
            raise ValueError("columns of one table differ in length")
    if not _homes_ascend(columns["home"]) or not _gifts_ascend(gifts["giver"], gifts["index"]):
        raise ValueError("homes, or gifts by (giver, index), are not in order")


def _homes_ascend(home: Signed) -> bool:
    return not (home[:1] < 1).any() and all(_ascends(home[here]) for here in _overlapping(len(home)))


def _gifts_ascend(giver: Signed, index: Signed) -> bool:
    for here in _overlapping(len(giver)):
        givers, indexes = giver[here], index[here]
        ascends = indexes[1:] > indexes[:-1]
        ascends &= givers[1:] == givers[:-1]
        ascends |= givers[1:] > givers[:-1]
        if not ascends.all():
            return False
    return True


def _overlapping(rows: int) -> Iterator[slice]:
    """Blocks that stay in the cache; each begins with the last row of the one before."""
    return (slice(max(start - 1, 0), start + NARROW_HOMES) for start in range(0, rows, NARROW_HOMES))


def _ascends(ids: Signed) -> bool:
    return bool((ids[1:] > ids[:-1]).all())


def _gift_key(gifts: Mapping[str, Signed]) -> I64:
    key: I64 = (gifts["giver"].astype(np.int64) << 16) | gifts["index"]
    return key


def _as_stored(kind: str, name: str, column: Signed) -> Signed:
    """Differences instead of ascending ids: homes follow each other by one, givers by none."""
    least = _LEAST_STEP.get((kind, name))
    if least is None or not len(column):
        return column
    if least and is_range(column) and int(column[0]) == least:
        return zeros(len(column), column.dtype)  # of a market without holes
    steps = np.empty_like(column)
    steps[0] = column[0]
    np.subtract(column[1:], column[:-1], out=steps[1:])
    if least:
        steps -= least
    return steps


# unpack


def unpack(body: bytes | memoryview) -> tuple[SlotHead, Columns, Columns, Columns]:
    """Head, SLOT_COLUMNS, GIFT_COLUMNS, ORDER_COLUMNS as int64. LedgerCorrupt unless `pack` made the body."""
    reader = Reader(memoryview(body), LedgerCorrupt)
    head, rows = read_head(reader)
    tables = _unpack_columns(reader, rows)
    reader.end()
    return head, tables["slot"], tables["gift"], tables["order"]


def read_head(reader: Reader) -> tuple[SlotHead, dict[str, int]]:
    """The head, and how many homes (`slot`), gifts and orders follow. Raises LedgerCorrupt."""
    magic, version, flags, terms, events, *numbers = reader.fields(_HEAD, "head")
    if magic != _MAGIC:
        raise LedgerCorrupt("not a slot of the ledger", 0)
    if version != _VERSION:
        raise LedgerCorrupt(f"version {version} is not {_VERSION}", 4)
    if flags & ~(_GAP | _WEATHER_STALE):
        raise LedgerCorrupt("unknown flags", 5)
    rows = dict(zip(("slot", "gift", "order"), numbers[8:], strict=True))
    for count, most in zip(rows.values(), _ROWS_MAX, strict=True):
        if count > most:
            raise LedgerCorrupt(f"{count} rows are more than {most}", _HEAD.size - 12)
    head = SlotHead(
        slot=numbers[0],
        price_ueur_per_kwh=numbers[1],
        import_ueur_per_kwh=numbers[2],
        export_ueur_per_kwh=numbers[3],
        gift_fee_ueur_per_kwh=numbers[4],
        previous_ueur_per_kwh=numbers[5],
        unclipped_ueur_per_kwh=numbers[6],
        terms=tuple(reader.pair(_TERM) for _ in range(terms)),
        events=tuple(reader.pair(_EVENT) for _ in range(events)),
        gap=bool(flags & _GAP),
        weather_stale=bool(flags & _WEATHER_STALE),
        void_claims=numbers[7],
    )
    return head, rows


def read_widths(reader: Reader) -> tuple[int, ...]:
    """The width of each of SLOT_COLUMNS, which follows the head. Raises LedgerCorrupt."""
    at = reader.at
    widths = tuple(reader.take(len(_COLUMNS), "widths"))
    for number, width in enumerate(widths):
        if width not in WIDTHS:
            raise LedgerCorrupt(f"{width} is no width of {_COLUMNS[number][1]}", at + number)
    return widths[: len(SLOT_COLUMNS)]


def _unpack_columns(reader: Reader, rows: Mapping[str, int]) -> dict[str, Columns]:
    tables: dict[str, Columns] = {kind: {} for kind in rows}
    at_widths = reader.at
    widths = bytes(reader.take(len(_COLUMNS), "widths"))
    for number, (kind, name) in enumerate(_COLUMNS):
        width, count = widths[number], rows[kind]
        at = reader.at
        stored = reader.column(width, count, name, at_widths + number)
        tables[kind][name] = _as_meant(kind, name, stored, at)
    key = _gift_key(tables["gift"])
    if not _ascends(key):
        raise LedgerCorrupt("gifts are not in order of giver and index", at_widths)
    return tables


def _as_meant(kind: str, name: str, stored: I64, at: int) -> I64:
    """Ids instead of their differences, and the bounds of every id and index."""
    least = _LEAST_STEP.get((kind, name))
    if not len(stored) or (least is None and kind != "gift"):
        return stored
    low, high = int(stored.min()), int(stored.max())
    if low < 0 or high > (INDEX_MAX if name == "index" else _ID_MAX):
        raise LedgerCorrupt(f"{name} is out of bounds", at)
    if least is None:
        return stored
    column = np.cumsum(stored + least)
    if int(column[-1]) > _ID_MAX:
        raise LedgerCorrupt(f"{name} is out of bounds", at)
    return column
