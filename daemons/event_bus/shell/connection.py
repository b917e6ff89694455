"""A socket that never blocks: what the kernel does not take at once waits its turn here."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from event_bus import limits
from event_bus.protocol import records
from event_bus.protocol.frames import Reassembly

if TYPE_CHECKING:
    from event_bus.protocol.frames import Frame
    from event_bus.protocol.records import Record

_PACKET_BYTES: Final = 1 << 16
_DESCRIPTOR: Final = struct.Struct("=i")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(2 * _DESCRIPTOR.size)
_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})


class Stream:
    """One end of a pair's connection: frames, one after the other."""

    def __init__(self, end: socket.socket, number: int) -> None:
        end.setblocking(False)
        self.number = number
        self._end = end
        self.unsent: deque[bytes | memoryview] = deque()  # what waits for the kernel to take it
        self._reassembly = Reassembly()

    def fileno(self) -> int:
        """The descriptor."""
        return self._end.fileno()

    def send(self, data: bytes | memoryview) -> None:
        """Send; what is not taken is kept in `unsent`. A connection that is gone takes everything."""
        try:
            sent = self._end.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            if error.errno not in _GONE:  # no memory, for example: as if the connection had broken
                with suppress(OSError):
                    self._end.shutdown(socket.SHUT_RDWR)
            return  # reading says so too, and the frames are kept for the next connection
        if sent < len(data):
            self.unsent.appendleft(memoryview(data)[sent:])  # no copy: what is left may be large

    def send_more(self) -> None:
        """The kernel takes again: send what waits, many frames at a time."""
        while self.unsent:
            joined: list[bytes | memoryview] = []
            size = 0
            while self.unsent and size < limits.SEND_BYTES:
                joined.append(self.unsent.popleft())
                size += len(joined[-1])
            self.send(b"".join(joined) if len(joined) > 1 else joined[0])
            if self.unsent:
                return

    def receive(self) -> list[Frame] | None:
        """The whole frames that have come; None when the other end is closed."""
        try:
            data = self._end.recv(limits.RECEIVE_BYTES)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            return None
        return self._reassembly.add(data) if data else None

    def close(self) -> None:
        """Close it."""
        self._end.close()


class Packets:
    """One end of a line to or from the keeper: records, each in a packet, some with a descriptor."""

    def __init__(self, end: socket.socket, *, takes_descriptors: bool = False) -> None:
        end.setblocking(False)
        self.descriptors: list[int] = []  # that came with the last record
        self._takes_descriptors = takes_descriptors
        self._packet = memoryview(bytearray(_PACKET_BYTES))
        self._end = end
        self.unsent: deque[tuple[bytes, tuple[int, ...]]] = deque()  # likewise

    def fileno(self) -> int:
        """The descriptor."""
        return self._end.fileno()

    def send(self, record: Record, *descriptors: int) -> None:
        """Send, in order. Descriptors that go along are the line's, which closes them when they have gone."""
        packet = records.pack(record)
        if not self.unsent and not descriptors:
            try:
                self._end.send(packet)
            except OSError as error:
                if error.errno in _GONE:
                    return
                if not isinstance(error, BlockingIOError):
                    raise
            else:
                return
        self.unsent.append((packet, descriptors))
        if len(self.unsent) == 1:
            self.send_more()

    def send_more(self) -> None:
        """Send what waits, as far as the kernel takes it. A line that is gone takes everything."""
        while self.unsent:
            packet, descriptors = self.unsent[0]
            try:
                if descriptors:
                    socket.send_fds(self._end, [packet], descriptors)
                else:
                    self._end.send(packet)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _GONE:
                    raise
            _close(descriptors)
            self.unsent.popleft()

    def receive(self) -> Record | None:
        """The next record, or None if none has come. Raises EOFError when the other end is closed."""
        try:
            if self._takes_descriptors:
                size, ancillary, _, _ = self._end.recvmsg_into([self._packet], _ANCILLARY_BYTES)
                self.descriptors = _descriptors(ancillary) if ancillary else []
            else:
                size = self._end.recv_into(self._packet)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            size = 0
        if not size:
            raise EOFError
        return records.unpack(self._packet[:size])

    def close(self) -> None:
        """Close it, and the descriptors that were to go."""
        for _, descriptors in self.unsent:
            _close(descriptors)
        self.unsent.clear()
        self._end.close()


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    return [
        number
        for level, kind, data in ancillary
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS
        for (number,) in _DESCRIPTOR.iter_unpack(data)
    ]


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
