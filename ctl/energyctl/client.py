"""The varlink client of the control program: the standard library only, so that a verb starts at once."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

CHUNK_BYTES: Final = 64 * 1024

_TIMEVAL: Final = struct.Struct("@ll")
_MICROSECONDS_PER_S: Final = 1_000_000


class Why(Enum):
    """What kept us from the market; each asks for another advice."""

    MISSING = "no socket there"  # not started, or another run directory
    DEAD = "nobody listens"  # a socket file that a crash left
    SILENT = "no answer"  # stopped, frozen or overloaded
    LOST = "connection closed"  # went away while we waited
    NONSENSE = "not varlink"  # somebody else answers there


class Unreachable(Exception):
    """The daemon cannot be asked (exit code 69)."""

    def __init__(self, path: str, why: Why, detail: str = "") -> None:
        super().__init__(f"{path}: {why.value}" + (f" ({detail})" if detail else ""))
        self.path = path
        self.why = why


class Refused(Exception):
    """The socket's permissions keep this user out (exit code 77)."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: permission denied")
        self.path = path


class VarlinkError(Exception):
    """The daemon answered with a named error."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        super().__init__(name, parameters)
        self.name = name
        self.parameters = parameters


FAILURES: Final = (VarlinkError, Refused, Unreachable)


class Connection:
    """A connection to one socket of the market. `timeout_s` bounds connecting and each wait for bytes."""

    def __init__(self, path: Path | str, timeout_s: float = 5.0) -> None:
        self.path = str(path)
        self.timeout_s = timeout_s
        self._sock: socket.socket | None = None
        self._rest = bytearray()
        self._frames: list[bytes] = []

    def open(self) -> Self:
        """Connect; the answer is the connection itself. Raises Unreachable, Refused."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Blocking with a bound: a non-blocking connect fails at once when the backlog is full.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self.timeout_s))
            sock.connect(self.path)
        except OSError as error:
            sock.close()
            raise _unreachable(self.path, error) from error
        self._sock = sock
        return self

    def close(self) -> None:
        """Close the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._rest.clear()
        self._frames.clear()

    def __enter__(self) -> Self:
        return self if self._sock is not None else self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(
        self, method: str, parameters: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Ask and wait for the answer. Raises VarlinkError, Unreachable."""
        self.send(method, parameters)
        answer, _ = self.receive(self.timeout_s if timeout_s is None else timeout_s)
        return answer

    def watch(
        self, method: str, parameters: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Ask for more and yield each answer; without a time-out between them, unless one is given."""
        self.send(method, parameters, more=True)
        continues = True
        while continues:
            answer, continues = self.receive(timeout_s)
            yield answer

    @property
    def has_more(self) -> bool:
        """Whether an answer is here already, which no descriptor tells of."""
        return bool(self._frames)

    def fileno(self) -> int:
        """The descriptor, to wait for the answer among others."""
        return self._live().fileno()

    def send(self, method: str, parameters: Mapping[str, Any] | None = None, *, more: bool = False) -> None:
        """Ask; `receive` takes the answer. Raises Unreachable."""
        sock = self._live()
        call = {"method": method, "parameters": dict(parameters or {}), **({"more": True} if more else {})}
        try:
            sock.sendall(json.dumps(call, allow_nan=False).encode() + b"\0")
        except BrokenPipeError:
            return  # the daemon may have said why before it closed: receiving will tell
        except OSError as error:
            self.close()
            raise _unreachable(self.path, error) from error

    def receive(self, timeout_s: float | None) -> tuple[dict[str, Any], bool]:
        """The next answer, and whether more will follow. Raises VarlinkError, Unreachable."""
        sock = self._live()
        sock.settimeout(timeout_s)
        while not self._frames:
            self._read(sock)
        frame = self._frames.pop(0)
        try:
            answer = json.loads(frame)
        except (ValueError, RecursionError) as error:
            self.close()
            raise Unreachable(self.path, Why.NONSENSE, str(error)) from error
        parameters = answer.get("parameters") or {} if isinstance(answer, dict) else None
        if not isinstance(parameters, dict):
            self.close()
            raise Unreachable(self.path, Why.NONSENSE)
        if answer.get("error"):
            raise VarlinkError(str(answer["error"]), parameters)
        return parameters, bool(answer.get("continues"))

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(CHUNK_BYTES)
        except OSError as error:
            self.close()
            raise _unreachable(self.path, error) from error
        if not data:
            self.close()
            raise Unreachable(self.path, Why.LOST)
        self._rest += data
        if 0 in data:
            *self._frames, rest = bytes(self._rest).split(b"\0")
            self._rest = bytearray(rest)

    def _live(self) -> socket.socket:
        if self._sock is None:
            raise Unreachable(self.path, Why.LOST)
        return self._sock


def _unreachable(path: str, error: OSError) -> Unreachable | Refused:
    """The exception for what the kernel said."""
    match error:
        case PermissionError():
            return Refused(path)
        case FileNotFoundError() | NotADirectoryError():
            return Unreachable(path, Why.MISSING)
        case ConnectionRefusedError():
            return Unreachable(path, Why.DEAD)
        case BlockingIOError() | TimeoutError():
            return Unreachable(path, Why.SILENT)
        case ConnectionError():
            return Unreachable(path, Why.LOST)
        case _:
            return Unreachable(path, Why.LOST, error.strerror or str(error))


def _timeval(span_s: float) -> bytes:
    microseconds = max(1, round(span_s * _MICROSECONDS_PER_S))
    return _TIMEVAL.pack(microseconds // _MICROSECONDS_PER_S, microseconds % _MICROSECONDS_PER_S)
