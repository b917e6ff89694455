"""Bodies of a large ledger, each in a file of its own beside it: megabytes a slot are written once.

SQLite writes what is new into its log, with a sum over every word, and once more into the file. Here a
body is durable in `bodies/SLOT` before the row that it belongs to is committed; the row is the truth. A file
without a row is of a slot that was never committed, or whose detail has been compacted: it is written
again, or removed. Whoever copies the ledger holds the directory meanwhile, and nothing is removed.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from energymarket.transport.database import StoreError
from energymarket.transport.past_cache import Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    Buffer: TypeAlias = bytes | bytearray | memoryview

DIRECTORY: Final = "bodies"
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def bytes_beside(ledger: Path) -> int:
    """What the bodies beside a ledger take; 0 where it has none."""
    try:
        with os.scandir(ledger.with_name(DIRECTORY)) as found:
            return sum(each.stat(follow_symlinks=False).st_size for each in found)
    except FileNotFoundError:
        return 0


class Bodies:
    """The directory of one ledger. Whatever the disk refuses the market is a StoreError."""

    def __init__(self, ledger: Path) -> None:
        self._directory = ledger.with_name(DIRECTORY)
        self._descriptor = -1
        self._writer: Writer
        self._unneeded: set[int] = set()  # slots whose files somebody may still read
        self.bytes = 0  # of all files

    # the market's side

    def open(self, needed: Iterable[int]) -> None:
        """Make the directory if there is none, and remove what belongs to none of the slots `needed`."""
        with self._refusals("cannot be opened"):
            if not self._directory.is_dir():
                self._directory.mkdir()
                _sync(self._directory.parent)
            self._descriptor = os.open(self._directory, _OPEN_DIRECTORY)
            self._writer = Writer()
            found = {int(path.name) for path in self._directory.iterdir() if path.name.isdecimal()}
        self.bytes = sum(self._size(slot) for slot in found)
        self.drop(found - set(needed))

    def close(self) -> None:
        """Let go of the directory."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def write(self, slot: int, parts: Iterable[Buffer]) -> None:
        """A body whose parts follow each other; durable when this returns."""
        self._unneeded.discard(slot)
        self.bytes -= self._size(slot)
        try:
            with self._refusals(f"slot {slot}"):
                file = self._writer.open(str(slot), self._descriptor)
                try:
                    self._writer.write(file, parts)
                    os.fdatasync(file)
                finally:
                    os.close(file)
                os.fsync(self._descriptor)
        finally:
            self.bytes += self._size(slot)

    def drop(self, slots: Iterable[int]) -> None:
        """Remove bodies that no row needs any more; while somebody copies, with the next ones."""
        self._unneeded.update(slots)
        if not self._unneeded:
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            for slot in sorted(self._unneeded):
                size = self._size(slot)
                with self._refusals(f"slot {slot}"), suppress(FileNotFoundError):
                    os.unlink(str(slot), dir_fd=self._descriptor)
                self.bytes -= size
                self._unneeded.discard(slot)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @contextmanager
    def _refusals(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self._directory}: {what}: {error.strerror}") from error

    def _size(self, slot: int) -> int:
        try:
            return os.stat(str(slot), dir_fd=self._descriptor).st_size
        except FileNotFoundError:
            return 0

    # everybody's

    def read(self, slot: int) -> bytes:
        """A body; empty, which none is, if there is no file."""
        with self._refusals(f"slot {slot}"):
            try:
                return (self._directory / str(slot)).read_bytes()
            except FileNotFoundError:
                return b""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Until the end no file is removed that is there now."""
        try:
            descriptor = os.open(self._directory, _OPEN_DIRECTORY)
        except FileNotFoundError:
            yield  # each that is missed will be told of
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, _OPEN_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
