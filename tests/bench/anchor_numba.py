"""The model of a home as a loop that Numba compiles: what a fleet kernel costs with a JIT, on one core.

    python tests/bench/anchor_numba.py MADE.npz [--rounds 10]

Runs in an environment of its own with Numba. MADE has the columns of the homes and what they share in each
slot, as `bench_fleet.py` writes them; the draws are made in the loop, by the same two keyed rounds of the
32-bit finaliser as in `chance.py`. Integers and float32 as in the kernel, so the totals must be its own.
Prints CPU seconds per round (compilation left out) and the totals.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, Any]


@numba.njit(cache=False)  # type: ignore[untyped-decorator, unused-ignore]
def mixed_u32(value: Any) -> Any:
    """lowbias32."""
    value ^= value >> np.uint32(16)
    value = np.uint32(value * np.uint32(0x7FEB352D))
    value ^= value >> np.uint32(15)
    value = np.uint32(value * np.uint32(0x846CA68B))
    return value ^ (value >> np.uint32(16))


@numba.njit(cache=False)  # type: ignore[untyped-decorator, unused-ignore]
def unit(keys: Any, item: Any) -> Any:
    """Uniform in [0, 1), by counter."""
    first = mixed_u32(np.uint32(item) ^ keys[0])
    return np.float32(mixed_u32(first ^ keys[1]) >> np.uint32(8)) * np.float32(2.0**-24)


@numba.njit(cache=False)  # type: ignore[untyped-decorator, unused-ignore]
def whole(energy: Any, carry: Array, home: int) -> int:
    """Whole Wh; the fraction stays."""
    floor = np.floor(energy)
    rest = (energy - floor) + carry[home]
    up = np.floor(rest)
    carry[home] = rest - up
    return int(floor + up)


@numba.njit(cache=False)  # type: ignore[untyped-decorator, unused-ignore]
def step(h: Any, s: Any, st: Any) -> None:
    """One slot of all homes: `h` what they own, `s` what they share, `st` their state."""
    one = np.float32(1)
    for home in range(len(h.load_scale)):
        wanted = s.profile_wh[h.profile[home]] * h.load_scale[home]
        wanted += s.series_out[h.series[home]]
        if h.load_response[home] == 2:
            wanted *= s.u_factor
        if h.noise[home] > 0:
            u, v = unit(s.hour_keys, home + 1), unit(s.slot_keys, home + 1)
            wanted *= one + h.noise[home] * (np.float32(1.5) * u * u + v - one)
        if h.load_response[home] == 1:
            wanted += s.heating_k * h.heat_wh_per_k[home] + s.cooling_k * h.cool_wh_per_k[home]
        level = h.elasticity_class[home]
        due = later = 0
        if level:
            slots = h.shift_slots[level]
            due = (st.deferred_wh[home] + slots - 1) // slots
            later = whole(wanted * s.later[level], st.deferred_carry, home)
            wanted *= s.now[level]
        st.deferred_wh[home] += later - due
        consumed = whole(wanted, st.load_carry, home) + due
        sun = s.pv_wh[h.pv_roof[home]] * h.pv_kwp[home] + s.series_in[h.series[home]]
        produced = whole(sun, st.pv_carry, home)
        if h.wind_kw[home] > 0:
            produced += whole(s.wind_wh[h.wind_site[home]] * h.wind_kw[home], st.wind_carry, home)
        net = produced - consumed
        if h.battery_capacity_wh[home] and net:
            power = h.battery_charge_w[home] if net > 0 else h.battery_discharge_w[home]
            q = h.charge_q[home] if net > 0 else h.discharge_q[home]
            limit = power * 900 * (s.turn + 1) // 3600 - power * 900 * s.turn // 3600
            if net > 0:
                most = min(net, limit)
                target = min(h.battery_capacity_wh[home] - st.battery_wh[home], limit)
            else:
                most, target = st.battery_wh[home], min(-net, limit)
            moved = max(0, min(most, -(-(target * 10_000 - st.battery_carry[home]) // q)))
            arrived = (moved * q + st.battery_carry[home]) // 10_000
            st.battery_carry[home] = moved * q + st.battery_carry[home] - arrived * 10_000
            st.losses_wh[home] += moved - arrived
            st.battery_wh[home] += arrived if net > 0 else -moved
            net = net - moved if net > 0 else net + arrived
        st.consumption_wh[home] += consumed
        st.production_wh[home] += produced
        if net > 0:
            st.export_wh[home] += net
        else:
            st.import_wh[home] -= net


STATE = ("production_wh", "consumption_wh", "import_wh", "export_wh", "losses_wh", "battery_wh")
CARRIES = ("load_carry", "pv_carry", "wind_carry", "deferred_carry")


def named(kind: str, values: dict[str, Any]) -> Any:
    """A named tuple: Numba takes its fields as they are."""
    return namedtuple(kind, values)(**values)  # noqa: PYI024 named at run time only


def fresh(homes: int, initial_wh: Array) -> dict[str, Array]:
    """The state before the first slot."""
    state: dict[str, Array] = {
        name: np.zeros(homes, np.int64) for name in (*STATE, "deferred_wh", "battery_carry")
    }
    state |= {name: np.zeros(homes, np.float32) for name in CARRIES}
    state["battery_wh"][:] = initial_wh
    return state


def main() -> None:
    """Run, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("made", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    words = parser.parse_args()
    made = np.load(words.made)
    own = {name[5:]: made[name] for name in made.files if name.startswith("home_")}
    shared = {name[5:]: made[name] for name in made.files if name.startswith("slot_")}
    homes = named("Homes", own | {"shift_slots": made["shift_slots"]})
    slots = [
        named("Slot", {name: rows[at] for name, rows in shared.items()}) for at in range(len(shared["turn"]))
    ]
    count, initial = len(own["load_scale"]), made["initial_wh"]
    step(homes, slots[0], named("State", fresh(count, initial)))
    seconds, state = 0.0, {}
    for _ in range(words.rounds):
        state = fresh(count, initial)
        kept = named("State", state)
        began = time.process_time()
        for slot in slots:
            step(homes, slot, kept)
        seconds += time.process_time() - began
    totals = {name: int(state[name].sum()) for name in STATE}
    said = {"cpu_s": seconds / words.rounds, "totals": totals, "version": numba.__version__}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
