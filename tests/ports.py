"""Ports that a test may listen at: no other test gets them, and no connection takes them in between.

A port that the kernel chooses (bind to 0) lies in the range of the ends that connecting sockets get: between
its choice and the daemon that listens there a connection can take it, and keep it for minutes.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import Final

_FIRST, _LAST = 20_000, 31_999
"""Below the range of connecting ends (32,768 on Linux), above that of Ray's workers (10,002 to 19,999)."""
_NEXT: Final = Path(tempfile.gettempdir()) / f"energy-market-tests-{os.getuid()}" / "port"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """So many ports, in turn over all processes of this user's tests."""
    _NEXT.parent.mkdir(mode=0o700, exist_ok=True)
    with _NEXT.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        port = int(file.read() or _FIRST)
        found: list[int] = []
        while len(found) < count:
            port = port + 1 if port < _LAST else _FIRST
            if _is_free(port):
                found.append(port)
        file.truncate(0)
        file.write(str(port))
    return found


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
