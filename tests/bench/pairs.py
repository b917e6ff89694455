"""Measuring against an anchor: both in turn, at least five pairs, medians and spread, load beside them."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from energymarket.runtime.clock import monotonic_s

STARTS_MS: Final = {"pass": 9.5, "import numpy": 78.0}
"""What a start of Python took on the machine that the targets were set on."""

_STARTS: Final = 9


def machine() -> str:
    """Processor, kernel, Python and NumPy."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
    cores = len(os.sched_getaffinity(0))
    kernel = f"{platform.system()} {platform.release()}"
    return f"{cores} x {model}; {kernel}; Python {platform.python_version()}, NumPy {np.__version__}"


def head() -> str:
    """Command, machine and load, before a measurement."""
    return f"command: {' '.join(sys.orig_argv)}\nmachine: {machine()}\nload: {load()}"


def load() -> str:
    """Load averages of 1 and 5 minutes."""
    one, five, _ = os.getloadavg()
    return f"{one:.2f} (1 min) {five:.2f} (5 min)"


def pace() -> str:
    """How long starts of Python take just now, beside the machine that the targets were set on."""
    told = []
    for words, theirs_ms in STARTS_MS.items():
        took_ms = []
        for _ in range(_STARTS):
            began_s = monotonic_s()
            subprocess.run([sys.executable, "-I", "-c", words], check=True)
            took_ms.append((monotonic_s() - began_s) * 1e3)
        ours_ms = statistics.median(took_ms)
        told.append(
            f"`python -c '{words}'` {ours_ms:.1f} ms ({ours_ms / theirs_ms:.2f} times the {theirs_ms:g}"
        )
    return f"pace: {'), '.join(told)} of the targets' machine)"


@dataclass(frozen=True, slots=True)
class Spread:
    """Some measurements of one thing."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __format__(self, how: str) -> str:
        """`median (least..most)`."""
        how = how or ".3g"
        return f"{self.median:{how}} ({min(self.values):{how}}..{max(self.values):{how}})"


def in_turn(
    pairs: int, ours: Callable[[], float], anchor: Callable[[], float]
) -> tuple[Spread, Spread, Spread]:
    """Measure both in turn; which comes first changes. Ours, the anchor, and the ratio ours / anchor."""
    mine: list[float] = []
    theirs: list[float] = []
    for turn in range(pairs):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            if which == 0:
                mine.append(ours())
            else:
                theirs.append(anchor())
    ratios = tuple(a / b for a, b in zip(mine, theirs, strict=True))
    return Spread(tuple(mine)), Spread(tuple(theirs)), Spread(ratios)


def agree(ours: dict[str, int], theirs: dict[str, int], names: Sequence[str], tolerance: float) -> float:
    """The largest relative difference of the totals. Ends the program if one is beyond the tolerance."""
    worst = 0.0
    for name in names:
        off = abs(ours[name] - theirs[name]) / max(abs(theirs[name]), 1)
        if off > tolerance:
            sys.exit(f"{name}: ours {ours[name]:,}, the twin's {theirs[name]:,}: apart by {off:.1e}")
        worst = max(worst, off)
    return worst


def met(value: float, target: float, *, at_most: bool = False) -> str:
    """Whether a target is met, in a word."""
    return "met" if (value <= target if at_most else value >= target) else "MISSED"
