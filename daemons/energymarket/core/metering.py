"""The book of a meter: samples of power, in any order and more than once, become watt-hours of slots.

Rules:

- Between two samples with consecutive sequences power runs straight (trapezoid), if no more than a slot
  lies between them. A meter that was switched off for longer has left a hole that nothing will fill.
- Where samples are missing between two that are known, power runs straight for up to `BRIDGED_MS`. What is
  missing may still come: then the straight line makes way for it.
- What of a slot is in neither is estimated: as the same time of the days before (up to a week), else as the
  last value for `HELD_MS`, else as the mean load there has been, without sun.
- After `SLOTS_KEPT` slots nothing changes any more: later samples are too late. Of a meter that has been
  silent for longer nothing is estimated any more.

Energies are whole numbers of half µJ (mW times ms, doubled), so that nothing is rounded before somebody asks
for Wh, and what a slot has is a function of the set of samples, not of their order.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS_PER_WH: Final = 2 * 3_600_000_000
"""Half µJ of a watt-hour."""
BRIDGED_MS: Final = 60_000
"""A minute that is missing: drawing a line through it is as good as any profile."""
HELD_MS: Final = 3_600_000
"""An hour: what is switched on now says little about later."""
DAYS_BACK: Final = 7
SLOTS_KEPT: Final = 1_000
"""Ten days of quarter-hours, 20 KB: after a longer absence of the broker the estimate stands."""
RUNS_MAX: Final = 200
"""Gaps among the samples that are still open, plus one; beyond, the oldest is closed."""
SERIES_MAX: Final = 8
"""Series that have ended and are remembered, so that none of them is counted twice."""
DAY_S: Final = 86_400


class Verdict(Enum):
    """What became of a sample."""

    COUNTED = auto()
    SEEN = auto()
    TOO_LATE = auto()


class Power(NamedTuple):
    """A sample: its sequence, when, what the house took and what the sun gave."""

    sequence: int
    time_ms: int
    load_mw: int
    pv_mw: int


@dataclass(slots=True)
class Run:
    """Samples with consecutive sequences: only its ends can still be joined to others."""

    series: str
    first: Power
    last: Power


@dataclass(slots=True)
class Entry:
    """What is known of a slot: energies in half µJ, and of how much of its time."""

    load: int = 0
    pv: int = 0
    covered_ms: int = 0

    def add(self, load: int, pv: int, covered_ms: int) -> None:
        """Add a piece of it."""
        self.load += load
        self.pv += pv
        self.covered_ms += covered_ms


@dataclass(frozen=True, slots=True)
class Reading:
    """The meter at the end of a slot: cumulative since the book began, rounded down; and the slot alone."""

    slot: int
    load_wh: int
    pv_wh: int
    slot_load_wh: int
    slot_pv_wh: int
    estimated_ms: int  # of the slot
    heard_ms: int  # time of the newest sample


@dataclass(slots=True)
class Book:
    """What is known of one meter. Plain numbers: `wire/readings.py` writes it down."""

    slot_s: int
    id: str = ""  # of this memory: another one begins at zero
    runs: list[Run] = field(default_factory=list)  # by the time of their first sample
    closed: dict[str, int] = field(default_factory=dict)  # by series: what is not told apart any more
    entries: dict[int, Entry] = field(default_factory=dict)  # of the slots from `floor` on
    begun_ms: int = -1  # the first sample; -1: none has come
    floor: int = 0  # slots before it are in the sums for good
    load: int = 0  # half µJ
    pv: int = 0
    samples: int = 0

    def copy(self) -> Book:
        """Another book that has heard the same."""
        return replace(
            self,
            runs=[replace(run) for run in self.runs],
            closed=dict(self.closed),
            entries={slot: replace(entry) for slot, entry in self.entries.items()},
        )

    # samples

    def hear(self, series: str, sample: Power) -> Verdict:
        """Count a sample, once."""
        if sample.sequence <= self.closed.get(series, -1):
            return Verdict.TOO_LATE
        mine = sorted((run for run in self.runs if run.series == series), key=lambda run: run.first.sequence)
        at = bisect_right(mine, sample.sequence, key=lambda run: run.first.sequence)
        before, after = mine[at - 1] if at else None, mine[at] if at < len(mine) else None
        if before is not None and sample.sequence <= before.last.sequence:
            return Verdict.SEEN
        if self.begun_ms >= 0 and self._slot(sample.time_ms) < self.floor:
            return Verdict.TOO_LATE
        self._place(series, sample, before, after)
        self.samples += 1
        self.begun_ms = sample.time_ms if self.begun_ms < 0 else min(self.begun_ms, sample.time_ms)
        self._tidy()
        return Verdict.COUNTED

    def _place(self, series: str, sample: Power, before: Run | None, after: Run | None) -> None:
        joins_before = before is not None and before.last.sequence + 1 == sample.sequence
        joins_after = after is not None and after.first.sequence - 1 == sample.sequence
        if before is not None and joins_before:
            self._count(before.last, sample)
            before.last = sample
        if after is not None and joins_after:
            self._count(sample, after.first)
            after.first = sample
        if before is not None and after is not None and joins_before and joins_after:
            before.last = after.last
            self.runs.remove(after)
        elif not joins_before and not joins_after:
            self.runs.append(Run(series, sample, sample))
        self.runs.sort(key=lambda run: (run.first.time_ms, run.first.sequence))

    def _count(self, a: Power, b: Power) -> None:
        """What flowed between two consecutive samples, for good."""
        if b.time_ms - a.time_ms <= max(BRIDGED_MS, self._slot_ms):
            for slot, load, pv, covered_ms in self._pieces(a, b):
                if slot >= self.floor:
                    self.entries.setdefault(slot, Entry()).add(load, pv, covered_ms)

    def _pieces(self, a: Power, b: Power) -> Iterator[tuple[int, int, int, int]]:
        """A straight line, cut at the slots' ends: slot, load, pv, ms. The pieces add up to the whole.

        A clock that was set back has taken no time: nothing flowed.
        """
        duration_ms = b.time_ms - a.time_ms
        if duration_ms <= 0:
            return
        whole = ((a.load_mw + b.load_mw) * duration_ms, (a.pv_mw + b.pv_mw) * duration_ms)
        done_ms, done_load, done_pv = 0, 0, 0
        for slot in range(self._slot(a.time_ms), self._slot(b.time_ms - 1) + 1):
            until_ms = min((slot + 1) * self._slot_ms, b.time_ms) - a.time_ms
            load, pv = whole
            if until_ms < duration_ms:
                load = _part(a.load_mw, b.load_mw, until_ms, duration_ms)
                pv = _part(a.pv_mw, b.pv_mw, until_ms, duration_ms)
            yield slot, load - done_load, pv - done_pv, until_ms - done_ms
            done_ms, done_load, done_pv = until_ms, load, pv

    # what does not change any more

    def _tidy(self) -> None:
        newest = self._slot(max(run.last.time_ms for run in self.runs))
        if newest - self._oldest() >= 2 * SLOTS_KEPT:  # a long absence, or a clock that was never set
            self._fold(newest - SLOTS_KEPT)
        while newest - self._oldest() > SLOTS_KEPT:
            self._fold(self._oldest() + 1)
        while len(self.runs) > RUNS_MAX:
            self._close_first_gap()

    def _oldest(self) -> int:
        return max(self.floor, self._slot(self.begun_ms))

    def _fold(self, floor: int) -> None:
        """Slots before the floor go into the sums, with what was estimated of them."""
        while len(self.runs) > 1 and self._slot(self.runs[0].last.time_ms) < floor:
            self._close_first_gap()
        known = self._known()
        for slot in range(self._oldest(), min(floor, self._oldest() + 2 * SLOTS_KEPT)):
            entry = self._complete(slot, known)
            self.load += entry.load
            self.pv += entry.pv
            self.entries.pop(slot, None)
        self.floor = floor

    def _close_first_gap(self) -> None:
        """The line between the first two runs stands; what is missing there is too late."""
        first, second = self.runs[0], self.runs[1]
        for slot, load, pv, covered_ms in self._bridge(first, second):
            if slot >= self.floor:
                self.entries.setdefault(slot, Entry()).add(load, pv, covered_ms)
        if first.series == second.series:
            self.closed[first.series] = max(first.last.sequence, second.first.sequence - 1)
            second.first = min(first.first, second.first, key=lambda each: each.time_ms)
        else:
            self.closed[first.series] = max(first.last.sequence, self.closed.get(first.series, 0))
        del self.runs[0]
        while len(self.closed) > SERIES_MAX:
            del self.closed[next(iter(self.closed))]

    def _bridge(self, first: Run, second: Run) -> Iterator[tuple[int, int, int, int]]:
        if second.first.time_ms - first.last.time_ms <= BRIDGED_MS:
            yield from self._pieces(first.last, second.first)

    # readings

    def reading(self, slot: int) -> Reading | None:
        """The meter at the end of a slot, as far as it is known now; None before its first sample.

        ValueError for a slot that is in the sums already.
        """
        if self.begun_ms < 0:
            return None
        if slot < self.floor:
            raise ValueError(f"slot {slot}: the book goes back to slot {self.floor}")
        known, heard_ms = self._known(), max(run.last.time_ms for run in self.runs)
        until = self._slot(heard_ms) + SLOTS_KEPT
        load, pv, last = self.load, self.pv, Entry(covered_ms=self._slot_ms)
        for each in range(self._oldest(), min(slot, until)):
            entry = self._complete(each, known)
            load, pv = load + entry.load, pv + entry.pv
        if self._oldest() <= slot < until:
            last = self._complete(slot, known)
        load_wh, pv_wh = (load + last.load) // UNITS_PER_WH, (pv + last.pv) // UNITS_PER_WH
        return Reading(
            slot,
            load_wh,
            pv_wh,
            load_wh - load // UNITS_PER_WH,
            pv_wh - pv // UNITS_PER_WH,
            last.covered_ms,
            heard_ms,
        )

    def _known(self) -> dict[int, Entry]:
        """Slots with what may still be corrected: the lines through gaps."""
        known = dict(self.entries)
        own: set[int] = set()
        for first, second in pairwise(self.runs):
            for slot, load, pv, covered_ms in self._bridge(first, second):
                if slot not in own:
                    entry = known.get(slot, Entry())
                    known[slot] = Entry(entry.load, entry.pv, entry.covered_ms)
                    own.add(slot)
                known[slot].add(load, pv, covered_ms)
        return known

    def _complete(self, slot: int, known: dict[int, Entry]) -> Entry:
        """A slot with what is estimated of it; here `covered_ms` is the time that was estimated."""
        entry = known.get(slot, Entry())
        from_ms = max(slot * self._slot_ms, self.begun_ms)
        missing_ms = max(0, (slot + 1) * self._slot_ms - from_ms - entry.covered_ms)
        if missing_ms == 0:
            return Entry(entry.load, entry.pv, 0)
        load, pv, ms = self._estimate(slot, known)
        return Entry(entry.load + load * missing_ms // ms, entry.pv + pv * missing_ms // ms, missing_ms)

    def _estimate(self, slot: int, known: dict[int, Entry]) -> tuple[int, int, int]:
        """What flows, in half µJ, within how many ms, at a time of which nothing is known."""
        days = [known.get(each) for each in self._slots_of_days_before(slot)]
        if whole := [day for day in days if day is not None and day.covered_ms >= self._slot_ms]:
            count_ms = len(whole) * self._slot_ms
            return sum(day.load for day in whole), sum(day.pv for day in whole), count_ms
        last = self._last_before((slot + 1) * self._slot_ms)
        if last is not None and slot * self._slot_ms - last.time_ms <= HELD_MS:
            return 2 * last.load_mw, 2 * last.pv_mw, 1
        counted = [entry for each, entry in known.items() if each < slot]
        covered_ms = sum(entry.covered_ms for entry in counted)
        if covered_ms == 0:
            return (2 * last.load_mw if last is not None else 0), 0, 1
        return sum(entry.load for entry in counted), 0, covered_ms

    def _slots_of_days_before(self, slot: int) -> list[int]:
        if DAY_S % self.slot_s:
            return []
        return [slot - day * (DAY_S // self.slot_s) for day in range(1, DAYS_BACK + 1)]

    def _last_before(self, time_ms: int) -> Power | None:
        """The last sample before an instant that ends a run, or begins one that goes on beyond it."""
        found: Power | None = None
        for run in self.runs:
            for sample in (run.first, run.last):
                if sample.time_ms < time_ms and (found is None or sample.time_ms >= found.time_ms):
                    found = sample
        return found

    @property
    def _slot_ms(self) -> int:
        return self.slot_s * 1000

    def _slot(self, time_ms: int) -> int:
        return time_ms // self._slot_ms


def _part(a_mw: int, b_mw: int, until_ms: int, duration_ms: int) -> int:
    """The first part of a line from a to b: 2 a t + (b - a) t² / d, rounded down."""
    return 2 * a_mw * until_ms + (b_mw - a_mw) * until_ms * until_ms // duration_ms


def register_wh(before_wh: int, known_wh: int) -> int:
    """A register that follows what is known and never falls: an over-estimate is worked off."""
    return max(before_wh, known_wh)
