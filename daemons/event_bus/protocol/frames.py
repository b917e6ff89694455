"""Frames: what goes over the connection of a pair of processes, as bytes.

A frame is a header of 32 bytes, the type in UTF-8, and the payload. Numbered frames are kept by the sender
until they are acknowledged, and are sent again over a new connection; the receiver drops what it had.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from event_bus.errors import ProtocolError
from event_bus.limits import TYPES_KNOWN_MAX


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
    TAKE_BACK = 6
    """The sender of `call` waits no longer: who has not received it is not to receive it."""


USER_KINDS: Final = frozenset({Kind.MESSAGE, Kind.ANSWER})
"""The frames that move the Lamport clock; all others are the system's, and do not."""

HEADER: Final = Struct("<IBBHQQQ")
"""Bytes after it, kind, bytes of the type, sender's number, number in the pair, Lamport stamp, call."""


_pack_header: Final = HEADER.pack


class Frame(NamedTuple):
    """A frame, taken apart."""

    kind: int
    number: int
    stamp: int
    call: int
    type: str
    payload: bytes
    sender: int


def pack(
    kind: int, number: int, stamp: int, call: int, type_: str = "", payload: bytes = b"", sender: int = 0
) -> bytes:
    """A frame as bytes."""
    name = type_.encode()
    return (
        _pack_header(len(name) + len(payload), kind, len(name), sender, number, stamp, call) + name + payload
    )


class Reassembly:
    """What came over a connection, cut into frames; the torn rest waits for more."""

    __slots__ = ("_needed", "_torn", "_types")

    def __init__(self) -> None:
        self._torn = bytearray()
        self._needed = 0  # bytes until the first frame is whole, as far as is known
        self._types: dict[bytes, str] = {b"": ""}

    @property
    def torn_bytes(self) -> int:
        """How much waits for more."""
        return len(self._torn)

    def add(self, data: bytes) -> list[Frame]:
        """The frames that are whole now."""
        if self._torn:
            self._torn += data
            if len(self._torn) < self._needed:
                return []
            data = bytes(self._torn)
            self._torn.clear()
        found = []
        at, end, size, take_apart, types = 0, len(data), HEADER.size, HEADER.unpack_from, self._types
        while end - at >= size:
            length, kind, named, sender, number, stamp, call = take_apart(data, at)
            body = at + size
            if end - body < length:
                self._needed = size + length
                break
            at = body + length
            name = data[body : body + named]
            type_ = types.get(name)
            if type_ is None:
                type_ = str(name, "utf-8")
                if len(types) < TYPES_KNOWN_MAX:
                    types[name] = type_
            found.append(Frame(kind, number, stamp, call, type_, data[body + named : at], sender))
        else:
            self._needed = size
        self._torn += data[at:]
        return found


def unpack(data: bytes) -> list[Frame]:
    """The frames that the bytes are; nothing may be left over."""
    reassembly = Reassembly()
    found = reassembly.add(data)
    if reassembly.torn_bytes:
        raise ProtocolError(f"{reassembly.torn_bytes} bytes are no whole frame")
    return found


def only(data: bytes) -> Frame:
    """The one frame that the bytes are."""
    frames = unpack(data)
    if len(frames) != 1:
        raise ProtocolError(f"{len(frames)} frames where one was expected")
    return frames[0]
