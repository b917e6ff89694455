"""Past the cache or through it, a file has what it was given, and what the disk refuses is told."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from energymarket.transport import past_cache
from energymarket.transport.past_cache import ALIGNED_TO, Reader, Writer, is_past_cache, write_over

BUFFER = 2 * ALIGNED_TO
LENGTHS = (0, 1, ALIGNED_TO - 1, ALIGNED_TO, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER, 3 * BUFFER + 4_097)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A directory, and a buffer that is soon full."""
    monkeypatch.setattr(past_cache, "BUFFER_BYTES", BUFFER)
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def written(writer: Writer, directory: int, length: int) -> bytes:
    """What a file of so many bytes has, written in parts of 1, 2, 4, ... bytes; held against what it got."""
    data = bytes(number * 7 % 251 for number in range(length))
    cuts = [0, *(1 << bit for bit in range(20) if 1 << bit < length), length]
    file = writer.open("1", directory)
    writer.write(file, [data[start:stop] for start, stop in pairwise(cuts)])
    os.close(file)
    again = os.open("1", os.O_RDONLY, dir_fd=directory)
    found = os.read(again, length + 1)
    os.close(again)
    assert found == data
    return found


def test_a_file_has_what_it_was_given(directory: int) -> None:
    """Of every length around those of a block and of the buffer; a longer file before is forgotten."""
    writer = Writer()
    for length in (*LENGTHS, *reversed(LENGTHS)):
        written(writer, directory, length)


def test_a_file_system_that_cannot_do_it_is_asked_once(
    directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then everything goes through the cache."""
    asked, really = [], os.open

    def plain(name: str, flags: int, *mode: int, dir_fd: int) -> int:
        if flags & os.O_DIRECT:
            asked.append(name)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return really(name, flags, *mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", plain)
    writer = Writer()
    for length in LENGTHS:
        written(writer, directory, length)
    assert asked == ["1"]


@pytest.mark.parametrize("most", [None, 1, ALIGNED_TO, ALIGNED_TO + 1])
def test_a_write_that_is_cut_or_not_taken_is_gone_on_with(
    directory: int, monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    """A disk with longer blocks refuses (None), and a signal or a quota may cut where no block ends."""
    really = os.write

    def cut(file: int, data: memoryview) -> int:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            if most is None:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            past_cache.through_cache(file)
            taken = really(file, data[:most])
            fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_DIRECT)
            return taken
        return really(file, data)

    monkeypatch.setattr(os, "write", cut)
    for length in LENGTHS:
        written(Writer(), directory, length)


def test_a_full_disk_is_told(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a file system says of the way is no error."""
    writer = Writer()
    file = writer.open("1", directory)

    def full(_file: int, _data: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        writer.write(file, [bytes(3 * BUFFER)])
    os.close(file)


@pytest.mark.parametrize("most", [None, 1, ALIGNED_TO, ALIGNED_TO + 1, 1 << 20])
def test_blocks_are_written_over_those_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    """Refused past the cache (None), or cut: all of it is there, nothing beside it, and the way is reset."""
    data = memoryview(mmap.mmap(-1, 3 * BUFFER))
    data[:] = bytes(number * 7 % 251 for number in range(3 * BUFFER))
    path, really, direct = tmp_path / "f", os.pwrite, []
    path.write_bytes(b"x" * 5 * BUFFER)

    def cut(file: int, part: memoryview, at: int) -> int:
        if not is_past_cache(file):
            return really(file, part, at)
        direct.append(at)
        if most is None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        past_cache.through_cache(file)
        taken = really(file, part[:most], at)
        past_cache.past_cache(file)
        return taken

    monkeypatch.setattr(os, "pwrite", cut)
    file = os.open(path, os.O_RDWR)
    write_over(file, data, BUFFER)
    assert not is_past_cache(file)
    os.close(file)
    assert path.read_bytes() == b"x" * BUFFER + bytes(data) + b"x" * BUFFER
    assert direct[:2] == (
        [BUFFER] if most is None or most % ALIGNED_TO or most > 3 * BUFFER else [BUFFER, BUFFER + most]
    )


def test_blocks_that_the_disk_has_no_room_for_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also EINVAL where it does not mean the way past the cache; and the way is reset."""
    file = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    for number in (errno.ENOSPC, errno.EINVAL):

        def refuse(*_: object, number: int = number) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "pwrite", refuse)
        with pytest.raises(OSError, match=os.strerror(number)):
            write_over(file, memoryview(mmap.mmap(-1, BUFFER)), 0)
        assert not is_past_cache(file)
    os.close(file)


def test_a_file_system_that_cannot_do_it_is_written_as_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the way cannot be set, blocks go through the cache."""
    really = fcntl.fcntl

    def cannot(file: int, command: int, flags: int = 0) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return really(file, command, flags)

    monkeypatch.setattr(fcntl, "fcntl", cannot)
    file = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    write_over(file, memoryview(mmap.mmap(-1, BUFFER)), 0)
    os.close(file)
    assert (tmp_path / "f").read_bytes() == bytes(BUFFER)


@pytest.mark.parametrize("refused", ["nothing", "to open", "to read"])
def test_every_part_of_a_file_is_read_as_it_is(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """From any place, across blocks, to the end and beyond it; also where the way past the cache is none."""
    really_open, really_read = os.open, os.preadv

    def opened(name: str, flags: int, *mode: int, dir_fd: int) -> int:
        if flags & os.O_DIRECT and refused == "to open":
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return really_open(name, flags, *mode, dir_fd=dir_fd)

    def read(file: int, into: list[memoryview], at: int) -> int:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT and refused == "to read":
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return really_read(file, into, at)

    data = bytes(number * 7 % 251 for number in range(3 * BUFFER + 4_097))
    (tmp_path / "1").write_bytes(data)
    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "preadv", read)
    reader = Reader()
    file = reader.open("1", directory)
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    for at in (
        0,
        1,
        ALIGNED_TO - 1,
        ALIGNED_TO,
        BUFFER + 5,
        len(data) - 4_097,
        len(data) - 1,
        len(data),
        1 << 20,
    ):
        for size in (1, 4_096, BUFFER, 2 * BUFFER):
            found = bytes(reader.read(file, at, size))
            assert found == data[at : at + len(found)]
            assert len(found) <= size
            assert len(found) > 0 or at >= len(data)
            if at % ALIGNED_TO + size <= BUFFER:
                assert len(found) == len(data[at : at + size])
    assert refused == "to read" or fcntl.fcntl(file, fcntl.F_GETFL) == flags
    os.close(file)
