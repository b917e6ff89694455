"""energy-meter-files: what PV services have written: a list, live lines, Parquet, a picture of a day."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import re
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from energymarket.daybook import meter_picture
from energymarket.exits import ConfigError, Exit, Failure, NoSuchObject
from energymarket.meters import reading
from energymarket.meters.day_files import COLUMNS, SUFFIX
from energymarket.meters.settings import zone_of
from energymarket.meters.sidecar import SidecarError, unpack
from energymarket.runtime import clock, service

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from energymarket.meters.reading import File

PROGRAM: Final = "energy-meter-files"
LATE_S: Final = 60.0
QUARTER_S: Final = 900
"""Every zone's clock is ahead of UTC, or behind it, by whole quarter-hours."""


def list_them(given: argparse.Namespace, _stop: service.StopFlag) -> int:
    """One line per meter: days, rows, the last sample, what is missing or was dropped."""
    found = [_facts(given.directory, meter) for meter in reading.meters_in(given.directory)]
    if given.json:
        _say(json.dumps({"type": "meters", "meters": found}))
        return Exit.OK
    if not found:
        _say(f"no meter has written into {given.directory.resolve()}")
        return Exit.OK
    rows = [("meter", "days", "rows", "duplicates", "missing", "last sample", "meter W", "PV kW", "sum W")]
    rows += [
        (
            each["meter_id"], str(each["days"]), _known(each["rows"]), _known(each["duplicates"]),
            _known(each["missing"]), each["last_time"] or "-", *_powers(each["last"]),
        )
        for each in found
    ]  # fmt: skip
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(w) if at in {0, 5} else cell.rjust(w)
            for at, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        _say("  ".join(cells).rstrip())
    return Exit.OK


def _facts(directory: Path, meter_id: str) -> dict[str, Any]:
    """What files and sidecar say of a meter; None where the sidecar is not there."""
    files = [file for file in reading.files_in(directory) if file.meter_id == meter_id]
    last = next((found for file in reversed(files) if (found := reading.last_of(file)) is not None), None)
    try:
        kept, _ = unpack((directory / f"{meter_id}{SUFFIX}").read_bytes())
    except (FileNotFoundError, SidecarError):
        kept = None
    return {
        "meter_id": meter_id,
        "days": len({file.date for file in files}),
        "files": [file.path.name for file in files],
        "rows": None if kept is None else kept.rows,
        "duplicates": None if kept is None else kept.duplicates,
        "missing": None if kept is None else sum(series.window().missing for series in kept.series),
        "last_time": None if last is None else _utc(last.time_s),
        "last": None
        if last is None
        else {"time_s": last.time_s, "meter_w": last.meter_w, "pv_kw": last.pv_kw, "sum_w": last.sum_w},
    }


def _known(number: int | None) -> str:
    return "-" if number is None else str(number)


def _powers(last: dict[str, float] | None) -> tuple[str, str, str]:
    if last is None:
        return ("-", "-", "-")
    return (f"{last['meter_w']:.1f}", f"{last['pv_kw']:.3f}", f"{last['sum_w']:.1f}")


def _utc(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M:%S}Z"


def watch(given: argparse.Namespace, stop: service.StopFlag) -> int:
    """A line per meter and refresh, on a terminal in place; JSON lines with --json. Until Ctrl-C."""
    in_place = sys.stdout.isatty() and not given.json
    shown, turns = 0, 0
    while not stop.is_set():
        found = [_facts(given.directory, meter) for meter in reading.meters_in(given.directory)]
        lines = [_line(each, as_json=given.json) for each in found]
        if not found and not given.json:
            lines = [f"no meter has written into {given.directory.resolve()} yet"]
        if in_place:
            lines = _fitting(lines, os.get_terminal_size(sys.stdout.fileno()))
            up = f"\033[{shown}A" if shown else ""
            sys.stdout.write(up + "".join(f"{line}\033[K\n" for line in lines) + "\033[J")
        else:
            for line in lines:
                _say(line)
        sys.stdout.flush()
        shown, turns = len(lines), turns + 1
        if given.count is not None and turns >= given.count:
            break
        stop.wait_until(clock.boottime_ns() + round(given.every_s * clock.NS_PER_S))
    return Exit.OK


def _fitting(lines: list[str], size: os.terminal_size) -> list[str]:
    """What a terminal holds: a line that wraps, or scrolls away, could not be written over again."""
    room = max(1, size.lines - 1)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"... and {len(lines) - room + 1} more: `energyctl meters list`"]
    return [line[: max(1, size.columns - 1)] for line in lines]


def _line(facts: dict[str, Any], *, as_json: bool) -> str:
    if as_json:
        named = {key: facts[key] for key in ("meter_id", "rows", "last_time", "last")}
        return json.dumps({"type": "meter", **named})
    last = facts["last"]
    if last is None:
        return f"{facts['meter_id']}  nothing yet"
    behind_s = clock.wall_ns() / 1e9 - last["time_s"]
    age = f"  {behind_s:.0f} s ago" if LATE_S < behind_s < 86_400 else ""
    meter_w, pv_kw, sum_w = _powers(last)
    head = f"{facts['meter_id']}  {facts['last_time']}"
    return f"{head}  meter {meter_w:>7} W  PV {pv_kw} kW  sum {sum_w:>7} W{age}"


def export(given: argparse.Namespace, _stop: service.StopFlag) -> int:
    """All rows of the named meters, or of all, as one Parquet file with the columns of the CSV."""
    files = _chosen(given)
    try:
        pyarrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as problem:
        hint = "pip install 'energy-market[study]' brings it"
        raise ConfigError("nothing here writes Parquet: pyarrow is not installed", hint) from problem
    schema = pyarrow.schema(
        [
            pyarrow.field("meter_id", pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), nullable=False),
            *(pyarrow.field(name, pyarrow.float64(), nullable=False) for name in COLUMNS[1:]),
        ]
    )
    counted: Counter[str] = Counter()
    draft = given.out.with_name(f".{given.out.name}.draft")
    try:
        with parquet.ParquetWriter(draft, schema, compression="zstd") as writer:
            for file in files:
                rows = reading.rows_of(file)
                rows = rows[np.argsort(rows["time_s"], kind="stable")]
                counted[file.meter_id] += len(rows)
                names = pyarrow.array([file.meter_id] * len(rows)).dictionary_encode()
                numbers = [
                    pyarrow.array(np.ascontiguousarray(rows[name])) for name in reading.DTYPE.names or ()
                ]
                writer.write_table(pyarrow.Table.from_arrays([names, *numbers], schema=schema))
        draft.replace(given.out)
    finally:
        draft.unlink(missing_ok=True)
    told = {"type": "exported", "file": str(given.out), "rows": counted.total(), "meters": dict(counted)}
    _say(json.dumps(told) if given.json else f"{given.out}: {counted.total()} rows of {len(counted)} meters")
    return Exit.OK


def plot(given: argparse.Namespace, _stop: service.StopFlag) -> int:
    """A picture of one meter's day: the named one, or its last."""
    files = _chosen(given)
    day = given.day or files[-1].date
    of_day = [file for file in files if file.date == day]
    if not of_day:
        raise NoSuchObject(
            f"{given.meter_ids[0]} has no {day}", f"it has {files[0].date} to {files[-1].date}"
        )
    rows = np.concatenate([reading.rows_of(file) for file in of_day])
    if not len(rows):
        raise NoSuchObject(f"{of_day[0].path} has no row yet")
    out = given.out or Path(f"{given.meter_ids[0]}-{day}.png")
    if out.suffix not in {".png", ".svg"}:
        raise Failure(f"{out}: a picture is .png or .svg", code=Exit.USAGE)
    offset = datetime.fromtimestamp(float(np.median(rows["time_s"])), zone_of(given.timezone)).utcoffset()
    ahead_s = 0 if offset is None else int(offset.total_seconds())
    if not given.timezone:
        ahead_s = _of_the_day(rows["time_s"], day, ahead_s)
    meter_picture.draw(out, given.meter_ids[0], day, rows, ahead_s)
    _say(json.dumps({"type": "picture", "file": str(out), "rows": len(rows)}) if given.json else str(out))
    return Exit.OK


def _of_the_day(times_s: npt.NDArray[np.float64], day: str, ahead_s: int) -> int:
    """What the meter's clock was ahead of UTC in s: the nearest to `ahead_s` with which all is of its day.

    A file's day is of the meter's clock, which need not be that of who looks. The day of a change of the
    clocks has 25 hours, which no offset puts into one: it stays as it is.
    """
    begin_s = datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()
    least = math.ceil((begin_s - float(times_s.min())) / QUARTER_S) * QUARTER_S
    most = math.ceil((begin_s + 86_400 - float(times_s.max())) / QUARTER_S) * QUARTER_S - QUARTER_S
    return min(max(ahead_s, least), most) if least <= most else ahead_s


def _chosen(given: argparse.Namespace) -> list[File]:
    """Files of the meters that are named, or of all. NoSuchObject if one has none."""
    files = reading.files_in(given.directory)
    known = {file.meter_id for file in files}
    for each in given.meter_ids:
        if each not in known:
            raise NoSuchObject(
                f"there is no file of {each} in {given.directory}",
                f"there are {', '.join(sorted(known)) or 'none'}",
            )
    chosen = [file for file in files if not given.meter_ids or file.meter_id in given.meter_ids]
    if not chosen:
        raise NoSuchObject(f"no meter has written into {given.directory}")
    return chosen


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _date(text: str) -> str:
    match = re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-07-01")
    return f"{match[1]}-{int(match[2]):02d}-{int(match[3]):02d}"


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    things = parser.add_subparsers(dest="thing", required=True)
    listed = things.add_parser("list", help="meters and what they have written")
    watched = things.add_parser("watch", help="a live line per meter")
    exported = things.add_parser("export", help="one Parquet file")
    plotted = things.add_parser("plot", help="a picture of a day")
    for each in (listed, watched, exported, plotted):
        each.add_argument("--directory", type=Path, default=Path(), help="where PV services write")
        each.add_argument("--json", action="store_true", help="for programs")
    watched.add_argument("--every", dest="every_s", type=float, default=1.0, help="seconds between two looks")
    watched.add_argument("--count", type=int, help="so many looks, then end")
    exported.add_argument("out", type=Path)
    exported.add_argument("meter_ids", nargs="*")
    plotted.add_argument("meter_ids", nargs=1)
    plotted.add_argument("--day", type=_date)
    plotted.add_argument("--out", type=Path)
    plotted.add_argument("--timezone", default="", help="of the meter's clock")
    return parser.parse_args(arguments)


ACTS: Final = {"list": list_them, "watch": watch, "export": export, "plot": plot}


def main(arguments: Sequence[str] | None = None) -> int:
    """List, watch, export or plot; the answer is an exit code."""
    given = _words(arguments)
    return service.run_once(PROGRAM, lambda stop: ACTS[given.thing](given, stop), as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
