"""The dispatcher's counter: clients over TCP, each with one request at a time, answers in order.

What a client sends costs at most its own connection; every wait has a deadline.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from energymarket.dispatch.limits import (
    ACCEPT_PAUSE_S,
    BACKLOG,
    CLIENTS_MAX,
    IDLE_S,
    LINE_BYTES_MAX,
    LINES_WAITING_MAX,
    OUT_BYTES_MAX,
    OUT_CALM_BYTES,
)
from energymarket.dispatch.lines import Broken, LineReader, refusal
from energymarket.exits import ConfigError, Exit, Failure, SecondInstance
from energymarket.transport.deadlines import Deadlines

log = logging.getLogger(__name__)

ACCEPTS_MAX: Final = 64
CHUNK_BYTES: Final = 64 * 1024
_GONE: Final = select.EPOLLHUP | select.EPOLLERR


@dataclass(slots=True)
class Client:
    """Somebody who has connected."""

    id: int
    sock: socket.socket
    peer: str
    reader: LineReader = field(default_factory=LineReader)
    lines: deque[bytes | Broken] = field(default_factory=deque)
    out: bytearray = field(default_factory=bytearray)
    waits: bool = False  # for the answer to a request
    ended: bool = False  # it says nothing more
    mask: int = select.EPOLLIN


def listen(address: str, port: int) -> socket.socket:
    """Listen there. Failure with what to do about it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(BACKLOG)
    except PermissionError as error:
        made.close()
        raise Failure(
            f"{address} port {port}: {error.strerror}", "take a port above 1023", Exit.PERMISSION
        ) from error
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise SecondInstance(
                f"{address} port {port} is in use", "another dispatcher runs, or set port in [dispatch]"
            ) from error
        raise ConfigError(
            f"{address} port {port}: {error.strerror or error}", "set address in [dispatch]"
        ) from error
    return made


class Counter:
    """All clients of a dispatcher. `open` it, `serve` whenever it is readable or `due`, `answer` in between.

    `on_line` gets a client's next line once the one before is answered: it has to `reply` at once, or to
    set `waits` and `answer` later. While it waits, `on_ended` gets the id of a client that says nothing more
    (it may have hung up), and `on_left` that of one that is gone.
    """

    def __init__(
        self,
        listener: socket.socket,
        on_line: Callable[[Client, bytes | Broken], None],
        on_left: Callable[[int], None],
        on_ended: Callable[[int], None],
    ) -> None:
        self._listener = listener
        self._on_line = on_line
        self._on_left = on_left
        self._on_ended = on_ended
        self._clients: dict[int, Client] = {}
        self._by_fd: dict[int, Client] = {}
        self._idle: Deadlines[int] = Deadlines(IDLE_S)
        self._ready: deque[Client] = deque()  # may have a line whose turn has come
        self._accept_at_s = 0.0  # when accepting goes on; 0: it is on
        self._starved = False  # somebody could not be accepted, and perhaps waits
        self._last_id = 0

    def open(self) -> Counter:
        """Begin to accept."""
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        return self

    def close(self) -> None:
        """Close all connections; what the kernel has taken is still sent."""
        for client in list(self._clients.values()):
            self._end(client)
        self._listener.close()
        self._epoll.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._clients)

    def fileno(self) -> int:
        """Readable when there is something to do."""
        return self._epoll.fileno()

    def wait_s(self, now_s: float, otherwise_s: float) -> float:
        """How long nothing is due."""
        due_s = self._idle.first_s(now_s + otherwise_s)
        if self._accept_at_s:
            due_s = min(due_s, self._accept_at_s)
        return max(0.0, min(otherwise_s, due_s - now_s))

    def serve(self, now_s: float) -> None:
        """Accept, read, write, and tell off whoever is idle for too long."""
        if self._accept_at_s and now_s >= self._accept_at_s:
            self._accept_at_s = 0.0
            self._epoll.modify(self._listener, select.EPOLLIN)
            self._accept(now_s)  # perhaps nobody waits any more: no event would tell
        for descriptor, event in self._epoll.poll(0):
            client = self._by_fd.get(descriptor)
            if client is None:
                self._accept(now_s)
            elif event & _GONE:
                self._end(client)
            else:
                self._idle.start(client.id, now_s)
                if event & select.EPOLLIN:
                    self._read(client)
                if event & select.EPOLLOUT:
                    self._push(client)
        for number in self._idle.take_due(now_s):
            client = self._clients[number]
            if client.waits:
                self._idle.start(number, now_s)
                continue
            self.reply(client, refusal(f"nothing was said for {IDLE_S} s: goodbye"))
            self._end(client)

    def pump(self) -> None:
        """Hand on the lines whose turn has come."""
        while self._ready:
            client = self._ready.popleft()
            while client.lines and not client.waits and client.id in self._clients:
                self._on_line(client, client.lines.popleft())
            self._settle(client)

    def reply(self, client: Client, line: str) -> None:
        """Answer a line at once."""
        client.out += line.encode("utf-8", "backslashreplace") + b"\n"
        self._push(client)

    def answer(self, number: int, line: str) -> None:
        """Answer the request that a client waits for. One that is gone hears nothing."""
        client = self._clients.get(number)
        if client is None:
            return
        client.waits = False
        self.reply(client, line)
        self._ready.append(client)

    def dismiss(self, line: str) -> None:
        """Tell everybody who waits for an answer that there is none."""
        for client in list(self._clients.values()):
            if client.waits:
                self.answer(client.id, line)

    # ---- inside

    def _accept(self, now_s: float) -> None:
        for _ in range(ACCEPTS_MAX):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                if self._starved:
                    log.info("all clients are accepted again")
                self._starved = False
                return
            except ConnectionError:
                return
            except OSError as error:
                if not self._starved:
                    log.warning("no client can be accepted for now: %s", error.strerror)
                self._starved = True
                self._accept_at_s = now_s + ACCEPT_PAUSE_S
                self._epoll.modify(self._listener, 0)
                return
            sock.setblocking(False)
            self._last_id += 1
            client = Client(self._last_id, sock, address[0])
            if len(self._clients) >= CLIENTS_MAX:
                with sock:
                    client.out += refusal(f"busy: {CLIENTS_MAX} clients are connected").encode() + b"\n"
                    _send(client)
                continue
            self._clients[client.id] = client
            self._by_fd[sock.fileno()] = client
            self._epoll.register(sock, client.mask)
            self._idle.start(client.id, now_s)

    def _read(self, client: Client) -> None:
        try:
            data = client.sock.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._end(client)
            return
        client.lines += client.reader.feed(data) if data else client.reader.finish()
        client.ended = not data
        self._ready.append(client)
        if client.ended and client.waits:
            self._on_ended(client.id)

    def _push(self, client: Client) -> None:
        if not _send(client) or len(client.out) > OUT_BYTES_MAX:
            self._end(client)
        else:
            self._settle(client)

    def _settle(self, client: Client) -> None:
        """Read and write as is due now; end what has come to its end."""
        if client.id not in self._clients:
            return
        if client.ended and not client.lines and not client.waits and not client.out:
            self._end(client)
            return
        full = len(client.lines) >= LINES_WAITING_MAX or len(client.out) > OUT_CALM_BYTES
        mask = 0 if client.ended or full else select.EPOLLIN
        mask |= select.EPOLLOUT if client.out else 0
        if mask != client.mask:
            client.mask = mask
            self._epoll.modify(client.sock, mask)

    def _end(self, client: Client) -> None:
        if self._clients.pop(client.id, None) is None:
            return
        self._idle.drop(client.id)
        del self._by_fd[client.sock.fileno()]
        client.sock.close()
        client.lines.clear()
        if client.waits:
            self._on_left(client.id)


def _send(client: Client) -> bool:
    """Send what the kernel takes; False if the client is gone."""
    while client.out:
        try:
            sent = client.sock.send(client.out, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return True
        except OSError:
            return False
        del client.out[:sent]
    return True


def too_long() -> str:
    """The answer to a line without end."""
    return refusal(f"line too long: at most {LINE_BYTES_MAX} bytes")
