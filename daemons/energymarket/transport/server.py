"""The varlink server: one thread, one epoll, any number of listening sockets; answers from any thread.

Trust ends here: what a peer sends costs at most its own connection, and every wait has a deadline.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock, get_ident
from typing import Final

from energymarket.runtime.clock import monotonic_s
from energymarket.transport import listening
from energymarket.transport.call import Call, Peer
from energymarket.transport.connection import Connection, Listener
from energymarket.transport.ends import End
from energymarket.transport.passing import ancillary_bytes, close_all, credentials
from energymarket.transport.server_limits import ServerLimits
from energymarket.transport.traffic import Traffic
from energymarket.wire.varlink import Maker, Service, encode_error

EVENTS_MAX: Final = 256
"""Connections served per turn, before deadlines are looked at again."""

ACCEPTS_MAX: Final = 64
"""Connections accepted per turn and socket, so that a storm of connects does not starve the callers."""

SHED_MAX: Final = 16
"""Connections closed at once when there is no descriptor for them: their callers see it and come back."""

_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Server:
    """Serves varlink on Unix sockets: `open`, `listen` or `adopt`, `run` in a thread, `stop` from any.

    `on_open` and `on_close` are called in the loop's thread, `on_close` for every peer that was opened.
    An exception of a handler is a bug of ours and ends `run` with it.
    """

    def __init__(
        self,
        maker: Maker,
        limits: ServerLimits | None = None,
        *,
        on_open: Callable[[Peer], None] | None = None,
        on_close: Callable[[Peer], None] | None = None,
    ) -> None:
        self.limits = limits or ServerLimits()
        self._maker = maker
        self._on_open = on_open
        self._on_close = on_close
        self._listeners: dict[int, Listener] = {}
        self._made: list[listening.Made] = []
        self._per_uid: Counter[int] = Counter()
        self._last_peer = 0
        self._posted: deque[tuple[Call, bytes, Sequence[int], bool]] = deque()
        self._posted_drained: deque[tuple[Connection, Callable[[], None]]] = deque()
        self._posted_calls: deque[Callable[[], None]] = deque()
        self._awake = False
        self._wake_lock = Lock()
        self._thread = 0
        self._stopping = False
        self._closed = True
        self._accept_at_s = 0.0  # when accepting goes on; 0: it is on

    def open(self) -> Server:
        """Make the loop's descriptors; the answer is the server itself."""
        self._epoll = select.epoll()
        self._traffic = Traffic(self.limits, self._epoll, self._reaped)
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._reserve_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._closed = False
        return self

    @property
    def ends(self) -> Counter[End]:
        """How many connections were closed, by reason."""
        return self._traffic.ends.counts

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._traffic.connections)

    @property
    def accepted(self) -> int:
        """Ever."""
        return self._last_peer

    def listen(
        self,
        path: Path,
        mode: int,
        handler: Callable[[Call], None],
        texts: Iterable[str],
        limits: ServerLimits | None = None,
    ) -> None:
        """Serve these interface texts at a path, with file permissions `mode`; the path's name names it.

        Raises listening.InUse if another process answers there.
        """
        made, record = listening.listen(path, mode, self.limits.backlog)
        self._made.append(record)
        self.adopt(made, path.name, handler, texts, limits)

    def adopt(
        self,
        sock: socket.socket,
        name: str,
        handler: Callable[[Call], None],
        texts: Iterable[str],
        limits: ServerLimits | None = None,
    ) -> None:
        """Serve a listening socket that somebody else made (`listening.inherited`) and whose file stays."""
        limits = limits or self.limits
        service = Service(self._maker, texts)
        sock.setblocking(False)
        self._listeners[sock.fileno()] = Listener(
            name=name,
            sock=sock,
            service=service,
            methods=service.methods,
            handler=handler,
            limits=limits,
            ancillary_bytes=ancillary_bytes(limits.descriptors_max),
            quota_error=service.error_named("QuotaExceeded"),
        )
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Serve until `stop`; then send the last answers and close everything."""
        self._thread = get_ident()
        traffic = self._traffic
        traffic.now_s = monotonic_s()
        try:
            while not self._stopping:
                self._turn(traffic.wait_s())
            self._close_listeners()
            self._take_posted()  # what was answered after the last turn looked, and before the stop
            until_s = monotonic_s() + self.limits.flush_s_max
            while traffic.unsent() and traffic.now_s < until_s:
                self._turn(min(traffic.wait_s(), until_s - traffic.now_s))
        finally:
            self.close()

    def fileno(self) -> int:
        """For an owner with a loop of its own: readable when a `turn` has something to do."""
        return self._epoll.fileno()

    def wait_s(self) -> float:
        """For how long such an owner may wait before the next turn."""
        return self._traffic.wait_s()

    def turn(self) -> None:
        """Do what has come, without waiting: instead of `run`, in the owner's only thread."""
        self._thread = get_ident()
        self._turn(0.0)

    def stop(self) -> None:
        """Ask the loop to end. Any thread, any number of times; answers given before are still sent."""
        self._stopping = True
        self._wake()

    def close(self) -> None:
        """Close all sockets and remove the socket files made here. Only when `run` does not run."""
        if self._closed:
            return
        self._close_listeners()
        for connection in list(self._traffic.connections.values()):
            self._traffic.end(connection, End.STOPPED)
        self._traffic.turn_over()
        with self._wake_lock:
            self._closed = True
            os.close(self._wake_fd)
        self._drop_posted()
        self._epoll.close()
        if self._reserve_fd >= 0:
            os.close(self._reserve_fd)

    # ---- the loop

    def _turn(self, wait_s: float) -> None:
        traffic = self._traffic
        if self._accept_at_s:
            wait_s = min(wait_s, max(0.0, self._accept_at_s - traffic.now_s))
        events = self._epoll.poll(wait_s, EVENTS_MAX)
        traffic.now_s = monotonic_s()
        find = traffic.connections.get
        for fd, event in events:
            connection = find(fd)
            if connection is not None:
                if event == select.EPOLLIN and not connection.closed:
                    traffic.read(connection, hung_up=False)
                else:
                    traffic.handle(connection, event)
            elif fd == self._wake_fd:
                self._take_posted()
            elif fd in self._listeners:
                self._accept_some(self._listeners[fd])
        if self._accept_at_s and traffic.now_s >= self._accept_at_s:
            self._accept_at_s = 0.0
            self._listen_for(select.EPOLLIN)
        traffic.turn_over()

    # ---- for calls, from any thread

    def deliver(self, call: Call, frame: bytes, descriptors: Sequence[int], *, final: bool) -> None:
        """Send an answer in its turn."""
        if get_ident() == self._thread:
            self._traffic.deliver(call, frame, descriptors, final=final)
            return
        self._posted.append((call, frame, descriptors, final))
        self._wake()

    def when_drained(self, connection: Connection, callback: Callable[[], None]) -> None:
        """Call back in the loop's thread when the connection's peer has read everything."""
        self._posted_drained.append((connection, callback))
        self._wake()

    def call_in_loop(self, callback: Callable[[], None]) -> None:
        """Call this in the loop's thread, soon; any thread may ask."""
        self._posted_calls.append(callback)
        self._wake()

    def _wake(self) -> None:
        """After something was posted. Whoever finds the flag up knows that the loop will look again."""
        if self._awake and not self._closed:
            return
        with self._wake_lock:  # a closed descriptor's number may be somebody else's a moment later
            if not self._closed:
                self._awake = True
                os.eventfd_write(self._wake_fd, 1)
                return
        self._drop_posted()

    def _take_posted(self) -> None:
        with suppress(BlockingIOError):  # nobody has rung: at the stop it looks all the same
            os.eventfd_read(self._wake_fd)
        self._awake = False  # before looking, so that nothing is posted unseen
        for _ in range(len(self._posted)):
            call, frame, descriptors, final = self._posted.popleft()
            self._traffic.deliver(call, frame, descriptors, final=final)
        for _ in range(len(self._posted_drained)):
            self._traffic.call_drained(*self._posted_drained.popleft())
        for _ in range(len(self._posted_calls)):
            self._posted_calls.popleft()()

    def _drop_posted(self) -> None:
        while self._posted:
            try:
                call, _, descriptors, final = self._posted.popleft()
            except IndexError:  # another thread was faster
                return
            close_all(descriptors)
            if final:
                call.close_descriptors()

    # ---- connections come and go

    def _accept_some(self, listener: Listener) -> None:
        for _ in range(ACCEPTS_MAX):
            try:
                sock, _ = listener.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _NO_DESCRIPTOR:
                    continue  # that peer is gone already
                self._shed(listener)
                return
            self._welcome(sock, listener)

    def _welcome(self, sock: socket.socket, listener: Listener) -> None:
        pid, uid, gid = credentials(sock)
        limits = self.limits
        if self.connections >= limits.connections_max or self._per_uid[uid] >= limits.connections_per_uid_max:
            self._traffic.ends.count(End.TOO_MANY_CONNECTIONS, None, self._traffic.now_s)
            self._turn_away(sock, listener)
            return
        self._last_peer += 1
        self._per_uid[uid] += 1
        peer = Peer(id=self._last_peer, pid=pid, uid=uid, gid=gid, socket=listener.name)
        sock.setblocking(False)
        self._traffic.add(Connection(sock, listener, peer, self))
        if self._on_open:
            self._on_open(peer)

    def _turn_away(self, sock: socket.socket, listener: Listener) -> None:
        """Say why, then close: the error lies ready as the answer to whatever the peer asks first."""
        with sock:
            if listener.quota_error:
                said = {"what": "connections", "limit": self.limits.connections_max}
                with suppress(OSError):  # it left already
                    sock.send(encode_error(listener.quota_error, said), socket.MSG_DONTWAIT)

    def _shed(self, listener: Listener) -> None:
        """No descriptor left: use the reserve to close some waiting connections, then pause accepting.

        Without the pause the loop would spin, as the backlog keeps the socket readable.
        """
        self._traffic.ends.count(End.NO_DESCRIPTOR_LEFT, None, self._traffic.now_s)
        for _ in range(SHED_MAX):
            if self._reserve_fd >= 0:
                os.close(self._reserve_fd)
                self._reserve_fd = -1
            try:
                sock, _ = listener.sock.accept()
            except OSError:
                break
            sock.close()
        with suppress(OSError):  # another thread took it: the next shedding does without
            self._reserve_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._accept_at_s = self._traffic.now_s + self.limits.accept_pause_s
        self._listen_for(0)

    def _listen_for(self, mask: int) -> None:
        for fd in self._listeners:
            self._epoll.modify(fd, mask)

    def _reaped(self, connection: Connection) -> None:
        uid = connection.peer.uid
        self._per_uid[uid] -= 1
        if not self._per_uid[uid]:
            del self._per_uid[uid]
        if self._on_close:
            self._on_close(connection.peer)

    def _close_listeners(self) -> None:
        """The files first: nobody connects to a socket that will not answer."""
        for made in self._made:
            made.remove()
        self._made.clear()
        for listener in self._listeners.values():
            listener.sock.close()
        self._listeners.clear()
        self._accept_at_s = 0.0
