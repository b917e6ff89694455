"""One call on the control socket that never blocks: the supervisor's ear (`Watch`) and its voice (`Stop`)."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import Any, Final

_FRAME_BYTES_MAX: Final = 4 * 1024 * 1024  # a snapshot has a few kB
_READS_MAX: Final = 64  # a market that talks without pause must not keep us from the rest


class Feed:
    """A varlink call whose replies are taken as they come. It is over when its socket is closed."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""

    @property
    def fd(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def replies(self) -> list[dict[str, Any]] | None:
        """Replies that have come; None when the connection is over or talks nonsense."""
        for _ in range(_READS_MAX):
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                return None
            if not data:
                return self._frames() or None
            self._buffer += data
            if len(self._buffer) > _FRAME_BYTES_MAX:
                return None
        return self._frames()

    def _frames(self) -> list[dict[str, Any]] | None:
        *frames, self._buffer = self._buffer.split(b"\0")
        try:
            replies = [json.loads(frame) for frame in frames]
        except ValueError:
            return None
        return [reply for reply in replies if isinstance(reply, dict)]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def call(path: Path, method: str, *, more: bool) -> Feed | None:
    """Call a method without parameters; None when nobody listens or the backlog is full."""
    connection = socket.socket(
        socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    )
    request = {"method": method, "parameters": {}, **({"more": True} if more else {})}
    with contextlib.ExitStack() as stack:
        stack.callback(connection.close)
        try:
            connection.connect(str(path))
            connection.send(json.dumps(request).encode() + b"\0")
        except OSError:
            return None
        stack.pop_all()
    return Feed(connection)
