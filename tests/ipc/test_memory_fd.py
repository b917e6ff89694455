"""Memory files between processes: only what can no longer change is mapped."""

from __future__ import annotations

import fcntl
import os
import tempfile

import numpy as np
import pytest

from energymarket.transport import memory_fd
from energymarket.transport.memory_fd import MemoryFdError


def test_arrays_pass_through_a_sealed_file() -> None:
    """What was put in is mapped, also after the descriptor is closed; nobody can write it."""
    data = np.arange(100_000, dtype=np.int64)
    descriptor = memory_fd.seal(data.data)
    view = memory_fd.map_sealed(descriptor, data.nbytes)
    with pytest.raises(PermissionError):
        os.write(descriptor, b"x")
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)
    assert np.array_equal(np.frombuffer(view, np.int64), data)
    assert view.readonly


def test_nothing_is_a_file_too() -> None:
    """An empty file maps to an empty view."""
    descriptor = memory_fd.seal(b"")
    assert bytes(memory_fd.map_sealed(descriptor, 0)) == b""
    os.close(descriptor)


@pytest.mark.parametrize("missing", [fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, fcntl.F_SEAL_WRITE])
def test_a_file_that_could_still_change_is_refused(missing: int) -> None:
    """Without any one of the seals the file is not mapped: its sender could change or shrink it."""
    descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(descriptor, b"x" * 100)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, memory_fd.SEALS & ~missing & ~fcntl.F_SEAL_SEAL)
    with pytest.raises(MemoryFdError, match="not sealed"):
        memory_fd.map_sealed(descriptor, 100)
    os.close(descriptor)


def test_a_file_beyond_the_limit_is_refused() -> None:
    """One byte more than may be read: refused before it is mapped."""
    descriptor = memory_fd.seal(b"x" * 101)
    with pytest.raises(MemoryFdError, match="at most 100"):
        memory_fd.map_sealed(descriptor, 100)
    os.close(descriptor)


def test_other_descriptors_are_refused() -> None:
    """A pipe, a directory and a file on disk are no memory files."""
    read_fd, write_fd = os.pipe()
    directory_fd = os.open("/", os.O_RDONLY)
    with tempfile.TemporaryFile(dir="/var/tmp") as file:
        for descriptor in (read_fd, directory_fd, file.fileno()):
            with pytest.raises(MemoryFdError):
                memory_fd.map_sealed(descriptor, 100)
    for descriptor in (read_fd, write_fd, directory_fd):
        os.close(descriptor)
