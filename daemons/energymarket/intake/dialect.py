"""How a CSV file is written: encoding, delimiter, decimal mark, where its header stands. Found by looking."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np

from energymarket.exits import ConfigError, Exit, Failure
from energymarket.intake.faults import F64
from energymarket.intake.limits import COLUMNS_MAX, SAMPLE_LINES

_DELIMITERS: Final = "\t;|,"
"""In the order of trust: a decimal comma makes many a file look as if commas parted it."""
_SAMPLE_BYTES: Final = 1 << 20
_COMMA: Final = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+([eE][+-]?\d+)?")
_POINT: Final = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d*)\.\d+([eE][+-]?\d+)?")
_WHOLE: Final = re.compile(r"[+-]?\d+([eE][+-]?\d+)?")
_BLANK: Final = frozenset({"", "-", "--", "?", "nan", "na", "n/a", "#n/a", "#nv", "null", "none", "nodata"})
"""Words by which programs say that there is no value."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written. `header_line` counts from 1."""

    encoding: str
    delimiter: str
    decimal: str
    header: tuple[str, ...]
    header_line: int


class _Source:
    """An opened file with the number of its bytes that have been read."""

    def __init__(self, raw: IO[bytes], text: io.TextIOWrapper, size: int) -> None:
        self._raw = raw
        self.text = text
        self.size = size

    def done(self) -> int:
        """Bytes read so far."""
        return self._raw.tell()


@contextmanager
def opened(path: Path, encoding: str) -> Iterator[_Source]:
    """A text file, packed by gzip or plain. A Failure names a byte that is none of the encoding's."""
    with path.open("rb") as raw:
        size = raw.seek(0, io.SEEK_END)
        raw.seek(0)
        plain = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        with io.TextIOWrapper(plain, encoding=encoding, newline="") as text:
            try:
                yield _Source(raw, text, size)
            except UnicodeDecodeError as error:
                raise Failure(
                    f"{path}: {error.reason} (not {encoding})",
                    "save it as CSV in UTF-8",
                ) from error
            except _DAMAGED as error:
                raise _damaged(path, error) from error


_DAMAGED: Final = (EOFError, gzip.BadGzipFile, zlib.error)


def _damaged(path: Path, error: Exception) -> Failure:
    return Failure(f"{path}: {error}", "the packed file is damaged", Exit.IO_ERROR)


def dialect_of(path: Path, delimiter: str | None, decimal: str | None) -> Dialect:
    """Look at the beginning of a file. A Failure says what stands in the way."""
    encoding = _encoding(path)
    with opened(path, encoding) as source:
        lines = [line for _, line in zip(range(SAMPLE_LINES), source.text, strict=False)]
    if not any(line.strip() for line in lines):
        raise Failure(f"{path} is empty", "it needs a header line and one line per time")
    found = delimiter or _delimiter(path, lines)
    rows = _rows(path, lines, found)
    width = Counter(len(row) for row in rows if row).most_common(1)[0][0]
    if width > COLUMNS_MAX:
        raise Failure(f"{path} has {width:,} columns", f"at most {COLUMNS_MAX:,} are read")
    at = next(index for index, row in enumerate(rows) if len(row) == width)
    header = tuple(name.strip().strip("\ufeff") for name in rows[at])
    if not any(_is_name(name) for name in header):
        raise Failure(
            f"{path}:{at + 1}: the first line holds values, not names of columns",
            "put a header line on top, as time,load1_kwh,pv1_kwh",
        )
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        raise Failure(f'{path}:{at + 1}: two columns are called "{twice[0]}"', "give each its own name")
    mark = decimal or _decimal(path, rows[at + 1 :])
    if mark == found:
        raise ConfigError(
            f'{path}: delimiter and decimal mark are both "{mark}"', "see --delimiter, --decimal"
        )
    return Dialect(encoding, found, mark, header, at + 1)


def _is_name(cell: str) -> bool:
    return bool(cell) and not (_WHOLE.fullmatch(cell) or _POINT.fullmatch(cell) or _COMMA.fullmatch(cell)
                               or re.match(r"\d{1,4}[-./]\d{1,2}[-./]\d", cell))  # fmt: skip


def _encoding(path: Path) -> str:
    with path.open("rb") as raw:
        try:
            head = (gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw).read(_SAMPLE_BYTES)
        except _DAMAGED as error:
            raise _damaged(path, error) from error
    if head.startswith(b"PK\x03\x04"):
        raise Failure(f"{path} is a workbook or a zip archive", "save the sheet as CSV, or unpack it")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in head:
        raise Failure(f"{path} is no text", "it needs a header line and one line per time")
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not a character that the sample cuts in two
            return "cp1252"
    return "utf-8-sig"


def _delimiter(path: Path, lines: list[str]) -> str:
    for delimiter in _DELIMITERS:
        widths = Counter(len(row) for row in _rows(path, lines, delimiter) if row)
        width, count = widths.most_common(1)[0]
        if width > 1 and count >= 0.9 * (widths.total() - min(20, widths.total() // 2)):
            return delimiter
    raise Failure(
        f"{path} does not fall into columns by tab, semicolon, bar or comma",
        "--delimiter names what parts them",
    )


def _rows(path: Path, lines: list[str], delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(lines, delimiter=delimiter))
    except csv.Error as error:
        raise Failure(f"{path}: {error}", "is it a CSV file?") from error


def _decimal(path: Path, rows: list[list[str]]) -> str:
    cells = {cell.strip() for row in rows for cell in row}
    commas = {cell for cell in cells if _COMMA.fullmatch(cell)}
    points = {cell for cell in cells if _POINT.fullmatch(cell)}
    grouped = {cell for cell in points if re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+", cell)}
    if commas and points - grouped - commas:
        raise ConfigError(
            f'{path} has numbers as "{min(commas)}" and as "{min(points - grouped - commas)}"',
            "--decimal , or --decimal . says which mark is the decimal one",
        )
    return "," if commas else "."


def numbers_of(cells: tuple[str, ...], decimal: str) -> tuple[F64, dict[int, str]]:
    """Numbers of a column's cells, NaN where there is none; and index -> text of what is no number."""
    joined = "\n".join(cells)
    other = "." if decimal == "," else ","
    if other not in joined and "_" not in joined:
        plain = joined.replace(",", ".").split("\n") if decimal == "," else cells
        try:
            values = np.array(list(map(float, plain)), dtype=np.float64)
        except ValueError:
            pass
        else:
            if len(values) == len(cells) and not np.any(np.isinf(values)):
                return values, {}
    slow = np.full(len(cells), np.nan)
    bad: dict[int, str] = {}
    pattern = _COMMA if decimal == "," else _POINT
    for index, cell in enumerate(cells):
        text = cell.strip()
        if text.lower() in _BLANK:
            continue
        if _WHOLE.fullmatch(text) or pattern.fullmatch(text):
            slow[index] = float(text.replace(other, "").replace(",", "."))
        else:
            bad[index] = text
    overflown = np.flatnonzero(np.isinf(slow))
    bad |= {int(index): cells[index].strip() for index in overflown}
    slow[overflown] = np.nan
    return slow, bad
