"""A passage: consecutive settled slots of all homes as arrays, as indicators and comparisons hear them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.core.units import I64


@dataclass(frozen=True, slots=True)
class Passage:
    """K consecutive slots of N homes, settled. Nobody may write into its arrays.

    `columns` has every name of SLOT_COLUMNS but `home`, each of shape (K, N), of any signed integer type:
    home 1 first, zeros for a home that has no row in a slot.

    `sizes`, `totals_wh` and `balanced` say what the columns say too: whoever knows it need not look again.
    """

    first_slot: int
    price_ueur_per_kwh: I64  # (K,): p
    import_ueur_per_kwh: I64  # (K,): r
    export_ueur_per_kwh: I64  # (K,): e
    columns: Mapping[str, npt.NDArray[np.signedinteger[Any]]]
    sizes: Mapping[str, int] | None = None  # no value of a column is larger, nor smaller than its negative
    totals_wh: Mapping[str, I64] | None = None  # (K,): the sums of energies over all homes
    balanced: bool = False  # known that every home's meter says what its contract says

    @property
    def slots(self) -> int:
        """How many slots: K."""
        return len(self.price_ueur_per_kwh)

    @property
    def homes(self) -> int:
        """How many homes: N."""
        return int(self.columns["imported_wh"].shape[-1])
