"""Who of a range of homes has what, as bits: a sparse state has a column's value only for those homes.

What needs a plant, a battery or an answer to prices is zero for ever at homes without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from energymarket.core.block import Bools, Column

SERIES_NONE: Final = 65_535

SUPPLY: Final = 0
WIND: Final = 1
BATTERY: Final = 2
ELASTIC: Final = 3
KINDS: Final = 4

KIND_OF: Final[Mapping[str, int]] = {
    "production_wh": SUPPLY,
    "export_wh": SUPPLY,
    "given_wh": SUPPLY,
    "pv_carry_wh": SUPPLY,
    "wind_carry_wh": WIND,
    "battery_in_wh": BATTERY,
    "battery_out_wh": BATTERY,
    "losses_wh": BATTERY,
    "battery_wh": BATTERY,
    "battery_carry": BATTERY,
    "deferred_wh": ELASTIC,
    "deferred_carry_wh": ELASTIC,
}
"""What a home must have for a column of a state to say anything of it; the others are every home's."""

_FILLED_TO: Final = 8  # bytes: what follows the bits stays aligned
_BITS: Final = 8


def supplies(homes: Mapping[str, Column]) -> Bools:
    """Who produces: by a roof, by a turbine, or by a series."""
    owns: Bools = (homes["pv_kwp"] > 0) | (homes["series"] != SERIES_NONE) | (homes["wind_kw"] > 0)
    return owns


class Owned:
    """For each kind of thing a bit per home."""

    __slots__ = ("_bits", "counts", "homes")

    def __init__(self, bits: npt.NDArray[np.uint8], homes: int) -> None:
        """`bits` (KINDS, bytes): home 1 is the highest bit of a row's first byte; those behind are 0."""
        self._bits = bits
        self.homes = homes
        self.counts = tuple(int(np.count_nonzero(self.mask(kind))) for kind in range(KINDS))

    @classmethod
    def of_masks(cls, masks: list[Bools]) -> Self:
        """One mask per kind, in the order of their numbers."""
        homes = len(masks[0])
        bits = np.zeros((KINDS, _row_bytes(homes)), np.uint8)
        for row, mask in zip(bits, masks, strict=True):
            packed = np.packbits(mask)
            row[: len(packed)] = packed
        return cls(bits, homes)

    @classmethod
    def of(cls, homes: Mapping[str, Column]) -> Self:
        """What the homes of a compiled scenario have."""
        return cls.of_masks(
            [
                supplies(homes),
                homes["wind_kw"] > 0,
                homes["battery_capacity_wh"] > 0,
                homes["elasticity_class"] > 0,
            ]
        )

    @classmethod
    def read(cls, payload: memoryview | bytes, homes: int) -> Self:
        """What a sparse state says in its first bytes. ValueError if it is too short."""
        size = _row_bytes(homes)
        bits = np.frombuffer(payload, np.uint8, KINDS * size).reshape(KINDS, size)
        return cls(bits.copy(), homes)

    @property
    def packed_bytes(self) -> int:
        """What the bits take in front of a sparse state."""
        return self._bits.size

    def packed(self) -> bytes:
        """The bits as they stand in front of a sparse state."""
        return self._bits.tobytes()

    def mask(self, kind: int) -> Bools:
        """Who has a thing of this kind."""
        return np.unpackbits(self._bits[kind], count=self.homes).view(np.bool_)

    def rows(self, name: str) -> int:
        """How many homes have a value in a column."""
        kind = KIND_OF.get(name)
        return self.homes if kind is None else self.counts[kind]

    def part(self, start: int, stop: int) -> Owned:
        """The homes start .. stop - 1."""
        return Owned.of_masks([self.mask(kind)[start:stop] for kind in range(KINDS)])

    @classmethod
    def joined(cls, parts: list[Owned]) -> Self:
        """What homes have that follow each other."""
        masks = [np.concatenate([part.mask(kind) for part in parts]) for kind in range(KINDS)]
        return cls.of_masks(masks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Owned) and self.homes == other.homes and self.packed() == other.packed()

    __hash__ = None  # type: ignore[assignment]


def _row_bytes(homes: int) -> int:
    bits = _BITS * _FILLED_TO
    return -(-homes // bits) * _FILLED_TO
