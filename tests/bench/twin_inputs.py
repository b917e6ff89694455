"""A compiled scenario as the twin's inputs: what homes own, and what they share in each slot.

The kernel's own draws go along, so that the twin's totals must be ours.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.core import chance, exchange, ledger, pricing
from energymarket.core.assets import Supply
from energymarket.core.demand import Demand
from energymarket.engine import api
from energymarket.engine.track import Track, market_of

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.scenario.compiled import Compiled

OWN: Final = (
    "policy", "load_scale", "heat_wh_per_k", "cool_wh_per_k", "load_response", "series", "pv_roof", "pv_kwp",
    "wind_site", "wind_kw", "battery_capacity_wh", "battery_charge_w", "battery_discharge_w",
    "battery_charge_efficiency", "battery_discharge_efficiency", "battery_initial_wh", "elasticity_class",
)  # fmt: skip


def write(compiled: Compiled, slots: int, path: Path) -> None:
    """Write the inputs of the scenario's first so many slots."""
    homes = {name: np.asarray(column) for name, column in compiled.homes.items()}
    if (homes["battery_standby_w"] > 0).any():
        raise ValueError("the twin knows no standby of batteries")
    ours = range(compiled.period.first_slot, compiled.period.first_slot + slots)
    demand = Demand(compiled.tables, compiled.settings, compiled.period.slot_s, compiled.seed)
    profile = demand.key_profiles(homes)
    imbalance = [f.alpha_ueur_per_kwh for f in compiled.price.factors if f.name == "imbalance"]
    inputs = {
        "homes": {name: homes[name].tolist() for name in OWN},
        "profile": profile.tolist(),
        "elasticity": compiled.settings.get("elasticity", []),
        "price": {
            "initial_ueur_per_kwh": compiled.price.initial_ueur_per_kwh,
            "gamma": compiled.price.gamma,
            "floor_ueur_per_kwh": compiled.price.floor_ueur_per_kwh,
            "cap_ueur_per_kwh": compiled.price.cap_ueur_per_kwh,
            "imbalance_ueur": sum(imbalance),
        },
        "slots": _slots(compiled, homes, demand, ours),
    }
    path.write_text(json.dumps(inputs), encoding="utf-8")


def _slots(compiled: Compiled, homes: dict[str, Any], demand: Demand, slots: range) -> list[dict[str, Any]]:
    rows = np.array([compiled.table_row(slot) for slot in slots], np.int64)
    weather = np.asarray(compiled.weather)[rows]
    wants = demand.of_slots(slots, rows, weather)
    brings = Supply(compiled.tables, compiled.settings, compiled.period.slot_s).of_slots(rows, weather)
    outside, count = _outside(compiled, slots), compiled.homes_count
    found = []
    for at, slot in enumerate(slots):
        found.append(
            {
                "turn": slot % 3600,
                "start": exchange.ring_start(compiled.seed, slot, count),
                "outside_ueur": outside[at],
                "profile_wh": wants.profile_wh[at].tolist(),
                "series_out": wants.series_wh[at].tolist(),
                "series_in": brings.series_wh[at].tolist(),
                "u_factor": float(wants.u_factor[at, 1]),
                "heating_k": float(wants.heating_k[at, 0]),
                "cooling_k": float(wants.cooling_k[at, 0]),
                "pv_wh": brings.pv_wh[at].tolist() if brings.pv_wh.size else [0.0] * len(homes["pv_roof"]),
                "wind_wh": brings.wind_wh[at].tolist() if brings.wind_wh.size else [0.0] * count,
                "noise": _noise(compiled, homes, slot),
            }
        )
    return found


def _noise(compiled: Compiled, homes: dict[str, Any], slot: int) -> list[float]:
    """1 + a (1.5 u**2 + v - 1) per home: see `demand.py`."""
    ids = np.arange(1, compiled.homes_count + 1, dtype=np.uint32)
    hour = slot * compiled.period.slot_s // 3600
    u = chance.draw_u32(compiled.seed, chance.Purpose.APPLIANCE, hour, ids) / 2**32
    v = chance.draw_u32(compiled.seed, chance.Purpose.LOAD_NOISE, slot, ids) / 2**32
    factor = 1 + homes["noise_permille"] / 1000 * (1.5 * u * u + v - 1)
    return [round(each, 7) for each in factor.tolist()]


def _outside(compiled: Compiled, slots: range) -> list[int]:
    """What of each slot's price neither comes from the slot before nor from what flowed in it."""
    track = Track(compiled, market_of(compiled, homes=0))
    track.look(slots)
    found = []
    for at in range(len(slots)):
        opening = track.open(at)
        own = {pricing.INERTIA, "imbalance"}
        found.append(sum(value for name, value in opening.terms.items if name not in own))
        track.close(0, 0)
    return found


def write_net(compiled: Compiled, slots: int, path: Path) -> int:
    """Write each home's net at the meter (Wh, slot by slot) as JSON; the sum of all that homes lack."""
    result = api.simulate(compiled, duration=slots, engine="embedded")
    with closing(sqlite3.connect(result.folder / "market" / "ledger.db")) as db:
        bodies = [bytes(row[0]) for row in db.execute("SELECT body FROM slots ORDER BY slot")]
    columns = [ledger.unpack(body)[1] for body in bodies]
    net = np.array([each["exported_wh"] - each["imported_wh"] for each in columns])
    path.write_text(json.dumps({"net_wh": net.T.tolist()}), encoding="utf-8")
    return int(np.maximum(-net, 0).sum())
