"""What homes produce: PV by PVWatts, small wind turbines by table look-up, given series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from energymarket.core.block import F32, I32, Column, owners_or_none, split_wh
from energymarket.core.demand import SERIES_NONE
from energymarket.core.state import Work
from energymarket.core.weather import Sample

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


def plane_of_array_w_per_m2(weather: Sample, beam: Column, sky: Column, ground: Column) -> F64:
    """Irradiance on each roof: direct, diffuse and global irradiance times the roof's view factors."""
    direct = int(weather["dni_dw_per_m2"]) / 10.0
    diffuse = int(weather["dhi_dw_per_m2"]) / 10.0
    whole = int(weather["ghi_dw_per_m2"]) / 10.0
    poa: F64 = direct * beam.astype(np.float64) + diffuse * sky.astype(np.float64)
    poa += whole * ground.astype(np.float64)
    return np.maximum(poa, 0.0)


def cell_temperature_c(poa_w_per_m2: F64, temperature_mc: int, wind_mm_per_s: int) -> F64:
    """Temperature of the cells after Faiman (Prog. Photovolt. 16, 2008): T + poa / (25 + 6.84 v).

    v is the wind at the modules. The sample's is that at 10 m; a power law with exponent 1/5 brings
    it down to 2 m: (2 / 10) ** 0.2 = 0.725.
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


def wind_w_per_kw(curves_w: Column, wind_mm_per_s: int) -> F64:
    """Expected power of each site per kW rated: its table at the mean wind, interpolated linearly.

    Beyond the table's end its last value holds.
    """
    left = wind_mm_per_s // WIND_STEP_MM_PER_S
    last = curves_w.shape[1] - 1
    if left >= last:
        return curves_w[:, last].astype(np.float64)
    share = (wind_mm_per_s - left * WIND_STEP_MM_PER_S) / WIND_STEP_MM_PER_S
    low = curves_w[:, left].astype(np.float64)
    power: F64 = low + (curves_w[:, left + 1].astype(np.float64) - low) * share
    return power


@dataclass(frozen=True, slots=True)
class SupplyOfSlot:
    """What a slot's production depends on, the same for all homes."""

    slot: int
    pv_wh: F32  # per roof and kWp; empty at night
    series_wh: F32  # per series, then a zero
    wind_wh: F32  # per site and kW rated; empty in a calm


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

    def of_slot(self, slot: int, row: int, weather: Sample) -> SupplyOfSlot:
        """Everything about the slot's production that homes share, rounded to float32 once, here."""
        series = self._series_wh[row] if self.series_count else ()
        return SupplyOfSlot(
            slot=slot,
            pv_wh=self._pv_wh(row, weather),
            series_wh=np.array([*series, 0.0], np.float32),
            wind_wh=self._wind_wh(int(weather["wind_mm_per_s"])),
        )

    def _pv_wh(self, row: int, weather: Sample) -> F32:
        dark = not (weather["ghi_dw_per_m2"] or weather["dni_dw_per_m2"] or weather["dhi_dw_per_m2"])
        if dark or not self._ground.size:
            return _NOTHING
        poa = plane_of_array_w_per_m2(weather, self._beam[row], self._sky[row], self._ground)
        cell_c = cell_temperature_c(poa, int(weather["temperature_mc"]), int(weather["wind_mm_per_s"]))
        dc_w = pvwatts_dc_w(poa, cell_c, self._system) * (1.0 - self._system.losses)
        energy = (pvwatts_ac_w(dc_w, self._system) * self._hours).astype(np.float32)
        return energy if bool(energy.any()) else _NOTHING

    def _wind_wh(self, wind_mm_per_s: int) -> F32:
        if not self._curves_w.size:
            return _NOTHING
        energy = (wind_w_per_kw(self._curves_w, wind_mm_per_s) * self._hours).astype(np.float32)
        return energy if bool(energy.any()) else _NOTHING


_NOTHING: Final = np.zeros(0, np.float32)


class SupplyBlock:
    """PV, series and wind of a block of homes: static columns in, whole Wh of a slot out."""

    def __init__(self, homes: Mapping[str, Column], supply: Supply) -> None:
        has_pv = homes["pv_kwp"] > 0
        self._pv = owners_or_none(has_pv)
        if self._pv is not None:
            self._roof = self._pv.column(_narrow(np.where(has_pv, homes["pv_roof"], 0)))
            self._kwp = self._pv.column(np.where(has_pv, homes["pv_kwp"], 0).astype(np.float32))
        self._series = owners_or_none(homes["series"] != SERIES_NONE)
        if self._series is not None:
            keys = np.minimum(homes["series"], supply.series_count)
            self._series_key = self._series.column(keys.astype(np.uint16))
        has_wind = homes["wind_kw"] > 0
        self._wind = owners_or_none(has_wind)
        if self._wind is not None:
            self._site = self._wind.column(_narrow(np.where(has_wind, homes["wind_site"], 0)))
            self._kw = self._wind.column(np.where(has_wind, homes["wind_kw"], 0).astype(np.float32))

    def produce(self, shared: SupplyOfSlot, work: Work) -> I32:
        """Whole Wh that each home produces in the slot; fractions move on."""
        production_wh = work.scratch.production_wh[: work.before.count]
        self._add_sun(shared, production_wh, work)
        self._add_wind(shared, production_wh, work)
        return production_wh

    def _add_sun(self, shared: SupplyOfSlot, production_wh: I32, work: Work) -> None:
        """PV and series in one stream."""
        before, after, scratch = work.before, work.after, work.scratch
        pv = self._pv if shared.pv_wh.size else None
        if pv is None and self._series is None:
            after.pv_carry_wh[:] = before.pv_carry_wh
            production_wh.fill(0)
            return
        energy = scratch.floats[0][: before.count]
        if pv is None or pv.count < energy.size:
            energy.fill(0)
        if pv is not None:
            part = pv.place(energy, scratch.floats[1])
            scratch.look_up(shared.pv_wh, self._roof, part)
            part *= self._kwp
            pv.write(energy, part)
        if self._series is not None:
            part = self._series.read(energy, scratch.floats[1])
            part += scratch.look_up(shared.series_wh, self._series_key, scratch.floats[2])
            self._series.write(energy, part)
        carry = (before.pv_carry_wh, after.pv_carry_wh)
        split_wh(energy, carry, production_wh, scratch.floats[1][: before.count])

    def _add_wind(self, shared: SupplyOfSlot, production_wh: I32, work: Work) -> None:
        before, after, scratch = work.before, work.after, work.scratch
        wind = self._wind if shared.wind_wh.size else None
        if wind is None or wind.count < before.count:
            after.wind_carry_wh[:] = before.wind_carry_wh
        if wind is None:
            return
        energy = scratch.look_up(shared.wind_wh, self._site, scratch.floats[0])
        energy *= self._kw
        carry_after = wind.place(after.wind_carry_wh, scratch.floats[1])
        whole = scratch.integers[0][: wind.count]
        carry = wind.read(before.wind_carry_wh, scratch.floats[2])
        split_wh(energy, (carry, carry_after), whole, scratch.floats[3][: wind.count])
        wind.write(after.wind_carry_wh, carry_after)
        part = wind.read(production_wh, scratch.integers[1])
        part += whole
        wind.write(production_wh, part)


def _narrow(keys: Column) -> Column:
    """Keys in as few bytes as hold them."""
    return keys.astype(np.min_scalar_type(int(keys.max(initial=0))))
