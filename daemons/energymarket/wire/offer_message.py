"""A message of the queue: offers of one slot and epoch, packed.

magic u2, version u1, kind u1, count u2, slot_high u2, slot_low u4, epoch u4, then the offers in one of two
ways. KIND_OFFERS: OFFER records. KIND_LINE, where that is shorter: LINE, then by how much each giver's id is
above that of the one before (all but the first), then the energy of each, both in unsigned integers of a
width of their own. Givers that follow each other on the ring, nobody twice and none split but the first: so
a range of many homes offers, and two to four bytes are enough for one of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.core.records import OFFER
from energymarket.wire.fault import WireError, WireFault

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "IN_LINE_MAX",
    "MESSAGE_BYTES_MAX",
    "OFFERS_MAX",
    "Head",
    "WireError",
    "count",
    "head_of",
    "pack",
    "pack_first",
    "unpack",
]

MAGIC: Final = 0x4F45  # "EO"
VERSION: Final = 1
KIND_OFFERS: Final = 1
KIND_LINE: Final = 2

HEADER: Final = struct.Struct("<HBBHHII")
LINE: Final = struct.Struct("<IIIHH")
MESSAGE_BYTES_MAX: Final = 4_096
"""Four messages fill the queue of 16 KiB: small enough to pass the turn, large enough for 255 records."""
OFFERS_MAX: Final = (MESSAGE_BYTES_MAX - HEADER.size) // OFFER.itemsize
IN_LINE_MAX: Final = (MESSAGE_BYTES_MAX - HEADER.size - LINE.size + 1) // 2
"""Offers of a message in which each takes two bytes."""
SLOT_MAX: Final = (1 << 48) - 1
EPOCH_MAX: Final = (1 << 32) - 1

_WIDTHS: Final = (1, 2, 4)
_U4_MAX: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Head:
    """Which slot the offers are of; anything of another slot or epoch is dropped."""

    slot: int
    epoch: int
    count: int
    kind: int = KIND_OFFERS


@dataclass(frozen=True, slots=True)
class Line:
    """The first offer of a line, and how wide the columns are."""

    giver: int  # home id
    position: int  # ring position; each of the others stands as many places behind as its id is above
    index: int  # of the others it is 0
    step_bytes: int  # 1, 2 or 4
    energy_bytes: int  # 1, 2 or 4


def pack(offers: npt.NDArray[np.void], *, slot: int, epoch: int, in_line: bool = True) -> bytes:
    """Offers as a message. ValueError if there are none, or more than it holds: that is our bug."""
    data, packed = pack_first(offers, slot=slot, epoch=epoch, in_line=in_line)
    if packed != len(offers) or not packed:
        raise ValueError(f"a message carries the first {packed} of these {len(offers)} offers")
    return data


def pack_first(
    offers: npt.NDArray[np.void],
    *,
    slot: int,
    epoch: int,
    room_bytes: int = MESSAGE_BYTES_MAX,
    in_line: bool = True,
) -> tuple[bytes, int]:
    """As many of the first offers as a message has room for, and how many these are; none without room.

    What is left of a message that was taken in part is never longer than the message was. Records alone
    (`in_line` is False) have room for it even if every one of them is split.
    """
    if not (0 <= slot <= SLOT_MAX and 0 <= epoch <= EPOCH_MAX):
        raise ValueError(f"slot {slot} or epoch {epoch} does not fit the header")
    room_bytes = min(room_bytes, MESSAGE_BYTES_MAX) - HEADER.size
    number, body = min(len(offers), OFFERS_MAX, room_bytes // OFFER.itemsize), b""
    kind, line = KIND_OFFERS, _line(offers[:IN_LINE_MAX], room_bytes - LINE.size) if in_line else None
    if line is not None:
        line_bytes = LINE.size + sum(column.nbytes for column in line)
        if (len(line[1]), -line_bytes) > (number, -number * OFFER.itemsize):
            kind, number = KIND_LINE, len(line[1])
            giver, position, index = (int(offers[name][0]) for name in ("giver", "position", "index"))
            step_bytes, energy_bytes = (column.itemsize for column in line)
            body = LINE.pack(giver, position, index, step_bytes, energy_bytes)
            body += b"".join(column.tobytes() for column in line)
    if number <= 0:
        return b"", 0
    header = HEADER.pack(MAGIC, VERSION, kind, number, slot >> 32, slot & 0xFFFF_FFFF, epoch)
    return header + (body or np.ascontiguousarray(offers[:number], OFFER).tobytes()), number


def _line(offers: npt.NDArray[np.void], room_bytes: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """Steps and energies of the first offers that stand in a line, as many as there is room for."""
    if room_bytes <= 0 or not len(offers):
        return None
    giver, energy = offers["giver"].astype(np.int64), offers["energy_wh"]
    steps = giver[1:] - giver[:-1]
    position = offers["position"].astype(np.int64)
    breaks = (steps <= 0) | (position[1:] - position[:-1] != steps)
    breaks |= (offers["index"][1:] != 0) | (offers["flags"][1:] != 0)
    number = 1 + (int(breaks.argmax()) if breaks.any() else len(breaks))
    while number > 0 and not offers["flags"][0]:
        step_bytes, energy_bytes = _width(steps[: number - 1]), _width(energy[:number])
        fits = (room_bytes + step_bytes) // (step_bytes + energy_bytes)
        if number <= fits:
            return steps[: number - 1].astype(f"<u{step_bytes}"), energy[:number].astype(f"<u{energy_bytes}")
        number = fits
    return None


def _width(column: npt.NDArray[np.integer[Any]]) -> int:
    most = int(column.max(initial=0))
    return next(width for width in _WIDTHS if most < 1 << 8 * width)


def head_of(data: bytes) -> Head:
    """The header of a message whose length agrees with it. Raises WireError."""
    if len(data) < HEADER.size:
        raise WireError(WireFault.TRUNCATED, f"a message of {len(data)} bytes has no header")
    magic, version, kind, number, slot_high, slot_low, epoch = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise WireError(WireFault.MAGIC, f"{magic:#06x} is no offer message")
    if version != VERSION:
        raise WireError(WireFault.VERSION, f"layout {version}, we read {VERSION}")
    if kind not in {KIND_OFFERS, KIND_LINE}:
        raise WireError(WireFault.KIND, f"kind {kind} is not defined")
    if not 1 <= number <= (OFFERS_MAX if kind == KIND_OFFERS else IN_LINE_MAX):
        raise WireError(WireFault.RANGE, f"{number} offers; a message carries 1 to {OFFERS_MAX} records")
    expected = HEADER.size
    if kind == KIND_OFFERS:
        expected += number * OFFER.itemsize
    else:
        line = _line_of(data)
        expected += LINE.size + (number - 1) * line.step_bytes + number * line.energy_bytes
    if len(data) != expected:
        fault = WireFault.TRUNCATED if len(data) < expected else WireFault.TRAILING
        raise WireError(fault, f"{number} offers have {expected} bytes, not {len(data)}")
    return Head(slot_high << 32 | slot_low, epoch, number, kind)


def _line_of(data: bytes) -> Line:
    if len(data) < HEADER.size + LINE.size:
        raise WireError(WireFault.TRUNCATED, f"a message of {len(data)} bytes has no first offer")
    line = Line(*LINE.unpack_from(data, HEADER.size))
    if line.step_bytes not in _WIDTHS or line.energy_bytes not in _WIDTHS:
        raise WireError(WireFault.RANGE, f"{line.step_bytes} and {line.energy_bytes} bytes a value")
    return line


def unpack(data: bytes) -> tuple[Head, npt.NDArray[np.void]]:
    """Header and offers (of records a read-only view of the message). Raises WireError."""
    head = head_of(data)
    if head.kind == KIND_OFFERS:
        offers = np.frombuffer(data, OFFER, offset=HEADER.size)
        if not offers["giver"].all():
            raise WireError(WireFault.RANGE, "home ids start at 1")
    else:
        offers = _unpack_line(data, head.count, _line_of(data))
    if not offers["energy_wh"].all():
        raise WireError(WireFault.RANGE, "an offer of nothing")
    return head, offers


def _unpack_line(data: bytes, number: int, line: Line) -> npt.NDArray[np.void]:
    at = HEADER.size + LINE.size
    steps = np.frombuffer(data, f"<u{line.step_bytes}", number - 1, at)
    places = np.zeros(number, np.int64)
    np.cumsum(steps, out=places[1:])
    if not line.giver or not steps.all():
        raise WireError(WireFault.RANGE, "home ids start at 1, and ascend in a line")
    if max(line.giver, line.position) + int(places[-1]) > _U4_MAX or line.index > np.iinfo("<u2").max:
        raise WireError(WireFault.RANGE, "a giver, position or index beyond what an offer has")
    offers = np.zeros(number, OFFER)
    offers["giver"] = places + line.giver
    offers["position"] = places + line.position
    offers["index"][0] = line.index
    offers["energy_wh"] = np.frombuffer(data, f"<u{line.energy_bytes}", number, at + steps.nbytes)
    return offers


def count(data: bytes) -> int:
    """How many offers a message of our own carries. Raises WireError."""
    return head_of(data).count
