"""One side of a pair of processes: numbers, what is not yet acknowledged, what the other has not taken."""

from __future__ import annotations

from collections import deque

from event_bus import limits
from event_bus.errors import ProtocolError
from event_bus.protocol import frames
from event_bus.protocol.frames import Kind


class Pair:
    """What this process knows of its traffic with one other, over all connections they ever had.

    Nothing is lost or doubled: a frame stays in `_unacknowledged` until the other has said that it came, a
    new connection begins with all of them, and a number that came already is dropped.
    """

    __slots__ = (
        "_acknowledged", "_last_told_taken", "_taken", "_unacknowledged",
        "credited_bytes", "link", "received", "sent", "sent_bytes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.link = 0  # the number of the connection in use; 0 if there is none
        self.sent = 0  # the number of the last frame
        self.received = 0  # the number of the last frame that came
        self._acknowledged = 0  # what the other was told of that
        self._unacknowledged: deque[tuple[int, bytes]] = deque()
        self.sent_bytes = 0  # payload sent
        self.credited_bytes = 0  # and of that, what the other's program has taken
        self._taken = 0  # payload taken here
        self._last_told_taken = 0

    def keep(
        self, kind: int, stamp: int, call: int, type_: str = "", payload: bytes = b"", sender: int = 0
    ) -> bytes:
        """Number a frame and keep it until it is acknowledged; its bytes, for the connection."""
        number = self.sent + 1
        data = frames.pack(kind, number, stamp, call, type_, payload, sender)  # raises if memory is short
        self.sent = number
        self._unacknowledged.append((number, data))
        self.sent_bytes += len(payload)
        return data

    def has_room(self) -> bool:
        """Whether the other has taken enough of what it was sent. One message, of any size, always goes."""
        return self.sent_bytes - self.credited_bytes < limits.UNTAKEN_BYTES_MAX

    def again(self) -> list[bytes]:
        """What a new connection begins with: everything of which it is not known that it came.

        And what came here and was taken, for the last word of that may be lost: the other may wait for it.
        """
        data = [data for _, data in self._unacknowledged]
        return [self._ack(), *data] if self.received else data

    def accept(self, number: int) -> bool:
        """Count a numbered frame; whether it is new."""
        if number != self.received + 1:
            if number <= self.received:
                return False
            raise ProtocolError(f"frame {number} came after frame {self.received}")
        self.received = number
        return True

    def acknowledged(self, number: int, taken_bytes: int) -> None:
        """The other has frames up to this number, and its program has taken so much payload."""
        unacknowledged = self._unacknowledged
        while unacknowledged and unacknowledged[0][0] <= number:
            unacknowledged.popleft()
        self.credited_bytes = max(self.credited_bytes, taken_bytes)

    def take(self, size: int) -> None:
        """The program took a payload."""
        self._taken += size

    def ack_due(self) -> bytes | None:
        """An acknowledgement, if one is due: so many frames came, or so much was taken."""
        if (
            self.received - self._acknowledged < limits.ACK_EVERY_FRAMES
            and self._taken - self._last_told_taken < limits.UNTAKEN_BYTES_MAX // 4
        ):
            return None
        return self._ack()

    def _ack(self) -> bytes:
        self._acknowledged, self._last_told_taken = self.received, self._taken
        return frames.pack(Kind.ACK, 0, self.received, self._taken)
