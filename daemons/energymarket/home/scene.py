"""Teaching aids: one home misbehaves on purpose, so that the rule for it can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from energymarket.core.records import CLAIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Scenes:
    """The scenes of the homes of a range, by home id, as the compiled settings carry them."""

    first: int
    by_home: Mapping[int, Mapping[str, Any]]
    first_slot: int  # of the scenario: scenes count from it

    @classmethod
    def of(cls, settings: Mapping[str, Any], first: int, count: int, first_slot: int) -> Scenes:
        """The scenes of a range."""
        scenes = {int(home): scene for home, scene in settings.get("scenes", {}).items()}
        here = {home: scene for home, scene in scenes.items() if first <= home < first + count}
        return cls(first, here, first_slot)

    def is_late(self, slot: int) -> bool:
        """Whether a home of the range hands in after the gate in this slot; then its whole range does."""
        return any(slot - self.first_slot in scene.get("late_slots", ()) for scene in self.by_home.values())

    def misreport(self, slot: int, columns: Mapping[str, npt.NDArray[np.signedinteger[Any]]]) -> None:
        """Falsify orders in place: above zero a home sells too much or buys too little."""
        for home, scene in self.by_home.items():
            wrong_wh = _of_slot(scene.get("misreports_wh") or (0,), slot - self.first_slot)
            at = home - self.first
            net_wh = int(columns["sold_wh"][at]) - int(columns["bought_wh"][at]) + wrong_wh
            if wrong_wh:
                columns["sold_wh"][at] = max(net_wh, 0)
                columns["bought_wh"][at] = max(-net_wh, 0)

    def phantom_claims(self, slot: int) -> npt.NDArray[np.void]:
        """Claims without an offer."""
        found = []
        for home, scene in self.by_home.items():
            phantom = scene.get("phantom_claim")
            if phantom and slot - self.first_slot in phantom["slots"]:
                found.append((phantom["giver"], home, phantom["energy_wh"], 0, 0))
        return np.array(found, CLAIM)


def _of_slot(values: Sequence[float], slot: int) -> int:
    return int(values[slot % len(values)])
