"""What a time is written like: ISO 8601, 31.12.2025 23:45, 31/12/2025, seconds since 1970, or a format."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import numpy as np

from energymarket.exits import ConfigError, Failure
from energymarket.intake.faults import I64

_DOTTED: Final = re.compile(r"(\d{1,2})[./](\d{1,2})[./](\d{2,4}),?(?:[ T]+(\d{1,2}):(\d{2})(?::(\d{2}))?)?")
_MIDNIGHT_24: Final = re.compile(r"(.*\D)24:00(?::00)?(.*)", re.DOTALL)
_EPOCH_S_MAX: Final = 1 << 33  # the year 2242; milliseconds are above it from 1970 on
_DAY: Final = timedelta(days=1)
_ORIGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Style(StrEnum):
    """How times are written."""

    ISO = "ISO 8601"
    DAY_FIRST = "day.month.year"
    MONTH_FIRST = "month/day/year"
    EPOCH = "seconds since 1970"
    EPOCH_MS = "milliseconds since 1970"
    FORMAT = "as --time-format says"


class StampError(ValueError):
    """The text is no time; `index` is its place among those given."""

    def __init__(self, index: int, text: str, why: str) -> None:
        super().__init__(why)
        self.index = index
        self.text = text


class StampReader:
    """Reads times of one style. `has_offset` is known after the first: whether they are UTC instants."""

    def __init__(self, style: Style, pattern: str | None) -> None:
        self.style = style
        self._pattern = pattern
        self._known: dict[str, int] = {}
        self.has_offset: bool | None = True if style in {Style.EPOCH, Style.EPOCH_MS} else None

    def read(self, texts: tuple[str, ...]) -> I64:
        """Seconds since 1970: UTC where they have an offset, else of the file's own clock.

        StampError names the first that cannot be read, or that has an offset where others have none.
        """
        known = self._known
        if len(known) > 4_000_000:  # a year of 8 s: the cache is there for long files, not to keep them
            known.clear()
        seconds = np.empty(len(texts), np.int64)
        for index, text in enumerate(texts):
            found = known.get(text)
            if found is None:
                try:
                    found = self._one(text.strip())
                except (ValueError, OverflowError) as error:
                    raise StampError(index, text, str(error)) from error
                known[text] = found
            seconds[index] = found
        return seconds

    def _one(self, text: str) -> int:
        if self.style is Style.EPOCH:
            return round(float(text))
        if self.style is Style.EPOCH_MS:
            return round(int(text) / 1000)
        dotted = self.style in {Style.DAY_FIRST, Style.MONTH_FIRST}
        moment = self._dotted(text) if dotted else self._written(text)
        aware = moment.tzinfo is not None
        if self.has_offset is None:
            self.has_offset = aware
        if self.has_offset is not aware:
            raise ValueError("some times have an offset from UTC, others have none")
        if not aware:
            moment = moment.replace(tzinfo=UTC)
        return round((moment - _ORIGIN).total_seconds())

    def _written(self, text: str) -> datetime:
        late = _MIDNIGHT_24.fullmatch(text)
        if late is not None:
            return self._written(f"{late[1]}00:00{late[2]}") + _DAY
        if self.style is Style.ISO:
            return datetime.fromisoformat(text)
        return datetime.strptime(text, self._pattern or "")  # noqa: DTZ007 - the pattern may have %z

    def _dotted(self, text: str) -> datetime:
        found = _DOTTED.fullmatch(text)
        if found is None:
            raise ValueError("not as in 31.12.2025 23:45")
        one, two, year, hour, minute, second = (int(part or 0) for part in found.groups())
        day, month = (one, two) if self.style is Style.DAY_FIRST else (two, one)
        late = _DAY if hour == 24 and minute == 0 else timedelta()
        moment = datetime(year + 2000 * (year < 100), month, day, hour % 24 if late else hour, minute, second)  # noqa: DTZ001
        return moment + late


def reader_for(where: str, sample: list[str], pattern: str | None) -> StampReader:
    """The reader of a file by its first times. A Failure says that none fits, or more than one."""
    if pattern is not None:
        return StampReader(Style.FORMAT, pattern)
    texts = [text.strip() for text in sample if text.strip()]
    if not texts:
        raise Failure(f"{where}: no times", "each line needs one; --time-column names their column")
    first = texts[0]
    if all(re.fullmatch(r"\d{9,13}(\.0*)?", text) for text in texts):
        return StampReader(Style.EPOCH if float(first) < _EPOCH_S_MAX else Style.EPOCH_MS, None)
    dotted = [_DOTTED.fullmatch(text) for text in texts]
    if dotted[0] is None:
        return StampReader(Style.ISO, None)
    parts = [(int(found[1]), int(found[2])) for found in dotted if found is not None]
    if "." in first.split(" ")[0] or any(one > 12 for one, _ in parts):
        return StampReader(Style.DAY_FIRST, None)
    if any(two > 12 for _, two in parts):
        return StampReader(Style.MONTH_FIRST, None)
    raise ConfigError(
        f'{where}: "{first}" may be {parts[0][0]}/{parts[0][1]} as day/month or as month/day',
        "--time-format '%d/%m/%Y %H:%M' or '%m/%d/%Y %H:%M' says which",
    )
