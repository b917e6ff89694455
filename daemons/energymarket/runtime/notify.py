"""What a daemon tells its supervisor: ready, status, watchdog, stopping (the protocol of sd_notify(3))."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Final

import sdnotify

from energymarket.runtime import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# A status is one line of a table; a datagram may be larger, but nobody reads more.
STATUS_BYTES_MAX: Final = 512

BEAT_EVERY_S: Final = 0.4
"""Often enough for the shortest watchdog that the units set (2 s), with room for a busy machine."""


PROGRESS_EVERY_S: Final = 0.5
"""A slot in lockstep takes milliseconds; nobody reads a line faster than this."""


class Notifier:
    """Tells the supervisor named by $NOTIFY_SOCKET; does nothing where there is none.

    Make it after the last fork or DaemonContext: both would take its socket away. sdnotify opens the socket,
    but the text is encoded here: it encodes latin-1 and loses every message with a euro sign.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = (
            sdnotify.SystemdNotifier().socket if os.environ.get("NOTIFY_SOCKET") else None
        )
        self._watched = self._socket is not None and watchdog_interval_s() is not None
        self._beat_s = self._progress_s = 0.0

    def ready(self, status: str = "") -> None:
        """Able to serve, really."""
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status` and for `energyctl up`."""
        self._send(*_status(text))

    def progress(self, text: Callable[[], str]) -> None:
        """A status that the next one makes stale: made and told as often as anybody reads, and no more."""
        if self._socket is not None and (now_s := clock.monotonic_s()) >= self._progress_s + PROGRESS_EVERY_S:
            self._progress_s = now_s
            self.status(text())

    def reloading(self) -> None:
        """Reading the configuration again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(clock.monotonic_s() * 1e6)}")

    def stopping(self, status: str = "") -> None:
        """On the way out, on purpose."""
        self._send("STOPPING=1", *_status(status))

    def watchdog(self) -> None:
        """Progress was made. Call it from where the work is done, never from a timer of its own."""
        self._send("WATCHDOG=1")

    def beat(self) -> None:
        """Progress was made, told as often as is wanted and no more: cheap to call wherever work goes on."""
        if self._watched and (now_s := clock.monotonic_s()) >= self._beat_s + BEAT_EVERY_S:
            self._beat_s = now_s
            self.watchdog()

    def failed(self, error_number: int, status: str = "") -> None:
        """What is wrong, as an errno."""
        self._send(f"ERRNO={error_number}", *_status(status))

    def close(self) -> None:
        """Close the socket; what is told after it goes nowhere."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None or not lines:
            return
        try:
            self._socket.send("\n".join(lines).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            # The supervisor is gone or does not read. A market does not stop for that: who supervises
            # notices the silence by its own deadlines.
            return


def _status(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    line = " ".join(text.split()).encode()[:STATUS_BYTES_MAX].decode(errors="ignore")
    return (f"STATUS={line}",)


def watchdog_interval_s() -> float | None:
    """How often the supervisor wants to see progress, halved for safety; None where it does not watch us."""
    interval_us = os.environ.get("WATCHDOG_USEC", "")
    if not interval_us.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(interval_us) / 2e6


_CREDENTIALS: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid
CREDENTIALS_BYTES: Final = _CREDENTIALS.size
"""What a supervisor's socket needs room for beside each datagram."""


def sender_of(ancillary: Iterable[tuple[int, int, bytes]]) -> int:
    """The process that sent a datagram, as the kernel says; 0 if it does not."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return int(_CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0])
    return 0
