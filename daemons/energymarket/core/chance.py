"""Chance by counter: a number is a function of seed, purpose, slot and home, never of a stream.

Integer hashes only, so that every processor and every NumPy draws the same. The scalar mixer is
SplitMix64 (Steele, Lea, Flood 2014), the vector one the 32-bit xorshift-multiply finaliser with
the constants of Wellons' hash prospector ("lowbias32"), run twice with two keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

_HALF = np.uint32(16)
_FIFTEEN = np.uint32(15)
_FIRST = np.uint32(0x7FEB352D)
_SECOND = np.uint32(0x846CA68B)
_MASK64 = (1 << 64) - 1
_MANY = 8  # so many slots are drawn as an array sooner than one by one


class Purpose(IntEnum):
    """What a draw is for: each purpose has its own numbers."""

    RING = 1
    LOAD_NOISE = 2
    EVENT_ARRIVAL = 3
    EVENT_DURATION = 4
    EVENT_INTENSITY = 5
    WEATHER = 6
    HOME = 7
    APPLIANCE = 8
    PV_NOISE = 9
    SAMPLE = 10
    FORECAST = 11


def _mix64(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK64
    return value ^ (value >> 31)


def draw_u64(seed: int, purpose: int, slot: int, item: int = 0) -> int:
    """One number in 0 .. 2**64 - 1."""
    return _mix64(_mix64(_mix64(_mix64(seed & _MASK64) ^ purpose) ^ (slot & _MASK64)) ^ item)


def draw_u32(seed: int, purpose: int, slot: int, items: U32) -> U32:
    """One number in 0 .. 2**32 - 1 for each item; shape of `items`."""
    key = draw_u64(seed, purpose, slot)
    return _drawn(folded(items), np.uint32(key & 0xFFFFFFFF), np.uint32(key >> 32))


def draw_u32_of_slots(seed: int, purpose: int, slots: Sequence[int], items: U32) -> U32:
    """`draw_u32` for several slots at once: shape (slots, items)."""
    return draw_u32_of_folded(seed, purpose, slots, folded(items))


def draw_u32_of_folded(seed: int, purpose: int, slots: Sequence[int], items: U32) -> U32:
    """The same of items that are `folded`: for who draws for them more than once."""
    if len(slots) < _MANY:
        keys = np.array([draw_u64(seed, purpose, slot) for slot in slots], np.uint64)[:, None]
    else:
        keys = draw_u64_of_slots(seed, purpose, np.array(slots, np.uint64))[:, None]
    low, high = keys & np.uint64(0xFFFFFFFF), keys >> np.uint64(32)
    return _drawn(items, low.astype(np.uint32), high.astype(np.uint32))


def draw_u64_of_slots(seed: int, purpose: int, slots: U64, item: int = 0) -> U64:
    """`draw_u64` for an array of slots: the same numbers, by the wrapping integers of NumPy."""
    keyed = np.uint64(_mix64(_mix64(seed & _MASK64) ^ purpose))
    return _mix64_array(_mix64_array(keyed ^ slots) ^ np.uint64(item))


def _mix64_array(value: U64) -> U64:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def folded(value: U32) -> U32:
    """The first step of the mixer, x ^ (x >> 16), which is its last one, too.

    It undoes itself, and of an exclusive-or it is that of both sides: between two runs of the mixer only
    that of the second key is left of the steps of both.
    """
    return value ^ (value >> _HALF)


def _drawn(items: U32, low: U32 | np.uint32, high: U32 | np.uint32) -> U32:
    """Mix folded items twice, with a key before each time."""
    drawn = items ^ (low ^ (low >> _HALF))
    spare = _stir(drawn)
    drawn ^= high ^ (high >> _HALF)
    _stir(drawn, spare)
    drawn ^= np.right_shift(drawn, _HALF, out=spare)
    return drawn


def _stir(value: U32, spare: U32 | None = None) -> U32:
    """Mix in place but for the first and the last step; answers `spare`, an array of the same shape."""
    value *= _FIRST
    spare = np.right_shift(value, _FIFTEEN, out=spare)
    value ^= spare
    value *= _SECOND
    return spare
