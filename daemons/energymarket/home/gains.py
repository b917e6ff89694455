"""What an exchange of gifts came to for a range of homes: claims, what came back, what found no room."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from energymarket.core.block import I32


@dataclass(slots=True)
class Bargain:
    """What the exchange came to for one range of homes."""

    received_wh: npt.NDArray[np.signedinteger[Any]]  # per taker, in the order given
    excess_wh: npt.NDArray[np.signedinteger[Any]]  # per taker: greed's, beyond its need; else none
    claims: list[npt.NDArray[np.void]] = field(default_factory=list)
    returned: list[npt.NDArray[np.void]] = field(default_factory=list)  # offers that came back
    shed: int = 0
    degraded: bool = False
    garbage: int = 0

    def add_returned(self, returned_wh: I32, first: int) -> None:
        """Add what came back to a column of homes, the first one's id given; foreign offers are left out."""
        for back in self.returned:
            at = back["giver"].astype(np.intp)
            at -= first
            here = (at >= 0) & (at < len(returned_wh))
            energy_wh = back["energy_wh"].astype(np.int32)
            if not here.all():
                at, energy_wh = at[here], energy_wh[here]
            np.add.at(returned_wh, at, energy_wh)
