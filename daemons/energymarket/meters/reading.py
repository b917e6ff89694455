"""What PV services have written, read while they write: files by meter and day, their rows, the last of them.

A last line that is not whole yet is not passed on.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from energymarket.exits import Failure
from energymarket.meters.day_files import COLUMNS, HEADER, SUFFIX
from energymarket.meters.limits import TIME_S_MAX
from energymarket.scenario.meters_schema import METER_ID

_NAME: Final = re.compile(rf"({METER_ID})-(\d{{4}})-(\d{{1,2}})-(\d{{1,2}})(?:\.\d+)?\.csv")
_TAIL_BYTES: Final = 4_096

DTYPE: Final = np.dtype([("time_s", "<f8"), ("meter_w", "<f8"), ("pv_kw", "<f8"), ("sum_w", "<f8")])
"""A row as numbers: time in UTC seconds, then the three powers of the file's columns."""

Rows = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True, order=True)
class File:
    """A file of one meter and one day."""

    meter_id: str
    year: int
    month: int
    day: int
    path: Path

    @property
    def date(self) -> str:
        """The day, as ISO 8601 writes it."""
        return f"{self.year:04d}-{self.month:02d}-{self.day:02d}"


@dataclass(frozen=True, slots=True)
class Last:
    """The last row of a meter."""

    time_s: float
    meter_w: float
    pv_kw: float
    sum_w: float


def files_in(directory: Path) -> list[File]:
    """Files with our header, by meter and day. Failure if there is no such directory."""
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError as problem:
        raise Failure(
            f"{directory}: {problem.strerror}", "--directory DIR names where PV services write"
        ) from problem
    found = []
    for name in names:
        match = _NAME.fullmatch(name)
        if match is not None and _is_ours(directory / name):
            found.append(File(match[1], int(match[2]), int(match[3]), int(match[4]), directory / name))
    return sorted(found)


def _is_ours(path: Path) -> bool:
    if not path.is_file():  # a pipe of such a name would never answer
        return False
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


def meters_in(directory: Path) -> list[str]:
    """Meters that have a sidecar or a file."""
    known = {path.name.removesuffix(SUFFIX) for path in directory.glob(f"*{SUFFIX}")}
    return sorted(known | {file.meter_id for file in files_in(directory)})


def rows_of(file: File) -> Rows:
    """All whole rows of a file, in its order; shape (rows,) of DTYPE. Failure if a line is none of ours."""
    content = file.path.read_bytes()
    lines = content[len(HEADER) : content.rfind(b"\n") + 1].split(b"\n")[:-1]
    return np.array([_row(file.path, number, line) for number, line in enumerate(lines, 2)], DTYPE)


def _row(path: Path, number: int, line: bytes) -> tuple[float, ...]:
    try:
        cells = line.decode().split(",")
        row = tuple(map(float, cells[1:])) if len(cells) == len(COLUMNS) else ()
    except ValueError:  # also what is not UTF-8
        row = ()
    if not _is_sound(row):
        shown = line[:80].decode(errors="backslashreplace")
        raise Failure(
            f"{path}, line {number}: {shown!r} is no row of a PV service",
            f"a row is {','.join(COLUMNS)}; correct the line, or take the file away",
        )
    return row


def _is_sound(row: tuple[float, ...]) -> bool:
    """Whether it has its numbers, all of which are some, and a time that is one."""
    return len(row) == len(COLUMNS) - 1 and all(map(math.isfinite, row)) and 0 <= row[0] < TIME_S_MAX


def last_of(file: File) -> Last | None:
    """The last whole row of a file, or None while it has none."""
    with file.path.open("rb") as opened:
        length = opened.seek(0, os.SEEK_END)
        begin = max(len(HEADER), length - _TAIL_BYTES)
        opened.seek(min(begin, length))
        lines = opened.read().split(b"\n")
    whole = lines[:-1]
    if not whole or (len(whole) == 1 and begin > len(HEADER)):
        return None
    values = whole[-1].decode(errors="replace").split(",")
    try:
        row = tuple(map(float, values[1:]))
    except ValueError:
        return None
    return Last(*row) if _is_sound(row) else None
