"""Clocks of files: both days on which Berlin changes its clock, ends of intervals, forms of times."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.unit.intake.planted import at, found, moments, repairs, run, sound_kwh, table, write_csv

BERLIN = ZoneInfo("Europe/Berlin")
HEADER = ("time", "load_a_kwh")


def local_rows(
    first: str, days: int, form: str = "%d.%m.%Y %H:%M", minutes: int = 15, end: int = 0
) -> list[list[str]]:
    """Lines on Berlin's wall clock, `end` minutes after the begin of their interval."""
    count = days * 1440 // minutes
    rows = []
    for number, when in enumerate(moments(first, count, minutes)):
        stamp = (when + timedelta(minutes=end)).astimezone(BERLIN)
        rows.append([stamp.strftime(form), sound_kwh(number)[0]])
    return rows


@pytest.mark.parametrize(
    ("first", "changed"), [("2025-03-26T23:00+00:00", "2025-03-30"), ("2025-10-22T22:00+00:00", "2025-10-26")]
)
@pytest.mark.parametrize("end", [0, 15])
def test_a_wall_clock_is_read_right_on_both_days(tmp_path: Path, first: str, changed: str, end: int) -> None:
    """The hour that is missing in spring is no gap, the doubled one of autumn no duplicate; order is kept."""
    rows = local_rows(first, 7, end=end)
    day = f"{changed[8:]}.{changed[5:7]}.{changed[:4]}"
    assert len([row for row in rows if row[0].startswith(f"{day} 02:")]) == (0 if "03" in changed else 8)
    file = write_csv(tmp_path / "homes.csv", HEADER, rows, ";")
    code, report, out = run(file, "--tz", "Europe/Berlin", "--stamp", "end" if end else "begin")
    assert code == 0
    assert report["findings"] == []
    homes = table(out)
    assert homes["time"] == [f"{when:%Y-%m-%dT%H:%MZ}" for when in moments(first, 7 * 96)]
    assert homes["load1_wh"] == [str(round(float(row[1]) * 1000)) for row in rows]


def test_an_autumn_hour_that_the_file_has_once_is_told_and_filled(tmp_path: Path) -> None:
    """Four quarters from 02:00 to 03:00 instead of eight: the later hour, 01:00Z, is missing."""
    rows = local_rows("2025-10-22T22:00+00:00", 7)
    doubled = [index for index, row in enumerate(rows) if row[0].startswith("26.10.2025 02:")]
    del rows[doubled[4] : doubled[7] + 1]
    code, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows, ";"), "--tz", "Europe/Berlin")
    assert code == 0
    (finding,) = report["findings"]
    assert (finding["fault"], at(finding)) == ("dst_autumn", [("2025-10-26T01:00Z", 4)])
    assert report["changed"] == {"interpolated": 4}
    assert [row["time"] for row in repairs(out)] == [f"2025-10-26T01:{m}Z" for m in ("00", "15", "30", "45")]


def test_empty_lines_of_the_missing_spring_hour_are_left_out(tmp_path: Path) -> None:
    """An exporter that writes 02:00 .. 02:45 with zeros on the day: told, dropped, not in the energy."""
    rows = local_rows("2025-03-26T23:00+00:00", 7)
    place = next(index for index, row in enumerate(rows) if row[0] == "30.03.2025 03:00")
    rows[place:place] = [[f"30.03.2025 02:{minute}", "0"] for minute in ("00", "15", "30", "45")]
    code, report, _ = run(write_csv(tmp_path / "homes.csv", HEADER, rows, ";"), "--tz", "Europe/Berlin")
    assert code == 0
    (finding,) = report["findings"]
    assert (finding["fault"], finding["count"], finding["line"]) == ("dst_spring", 4, place + 2)
    assert report["changed"] == {"dropped": 4}


def test_energy_in_the_missing_spring_hour_means_another_clock(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A meter on winter time all year is refused with the line, and read with the zone that is proposed."""
    rows = [
        [f"{when + timedelta(hours=1):%d.%m.%Y %H:%M}", "0.25"]
        for when in moments("2025-03-28T23:00+00:00", 288)
    ]
    place = next(index for index, row in enumerate(rows) if row[0] == "30.03.2025 02:00")
    file = write_csv(tmp_path / "homes.csv", HEADER, rows, ";")
    code, _, out = run(file, "--tz", "Europe/Berlin")
    told = capfd.readouterr().err
    assert code == 78
    assert f"homes.csv:{place + 2}: there was no 2025-03-30 02:00 in Europe/Berlin" in told
    assert "--tz +01:00" in told
    assert not out.exists()
    code, report, out = run(file, "--tz", "+01:00")
    assert code == 0
    assert report["begin"] == "2025-03-28T23:00Z"
    assert len(table(out)["time"]) == 288


def test_the_end_of_the_last_winter_interval_may_be_called_two_o_clock(tmp_path: Path) -> None:
    """Ends of hours on 30 March: 01:00, 02:00, 04:00: the second is 01:00Z, as 03:00 would be."""
    rows = local_rows("2025-03-29T23:00+00:00", 1, minutes=60, end=60)
    place = next(index for index, row in enumerate(rows) if row[0] == "30.03.2025 03:00")
    rows[place][0] = "30.03.2025 02:00"
    file = write_csv(tmp_path / "homes.csv", HEADER, rows, ";")
    code, report, out = run(file, "--tz", "Europe/Berlin", "--stamp", "end")
    assert code == 0
    assert report["findings"] == []
    assert table(out)["time"] == [
        f"{when:%Y-%m-%dT%H:%MZ}" for when in moments("2025-03-29T23:00+00:00", 24, 60)
    ]


def test_a_gap_after_the_change_takes_the_same_hour_of_the_clock(tmp_path: Path) -> None:
    """Noon of 1 April, 10:00Z, is filled from noon of 25 March, 11:00Z: the household lives by its clock."""
    rows = local_rows("2025-03-23T23:00+00:00", 14, minutes=60)
    for row in rows:
        row[1] = "5.5" if row[0].endswith(" 12:00") else row[1]
    for row in rows:
        if row[0] >= "01.04.2025 11:00" and row[0] <= "01.04.2025 13:00" and ".04." in row[0]:
            row[1] = ""
    file = write_csv(tmp_path / "homes.csv", HEADER, rows, ";")
    code, _, out = run(file, "--tz", "Europe/Berlin")
    assert code == 0
    filled = {row["time"]: row["now"] for row in repairs(out)}
    assert len(filled) == 3
    assert filled["2025-04-01T10:00Z"] == "5500"


@pytest.mark.parametrize(
    ("form", "style"),
    [
        ("%Y-%m-%dT%H:%M:%S%z", "ISO 8601 with an offset"),
        ("%Y-%m-%d %H:%M", "ISO 8601 on the clock"),
        ("%d.%m.%Y %H:%M", "day.month.year"),
        ("%d/%m/%Y %H:%M", "day.month.year"),
        ("%m/%d/%Y %H:%M", "month/day/year"),
        ("%s", "seconds since 1970"),
        ("%s000", "milliseconds since 1970"),
    ],
)
def test_forms_of_times_are_told_apart(tmp_path: Path, form: str, style: str) -> None:
    """Each form gives the same four weeks."""
    rows = []
    for number, when in enumerate(moments("2025-06-01T22:00+00:00", 96 * 28)):
        seconds = str(int(when.timestamp()))
        text = form.replace("%s", seconds) if "%s" in form else when.astimezone(BERLIN).strftime(form)
        rows.append([text, sound_kwh(number)[0]])
    code, report, out = run(write_csv(tmp_path / "homes.csv", HEADER, rows), "--tz", "Europe/Berlin")
    assert code == 0
    assert report["findings"] == []
    assert any(style in note for note in report["notes"])
    assert (table(out)["time"][0], table(out)["time"][-1]) == ("2025-06-01T22:00Z", "2025-06-29T21:45Z")


def test_a_date_that_may_be_read_twice_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """05/06/2025 is June or May: the message proposes both; --time-format decides."""
    rows = [[f"05/06/2025 {hour:02}:00", "0.5"] for hour in range(24)]
    file = write_csv(tmp_path / "homes.csv", HEADER, rows)
    assert run(file, "--tz", "UTC")[0] == 78
    assert "may be 5/6 as day/month or as month/day" in capfd.readouterr().err
    code, report, _ = run(file, "--tz", "UTC", "--time-format", "%d/%m/%Y %H:%M")
    assert code == 0
    assert report["begin"] == "2025-06-05T00:00Z"


def test_midnight_may_be_24_o_clock(tmp_path: Path) -> None:
    """Ends of hours 01:00 .. 24:00: the last is the next day's midnight."""
    rows = [[f"{day:02}.06.2025", f"{hour:02}:00", "0.5"] for day in (16, 17) for hour in range(1, 25)]
    file = write_csv(tmp_path / "homes.csv", ("Datum", "Uhrzeit", "Verbrauch [kWh]"), rows, ";")
    code, report, _ = run(file, "--tz", "Europe/Berlin", "--stamp", "end")
    assert code == 0
    assert (report["begin"], report["end"], report["slots"]) == ("2025-06-15T22:00Z", "2025-06-17T22:00Z", 48)
    assert found(report, "stuck", "")["count"] == 48


def test_newest_first_is_turned_round(tmp_path: Path) -> None:
    """A file from the newest line to the oldest has the same autumn as one the other way."""
    rows = local_rows("2025-10-22T22:00+00:00", 7)
    file = write_csv(tmp_path / "homes.csv", HEADER, rows[::-1], ";")
    code, report, out = run(file, "--tz", "Europe/Berlin")
    assert code == 0
    assert report["findings"] == []
    assert table(out)["load1_wh"] == [str(round(float(row[1]) * 1000)) for row in rows]


def test_times_without_a_clock_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Without offset and without --tz nobody knows; the message says what to write."""
    file = write_csv(tmp_path / "homes.csv", HEADER, local_rows("2025-06-01T22:00+00:00", 2), ";")
    assert run(file)[0] == 78
    assert "--tz Europe/Berlin" in capfd.readouterr().err
