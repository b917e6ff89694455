"""The roughness of loads: a part that lasts an hour, as an appliance does, and a part new in each slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np

from energymarket.core import chance
from energymarket.core.block import F32, U32, Column, Owners, Spare, owners_or_none

NOISE_PERMILLE_MAX: Final = 1_000  # beyond it a load could become negative

_SPARE_BITS: Final = np.uint32(8)  # float32 holds the upper 24 bits of a draw exactly
_ONE: Final = np.float32(1)
_UNIT: Final = np.float32(2.0**-24)
_STEP: Final = np.float32(1.5 * 2.0**-48)


class Drawn(Protocol):
    """What draws depend on, homes aside."""

    @property
    def seed(self) -> int:
        """Of all chance."""

    @property
    def slots(self) -> range:
        """K of them."""

    @property
    def hours(self) -> tuple[int, ...]:
        """Of the slots, ascending: several slots may lie in one."""


def noise_or_none(homes: Mapping[str, Column], first: int) -> Noise | None:
    """The noise of a block of homes, of which `first` is the first id; None if nobody's load is rough."""
    owners = owners_or_none(homes["noise_permille"] > 0)
    if owners is None:
        return None
    amplitude = np.minimum(homes["noise_permille"], NOISE_PERMILLE_MAX).astype(np.float32)
    amplitude = owners.column(amplitude / np.float32(NOISE_PERMILLE_MAX))
    one = bool((amplitude == amplitude[0]).all())
    return Noise(
        owners, amplitude[0] if one else amplitude, range(first, first + len(homes["noise_permille"]))
    )


class Noise:
    """What the loads of a block are multiplied by: 1 + a * (1.5 u**2 + v - 1).

    u holds for an hour, v is new in each slot; both are uniform in [0, 1). The mean is 1, so a year's energy
    stays; the square makes it lopsided as households are: mostly a little less, at times up to 1 + 1.5 a. The
    standard deviation is a * sqrt(17 / 60) = 0.53 a, and 12 / 17 of the variance lasts the hour.
    """

    def __init__(self, owners: Owners, amplitude: F32 | np.float32, ids: range) -> None:
        """`amplitude` is a of each owner, or of all of them; `ids` are those of the block."""
        self._owners = owners
        self._amplitude = amplitude
        self._ids = ids
        self._kept: F32 | None = None
        self._kept_hour: int | None = None

    def keep_hours(self) -> None:
        """Keep what lasts an hour from slot to slot, 4 bytes a home: for who looks at one slot at a time."""
        self._kept = np.empty(self._owners.count, np.float32)

    def roughen(self, wanted: F32, shared: Drawn, spare: Spare) -> None:
        """Multiply what the homes of the block want, (K, homes)."""
        part = self._owners.read(wanted, spare.floats[0])
        part *= self._factor(shared, spare.like(part, 1), spare.like(part, 2))
        self._owners.write(wanted, part)

    def _factor(self, shared: Drawn, factor: F32, quick: F32) -> F32:
        # cheaper made than kept
        ids = chance.folded(self._owners.column(np.arange(self._ids.start, self._ids.stop, dtype=np.uint32)))
        squares = self._last_the_hour(shared, ids, factor)
        draws = chance.draw_u32_of_folded(shared.seed, chance.Purpose.LOAD_NOISE, shared.slots, ids)
        draws >>= _SPARE_BITS
        np.copyto(quick, draws.view(np.int32), casting="unsafe")
        quick *= _UNIT
        np.add(squares, quick, out=factor)
        factor -= _ONE
        factor *= self._amplitude
        factor += _ONE
        return factor

    def _last_the_hour(self, shared: Drawn, ids: U32, room: F32) -> F32:
        """1.5 u**2, (K, owners), nobody else's to change; made in `room` unless it was kept."""
        if self._kept is None or len(shared.hours) > 1:
            _draw_hours(shared, ids, room)
            return room
        kept = self._kept[None, :]
        if self._kept_hour != shared.hours[0]:
            _draw_hours(shared, ids, kept)
            self._kept_hour = shared.hours[0]
        return kept


def _draw_hours(shared: Drawn, ids: U32, squares: F32) -> None:
    hours = sorted(set(shared.hours))
    steps = chance.draw_u32_of_folded(shared.seed, chance.Purpose.APPLIANCE, hours, ids)
    steps >>= _SPARE_BITS
    if len(hours) == len(shared.hours):
        np.copyto(squares, steps.view(np.int32), casting="unsafe")
    else:
        row_of = {hour: row for row, hour in enumerate(hours)}
        for row, hour in enumerate(shared.hours):
            np.copyto(squares[row], steps[row_of[hour]].view(np.int32), casting="unsafe")
    squares *= squares
    squares *= _STEP
