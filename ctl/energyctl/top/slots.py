"""The last slots of a market as `Watch` tells them: how fast they come, how late, and what is in them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from energyctl.render import number

KEPT_MAX: Final = 600
"""Slots that percentiles are of: ten minutes of a market with a slot a second."""
RATE_S: Final = 60.0
"""Rates are of the slots of so many seconds, or of the last two where slots are rarer."""


class Heard(NamedTuple):
    """One slot."""

    slot: int
    at_s: float  # when it was heard, on the monotonic clock
    time_s: float  # when it begins, UTC
    lateness_us: int
    homes: int
    batches: int
    orders: int
    gifts: int
    void_claims: int
    refusals: int
    late_batches: int
    shed_offers: int


class Slots:
    """Hears snapshots."""

    def __init__(self) -> None:
        self._kept: deque[Heard] = deque(maxlen=KEPT_MAX)
        self.last: dict[str, Any] = {}

    def begin(self, snapshot: dict[str, Any]) -> None:
        """Take in what holds already: nobody knows since when, so it is in no rate."""
        self.last = snapshot

    def hear(self, snapshot: dict[str, Any], now_s: float) -> bool:
        """Take in a snapshot as it comes; whether it is of a slot that was not heard yet."""
        self.last = snapshot
        slot = snapshot.get("slot")
        if snapshot.get("type") != "slot" or not isinstance(slot, int):
            return False
        if self._kept and slot <= self._kept[-1].slot:
            if slot == self._kept[-1].slot:
                return False
            self._kept.clear()  # another ledger
        totals = snapshot.get("totals") or {}
        self._kept.append(
            Heard(
                slot=slot,
                at_s=now_s,
                time_s=_seconds(str(snapshot.get("time", ""))),
                lateness_us=number(snapshot, "lateness_us"),
                homes=number(snapshot, "homes"),
                batches=number(snapshot, "batches"),
                orders=number(snapshot, "orders"),
                gifts=number(totals, "gifts"),
                void_claims=number(snapshot, "void_claims"),
                refusals=number(snapshot, "refusals"),
                late_batches=number(snapshot, "late_batches"),
                shed_offers=number(snapshot, "shed_offers"),
            )
        )
        return True

    @property
    def kept(self) -> Sequence[Heard]:
        """The last slots, oldest first."""
        return self._kept

    def rate_per_s(self, now_s: float) -> float | None:
        """Slots per second; it falls while a slot is overdue. None before the second slot."""
        found = self._recent(now_s)
        if len(found) < 2:
            return None
        steps = found[-1].slot - found[0].slot
        between_s = found[-1].at_s - found[0].at_s
        waited_s = now_s - found[-1].at_s
        if between_s <= 0:
            return None
        overdue = waited_s > 2 * between_s / steps
        return steps / (between_s + waited_s if overdue else between_s)

    def reached_speed(self, now_s: float) -> float | None:
        """Market seconds per second."""
        found, rate = self._recent(now_s), self.rate_per_s(now_s)
        if rate is None:
            return None
        slot_s = (found[-1].time_s - found[0].time_s) / (found[-1].slot - found[0].slot)
        return rate * slot_s if math.isfinite(slot_s) and slot_s > 0 else None

    def _recent(self, now_s: float) -> list[Heard]:
        recent = [each for each in self._kept if now_s - each.at_s <= RATE_S]
        return recent if len(recent) >= 2 else list(self._kept)[-2:]

    def lateness(self) -> dict[str, int | None]:
        """Of the last slot, and of all that are kept: nearest rank, in µs."""
        values = sorted(each.lateness_us for each in self._kept)
        return {
            "now_us": self._kept[-1].lateness_us if self._kept else None,
            "p50_us": percentile(values, 50),
            "p99_us": percentile(values, 99),
            "max_us": values[-1] if values else None,
            "slots": len(values),
        }

    def means(self, now_s: float) -> dict[str, float | None]:
        """What a slot of the last minute holds on the average."""
        found = self._recent(now_s) or list(self._kept)[-1:]
        names = ("batches", "orders", "gifts", "void_claims", "refusals", "late_batches", "shed_offers")
        means: dict[str, float | None] = {
            name: sum(getattr(each, name) for each in found) / len(found) if found else None for name in names
        }
        gifts, voids = means["gifts"], means["void_claims"]
        means["claims"] = None if gifts is None or voids is None else gifts + voids
        return means


def percentile(ordered: Sequence[int], percent: int) -> int | None:
    """The value that so many percent of all are not above: the nearest rank. None of nothing."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def _seconds(time: str) -> float:
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return math.nan


def is_over(snapshot: Mapping[str, Any]) -> bool:
    """Whether the market says that it has ended."""
    return snapshot.get("phase") in {"ended", "stopped"}
