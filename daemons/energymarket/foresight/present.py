"""The present of a market that runs: what it says of itself, and the states that its homes keep on the disk.

Homes make the state of a slot durable before they hand it in, and keep it until they live the next but one,
so that once the market has committed a slot the state of that slot lies there for one slot more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.audit.findings import Findings, Kind
from energymarket.audit.register_files import read_all
from energymarket.core.fleet import Fleet, initial_state
from energymarket.core.state import STATE_COLUMNS, State
from energymarket.core.weather import LIMITS
from energymarket.exits import ConfigError
from energymarket.foresight.climate import CALM_M_PER_S, HOUR_S
from energymarket.foresight.weather_paths import Deviation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from energymarket.core.units import I64
    from energymarket.foresight.climate import Climate, Light
    from energymarket.scenario.compiled import Compiled

NOT_FOUND: Final = -1

CLEAR_MIN_W_PER_M2: Final = 20.0
"""Below it twilight says nothing of clouds."""


@dataclass(frozen=True, slots=True)
class Found:
    """The homes' states, and of which slot each is: NOT_FOUND for those that begin as the scenario says."""

    state: State
    slot: I64  # (homes,)

    def behind(self, slot: int) -> int:
        """How many homes were not found, or only as they were before this slot."""
        return int(np.count_nonzero(self.slot != slot))


def states_at(directory: Path, compiled: Compiled, slot: int) -> Found | None:
    """The newest state of each home that is not newer than `slot`; None where some have only newer ones.

    Raises ConfigError for states of another scenario.
    """
    homes = compiled.homes_count
    found = Found(State(bytearray(State.size_bytes(homes)), homes), np.full(homes, NOT_FOUND, np.int64))
    initial_state(Fleet(compiled, 1, homes), found.state)
    findings = Findings()
    newer = np.zeros(homes, np.bool_)
    for registers in read_all(directory, findings, compiled.hash):
        first, stop = registers.first - 1, registers.first - 1 + registers.state.count
        if stop > homes:
            continue  # of no home of ours, which the findings tell
        if registers.slot > slot:
            newer[first:stop] = True
            continue
        better = np.flatnonzero(registers.slot >= found.slot[first:stop])
        for name, _ in STATE_COLUMNS:
            found.state.column(name)[first + better] = registers.state.column(name)[better]
        found.slot[first + better] = registers.slot
    if any(each.kind is Kind.REGISTERS_FOREIGN for each in findings.kept):
        raise ConfigError(f"{directory} holds states of another scenario", "energyctl ledger check tells")
    return None if bool((newer & (found.slot < slot)).any()) else found


def deviation_now(
    weather: Mapping[str, Any] | None, compiled: Compiled, light: Light, climate: Climate, first_slot: int
) -> Deviation:
    """How the weather of the first slot differs from the scenario's, by the newest sample that there is.

    The sample is held against the scenario's of its own slot, and what it differs by has faded since. Nothing
    without a sample: then the scenario's weather is all that is known. `light` is that of the whole period.
    """
    if weather is None:
        return Deviation()
    row = compiled.table_row(int(weather["slot"]))
    base = compiled.weather[row]
    if all(int(weather[name]) == int(base[name]) for name in LIMITS):
        return Deviation()
    age_h = max(0, first_slot - int(weather["slot"])) * compiled.period.slot_s / HOUR_S
    clear = float(light.clear_w_per_m2[row])
    whole = (int(weather["ghi_dw_per_m2"]) - int(base["ghi_dw_per_m2"])) / 10.0
    warmer = (int(weather["temperature_mc"]) - int(base["temperature_mc"])) / 1000.0
    brighter = whole / clear if clear > CLEAR_MIN_W_PER_M2 else 0.0
    windier = _log_ratio(int(weather["wind_mm_per_s"]), int(base["wind_mm_per_s"]))
    return Deviation(
        temperature=warmer * climate.temperature.per_hour**age_h,
        clearness=brighter * climate.clearness.per_hour**age_h,
        wind=windier * climate.wind.per_hour**age_h,
    )


def _log_ratio(seen_mm_per_s: int, base_mm_per_s: int) -> float:
    calm = 1000.0 * CALM_M_PER_S
    return float(np.log((seen_mm_per_s + calm) / (base_mm_per_s + calm)))
