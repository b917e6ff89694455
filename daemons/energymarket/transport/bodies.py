"""Bodies of a large ledger, each in a file of its own beside it: megabytes a slot are written once.

SQLite writes what is new into its log, with a sum over every word, and once more into the file. Here a
body is durable in `bodies/SLOT` before the row that it belongs to is committed; the row is the truth. A file
without a row is of a slot that was never committed, or whose detail has been compacted: it is written
again, or removed. So are files of other bodies as large: sums per home of slots that follow each other, which
their detail was compacted to (`bodies/FIRST-LAST`), accounts (`bodies/checkpoint-SLOT`), where a replay can
begin (`bodies/start-SLOT`). Whoever copies the ledger holds the directory meanwhile, and nothing is removed.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from energymarket.transport.database import StoreError
from energymarket.transport.past_cache import ALIGNED_TO, Reader, Writer, through_cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    Buffer: TypeAlias = bytes | bytearray | memoryview

DIRECTORY: Final = "bodies"
_BODY: Final = re.compile(r"(checkpoint-|start-)?[0-9]+(-[0-9]+)?")
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def stretch_name(first: int, last: int) -> str:
    """The file of the sums of slots first .. last."""
    return f"{first}-{last}"


def checkpoint_name(slot: int) -> str:
    """The file of the accounts after a slot."""
    return f"checkpoint-{slot}"


def start_name(slot: int) -> str:
    """The file of the market after a slot, where a replay can begin."""
    return f"start-{slot}"


def bytes_beside(ledger: Path) -> int:
    """What the bodies beside a ledger take; 0 where it has none."""
    try:
        with os.scandir(ledger.with_name(DIRECTORY)) as found:
            return sum(each.stat(follow_symlinks=False).st_size for each in found)
    except FileNotFoundError:
        return 0


class Part:
    """Reads a body bit by bit; in memory."""

    def __init__(self, body: Buffer) -> None:
        self._body = memoryview(body)

    def __call__(self, at: int, size: int) -> Buffer:
        """Bytes from a place on, until the next call of any part: fewer where room or body end.

        None where it has ended. Raises StoreError.
        """
        return self._body[at : at + size]

    def close(self) -> None:
        """Let go of it."""


class FilePart(Part):
    """The same in a file, which is opened with the first look into it."""

    def __init__(self, bodies: Bodies, name: str) -> None:
        super().__init__(b"")
        self._bodies = bodies
        self._name = name
        self._file = -1

    def __call__(self, at: int, size: int) -> Buffer:  # noqa: D102
        with self._bodies.refusals(self._name):
            if self._file < 0:
                try:
                    self._file = self._bodies.reader.open(self._name, self._bodies.descriptor)
                except FileNotFoundError:
                    return b""
            return self._bodies.reader.read(self._file, at, size)

    def close(self) -> None:  # noqa: D102
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Draft:
    """A body that is written bit by bit, its head last; in memory."""

    def __init__(self, head_bytes: int) -> None:
        self._body = bytearray(head_bytes)

    def append(self, data: Buffer) -> None:
        """What follows. Raises StoreError."""
        self._body += data

    def finish(self, head: bytes) -> None:
        """The head that room was left for; a file is durable when this returns. Raises StoreError."""
        self._body[: len(head)] = head

    def part(self) -> Part:
        """Reads what was written and finished."""
        return Part(self._body)

    def in_row(self) -> bytes:
        """What stands in the row that the body belongs to: all of it, or nothing if it lies in a file."""
        return bytes(self._body)

    def close(self) -> None:
        """Let go of it; a file that is not finished goes."""


class FileDraft(Draft):
    """The same in a file; of one with a head the first block waits for it in memory."""

    def __init__(self, bodies: Bodies, name: str, head_bytes: int) -> None:
        super().__init__(head_bytes)
        self._bodies = bodies
        self._name = name
        self._first_bytes = ALIGNED_TO if head_bytes else 0
        self._finished = False
        self._writer = Writer()
        with bodies.written(name):
            self._file = self._writer.open(name, bodies.descriptor)
        os.lseek(self._file, self._first_bytes, os.SEEK_SET)

    def append(self, data: Buffer) -> None:  # noqa: D102
        view = memoryview(data).cast("B")
        room = self._first_bytes - len(self._body)
        self._body += view[:room]
        with self._bodies.written(self._name):
            self._writer.append(self._file, view[room:])

    def finish(self, head: bytes) -> None:  # noqa: D102
        super().finish(head)
        with self._bodies.written(self._name):
            self._writer.end(self._file)
            if self._body:
                os.lseek(self._file, 0, os.SEEK_SET)
                through_cache(self._file)  # it lies in no block of the buffer
                self._writer.append(self._file, self._body)
                self._writer.end(self._file)
            self._bodies.sync(self._file)
        self._finished = True

    def part(self) -> Part:  # noqa: D102
        return FilePart(self._bodies, self._name)

    def in_row(self) -> bytes:  # noqa: D102
        return b""

    def close(self) -> None:  # noqa: D102
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            if not self._finished:
                self._bodies.drop([self._name])


class Bodies:
    """The directory of one ledger. Whatever the disk refuses the market is a StoreError."""

    def __init__(self, ledger: Path) -> None:
        self._directory = ledger.with_name(DIRECTORY)
        self.descriptor = -1  # of the directory
        self.reader: Reader
        self._writer: Writer
        self._unneeded: set[str] = set()  # files that somebody may still read
        self.bytes = 0  # of all files

    # the market's side

    def open(self, needed: Iterable[str]) -> None:
        """Make the directory if there is none, and remove every body that is not among the `needed`."""
        with self.refusals("cannot be opened"):
            if not self._directory.is_dir():
                self._directory.mkdir()
                _sync(self._directory.parent)
            self.descriptor = os.open(self._directory, _OPEN_DIRECTORY)
            self.reader, self._writer = Reader(), Writer()
            found = {path.name for path in self._directory.iterdir() if _BODY.fullmatch(path.name)}
        self.bytes = sum(map(self.size, found))
        self.drop(found - set(needed))

    def close(self) -> None:
        """Let go of the directory."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def write(self, name: str, parts: Iterable[Buffer], *, is_durable: bool = True) -> None:
        """A body whose parts follow each other; durable when this returns, or else once `settle` has."""
        with self.written(name):
            file = self._writer.open(name, self.descriptor)
            try:
                self._writer.write(file, parts)
                if is_durable:
                    self.sync(file)
            finally:
                os.close(file)

    def settle(self, names: Iterable[str]) -> None:
        """Make bodies durable that were written without."""
        for name in names:
            with self.refusals(name):
                file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.descriptor)
                try:
                    os.fdatasync(file)
                finally:
                    os.close(file)
        with self.refusals("cannot be synced"):
            os.fsync(self.descriptor)

    def sync(self, file: int) -> None:
        """Make a body durable. OSError for what the disk refuses."""
        os.fdatasync(file)
        os.fsync(self.descriptor)

    @contextmanager
    def written(self, name: str) -> Iterator[None]:
        """Meanwhile a body is written: refusals are told, its bytes counted, and nobody removes it."""
        self._unneeded.discard(name)
        before = self.size(name)
        try:
            with self.refusals(name):
                yield
        finally:
            self.bytes += self.size(name) - before

    def drop(self, names: Iterable[str]) -> None:
        """Remove bodies that no row needs any more; while somebody copies, with the next ones."""
        self._unneeded.update(names)
        if not self._unneeded or self.descriptor < 0:
            return  # of a closed ledger the next start removes them
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            for name in sorted(self._unneeded):
                size = self.size(name)
                with self.refusals(name), suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self.descriptor)
                self.bytes -= size
                self._unneeded.discard(name)
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    @contextmanager
    def refusals(self, what: str) -> Iterator[None]:
        """What the disk refuses meanwhile is a StoreError."""
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self._directory}: {what}: {error.strerror}") from error

    # everybody's

    def size(self, name: str) -> int:
        """Bytes of a body; 0 if there is no file."""
        try:
            return (self._directory / name).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, name: str) -> bytes:
        """A body; empty, which none is, if there is no file."""
        with self.refusals(name):
            try:
                return (self._directory / name).read_bytes()
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
