"""`energyctl meters`: files are listed, watched, exported and drawn; half a line is not passed on."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime
from pathlib import Path

import pytest

from energymarket import meter_files
from energymarket.daybook import meter_picture
from energymarket.exits import Exit
from energymarket.meters.day_files import DayFiles
from energymarket.meters.message import Sample
from energymarket.meters.reading import Rows
from energymarket.meters.rows import day_of, line_of
from energymarket.meters.window import Window

BEGIN_S = 1_782_856_800  # 2026-07-01T00:00 in Berlin


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two meters: a day and a half at a quarter-hour, with one sequence missing; and two samples."""
    for meter, count in (("Meter_0", 144), ("Meter_1", 2)):
        files = DayFiles(tmp_path, meter)
        files.open()
        lines: dict[str, list[str]] = {}
        for at in range(count):
            sample = Sample(at + 1, BEGIN_S + 900 * at, 7200, 100.0 + at)
            lines.setdefault(day_of(sample), []).append(line_of(meter, sample, 1.5 if at == 50 else 0.0))
        files.commit(lines, {"5c0f": Window([(1, 3), (5, count + 1)])}, duplicates=7)
        files.close()
    with (tmp_path / "Meter_0-2026-7-2.csv").open("a") as file:
        file.write("Meter_0,17829")
    (tmp_path / "Meter_0-2026-7-3.csv").write_text("another,header\n")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"Meter_0,1782900000,\xff,0.0,1.0", r"Meter_0,1782900000,\\xff"),
        (b"Meter_0,1782900000,1.0", "Meter_0,1782900000,1.0"),
        (b"Meter_0,1782900000,1.0,nan,1.0", "nan"),
        (b"Meter_0,1e300,1.0,0.0,1.0", "1e300"),
        (b"", "''"),
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", [["plot", "Meter_1"], ["export", "out.parquet", "Meter_1"]], ids=str)
def test_a_line_that_is_none_is_named(
    directory: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    verb: list[str],
    line: bytes,
    shown: str,
) -> None:
    """Not UTF-8, too few columns, no number, no time: the file, the line, what stands there; no bug."""
    monkeypatch.chdir(directory)
    path = directory / "Meter_1-2026-7-1.csv"
    path.write_bytes(path.read_bytes() + line + b"\n")
    assert meter_files.main([*verb, "--directory", str(directory)]) == Exit.FAILED
    error = capfd.readouterr().err
    assert f"{path}, line 4" in error
    assert shown in error
    assert "bug" not in error
    assert meter_files.main(["list", "--directory", str(directory)]) == Exit.OK


def said(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    assert meter_files.main(words) == Exit.OK
    return capfd.readouterr().out


def test_the_list_says_what_there_is(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Days, rows, duplicates, what is missing, the last whole sample; for people a line each."""
    found = json.loads(said(capfd, "list", "--directory", str(directory), "--json"))["meters"]
    first = found[0]
    assert [each["meter_id"] for each in found] == ["Meter_0", "Meter_1"]
    assert (first["days"], first["rows"], first["duplicates"], first["missing"]) == (2, 144, 7, 1)
    assert first["last"] == {"time_s": BEGIN_S + 143 * 900, "meter_w": 243.0, "pv_kw": 0.0, "sum_w": 243.0}
    assert first["last_time"] == "2026-07-02T09:45:00Z"
    lines = said(capfd, "list", "--directory", str(directory)).splitlines()
    assert len(lines) == 3
    assert "243.0" in lines[1]


def test_a_live_line_per_meter(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two looks are four lines."""
    words = ("watch", "--directory", str(directory), "--count", "2", "--every", "0.01")
    lines = said(capfd, *words).splitlines()
    assert [line.split()[0] for line in lines] == ["Meter_0", "Meter_1"] * 2
    told = [json.loads(line) for line in said(capfd, *words, "--json").splitlines()]
    assert told[1] == {**told[3], "type": "meter"}
    assert told[1]["last"]["meter_w"] == 101.0


def test_live_lines_fit_the_terminal_that_they_are_written_over_in(directory: Path) -> None:
    """Of 40 columns and 2 lines: none wraps or scrolls away, so going up a line per line meets the first."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 3, 40, 0, 0))
    words = ["watch", "--directory", str(directory), "--count", "2", "--every", "0.05"]
    code = "import sys; from energymarket import meter_files; sys.exit(meter_files.main(sys.argv[1:]))"
    (directory / "Meter_2.sidecar").touch()
    ended = subprocess.run([sys.executable, "-c", code, *words], stdout=follower, check=False, timeout=60)
    assert ended.returncode == Exit.OK
    os.close(follower)
    shown = os.read(leader, 1 << 16).decode().replace("\r", "")
    os.close(leader)
    first, second = shown.split("\033[J")[:2]
    assert re.findall(r"\033\[(\d+)A", second) == ["2"]
    lines = [line.removesuffix("\033[K") for line in first.splitlines()]
    assert [line.split()[0] for line in lines] == ["Meter_0", "..."]
    assert "2 more" in lines[1]
    assert max(map(len, lines)) < 40


@pytest.mark.parametrize("machine", ["UTC", "America/New_York", "Europe/Berlin"])
def test_a_day_is_drawn_by_the_clock_of_its_meter(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    """Wherever it is looked at: a file of a day begins at its midnight."""
    monkeypatch.setenv("TZ", machine)
    begun: list[str] = []

    def draw(_path: Path, _meter: str, _day: str, rows: Rows, ahead_s: int) -> None:
        begun.append(f"{datetime.fromtimestamp(rows['time_s'].min() + ahead_s, UTC):%H:%M}")

    monkeypatch.setattr(meter_picture, "draw", draw)
    words = ["plot", "--directory", str(directory), "Meter_0", "--out", str(tmp_path / "x.svg")]
    assert meter_files.main([*words, "--day", "2026-7-1"]) == Exit.OK
    assert begun == ["00:00"]


def test_the_export_is_every_row_once(directory: Path, tmp_path: Path) -> None:
    """As Parquet reads it: the columns of the CSV, typed, in order, without the half line."""
    out = tmp_path / "out.parquet"
    assert meter_files.main(["export", "--directory", str(directory), str(out)]) == Exit.OK
    table = importlib.import_module("pyarrow.parquet").read_table(out)
    assert table.num_rows == 146
    csv_header = "meter_id,time_s,meter_power_value_w,pv_power_value_kw,sum_meter_pv_w"
    assert ",".join(table.column_names) == csv_header
    rows = table.to_pylist()
    assert rows[50]["meter_id"] == "Meter_0"
    assert rows[50]["time_s"] == BEGIN_S + 50 * 900
    assert rows[50]["sum_meter_pv_w"] == 1650.0
    assert rows[-1]["meter_id"] == "Meter_1"
    assert meter_files.main(["export", "--directory", str(directory), str(out), "Meter_1"]) == Exit.OK
    assert importlib.import_module("pyarrow.parquet").read_metadata(out).num_rows == 2


def test_a_day_is_drawn(directory: Path, tmp_path: Path) -> None:
    """The named day, as SVG with its words as text and as PNG; another meter or day is told by name."""
    words = ["plot", "--directory", str(directory), "--timezone", "Europe/Berlin"]
    out = tmp_path / "day.svg"
    assert meter_files.main([*words, "Meter_0", "--day", "2026-7-1", "--out", str(out)]) == Exit.OK
    drawn = out.read_text()
    assert "Meter_0 · 2026-07-01" in drawn
    assert "96 samples" in drawn
    assert "meter + PV" in drawn
    assert meter_files.main([*words, "Meter_0", "--out", str(tmp_path / "day.png")]) == Exit.OK
    assert (tmp_path / "day.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["plot", "Meter_9"], Exit.NO_SUCH_OBJECT, "Meter_9"),
        (["plot", "Meter_0", "--day", "2026-8-1"], Exit.NO_SUCH_OBJECT, "2026-08-01"),
        (["plot", "Meter_0", "--out", "day.pdf"], Exit.USAGE, "day.pdf"),
        (["list", "--directory", "/nowhere"], Exit.FAILED, "/nowhere"),
    ],
)
def test_what_is_not_there_is_told(
    directory: Path, words: list[str], code: Exit, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """With its exit code, and for programs as a document."""
    placed = words if "--directory" in words else [*words, "--directory", str(directory)]
    assert meter_files.main([*placed, "--json"]) == code
    document = json.loads(capfd.readouterr().err)
    assert told in document["message"]
    assert document["code"] == code
