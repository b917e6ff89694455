"""Draws by counter: the published mixers, number by number, in plain integers."""

from __future__ import annotations

import numpy as np
import pytest

from energymarket.core.chance import (
    Purpose,
    draw_u32,
    draw_u32_of_folded,
    draw_u32_of_slots,
    draw_u64,
    folded,
)

ITEMS = np.array([0, 1, 2, 65_535, 65_536, 1_000_000, 2**31, 2**32 - 1], np.uint32)
MASK = 2**32 - 1


def lowbias32(x: int) -> int:
    """As its author gives it: nullprogram.com, "Prospecting for Hash Functions" (2018)."""
    x ^= x >> 16
    x = x * 0x7FEB352D & MASK
    x ^= x >> 15
    x = x * 0x846CA68B & MASK
    return x ^ x >> 16


@pytest.mark.parametrize("slot", [0, 5, 10**9])
def test_a_draw_is_the_mixer_run_twice_with_a_key_before_each_time(slot: int) -> None:
    """For one slot, for several, and of items that were folded before."""
    key = draw_u64(7, Purpose.LOAD_NOISE, slot)
    expected = [lowbias32(lowbias32(item ^ key & MASK) ^ key >> 32) for item in ITEMS.tolist()]
    assert draw_u32(7, Purpose.LOAD_NOISE, slot, ITEMS).tolist() == expected
    for slots in ([slot], [3, slot], [*range(20), slot]):
        assert draw_u32_of_slots(7, Purpose.LOAD_NOISE, slots, ITEMS)[-1].tolist() == expected
        assert draw_u32_of_folded(7, Purpose.LOAD_NOISE, slots, folded(ITEMS))[-1].tolist() == expected
