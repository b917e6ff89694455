"""The varlink client of homes and programs: blocking calls with a deadline, streams that can be polled.

One thread at a time. A connection that failed, or whose answer came too late, is closed: what was
asked is unknown then, so the caller connects again and asks again under the same id.
"""

from __future__ import annotations

import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, NoReturn, Self

from energymarket.runtime.clock import monotonic_s
from energymarket.transport.passing import (
    RECEIVE_FLAGS,
    TRUNCATED,
    ancillary_bytes,
    close_all,
    received_descriptors,
    send_with,
)
from energymarket.wire.varlink import AnswerFrame, Malformed, Parameters, decode_answer, encode_call

CHUNK_BYTES: Final = 64 * 1024

ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of one answer; the server is trusted, but a broken one must not eat the machine."""

DESCRIPTORS_MAX: Final = 8
"""That may come with one answer."""

IDLE_S: Final = 0.25
"""How often a connection that waits says so to whoever wants to know."""

CONNECT_WAIT_S: Final = 0.1
"""Between two tries to connect: a restarting market is there again within about half a second."""

_TIMEVAL: Final = struct.Struct("@ll")
_MICROSECONDS_PER_S: Final = 1_000_000


class VarlinkError(Exception):
    """The service answered with a named error."""

    def __init__(self, name: str, parameters: Parameters) -> None:
        super().__init__(name, parameters)
        self.name = name
        self.parameters = parameters


class Disconnected(Exception):
    """Nobody there, or the connection broke: connect again and ask again."""


class TimedOut(Disconnected):
    """No answer in time; the connection was closed."""


class Answer(NamedTuple):
    """The members of an answer; the descriptors that came with it belong to whoever receives it."""

    parameters: Parameters
    descriptors: tuple[int, ...]


class Connection:
    """A connection to a varlink service. `timeout_s` bounds connecting and each call.

    `on_idle` is called now and then while an answer is awaited: waiting is no standstill.
    """

    def __init__(
        self, path: Path | str, timeout_s: float = 10.0, on_idle: Callable[[], None] | None = None
    ) -> None:
        self.path = str(path)
        self.timeout_s = timeout_s
        self._on_idle = on_idle
        self._sock: socket.socket | None = None
        self._rest = bytearray()
        self._descriptors: list[int] = []  # that came with the last bytes
        self._frames: deque[tuple[bytes, list[int]]] = deque()

    def open(self) -> Connection:
        """Connect; the answer is the connection itself. Raises Disconnected."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # A non-blocking connect fails at once when the backlog is full; this one waits for its place.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self.timeout_s))
            sock.connect(self.path)
            sock.setblocking(False)
        except BlockingIOError as error:
            sock.close()
            message = f"{self.path}: did not accept within {self.timeout_s:g} s"
            raise TimedOut(message) from error
        except OSError as error:
            sock.close()
            message = f"{self.path}: {error.strerror}"
            raise Disconnected(message) from error
        self._sock = sock
        return self

    def close(self) -> None:
        """Close the connection; descriptors nobody received are closed with it."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        close_all(self._descriptors)
        for _, descriptors in self._frames:
            close_all(descriptors)
        self._rest.clear()
        self._descriptors = []
        self._frames.clear()

    def __enter__(self) -> Self:
        if self._sock is None:
            self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """For poll; readable means that `receive(0)` may have something, and so does `waiting`."""
        return self._live().fileno()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as we know."""
        return self._sock is not None

    @property
    def waiting(self) -> bool:
        """Whether an answer was read already, so that poll would not tell."""
        return bool(self._frames)

    def call(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        descriptors: Sequence[int] = (),
        timeout_s: float | None = None,
    ) -> Answer:
        """Ask and wait for the answer. Raises VarlinkError, Disconnected, TimedOut.

        The descriptors sent stay the caller's.
        """
        bound_s = self.timeout_s if timeout_s is None else timeout_s
        until_s = monotonic_s() + bound_s
        self._send(encode_call(method, parameters), descriptors, until_s)
        answer = self._receive(until_s)
        if answer is None:
            self.close()
            message = f"{self.path}: no answer to {method} within {bound_s:g} s"
            raise TimedOut(message)
        return answer

    def start(self, method: str, parameters: Mapping[str, Any] | None = None, *, more: bool = True) -> None:
        """Ask without waiting: `receive` has the answers. The connection serves nothing else meanwhile."""
        self._send(encode_call(method, parameters, more=more), (), monotonic_s() + self.timeout_s)

    def receive(self, timeout_s: float) -> Answer | None:
        """Wait for the next answer to `start`; None if none came in time (0: what is there already)."""
        return self._receive(monotonic_s() + timeout_s)

    def watch(
        self, method: str, parameters: Mapping[str, Any] | None = None, timeout_s: float = 3600.0
    ) -> Iterator[Parameters]:
        """Ask for more and yield each answer; raises TimedOut if the next one takes longer than that."""
        self.start(method, parameters)
        while True:
            answer = self.receive(timeout_s)
            if answer is None:
                self.close()
                message = f"{self.path}: {method} was silent for {timeout_s:g} s"
                raise TimedOut(message)
            close_all(answer.descriptors)
            yield answer.parameters
            if not self.continues:
                return

    continues: bool = False
    """Whether the last answer said that more follow."""

    def _live(self) -> socket.socket:
        if self._sock is None:
            message = f"{self.path}: not connected"
            raise Disconnected(message)
        return self._sock

    def _send(self, frame: bytes, descriptors: Sequence[int], until_s: float) -> None:
        sock = self._live()
        rest = memoryview(frame)
        while rest:
            try:
                sent = send_with(sock, rest, descriptors) if descriptors else sock.send(rest)
            except BlockingIOError:
                if not _ready(sock, select.POLLOUT, until_s):
                    self.close()
                    message = f"{self.path}: took no call in time"
                    raise TimedOut(message) from None
            except BrokenPipeError:
                return  # the server may have said why before it closed: receiving will tell
            except OSError as error:
                self._broken(error)
            else:
                rest, descriptors = rest[sent:], ()

    def _receive(self, until_s: float) -> Answer | None:
        sock = self._live()
        while not self._frames:
            try:
                self._read(sock)
            except BlockingIOError:
                if not self._awaited(sock, until_s):
                    return None
        frame, descriptors = self._frames.popleft()
        try:
            answer = decode_answer(frame)
        except Malformed as error:
            close_all(descriptors)
            self._broken(error)
        return self._open_answer(answer, descriptors)

    def _awaited(self, sock: socket.socket, until_s: float) -> bool:
        """Wait for bytes; False if none came in time."""
        if self._on_idle is None:
            return _ready(sock, select.POLLIN, until_s)
        while not _ready(sock, select.POLLIN, min(until_s, monotonic_s() + IDLE_S)):
            self._on_idle()
            if monotonic_s() >= until_s:
                return False
        return True

    def _open_answer(self, answer: AnswerFrame, descriptors: list[int]) -> Answer:
        self.continues = answer.continues
        if answer.error is not None:
            close_all(descriptors)
            raise VarlinkError(answer.error, answer.parameters or {})
        return Answer(answer.parameters or {}, tuple(descriptors))

    def _read(self, sock: socket.socket) -> None:
        try:
            data, ancillary, flags, _ = sock.recvmsg(
                CHUNK_BYTES, ancillary_bytes(DESCRIPTORS_MAX), RECEIVE_FLAGS
            )
        except BlockingIOError:
            raise
        except OSError as error:
            self._broken(error)
        self._descriptors += received_descriptors(ancillary)
        self._rest += data
        if not data or flags & TRUNCATED or len(self._rest) > ANSWER_BYTES_MAX:
            self._broken(None)
        if 0 not in data:
            return
        *complete, rest = bytes(self._rest).split(b"\0")
        self._rest = bytearray(rest)
        self._frames.extend((frame, []) for frame in complete)
        if not rest:
            self._frames[-1] = (complete[-1], self._descriptors)
            self._descriptors = []

    def _broken(self, error: Exception | None) -> NoReturn:
        self.close()
        message = f"{self.path}: {error or 'the service closed the connection'}"
        raise Disconnected(message) from error


def connect_when_there(
    path: Path | str, deadline_s: float, stop: Callable[[float], bool], timeout_s: float = 10.0
) -> Connection | None:
    """Try to connect until it works; None if asked to stop, Disconnected after the deadline (monotonic_s).

    `stop` waits that many seconds at most and says whether to give up: `threading.Event().wait` is one.
    """
    while True:
        try:
            return Connection(path, timeout_s).open()
        except Disconnected:
            left_s = deadline_s - monotonic_s()
            if left_s <= 0:
                raise
        if stop(min(CONNECT_WAIT_S, left_s)):
            return None


def _ready(sock: socket.socket, event: int, until_s: float) -> bool:
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(max(0.0, until_s - monotonic_s()) * 1000))


def _timeval(span_s: float) -> bytes:
    microseconds = max(1, round(span_s * _MICROSECONDS_PER_S))
    return _TIMEVAL.pack(microseconds // _MICROSECONDS_PER_S, microseconds % _MICROSECONDS_PER_S)
