"""What can be wrong with measured data, what was found where, and every value that was changed for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SPANS_MAX: Final = 100
"""Of a finding: more stretches of time than these are counted, not listed. repairs.csv has them all."""


class Fault(StrEnum):
    """The name of a fault, the same in report, JSON and tests."""

    GAP = "gap"
    BLANK = "blank"
    UNREADABLE = "unreadable"
    DUPLICATE = "duplicate"
    CONTRADICTION = "contradiction"
    OFF_GRID = "off_grid"
    DST_SPRING = "dst_spring"
    DST_AUTUMN = "dst_autumn"
    REGISTER_RESET = "register_reset"
    REGISTER_ROLLOVER = "register_rollover"
    REGISTER_GLITCH = "register_glitch"
    NEGATIVE = "negative"
    SIGN = "sign"
    FOLLOWS_PV = "follows_pv"
    SPIKE = "spike"
    STUCK = "stuck"
    SCALE = "scale"
    MOSTLY_MISSING = "mostly_missing"
    COLUMN = "column"

    @property
    def meaning(self) -> str:
        """One line for people."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Fault.GAP: "times for which the file has no line",
    Fault.BLANK: "lines without a value",
    Fault.UNREADABLE: "cells that hold no number",
    Fault.DUPLICATE: "times that come twice with the same value",
    Fault.CONTRADICTION: "times that come twice with different values",
    Fault.OFF_GRID: "times beside the file's own resolution",
    Fault.DST_SPRING: "times that the clock skips when summer time begins",
    Fault.DST_AUTUMN: "the hour that the clock repeats when summer time ends, but the file does not",
    Fault.REGISTER_RESET: "a counter that begins anew",
    Fault.REGISTER_ROLLOVER: "a counter that has run over its last digit",
    Fault.REGISTER_GLITCH: "a single reading that the readings around it contradict",
    Fault.NEGATIVE: "values below zero of what cannot be below zero",
    Fault.SIGN: "a column that is below zero throughout: its sign is turned round",
    Fault.FOLLOWS_PV: "a load that follows a PV plant and sleeps by night: miswired, or exchanged",
    Fault.SPIKE: "more power than a house connection carries",
    Fault.STUCK: "the same value for very long",
    Fault.SCALE: "values that look a factor 1,000 off: check the unit",
    Fault.MOSTLY_MISSING: "more than half of the values are missing: what is there now is mostly made up",
    Fault.COLUMN: "columns that were not understood",
}


class Cause(StrEnum):
    """Why a value was changed, and how."""

    INTERPOLATED = "interpolated"
    NEIGHBOUR_WEEKS = "neighbour_weeks"
    NEIGHBOUR_DAYS = "neighbour_days"
    NOT_MEASURED = "not_measured"
    REGISTER_SPREAD = "register_spread"
    REGISTER_RESTART = "register_restart"
    REGISTER_ROLLOVER = "register_rollover"
    DUPLICATE_MERGED = "duplicate_merged"
    LAST_WINS = "last_wins"
    SNAPPED = "snapped"
    DROPPED = "dropped"
    SIGN_TURNED = "sign_turned"
    NEGATIVE_TO_ZERO = "negative_to_zero"

    @property
    def meaning(self) -> str:
        """One line for people."""
        return _CAUSES[self]

    @property
    def estimated(self) -> bool:
        """Whether the new value is a guess rather than something that was measured."""
        return self in {Cause.INTERPOLATED, Cause.NEIGHBOUR_WEEKS, Cause.NEIGHBOUR_DAYS, Cause.NOT_MEASURED,
                        Cause.REGISTER_SPREAD}  # fmt: skip


_CAUSES: Final = {
    Cause.INTERPOLATED: "estimated: on the straight line between its neighbours",
    Cause.NEIGHBOUR_WEEKS: "estimated: mean of the same time of day and week in the weeks around it",
    Cause.NEIGHBOUR_DAYS: "estimated: mean of the same time of day in the days around it",
    Cause.NOT_MEASURED: "estimated: mean of the whole column, no measured value is near",
    Cause.REGISTER_SPREAD: "estimated: the counter's rise over the gap, spread evenly; its sum is measured",
    Cause.REGISTER_RESTART: "the counter began anew: counted from zero",
    Cause.REGISTER_ROLLOVER: "the counter ran over: one round was added",
    Cause.DUPLICATE_MERGED: "the same line twice: one was left out",
    Cause.LAST_WINS: "two values for one time: the one further down in the file was kept",
    Cause.SNAPPED: "moved to the nearest full interval",
    Cause.DROPPED: "left out: there is no such interval",
    Cause.SIGN_TURNED: "multiplied by -1",
    Cause.NEGATIVE_TO_ZERO: "set to zero",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of one home's quantity: where, how often, and in words what follows from it.

    `spans` are (UTC second, intervals) of its stretches of time, at most SPANS_MAX. `count` is the number
    of values or lines concerned.
    """

    fault: Fault
    home: str  # as the file names it; "": the whole file
    quantity: str
    count: int
    spans: tuple[tuple[int, int], ...] = ()
    text: str = ""
    line: int | None = None  # of the file, of the first case

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "fault": str(self.fault), "home": self.home, "quantity": self.quantity, "count": self.count,
            "spans": [{"begin_s": begin, "intervals": length} for begin, length in self.spans],
            "text": self.text, "line": self.line,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """Values of one column that were changed for one cause; all arrays are of the same length.

    `was_wh` is NaN where there was none.
    """

    home: str
    quantity: str
    cause: Cause
    time_s: I64
    was_wh: F64
    now_wh: F64


@dataclass(slots=True)
class Quality:
    """What was found and changed so far, in the order in which it came up."""

    findings: list[Finding] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # how the file was understood
    texts: dict[tuple[str, str, int], str] = field(default_factory=dict)
    """(home, quantity, UTC second) -> what stood there, where that is no number."""

    def found(self, finding: Finding) -> None:
        """Note a fault."""
        self.findings.append(finding)

    def changed(self, home: str, quantity: str, cause: Cause, time_s: I64, was_wh: F64, now_wh: F64) -> None:
        """Note changed values; none is no change."""
        if time_s.size:
            self.changes.append(Change(home, quantity, cause, time_s, was_wh, now_wh))

    def note(self, text: str) -> None:
        """Note how something was understood, once."""
        if text not in self.notes:
            self.notes.append(text)

    def counts(self) -> dict[str, int]:
        """Changed values per cause."""
        counted: Counter[str] = Counter()
        for change in self.changes:
            counted[str(change.cause)] += len(change.time_s)
        return dict(counted)


def stretches(mask: Mask) -> list[tuple[int, int]]:
    """(first index, length) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(first), int(end - first)) for first, end in zip(edges[::2], edges[1::2], strict=True)]
