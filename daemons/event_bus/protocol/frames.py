"""Frames: what goes over the connection of a pair of processes, as bytes.

A frame is a header of 32 bytes, the type in UTF-8, and the payload. Numbered frames are kept by the sender
until they are acknowledged, and are sent again over a new connection; the receiver drops what it had.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from event_bus.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(IntEnum):
    """What a frame is."""

    MESSAGE = 1
    """A message of the program; `call` is not 0 if the sender waits for an answer."""
    ANSWER = 2
    """The answer to `call`."""
    ASK = 3
    """Along the ring to the right: the token is wanted; `call` is the generation."""
    TOKEN = 4
    """Along the ring to the left: the token; `call` is the generation."""
    ACK = 5
    """Unnumbered: `stamp` frames have come, `call` bytes of payload were taken by the program."""


USER_KINDS: Final = frozenset({Kind.MESSAGE, Kind.ANSWER})
"""The frames that move the Lamport clock; all others are the system's, and do not."""

HEADER: Final = Struct("<IBBxxQQQ")
"""Bytes after the header, kind, bytes of the type, number in the pair, Lamport stamp, call."""


class Frame(NamedTuple):
    """A frame, taken apart."""

    kind: int
    number: int
    stamp: int
    call: int
    type: str
    payload: bytes


def pack(kind: int, number: int, stamp: int, call: int, type_: str = "", payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    if not type_:
        return HEADER.pack(len(payload), kind, 0, number, stamp, call) + payload
    name = type_.encode()
    return HEADER.pack(len(name) + len(payload), kind, len(name), number, stamp, call) + name + payload


def unpack(buffer: bytearray) -> Iterator[Frame]:
    """Take every whole frame off the front of a buffer; a torn rest stays in it."""
    at, end, size = 0, len(buffer), HEADER.size
    view = memoryview(buffer)
    try:
        while end - at >= size:
            length, kind, named, number, stamp, call = HEADER.unpack_from(view, at)
            body = at + size
            if end - body < length:
                break
            at = body + length
            name = str(view[body : body + named], "utf-8") if named else ""
            yield Frame(kind, number, stamp, call, name, bytes(view[body + named : at]))
    finally:
        view.release()
        del buffer[:at]


def only(data: bytes) -> Frame:
    """The one frame that the bytes are."""
    frames = list(unpack(bytearray(data)))
    if len(frames) != 1:
        raise ProtocolError(f"{len(frames)} frames where one was expected")
    return frames[0]
