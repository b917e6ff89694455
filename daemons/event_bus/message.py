"""A message as `process()` gets it: payload, sender, type, Lamport stamp."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

MESSAGE: Final = "message"
"""The type of what `send_to` sends, if it names none."""

BROADCAST: Final = "broadcast"
"""The type of what `broadcast` sends, if it names none."""

SYNC: Final = "sync"
"""The type of what `send_to_sync` sends."""

BROADCAST_SYNC: Final = "broadcast_sync"
"""The type of what `broadcast_sync` sends."""


class Message(NamedTuple):
    """What arrived.

    `sender` is the number that the sender had when it sent, `stamp` its Lamport clock then. Numbers close
    up when a process is gone; `sender_name` stays, and calls take it in the place of a number.
    """

    payload: Any
    sender: int
    type: str
    stamp: int
    sender_name: str = ""

    @property
    def lamport_stamp(self) -> int:
        """The stamp by its long name."""
        return self.stamp
