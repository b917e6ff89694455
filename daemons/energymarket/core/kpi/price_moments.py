"""The price as a series, in a dozen whole numbers: moments, lag products, slots at floor and cap."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from energymarket.core.units import I64


@dataclass(slots=True)
class PriceMoments:
    """Sums over slots, and over pairs of neighbouring slots (x before y); prices in µ€/kWh, all exact."""

    floor_ueur_per_kwh: int | None = None
    cap_ueur_per_kwh: int | None = None
    slots: int = 0
    total: int = 0
    squares: int = 0
    at_floor: int = 0
    at_cap: int = 0
    lowest: int | None = None
    highest: int | None = None
    pairs: int = 0
    x: int = 0
    y: int = 0
    xx: int = 0
    yy: int = 0
    xy: int = 0
    last_slot: int | None = None
    last: int = 0

    def add(self, first_slot: int, price: I64) -> None:
        """Add consecutive slots. Slots that do not follow on the last ones make no pair with them."""
        if not len(price):
            return
        prices = price.tolist()
        self.slots += len(prices)
        self.total += sum(prices)
        self.squares += _dot(price, price)
        if self.floor_ueur_per_kwh is not None:
            self.at_floor += int(np.count_nonzero(price <= self.floor_ueur_per_kwh))
        if self.cap_ueur_per_kwh is not None:
            self.at_cap += int(np.count_nonzero(price >= self.cap_ueur_per_kwh))
        low, high = min(prices), max(prices)
        self.lowest = low if self.lowest is None else min(self.lowest, low)
        self.highest = high if self.highest is None else max(self.highest, high)
        if self.last_slot is not None and first_slot == self.last_slot + 1:
            price = np.concatenate(([self.last], price))
        self._add_pairs(price[:-1], price[1:])
        self.last_slot = first_slot + len(prices) - 1
        self.last = prices[-1]

    def _add_pairs(self, before: I64, after: I64) -> None:
        self.pairs += len(before)
        self.x += sum(before.tolist())
        self.y += sum(after.tolist())
        self.xx += _dot(before, before)
        self.yy += _dot(after, after)
        self.xy += _dot(before, after)

    def plain(self) -> dict[str, int | None]:
        """Every number by its name."""
        return asdict(self)

    # what they say

    @property
    def mean(self) -> Fraction | None:
        """Mean price."""
        return Fraction(self.total, self.slots) if self.slots else None

    @property
    def variance(self) -> Fraction | None:
        """Population variance of the price: the mean of squares less the square of the mean."""
        if not self.slots:
            return None
        return Fraction(self.squares * self.slots - self.total**2, self.slots**2)

    @property
    def change_variance(self) -> Fraction | None:
        """Population variance of the change from slot to slot."""
        if not self.pairs:
            return None
        squares = self.xx + self.yy - 2 * self.xy
        return Fraction(squares * self.pairs - (self.y - self.x) ** 2, self.pairs**2)

    @property
    def autocorrelation(self) -> Fraction | None:
        """Of neighbouring slots: r1 = Σ (x - m)(y - m) / Σ (p - m)², m the mean of all.

        Box, Jenkins: Time Series Analysis (1970), chapter 2. None for a price that never moves.
        """
        mean, variance = self.mean, self.variance
        if mean is None or not variance or not self.pairs:
            return None
        products = self.xy - mean * (self.x + self.y) + self.pairs * mean * mean
        return Fraction(products, 1) / (variance * self.slots)


def half_life_slots(kept: float | Fraction | None) -> float | None:
    """Slots in which a deviation halves that keeps the share `kept` per slot: ln(1/2) / ln(kept).

    None outside 0 < kept < 1: what does not decay, or swings, has no half-life.
    """
    if kept is None or not 0 < kept < 1:
        return None
    return math.log(0.5) / math.log(kept)


def _dot(left: I64, right: I64) -> int:
    """Exact, in Python's integers where int64 is too narrow."""
    if not len(left):
        return 0
    size = max(int(np.abs(left).max()), int(np.abs(right).max()))
    if size * size * len(left) < 1 << 62:
        return int(np.multiply(left, right, dtype=np.int64).sum())
    return sum(a * b for a, b in zip(left.tolist(), right.tolist(), strict=True))
