"""How files are written: delimiters, decimal commas, units, long and wide, registers, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.unit.intake.planted import at, found, moments, repairs, run, sound_rows, table, write_csv

UTC = ("--tz", "UTC")
SOUND = "2025-01-01T00:00Z,1\n2025-01-01T01:00Z,2\n"
DAY = [f"{when:%Y-%m-%dT%H:%M}Z" for when in moments("2025-06-16T00:00+00:00", 96)]


def test_a_german_export_is_read(tmp_path: Path) -> None:
    """Semicolons, decimal commas, grouped thousands, lines above the header, Windows' characters."""
    lines = ["Lastgang Müller", "Zählpunkt DE0001", "", "Zeitstempel;Verbrauch [Wh];Erzeugung [Wh]"]
    for number, when in enumerate(moments("2025-06-15T22:00+00:00", 96)):
        hour, minute = (when.hour + 2) % 24, when.minute
        lines.append(f"16.06.2025 {hour:02}:{minute:02};1.234,5{number % 7};{number % 9},25")
    file = tmp_path / "homes.csv"
    file.write_bytes("\r\n".join(lines).encode("cp1252"))
    code, report, out = run(file, "--tz", "Europe/Berlin")
    assert code == 0
    assert report["findings"] == []
    assert report["begin"] == "2025-06-15T22:00Z"
    # 96 times 1234.5 Wh, and hundredths 0 .. 6 thirteen times over 91 lines, then 0 .. 4
    assert report["homes"][0]["load_wh"] == round(96 * 1234.5 + (13 * 21 + 10) / 100)
    assert "the 3 lines above the header were not read" in report["notes"]
    assert len(table(out)["pv1_wh"]) == 96


def test_the_long_form_is_the_wide_one(tmp_path: Path) -> None:
    """One line per home and time gives the same files as a column per home."""
    wide = sound_rows(count=96 * 3)
    long = [[row[0], home, row[place]] for row in wide for place, home in ((1, "a"), (2, "b"))]
    one, two = tmp_path / "wide", tmp_path / "long"
    one.mkdir()
    two.mkdir()
    _, _, first = run(write_csv(one / "homes.csv", ("time", "load_a_kwh", "load_b_kwh"), wide), *UTC)
    _, report, second = run(write_csv(two / "homes.csv", ("time", "household", "kwh"), long), *UTC)
    assert (first / "homes.csv").read_bytes() == (second / "homes.csv").read_bytes()
    assert [each["name"] for each in report["homes"]] == ["a", "b"]


@pytest.mark.parametrize(("unit", "value"), [("W", 400), ("kW", 0.4), ("Wh", 100), ("kWh", 0.1)])
def test_units_say_power_or_energy(tmp_path: Path, unit: str, value: float) -> None:
    """400 W over a quarter of an hour are 100 Wh, however they are written."""
    rows = [[time, f"{value}"] for time in DAY[:40]]
    _, report, out = run(write_csv(tmp_path / "homes.csv", ("time", "load"), rows), "--unit", unit)
    assert table(out)["load1_wh"] == ["100"] * 40
    assert report["homes"][0]["load_wh"] == 4000


def test_fractions_of_a_wh_are_carried(tmp_path: Path) -> None:
    """1000 intervals of 0.3 Wh are 300 Wh, none of them more than 1 Wh; 2/3 Wh likewise: 667."""
    rows = [
        [f"{when:%Y-%m-%dT%H:%M}Z", "0.0003", f"{2 / 3000:.9f}"]
        for when in moments("2025-06-16T00:00+00:00", 1000)
    ]
    _, report, out = run(write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "load_b_kwh"), rows))
    assert [home["load_wh"] for home in report["homes"]] == [300, 667]
    homes = table(out)
    assert {*homes["load1_wh"], *homes["load2_wh"]} == {"0", "1"}
    running = 0
    for number, wh in enumerate(homes["load1_wh"], 1):
        running += int(wh)
        assert abs(running - 0.3 * number) <= 0.5 + 1e-9


@pytest.mark.parametrize(("slot", "count"), [("5min", 288), ("15min", 96), ("30min", 48), ("1h", 24)])
def test_another_slot_keeps_the_energy(tmp_path: Path, slot: str, count: int) -> None:
    """A day of 1, 2, .. 96 Wh is 4656 Wh in any slot."""
    rows = [[time, str(number + 1)] for number, time in enumerate(DAY)]
    _, report, out = run(write_csv(tmp_path / "homes.csv", ("time", "load_wh"), rows), "--slot", slot)
    assert (report["slots"], report["homes"][0]["load_wh"]) == (count, 4656)
    assert sum(map(int, table(out)["load1_wh"])) == 4656


def test_a_zone_of_half_hours_gets_slots_that_fit(tmp_path: Path) -> None:
    """Hours of Kolkata begin at half past in UTC: slots of 30 min, the same energy."""
    rows = [[f"2025-06-16 {hour:02}:00", str(1000 + hour)] for hour in range(24)]
    _, report, _ = run(write_csv(tmp_path / "homes.csv", ("time", "load_wh"), rows), "--tz", "Asia/Kolkata")
    assert (report["begin"], report["slot_s"], report["slots"]) == ("2025-06-15T18:30Z", 1800, 48)
    assert report["homes"][0]["load_wh"] == 24_000 + 276


def register_rows(energy_wh: list[int], start: int = 5_000_000) -> list[list[str]]:
    """Readings of a counter in kWh, one more than intervals."""
    readings = [start]
    for energy in energy_wh:
        readings.append(readings[-1] + energy)
    return [[time, f"{reading / 1000:.3f}"] for time, reading in zip(DAY, readings, strict=False)]


ENERGY = [100 + number % 9 for number in range(60)]


def test_registers_are_differenced(tmp_path: Path) -> None:
    """Energy from each reading to the next; the last reading ends the data."""
    file = write_csv(tmp_path / "homes.csv", ("time", "load_kwh"), register_rows(ENERGY))
    _, report, out = run(file, "--registers")
    assert report["findings"] == []
    assert table(out)["load1_wh"] == list(map(str, ENERGY))


def test_a_register_that_begins_anew_is_told(tmp_path: Path) -> None:
    """After 30 intervals a new meter shows 0.070 kWh: 70 Wh since zero, named with its time."""
    rows = register_rows(ENERGY)
    shown = 70
    for number in range(31, 61):
        rows[number][1] = f"{shown / 1000:.3f}"
        shown += ENERGY[number] if number < 60 else 0
    _, report, out = run(write_csv(tmp_path / "homes.csv", ("time", "load_kwh"), rows), "--registers")
    assert at(found(report, "register_reset", "")) == [("2025-06-16T07:30Z", 1)]
    assert report["changed"] == {"register_restart": 1}
    assert table(out)["load1_wh"] == [*map(str, ENERGY[:30]), "70", *map(str, ENERGY[31:])]


def test_a_register_that_runs_over_loses_nothing(tmp_path: Path) -> None:
    """99,999.950 kWh, then 0.053: a round of 100,000 is added, and the interval has its 103 Wh."""
    rows = register_rows(ENERGY, 99_997_000)
    for row in rows:
        row[1] = f"{float(row[1]) % 100_000:.3f}"
    _, report, out = run(write_csv(tmp_path / "homes.csv", ("time", "load_kwh"), rows), "--registers")
    assert found(report, "register_rollover", "")["count"] == 1
    assert report["homes"][0]["load_wh"] == sum(ENERGY)
    assert table(out)["load1_wh"] == list(map(str, ENERGY))


def test_a_gap_of_a_register_keeps_its_energy(tmp_path: Path) -> None:
    """Two readings missing: three intervals share what was counted, and are marked as estimated."""
    rows = register_rows(ENERGY)
    del rows[11:13]
    _, report, out = run(write_csv(tmp_path / "homes.csv", ("time", "load_kwh"), rows), "--registers")
    assert at(found(report, "gap", "")) == [("2025-06-16T02:45Z", 2)]
    assert report["homes"][0]["load_wh"] == sum(ENERGY)
    assert {row["why"] for row in repairs(out)} == {"register_spread"}
    assert len(repairs(out)) == 3


def test_a_reading_that_stands_alone_is_not_read(tmp_path: Path) -> None:
    """A zero among five megawatt-hours is no reset: both neighbours contradict it."""
    rows = register_rows(ENERGY)
    rows[20][1] = "0"
    _, report, out = run(write_csv(tmp_path / "homes.csv", ("time", "load_kwh"), rows), "--registers")
    assert at(found(report, "register_glitch", "")) == [("2025-06-16T05:00Z", 1)]
    assert report["homes"][0]["load_wh"] == sum(ENERGY)
    assert len(repairs(out)) == 2


def test_load_follows_from_import_export_and_pv(tmp_path: Path) -> None:
    """Import 100, export 30, PV 80 Wh: the home used 150. Without PV it is 100 and 30 as metered."""
    rows = [[time, "100", "30", "80"] for time in DAY[:40]]
    header = ("time", "import_wh", "export_wh", "pv_wh")
    _, report, _ = run(write_csv(tmp_path / "homes.csv", header, rows))
    assert (report["homes"][0]["load_wh"], report["homes"][0]["pv_wh"]) == (6000, 3200)
    file = write_csv(tmp_path / "homes.csv", header[:3], [row[:3] for row in rows])
    _, report, _ = run(file, "--force")
    assert (report["homes"][0]["load_wh"], report["homes"][0]["pv_wh"]) == (4000, 1200)


def test_codes_of_meters_are_known(tmp_path: Path) -> None:
    """1.8.0 counts what comes from the grid, 2.8.0 what goes into it; intervals have begin and end."""
    rows = [
        ["16.06.2025", f"{h:02}:00", f"{h + 1:02}:00", f"{1000 + 2 * h + h % 3}", f"{500 + h}"]
        for h in range(24)
    ]
    header = ("Datum", "von", "bis", "1-0:1.8.0 [kWh]", "1-0:2.8.0 [kWh]")
    _, report, _ = run(
        write_csv(tmp_path / "homes.csv", header, rows, ";"), "--tz", "Europe/Berlin", "--registers"
    )
    assert report["findings"] == []
    assert (report["homes"][0]["load_wh"], report["homes"][0]["pv_wh"]) == (48_000, 23_000)


def test_net_load_is_split_by_its_sign(tmp_path: Path) -> None:
    """A column of load minus generation, named by --net: above zero import, below zero export."""
    rows = [[time, "100" if number % 2 else "-40"] for number, time in enumerate(DAY[:40])]
    file = write_csv(tmp_path / "homes.csv", ("time", "x_wh"), rows)
    _, report, _ = run(file, "--net", "x_wh")
    assert (report["homes"][0]["load_wh"], report["homes"][0]["pv_wh"]) == (2000, 800)


def test_columns_are_named_by_patterns(tmp_path: Path) -> None:
    """--load and --pv with {home}: other columns are told as not understood; prices come along."""
    rows = [[time, "1", "2", "3", "4", "0.31", "0.05", "400"] for time in DAY[:40]]
    header = ("t", "x1_use", "x1_sun", "x2_use", "other", "eur", "eur_back", "grams")
    _, report, out = run(
        write_csv(tmp_path / "homes.csv", header, rows),
        "--time-column", "t", "--load", "x{home}_use", "--pv", "x{home}_sun", "--unit", "Wh",
        "--tariff-column", "eur", "--feed-in-column", "eur_back", "--carbon-column", "grams",
    )  # fmt: skip
    assert [(home["name"], home["load_wh"], home["pv_wh"]) for home in report["homes"]] == [
        ("1", 40, 80),
        ("2", 120, 0),
    ]
    assert found(report, "column", "")["text"] == "not used: other"
    first = {name: column[0] for name, column in table(out).items()}
    assert first == {
        "time": DAY[0], "load1_wh": "1", "load2_wh": "3", "pv1_wh": "2", "import_eur_per_kwh": "0.310000",
        "export_eur_per_kwh": "0.050000", "co2_g_per_kwh": "400.000000",
    }  # fmt: skip


def test_homes_can_be_left_out_by_name(tmp_path: Path) -> None:
    """--exclude a leaves b as home 1."""
    file = write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "load_b_kwh"), sound_rows(count=96))
    _, report, _ = run(file, "--exclude", "a")
    assert [home["name"] for home in report["homes"]] == ["b"]


@pytest.mark.parametrize(
    ("text", "options", "code", "message"),
    [
        ("", (), 1, "is empty"),
        ("time,load_kwh\n", (), 1, "no lines after the header"),
        ("2025-01-01T00:00Z,1\n2025-01-01T01:00Z,2\n", (), 1, "homes.csv:1: the first line holds values"),
        ("time,load_kwh\n2025-01-01T00:00Z,1\n2025-01-01T01:00Z,1,2\n", (), 1, "homes.csv:3: 3 cells"),
        ("time,load_kwh\n2025-01-01T00:00Z,1\nyesterday,2\n", (), 1, 'homes.csv:3: time is "yesterday"'),
        ("time,load\n2025-01-01T00:00Z,1\n2025-01-01T01:00Z,2\n", (), 78, '"load" is not in its name'),
        ("time,load_kw\n2025-01-01T00:00Z,1\n2025-01-01T01:00Z,2\n", ("--registers",), 78, "counts energy"),
        ("a,b\nx,1\ny,2\n", (), 78, "no column of times"),
        ("time,load_kwh\n2025-01-01T00:00Z,1\n", ("--tz", "Europe/Berln"), 78, "Europe/Berlin"),
        ("time,load_kwh\n2025-01-01T00:00Z,1\n", (), 1, "a single time is no series"),
        ("time,load_kwh\n2025-01-01T00:00Z,1\n2025-01-03T00:00Z,1\n", (), 1, "at most an hour apart"),
        ("time,load_kwh\n2025-01-01T00:00Z,1\n", ("--load", "lod_kwh"), 78, 'no column "lod_kwh"'),
        ("time,load_kwh\n2025-01-01T00:00Z,1\n2025-01-01T01:00,2\n", (), 1, "others have none"),
        ("time,load_kwh\n2025-01-01T00:00Z,1\n2025-01-01T01:00Z,2\n", ("--exclude", "x"), 78, 'no home "x"'),
        ("time,load_kwh\n2025-01-01T00:00Z,\n2025-01-01T01:00Z,\n", (), 1, "no home has a single value"),
        ("time,load_kwh\n2025-01-01T00:00Z,-1\n2025-01-01T01:00Z,2\n", (), 78, "--net 'load_kwh'"),
        (f"time,load_kwh\n1970-01-01T00:00Z,1\n{SOUND}", (), 1, "homes.csv:2: the times reach from 1970"),
        (f'time,load_kwh\n2024-12-31T23:00Z,"1\n{SOUND}', (), 1, "homes.csv:2: a cell goes on"),
        ("time,load_kwh,price\n2025-01-01T00:00Z,1,x\n2025-01-01T01:00Z,2,x\n", (), 1, "not one usable"),
        ("time,load1_kwh,load_1_kwh\n2025-01-01T00:00Z,1,1\n", (), 1, "are both the load"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_clear_error(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    text: str,
    options: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    """File, line, column and reason in one line, the documented exit code, and nothing written."""
    file = tmp_path / "homes.csv"
    file.write_text(text, encoding="utf-8")
    assert run(file, *options)[0] == code
    told = capfd.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert [each.name for each in tmp_path.iterdir()] == ["homes.csv"]


def test_workbooks_and_damaged_archives_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An .xlsx under the name of a CSV, a cut .gz, and no file at all."""
    file = tmp_path / "homes.csv"
    file.write_bytes(b"PK\x03\x04rest")
    assert run(file)[0] == 1
    assert "save the sheet as CSV" in capfd.readouterr().err
    packed = tmp_path / "homes.csv.gz"
    packed.write_bytes(gzip.compress(b"time,load_kwh\n" * 5000)[:60])
    assert run(packed)[0] == 74
    assert "the packed file is damaged" in capfd.readouterr().err
    assert run(tmp_path / "none.csv")[0] == 4


def test_an_earlier_result_is_replaced_by_force_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Refused without --force; with it replaced; a directory with other files never."""
    file = write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "load_b_kwh"), sound_rows(count=96))
    assert run(file)[0] == 0
    before = (tmp_path / "result" / "scenario.toml").stat().st_ino
    assert run(file)[0] == 1
    assert "--force replaces it" in capfd.readouterr().err
    assert run(file, "--force")[0] == 0
    assert (tmp_path / "result" / "scenario.toml").stat().st_ino != before
    (tmp_path / "result" / "notes.txt").write_text("mine", encoding="utf-8")
    assert run(file, "--force")[0] == 1
    assert "notes.txt" in capfd.readouterr().err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["homes.csv", "result"]
