"""What came to a slot from outside, as bytes: from this record the market settles the slot again.

Layout, all little-endian: a head of fixed size; the weather sample, if there is one; as JSON what has
changed since the slot before (book of events, coefficients); the batches in the order of their arrival,
the refused ones, the ids of the single orders; one width (0, 1, 2, 4 or 8) per column; then the columns,
each in the narrowest signed integers that hold it. Registers are packed as growth since the home's last
committed reading, policies as change since its last batch, givers and takers of claims as differences
to the claim before: so a record is read after those before it, from a `core.replay.Start` on.

The outcome does not depend on the order of batches; that of claims is the order of their arrival.
A record of version 2 *follows*: it leaves out what the body of its slot says (`core.following`).
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.core.admission import READING_COLUMNS, Batch
from energymarket.core.events import EventBook, book_from_dict
from energymarket.core.following import SAID_BY_THE_BODY, read_back
from energymarket.core.limits import CLAIMS_PER_HOME_MAX
from energymarket.core.packed import CorruptError, Reader, narrow_pieces, steps_of
from energymarket.core.parameters import price_model_from
from energymarket.core.records import BATCH_COLUMNS, CLAIM
from energymarket.core.weather import WEATHER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from energymarket.core.following import Head
    from energymarket.core.parameters import PriceModel
    from energymarket.core.settlement import Readings
    from energymarket.core.units import I64
    from energymarket.core.weather import Sample

_MAGIC: Final = b"EMIN"
_VERSION: Final = 1
_FOLLOWING_VERSION: Final = 2
_HEAD: Final = struct.Struct("<4sBBHqiqqIIIIIIII")
_GAP: Final = 1
_WEATHER_STALE: Final = 2
_RAINING: Final = 4
_SAMPLE: Final = 8
_REOPENED: Final = 16
_ANEW: Final = 32
_BATCH: Final = struct.Struct("<IIIIH")
_REFUSED: Final = struct.Struct("<IIqH")
_TEXT: Final = struct.Struct("<H")
_AGREED: Final = ("offered_wh", "returned_wh", "sold_wh", "bought_wh")
_CLAIM_COLUMNS: Final = ("giver", "taker", "energy_wh", "index", "flags")
_STEPS: Final = frozenset({"giver", "taker"})  # packed as differences to the claim before
_ORDER_COLUMNS: Final = ("home", "energy_wh")
_COLUMNS: Final = (
    *(("batch", name) for name in (*READING_COLUMNS, *_AGREED, "policy")),
    *(("claim", name) for name in _CLAIM_COLUMNS),
    *(("order", name) for name in _ORDER_COLUMNS),
)


class InputsCorrupt(CorruptError):
    """A record that `pack` never made: what is wrong, and at which byte."""

    thing = "record of inputs"


@dataclass(frozen=True, slots=True)
class Asked:
    """A single order as it was asked for: above zero is a sale."""

    home: int
    energy_wh: int
    id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A batch that was refused whole: after the gate (GateClosed), or by a guard."""

    first: int
    count: int
    slot: int  # that it was of
    reason: str


@dataclass(frozen=True, slots=True)
class World:
    """What was known when a slot opened, beside what the market itself had settled."""

    slot: int
    temperature_mc: int
    raining: bool
    weather_stale: bool
    sample: Sample | None  # the whole weather, where the board had some
    import_ueur_per_kwh: int  # 0 where the tariff follows the price
    export_ueur_per_kwh: int
    book: EventBook | None = None  # None: as the slot before has left it
    model: PriceModel | None = None  # None: that of the slot before


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that came to a slot from outside, in the order of arrival."""

    world: World
    gap: bool = False  # closed late: nobody was here
    reopened: bool = False  # opened before a restart, with orders, and taken up again as it was
    anew: bool = False  # nothing is taken from the record before: book, coefficients, policies are whole
    batches: tuple[Batch, ...] = ()
    shed: tuple[int, ...] = ()  # offers that found no room in the queue, per batch
    orders: tuple[Asked, ...] = ()
    refused: tuple[Refused, ...] = ()  # the first of them
    late_batches: int = 0  # all that came after the gate
    shed_offers: int = 0  # all, those of batches that were handed in again included


@dataclass(frozen=True, slots=True)
class Before:
    """What a record's columns are differences to, per home of the market."""

    readings: Readings
    policy: npt.NDArray[np.integer[Any]] = field(repr=False)  # of its last batch; 0 before the first

    @property
    def homes(self) -> int:
        """Homes of the market."""
        return len(self.policy)


def _taken_from(before: Before, *, anew: bool) -> Before:
    return Before(before.readings, np.zeros_like(before.policy)) if anew else before


# pack


def pack(inputs: Inputs, before: Before, *, follows: bool = False) -> bytes:
    """The record of a slot. With `anew`, policies are packed as they stand.

    With `follows`, which is `core.following.follows` of the slot, it is read with the slot's body beside it.
    """
    return b"".join(parts_of(inputs, before, follows=follows))


def parts_of(inputs: Inputs, before: Before, *, follows: bool = False) -> tuple[bytes | memoryview, ...]:
    """The same in parts that follow each other: views of what is as narrow as it can be."""
    before = _taken_from(before, anew=inputs.anew)
    news = _pack_news(inputs.world)
    columns = [narrow_pieces(_pieces(inputs, before, *column)) for column in _columns_said(follows)]
    version = _FOLLOWING_VERSION if follows else _VERSION
    parts: list[bytes | memoryview] = [_pack_head(inputs, version, len(news))]
    if inputs.world.sample is not None:
        parts.append(inputs.world.sample.tobytes())
    parts.append(news)
    for batch, shed in zip(inputs.batches, inputs.shed, strict=True):
        name = batch.id.encode()
        parts.append(_BATCH.pack(batch.first, batch.count, len(batch.claims), shed, len(name)) + name)
    for each in inputs.refused:
        reason = each.reason.encode()
        parts.append(_REFUSED.pack(each.first, each.count, each.slot, len(reason)) + reason)
    for order in inputs.orders:
        name = order.id.encode()
        parts.append(_TEXT.pack(len(name)) + name)
    parts.append(bytes(width for width, _ in columns))
    parts.extend(piece.view(np.uint8).data for _, pieces in columns for piece in pieces)
    return tuple(parts)


def is_following(body: bytes | memoryview) -> bool:
    """Whether a record is read with the body of its slot."""
    return len(body) > len(_MAGIC) and body[len(_MAGIC)] == _FOLLOWING_VERSION


def _columns_said(follows: bool) -> list[tuple[str, str]]:  # noqa: FBT001
    return [each for each in _COLUMNS if not (follows and each in SAID_BY_THE_BODY)]


def _pack_head(inputs: Inputs, version: int, news_bytes: int) -> bytes:
    world = inputs.world
    flags = _GAP * inputs.gap + _WEATHER_STALE * world.weather_stale + _RAINING * world.raining
    flags += _SAMPLE * (world.sample is not None) + _REOPENED * inputs.reopened + _ANEW * inputs.anew
    return _HEAD.pack(
        _MAGIC,
        version,
        flags,
        0,
        world.slot,
        world.temperature_mc,
        world.import_ueur_per_kwh,
        world.export_ueur_per_kwh,
        news_bytes,
        len(inputs.batches),
        sum(batch.count for batch in inputs.batches),
        sum(len(batch.claims) for batch in inputs.batches),
        len(inputs.orders),
        len(inputs.refused),
        inputs.late_batches,
        inputs.shed_offers,
    )


def _pack_news(world: World) -> bytes:
    news: dict[str, Any] = {}
    if world.book is not None:
        news["book"] = world.book.to_dict()
    if world.model is not None:
        news["price"] = asdict(world.model)
    return json.dumps(news, sort_keys=True).encode() if news else b""


def _pieces(inputs: Inputs, before: Before, table: str, name: str) -> list[npt.NDArray[Any]]:
    """A column as it is stored, in pieces; one at a time, for each is long."""
    batches = inputs.batches
    if table == "order":
        return [np.array([getattr(order, name) for order in inputs.orders], np.int64)]
    if table == "claim":
        pieces = [np.ascontiguousarray(batch.claims[name]) for batch in batches if len(batch.claims)]
        return steps_of(pieces) if name in _STEPS else pieces
    if name in READING_COLUMNS:
        return [batch.flow(name, before.readings) for batch in batches]
    if name != "policy":
        return [batch.columns[name] for batch in batches]
    policies = [(batch.columns["policy"], before.policy[_rows(batch)]) for batch in batches]
    changed = any(not np.array_equal(now, last) for now, last in policies)
    return [now.astype(np.int16) - last for now, last in policies if changed]


def _rows(batch: Batch) -> slice:
    return slice(batch.first - 1, batch.first - 1 + batch.count)


# unpack


@dataclass(slots=True)
class _Counts:
    """How many of what a head announces."""

    news_bytes: int
    batches: int
    homes: int
    claims: int
    orders: int
    refused: int
    late_batches: int
    shed_offers: int


def unpack(body: bytes | memoryview, before: Before, slot_body: bytes | None = None) -> Inputs:
    """The record of a slot, read after those before it. InputsCorrupt unless `pack` made it.

    With `anew`, policies are read as they stand, whatever `before` says of them. One that follows needs
    `slot_body`, which the caller has held against the chain.
    """
    reader = Reader(memoryview(body), InputsCorrupt)
    magic, version, flags, zero, slot, temperature, import_, export, *numbers = reader.fields(_HEAD, "head")
    counts = _Counts(*numbers)
    if magic != _MAGIC:
        raise InputsCorrupt("not a record of a slot's inputs", 0)
    if version not in {_VERSION, _FOLLOWING_VERSION}:
        raise InputsCorrupt(f"version {version} is not {_VERSION} or {_FOLLOWING_VERSION}", 4)
    if flags & ~(_GAP | _WEATHER_STALE | _RAINING | _SAMPLE | _REOPENED | _ANEW) or zero:
        raise InputsCorrupt("unknown flags", 5)
    _check_counts(counts, before.homes)
    sample = None
    if flags & _SAMPLE:
        sample = np.frombuffer(bytes(reader.take(WEATHER.itemsize, "weather")), WEATHER)[0]
    book, model = _unpack_news(reader, counts.news_bytes)
    heads = [_unpack_batch_head(reader, before.homes) for _ in range(counts.batches)]
    refused = tuple(_unpack_refused(reader) for _ in range(counts.refused))
    names = [reader.text(reader.fields(_TEXT, "id")[0], "id of an order") for _ in range(counts.orders)]
    tables = _unpack_columns(reader, counts, follows=version == _FOLLOWING_VERSION)
    if version == _FOLLOWING_VERSION:
        try:
            found = read_back(slot_body, heads)
        except CorruptError as error:
            raise InputsCorrupt(f"it follows from the body of its slot; {error}", 4) from error
        tables = {kind: columns | found.get(kind, {}) for kind, columns in tables.items()}
    batches = _unpack_batches(heads, tables, _taken_from(before, anew=bool(flags & _ANEW)), counts)
    orders = zip(tables["order"]["home"].tolist(), tables["order"]["energy_wh"].tolist(), names, strict=True)
    return Inputs(
        world=World(
            slot=slot,
            temperature_mc=temperature,
            raining=bool(flags & _RAINING),
            weather_stale=bool(flags & _WEATHER_STALE),
            sample=sample,
            import_ueur_per_kwh=import_,
            export_ueur_per_kwh=export,
            book=book,
            model=model,
        ),
        gap=bool(flags & _GAP),
        reopened=bool(flags & _REOPENED),
        anew=bool(flags & _ANEW),
        batches=batches,
        shed=tuple(head[3] for head in heads),
        orders=tuple(Asked(*order) for order in orders),
        refused=refused,
        late_batches=counts.late_batches,
        shed_offers=counts.shed_offers,
    )


def _check_counts(counts: _Counts, homes: int) -> None:
    if counts.homes > homes or counts.batches > counts.homes:
        raise InputsCorrupt(f"{counts.batches} batches of {counts.homes} homes, of {homes}", _HEAD.size - 28)
    # Every batch may have so many, and a hostile one has: see `core.admission.check`.
    if counts.claims > CLAIMS_PER_HOME_MAX * homes * max(counts.batches, 1):
        raise InputsCorrupt(f"{counts.claims} claims of {homes} homes", _HEAD.size - 20)


def _unpack_news(reader: Reader, size: int) -> tuple[EventBook | None, PriceModel | None]:
    at = reader.at
    if not size:
        return None, None
    try:
        news = json.loads(reader.text(size, "news"))
        book = book_from_dict(news["book"]) if "book" in news else None
        model = price_model_from(news["price"]) if "price" in news else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputsCorrupt(f"book of events or coefficients cannot be read: {error}", at) from error
    return book, model


def _unpack_batch_head(reader: Reader, homes: int) -> Head:
    at = reader.at
    first, count, claims, shed, size = reader.fields(_BATCH, "batch")
    if first < 1 or count < 1 or first - 1 + count > homes:
        raise InputsCorrupt(f"a batch of homes {first} to {first - 1 + count}, of {homes}", at)
    return first, count, claims, shed, reader.text(size, "id of a batch")


def _unpack_refused(reader: Reader) -> Refused:
    first, count, slot, size = reader.fields(_REFUSED, "refused batch")
    return Refused(first, count, slot, reader.text(size, "reason"))


def _unpack_columns(reader: Reader, counts: _Counts, *, follows: bool) -> dict[str, dict[str, I64]]:
    rows = {"batch": counts.homes, "claim": counts.claims, "order": counts.orders}
    tables: dict[str, dict[str, I64]] = {kind: {} for kind in rows}
    at_widths = reader.at
    said = _columns_said(follows)
    widths = bytes(reader.take(len(said), "widths"))
    for number, (kind, name) in enumerate(said):
        column = reader.column(widths[number], rows[kind], name, at_widths + number)
        tables[kind][name] = np.cumsum(column) if kind == "claim" and name in _STEPS else column
    reader.end()
    return tables


def _unpack_batches(
    heads: Sequence[Head],
    tables: Mapping[str, Mapping[str, I64]],
    before: Before,
    counts: _Counts,
) -> tuple[Batch, ...]:
    if (sum(head[1] for head in heads), sum(head[2] for head in heads)) != (counts.homes, counts.claims):
        raise InputsCorrupt("the batches have not as many homes and claims as the head says", 0)
    claims = np.zeros(counts.claims, CLAIM)
    for name in _CLAIM_COLUMNS:
        claims[name] = _fitting(tables["claim"][name], CLAIM[name], name)
    batches, row, claim = [], 0, 0
    for first, count, its_claims, _, name in heads:
        stated = {key: column[row : row + count] for key, column in tables["batch"].items()}
        batches.append(
            Batch(name, first, count, _stated(stated, first, before), claims[claim : claim + its_claims])
        )
        row, claim = row + count, claim + its_claims
    return tuple(batches)


def _stated(stored: Mapping[str, I64], first: int, before: Before) -> dict[str, npt.NDArray[Any]]:
    """The columns of a batch as it was handed in."""
    columns = {}
    for name, kind in BATCH_COLUMNS:
        column = stored[name]
        rows = slice(first - 1, first - 1 + len(column))
        if name in READING_COLUMNS:
            column = column + getattr(before.readings, name)[rows]
        elif name == "policy":
            column = column + before.policy[rows]
        columns[name] = _fitting(column, kind, name)
    return columns


def _fitting(column: I64, kind: np.dtype[Any], name: str) -> npt.NDArray[Any]:
    bounds = np.iinfo(kind)
    if len(column) and not (bounds.min <= int(column.min()) and int(column.max()) <= bounds.max):
        raise InputsCorrupt(f"{name} is out of bounds", 0)
    return column.astype(kind)
