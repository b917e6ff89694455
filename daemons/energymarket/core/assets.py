"""What homes produce: PV by PVWatts, small wind turbines by table look-up, given series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core.block import (
    F32,
    I32,
    I64,
    Column,
    Spare,
    keepers_or_none,
    owners_or_none,
    split_wh,
    split_wh_of_slots,
)
from energymarket.core.owned import SERIES_NONE, supplies
from energymarket.core.state import State, Work
from energymarket.core.weather import Samples

F64 = npt.NDArray[np.float64]

WIND_STEP_MM_PER_S: Final = 100  # of the table of a turbine

_SECONDS_PER_HOUR: Final = 3_600


@dataclass(frozen=True, slots=True)
class PvSystem:
    """A PV system of 1 kWp: module, losses and inverter with the defaults of PVWatts.

    Dobos, PVWatts Version 5 Manual (NREL/TP-6A20-62641, 2014): premium module -0.35 %/K, losses 14 %,
    nominal inverter efficiency 96 %, DC to AC size ratio 1.1.
    """

    temperature_coefficient_per_k: float = -0.0035
    losses: float = 0.14
    inverter_efficiency: float = 0.96
    dc_to_ac_ratio: float = 1.1


def plane_of_array_w_per_m2(weather: Samples, beam: Column, sky: Column, ground: Column) -> F64:
    """Irradiance on each roof: direct, diffuse and global irradiance times the roof's view factors.

    `weather` (K) samples; `beam` and `sky` (K, roofs), `ground` (roofs) view factors; answers (K, roofs).
    """
    direct, diffuse, whole = (
        (weather[name].astype(np.float64) / 10.0)[:, None]
        for name in ("dni_dw_per_m2", "dhi_dw_per_m2", "ghi_dw_per_m2")
    )
    poa: F64 = direct * beam.astype(np.float64) + diffuse * sky.astype(np.float64)
    poa += whole * ground.astype(np.float64)
    return np.maximum(poa, 0.0)


def cell_temperature_c(poa_w_per_m2: F64, temperature_mc: Column, wind_mm_per_s: Column) -> F64:
    """Temperature of the cells after Faiman (Prog. Photovolt. 16, 2008): T + poa / (25 + 6.84 v).

    v is the wind at the modules. The sample's is that at 10 m; a power law with exponent 1/5 brings
    it down to 2 m: (2 / 10) ** 0.2 = 0.725. Temperature and wind are columns (K, 1) beside poa (K, roofs).
    """
    wind_m_per_s = wind_mm_per_s / 1_000.0 * 0.725
    heated: F64 = temperature_mc / 1_000.0 + poa_w_per_m2 / (25.0 + 6.84 * wind_m_per_s)
    return heated


def pvwatts_dc_w(poa_w_per_m2: F64, cell_c: F64, system: PvSystem) -> F64:
    """DC power of 1 kWp before losses (PVWatts 5, eq. 8): poa / 1000 * (1 + coefficient * (T - 25)) kW."""
    power: F64 = poa_w_per_m2 * (1.0 + system.temperature_coefficient_per_k * (cell_c - 25.0))
    return np.maximum(power, 0.0)


def pvwatts_ac_w(dc_w: F64, system: PvSystem) -> F64:
    """AC power of 1 kWp from its DC power after losses (PVWatts 5, eq. 10-12).

    The manual's efficiency (nominal / 0.9637) * (-0.0162 z - 0.0059 / z + 0.9858), with z the load of
    the inverter, is multiplied out, so that nothing is divided by a night's zero. Below 0.6 % load
    the inverter gives nothing, above its rating it clips.
    """
    ac_rated_w = 1_000.0 / system.dc_to_ac_ratio
    dc_rated_w = ac_rated_w / system.inverter_efficiency
    load = dc_w / dc_rated_w
    curve = 0.9858 * load - 0.0162 * (load * load) - 0.0059
    power: F64 = ac_rated_w / 0.9637 * curve
    return np.minimum(np.maximum(power, 0.0), ac_rated_w)


def wind_w_per_kw(curves_w: Column, wind_mm_per_s: Column) -> F64:
    """Expected power (K, sites) per kW rated: each site's table at the mean wind (K), interpolated linearly.

    Beyond the table's end its last value holds.
    """
    last = curves_w.shape[1] - 1
    wind = np.minimum(wind_mm_per_s.astype(np.int64), last * WIND_STEP_MM_PER_S)
    left = wind // WIND_STEP_MM_PER_S
    share = ((wind - left * WIND_STEP_MM_PER_S) / WIND_STEP_MM_PER_S)[:, None]
    low = curves_w[:, left].T.astype(np.float64)
    high = curves_w[:, np.minimum(left + 1, last)].T.astype(np.float64)
    power: F64 = low + (high - low) * share
    return power


@dataclass(frozen=True, slots=True)
class SupplyOfSlots:
    """What the production of K slots depends on, the same for all homes."""

    pv_wh: F32  # (K, roofs): per roof and kWp; empty if all of it is night
    series_wh: F32  # (K, series + 1): per series, then a zero
    wind_wh: F32  # (K, sites): per site and kW rated; empty in a calm
    sunny: tuple[bool, ...]  # whether a roof gives anything in the slot
    windy: tuple[bool, ...]  # whether a site does


class Supply:
    """What the production of a fleet depends on, homes aside."""

    def __init__(self, tables: Mapping[str, Column], settings: Mapping[str, Any], slot_s: int) -> None:
        self.slot_s: int = slot_s
        self._hours = slot_s / _SECONDS_PER_HOUR
        self._beam = np.asarray(tables["pv_beam"])
        self._sky = np.asarray(tables["pv_sky"])
        self._ground = np.asarray(tables["pv_ground"])
        self._curves_w = np.asarray(tables["wind_curve_w"])
        self._series_wh = np.asarray(tables["series_production_wh"])
        self._system = PvSystem(**settings.get("pv", {}))
        self.series_count: int = self._series_wh.shape[1]

    def of_slots(self, rows: I64, weather: Samples) -> SupplyOfSlots:
        """Everything about the slots' production that homes share, rounded to float32 once, here.

        `rows` (K) are those of the tables, `weather` (K) the samples.
        """
        series = np.zeros((len(rows), self.series_count + 1), np.float32)
        if self.series_count:
            series[:, :-1] = self._series_wh[rows]
        pv_wh, wind_wh = self._pv_wh(rows, weather), self._wind_wh(weather)
        return SupplyOfSlots(
            pv_wh=pv_wh,
            series_wh=series,
            wind_wh=wind_wh,
            sunny=_any_of_slots(pv_wh, len(rows)),
            windy=_any_of_slots(wind_wh, len(rows)),
        )

    def _pv_wh(self, rows: I64, weather: Samples) -> F32:
        light = ("ghi_dw_per_m2", "dni_dw_per_m2", "dhi_dw_per_m2")
        if not self._ground.size or not any(bool(weather[name].any()) for name in light):
            return _NOTHING
        poa = plane_of_array_w_per_m2(weather, self._beam[rows], self._sky[rows], self._ground)
        temperature_mc, wind_mm_per_s = (
            weather[name].astype(np.int64)[:, None] for name in ("temperature_mc", "wind_mm_per_s")
        )
        cell_c = cell_temperature_c(poa, temperature_mc, wind_mm_per_s)
        dc_w = pvwatts_dc_w(poa, cell_c, self._system) * (1.0 - self._system.losses)
        energy = (pvwatts_ac_w(dc_w, self._system) * self._hours).astype(np.float32)
        return energy if bool(energy.any()) else _NOTHING

    def _wind_wh(self, weather: Samples) -> F32:
        if not self._curves_w.size:
            return _NOTHING
        power_w = wind_w_per_kw(self._curves_w, weather["wind_mm_per_s"])
        energy = (power_w * self._hours).astype(np.float32)
        return energy if bool(energy.any()) else _NOTHING


def _any_of_slots(energy_wh: F32, slots: int) -> tuple[bool, ...]:
    if not energy_wh.size:
        return (False,) * slots
    given: npt.NDArray[np.bool_] = np.logical_or.reduce(energy_wh, axis=1)
    return tuple(given.tolist())


_NOTHING: Final = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Prospect:
    """What K slots bring those of a block who produce, fractions of a Wh included; `produce` uses it up."""

    sun_wh: F32  # (K, who produces); empty where nobody does
    sunny: tuple[bool, ...]  # whether a slot brings any of it; empty: none does
    wind_wh: F32 | None  # (K, owners of a turbine)
    windy: tuple[bool, ...]


class SupplyBlock:
    """PV, series and wind of a block of homes: static columns in, whole Wh of a slot out."""

    def __init__(self, homes: Mapping[str, Column], supply: Supply) -> None:
        produces = supplies(homes)
        self.owners = keepers_or_none(produces)  # of all that follows
        if self.owners is None:
            return
        column = self.owners.column
        kwp, series, kw = (column(homes[name]) for name in ("pv_kwp", "series", "wind_kw"))
        self._pv = owners_or_none(kwp > 0)
        if self._pv is not None:
            self._roof = self._pv.column(_narrow(np.where(kwp > 0, column(homes["pv_roof"]), 0)))
            self._kwp = self._pv.column(np.where(kwp > 0, kwp, 0).astype(np.float32))
        self._series = owners_or_none(series != SERIES_NONE)
        if self._series is not None:
            keys = np.minimum(series, supply.series_count)
            self._series_key = self._series.column(keys.astype(np.uint16))
        self._wind = keepers_or_none(homes["wind_kw"] > 0)  # of the block's homes: they have a carry
        self._blown = keepers_or_none(kw > 0)  # the same, of those who produce
        if self._blown is not None:
            self._site = self._blown.column(_narrow(np.where(kw > 0, column(homes["wind_site"]), 0)))
            self._kw = self._blown.column(np.where(kw > 0, kw, 0).astype(np.float32))

    def offer(self, shared: SupplyOfSlots, sun: F32, wind: F32, spare: Spare) -> Prospect:
        """What K slots will bring, fractions of a Wh included.

        `sun` and `wind` are flat, with room for it.
        """
        slots = len(shared.sunny)
        if self.owners is None:
            return Prospect(_NOTHING, (), None, shared.windy)
        energy = sun[: slots * self.owners.count].reshape(slots, self.owners.count)
        has_sun = shared.pv_wh.size > 0 and self._pv is not None
        if has_sun or self._series is not None:
            self._shine(shared, energy, spare)
        blows: F32 | None = None
        if shared.wind_wh.size and self._blown is not None:
            blows = wind[: slots * self._blown.count].reshape(slots, self._blown.count)
            spare.look_up(shared.wind_wh, self._site, blows)
            blows *= self._kw
        gives = (True,) * slots if self._series is not None else shared.sunny
        return Prospect(energy, gives if has_sun or self._series is not None else (), blows, shared.windy)

    def _shine(self, shared: SupplyOfSlots, energy: F32, spare: Spare) -> None:
        """PV and series in one stream."""
        pv = self._pv if shared.pv_wh.size else None
        if pv is None or pv.count < energy.shape[1]:
            energy.fill(0)
        if pv is not None:
            part = pv.place(energy, spare.floats[0])
            spare.look_up(shared.pv_wh, self._roof, part)
            part *= self._kwp
            pv.write(energy, part)
        if self._series is not None:
            part = self._series.read(energy, spare.floats[0])
            part += spare.look_up(shared.series_wh, self._series_key, spare.like(part, 1))
            self._series.write(energy, part)

    def produce(self, prospect: Prospect, at: int, work: Work) -> I32:
        """Whole Wh that each home produces in the slot at a place of the prospect; fractions move on."""
        before, after, scratch = work.before, work.after, work.scratch
        production_wh = scratch.production_wh[: before.count]
        owners = self.owners
        if owners is None:
            work.keep("pv_carry_wh", "wind_carry_wh")
            production_wh.fill(0)
            return production_wh
        part = owners.place(production_wh, scratch.integers[2])
        sunny = bool(prospect.sunny) and prospect.sunny[at]
        if not sunny or owners.count < before.count:
            work.keep("pv_carry_wh")
        if sunny:
            carry = owners.read(before.pv_carry_wh, scratch.floats[1])
            carry_after = owners.place(after.pv_carry_wh, scratch.floats[2])
            split_wh(prospect.sun_wh[at], (carry, carry_after), part, scratch.floats[3][: owners.count])
            owners.write(after.pv_carry_wh, carry_after)
        else:
            part.fill(0)
        self._add_wind(prospect, at, part, work)
        if owners.count < before.count:
            production_wh.fill(0)
            owners.write(production_wh, part)
        return production_wh

    def produce_slots(self, prospect: Prospect, state: State, into: I32, spare: Spare) -> None:
        """`produce` in all slots of the prospect, one after the other: (K, homes of the block) in whole Wh.

        The fractions in `state` move on in place.
        """
        owners = self.owners
        if owners is None or owners.count < into.shape[1]:
            into.fill(0)
        if owners is None:
            return
        part = owners.place(into, spare.integers)
        part.fill(0)
        rows = [at for at, gives in enumerate(prospect.sunny) if gives]
        if rows:
            here = slice(rows[0], rows[-1] + 1)
            carry = owners.read(state.pv_carry_wh, spare.floats[1])
            room = spare.like(prospect.sun_wh[here], 0), spare.floats[2][: owners.count]
            split_wh_of_slots(prospect.sun_wh[here], carry, part[here], room)
            owners.write(state.pv_carry_wh, carry)
        if prospect.wind_wh is not None and self._wind is not None and self._blown is not None:
            carry = self._wind.read(state.wind_carry_wh, spare.floats[1])
            whole_wh = np.empty(prospect.wind_wh.shape, np.int32)  # turbines are few
            room = spare.like(prospect.wind_wh, 0), spare.floats[2][: self._wind.count]
            split_wh_of_slots(prospect.wind_wh, carry, whole_wh, room)
            self._wind.write(state.wind_carry_wh, carry)
            self._blown.add(part, whole_wh)
        owners.write(into, part)

    def _add_wind(self, prospect: Prospect, at: int, production_wh: I32, work: Work) -> None:
        """Add it to what those who produce do."""
        before, after, scratch = work.before, work.after, work.scratch
        wind = self._wind if prospect.wind_wh is not None and prospect.windy[at] else None
        if wind is None or wind.count < before.count:
            work.keep("wind_carry_wh")
        if wind is None or self._blown is None or prospect.wind_wh is None:
            return
        carry_after = wind.place(after.wind_carry_wh, scratch.floats[1])
        whole = scratch.integers[0][: wind.count]
        carry = wind.read(before.wind_carry_wh, scratch.floats[2])
        split_wh(prospect.wind_wh[at], (carry, carry_after), whole, scratch.floats[3][: wind.count])
        wind.write(after.wind_carry_wh, carry_after)
        part = self._blown.read(production_wh, scratch.integers[1])
        part += whole
        self._blown.write(production_wh, part)


def _narrow(keys: Column) -> Column:
    """Keys in as few bytes as hold them."""
    return keys.astype(np.min_scalar_type(int(keys.max(initial=0))))
