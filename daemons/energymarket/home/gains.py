"""What an exchange of gifts came to for a range of homes: claims, what came back, what found no room."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from energymarket.core.records import CLAIM, OFFER

if TYPE_CHECKING:
    import numpy.typing as npt

    from energymarket.core.block import I32


@dataclass(slots=True)
class Bargain:
    """What the exchange came to for one range of homes."""

    received_wh: npt.NDArray[np.signedinteger[Any]]  # per taker, in the order given
    excess_wh: npt.NDArray[np.signedinteger[Any]]  # per taker: greed's, beyond its need
    claims: list[npt.NDArray[np.void]] = field(default_factory=list)
    returned: list[npt.NDArray[np.void]] = field(default_factory=list)  # offers that came back
    shed: int = 0
    degraded: bool = False
    garbage: int = 0

    def all_claims(self) -> npt.NDArray[np.void]:
        """Every claim of the range as one CLAIM array."""
        return _joined(self.claims, CLAIM)

    def all_returned(self) -> npt.NDArray[np.void]:
        """Every offer that was taken back as one OFFER array."""
        return _joined(self.returned, OFFER)

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


def _joined(parts: list[npt.NDArray[np.void]], kind: np.dtype[np.void]) -> npt.NDArray[np.void]:
    # as pairs of u8: NumPy joins records twenty times slower than numbers
    pairs = [np.ascontiguousarray(part).view("<u8") for part in parts if len(part)]
    return np.concatenate(pairs).view(kind) if pairs else np.zeros(0, kind)
