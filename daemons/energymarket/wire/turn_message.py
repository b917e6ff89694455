"""The turn of a lockstep exchange as a message of the queue, and the message types of that exchange.

magic u2, version u1, role u1, flags u2, slot_high u2, slot_low u4, epoch u4, home u4, giver u4, taker u4,
4 bytes blank
"""

from __future__ import annotations

import struct
from typing import Final

from energymarket.core.turns import Role, Turn
from energymarket.wire.fault import WireError, WireFault

__all__ = [
    "TURN_BYTES",
    "WireError",
    "kind_in_epoch",
    "kind_of_back",
    "kind_of_offers",
    "kind_of_turn",
    "pack",
    "unpack",
]

MAGIC: Final = 0x5445  # "ET"
VERSION: Final = 1
LAYOUT: Final = struct.Struct("<HBBHHIIIII4x")
TURN_BYTES: Final = 32
"""Room for so many bytes is kept in the queue: a turn finds it full, and passes all the same."""

EPOCH_STEP: Final = 1 << 27
"""Message types of an epoch lie above those of all epochs before it: what is of a slot that was taken back
is the lowest and dropped first, and a process that is late never takes what is of a later epoch."""
_BACK: Final = 1 << 25
_TURN: Final = 2 << 25

_LACKING: Final = 1
_BACKS: Final = 2
_BUSY: Final = 4
_ROLES: Final = {int(role): role for role in Role}


def kind_of_offers(epoch: int, kind: int) -> int:
    """The message type of offers: in epoch 0 one above the ring position of the first giver."""
    return epoch * EPOCH_STEP + kind


def kind_of_back(epoch: int, kind: int) -> int:
    """The message type of what goes back to the givers of messages of this kind."""
    return epoch * EPOCH_STEP + _BACK + kind


def kind_of_turn(epoch: int, home: int) -> int:
    """The message type of a turn: it is addressed to the first home of a segment of the ring."""
    return epoch * EPOCH_STEP + _TURN + home


def kind_in_epoch(message_type: int) -> int:
    """What `kind_of_offers` or `kind_of_back` was told."""
    return message_type % EPOCH_STEP % _BACK


def pack(turn: Turn, *, slot: int, epoch: int) -> bytes:
    """A turn as a message."""
    flags = _LACKING * turn.lacking + _BACKS * turn.backs + _BUSY * turn.busy
    return LAYOUT.pack(
        MAGIC,
        VERSION,
        turn.role,
        flags,
        slot >> 32,
        slot & 0xFFFF_FFFF,
        epoch,
        turn.home,
        turn.giver,
        turn.taker,
    )


def unpack(data: bytes) -> tuple[int, int, Turn]:
    """Slot, epoch and turn of a message. Raises WireError."""
    if len(data) != TURN_BYTES:
        raise WireError(WireFault.TRUNCATED, f"a turn has {TURN_BYTES} bytes, not {len(data)}")
    magic, version, role, flags, slot_high, slot_low, epoch, home, giver, taker = LAYOUT.unpack(data)
    if magic != MAGIC:
        raise WireError(WireFault.MAGIC, f"{magic:#06x} is no turn")
    if version != VERSION:
        raise WireError(WireFault.VERSION, f"layout {version}, we read {VERSION}")
    if role not in _ROLES:
        raise WireError(WireFault.KIND, f"no role of a turn is {role}")
    turn = Turn(
        role=_ROLES[role],
        home=home,
        giver=giver,
        taker=taker,
        lacking=bool(flags & _LACKING),
        backs=bool(flags & _BACKS),
        busy=bool(flags & _BUSY),
    )
    return slot_high << 32 | slot_low, epoch, turn
