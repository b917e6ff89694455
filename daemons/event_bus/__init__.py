"""event_bus: processes of one machine that talk, agree on who may enter, and move together.

    from event_bus import Process, ProcessManager

Needs nothing but Linux and Python's standard library.
"""

from __future__ import annotations

from event_bus.communicator import Barrier, Communicator
from event_bus.errors import (
    BusError,
    BusStopped,
    BusTimeout,
    MemberLost,
    NoSuchProcess,
    NotOnBus,
    ProcessLost,
    ProtocolError,
    StartFailed,
)
from event_bus.launcher import Handle, ProcessManager
from event_bus.message import BROADCAST, BROADCAST_SYNC, MESSAGE, SYNC, Message
from event_bus.process import Process

__all__ = [
    "BROADCAST",
    "BROADCAST_SYNC",
    "MESSAGE",
    "SYNC",
    "Barrier",
    "BusError",
    "BusStopped",
    "BusTimeout",
    "Communicator",
    "Handle",
    "MemberLost",
    "Message",
    "NoSuchProcess",
    "NotOnBus",
    "Process",
    "ProcessLost",
    "ProcessManager",
    "ProtocolError",
    "StartFailed",
]
