"""What scenarios that are compiled one after the other have in common: made once, kept for the next."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from energymarket.scenario.schema import WeatherSource

if TYPE_CHECKING:
    from energymarket.scenario.schema import Scenario

T = TypeVar("T")

KEPT_MAX: Final = 4
"""Results that are kept of each stage: a year of load shapes of slots of 15 min is 7 MB, of 1 min 100 MB."""


class Memo:
    """Results of the compiler's stages, by stage and by all that they were made of.

    What it holds is handed out again and again: nobody may change it. It lives in one process, which
    believes that data files stay as they are.
    """

    def __init__(self) -> None:
        self._kept: dict[str, dict[Hashable, object]] = {}

    def of(self, stage: str, key: Hashable, make: Callable[[], T]) -> T:
        """The result that is kept, or a new one; the one that was asked for longest ago makes room."""
        kept = self._kept.setdefault(stage, {})
        found: Any = kept.pop(key) if key in kept else make()
        while len(kept) >= KEPT_MAX:
            del kept[next(iter(kept))]
        kept[key] = found
        return cast("T", found)


def climate(scenario: Scenario) -> str:
    """All that data set, weather and sun are made of: two scenarios of the same climate share them."""
    drawn = scenario.weather.source in {WeatherSource.SYNTHETIC, WeatherSource.LIVE}
    seed = scenario.seed if drawn else None
    reads_files = scenario.data is not None or scenario.weather.file is not None
    beside = Path(scenario.path).parent if reads_files else None
    return repr((beside, scenario.time, scenario.place, scenario.weather, scenario.data, seed))
