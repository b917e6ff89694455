"""The C library's memory: told to keep what a slot has used, because the next slot uses it again."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

TRIM_BYTES: Final = 512 << 20
MMAP_BYTES: Final = 256 << 20
"""Arrays below this size come from the heap. Else glibc gives pages back after every slot and takes
them again in the next, and the page faults cost more than the arithmetic: 922 against 314 µs were
measured to settle a slot of 10,000 homes."""

WHOLE_HOMES_MAX: Final = 16_384
"""Whole registers of more homes at once leave more with malloc than their next slots need."""


def give_back() -> None:
    """Give to the system what malloc keeps: after work that does not come again soon."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_freed_memory() -> None:
    """Let malloc keep freed memory for the next slot; where there is no mallopt (musl) nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        # Threads take turns anyway (the interpreter's lock); with an arena each they keep memory twice.
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)
