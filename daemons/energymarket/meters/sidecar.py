"""The sidecar of a meter's files: what of them counts, as bytes of two slots that are written in turn.

A slot is a head (magic, generation, length and CRC-32 of what follows) and a JSON document. The newer of the
two that is whole holds; a write that a power cut tore leaves the other one.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

from energymarket.meters.limits import SERIES_BYTES_MAX
from energymarket.meters.window import Window

MAGIC: Final = b"EMPV0001"
SLOT_BYTES: Final = 1 << 16
"""Ranges of all series take 60,000 bytes at the most (`series_of`), eight files 2 KB."""
FILE_BYTES: Final = 2 * SLOT_BYTES
_HEAD: Final = struct.Struct("<8sQII")


class SidecarError(Exception):
    """Neither slot is whole."""


class Series(msgspec.Struct, frozen=True):
    """The window of a series, as it is written."""

    name: str
    closed: int
    ranges: list[tuple[int, int]]

    def window(self) -> Window:
        """The window."""
        return Window(self.ranges, self.closed)


class DayFile(msgspec.Struct, frozen=True):
    """A file of one day, and how much of it counts."""

    day: str
    name: str
    length: int


class Sidecar(msgspec.Struct, frozen=True):
    """What of a meter's files counts."""

    meter_id: str
    series: list[Series] = []  # the one that spoke last is the last
    files: list[DayFile] = []  # likewise
    rows: int = 0
    duplicates: int = 0


def series_of(windows: dict[str, Window]) -> list[Series]:
    """Windows as they are written: gaps without room are closed, the oldest of the fullest first."""
    kept = {name: window.copy() for name, window in windows.items()}
    while True:
        series = [Series(name, window.closed, window.ranges) for name, window in kept.items()]
        if len(msgspec.json.encode(series)) <= SERIES_BYTES_MAX:
            return series
        fullest = max(kept.values(), key=lambda each: len(each.ranges))
        fullest.close(len(fullest.ranges) // 8 + 1)


def pack(sidecar: Sidecar, generation: int) -> bytes:
    """A slot. ValueError if it is longer than one."""
    body = msgspec.json.encode(sidecar)
    slot = _HEAD.pack(MAGIC, generation, len(body), zlib.crc32(body)) + body
    if len(slot) > SLOT_BYTES:
        raise ValueError(f"a sidecar of {len(slot)} bytes: a slot has {SLOT_BYTES}")
    return slot


def unpack(content: bytes) -> tuple[Sidecar, int]:
    """The newer whole slot and its generation. SidecarError if there is none."""
    found = [each for at in (0, SLOT_BYTES) if (each := _slot(content[at : at + SLOT_BYTES])) is not None]
    if not found:
        raise SidecarError("neither of its slots is whole")
    return max(found, key=lambda each: each[1])


def _slot(slot: bytes) -> tuple[Sidecar, int] | None:
    if len(slot) < _HEAD.size:
        return None
    magic, generation, length, checksum = _HEAD.unpack_from(slot)
    body = slot[_HEAD.size : _HEAD.size + length]
    if magic != MAGIC or len(body) != length or zlib.crc32(body) != checksum:
        return None
    try:
        return msgspec.json.decode(body, type=Sidecar), generation
    except msgspec.DecodeError:
        return None
