"""The CSV files of a meter, one per day of its clock, and the sidecar that says what of them counts.

A commit appends its lines, makes them durable, then the sidecar with their sequences: after a death between
the two, the next start cuts the files back to what the sidecar says, and the broker delivers again what was
never acknowledged. A file is appended to only while the sidecar on the disk knows its length, so there
is none that a death could leave longer unseen.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Final

from energymarket.exits import ConfigError, Exit, Failure, SecondInstance
from energymarket.meters import sidecar as layout
from energymarket.meters.limits import FILES_MAX, SERIES_MAX
from energymarket.meters.sidecar import DayFile, Sidecar, SidecarError
from energymarket.meters.window import Window

log = logging.getLogger(__name__)

COLUMNS: Final = ("meter_id", "time_s", "meter_power_value_w", "pv_power_value_kw", "sum_meter_pv_w")
HEADER: Final = ",".join(COLUMNS).encode() + b"\n"
SUFFIX: Final = ".sidecar"
_BESIDE_MAX: Final = 99
_TAIL_BYTES: Final = 1 << 16
_NO_FILE: Final = b"\0"


class DayFiles:
    """The files of one meter, held by one process."""

    def __init__(self, directory: Path, meter_id: str) -> None:
        self._directory = directory
        self._meter_id = meter_id
        self._path = directory / f"{meter_id}{SUFFIX}"
        self._fd = -1
        self._directory_fd = -1
        self._generation = 0
        self._kept = Sidecar(meter_id)
        self._open: dict[str, int] = {}  # name -> descriptor

    @property
    def kept(self) -> Sidecar:
        """What is on the disk."""
        return self._kept

    def windows(self) -> dict[str, Window]:
        """Copies of the windows that are on the disk."""
        return {series.name: series.window() for series in self._kept.series}

    def open(self) -> None:
        """Take the files and cut off what does not count.

        SecondInstance if another process has them, Failure if the sidecar is damaged, OSError.
        """
        self._directory_fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SecondInstance(
                f"another PV service writes the files of {self._meter_id} in {self._directory}",
                "one service per meter; --directory names another place",
            ) from None
        content = os.pread(self._fd, layout.FILE_BYTES, 0)
        if not content.strip(b"\0"):
            return  # new: made with the first commit, so that a full disk is met where it is waited for
        try:
            self._kept, self._generation = layout.unpack(content)
        except SidecarError as problem:
            raise Failure(
                f"{self._path}: {problem}",
                "move it away: the files stay, but what the broker sends again would be written twice",
                Exit.IO_ERROR,
            ) from problem
        if self._kept.meter_id != self._meter_id:
            raise ConfigError(f"{self._path} is the sidecar of {self._kept.meter_id!r}")
        files = [each for each in map(self._cut_back, self._kept.files) if each is not None]
        if files != self._kept.files:  # a file became shorter than the sidecar on the disk says
            for descriptors in self._keeping(_with(self._kept, files=files)):
                for each in descriptors:
                    os.fdatasync(each)

    def _cut_back(self, file: DayFile) -> DayFile | None:
        path = self._directory / file.name
        try:
            head, length = _head(path), path.stat().st_size
        except FileNotFoundError:
            head, length = b"", 0
        if not HEADER.startswith(head):
            log.error("%s has another header now: it is left alone", path)
            return None
        if length == 0 < file.length:
            log.error("%s is gone: what was in it is not written again", path)
            return DayFile(file.day, file.name, 0)
        if length > file.length:
            log.warning("%s: %d bytes behind the last commit are cut off", path, length - file.length)
            os.truncate(path, file.length)
        elif length < file.length:
            whole = _whole_lines(path)
            log.error("%s is %d bytes shorter than it was left", path, file.length - whole)
            os.truncate(path, whole)
            return DayFile(file.day, file.name, whole)
        return file

    def commit(
        self, lines: Mapping[str, Sequence[str]], windows: Mapping[str, Window], duplicates: int = 0
    ) -> None:
        """Make lines (by day, in order) and windows durable: all of it, or an OSError and nothing counts."""
        for descriptors in self.committing(lines, windows, duplicates):
            for each in descriptors:
                os.fdatasync(each)

    def committing(
        self, lines: Mapping[str, Sequence[str]], windows: Mapping[str, Window], duplicates: int = 0
    ) -> Generator[list[int], None, None]:
        """A commit of at most FILES_MAX days, in steps: before each next one, the caller syncs what it names.

        So the files of many meters are synced together. An OSError of a step, or one that is thrown into it
        because a sync failed, ends it, and nothing counts.
        """
        if len(lines) > FILES_MAX:
            raise ValueError(f"{len(lines)} days at once: at most {FILES_MAX}")
        files = {each.day: each for each in self._kept.files if not self._is_gone(each)}
        unknown = [day for day in lines if day not in files]
        for day in (*unknown, *(day for day in lines if day in files)):
            files[day] = files.pop(day) if day in files else self._begun(day)
        kept = list(files.values())[-FILES_MAX:]
        if unknown:  # the sidecar knows a file before it grows
            yield from self._keeping(_with(self._kept, files=kept))
        self._close_all_but({each.name for each in kept})
        descriptors = [self._descriptor(each.name) for each in kept if each.day in lines]
        try:
            grown = [self._appended(each, lines[each.day]) if each.day in lines else each for each in kept]
            yield [*descriptors, self._directory_fd] if unknown else descriptors
        except OSError:
            # Bytes that do not count give a full disk some room back.
            for each in kept:
                if each.day in lines:
                    with contextlib.suppress(OSError):
                        os.ftruncate(self._descriptor(each.name), each.length)
            raise
        series = layout.series_of(dict(list(windows.items())[-SERIES_MAX:]))
        rows = self._kept.rows + sum(map(len, lines.values()))
        twice = self._kept.duplicates + duplicates
        yield from self._keeping(Sidecar(self._meter_id, series, grown, rows, twice))

    def _is_gone(self, file: DayFile) -> bool:
        """Whether somebody has taken a file away that we have open: its day is begun again."""
        fd = self._open.get(file.name)
        if fd is None or os.fstat(fd).st_nlink > 0:
            return False
        log.error("%s was taken away while it was written: it is begun again", self._directory / file.name)
        os.close(self._open.pop(file.name))
        return True

    def _begun(self, day: str) -> DayFile:
        """The file of a day that is not known: a new one, or one that is there and has our header."""
        for number in range(1, _BESIDE_MAX + 1):
            beside = "" if number == 1 else f".{number}"
            name = f"{self._meter_id}-{day}{beside}.csv"
            path = self._directory / name
            try:
                head = _head(path)
            except FileNotFoundError:
                return DayFile(day, name, 0)
            if HEADER.startswith(head):  # ours, or torn while it was begun
                length = _whole_lines(path) if head == HEADER else 0
                if length != path.stat().st_size:
                    log.warning("%s: a torn last line is cut off", path)
                    os.truncate(path, length)
                return DayFile(day, name, length)
            log.error(
                "%s has another header: it is left alone, and the day goes on in a file beside it", path
            )
        raise Failure(
            f"{_BESIDE_MAX} files of {day} have another header in {self._directory}", "move them away"
        )

    def _appended(self, file: DayFile, lines: Sequence[str]) -> DayFile:
        fd = self._descriptor(file.name)
        text = "".join(lines).encode()
        if file.length < len(HEADER):
            text = HEADER + text
        os.ftruncate(fd, file.length)  # whatever an attempt that failed has left
        _write_all(fd, text, file.length)
        return DayFile(file.day, file.name, file.length + len(text))

    def _descriptor(self, name: str) -> int:
        fd = self._open.get(name)
        if fd is None:
            path = self._directory / name
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = self._open[name] = os.open(path, flags, 0o640)
        return fd

    def _keeping(self, kept: Sidecar) -> Generator[list[int], None, None]:
        """Write the sidecar; once what is named is synced, it is what is kept."""
        is_new = self._generation == 0
        if is_new:
            os.posix_fallocate(self._fd, 0, layout.FILE_BYTES)  # later writes need no room
        generation = self._generation + 1
        _write_all(self._fd, layout.pack(kept, generation), generation % 2 * layout.SLOT_BYTES)
        yield [self._fd, self._directory_fd] if is_new else [self._fd]
        self._generation, self._kept = generation, kept

    def _close_all_but(self, names: set[str]) -> None:
        for name in [name for name in self._open if name not in names]:
            os.close(self._open.pop(name))

    def close(self) -> None:
        """Close the files; what was committed is on the disk, and its sidecar in both slots.

        A slot that is damaged while nobody runs then costs nothing: the other one is not of a commit before.
        """
        self._close_all_but(set())
        if self._generation > 0:
            generation = self._generation + 1
            slot = layout.pack(self._kept, generation)
            with contextlib.suppress(OSError):  # a copy of what is kept; it need not be synced either
                _write_all(self._fd, slot, generation % 2 * layout.SLOT_BYTES)
        for fd in (self._fd, self._directory_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._directory_fd = -1


def _with(kept: Sidecar, *, files: list[DayFile]) -> Sidecar:
    return Sidecar(kept.meter_id, kept.series, files, kept.rows, kept.duplicates)


def _head(path: Path) -> bytes:
    """What is where the header would be. What is no file has another one: a pipe would never answer."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return _NO_FILE
    with path.open("rb") as file:
        return file.read(len(HEADER))


def _write_all(fd: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _whole_lines(path: Path) -> int:
    """The length of a file without what is behind its last line end."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - _TAIL_BYTES)
            file.seek(begin)
            at = file.read(end - begin).rfind(b"\n")
            if at >= 0:
                return begin + at + 1
            end = begin
    return 0
