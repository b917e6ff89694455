"""The spool of a meter service: every sample is on the disk, with its sequence, before it is published.

A tick is one sample of each meter, under one sequence. Ticks lie in segments named by their first sequence,
and a segment goes when all of it is confirmed, but for the last one: so a sequence that was used is
always known, whoever was killed when. Up to where the broker has confirmed stands in a file that is not
synced: what it forgets is published twice, and dropped by whoever has written it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from energymarket.exits import Exit, Failure, SecondInstance
from energymarket.meters.limits import SEGMENT_BYTES, SPOOL_BYTES_MAX

log = logging.getLogger(__name__)

MAGIC: Final = b"EMSP0001"
SUFFIX: Final = ".spool"
_SEGMENT: Final = struct.Struct("<8s16sQ")  # magic, series, first sequence
_TICK: Final = struct.Struct(
    "<IIQqii"
)  # CRC-32 of all behind it, bytes of all, sequence, time in ms, offset in s, meters
_CONFIRMED: Final = struct.Struct("<QI")


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """One sample of each meter."""

    sequence: int
    time_ms: int
    utc_offset_s: int
    power_mw: npt.NDArray[np.int32]


class Spool:
    """The ticks of a meter service that are not known to be with the broker, and the number of the next."""

    def __init__(
        self, directory: Path, bytes_max: int = SPOOL_BYTES_MAX, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._segment_bytes = min(segment_bytes, max(1, bytes_max // 4))
        self._lock = -1
        self._fd = -1
        self._position = -1
        self._sizes: dict[int, int] = {}  # first sequence of a segment -> bytes that count, ascending
        self._reading = (0, 0)  # (first sequence of a segment, offset): where the next tick to read is
        self.series = ""
        self.last = 0
        self.last_time_ms: int | None = None
        self.confirmed = 0
        self.meters_max = 0
        self._appended = 0

    # ------------------------------------------------------------ opening

    def open(self) -> None:
        """Take the directory and find its end. SecondInstance, Failure if it is damaged, OSError."""
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SecondInstance(
                f"another meter service has its samples in {self._directory}",
                "--state DIR names another place",
            ) from None
        names = sorted(path for path in self._directory.glob(f"*{SUFFIX}"))
        for path in names:
            self._take(path, is_last=path == names[-1])
        if not self._sizes:
            self.series = secrets.token_hex(16)
            self._begin()
        else:
            self._fd = os.open(self._path(self._newest), os.O_RDWR | os.O_CLOEXEC)
        self._open_position()

    def _take(self, path: Path, *, is_last: bool) -> None:
        content = path.read_bytes()
        if len(content) < _SEGMENT.size or content[:8] != MAGIC:
            if is_last and len(content) <= _SEGMENT.size:  # begun, and nothing in it yet
                log.warning("%s was not finished: it is taken away", path)
                path.unlink()
                return
            raise Failure(f"{path} is no spool of ours", "move it away", Exit.IO_ERROR)
        _, series, first = _SEGMENT.unpack_from(content)
        if self.series and series.hex() != self.series:
            raise Failure(f"{path} is of another series", "move it away", Exit.IO_ERROR)
        self.series = series.hex()
        self.last = max(self.last, first - 1)
        end = _SEGMENT.size
        for tick, behind in _ticks(content, end):
            self.last, self.last_time_ms, end = tick.sequence, tick.time_ms, behind
            self.meters_max = max(self.meters_max, len(tick.power_mw))
        if end < len(content):
            if not is_last:
                raise Failure(
                    f"{path} is damaged at byte {end}", "move it away: its samples are lost", Exit.IO_ERROR
                )
            log.warning(
                "%s: a torn tick of %d bytes is cut off: it was never published", path, len(content) - end
            )
            os.truncate(path, end)
        self._sizes[first] = end

    def _begin(self) -> None:
        """Begin a segment; it is durable, name and all, before anything is written to it or taken away."""
        first = self.last + 1
        fd = os.open(self._path(first), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            os.write(fd, _SEGMENT.pack(MAGIC, bytes.fromhex(self.series), first))
            os.fsync(fd)
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError:
            os.close(fd)
            self._path(first).unlink(missing_ok=True)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._sizes[first] = _SEGMENT.size

    def _open_position(self) -> None:
        self._position = os.open(self._directory / "confirmed", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        known = os.pread(self._position, _CONFIRMED.size, 0)
        if len(known) == _CONFIRMED.size:
            sequence, checksum = _CONFIRMED.unpack(known)
            if checksum == zlib.crc32(known[:8]):
                self.confirmed = sequence
        if self.confirmed > self.last:
            raise Failure(
                f"{self._directory} ends at {self.last}, and the broker has confirmed {self.confirmed}",
                "the spool is damaged: move it away, and the meters begin another series",
                Exit.IO_ERROR,
            )
        self._appended = self.last
        self.confirmed = max(self.confirmed, next(iter(self._sizes)) - 1)
        self.rewind()

    def _path(self, first: int) -> Path:
        return self._directory / f"{first:020d}{SUFFIX}"

    @property
    def _newest(self) -> int:
        return next(reversed(self._sizes))

    # ------------------------------------------------------------ writing

    @property
    def is_full(self) -> bool:
        """Whether there is no room for more until the broker confirms."""
        return sum(self._sizes.values()) >= self._bytes_max

    @property
    def waiting(self) -> int:
        """Ticks that are not confirmed, and numbers of those that were not taken between them."""
        return max(0, self._appended - self.confirmed)

    def skip(self, count: int) -> None:
        """Use up numbers for samples that could not be kept, so that whoever reads sees a gap."""
        self.last += count

    def append(self, ticks: Sequence[Tick]) -> None:
        """Make ticks durable, in order of their sequences. OSError: none of them is taken."""
        if self._sizes[self._newest] >= self._segment_bytes:
            self._begin()
        content = b"".join(map(_packed, ticks))
        end = self._sizes[self._newest]
        try:
            view, offset = memoryview(content), end
            while view:
                written = os.pwrite(self._fd, view, offset)
                view, offset = view[written:], offset + written
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, end)
            raise
        self._sizes[self._newest] = end + len(content)
        self.last = self._appended = ticks[-1].sequence
        self.last_time_ms = ticks[-1].time_ms

    # ------------------------------------------------------------ reading

    def rewind(self) -> None:
        """Read again from the first tick that is not confirmed."""
        self._reading = (next(iter(self._sizes)), _SEGMENT.size)

    def read(self, ticks_max: int) -> list[Tick]:
        """The next ticks that are not confirmed, at most so many; empty at the end."""
        found: list[Tick] = []
        while len(found) < ticks_max:
            first, offset = self._reading
            if offset >= self._sizes[first]:
                later = [each for each in self._sizes if each > first]
                if not later:
                    break
                self._reading = (later[0], _SEGMENT.size)
                continue
            content = self._content(first, offset)
            for tick, behind in _ticks(content, 0):
                self._reading = (first, offset + behind)
                if tick.sequence > self.confirmed:
                    found.append(tick)
                if len(found) == ticks_max:
                    break
            if self._reading == (first, offset):
                raise Failure(
                    f"{self._path(first)} is damaged at byte {offset}", "move it away", Exit.IO_ERROR
                )
        return found

    def _content(self, first: int, offset: int) -> bytes:
        """At most a mebibyte of a segment, and at least one whole tick."""
        fd = self._fd if first == self._newest else os.open(self._path(first), os.O_RDONLY | os.O_CLOEXEC)
        try:
            head = os.pread(fd, _TICK.size, offset)
            whole = _TICK.unpack(head)[1]
            return os.pread(fd, min(max(whole, 1 << 18), self._sizes[first] - offset), offset)
        finally:
            if fd != self._fd:
                os.close(fd)

    def confirm(self, sequence: int) -> None:
        """All ticks up to a sequence are with the broker: segments that hold no other go."""
        if sequence <= self.confirmed:
            return
        self.confirmed = sequence
        with contextlib.suppress(OSError):  # a full disk: what it forgets is published twice, and dropped
            self._note(sequence)
        firsts = list(self._sizes)
        for first, following in pairwise(firsts):
            if following - 1 > sequence:
                break
            self._path(first).unlink()
            del self._sizes[first]
            if self._reading[0] == first:
                self._reading = (following, _SEGMENT.size)

    def _note(self, sequence: int) -> None:
        head = sequence.to_bytes(8, "little")
        os.pwrite(self._position, head + zlib.crc32(head).to_bytes(4, "little"), 0)

    def close(self) -> None:
        """Let the directory go; all that was appended is on the disk."""
        for fd in (self._fd, self._position, self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._position = self._lock = -1


def _packed(tick: Tick) -> bytes:
    powers = tick.power_mw.astype("<i4").tobytes()
    length = _TICK.size + len(powers)
    rest = struct.pack("<IQqii", length, tick.sequence, tick.time_ms, tick.utc_offset_s, len(tick.power_mw))
    return zlib.crc32(powers, zlib.crc32(rest)).to_bytes(4, "little") + rest + powers


def _ticks(content: bytes, offset: int) -> Iterator[tuple[Tick, int]]:
    """Whole ticks and where each ends, as far as they are whole."""
    while len(content) - offset >= _TICK.size:
        checksum, length, sequence, time_ms, utc_offset_s, meters = _TICK.unpack_from(content, offset)
        end = offset + length
        if length != _TICK.size + 4 * meters or end > len(content):
            return
        if zlib.crc32(memoryview(content)[offset + 4 : end]) != checksum:
            return
        powers = np.frombuffer(content, "<i4", meters, offset + _TICK.size)
        yield Tick(sequence, time_ms, utc_offset_s, powers), end
        offset = end
