"""Arrays between processes as one sealed memory file: what is mapped cannot change or shrink any more."""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    Buffer: TypeAlias = bytes | bytearray | memoryview

SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class MemoryFdError(ValueError):
    """A received descriptor is not what may be mapped: theirs to mend."""


def seal(data: Buffer | Sequence[Buffer], name: str = "energy-market") -> int:
    """Put bytes into a new sealed memory file; the answer is its descriptor, to be closed by the caller.

    Several parts are written one after the other, without a copy that has them all.
    """
    parts = [data] if isinstance(data, bytes | bytearray | memoryview) else data
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for part in parts:
            view = memoryview(part).cast("B")
            while len(view):
                view = view[os.write(descriptor, view) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def map_sealed(descriptor: int, bytes_max: int) -> memoryview:
    """Map a received memory file, read-only. Raises MemoryFdError unless it is sealed and small enough.

    Without the seals the sender could shrink the file under us, which is a SIGBUS, or change it between
    checking and using. The descriptor may be closed afterwards.
    """
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        raise MemoryFdError(f"not a memory file ({error.strerror})") from error
    if seals & SEALS != SEALS:
        raise MemoryFdError(f"the memory file is not sealed: seals {seals:#x}, needed {SEALS:#x}")
    size = os.fstat(descriptor).st_size
    if size > bytes_max:
        raise MemoryFdError(f"the memory file has {size} bytes; at most {bytes_max} are read")
    if size == 0:
        return memoryview(b"")
    # Kernels before 6.7 refuse a shared mapping of a write-sealed file, even read-only.
    return memoryview(mmap.mmap(descriptor, size, mmap.MAP_PRIVATE, mmap.PROT_READ))
