"""Tokens of the pipes between dispatcher and worker: frames of 16 bytes that cannot merge. Touches nothing.

    mark u2    0xE9 0x7A
    kind u1
    zero u1
    number u8  of the request, where it concerns one
    check u4   CRC-32 of what is before

A frame is written at once (less than PIPE_BUF), so frames of several writers do not mix either. A token
only says "look": what there is to know stands in the segment, so a token lost or doubled does no harm.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

MARK: Final = b"\xe9\x7a"
_BODY: Final = struct.Struct("<2sBxQ")
_CHECK: Final = struct.Struct("<I")
FRAME_BYTES: Final = _BODY.size + _CHECK.size


class Kind(IntEnum):
    """What a token asks to look at."""

    PING = 1  # to the worker: say that you are there
    WORK = 2  # to the worker: there is a task for you
    CALL_OFF = 3  # to the worker: nobody comes for this one
    LEAVE = 4  # to the worker: end when you are done
    PONG = 5  # to the dispatcher: look at my word


@dataclass(frozen=True, slots=True)
class Token:
    """One token."""

    kind: Kind
    number: int = 0

    def pack(self) -> bytes:
        """Its frame."""
        body = _BODY.pack(MARK, self.kind, self.number)
        return body + _CHECK.pack(zlib.crc32(body))


_KINDS: Final = {int(kind): kind for kind in Kind}


class TokenReader:
    """Finds whole tokens in what a pipe brings; garbage and torn frames are skipped and counted."""

    def __init__(self) -> None:
        self._rest = b""
        self.skipped_bytes = 0

    def feed(self, data: bytes) -> list[Token]:
        """The tokens that are whole now."""
        rest = self._rest + data
        found: list[Token] = []
        at = 0
        while len(rest) - at >= FRAME_BYTES:
            token = _token(rest[at : at + FRAME_BYTES])
            if token is not None:
                found.append(token)
                at += FRAME_BYTES
                continue
            begins = rest.find(MARK, at + 1)
            # Without a mark all is garbage, but for a last byte that may be the first half of one.
            next_at = begins if begins >= 0 else len(rest) - (rest[-1:] == MARK[:1])
            self.skipped_bytes += next_at - at
            at = next_at
        self._rest = rest[at:]
        return found


def _token(frame: bytes) -> Token | None:
    mark, kind, number = _BODY.unpack_from(frame)
    (check,) = _CHECK.unpack_from(frame, _BODY.size)
    if mark != MARK or kind not in _KINDS or check != zlib.crc32(frame[: _BODY.size]):
        return None
    return Token(_KINDS[kind], number)
