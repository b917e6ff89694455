"""A record of the pipe from `external` to the market: 32 bytes, so that a write is whole or not at all.

magic u2, version u1, type u1, checksum u4, seq u8, slot_low u4, slot_high u2, kind u2,
intensity_permille u4, duration_slots u4
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from energymarket.wire.fault import WireError, WireFault

MAGIC: Final = b"EV"
VERSION: Final = 1
LAYOUT: Final = struct.Struct("<2sBBIQIHHII")
RECORD_BYTES: Final = 32
_CHECKSUM_AT: Final = 4
_CHECKED_FROM: Final = 8
SLOT_MAX: Final = (1 << 48) - 1


class RecordType(IntEnum):
    """What a record says."""

    BEGIN = 1  # the event (kind, seq) acts in slot <= s < until_slot
    END = 2  # it acts no more from `slot` on
    REPORTED = 3  # every event that begins up to and including `slot` has been said
    HEARTBEAT = 4  # external lives


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One record. Saying it twice changes nothing: an event is known by (kind, seq)."""

    type: RecordType
    slot: int = 0
    kind: int = 0  # index in the scenario's kinds
    seq: int = 0
    intensity_permille: int = 0
    until_slot: int = 0  # of BEGIN; else the same as slot

    def pack(self) -> bytes:
        """The record as 32 bytes. struct.error or ValueError if a field does not fit: that is our bug."""
        if not 0 <= self.slot <= SLOT_MAX:
            raise ValueError(f"slot {self.slot} does not fit the record")
        duration = max(0, self.until_slot - self.slot)
        fields = (
            self.seq, self.slot & 0xFFFF_FFFF, self.slot >> 32, self.kind, self.intensity_permille, duration,
        )  # fmt: skip
        blank = LAYOUT.pack(MAGIC, VERSION, self.type, 0, *fields)
        return LAYOUT.pack(MAGIC, VERSION, self.type, _checksum(blank), *fields)


def unpack(raw: bytes) -> EventRecord:
    """Read one record. Raises WireError."""
    if len(raw) != RECORD_BYTES:
        raise WireError(WireFault.TRUNCATED, f"a record has {RECORD_BYTES} bytes, not {len(raw)}")
    magic, version, kind_of, checked, seq, slot_low, slot_high, kind, intensity, duration = LAYOUT.unpack(raw)
    if magic != MAGIC:
        raise WireError(WireFault.MAGIC, f"{magic!r} is no event record")
    if checked != _checksum(raw):
        raise WireError(WireFault.CHECKSUM, "the record is torn or forged")
    if version != VERSION:
        raise WireError(WireFault.VERSION, f"layout {version}, we read {VERSION}")
    if kind_of not in _TYPES:
        raise WireError(WireFault.KIND, f"no record has type {kind_of}")
    slot = slot_high << 32 | slot_low
    return EventRecord(_TYPES[kind_of], slot, kind, seq, intensity, slot + duration)


class Split(NamedTuple):
    """What a stretch of the pipe holds."""

    records: list[EventRecord]
    invalid: int  # stretches of bytes that are no record
    rest: bytes  # the beginning of a record whose end has not come yet


def split(stretch: bytes) -> Split:
    """Cut a stretch into records; garbage is passed over to the next whole record and counted."""
    records: list[EventRecord] = []
    invalid = at = 0
    in_garbage = False
    while len(stretch) - at >= RECORD_BYTES:
        try:
            records.append(unpack(stretch[at : at + RECORD_BYTES]))
        except WireError:
            invalid += not in_garbage
            in_garbage = True
            found = stretch.find(MAGIC, at + 1)
            at = found if found >= 0 else max(at + 1, len(stretch) - 1)
        else:
            in_garbage = False
            at += RECORD_BYTES
    return Split(records, invalid, stretch[at:])


def _checksum(raw: bytes) -> int:
    return zlib.crc32(raw[_CHECKED_FROM:], zlib.crc32(raw[:_CHECKSUM_AT]))


_TYPES: Final = {int(each): each for each in RecordType}
