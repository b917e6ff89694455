"""The pipe that tells and the signal that wakes: from `external` to the market.

The pipe is the truth. A signal carries no count (ten thousand of them ran a handler nine times), so it
means "look at the pipe" and nothing else; one from a stranger costs a look in vain.

No handler is written in Python: such a one nests when signals come faster than it runs, and a storm of
them ends in RecursionError (tried). The interpreter's own handler, in C, writes a byte to the wakeup
descriptor, whichever thread the kernel has chosen (a signalfd misses what a thread of NumPy's takes).
"""

from __future__ import annotations

import fcntl
import operator
import os
import signal
from collections import deque
from typing import Final, Self

from energymarket.wire.event_record import RECORD_BYTES, EventRecord, RecordType, split

READ_BYTES: Final = 65_536
"""A pipe's default capacity: one read empties it."""

DRAIN_BYTES_MAX: Final = 4 * READ_BYTES
"""One drain reads at most so much: a writer that never stops does not keep the market from its slots."""

PENDING_MAX: Final = 4_096
"""Records that wait for room in the pipe; beyond it `external` stops making events until there is room."""

_ATOMIC_RECORDS: Final = 4_096 // RECORD_BYTES  # PIPE_BUF: a write of so many is whole or not at all


_RUNG_BY: Final = (signal.SIGUSR1, signal.SIGUSR2)


class MarketGone(Exception):
    """The market has died or closed the pipe: its child has nothing left to do."""


class Bell:
    """SIGUSR1 and SIGUSR2 as a descriptor. Main thread only; it takes the process's one wakeup descriptor."""

    def __init__(self) -> None:
        self._read_fd = self._write_fd = -1
        self._before_fd = -1

    def open(self) -> Self:
        """Take the two signals over."""
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # A full pipe means that somebody has rung and nobody has looked yet: nothing to warn of.
        self._before_fd = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in _RUNG_BY:
            signal.signal(number, operator.is_)  # not Python's code, and does nothing
        return self

    def fileno(self) -> int:
        """Readable when somebody has rung (or another signal has come)."""
        return self._read_fd

    def hear(self) -> bool:
        """Whether somebody has rung since this was asked last."""
        rung = False
        for _ in range(2):  # a pipe's capacity and once more: a storm does not keep us here
            try:
                rung = bool(os.read(self._read_fd, READ_BYTES)) or rung
            except BlockingIOError:
                break
        return rung

    def close(self) -> None:
        """Ignore the two signals from now on: a late one kills nobody. Twice is allowed."""
        if self._read_fd < 0:
            return
        for number in _RUNG_BY:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(self._before_fd)
        os.close(self._read_fd)
        os.close(self._write_fd)
        self._read_fd = self._write_fd = -1

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()


class Doorbell:
    """The market's end: made before the child is, so that no signal finds the default action (death)."""

    def __init__(self) -> None:
        self.invalid = 0  # stretches of bytes that were no record
        self._bell = Bell()
        self._read_fd = self._write_fd = -1
        self._rest = b""

    def open(self) -> Self:
        """Make the pipe and take SIGUSR1 and SIGUSR2 over. Main thread only."""
        self._bell.open()
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return self

    def close(self) -> None:
        """Ignore the two signals from now on and close the descriptors. Twice is allowed."""
        self._bell.close()
        for descriptor in (self._read_fd, self._write_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self._read_fd = self._write_fd = -1

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def descriptors(self) -> tuple[int, int]:
        """What to wait on for reading: signals and the pipe."""
        return self._bell.fileno(), self._read_fd

    @property
    def write_fd(self) -> int:
        """The end that is handed to the child."""
        return self._write_fd

    def drain(self) -> list[EventRecord]:
        """All whole records that are there; what is left of one waits for its end. Never blocks."""
        self._bell.hear()
        found: list[EventRecord] = []
        read_bytes = 0
        while read_bytes < DRAIN_BYTES_MAX:
            try:
                stretch = os.read(self._read_fd, READ_BYTES)
            except BlockingIOError:
                break
            if not stretch:
                break
            read_bytes += len(stretch)
            records, invalid, self._rest = split(self._rest + stretch)
            found += records
            self.invalid += invalid
        return found

    def forget_rest(self) -> None:
        """Drop the beginning of a record whose writer has died."""
        self.invalid += bool(self._rest)
        self._rest = b""


class Ringer:
    """The child's end: never blocks, loses no beginning and no end of an event."""

    def __init__(self, write_fd: int, market_pidfd: int) -> None:
        self._write_fd = write_fd
        self._market_pidfd = market_pidfd
        self._pending: deque[EventRecord] = deque()
        flags = fcntl.fcntl(write_fd, fcntl.F_GETFL)
        fcntl.fcntl(write_fd, fcntl.F_SETFL, flags | os.O_NONBLOCK)

    @property
    def write_fd(self) -> int:
        """What to wait on for room."""
        return self._write_fd

    @property
    def pending(self) -> int:
        """How many records wait for room."""
        return len(self._pending)

    @property
    def full(self) -> bool:
        """Whether no more events should be made until there is room."""
        return len(self._pending) >= PENDING_MAX

    def add(self, record: EventRecord) -> None:
        """Queue a record. Of heartbeats and reports only the newest is worth saying."""
        if record.type in {RecordType.HEARTBEAT, RecordType.REPORTED}:
            older = [each for each in self._pending if each.type is record.type]
            for each in older:
                self._pending.remove(each)
        self._pending.append(record)

    def flush(self) -> bool:
        """Write what there is room for, then ring; True if nothing is left. Raises MarketGone."""
        written = 0
        number = min(_ATOMIC_RECORDS, len(self._pending))
        while number:
            data = b"".join(self._pending[at].pack() for at in range(number))
            try:
                os.write(self._write_fd, data)
            except BlockingIOError:
                number //= 2  # less may still find room
                continue
            except BrokenPipeError as error:
                raise MarketGone("the market has closed the pipe") from error
            for _ in range(number):
                self._pending.popleft()
            written += number
            number = min(_ATOMIC_RECORDS, len(self._pending))
        if written:
            self._ring()
        return not self._pending

    def _ring(self) -> None:
        try:
            signal.pidfd_send_signal(self._market_pidfd, signal.SIGUSR1)
        except ProcessLookupError as error:
            raise MarketGone("the market is gone") from error
