"""The community of Fontana and CityLearn's layout: who is suspicious, what arrives, and that it compiles."""

from __future__ import annotations

import csv
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from energymarket.scenario import toml
from energymarket.scenario.compile import compile_into
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_meters import meters_of
from energymarket.scenario.compiled import Compiled, load
from tests.unit.intake.planted import at, found, moments, run, sound_rows, table, write_csv


def compiled_of(out: Path, place: Path, **changes: str) -> Compiled:
    """The scenario of an import, compiled; `changes` are keys with other values."""
    file = out / "scenario.toml"
    lines = file.read_text(encoding="utf-8").splitlines()
    for key, value in changes.items():
        lines = [f"{key} = {value}" if line.startswith(f"{key} =") else line for line in lines]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    scenario, problems = toml.read(str(file))
    assert scenario is not None, toml.render_problems(problems)
    place.mkdir()
    compile_into(place, scenario)
    return load(place)


def test_fontana_s_homes_12_and_15_are_suspicious_and_no_other(shared_data: Path, tmp_path: Path) -> None:
    """The two homes whose load follows a PV plant are named; nothing is changed; all energy arrives."""
    packed = shared_data / "fontana17.csv.gz"
    file = tmp_path / packed.name
    file.write_bytes(packed.read_bytes())
    code, report, out = run(file, "--tz", "America/Los_Angeles")
    assert code == 0
    assert [each["home"] for each in report["findings"] if each["fault"] == "follows_pv"] == ["12", "15"]
    assert "with the PV of home 12" in found(report, "follows_pv", "12")["text"]
    assert "may be exchanged" in found(report, "follows_pv", "15")["text"]
    assert report["changed"] == {}
    with gzip.open(packed, "rt", encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    for home in report["homes"]:
        for kind in ("load", "pv"):
            kwh = sum(float(row[f"{kind}{home['number']}_kwh"]) for row in rows)
            assert abs(home[f"{kind}_wh"] - 1000 * kwh) <= 0.5 + 1e-6
    homes = table(out)
    assert homes["import_eur_per_kwh"][:2] == ["0.220000", "0.220000"]
    assert homes["co2_g_per_kwh"][0] == "170.724400"
    # Row 0 is hour 24 of 31 July, a Sunday (day_type 7): of 2022, on winter time, 07:00Z.
    assert (report["begin"], report["slots"]) == ("2022-08-01T07:00Z", 8760)


def citylearn_set(directory: Path) -> Path:
    """Two buildings over 90 days from 1 January, 00:00; one without PV; price and carbon intensity."""
    hours = range(24 * 90)

    def write(name: str, columns: dict[str, list[float]]) -> None:
        rows = [[f"{value:g}" for value in row] for row in zip(*columns.values(), strict=True)]
        write_csv(directory / name, list(columns), rows)

    clock = {
        "month": [1.0 + (hour // 24 >= 31) + (hour // 24 >= 59) for hour in hours],
        "hour": [float(hour % 24 + 1) for hour in hours],
        "day_type": [float(hour // 24 % 7 + 1) for hour in hours],  # the year began on a Monday
    }
    load_kwh = [0.5 + hour % 5 / 10 for hour in hours]
    sun = [250.0 if 9 <= hour % 24 < 15 else 0.0 for hour in hours]
    write("Building_1.csv", clock | {"non_shiftable_load": load_kwh, "solar_generation": sun})
    write(
        "Building_2.csv", clock | {"non_shiftable_load": [0.25] * 12 + load_kwh[12:], "solar_generation": sun}
    )
    write("pricing.csv", {"electricity_pricing": [0.2 + hour % 2 / 10 for hour in hours]})
    write("carbon_intensity.csv", {"carbon_intensity": [0.15] * len(hours)})
    building = {"include": True, "pricing": "pricing.csv", "carbon_intensity": "carbon_intensity.csv"}
    pv = {"pv": {"attributes": {"nominal_power": 4.0}}}
    schema = {
        "buildings": {
            "Building_1": building | {"energy_simulation": "Building_1.csv"} | pv,
            "Building_2": building | {"energy_simulation": "Building_2.csv"},
            "Building_3": {"include": False},
        }
    }
    (directory / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    return directory


def test_citylearn_s_layout_is_read(tmp_path: Path) -> None:
    """W per kW times 4 kW; the year is the latest that begins on a Monday; what is not included stays out."""
    directory = tmp_path / "set"
    directory.mkdir()
    code, report, out = run(citylearn_set(directory), "--tz", "Europe/Berlin")
    assert code == 0
    assert report["findings"] == []
    assert [home["name"] for home in report["homes"]] == ["Building_1", "Building_2"]
    assert report["homes"][0]["pv_wh"] == 90 * 6 * 1000
    assert report["homes"][1]["pv_wh"] == 0
    assert report["homes"][0]["load_wh"] == 24 * 90 * 700  # the mean of 0.5 .. 0.9 kWh
    assert report["begin"] == "2017-12-31T23:00Z"  # 1 January 2018; that of 2024 has a 29 February behind it
    homes = table(out)
    assert homes["pv1_wh"][8:16] == ["0", *["1000"] * 6, "0"]
    assert (homes["import_eur_per_kwh"][1], homes["co2_g_per_kwh"][1]) == ("0.300000", "150.000000")


def test_an_import_compiles_to_what_was_measured(tmp_path: Path) -> None:
    """From the CSV to the arrays of the market: each Wh of load and PV in its slot, the price in its."""
    rows = [
        [*row, "0.8" if 32 <= n % 96 < 64 else "0", f"{0.25 + n % 3 / 100:.2f}"]
        for n, row in enumerate(sound_rows(count=96 * 7))
    ]
    header = ("time", "load_a_kwh", "load_b_kwh", "pv_b_kwh", "price")
    code, _, out = run(
        write_csv(tmp_path / "homes.csv", header, rows), "--latitude", "48.1", "--longitude", "11.6"
    )
    assert code == 0
    compiled = compiled_of(out, tmp_path / "compiled")
    assert (compiled.homes_count, compiled.period.slots, compiled.period.slot_s) == (2, 672, 900)
    assert compiled.period.first_slot * 900 == moments("2025-06-02T00:00+00:00", 1)[0].timestamp()
    first, second = compiled.homes["series"].tolist()
    consumption, production = (
        compiled.tables["series_consumption_wh"],
        compiled.tables["series_production_wh"],
    )
    assert consumption[:, first].tolist() == [round(float(row[1]) * 1000) for row in rows]
    assert consumption[:, second].tolist() == [round(float(row[2]) * 1000) for row in rows]
    assert production[:, second].tolist() == [round(float(row[3]) * 1000) for row in rows]
    assert not production[:, first].any()
    assert compiled.tables["import_ueur_per_kwh"].tolist() == [round(float(row[4]) * 1e6) for row in rows]
    assert compiled.settings["place"]["latitude"] == 48.1


@pytest.mark.parametrize(("slot", "slots"), [("5min", 3), ("30min", 0.5), ("1h", 0.25)])
def test_another_slot_of_the_scenario_keeps_the_energy(tmp_path: Path, slot: str, slots: float) -> None:
    """A quarter-hour's energy is cut into, or summed up to, the slot that the scenario is edited to."""
    rows = sound_rows(count=96 * 7)
    _, report, out = run(write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "load_b_kwh"), rows))
    count = round(672 * slots)
    compiled = compiled_of(out, tmp_path / "compiled", slot=f'"{slot}"', slots=str(count))
    consumption = compiled.tables["series_consumption_wh"].astype(np.float64)
    assert consumption.shape[0] == count
    for index, home in enumerate(report["homes"]):
        column = consumption[:, int(compiled.homes["series"][index])]
        assert column.sum() == pytest.approx(home["load_wh"], abs=0.01)
        in_first_slot = max(1, round(1 / slots))
        whole_wh = sum(float(row[index + 1]) * 1000 for row in rows[:in_first_slot])
        first = whole_wh / max(1, slots)
        assert column[0] == pytest.approx(first, abs=1e-3)


def test_prices_that_change_reach_the_market(tmp_path: Path) -> None:
    """An export price alone, below zero at times: import stays the default, the local price between."""
    rows = [[*row, f"{0.05 - 0.06 * (n % 2):.2f}"] for n, row in enumerate(sound_rows(count=96))]
    header = ("time", "load_a_kwh", "load_b_kwh", "feed_in_tariff")
    _, _, out = run(write_csv(tmp_path / "homes.csv", header, rows))
    compiled = compiled_of(out, tmp_path / "compiled")
    assert compiled.tables["export_ueur_per_kwh"].tolist() == [50_000, -10_000] * 48
    assert "import_ueur_per_kwh" not in compiled.tables
    assert compiled.tariff.import_ueur_per_kwh == 330_000
    assert (compiled.price.floor_ueur_per_kwh, compiled.price.cap_ueur_per_kwh) == (60_000, 320_000)


def test_beyond_its_end_the_data_repeat(tmp_path: Path) -> None:
    """Two weeks of a file of one: the second is the first."""
    _, _, out = run(
        write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "load_b_kwh"), sound_rows(count=672))
    )
    compiled = compiled_of(out, tmp_path / "compiled", slots="1344")
    consumption = compiled.tables["series_consumption_wh"]
    assert np.array_equal(consumption[:672], consumption[672:])


def test_a_damaged_homes_file_is_named_by_line(tmp_path: Path) -> None:
    """Edited by hand: a hole in time, a word, a lost cell; and another number of homes."""
    _, _, out = run(
        write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "load_b_kwh"), sound_rows(count=96))
    )
    file = out / "homes.csv"
    sound = file.read_text(encoding="utf-8").splitlines()

    def refusal(lines: list[str], homes: int = 2) -> str:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with pytest.raises(CompileError) as caught:
            meters_of(file, homes, ())
        return str(caught.value)

    assert "homes.csv:11: time 2025-06-02T02:30Z does not follow" in refusal([*sound[:10], *sound[11:]])
    assert 'homes.csv:5: load1_wh is "x", not a number' in refusal(
        [*sound[:4], "2025-06-02T00:45Z,x,1", *sound[5:]]
    )
    assert "homes.csv:5: load1_wh is below zero" in refusal(
        [*sound[:4], "2025-06-02T00:45Z,-4,1", *sound[5:]]
    )
    assert "homes.csv:5: 2 cells" in refusal([*sound[:4], "2025-06-02T00:45Z,1", *sound[5:]])
    assert "has 2 homes, data.homes says 3" in refusal(sound, 3)


def test_a_full_disk_leaves_the_earlier_result(tmp_path: Path) -> None:
    """A file that may not grow (as on a full disk): exit 74, the old result as it was, no draft left."""
    file = write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "load_b_kwh"), sound_rows())
    assert run(file)[0] == 0
    before = {each.name: each.read_bytes() for each in (tmp_path / "result").iterdir()}

    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that it is an error of write(), not a death
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    words = [str(file), "--out", str(tmp_path / "result"), "--force"]
    done = subprocess.run(
        [sys.executable, "-m", "energymarket.importing", *words],
        preexec_fn=no_room, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 74
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert {each.name: each.read_bytes() for each in (tmp_path / "result").iterdir()} == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["homes.csv", "result"]


def test_a_gap_is_reported_at_its_place_in_a_set_without_dates(tmp_path: Path) -> None:
    """A blank load in hour 31 of CityLearn's first building is found there, and bridged."""
    directory = tmp_path / "set"
    directory.mkdir()
    citylearn_set(directory)
    file = directory / "Building_1.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    cells = lines[31].split(",")
    lines[31] = ",".join([*cells[:3], "", cells[4]])
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _, report, _ = run(directory, "--tz", "UTC", "--year", "2023")
    assert at(found(report, "blank", "Building_1")) == [("2023-01-02T06:00Z", 1)]
    assert report["changed"] == {"interpolated": 1}


def test_the_verb_leads_from_the_file_to_a_compiled_scenario(tmp_path: Path) -> None:
    """`energyctl import` with its options, then `energyctl scenario compile`: homes and slots of the file."""
    rows = [[when.replace("T", " ").rstrip("Z"), *cells] for when, *cells in sound_rows(count=96)]
    write_csv(tmp_path / "homes.csv", ("time", "x1_load", "x2_load"), rows, ";")

    def energyctl(*words: str) -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, "-m", "energyctl", "--json", *words], cwd=tmp_path, capture_output=True,
            text=True, check=False, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    imported = energyctl(
        "import", "homes.csv", "--tz", "-05:00", "--unit", "kWh", "--latitude", "40.7",
        "--longitude", "-74.0", "--load", "x{home}_load", "--exclude", "1", "--slot", "30min", "-o", "mine",
    )  # fmt: skip
    assert (imported["begin"], imported["slots"]) == ("2025-06-02T05:00Z", 48)
    compiled = energyctl("scenario", "compile", "mine/scenario.toml")
    assert (compiled["homes"], compiled["slots"], compiled["slot_s"]) == (1, 48, 1800)
    assert compiled["first_slot"] == moments("2025-06-02T05:00+00:00", 1)[0].timestamp() / 1800
    text = (tmp_path / "mine" / "scenario.toml").read_text(encoding="utf-8")
    assert "longitude = -74.0" in text
    assert 'timezone = "Etc/GMT+5"' in text
