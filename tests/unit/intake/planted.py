"""Meter files made by hand for the tests of the import: sound ones, and how to run the import on them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from energymarket import importing


def utc(text: str) -> int:
    """Second of a moment as 2025-03-01T12:00Z."""
    return int(datetime.fromisoformat(text).timestamp())


def moments(first: str, count: int, minutes: int = 15) -> list[datetime]:
    """That many moments in UTC."""
    begin = datetime.fromisoformat(first)
    return [begin + timedelta(minutes=minutes * number) for number in range(count)]


def sound_kwh(number: int) -> tuple[str, str]:
    """Load and PV of two homes in an interval: no value twice running, none on the edge of a check."""
    return f"{0.1 + 0.01 * (number % 7):.3f}", f"{0.2 + 0.01 * (number % 5):.3f}"


def sound_rows(first: str = "2025-06-02T00:00+00:00", count: int = 96 * 28) -> list[list[str]]:
    """Lines of time and the loads of homes a and b, sound over four weeks."""
    return [[f"{when:%Y-%m-%dT%H:%M}Z", *sound_kwh(n)] for n, when in enumerate(moments(first, count))]


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str = ",") -> Path:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path


def run(file: Path, *options: str) -> tuple[int, dict[str, Any], Path]:
    """Import a file: exit code, the report as a program reads it ({} if none was written), its directory."""
    out = file.parent / "result"
    code = importing.main([str(file), "--out", str(out), *options])
    report = out / "quality.json"
    return code, json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}, out


def table(out: Path) -> dict[str, list[str]]:
    """homes.csv, by column."""
    with (out / "homes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def repairs(out: Path) -> list[dict[str, str]]:
    """repairs.csv, line by line."""
    with (out / "repairs.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def found(report: dict[str, Any], fault: str, home: str = "a") -> dict[str, Any]:
    """The only finding of a fault for a home."""
    (finding,) = (each for each in report["findings"] if (each["fault"], each["home"]) == (fault, home))
    answer: dict[str, Any] = finding
    return answer


def faults(report: dict[str, Any]) -> set[str]:
    """The names of all faults that were found."""
    return {each["fault"] for each in report["findings"]}


def at(finding: dict[str, Any]) -> list[tuple[str, int]]:
    """Where a finding is: begin in UTC, and number of intervals."""
    return [
        (f"{datetime.fromtimestamp(span['begin_s'], UTC):%Y-%m-%dT%H:%MZ}", span["intervals"])
        for span in finding["spans"]
    ]
