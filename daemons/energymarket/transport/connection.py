"""One accepted connection: its calls in order, its bytes in and out, and why it ended."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from energymarket.transport.call import Call, Peer
from energymarket.transport.ends import End
from energymarket.transport.passing import close_all, send_with
from energymarket.transport.server_limits import ServerLimits
from energymarket.wire.varlink import Method, Service


class NotReading(Exception):
    """More answers wait for the peer than it is allowed to leave unread."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and what belongs to it."""

    name: str
    sock: socket.socket
    service: Service
    methods: Mapping[str, Method]  # those of the service, for the hot path
    handler: Callable[[Call], None]
    limits: ServerLimits
    ancillary_bytes: int  # room for the descriptors of one message
    quota_error: str | None  # full name of the interface's error QuotaExceeded, if it has one


class Loop(Protocol):
    """What a connection needs of its server; both from any thread."""

    def deliver(self, call: Call, frame: bytes, descriptors: Sequence[int], *, final: bool) -> None:
        """Send an answer in its turn."""

    def when_drained(self, connection: Connection, callback: Callable[[], None]) -> None:
        """Call back in the loop's thread when everything was read."""


@dataclass(slots=True)
class Outgoing:
    """Bytes that the kernel did not take yet, with descriptors that go with the first of them."""

    rest: bytearray
    descriptors: Sequence[int]


class Connection:
    """The state of one connection. Other threads read `closed` and `out_bytes`, the loop has the rest."""

    __slots__ = (
        "calls",
        "closed",
        "complete",
        "drained",
        "end",
        "ended",
        "fd",
        "head_descriptors",
        "held_bytes",
        "limits",
        "listener",
        "loop",
        "malformed",
        "mask",
        "oneway_calls",
        "out",
        "out_bytes",
        "paused",
        "peer",
        "rest",
        "sock",
        "tail_descriptors",
        "tokens",
        "tokens_at_s",
    )

    def __init__(self, sock: socket.socket, listener: Listener, peer: Peer, loop: Loop) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.listener = listener
        self.limits = listener.limits
        self.peer = peer
        self.loop = loop
        self.calls: list[Call] = []  # that want an answer, oldest first
        self.oneway_calls = 0  # started and not ended
        self.rest = bytearray()  # received and not started: complete frames, then perhaps a part of one
        self.complete = 0  # frames in it; more is only received when there are none
        self.head_descriptors: list[int] = []  # of the first frame in it
        self.tail_descriptors: list[int] = []  # of the frame that its last byte belongs to
        self.out: deque[Outgoing] = deque()
        self.out_bytes = 0
        self.held_bytes = 0  # answers before their turn
        self.drained: list[Callable[[], None]] = []
        self.mask = 0
        self.malformed = 0
        self.tokens = float(listener.limits.calls_per_s_max)
        self.tokens_at_s = 0.0
        self.paused = False  # over its quota
        self.ended = False  # nothing more will be read
        self.end = End.PEER_LEFT  # the reason, once it is closed
        self.closed = False

    def may_start(self) -> bool:
        """Whether the next call may be started now, rather than wait in its turn."""
        limits = self.limits
        return (
            len(self.calls) + self.oneway_calls < limits.pending_max
            and self.out_bytes <= limits.out_calm_bytes
            and not self.paused
            and not self.closed
            and not (self.calls and self.calls[-1].more)
        )

    def refill(self, now_s: float) -> bool:
        """Fill the quota's bucket, which holds one second's worth; whether it covers this call."""
        rate = self.limits.calls_per_s_max
        self.tokens = min(float(rate), self.tokens + (now_s - self.tokens_at_s) * rate)
        self.tokens_at_s = now_s
        return self.tokens >= 0.0

    def add(self, data: bytes, descriptors: list[int]) -> None:
        """Keep received bytes.

        Descriptors belong to the frame of the last byte they came with: the kernel never hands over
        bytes behind those that descriptors were sent with.
        """
        self.rest += data
        self.complete += data.count(0)
        self.tail_descriptors += descriptors
        if not self.complete:
            self._tail_is_head()

    def next_frame(self) -> tuple[bytes, list[int]]:
        """Take the first complete frame, without its NUL, and its descriptors."""
        end = self.rest.index(0)
        frame = bytes(self.rest[:end])
        del self.rest[: end + 1]
        self.complete -= 1
        if not self.rest:
            self._tail_is_head()
        descriptors, self.head_descriptors = self.head_descriptors, []
        if self.rest and not self.complete:
            self._tail_is_head()
        return frame, descriptors

    def _tail_is_head(self) -> None:
        if self.tail_descriptors:
            self.head_descriptors += self.tail_descriptors
            self.tail_descriptors = []

    def forget_input(self) -> None:
        """Drop what was received and not started."""
        close_all(self.head_descriptors)
        close_all(self.tail_descriptors)
        self.head_descriptors, self.tail_descriptors = [], []
        self.rest.clear()
        self.complete = 0

    def send(self, frame: bytes, descriptors: Sequence[int]) -> None:
        """Send an answer, or keep what the kernel does not take. Raises OSError, NotReading."""
        if self.out:
            if self.out_bytes > self.limits.out_bytes_max:
                close_all(descriptors)
                raise NotReading
            sent = 0
        else:
            try:
                sent = send_with(self.sock, frame, descriptors) if descriptors else self.sock.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                close_all(descriptors)
                raise
        if sent:
            close_all(descriptors)
            descriptors = ()
        if sent == len(frame):
            return
        self.out_bytes += len(frame) - sent
        if self.out and not descriptors and not self.out[-1].descriptors:
            self.out[-1].rest += frame  # many small answers cost their bytes, not an object each
        else:
            self.out.append(Outgoing(bytearray(memoryview(frame)[sent:]), descriptors))

    def push(self) -> bool:
        """Hand waiting answers to the kernel until it takes no more; whether it took any. Raises OSError."""
        moved = False
        while self.out:
            first = self.out[0]
            try:
                sent = (
                    send_with(self.sock, first.rest, first.descriptors)
                    if first.descriptors
                    else (self.sock.send(first.rest))
                )
            except BlockingIOError:
                return moved
            moved = True
            close_all(first.descriptors)
            first.descriptors = ()
            del first.rest[:sent]
            self.out_bytes -= sent
            if not first.rest:
                self.out.popleft()
        return moved

    def close(self) -> None:
        """Close the socket and every descriptor that came or waits to leave."""
        self.sock.close()
        self.forget_input()
        for outgoing in self.out:
            close_all(outgoing.descriptors)
        for call in self.calls:
            call.close_descriptors()
            for _, descriptors, _ in call.held or ():
                close_all(descriptors)
        self.out.clear()
        self.calls.clear()
        self.drained.clear()
