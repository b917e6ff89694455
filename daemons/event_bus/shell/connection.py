"""A socket that never blocks: what the kernel does not take at once waits its turn here."""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Final

from event_bus import limits
from event_bus.protocol import frames, records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from event_bus.protocol.frames import Frame
    from event_bus.protocol.records import Record

_PACKET_BYTES: Final = 1 << 17
_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})


class Stream:
    """One end of a pair's connection: frames, one after the other."""

    def __init__(self, end: socket.socket, number: int) -> None:
        end.setblocking(False)
        self.number = number
        self._end = end
        self._unsent: deque[memoryview] = deque()
        self._torn = bytearray()

    def fileno(self) -> int:
        """The descriptor."""
        return self._end.fileno()

    @property
    def behind(self) -> bool:
        """Whether something waits for the kernel to take it."""
        return bool(self._unsent)

    def send(self, data: bytes) -> None:
        """Send, or keep for later what is not taken. A connection that is gone takes everything."""
        if self._unsent:
            self._unsent.append(memoryview(data))
            return
        try:
            sent = self._end.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            if error.errno in _GONE:
                return  # reading says so too, and the frames are kept for the next connection
            raise
        if sent < len(data):
            self._unsent.append(memoryview(data)[sent:])

    def send_more(self) -> None:
        """The kernel takes again: send what waits."""
        waiting, self._unsent = self._unsent, deque()
        while waiting:
            self.send(waiting.popleft())  # type: ignore[arg-type] # a view is sent as its bytes are
            if self._unsent:
                self._unsent.extend(waiting)
                return

    def receive(self) -> Iterator[Frame] | None:
        """The whole frames that have come; None when the other end is closed."""
        try:
            data = self._end.recv(limits.RECEIVE_BYTES)
        except BlockingIOError:
            return iter(())
        except ConnectionResetError:
            return None
        if not data:
            return None
        self._torn += data
        return frames.unpack(self._torn)

    def close(self) -> None:
        """Close it."""
        self._end.close()


class Packets:
    """One end of a line to or from the keeper: records, each in a packet, some with a descriptor."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._unsent: deque[tuple[bytes, tuple[int, ...]]] = deque()

    def fileno(self) -> int:
        """The descriptor."""
        return self._end.fileno()

    @property
    def behind(self) -> bool:
        """Whether something waits for the kernel to take it."""
        return bool(self._unsent)

    def send(self, record: Record, *descriptors: int) -> None:
        """Send, in order; descriptors that go along are this line's from now on, and closed when they have gone."""
        self._unsent.append((records.pack(record), descriptors))
        if len(self._unsent) == 1:
            self.send_more()

    def send_more(self) -> None:
        """Send what waits, as far as the kernel takes it. A line that is gone takes everything."""
        while self._unsent:
            packet, descriptors = self._unsent[0]
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
            self._unsent.popleft()

    def receive(self) -> Iterator[tuple[Record | None, list[int]]]:
        """Every record that has come, with its descriptors; (None, []) last, if the other end is closed."""
        while True:
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._end, _PACKET_BYTES, 2)
            except BlockingIOError:
                return
            except ConnectionResetError:
                packet, descriptors = b"", []
            if not packet:
                yield None, []
                return
            yield records.unpack(packet), descriptors

    def close(self) -> None:
        """Close it, and the descriptors that were to go."""
        for _, descriptors in self._unsent:
            _close(descriptors)
        self._unsent.clear()
        self._end.close()


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
