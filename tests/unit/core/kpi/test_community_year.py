"""The community year of Fontana: indicators against a few lines of NumPy straight from the CSV.

With all 17 homes as a check of the arithmetic; without homes 12 and 15, whose meters look miswired, for
figures that anybody could publish.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from energymarket.core import exchange, pricing
from energymarket.core.fleet import Fleet, State, initial_state, step
from energymarket.core.kpi.document import document
from energymarket.core.kpi.storage import Storage
from energymarket.core.kpi.tally import Carbon, Frame, Tally
from energymarket.core.passage import Passage
from energymarket.core.settlement import Batch, Prices, Readings, no_orders, settle
from energymarket.scenario import toml
from energymarket.scenario.compile import compile_into
from energymarket.scenario.compiled import Compiled, load
from energymarket.scenario.indicators import carbon_of, frame_of
from tests.unit.core.kpi.made_passages import COLUMNS, cut, from_meters

F64 = npt.NDArray[np.float64]
ROW = 0.5e-3  # kWh: a value of the CSV as a whole number of Wh

ALL = tuple(range(1, 18))
GOOD = tuple(home for home in ALL if home not in {12, 15})


@dataclass(frozen=True)
class Year:
    """The CSV, in kWh per hour; no code of ours has touched it."""

    load: F64  # (8760, 17)
    pv: F64
    price: F64
    carbon: F64  # kg/kWh

    def of(self, homes: tuple[int, ...]) -> tuple[F64, F64]:
        """Load and PV of some homes."""
        at = [home - 1 for home in homes]
        return self.load[:, at], self.pv[:, at]


@pytest.fixture(scope="module")
def year(shared_data: Path) -> Year:
    """Read once."""
    with gzip.open(shared_data / "fontana17.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    column = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    load = np.stack([column[f"load{n}_kwh"] for n in ALL], axis=1)
    pv = np.stack([column[f"pv{n}_kwh"] for n in ALL], axis=1)
    return Year(np.maximum(load, 0), np.maximum(pv, 0), column["price_usd_kwh"], column["co2_kg_kwh"])


def straight(load: F64, pv: F64, price: F64, carbon: F64) -> dict[str, float]:
    """The same questions, asked of the CSV in floats."""
    lack, over = np.maximum(load - pv, 0), np.maximum(pv - load, 0)
    line = (load - pv).sum(axis=1)
    line_in, line_out = np.maximum(line, 0), np.maximum(-line, 0)
    return {
        "imported_kwh": lack.sum(),
        "exported_kwh": over.sum(),
        "line_import_kwh": line_in.sum(),
        "line_export_kwh": line_out.sum(),
        "household_sufficiency": np.minimum(load, pv).sum() / load.sum(),
        "household_consumption": np.minimum(load, pv).sum() / pv.sum(),
        "community_sufficiency": np.minimum(load.sum(axis=1), pv.sum(axis=1)).sum() / load.sum(),
        "community_consumption": np.minimum(load.sum(axis=1), pv.sum(axis=1)).sum() / pv.sum(),
        "line_import_kw": line_in.max(),
        "line_export_kw": line_out.max(),
        "home_import_kw": lack.max(),
        "coincidence": lack.sum(axis=1).max() / lack.max(axis=0).sum(),
        "line_kg": (line_in * carbon).sum(),
        "homes_kg": (lack.sum(axis=1) * carbon).sum(),
        "alone_eur": (lack.sum(axis=1) * price).sum() - 0.05 * over.sum(),
    }


def told(made: dict[str, Any]) -> dict[str, float]:
    """Ours, by the same names."""
    energy, kpi = made["energy"], made["kpi"]
    names = ("imported_kwh", "exported_kwh", "line_import_kwh", "line_export_kwh")
    return {name: energy[name] for name in names} | {
        "household_sufficiency": kpi["self_sufficiency"]["household"],
        "household_consumption": kpi["self_consumption"]["household"],
        "community_sufficiency": kpi["self_sufficiency"]["community"],
        "community_consumption": kpi["self_consumption"]["community"],
        "line_import_kw": kpi["peaks"]["line_import_kw"],
        "line_export_kw": kpi["peaks"]["line_export_kw"],
        "home_import_kw": kpi["peaks"]["home_import_kw"],
        "coincidence": kpi["peaks"]["coincidence_factor"],
        "line_kg": kpi["co2"]["line_import_average_kg"],
        "homes_kg": kpi["co2"]["home_imports_average_kg"],
        "alone_eur": made["money"]["alone_eur"],
    }


def agree(ours: dict[str, float], csv_s: dict[str, float], homes: int, hours: int) -> None:
    """To the rounding of each home's hour to whole Wh: at worst half a Wh each, which mostly cancels."""
    assert set(ours) == set(csv_s)
    spread = 8 * ROW * (homes * hours / 3) ** 0.5  # kWh: eight standard deviations of so many roundings
    for name, expected in csv_s.items():
        if name.endswith("_kw"):
            slack = 2 * ROW * homes  # load and PV of all homes in one hour
        elif name.endswith(("_kwh", "_kg", "_eur")):
            slack = spread  # a kWh costs, and emits, less than 1
        elif name == "coincidence":
            slack = 2 * ROW * homes / 50  # one hour's energy over the sum of peaks, which is above 50 kWh
        else:
            slack = 1e-5
        assert ours[name] == pytest.approx(expected, rel=0, abs=slack), name


def no_batteries(homes: int) -> Storage:
    """Nothing stored, nothing lost, and known to be so."""
    zero = np.zeros(homes, np.int64)
    return Storage(zero, zero, np.ones(homes, np.bool_))


@pytest.mark.parametrize("homes", [ALL, GOOD], ids=["17", "15"])
def test_a_year_of_meters_is_what_the_file_says(year: Year, homes: tuple[int, ...]) -> None:
    """8,760 hours: energy, shares, peaks, coincidence, carbon, and the bill alone."""
    load, pv = year.of(homes)
    asked = np.rint(year.price * 1e6).astype(np.int64)
    paid = np.full(len(asked), 50_000)
    produced, consumed = (np.rint(each * 1e3).astype(np.int64) for each in (pv, load))
    whole = from_meters(0, (asked + paid) // 2, asked, paid, produced, consumed)
    tally = Tally(Frame(len(homes), 3600))
    carbon = np.rint(year.carbon * 1e6).astype(np.int64)
    for each in cut(whole, range(64, 8760, 64)):
        tally.add(each, Carbon(carbon[each.first_slot : each.first_slot + each.slots]))
    made = document(tally, no_batteries(len(homes)))
    agree(told(made), straight(load, pv, year.price, year.carbon), len(homes), 8760)
    # trading halfway between r and e, nobody pays more than alone, and the line settles what is left
    assert made["kpi"]["spread"]["worse_off_share"] == 0
    assert made["money"]["bill_eur"] < made["money"]["alone_eur"]


# through the core


TEXT = """
schema = 1
title = "a community"
[time]
start = 2022-08-01 # no leap year
timezone = "Etc/GMT+8"
slot = "1h"
slots = {slots}
[place]
latitude = 34.09
longitude = -117.44
[weather]
source = "constant"
[tariff]
export = 0.05
[price]
half_life_h = 2
initial = 0.13
floor = 0.06
cap = 0.20
[[price.factor]]
name = "base"
alpha = 0.13
[[price.factor]]
name = "imbalance"
alpha = 0.03
[data]
file = "{file}"
exclude = [12, 15]
use_tariff = true
"""
SLOTS = 8_760


@pytest.fixture(scope="module")
def compiled(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """From 1 August on: the file's second row, and last its first."""
    file = shared_data / "fontana17.csv.gz"
    scenario, problems = toml.parse(TEXT.format(slots=SLOTS, file=file.name), str(file.parent / "c.toml"))
    assert scenario is not None, toml.render_problems(problems)
    place = tmp_path_factory.mktemp("compiled")
    compile_into(place, scenario)
    return load(place)


def played(compiled: Compiled) -> tuple[list[Passage], State]:
    """The core slot by slot: lived, shared, priced, settled. Passages of 64, and the homes' last state."""
    homes = compiled.homes_count
    fleet = Fleet(compiled, 1, homes)
    states = [State(bytearray(State.size_bytes(homes)), homes) for _ in range(2)]
    initial_state(fleet, states[0])
    readings, price, consumed, produced = Readings.zero(homes), compiled.price.initial_ueur_per_kwh, 0, 0
    ids, policies = np.arange(1, homes + 1), np.asarray(compiled.homes["policy"])
    rows: list[dict[str, Any]] = []
    heads: list[tuple[int, int, int]] = []
    for slot in range(compiled.period.first_slot, compiled.period.first_slot + compiled.period.slots):
        sample = compiled.weather[compiled.table_row(slot)]
        price = pricing.terms(compiled.price, price, 0, consumed, produced, ()).published_ueur_per_kwh
        asked, paid = compiled.import_export_at(slot)
        net = step(fleet, states[0], states[1], slot, sample, price)
        states.reverse()
        shared = exchange.outcome(ids, net.surplus_wh, net.need_wh, policies, compiled.sharing, 1, slot)
        columns, claims = exchange.batch_columns(shared, 1, homes)
        registers = {
            name: states[0].column(name).copy()
            for name in ("production_wh", "consumption_wh", "import_wh", "export_wh")
        }
        batch = Batch(str(slot), 1, homes, registers | columns, claims)
        settled = settle(readings, [batch], no_orders(), Prices(price, asked, paid), homes)
        readings = settled.readings
        consumed, produced = settled.totals.consumed_wh, settled.totals.produced_wh
        rows.append(settled.columns)
        heads.append((price, asked, paid))
    columns = {name: np.stack([row[name] for row in rows]) for name in COLUMNS}
    p, r, e = np.array(heads).T
    whole = Passage(compiled.period.first_slot, p, r, e, columns)
    return cut(whole, range(64, SLOTS, 64)), states[0]


def test_a_year_through_the_core_is_what_the_file_says(year: Year, compiled: Compiled) -> None:
    """Fleet, gifts, price and settlement in between change who pays whom, not what the meters say."""
    passages, last = played(compiled)
    tally = Tally(frame_of(compiled))
    for each in passages:
        tally.add(each, carbon_of(compiled, each.first_slot, each.slots))
    storage = Storage.between(tally, None, last)
    assert storage.known.all()
    made = document(tally, storage)
    load, pv = year.of(GOOD)
    turned = (np.roll(each, -1, axis=0) for each in (load, pv, year.price, year.carbon))
    csv_s = straight(*turned)  # the file begins at 23:00 on 31 July
    agree(told(made), csv_s, len(GOOD), SLOTS)
    energy = made["energy"]
    assert energy["given_kwh"] == energy["received_kwh"] > 0
    assert energy["short_kwh"] == energy["long_kwh"] == 0
    # what members cover among each other is what the households do not cover by themselves
    among = csv_s["imported_kwh"] - csv_s["line_import_kwh"]
    assert energy["given_kwh"] + energy["traded_kwh"] == pytest.approx(among, rel=1e-4)
    assert (
        made["kpi"]["home_table"]["bill_eur"]
        == (-sum(each.columns["money_ueur"].sum(axis=0) for each in passages) / 1e6).tolist()
    )
