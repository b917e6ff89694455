"""Fleet kernel against a twin of hand-written objects, and its growth from 10,000 to a million homes.

    python tests/bench/bench_fleet.py [--pairs 5] [--homes 10000]

Both live through the same twelve hours of the same neighbourhood (load, U curve, degrees, PV, wind,
battery with losses, elasticity with shifting) in turn. Without noise their totals must agree; with
noise the twin draws from Python's own generator, as one would by hand, and the totals must agree
within the scatter of the draws.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from math import log
from pathlib import Path
from random import Random  # noqa: TID251 - the twin is what one would write by hand
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from energymarket.core.assets import Supply
from energymarket.core.chance import Purpose, draw_u64
from energymarket.core.demand import Demand
from energymarket.core.fleet import Fleet, State, initial_state, step
from energymarket.core.state import Layout
from tests.bench.pairs import agree, head, in_turn, load, met
from tests.bench.twin_home import FLOWS, TwinHome, columns_as_homes, factor_of
from tests.unit.core.made_fleet import FIRST_SLOT, Made, day_price_ueur_per_kwh, day_weather, mixed

OWN: Final = (
    "load_scale", "load_response", "heat_wh_per_k", "cool_wh_per_k", "elasticity_class", "pv_roof", "pv_kwp",
    "wind_site", "wind_kw", "battery_capacity_wh", "battery_charge_w", "battery_discharge_w",
)  # fmt: skip
SHARE: Final = 0.5  # of the homes own each thing (half as many a battery, an eighth a turbine)
SLOTS: Final = range(FIRST_SLOT + 32, FIRST_SLOT + 80)  # 8:00 to 20:00


class Shared:
    """What a slot's homes share, computed once per slot as any careful hand would."""

    def __init__(self, made: Made, tables: dict[str, Any], slot: int) -> None:
        sample = day_weather(slot)
        row = made.table_row(slot)
        celsius = int(sample["temperature_mc"]) / 1000
        self.row = row
        self.turn = slot % 3600
        self.heating_k = max(0.0, 15 - celsius) * tables["heat_shape"][slot % 96]
        self.cooling_k = max(0.0, celsius - 24)
        self.u_factor = (1 + 0.002 * (celsius - 17) ** 2) * (1.2 if sample["rain_um_per_h"] > 0 else 1)
        self.series_in = tables["series_production_wh"][row]
        self.series_out = tables["series_consumption_wh"][row]
        sun = [int(sample[name]) / 10 for name in ("dni_dw_per_m2", "dhi_dw_per_m2", "ghi_dw_per_m2")]
        wind = int(sample["wind_mm_per_s"]) / 1000
        roofs = zip(tables["pv_beam"][row], tables["pv_sky"][row], tables["pv_ground"], strict=True)
        self.pv_wh = [
            pv_wh(sum(s * view for s, view in zip(sun, roof, strict=True)), celsius, wind) for roof in roofs
        ]
        left, share = int(wind * 10), wind * 10 % 1
        self.wind_wh = [(c[left] + (c[left + 1] - c[left]) * share) / 4 for c in tables["wind_curve_w"]]
        price = day_price_ueur_per_kwh(slot)
        self.factors = [
            1.0,
            *(
                factor_of(each["grid_ueur_per_kwh"], each["factor_permille"], price)
                for each in made.settings["elasticity"]
            ),
        ]


def pv_wh(poa: float, celsius: float, wind: float) -> float:
    """PVWatts of 1 kWp for a quarter of an hour."""
    cell = celsius + poa / (25 + 6.84 * 0.725 * wind)
    load = poa * (1 - 0.0035 * (cell - 25)) * 0.86 / (1000 / 1.1 / 0.96)
    return (
        min(max(0.0, 1000 / 1.1 / 0.9637 * (0.9858 * load - 0.0162 * load * load - 0.0059)), 1000 / 1.1) / 4
    )


def twin_run(made: Made, homes: int, draw: Random | None) -> tuple[float, dict[str, int]]:
    """CPU seconds of the twin for the slots, and its totals."""
    rows = columns_as_homes({name: column[:homes].tolist() for name, column in made.homes.items()})
    shift_slots = [each["shift_slots"] for each in made.settings["elasticity"]]
    fleet = [TwinHome(row, shift_slots) for row in rows]
    tables = {name: table.tolist() for name, table in made.tables.items()}
    loads = tables["load_wh"]
    start = time.process_time()
    for slot in SLOTS:
        shared = Shared(made, tables, slot)
        for home in fleet:
            o = home.o
            noise = 1.0
            if draw is not None and o["noise_permille"]:
                u = draw.random()
                noise = 1 + o["noise_permille"] / 1000 * (1.5 * u * u + draw.random() - 1)
            home.step(shared, loads[(shared.row - o["load_shift"]) % len(loads)][o["load_class"]], noise)
    seconds = time.process_time() - start
    return seconds, {name: sum(getattr(home, name) for home in fleet) for name in FLOWS}


def kernel_run(fleet: Fleet, rounds: int = 1) -> tuple[float, dict[str, int]]:
    """CPU seconds of the kernel for the slots (the mean of some rounds), and its totals."""
    pair = [State(bytearray(State.size_bytes(fleet.count)), fleet.count) for _ in range(2)]
    weather = {slot: day_weather(slot) for slot in SLOTS}
    seconds = 0.0
    for _ in range(rounds):
        initial_state(fleet, pair[0])
        start = time.process_time()
        for slot in SLOTS:
            step(fleet, pair[0], pair[1], slot, weather[slot], day_price_ueur_per_kwh(slot))
            pair.reverse()
        seconds += time.process_time() - start
    return seconds / rounds, {name: int(pair[0].column(name).sum()) for name in FLOWS}


def compare(homes: int, pairs: int, noise_permille: int, tolerance: float) -> float:
    """Run both in turn; the median ratio of CPU time. Exits if the totals differ by more than that."""
    made = mixed(homes, 2, SHARE, noise=noise_permille)
    fleet = Fleet(made, 1, homes)
    kernel_run(fleet)
    ratios = []
    ours, twin = dict.fromkeys(FLOWS, 0), dict.fromkeys(FLOWS, 1)
    for turn in range(pairs):
        ours_s, ours = kernel_run(fleet, rounds=10)
        twin_s, twin = twin_run(made, homes, Random(turn) if noise_permille else None)
        for name in FLOWS:
            if abs(ours[name] - twin[name]) > tolerance * max(abs(twin[name]), 1):
                sys.exit(f"{name}: kernel {ours[name]:,} Wh, twin {twin[name]:,} Wh")
        ratios.append(twin_s / ours_s)
        speed = homes * len(SLOTS) / 1e6
        speeds = f"kernel {speed / ours_s:6.1f} M home-slots/CPU-s, twin {speed / twin_s:6.3f} M"
        print(f"  {speeds}, ratio {ratios[-1]:5.0f}")
    worst = max(abs(ours[name] / twin[name] - 1) for name in FLOWS)
    print(f"  totals agree within {worst:.1e}; median ratio {statistics.median(ratios):.0f}")
    return statistics.median(ratios)


def write_made(made: Made, path: Path) -> None:
    """Write homes and slots as `anchor_numba.py` reads them."""
    weather = np.array([day_weather(slot) for slot in SLOTS])
    rows = np.array([made.table_row(slot) for slot in SLOTS], np.int64)
    demand = Demand(made.tables, made.settings, made.period.slot_s, made.seed)
    homes = {name: np.asarray(column) for name, column in made.homes.items()}
    profile = demand.key_profiles(homes)
    wants = demand.of_slots(range(SLOTS.start, SLOTS.stop), rows, weather)
    brings = Supply(made.tables, made.settings, made.period.slot_s).of_slots(rows, weather)
    answers = [demand.answer(day_price_ueur_per_kwh(slot)) for slot in SLOTS]
    keys = {
        kind: [draw_u64(made.seed, purpose, at) for at in (wants.hours if kind == "hour" else SLOTS)]
        for kind, purpose in (("hour", Purpose.APPLIANCE), ("slot", Purpose.LOAD_NOISE))
    }
    halves = {
        kind: np.array([(k & 0xFFFFFFFF, k >> 32) for k in each], np.uint32) for kind, each in keys.items()
    }
    own = {
        **{name: homes[name] for name in OWN},
        "profile": profile.astype(np.int32),
        "series": np.minimum(homes["series"], demand.series_count),
        "noise": (homes["noise_permille"] / 1000).astype(np.float32),
        **{
            f"{w}_q": np.rint(homes[f"battery_{w}_efficiency"] * 10_000).astype(np.int64)
            for w in ("charge", "discharge")
        },
    }
    shared = {
        "turn": np.array([slot % 3600 for slot in SLOTS]),
        "profile_wh": wants.profile_wh,
        "series_out": wants.series_wh,
        "series_in": brings.series_wh,
        "u_factor": wants.u_factor[:, 1],
        "heating_k": wants.heating_k[:, 0],
        "cooling_k": wants.cooling_k[:, 0],
        "pv_wh": brings.pv_wh,
        "wind_wh": brings.wind_wh,
        "now": np.array([each.now for each in answers]),
        "later": np.array([each.later for each in answers]),
        "hour_keys": halves["hour"],
        "slot_keys": halves["slot"],
    }
    arrays: dict[str, Any] = {f"home_{name}": column for name, column in own.items()}
    arrays |= {f"slot_{name}": table for name, table in shared.items()}
    np.savez(path, shift_slots=demand.shift_slots, initial_wh=homes["battery_initial_wh"], **arrays)


def beside_numba(python: str, homes: int, pairs: int) -> None:
    """The kernel and the same loop under Numba, in turn; the totals must agree."""
    made = mixed(homes, 2, SHARE)
    fleet = Fleet(made, 1, homes)
    anchor = Path(__file__).with_name("anchor_numba.py")
    work = homes * len(SLOTS)
    with tempfile.TemporaryDirectory(prefix="em-bench-") as place:
        path = Path(place) / "made.npz"
        write_made(made, path)
        worst = [0.0]

        def theirs() -> float:
            said = json.loads(subprocess.run([python, anchor, path], check=True, capture_output=True).stdout)
            worst.append(agree(kernel_run(fleet)[1], said["totals"], FLOWS, 1e-4))
            return work / float(said["cpu_s"])

        ours, numba, ratio = in_turn(pairs, lambda: work / kernel_run(fleet, rounds=10)[0], theirs)
    print(f"  kernel {ours:.3g} home-slots/CPU-s, Numba {numba:.3g}; kernel / Numba {ratio:.3f}")
    print(f"  totals agree within {max(worst):.1e}; stretch >= 0.25: {met(ratio.median, 0.25)}")


def growth(rounds: int) -> float:
    """Print how CPU time grows from 10,000 to a million homes; the exponent."""
    sizes = (10_000, 100_000, 1_000_000)
    made = mixed(sizes[-1], 2, SHARE)
    fleets = [Fleet(made, 1, size) for size in sizes]
    seconds: list[list[float]] = [[] for _ in sizes]
    for _ in range(rounds):
        for fleet, taken in zip(fleets, seconds, strict=True):
            taken.append(kernel_run(fleet, rounds=max(1, 100_000 // fleet.count))[0])
    medians = [statistics.median(taken) for taken in seconds]
    for size, median in zip(sizes, medians, strict=True):
        print(f"  {size:>9,} homes: {size * len(SLOTS) / median / 1e6:6.1f} M home-slots/CPU-s")
    exponent = log(medians[-1] / medians[0]) / log(sizes[-1] / sizes[0])
    print(f"  exponent {exponent:.3f}")
    return exponent


def memory(homes: int = 1_000_000) -> None:
    """Print bytes per home of the static columns and of the state."""
    made = mixed(homes, 2, SHARE)
    gc.collect()
    tracemalloc.start()
    fleet = Fleet(made, 1, homes)
    gc.collect()
    static = tracemalloc.get_traced_memory()[0] / fleet.count
    tracemalloc.stop()
    state, wide = (layout.size_bytes(1) for layout in (Layout.NARROW, Layout.WIDE))
    print(f"  static, scratch, answer {static:.0f} B + state {state} B = {static + state:.0f} B per home")
    print(f"  (state {wide} B once a register has outgrown 32 bits, as fast-forward has it always)")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--homes", type=int, default=10_000)
    parser.add_argument("--numba", metavar="PYTHON", help="of an environment with Numba")
    given = parser.parse_args()
    print(head())
    print(f"{given.homes:,} homes, no draws (target: ratio >= 50)")
    compare(given.homes, given.pairs, 0, 1e-6)
    print(f"{given.homes:,} homes, two draws per noisy home and slot (target: ratio >= 25)")
    compare(given.homes, given.pairs, 300, 1e-2)
    if given.numba:
        print(f"{given.homes:,} homes beside Numba, with draws")
        beside_numba(given.numba, given.homes, given.pairs)
    print("growth, with draws (target: exponent <= 1.05)")
    growth(given.pairs)
    print("memory (target: <= 160 B per home)")
    memory()
    print(f"load: {load()}")


if __name__ == "__main__":
    main()
