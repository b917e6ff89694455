"""Each fault planted in a sound file: found, named by home and time, and every change listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.intake.planted import (
    at,
    faults,
    found,
    repairs,
    run,
    sound_rows,
    table,
    write_csv,
)

HEADER = ("time", "load_a_kwh", "load_b_kwh")
NOON = 96 * 14 + 48  # 16 June 2025, 12:00 UTC
OPTIONS = ("--tz", "UTC")


def test_a_sound_file_comes_through_unchanged(tmp_path: Path) -> None:
    """Nothing is found, nothing is changed, and each value is the file's in Wh."""
    rows = sound_rows()
    code, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS)
    assert code == 0
    assert report["findings"] == []
    assert report["changed"] == {}
    assert repairs(out) == []
    homes = table(out)
    assert homes["time"] == [row[0] for row in rows]
    assert homes["load1_wh"] == [str(round(float(row[1]) * 1000)) for row in rows]
    assert homes["load2_wh"] == [str(round(float(row[2]) * 1000)) for row in rows]


def test_a_short_gap_is_bridged_by_a_line(tmp_path: Path) -> None:
    """Two lines missing between 0.1 and 0.4 kWh: 0.2 and 0.3, estimated, for both homes."""
    rows = sound_rows()
    rows[NOON - 1][1:] = ["0.1", "0.1"]
    rows[NOON + 2][1:] = ["0.4", "0.4"]
    del rows[NOON : NOON + 2]
    code, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS)
    assert code == 0
    for home in ("a", "b"):
        assert at(found(report, "gap", home)) == [("2025-06-16T12:00Z", 2)]
    assert report["changed"] == {"interpolated": 4}
    assert [list(row.values()) for row in repairs(out)[:2]] == [
        ["a", "load", "2025-06-16T12:00Z", "", "200", "Wh", "interpolated", "yes"],
        ["a", "load", "2025-06-16T12:15Z", "", "300", "Wh", "interpolated", "yes"],
    ]
    homes = table(out)
    assert homes["load2_wh"][NOON : NOON + 2] == ["200", "300"]
    assert homes["time"][NOON : NOON + 2] == ["2025-06-16T12:00Z", "2025-06-16T12:15Z"]


def test_a_long_gap_is_filled_by_the_weeks_around(tmp_path: Path) -> None:
    """Three blank hours of a: the mean of the same time a week before and a week after; b stays."""
    rows = sound_rows()
    for number in range(12):
        rows[NOON + number][1] = ""
        rows[NOON + number - 672][1] = "0.300"
        rows[NOON + number + 672][1] = f"{0.5 + number / 100:.2f}"
    code, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS)
    assert code == 0
    assert at(found(report, "blank")) == [("2025-06-16T12:00Z", 12)]
    assert report["changed"] == {"neighbour_weeks": 12}
    assert {row["home"] for row in repairs(out)} == {"a"}
    assert [row["now"] for row in repairs(out)] == [str(400 + 5 * number) for number in range(12)]


def test_how_long_a_short_gap_is_can_be_said(tmp_path: Path) -> None:
    """With --interpolate 15min two blank intervals are no short gap any more."""
    rows = sound_rows()
    rows[NOON][1] = rows[NOON + 1][1] = ""
    _, report, _ = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS, "--interpolate", "15min")
    assert report["changed"] == {"neighbour_weeks": 2}


def test_the_same_line_twice_is_merged(tmp_path: Path) -> None:
    """A repeated line is left out; the report has its time and line, the energy counts once."""
    rows = sound_rows()
    rows.insert(NOON + 1, rows[NOON])
    code, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS)
    assert code == 0
    finding = found(report, "duplicate")
    assert at(finding) == [("2025-06-16T12:00Z", 1)]
    assert finding["line"] == NOON + 3  # header, and the first of the pair
    assert report["changed"] == {"duplicate_merged": 2}
    assert sum(map(int, table(out)["load1_wh"])) == sum(round(float(row[1]) * 1000) for row in sound_rows())


def test_of_two_values_the_later_one_wins_and_both_are_told(tmp_path: Path) -> None:
    """0.5 kWh, then 0.7 for the same time: 700 Wh count, 500 stand in repairs.csv; b had twice the same."""
    rows = sound_rows()
    rows[NOON][1] = "0.5"
    rows.append([rows[NOON][0], "0.7", rows[NOON][2]])
    _, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS)
    assert at(found(report, "contradiction")) == [("2025-06-16T12:00Z", 1)]
    assert faults(report) == {"contradiction", "duplicate"}
    assert table(out)["load1_wh"][NOON] == "700"
    (change,) = (row for row in repairs(out) if row["why"] == "last_wins")
    assert (change["was"], change["now"], change["estimated"]) == ("500", "700", "no")


def test_a_cell_that_is_no_number_is_told_with_its_text(tmp_path: Path) -> None:
    """The cell is named by line and text, and stands in repairs.csv as it was."""
    rows = sound_rows()
    rows[NOON][1] = "defekt"
    _, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS)
    finding = found(report, "unreadable")
    assert finding["line"] == NOON + 2
    assert 'load_a_kwh holds "defekt"' in finding["text"]
    assert [(row["was"], row["why"]) for row in repairs(out)] == [("defekt", "interpolated")]
    assert faults(report) == {"unreadable"}


def test_a_negative_value_of_a_load_is_replaced(tmp_path: Path) -> None:
    """-0.3 kWh cannot be: told, and bridged."""
    rows = sound_rows()
    rows[NOON - 1][1], rows[NOON][1], rows[NOON + 1][1] = "0.2", "-0.3", "0.4"
    _, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS)
    assert at(found(report, "negative")) == [("2025-06-16T12:00Z", 1)]
    assert [(row["was"], row["now"]) for row in repairs(out)] == [("-300", "300")]


def test_a_plant_s_standby_by_night_is_set_to_zero(tmp_path: Path) -> None:
    """PV of -2 Wh at night, 1 kWh by day: zero, as measured it was consumption."""
    rows = [[*row[:2], "1" if 32 <= n % 96 < 64 else "0"] for n, row in enumerate(sound_rows())]
    rows[5][2] = "-0.002"
    _, report, out = run(
        write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "pv_a_kwh"), rows), *OPTIONS
    )
    assert at(found(report, "negative")) == [("2025-06-02T01:15Z", 1)]
    assert [(row["quantity"], row["was"], row["now"], row["why"]) for row in repairs(out)] == [
        ("pv", "-2", "0", "negative_to_zero")
    ]


def test_a_column_below_zero_is_turned_round(tmp_path: Path) -> None:
    """Generation written as negative consumption: every value is listed, the energy is above zero."""
    rows = [[*row[:2], "-0.5" if 32 <= n % 96 < 64 else "0"] for n, row in enumerate(sound_rows())]
    _, report, out = run(
        write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "pv_a_kwh"), rows), *OPTIONS
    )
    assert found(report, "sign")["count"] == 32 * 28
    assert report["changed"] == {"sign_turned": 32 * 28}
    assert len(repairs(out)) == 32 * 28
    assert sum(map(int, table(out)["pv1_wh"])) == 32 * 28 * 500


def test_a_spike_beyond_the_house_connection_is_replaced(tmp_path: Path) -> None:
    """12 kWh in a quarter of an hour are 48 kW, more than 43.5: told with bound and time, and bridged."""
    rows = sound_rows()
    rows[NOON - 1][1], rows[NOON][1], rows[NOON + 1][1] = "0.2", "12", "0.4"
    _, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS)
    finding = found(report, "spike")
    assert at(finding) == [("2025-06-16T12:00Z", 1)]
    assert "up to 48.0 kW, above 43.5 kW" in finding["text"]
    assert [(row["was"], row["now"]) for row in repairs(out)] == [("12000", "300")]


def test_what_the_bound_allows_is_no_spike(tmp_path: Path) -> None:
    """The same 48 kW with --limit-kw 50: nothing is found and the value stays."""
    rows = sound_rows()
    rows[NOON][1] = "12"
    _, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS, "--limit-kw", "50")
    assert report["findings"] == []
    assert table(out)["load1_wh"][NOON] == "12000"


def test_a_value_that_stays_for_a_day_is_told_and_kept(tmp_path: Path) -> None:
    """96 times 0.25 kWh: a stuck meter or not, the values stay."""
    rows = sound_rows()
    for number in range(96):
        rows[NOON + number][1] = "0.25"
    _, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS)
    assert at(found(report, "stuck")) == [("2025-06-16T12:00Z", 96)]
    assert repairs(out) == []


def test_a_home_without_a_plant_may_have_a_column_of_zeros(tmp_path: Path) -> None:
    """PV of zero over four weeks is no stuck meter: nothing is found, also with --strict."""
    rows = [[*row[:2], "0"] for row in sound_rows()]
    file = write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "pv_a_kwh"), rows)
    code, report, _ = run(file, *OPTIONS, "--strict")
    assert code == 0
    assert "column pv_a_kwh is zero throughout: there is no pv" in report["notes"]


def test_a_home_in_another_unit_is_told_and_kept(tmp_path: Path) -> None:
    """One home of four in Wh under a kWh heading: 1,000 times the others; named, not guessed at."""
    rows = [[*row, row[1], f"{float(row[2]) * 1000:.0f}"] for row in sound_rows()]
    file = write_csv(tmp_path / "homes.csv", (*HEADER, "load_c_kwh", "load_d_kwh"), rows)
    _, report, out = run(file, *OPTIONS)
    assert found(report, "scale", "d")["quantity"] == "load"
    assert {each["home"] for each in report["findings"]} == {"d"}
    assert table(out)["load4_wh"][0] == str(round(float(rows[0][4]) * 1000))


def test_a_price_in_cents_is_told(tmp_path: Path) -> None:
    """33 per kWh is no price in €; a column whose name says ct is read as 0.33, and nothing is found."""
    rows = [[*row[:2], f"{33 + n % 3}"] for n, row in enumerate(sound_rows())]
    _, report, _ = run(write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "price"), rows), *OPTIONS)
    assert found(report, "scale", "")["quantity"] == "tariff"
    file = write_csv(tmp_path / "homes.csv", ("time", "load_a_kwh", "price_ct_kwh"), rows)
    _, report, out = run(file, *OPTIONS, "--force")
    assert report["findings"] == []
    assert table(out)["import_eur_per_kwh"][:2] == ["0.330000", "0.340000"]


def test_times_beside_the_grid_are_moved_or_left_out(tmp_path: Path) -> None:
    """12:02 is meant to be 12:00; 12:07 with 12:00 and 12:15 there is nobody's interval."""
    rows = sound_rows()
    rows[NOON][0] = "2025-06-16T12:02Z"
    rows.insert(NOON + 97, ["2025-06-17T12:07Z", "9", "9"])
    _, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS)
    assert [at(each) for each in report["findings"] if each["fault"] == "off_grid"] == [
        [("2025-06-16T12:02Z", 1)],
        [("2025-06-17T12:07Z", 1)],
    ]
    assert report["changed"] == {"snapped": 2, "dropped": 2}
    assert table(out)["load1_wh"][NOON + 96] == str(round(float(rows[NOON + 96][1]) * 1000))


def test_a_home_that_is_mostly_missing_is_told(tmp_path: Path) -> None:
    """Three weeks of four blank: the report says that the home is mostly made up."""
    rows = sound_rows()
    for row in rows[96 * 7 :]:
        row[1] = ""
    _, report, _ = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS)
    assert found(report, "mostly_missing")["count"] == 96 * 21
    assert "75% of its values are missing" in found(report, "mostly_missing")["text"]


def test_a_load_that_is_somebody_s_pv_is_named(tmp_path: Path) -> None:
    """Home b's "load" is a fifth of home a's sun: b is named, a is not, nothing is changed."""
    rows = []
    for number, row in enumerate(sound_rows()):
        hour = number % 96 - 32
        sun = max(0, hour * (64 - 32 - hour)) / 256 if 0 <= hour <= 32 else 0
        rows.append([*row[:2], f"{sun / 5 + 0.001:.4f}", f"{sun * (1 + number % 3):.4f}"])
    file = write_csv(tmp_path / "homes.csv", (*HEADER, "pv_a_kwh"), rows)
    code, report, out = run(file, *OPTIONS)
    assert code == 0
    assert {(each["fault"], each["home"]) for each in report["findings"]} == {("follows_pv", "b")}
    assert "with the PV of home a" in found(report, "follows_pv", "b")["text"]
    assert repairs(out) == []
    assert "# exclude = [2]" in (out / "scenario.toml").read_text(encoding="utf-8")


def test_columns_that_are_not_understood_are_named(tmp_path: Path) -> None:
    """A column of text beside loads is told and not used."""
    rows = [[*row, "ok"] for row in sound_rows()]
    _, report, _ = run(write_csv(tmp_path / "homes.csv", (*HEADER, "remarks"), rows), *OPTIONS)
    assert found(report, "column", "")["text"] == "not used: remarks"


def test_strict_refuses_and_writes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A blank cell: exit 5, the finding on the screen, no directory."""
    rows = sound_rows()
    rows[NOON][1] = ""
    code, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), *OPTIONS, "--strict")
    assert code == 5
    assert report == {}
    assert not out.exists()
    assert "2025-06-16T12:00Z" in capfd.readouterr().out
    assert run(write_csv(tmp_path / "homes.csv", HEADER, sound_rows()), *OPTIONS, "--strict")[0] == 0
