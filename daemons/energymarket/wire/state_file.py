"""The header of a generation file: which state of which homes each of its two halves holds.

The file: a page of 4096 bytes with two headers (at 0 and at 2048, in sectors of their own), then two
areas for the payloads, each rounded up to whole pages. A header without a slot says that its area is
being written. Edition 1 of a slot's state has the slot's receipt in its registers of gifts, edition 0
only those of earlier slots.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from energymarket.wire.fault import WireError, WireFault

MAGIC: Final = b"EMSTATE\n"
VERSION: Final = 1
VERSION_SPARSE: Final = 3
"""Of a payload that says first who has what (`core.owned`), and has narrow columns of those only."""

SPARSE_BLOCK_HOMES: Final = {2: 16_384, VERSION_SPARSE: 65_536}
"""Homes of a block of a sparse payload, by version: those of files that are there, and of new ones."""

PAGE_BYTES: Final = 4_096
HEADER_STEP: Final = 2_048
IDENTITY_BYTES: Final = 32
NO_SLOT: Final = -1
CHECKED_BYTES: Final = 1 << 20  # at once: what is added up is in the cache for the exclusive-or

LAYOUT: Final = struct.Struct("<8sIIIIQqII32s")
_SEAL: Final = struct.Struct("<I")
HEADER_BYTES: Final = LAYOUT.size + _SEAL.size


@dataclass(frozen=True, slots=True)
class Shape:
    """What does not change while a file lives."""

    first: int  # home id
    count: int  # homes
    payload_bytes: int
    identity: bytes  # 32 bytes: of the ledger or scenario that the state belongs to; zeros: any
    version: int = VERSION  # of the payload

    @property
    def block_homes(self) -> int | None:
        """Homes of a block of a payload that has columns of those alone who have what they are of.

        None for one that has a value per home in every column.
        """
        return SPARSE_BLOCK_HOMES.get(self.version)

    @property
    def area_bytes(self) -> int:
        """Payload rounded up to whole pages."""
        return -(-self.payload_bytes // PAGE_BYTES) * PAGE_BYTES

    @property
    def file_bytes(self) -> int:
        """Header page and both areas."""
        return PAGE_BYTES + 2 * self.area_bytes

    def area_at(self, generation: int) -> int:
        """Where the area of a generation starts."""
        return PAGE_BYTES + generation * self.area_bytes


@dataclass(frozen=True, slots=True)
class Header:
    """What one generation holds."""

    shape: Shape
    generation: int
    slot: int  # NO_SLOT: nothing that could be loaded
    checksum: int  # of the payload's area
    edition: int = 0  # 1: the receipt of the slot is in

    def pack(self) -> bytes:
        """The header with its seal."""
        raw = LAYOUT.pack(
            MAGIC,
            self.shape.version,
            self.generation,
            self.shape.first,
            self.shape.count,
            self.shape.payload_bytes,
            self.slot,
            self.checksum,
            self.edition,
            self.shape.identity,
        )
        return raw + _SEAL.pack(zlib.crc32(raw))

    @classmethod
    def unpack(cls, raw: bytes) -> Header:
        """Read a header. Raises WireError."""
        if len(raw) != HEADER_BYTES:
            raise WireError(WireFault.TRUNCATED, f"a header has {HEADER_BYTES} bytes, not {len(raw)}")
        magic, version, generation, first, count, payload_bytes, slot, checked, edition, identity = (
            LAYOUT.unpack_from(raw)
        )
        if magic != MAGIC:
            raise WireError(WireFault.MAGIC, "not a state file")
        if version != VERSION and version not in SPARSE_BLOCK_HOMES:
            text = f"layout {version}, we read {VERSION} .. {VERSION_SPARSE}"
            raise WireError(WireFault.VERSION, text)
        if _SEAL.unpack_from(raw, LAYOUT.size)[0] != zlib.crc32(raw[: LAYOUT.size]):
            raise WireError(WireFault.CHECKSUM, f"the header of generation {generation} is torn")
        shape = Shape(first, count, payload_bytes, identity, version)
        return cls(shape, generation, slot, checked, edition)


class Checksum:
    """CRC-32 over the sum and the exclusive-or of each page of an area, which comes in whole pages.

    A torn area holds whole pages or sectors of an older state. Sum and exclusive-or see that, and they
    run at the speed of memory, where CRC-32 over all bytes would cost as much as simulating the homes.
    """

    def __init__(self) -> None:
        self._sums: list[bytes] = []
        self._differences: list[bytes] = []

    def add(self, area: memoryview) -> None:
        """The next pages."""
        pages = np.frombuffer(area, np.uint64).reshape(-1, PAGE_BYTES // 8)
        self._sums.append(np.add.reduce(pages, axis=1).tobytes())
        self._differences.append(np.bitwise_xor.reduce(pages, axis=1).tobytes())

    def value(self) -> int:
        """Of all pages so far."""
        return zlib.crc32(b"".join(self._differences), zlib.crc32(b"".join(self._sums)))


def checksum(area: memoryview) -> int:
    """The checksum of an area."""
    found = Checksum()
    for start in range(0, len(area), CHECKED_BYTES):
        found.add(area[start : start + CHECKED_BYTES])
    return found.value()


def file_of(shape: Shape, slot: int, edition: int, payload: bytes | memoryview) -> bytearray:
    """A whole file that holds one state and nothing in its other half."""
    data = bytearray(shape.file_bytes)
    area = memoryview(data)[shape.area_at(0) : shape.area_at(0) + shape.area_bytes]
    area[: shape.payload_bytes] = payload[: shape.payload_bytes]
    held, empty = Header(shape, 0, slot, checksum(area), edition), Header(shape, 1, NO_SLOT, 0)
    for header in (held, empty):
        at = header.generation * HEADER_STEP
        data[at : at + HEADER_BYTES] = header.pack()
    area.release()
    return data
