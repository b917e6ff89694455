"""A market of few words: a real varlink socket that answers what a test has laid down."""

from __future__ import annotations

import json
import select
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

GOES = "the connection is closed here"


class Talker:
    """Each connection gets one script: replies in order, pauses (numbers), or GOES; then it stays open.

    The socket is there when the block begins, or `before_s` later.
    """

    def __init__(self, run: Path, *scripts: list[Any], before_s: float = 0.0) -> None:
        self.asked: list[dict[str, Any]] = []
        self.connections = 0
        self._path = run / "control"
        self._scripts = scripts
        self._before_s = before_s
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._over_r, self._over_w = socket.socketpair()
        self._thread = threading.Thread(target=self._talk)

    def __enter__(self) -> Self:
        self._path.parent.mkdir(exist_ok=True)
        if not self._before_s:
            self._listen()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over_w.close()
        self._thread.join(10)
        for each in (*self._open, self._over_r, self._listener):
            each.close()

    def _is_over(self, seconds: float | None) -> bool:
        return bool(select.select([self._over_r], [], [], seconds)[0])

    def _listen(self) -> None:
        self._listener.bind(str(self._path))
        self._listener.listen(8)

    def _talk(self) -> None:
        if self._before_s:
            if self._is_over(self._before_s):
                return
            self._listen()
        for script in self._scripts:
            ready, _, _ = select.select([self._listener, self._over_r], [], [])
            if self._over_r in ready:
                return
            connection, _ = self._listener.accept()
            self.connections += 1
            self._open.append(connection)
            self._play(connection, script)
        self._is_over(None)

    def _play(self, connection: socket.socket, script: list[Any]) -> None:
        ready, _, _ = select.select([connection, self._over_r], [], [])
        if connection not in ready:
            return
        self.asked += [json.loads(frame) for frame in connection.recv(65536).split(b"\0") if frame]
        for each in script:
            if each is GOES:
                connection.close()
            elif isinstance(each, float):
                if self._is_over(each):
                    return
            else:
                connection.sendall(json.dumps(each).encode() + b"\0")


def snapshot(**members: Any) -> dict[str, Any]:
    """One reply of `Watch`."""
    return {"parameters": {"snapshot": members}, "continues": True}
