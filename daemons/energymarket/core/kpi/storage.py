"""What the homes' batteries hold more or less at the end of a run than at its beginning, and lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from energymarket.core.units import I64

if TYPE_CHECKING:
    from energymarket.core.kpi.tally import Tally
    from energymarket.core.state import State


@dataclass(frozen=True, slots=True)
class Storage:
    """Per home, over all slots of a tally, from the homes' own registers: the market sees meters only."""

    change_wh: I64  # (N,): content at the end less content at the beginning, in the cells
    losses_wh: I64  # (N,): lost in the batteries, stand-by included
    known: npt.NDArray[np.bool_]  # (N,): homes whose registers are at hand and fit the tally

    @classmethod
    def between(cls, tally: Tally, before: State | None, after: State) -> Storage:
        """From the states of all homes at both ends of a run.

        `before` is None where the run began with registers at zero. `after` has to be of the tally's last
        slot: `known` is false for homes whose registers say another balance than their readings in the
        ledger, which is so for homes with a reading to come.
        """
        moved = {
            name: after.column(name).astype(np.int64)
            - (0 if before is None else before.column(name).astype(np.int64))
            for name in ("battery_in_wh", "battery_out_wh", "losses_wh")
        }
        kept_wh = moved["battery_in_wh"] - moved["battery_out_wh"]
        change_wh = kept_wh - moved["losses_wh"]
        return cls(change_wh, moved["losses_wh"], kept_wh == taken_in_wh(tally))

    @classmethod
    def unknown(cls, homes: int) -> Storage:
        """Nobody's registers are at hand."""
        return cls(np.zeros(homes, np.int64), np.zeros(homes, np.int64), np.zeros(homes, np.bool_))


def taken_in_wh(tally: Tally) -> I64:
    """What the meters say went into each home's battery less what came out of it.

    Of every home, production + battery out + import = consumption + battery in + export.
    """
    came = tally.of("produced_wh") + tally.of("imported_wh")
    return came - tally.of("consumed_wh") - tally.of("exported_wh")
