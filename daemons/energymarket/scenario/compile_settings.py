"""Everything a daemon needs of a scenario that is no array: the settings in scenario.json."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from energymarket.scenario.compile_community import Community
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_heat import COOLING_LIMIT_C, HEATING_LIMIT_C
from energymarket.scenario.compile_homes import HomesCompiler
from energymarket.scenario.compile_roofs import LIGHT_PER_LOSSES
from energymarket.scenario.compile_series import per_slot, read_column
from energymarket.scenario.compile_sun import F64
from energymarket.scenario.compile_weather import Sky
from energymarket.scenario.homes_schema import Group, Home
from energymarket.scenario.resolve import demand_points
from energymarket.scenario.schema import Scenario, WeatherSource

CO2_G_PER_KWH_MAX = 5_000  # as in [grid]: no fuel that is burnt for electricity emits more

STALE_AFTER_S = 3600
"""Live weather older than this, or than two turns of the fetcher, is not posted any more."""


def settings_of(scenario: Scenario, sky: Sky, homes: HomesCompiler) -> dict[str, Any]:
    """The settings; plain JSON. `core.fleet` reads elasticity, u_curve, degrees, pv; others the rest."""
    return {
        "elasticity": _elasticity(scenario),
        "u_curve": homes.u_curve or {},
        "degrees": {"heating_limit_c": HEATING_LIMIT_C, "cooling_limit_c": COOLING_LIMIT_C},
        "pv": _pv(scenario),
        "weather": _weather(scenario, sky),
        "service": _service(scenario),
        "names": [home.name for home in scenario.homes],  # homes 1 .. H, written by hand
        "groups": _groups(scenario),
        "single_homes": [home.id for home in scenario.homes if home.is_single],
        "scenes": {str(home.id): _scene(home) for home in scenario.homes if _scene(home)},
        "place": asdict(scenario.place),
        **_metered(scenario),
    }


def _metered(scenario: Scenario) -> dict[str, Any]:
    """Which home lives by which meter; scenarios without one keep their hash."""
    meters = {str(home.id): home.meter for home in scenario.homes if home.meter is not None}
    return {"metered_homes": meters} if meters else {}


def _service(scenario: Scenario) -> dict[str, Any]:
    """Lockstep is named where it is wanted: scenarios from before it keep their hash."""
    service = asdict(scenario.service)
    if not service["lockstep"]:
        del service["lockstep"]
    return service


def _elasticity(scenario: Scenario) -> list[dict[str, Any]]:
    points = demand_points(scenario.elasticity)
    shift_slots = max(1, round(scenario.elasticity.shift_h * 3600 / scenario.market.period.slot_s))
    return [
        {
            "reference_ueur_per_kwh": scenario.elasticity.reference_ueur_per_kwh,
            "grid_ueur_per_kwh": [price for price, _ in points],
            "factor_permille": [round(1000 * factor) for _, factor in points],
            "shift_share_permille": round(1000 * scenario.elasticity.shift_share),
            "shift_slots": shift_slots,
        }
    ]


def _pv(scenario: Scenario) -> dict[str, float]:
    owners: list[Home | Group] = [*scenario.homes, *scenario.groups]
    plants = [owner.pv for owner in owners if owner.pv is not None]
    ratios = {plant.inverter_ratio for plant in plants}
    if len(ratios) > 1:
        raise CompileError(f"all PV plants of a scenario have one inverter_ratio; here are {sorted(ratios)}")
    ratio = ratios.pop() if ratios else 0.9
    return {
        "temperature_coefficient_per_k": -0.0035,
        "losses": round(1.0 - LIGHT_PER_LOSSES, 6),
        "inverter_efficiency": 0.96,
        "dc_to_ac_ratio": round(1.0 / ratio, 6),
    }


def _weather(scenario: Scenario, sky: Sky) -> dict[str, Any]:
    weather = scenario.weather
    settings: dict[str, Any] = {
        "source": sky.source,
        "licence": sky.licence,
        "silent_slots": sorted(set(weather.silent_slots)),
        "live": weather.source is WeatherSource.LIVE,
    }
    if settings["live"]:
        settings |= {
            "provider": str(weather.provider),
            "url": weather.url,
            # The file with the key is named from where the scenario lies; the key itself is never copied.
            "key_file": weather.key_file and str(Path(scenario.path).parent / weather.key_file),
            "every_s": weather.every_s,
            "stale_after_s": max(STALE_AFTER_S, 2 * weather.every_s),
            "latitude": scenario.place.latitude,
            "longitude": scenario.place.longitude,
            "altitude_m": scenario.place.altitude_m,
        }
    return settings


def _groups(scenario: Scenario) -> list[dict[str, Any]]:
    groups, first = [], len(scenario.homes) + 1
    for group in scenario.groups:
        groups.append({"name": group.name, "first": first, "count": group.count})
        first += group.count
    if first <= scenario.homes_count:
        groups.append({"name": "data set", "first": first, "count": scenario.homes_count - first + 1})
    return groups


def _scene(home: Home) -> dict[str, Any]:
    scene: dict[str, Any] = {}
    if any(home.scene.misreports_wh):
        scene["misreports_wh"] = list(home.scene.misreports_wh)
    if home.scene.late_slots:
        scene["late_slots"] = sorted(set(home.scene.late_slots))
    if home.scene.phantom_claim is not None:
        claim = home.scene.phantom_claim
        scene["phantom_claim"] = {
            "giver": claim.giver, "energy_wh": claim.energy_wh, "slots": sorted(set(claim.slots))
        }  # fmt: skip
    return scene


def tariff_tables(scenario: Scenario, community: Community | None) -> dict[str, npt.NDArray[np.int32]]:
    """`import_ueur_per_kwh` and `export_ueur_per_kwh` per slot, where they change with time."""
    period, tariff = scenario.market.period, scenario.tariff
    tables: dict[str, npt.NDArray[np.int32]] = {}
    for name, given, column in (
        ("import_ueur_per_kwh", tariff.import_list, tariff.import_column),
        ("export_ueur_per_kwh", tariff.export_list, tariff.export_column),
    ):
        if given is not None:
            tables[name] = np.resize(np.array(given, np.int32), period.slots)
        elif tariff.file is not None and column is not None:
            eur = read_column(Path(scenario.path).parent / tariff.file, column)
            tables[name] = _ueur(per_slot(eur, period))
    if scenario.data is not None and scenario.data.use_tariff:
        prices = {} if community is None else {
            "import_ueur_per_kwh": community.price_eur_per_kwh,
            "export_ueur_per_kwh": community.export_eur_per_kwh,
        }  # fmt: skip
        if community is None or all(eur is None for eur in prices.values()):
            raise CompileError(f"{scenario.data.file} carries no price: data.use_tariff cannot be true")
        rows = community.rows(period)
        tables |= {name: _ueur(eur[rows]) for name, eur in prices.items() if eur is not None}
    return tables


def carbon_tables(scenario: Scenario, community: Community | None) -> dict[str, npt.NDArray[np.int32]]:
    """`co2_mg_per_kwh` and `co2_marginal_mg_per_kwh` per slot, as far as they are known."""
    period, grid = scenario.market.period, scenario.grid
    tables: dict[str, npt.NDArray[np.int32]] = {}
    for name, given, column in (
        ("co2_mg_per_kwh", grid.co2_g_per_kwh, grid.co2_column),
        ("co2_marginal_mg_per_kwh", grid.co2_marginal_g_per_kwh, grid.co2_marginal_column),
    ):
        if given is not None:
            tables[name] = np.resize(_mg(np.array(given)), period.slots)
        elif grid.file is not None and column is not None:
            path = Path(scenario.path).parent / grid.file
            tables[name] = _mg(_possible(path, per_slot(read_column(path, column), period)))
    data = scenario.data
    if data is None or not data.use_carbon or community is None or community.co2_g_per_kwh is None:
        return tables
    of_set = _possible(Path(data.file), community.co2_g_per_kwh)
    return {"co2_mg_per_kwh": _mg(of_set[community.rows(period)])} | tables


def _possible(path: Path, co2_g_per_kwh: F64) -> F64:
    if not np.all((co2_g_per_kwh >= 0) & (co2_g_per_kwh <= CO2_G_PER_KWH_MAX)):
        raise CompileError(f"{path}: a carbon intensity is not one of 0 .. {CO2_G_PER_KWH_MAX} g/kWh")
    return co2_g_per_kwh


def _mg(co2_g_per_kwh: F64) -> npt.NDArray[np.int32]:
    whole: npt.NDArray[np.int32] = np.rint(co2_g_per_kwh * 1e3).astype(np.int32)
    return whole


def _ueur(eur_per_kwh: F64) -> npt.NDArray[np.int32]:
    whole: npt.NDArray[np.int32] = np.rint(eur_per_kwh * 1e6).astype(np.int32)
    return whole
