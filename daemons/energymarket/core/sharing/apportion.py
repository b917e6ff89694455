"""Whole watt-hours in proportion: parts that add up exactly, the same on every machine."""

from __future__ import annotations

from typing import Final

import numpy as np

from energymarket.core.sharing.flows import Energy, total

EXACT: Final = 1 << 52
"""Below it a quotient of whole numbers in doubles has the right floor: off an integer by 1/b at least,
it is rounded by less."""
_DIGIT: Final = 10
"""Bits of a digit of the long division: a remainder below 2**52 shifted by it still fits."""


def apportion(total_wh: Energy, weights: Energy) -> Energy:
    """Divide a total in proportion to weights, over the last axis: shapes (..., 1) and (..., N).

    Part k is floor(T C_k / W) − floor(T C_(k−1) / W), where C are the running sums of the weights and W
    is their whole: each part is its exact share rounded down or up, all of them add up to T, who has
    no weight has no part, and where T <= W nobody has more than its weight. (Rounding the running sum:
    the method of cumulative rounding.) Without any weight all parts are 0.

    Whole numbers below 2**52, as int64 or as doubles whose products stay below 2**52; the answer is of
    the same type.
    """
    ends = np.cumsum(weights, axis=-1)
    if ends.shape[-1] == 0:
        return ends
    whole = np.maximum(ends[..., -1:], 1)
    if ends.dtype == np.float64:
        marks = ends * total_wh
        marks /= whole
        np.floor(marks, out=marks)
    elif int(total_wh.max(initial=0)) * int(whole.max(initial=0)) < EXACT:
        marks = (ends * (total_wh / 1.0) / whole).astype(np.int64)
    else:
        marks = total_wh // whole * ends + _floor_of_product(total_wh % whole, ends, whole)
    parts = np.empty_like(marks)
    parts[..., :1] = marks[..., :1]
    np.subtract(marks[..., 1:], marks[..., :-1], out=parts[..., 1:])
    return parts


def _floor_of_product(factor: Energy, ends: Energy, whole: Energy) -> Energy:
    """floor(factor × ends / whole) for factor < whole < 2**52: long division, digit by digit."""
    quotient: Energy = np.zeros_like(ends)
    rest: Energy = np.zeros_like(ends)
    for shift in range(50, -1, -_DIGIT):
        digit = (ends >> shift) & ((1 << _DIGIT) - 1)
        value = (rest << _DIGIT) + factor * digit
        quotient = (quotient << _DIGIT) + value // whole
        rest = value % whole
    return quotient


def fill(total_wh: Energy, needs_wh: Energy) -> Energy:
    """Serve needs from the greatest on, until what remains lacking is level: shapes (..., 1) and (..., N).

    Everybody is served down to the same remaining lack, whoever lacks less has nothing. The watt-hours
    that do not reach for all of them go to the first homes. Where the total is enough, all needs are met.
    """
    homes = needs_wh.shape[-1]
    if homes == 0:
        return needs_wh.copy()
    lined = np.sort(needs_wh, axis=-1)
    behind = np.flip(np.cumsum(np.flip(lined, -1), axis=-1), -1)  # of this one and greater
    takers = np.arange(homes, 0, -1)
    first = np.argmax(behind - takers * lined <= total_wh, axis=-1)[..., np.newaxis]
    short = (np.take_along_axis(behind, first, -1) - total_wh).astype(np.int64)
    level = np.maximum(-(-short // (homes - first)), 0)
    parts: Energy = np.maximum(needs_wh - level, 0)
    rest = np.minimum(total_wh, behind[..., :1]) - parts.sum(axis=-1, keepdims=True)
    level_ones = needs_wh >= level
    parts += level_ones & (np.cumsum(level_ones, axis=-1) <= rest)
    return parts


def match_pro_rata(have_wh: Energy, want_wh: Energy) -> tuple[Energy, Energy]:
    """What moves from those who have to those who want, T = min(both sums), in proportion on both sides.

    The side with less moves all it has; only the other one is divided. Both of shape (..., N).
    """
    supply, demand = total(have_wh), total(want_wh)
    plenty = supply >= demand
    part = apportion(np.minimum(supply, demand), np.where(plenty, have_wh, want_wh))
    return np.where(plenty, part, have_wh), np.where(plenty, want_wh, part)
