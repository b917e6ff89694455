"""Fleet kernel against a twin of hand-written objects, and its growth from 10,000 to a million homes.

    PYTHONPATH=daemons:. python tests/bench/bench_fleet.py [--pairs 5] [--homes 10000]

Both live through the same twelve hours of the same neighbourhood (load, U curve, degrees, PV, wind,
battery with losses, elasticity with shifting) in turn. Without noise their totals must agree; with
noise the twin draws from Python's own generator, as one would by hand, and the totals must agree
within the scatter of the draws.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys
import time
import tracemalloc
from math import log
from pathlib import Path
from random import Random  # noqa: TID251 - the twin is what one would write by hand
from typing import Any, Final

import numpy as np

from energymarket.core.fleet import Fleet, State, initial_state, step
from tests.unit.core.made_fleet import FIRST_SLOT, Made, day_price_ueur_per_kwh, day_weather, mixed

SHARE: Final = 0.5  # of the homes own each thing (half as many a battery, an eighth a turbine)
SLOTS: Final = range(FIRST_SLOT + 32, FIRST_SLOT + 80)  # 8:00 to 20:00
TOTALS: Final = ("production_wh", "consumption_wh", "import_wh", "export_wh", "losses_wh", "battery_wh")


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
        self.factors = [1.0, *(factor_of(each, price) for each in made.settings["elasticity"])]


def pv_wh(poa: float, celsius: float, wind: float) -> float:
    """PVWatts of 1 kWp for a quarter of an hour."""
    cell = celsius + poa / (25 + 6.84 * 0.725 * wind)
    load = poa * (1 - 0.0035 * (cell - 25)) * 0.86 / (1000 / 1.1 / 0.96)
    return (
        min(max(0.0, 1000 / 1.1 / 0.9637 * (0.9858 * load - 0.0162 * load * load - 0.0059)), 1000 / 1.1) / 4
    )


def factor_of(each: dict[str, Any], price: int) -> float:
    """Linear between the points of the class, flat beyond."""
    grid, factors = each["grid_ueur_per_kwh"], each["factor_permille"]
    return float(np.interp(price, grid, factors)) / 1000


class TwinHome:
    """One home as an object: the same model, written by hand."""

    __slots__ = (*TOTALS, "carries", "dues", "fraction", "o")

    production_wh: int
    consumption_wh: int
    import_wh: int
    export_wh: int
    losses_wh: int
    battery_wh: int

    def __init__(self, own: dict[str, Any], elasticity: list[dict[str, Any]]) -> None:
        self.o = own
        for name in TOTALS:
            setattr(self, name, 0)
        self.battery_wh = own["battery_initial_wh"]
        self.carries = [0.0, 0.0, 0.0, 0.0]
        self.fraction = 0
        level = own["elasticity_class"]
        self.dues = (0, elasticity[level - 1]["shift_slots"] if level else 1)

    def whole(self, stream: int, energy: float) -> int:
        """Whole Wh; the fraction stays."""
        energy += self.carries[stream]
        whole = int(energy)
        self.carries[stream] = energy - whole
        return whole

    def consume(self, shared: Shared, loads: list[list[float]], draw: Random | None) -> int:
        """Load of the slot."""
        o = self.o
        wanted = loads[(shared.row - o["load_shift"]) % len(loads)][o["load_class"]] * o["load_scale"]
        if o["series"] != 65_535:
            wanted += shared.series_out[o["series"]]
        if o["load_response"] == 2:
            wanted *= shared.u_factor
        if draw is not None and o["noise_permille"]:
            u = draw.random()
            wanted *= 1 + o["noise_permille"] / 1000 * (1.5 * u * u + draw.random() - 1)
        if o["load_response"] == 1:
            wanted += shared.heating_k * o["heat_wh_per_k"] + shared.cooling_k * o["cool_wh_per_k"]
        owed, slots = self.dues
        due = later = 0
        if o["elasticity_class"]:
            factor = shared.factors[o["elasticity_class"]]
            due = -(-owed // slots)
            later = self.whole(3, wanted * max(0.0, 1 - factor) * 0.5)
            wanted *= factor
        self.dues = (owed - due + later, slots)
        return self.whole(0, wanted) + due

    def produce(self, shared: Shared) -> int:
        """PV, series and wind of the slot."""
        o = self.o
        energy = shared.pv_wh[o["pv_roof"]] * o["pv_kwp"] if o["pv_kwp"] else 0.0
        if o["series"] != 65_535:
            energy += shared.series_in[o["series"]]
        produced = self.whole(1, energy)
        if o["wind_kw"]:
            produced += self.whole(2, shared.wind_wh[o["wind_site"]] * o["wind_kw"])
        return produced

    def store(self, net: int, turn: int) -> int:
        """Net at the meter after the battery."""
        o = self.o
        if not o["battery_capacity_wh"] or not net:
            return net
        which = "charge" if net > 0 else "discharge"
        energy, q = o[f"battery_{which}_w"] * 900, o[f"{which}_q"]
        limit = energy * (turn + 1) // 3600 - energy * turn // 3600
        if net > 0:
            most, target = min(net, limit), min(o["battery_capacity_wh"] - self.battery_wh, limit)
        else:
            most, target = self.battery_wh, min(-net, limit)
        moved = max(0, min(most, -(-(target * 10_000 - self.fraction) // q)))
        arrived, self.fraction = divmod(moved * q + self.fraction, 10_000)
        self.losses_wh += moved - arrived
        self.battery_wh += arrived if net > 0 else -moved
        return int(net - moved if net > 0 else net + arrived)

    def step(self, shared: Shared, loads: list[list[float]], draw: Random | None) -> None:
        """One slot."""
        consumed = self.consume(shared, loads, draw)
        produced = self.produce(shared)
        self.consumption_wh += consumed
        self.production_wh += produced
        net = self.store(produced - consumed, shared.turn)
        if net > 0:
            self.export_wh += net
        else:
            self.import_wh -= net


def twin_run(made: Made, homes: int, draw: Random | None) -> tuple[float, dict[str, int]]:
    """CPU seconds of the twin for the slots, and its totals."""
    columns = {name: column[:homes].tolist() for name, column in made.homes.items()}
    for which in ("charge", "discharge"):
        columns[f"{which}_q"] = [round(e * 10_000) for e in columns[f"battery_{which}_efficiency"]]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    fleet = [TwinHome(row, made.settings["elasticity"]) for row in rows]
    tables = {name: table.tolist() for name, table in made.tables.items()}
    start = time.process_time()
    for slot in SLOTS:
        shared = Shared(made, tables, slot)
        for home in fleet:
            home.step(shared, tables["load_wh"], draw)
    seconds = time.process_time() - start
    return seconds, {name: sum(getattr(home, name) for home in fleet) for name in TOTALS}


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
    return seconds / rounds, {name: int(pair[0].column(name).sum()) for name in TOTALS}


def compare(homes: int, pairs: int, noise_permille: int, tolerance: float) -> float:
    """Run both in turn; the median ratio of CPU time. Exits if the totals differ by more than that."""
    made = mixed(homes, 2, SHARE, noise=noise_permille)
    fleet = Fleet(made, 1, homes)
    kernel_run(fleet)
    ratios = []
    ours, twin = dict.fromkeys(TOTALS, 0), dict.fromkeys(TOTALS, 1)
    for turn in range(pairs):
        ours_s, ours = kernel_run(fleet, rounds=10)
        twin_s, twin = twin_run(made, homes, Random(turn) if noise_permille else None)
        for name in TOTALS:
            if abs(ours[name] - twin[name]) > tolerance * max(abs(twin[name]), 1):
                sys.exit(f"{name}: kernel {ours[name]:,} Wh, twin {twin[name]:,} Wh")
        ratios.append(twin_s / ours_s)
        speed = homes * len(SLOTS) / 1e6
        speeds = f"kernel {speed / ours_s:6.1f} M home-slots/CPU-s, twin {speed / twin_s:6.3f} M"
        print(f"  {speeds}, ratio {ratios[-1]:5.0f}")
    worst = max(abs(ours[name] / twin[name] - 1) for name in TOTALS)
    print(f"  totals agree within {worst:.1e}; median ratio {statistics.median(ratios):.0f}")
    return statistics.median(ratios)


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
    state = State.size_bytes(1)
    print(f"  static, scratch, answer {static:.0f} B + state {state} B = {static + state:.0f} B per home")
    print(f"  (the other generation of the state, mapped from its file: {state} B more)")


def machine() -> str:
    """Where this was measured."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{model}, Python {platform.python_version()}, NumPy {np.__version__}, {platform.system()}"


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--homes", type=int, default=10_000)
    given = parser.parse_args()
    print(machine())
    print(f"{given.homes:,} homes, no draws (target: ratio >= 50)")
    compare(given.homes, given.pairs, 0, 1e-6)
    print(f"{given.homes:,} homes, two draws per noisy home and slot (target: ratio >= 25)")
    compare(given.homes, given.pairs, 300, 1e-2)
    print("growth, with draws (target: exponent <= 1.05)")
    growth(given.pairs)
    print("memory (target: <= 160 B per home)")
    memory()


if __name__ == "__main__":
    main()
