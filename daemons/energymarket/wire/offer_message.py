"""A message of the queue: offers of one slot and epoch, packed.

magic u2, version u1, kind u1, count u2, slot_high u2, slot_low u4, epoch u4, then OFFER records
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core.records import OFFER
from energymarket.wire.fault import WireError, WireFault

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["MESSAGE_BYTES_MAX", "OFFERS_MAX", "Head", "WireError", "count", "head_of", "pack", "unpack"]

MAGIC: Final = 0x4F45  # "EO"
VERSION: Final = 1
KIND_OFFERS: Final = 1

HEADER: Final = struct.Struct("<HBBHHII")
MESSAGE_BYTES_MAX: Final = 4_096
"""Four messages fill the queue of 16 KiB: small enough to pass the turn, large enough to carry 255 offers."""
OFFERS_MAX: Final = (MESSAGE_BYTES_MAX - HEADER.size) // OFFER.itemsize
SLOT_MAX: Final = (1 << 48) - 1
EPOCH_MAX: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Head:
    """Which slot the offers are of; anything of another slot or epoch is dropped."""

    slot: int
    epoch: int
    count: int


def pack(offers: npt.NDArray[np.void], *, slot: int, epoch: int) -> bytes:
    """1 to OFFERS_MAX offers as a message. ValueError if there are more or none: that is our bug."""
    if not 1 <= len(offers) <= OFFERS_MAX:
        raise ValueError(f"a message carries 1 to {OFFERS_MAX} offers, not {len(offers)}")
    if not (0 <= slot <= SLOT_MAX and 0 <= epoch <= EPOCH_MAX):
        raise ValueError(f"slot {slot} or epoch {epoch} does not fit the header")
    header = HEADER.pack(MAGIC, VERSION, KIND_OFFERS, len(offers), slot >> 32, slot & 0xFFFF_FFFF, epoch)
    return header + np.ascontiguousarray(offers, OFFER).tobytes()


def head_of(data: bytes) -> Head:
    """The header of a message whose length agrees with it. Raises WireError."""
    if len(data) < HEADER.size:
        raise WireError(WireFault.TRUNCATED, f"a message of {len(data)} bytes has no header")
    magic, version, kind, number, slot_high, slot_low, epoch = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise WireError(WireFault.MAGIC, f"{magic:#06x} is no offer message")
    if version != VERSION:
        raise WireError(WireFault.VERSION, f"layout {version}, we read {VERSION}")
    if kind != KIND_OFFERS:
        raise WireError(WireFault.KIND, f"kind {kind} is not defined")
    if not 1 <= number <= OFFERS_MAX:
        raise WireError(WireFault.RANGE, f"{number} offers; a message carries 1 to {OFFERS_MAX}")
    expected = HEADER.size + number * OFFER.itemsize
    if len(data) != expected:
        fault = WireFault.TRUNCATED if len(data) < expected else WireFault.TRAILING
        raise WireError(fault, f"{number} offers have {expected} bytes, not {len(data)}")
    return Head(slot_high << 32 | slot_low, epoch, number)


def unpack(data: bytes) -> tuple[Head, npt.NDArray[np.void]]:
    """Header and offers (a read-only view of the message). Raises WireError."""
    head = head_of(data)
    offers = np.frombuffer(data, OFFER, offset=HEADER.size)
    if not offers["giver"].all():
        raise WireError(WireFault.RANGE, "home ids start at 1")
    if not offers["energy_wh"].all():
        raise WireError(WireFault.RANGE, "an offer of nothing")
    return head, offers


def count(data: bytes) -> int:
    """How many offers a message of our own carries. Raises WireError."""
    return head_of(data).count
