"""Self-sufficiency and self-consumption of household and community, corrected for storage and losses.

With P production, C consumption, I import, E export over a meter, L losses of the battery, D the change of
its content (end less beginning), all in Wh, and S what the battery gives less what it takes, a slot's meter
says P + S + I = C + E. What is met locally in a slot is, after Luthander, Widén, Nilsson and Palm,
"Photovoltaic self-consumption in buildings: a review", Applied Energy 142 (2015) 80-94,

    M = min(C, P + S) = C - max(0, I - E),        self-sufficiency = ΣM / ΣC,   self-consumption = ΣM / ΣP.

S takes the losses away from what is met: what heats the battery covers nobody's demand. One correction is
left, for a run that begins or ends with something in the battery: what was there at the beginning is no
production of the run, and what is there at the end is not lost to it. So D is added:

    met locally = ΣM + D = ΣC - ΣI + D = ΣP - ΣE - L.

The right-hand side is the same by the balance of energy (D = Σ(-S) - L): production, less what was exported,
less what was lost. So one number stands above both shares, sums of runs are the run of the sums, and a
battery that is emptied makes nobody self-sufficient. The content counts as it is in the cells: losses that
discharging it will have are those of the run in which they happen. Shares are bounded to 0 .. 1, which
matters in short runs only: where a battery lost more than was produced, or where more was stored than
consumed.

*Household*: I and E of its own meter; over all homes, the sum of what each meets by itself, over the sum of
what all consume.

*Community*: I and E over its connection, that is, in each slot the imports less the exports of all homes. It
counts what members cover among each other in the same slot, by gift, by trade or unasked: ΣM is the sum over
slots of min(production of all net of storage, consumption of all). So do the allocation rules of energy
communities (Directive (EU) 2018/2001, articles 21 and 22), and the comparisons of collective with individual
self-consumption (IEA PVPS Task 1, "Review and Analysis of PV Self-Consumption Policies", report
T1-28:2016; Luthander, Widén, Munkhammar, Lingfors, "Self-consumption enhancement and peak shaving of
residential photovoltaics using storage and curtailment", Energy 112 (2016) 221-231).

All of it depends on the slot's length, which therefore stands beside the shares: within a slot, surplus and
lack cancel. Longer slots show higher shares, for a household and more so for a community.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from energymarket.core.units import I64

if TYPE_CHECKING:
    from energymarket.core.kpi.storage import Storage
    from energymarket.core.kpi.tally import Tally

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Local:
    """Energy that was met locally, and what it is a share of; in Wh, exact."""

    met_wh: int
    consumed_wh: int
    produced_wh: int

    @property
    def self_sufficiency(self) -> float | None:
        """Met locally over consumed, 0 .. 1; None without consumption."""
        return share(self.met_wh, self.consumed_wh)

    @property
    def self_consumption(self) -> float | None:
        """Met locally over produced, 0 .. 1; None without production."""
        return share(self.met_wh, self.produced_wh)


def share(part: int, whole: int) -> float | None:
    """A share, bounded to 0 .. 1; None of nothing."""
    return min(1.0, max(0.0, part / whole)) if whole > 0 else None


def met_by_home_wh(tally: Tally) -> I64:
    """ΣM of each home: what it consumed and did not import."""
    return tally.of("consumed_wh") - tally.of("imported_wh")


def households(tally: Tally, storage: Storage | None) -> Local | None:
    """All homes, each behind its own meter; with D if `storage` is given, None if not known of all."""
    met = total(met_by_home_wh(tally))
    return _local(tally, met, storage)


def community(tally: Tally, storage: Storage | None) -> Local | None:
    """The community behind its connection, as `households`."""
    return _local(tally, tally.community.covered_wh, storage)


def _local(tally: Tally, met_wh: int, storage: Storage | None) -> Local | None:
    if storage is not None:
        if not storage.known.all():
            return None
        met_wh += total(storage.change_wh)
    return Local(met_wh, total(tally.of("consumed_wh")), total(tally.of("produced_wh")))


def shares_by_home(tally: Tally, storage: Storage) -> tuple[F64, F64]:
    """Self-sufficiency and self-consumption of each home; NaN where it is not defined or not known."""
    met = met_by_home_wh(tally) + storage.change_wh
    of_consumption, of_production = (
        np.where(storage.known, np.clip(ratio(met, tally.of(name)), 0.0, 1.0), np.nan)
        for name in ("consumed_wh", "produced_wh")
    )
    return of_consumption, of_production


def ratio(part: I64, whole: I64) -> F64:
    """Part over whole, NaN where the whole is 0."""
    found = np.full(len(part), np.nan)
    np.divide(part, whole, out=found, where=whole != 0)
    return found


def total(column: I64) -> int:
    """The exact sum of a column, whatever its size: halves first, where int64 might be too narrow."""
    most = max(int(column.max(initial=0)), -int(column.min(initial=0)))
    if most * len(column) < _ROOM:
        return int(column.sum())
    return (int((column >> 32).sum()) << 32) + int((column & 0xFFFFFFFF).sum())


_ROOM: Final = 1 << 63
