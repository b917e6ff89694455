"""What an exchange of gifts came to for a range of homes: what moved, claims, what found no room."""

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

    moved_wh: npt.NDArray[np.signedinteger[Any]]  # received by those who lack, back again for who has over
    excess_wh: I32 | None = None  # per home: greed's, beyond its need
    claims: list[npt.NDArray[np.void]] = field(default_factory=list)
    shed: int = 0
    degraded: bool = False
    garbage: int = 0
