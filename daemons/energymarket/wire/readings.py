"""The book of a meter as bytes: two areas that are written in turn, so that a torn write leaves the other.

An area is a head (magic, generation, length and CRC-32 of what follows) and a msgpack document.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

from energymarket.core.metering import UNITS_PER_WH, Book, Entry, Power, Run

MAGIC: Final = b"EMRB0001"
AREA_BYTES: Final = 1 << 17
"""A thousand slots take 27 KB, two hundred runs 20 KB."""
FILE_BYTES: Final = 2 * AREA_BYTES
_HEAD: Final = struct.Struct("<8sQII")


class BookError(Exception):
    """Neither area is whole."""


class _Run(msgspec.Struct, array_like=True, frozen=True):
    series: str
    first: Power
    last: Power


class _Document(msgspec.Struct, frozen=True):
    """A book; sums in Wh and a rest, because a half µJ is small."""

    meter: str
    slot_s: int
    id: str
    runs: list[_Run]
    closed: dict[str, int]
    entries: list[tuple[int, int, int, int]]
    begun_ms: int
    floor: int
    load: tuple[int, int]
    pv: tuple[int, int]
    samples: int


_DECODER: Final = msgspec.msgpack.Decoder(_Document)


def pack(meter: str, book: Book, generation: int) -> bytes:
    """An area. ValueError if it is longer than one."""
    document = _Document(
        meter,
        book.slot_s,
        book.id,
        [_Run(run.series, run.first, run.last) for run in book.runs],
        book.closed,
        [(slot, each.load, each.pv, each.covered_ms) for slot, each in book.entries.items()],
        book.begun_ms,
        book.floor,
        divmod(book.load, UNITS_PER_WH),
        divmod(book.pv, UNITS_PER_WH),
        book.samples,
    )
    body = msgspec.msgpack.encode(document)
    if _HEAD.size + len(body) > AREA_BYTES:
        raise ValueError(f"a book of {len(body)} bytes: an area has {AREA_BYTES}")
    return _HEAD.pack(MAGIC, generation, len(body), zlib.crc32(body)) + body


def unpack(content: bytes) -> tuple[str, Book, int] | None:
    """Meter, book and generation of the newer whole area; None of a file that was only begun.

    BookError if neither is whole.
    """
    found = [each for at in (0, AREA_BYTES) if (each := _area(content[at : at + AREA_BYTES])) is not None]
    if found:
        document, generation = max(found, key=lambda each: each[1])
        return document.meter, _book(document), generation
    if content.strip(b"\0"):
        raise BookError("neither of its areas is whole")
    return None


def _area(area: bytes) -> tuple[_Document, int] | None:
    if len(area) < _HEAD.size:
        return None
    magic, generation, length, checksum = _HEAD.unpack_from(area)
    body = area[_HEAD.size : _HEAD.size + length]
    if magic != MAGIC or len(body) != length or zlib.crc32(body) != checksum:
        return None
    try:
        return _DECODER.decode(body), generation
    except msgspec.DecodeError:
        return None


def _book(document: _Document) -> Book:
    return Book(
        document.slot_s,
        document.id,
        [Run(run.series, run.first, run.last) for run in document.runs],
        dict(document.closed),
        {slot: Entry(load, pv, covered_ms) for slot, load, pv, covered_ms in document.entries},
        document.begun_ms,
        document.floor,
        _units(document.load),
        _units(document.pv),
        document.samples,
    )


def _units(energy: tuple[int, int]) -> int:
    return energy[0] * UNITS_PER_WH + energy[1]
