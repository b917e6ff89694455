"""The tally of a run: hears its slots in order, keeps a few dozen numbers per home, can be packed away.

What it holds is whole numbers, so it is the same however the slots were cut into passages, and whether the
run was interrupted or not.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.core.kpi.community_sums import TOTALS, CommunitySums, SlotTotals
from energymarket.core.kpi.home_sums import COUNTED, EMITTED, NARROW_MAX, SUMMED, Column, HomeSums, size_of
from energymarket.core.kpi.price_moments import PriceMoments
from energymarket.core.limits import HOMES_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.core.passage import Passage
    from energymarket.core.units import I64

_MAGIC: Final = b"EMKP"
_VERSION: Final = 2
_WIDTHS: Final = (4, 8)
_HEAD: Final = struct.Struct("<4sII")  # magic, version, bytes of the JSON that follows


@dataclass(frozen=True, slots=True)
class Frame:
    """What does not change in a run and the tally needs to know."""

    homes: int
    slot_s: int
    gift_fee_ueur_per_kwh: int = 0
    floor_ueur_per_kwh: int | None = None
    cap_ueur_per_kwh: int | None = None


@dataclass(frozen=True, slots=True)
class Carbon:
    """The grid's carbon intensity per slot, (K,) in mg CO2 per kWh; None where it is not known."""

    average_mg_per_kwh: I64 | None = None
    marginal_mg_per_kwh: I64 | None = None

    def given(self, slots: int) -> dict[str, I64]:
        """By the names of EMITTED, what is known. Raises ValueError for another number of slots."""
        found = dict(zip(EMITTED, (self.average_mg_per_kwh, self.marginal_mg_per_kwh), strict=True))
        known = {name: each.astype(np.int64) for name, each in found.items() if each is not None}
        if any(len(each) != slots for each in known.values()):
            raise ValueError(f"carbon intensities are not those of {slots} slots")
        return known


UNKNOWN: Final = Carbon()


def _fitted(column: Column) -> Column:
    """A column in 32 bits if it fits, else in 64; itself where it has that width."""
    narrow = size_of(column) <= NARROW_MAX
    return np.ascontiguousarray(column, "<i4" if narrow else "<i8")


class Tally:
    """Sums over the slots of a run.

    `detail` holds what needs every home's row of every slot, `compacted` what is left of slots whose rows
    were added up (by home, names of SUMMED), `community` and `price` all slots.
    """

    def __init__(self, frame: Frame, *, metered: bool = False) -> None:
        """`metered`: what meters count is not added up, but told by `read` whenever it is wanted."""
        self.frame = frame
        self.detail = HomeSums(frame.homes, metered=metered)
        self.detail_slots = 0
        self.detail_first_slot: int | None = None
        self.compacted: dict[str, I64] | None = None
        self.community = CommunitySums()
        self.price = PriceMoments(frame.floor_ueur_per_kwh, frame.cap_ueur_per_kwh)

    def add(self, passage: Passage, carbon: Carbon = UNKNOWN) -> None:
        """Hear a passage.

        Raises ValueError if it is none of these homes or not later than the last one: nothing has happened
        then. Raises OverflowError where a sum would leave 63 bits, which no ledger of ours can reach: the
        tally is then of no more use.
        """
        if not passage.slots:
            return
        self._follow(passage.first_slot)
        intensities = carbon.given(passage.slots)
        asked = TOTALS if passage.totals_wh is None else ()
        totals = {name: np.zeros(passage.slots, np.int64) for name in asked}
        self.detail.add(passage, intensities, totals)
        self.detail_slots += passage.slots
        if self.detail_first_slot is None:
            self.detail_first_slot = passage.first_slot
        prices = (passage.price_ueur_per_kwh, passage.import_ueur_per_kwh, passage.export_ueur_per_kwh)
        known = totals if passage.totals_wh is None else passage.totals_wh
        self._add_totals(SlotTotals(passage.first_slot, *prices, known), intensities)

    def read(self, registers: Mapping[str, Column]) -> None:
        """The meters after the last slot, by their registers' names; before the first they were at 0."""
        self.detail.read(registers)

    def add_totals(self, totals: SlotTotals, carbon: Carbon = UNKNOWN) -> None:
        """Hear slots of which only the sums over all homes are known.

        What they were per home is told once, by `add_compacted`.
        """
        if not totals.slots:
            return
        self._follow(totals.first_slot)
        self._add_totals(totals, carbon.given(totals.slots))

    def add_compacted(self, sums: Mapping[str, I64]) -> None:
        """What slots heard by `add_totals` add up to per home: (N,) by the names of SUMMED."""
        if self.compacted is None:
            self.compacted = {name: np.zeros(self.frame.homes, np.int64) for name in SUMMED}
        for name, column in self.compacted.items():
            np.add(column, sums[name], out=column)

    def _follow(self, first_slot: int) -> None:
        last = self.community.last_slot
        if last is not None and first_slot <= last:
            raise ValueError(f"slot {first_slot} comes after slot {last}")

    def _add_totals(self, totals: SlotTotals, intensities: Mapping[str, I64]) -> None:
        self.community.add(totals, intensities)
        self.price.add(totals.first_slot, totals.price_ueur_per_kwh)

    def of(self, name: str) -> I64:
        """A column of SUMMED over all slots, with those of which only sums are known."""
        detail = self.detail.columns[name]
        return detail if self.compacted is None else detail + self.compacted[name]

    @property
    def is_whole(self) -> bool:
        """Every slot had its detail."""
        return self.detail_slots == self.community.slots

    # packed

    def pack(self) -> bytes:
        """Everything, so that a run can be taken up again, as one."""
        return b"".join(self.packed())

    def packed(self) -> list[bytes | memoryview]:
        """The same in parts: a head, JSON, then the columns, of 32 bits where they fit; views where they do.

        The bytes are the same however the slots were cut.
        """
        columns = {name: _fitted(column) for name, column in self._columns().items()}
        head: dict[str, Any] = {
            "frame": asdict(self.frame),
            "detail": [self.detail_slots, self.detail_first_slot],
            "community": self.community.plain(),
            "price": self.price.plain(),
            "columns": {name: column.itemsize for name, column in columns.items()},
        }
        text = json.dumps(head, separators=(",", ":")).encode()
        views = (column.view(np.uint8).data for column in columns.values())
        return [_HEAD.pack(_MAGIC, _VERSION, len(text)), text, *views]

    def _columns(self) -> dict[str, Column]:
        compacted = self.compacted or {}
        return {**self.detail.columns.kept, **{f"compacted {name}": each for name, each in compacted.items()}}

    @classmethod
    def unpack(cls, data: bytes, *, metered: bool = False) -> Tally:
        """The tally that was packed. Raises ValueError for what `pack` never made."""
        magic, version, size = _HEAD.unpack_from(data) if len(data) >= _HEAD.size else (b"", 0, 0)
        if magic != _MAGIC or version != _VERSION:
            raise ValueError(f"no tally of version {_VERSION}")
        try:
            head = json.loads(data[_HEAD.size : _HEAD.size + size])
            tally = cls(Frame(**head["frame"]), metered=metered)
            tally.detail_slots, tally.detail_first_slot = head["detail"]
            for mine, name in ((tally.community, "community"), (tally.price, "price")):
                for field in fields(mine):
                    setattr(mine, field.name, head[name][field.name])
            tally._fill(head["columns"], data[_HEAD.size + size :])
        except (KeyError, TypeError) as error:
            raise ValueError(f"a tally that lacks something: {error!r}") from error
        return tally

    def _fill(self, names: dict[str, int], body: bytes) -> None:
        homes = self.frame.homes
        possible = {*COUNTED, *EMITTED, *(f"compacted {name}" for name in SUMMED)}
        if not 0 <= homes <= HOMES_MAX or not set(COUNTED) <= set(names) <= possible:
            raise ValueError("a tally of impossible columns")
        if not set(names.values()) <= set(_WIDTHS) or len(body) != homes * sum(names.values()):
            raise ValueError(f"a tally of {len(body)} bytes for {len(names)} columns of {homes} homes")
        at = 0
        for name, width in names.items():
            column = np.frombuffer(body, f"<i{width}", homes, at).astype(np.int64)
            at += homes * width
            if name in self.detail.columns or name in EMITTED:
                self.detail.columns.put(name, column)
            else:
                self.compacted = (self.compacted or {}) | {name.removeprefix("compacted "): column}
