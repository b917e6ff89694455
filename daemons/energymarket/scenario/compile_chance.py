"""Draws for the compiler: uniform, normal and exponential columns from counters, never from a stream."""

from __future__ import annotations

import numpy as np

from energymarket.core import chance
from energymarket.scenario.compile_sun import F64


def uniform(seed: int, purpose: int, key: int, count: int) -> F64:
    """`count` numbers in (0, 1), the same for the same seed, purpose and key."""
    drawn = chance.draw_u32(seed, purpose, key, np.arange(count, dtype=np.uint32))
    return (drawn.astype(np.float64) + 0.5) / 2.0**32


def normal(seed: int, purpose: int, key: int, count: int) -> F64:
    """`count` standard normal numbers (Box and Muller 1958)."""
    first, second = (uniform(seed, purpose, 2 * key + part, count) for part in (0, 1))
    return np.asarray(np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second), dtype=np.float64)


def red(seed: int, purpose: int, key: int, count: int, memory: float) -> F64:
    """`count` standard normal numbers, each correlated with the one before it by `memory` (AR(1))."""
    fresh = normal(seed, purpose, key, count) * np.sqrt(1.0 - memory * memory)
    fresh[0] /= np.sqrt(1.0 - memory * memory)
    course = fresh.tolist()
    for index in range(1, count):
        course[index] += memory * course[index - 1]
    return np.array(course)
