"""A connection to a worker: lines in, lines out, and a way of ending that does not lose the last one."""

from __future__ import annotations

import select
import socket
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from energymarket.dispatch.limits import NS_PER_S
from energymarket.dispatch.lines import Broken, LineReader
from energymarket.runtime import clock

CHUNK_BYTES: Final = 64 * 1024
CHUNKS_UNHEARD_MAX: Final = 64
"""Of somebody who talks on when all is over: a few megabytes."""

_GONE: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL


@dataclass(slots=True)
class Guest:
    """Somebody who has connected to a worker; non-blocking."""

    sock: socket.socket
    peer: str
    until_ns: int  # for what it has to say
    reader: LineReader = field(default_factory=LineReader)
    lines: deque[bytes | Broken] = field(default_factory=deque)
    out: bytearray = field(default_factory=bytearray)
    ended: bool = False  # it says nothing more

    def fileno(self) -> int:
        """For poll."""
        return self.sock.fileno()

    def read(self) -> None:
        """Take what it has said. A connection that broke has ended."""
        try:
            data = self.sock.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.lines += self.reader.feed(data) if data else self.reader.finish()
        self.ended = self.ended or not data

    def gone(self) -> bool:
        """Whether it neither says nor hears anything any more."""
        poll = select.poll()
        poll.register(self.sock, 0)
        return any(event & _GONE for _, event in poll.poll(0))

    def say(self, line: str) -> None:
        """Add a line to what it is to hear; `push` sends it."""
        self.out += line.encode("utf-8", "backslashreplace") + b"\n"

    def push(self) -> bool:
        """Send as much as it takes; False if it has gone."""
        while self.out:
            try:
                sent = self.sock.send(self.out, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return True
            except OSError:
                return False
            del self.out[:sent]
        return True

    def wait_writable(self, timeout_ms: int) -> None:
        """Wait until it takes more, or not."""
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        poll.poll(timeout_ms)

    def turn_away(self, line: str) -> None:
        """Say why, as far as it hears, and close."""
        self.say(line)
        self.push()
        self.close()

    def close(self, linger_s: float = 0.0) -> None:
        """End, whatever it still says unheard: else the kernel would take the last line back from it.

        With `linger_s` it is waited for so long, until it ends as well.
        """
        with self.sock, suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            until_ns = clock.boottime_ns() + int(linger_s * NS_PER_S)
            for _ in range(CHUNKS_UNHEARD_MAX):
                if not clock.wait_readable(self.sock.fileno(), until_ns) or not self.sock.recv(CHUNK_BYTES):
                    return
