"""The weather board: header, status cell, and a ring of 128 sealed samples, as bytes in shared memory.

At 0 stands the header (64 bytes, see wire/cell.py), at 64 the status cell (writer's pid, heartbeat in
CLOCK_BOOTTIME ns, last slot posted), and the entry of slot s at 128 + (s mod 128) * 64: a sealed cell with
a WEATHER record.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from energymarket.core.weather import WEATHER, Sample
from energymarket.wire.fault import WireError, WireFault

MAGIC: Final = b"EMBOARD\n"
VERSION: Final = 1

SLOTS: Final = 128  # a day of quarter-hours (100 at most) and some ahead
STATUS_AT: Final = 64
ENTRIES_AT: Final = 128
ENTRY_BYTES: Final = 64
BOARD_BYTES: Final = ENTRIES_AT + SLOTS * ENTRY_BYTES

STATUS: Final = struct.Struct("<qqI4x")
STALE_AFTER_NS: Final = 2_000_000_000
"""A writer without a heartbeat for 2 s is taken for dead or frozen (reliability: scenario 11)."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the writer says about itself."""

    heartbeat_ns: int  # CLOCK_BOOTTIME
    last_slot: int  # the newest slot posted; -1 if none
    writer_pid: int

    def pack(self) -> bytes:
        """The payload of the status cell."""
        return STATUS.pack(self.heartbeat_ns, self.last_slot, self.writer_pid)

    @classmethod
    def unpack(cls, raw: bytes) -> Status:
        """Read a payload. Raises WireError TRUNCATED."""
        if len(raw) != STATUS.size:
            raise WireError(WireFault.TRUNCATED, f"a board status has {STATUS.size} bytes, not {len(raw)}")
        return cls(*STATUS.unpack(raw))


def entry_at(slot: int) -> int:
    """Where the entry of a slot starts in the page."""
    return ENTRIES_AT + slot % SLOTS * ENTRY_BYTES


ENTRY_PAYLOAD_BYTES: Final = WEATHER.itemsize


def pack(sample: Sample) -> bytes:
    """The payload of an entry."""
    return np.asarray(sample, WEATHER).tobytes()


def unpack(raw: bytes) -> Sample:
    """Read an entry's payload: a WEATHER record of its own memory. Raises WireError TRUNCATED."""
    if len(raw) != WEATHER.itemsize:
        raise WireError(WireFault.TRUNCATED, f"a sample has {WEATHER.itemsize} bytes, not {len(raw)}")
    return cast("Sample", np.frombuffer(raw, WEATHER)[0])
