"""Descriptors and credentials that pass over a Unix socket beside the bytes."""

from __future__ import annotations

import os
import socket
import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

RECEIVE_FLAGS: Final = int(socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT)
TRUNCATED: Final = int(socket.MSG_CTRUNC)
"""Plain integers: the operators of the enum cost as much as a small system call."""

_UCRED: Final = struct.Struct("=iII")
_INT_BYTES: Final = array("i").itemsize
_GID_BYTES: Final = array("I").itemsize
_SO_PEERGROUPS: Final = 59  # Python has no name for it
GROUPS_MAX: Final = 256
"""What Python has room for in one answer; a person is in a few dozen."""


def send_with(sock: socket.socket, data: memoryview | bytes | bytearray, descriptors: Sequence[int]) -> int:
    """Send bytes, the descriptors with the first of them; how many bytes the kernel took."""
    return sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))])


def credentials(sock: socket.socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of the peer when it connected."""
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid, gid


def in_group(sock: socket.socket, gid: int) -> bool:
    """Whether the peer was a member of a group when it connected, be it by its own or a further one."""
    room = GROUPS_MAX * _GID_BYTES
    try:
        found = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, room)
    except OSError:
        found = b""  # more groups than there is room for, or a kernel before 4.13: only its own group counts
    return gid == credentials(sock)[2] or gid in array("I", found)


def ancillary_bytes(descriptors_max: int) -> int:
    """Room for exactly so many descriptors; the kernel cuts off more and says so."""
    return socket.CMSG_LEN(descriptors_max * _INT_BYTES)


def received_descriptors(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors among the control messages of one recvmsg."""
    found = array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()


def close_all(descriptors: Iterable[int] | None) -> None:
    """Close each, if there are any."""
    for descriptor in descriptors or ():
        os.close(descriptor)
