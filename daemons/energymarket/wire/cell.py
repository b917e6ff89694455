"""A sealed cell of a shared page: sequence, checksum, payload; and the header that a page starts with.

A cell is 16 bytes of seal, then the payload:

    sequence u8   even: at rest; odd: being written
    checksum u4   CRC-32 over sequence and payload
    zero     u4

The sequence tells a reader that it was overtaken by the writer; the checksum catches what the
sequence cannot, because Python has no memory barriers and some processors reorder stores.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from energymarket.wire.fault import WireError, WireFault

SEAL_BYTES: Final = 16
SEQUENCE: Final = struct.Struct("=Q")  # native: one store, never byte by byte
_CHECKSUM: Final = struct.Struct("<I4x")

HEADER: Final = struct.Struct("<8sIIQ")
HEADER_BYTES: Final = 64  # the cells start on a cache line of their own


@dataclass(frozen=True, slots=True)
class Header:
    """How a shared page starts; written once, when the page is made."""

    magic: bytes  # 8
    version: int
    cookie: int  # of the run's resources: a page with another cookie is somebody else's

    def pack(self) -> bytes:
        """The first bytes of the page."""
        return HEADER.pack(self.magic, self.version, 0, self.cookie)

    @classmethod
    def unpack(cls, raw: bytes) -> Header:
        """Read a header. Raises WireError TRUNCATED."""
        if len(raw) < HEADER.size:
            raise WireError(WireFault.TRUNCATED, f"a page header has {HEADER.size} bytes, not {len(raw)}")
        magic, version, _, cookie = HEADER.unpack_from(raw)
        return cls(magic, version, cookie)


def checksum(sequence: int, payload: bytes) -> int:
    """CRC-32 over sequence and payload."""
    return zlib.crc32(payload, zlib.crc32(sequence.to_bytes(8, "little")))


def seal(sequence: int, payload: bytes) -> bytes:
    """What follows the sequence in a cell: checksum and payload."""
    return _CHECKSUM.pack(checksum(sequence, payload)) + payload


def unseal(raw: bytes) -> bytes | None:
    """The payload of a copied cell, or None if it was never written, is being written or is torn."""
    (sequence,) = SEQUENCE.unpack_from(raw)
    if sequence & 1 or not sequence:
        return None
    payload = raw[SEAL_BYTES:]
    (expected,) = _CHECKSUM.unpack_from(raw, SEQUENCE.size)
    return payload if checksum(sequence, payload) == expected else None
