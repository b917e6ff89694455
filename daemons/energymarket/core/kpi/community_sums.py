"""What slots add up to for the community behind its connection, where members cover each other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.core.units import I64

TOTALS: Final = ("produced_wh", "consumed_wh", "imported_wh", "exported_wh", "sold_wh", "bought_wh")
PARTS_PER_ONE: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class SlotTotals:
    """K consecutive slots, each added up over all homes: (K,) each."""

    first_slot: int
    price_ueur_per_kwh: I64
    import_ueur_per_kwh: I64
    export_ueur_per_kwh: I64
    totals_wh: Mapping[str, I64]  # by a name of TOTALS

    @property
    def slots(self) -> int:
        """How many: K."""
        return len(self.price_ueur_per_kwh)


@dataclass(slots=True)
class CommunitySums:
    """Whole numbers, Python's: no size is too large, and no cut changes them."""

    slots: int = 0
    first_slot: int | None = None
    last_slot: int | None = None
    line_import_wh: int = 0  # over the connection: per slot, imports less exports of all homes, if above 0
    line_export_wh: int = 0
    covered_wh: int = 0  # min(production net of storage, consumption), per slot
    traded_wh: int = 0  # min(sold, bought), per slot
    peak_line_import_wh: int = 0
    peak_line_import_slot: int | None = None
    peak_line_export_wh: int = 0
    peak_line_export_slot: int | None = None
    peak_imports_wh: int = 0  # of the sum of all homes' imports in a slot
    imbalance_parts: int = 0  # (consumed - produced) / (consumed + produced), in 1e-9
    average_slots: int = 0  # slots with an average carbon intensity
    average_ug: int = 0  # line import x intensity: Wh x mg/kWh
    marginal_slots: int = 0
    marginal_ug: int = 0

    def add(self, slots: SlotTotals, intensities: Mapping[str, I64]) -> None:
        """Add slots; `intensities` as `HomeSums.add` has them."""
        if not slots.slots:
            return
        self.slots += slots.slots
        self.first_slot = slots.first_slot if self.first_slot is None else self.first_slot
        self.last_slot = slots.first_slot + slots.slots - 1
        totals = slots.totals_wh
        imported, consumed = totals["imported_wh"], totals["consumed_wh"]
        net = imported - totals["exported_wh"]
        line_in = np.maximum(net, 0)
        line_out = line_in - net
        self.line_import_wh += _sum(line_in)
        self.line_export_wh += _sum(line_out)
        self.covered_wh += _sum(np.minimum(consumed - net, consumed))
        self.traded_wh += _sum(np.minimum(totals["sold_wh"], totals["bought_wh"]))
        self.peak_imports_wh = max(self.peak_imports_wh, int(imported.max()))
        at = int(line_in.argmax())
        if line_in[at] > self.peak_line_import_wh:
            self.peak_line_import_wh, self.peak_line_import_slot = int(line_in[at]), slots.first_slot + at
        at = int(line_out.argmax())
        if line_out[at] > self.peak_line_export_wh:
            self.peak_line_export_wh, self.peak_line_export_slot = int(line_out[at]), slots.first_slot + at
        self.imbalance_parts += _imbalance_parts(consumed, totals["produced_wh"])
        if "average_ug" in intensities:
            self.average_slots += slots.slots
            self.average_ug += _product(line_in, intensities["average_ug"])
        if "marginal_ug" in intensities:
            self.marginal_slots += slots.slots
            self.marginal_ug += _product(line_in, intensities["marginal_ug"])

    def plain(self) -> dict[str, int | None]:
        """Every number by its name."""
        return asdict(self)

    @property
    def imbalance_mean(self) -> float:
        """Mean of the price's imbalance factor over the slots; 0 where nothing flowed."""
        return self.imbalance_parts / PARTS_PER_ONE / self.slots if self.slots else 0.0


def _sum(column: I64) -> int:
    return sum(column.tolist())


def _product(left: I64, right: I64) -> int:
    return sum(a * b for a, b in zip(left.tolist(), right.tolist(), strict=True))


def _imbalance_parts(consumed_wh: I64, produced_wh: I64) -> int:
    """Rounded down slot by slot to 1e-9, so that sums are the same however the slots are cut."""
    pairs = zip(consumed_wh.tolist(), produced_wh.tolist(), strict=True)
    return sum((c - g) * PARTS_PER_ONE // (c + g) if c + g else 0 for c, g in pairs)
