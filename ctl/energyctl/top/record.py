"""One refresh of the live view as a document: what a program reads, and what the screen is drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from energyctl.top.processes import Use
from energyctl.top.slots import Slots

RESTARTS: Final = ("units", "external", "market")


class Before:
    """What the last refresh has seen: rates are differences."""

    __slots__ = ("at_s", "cpu_s", "ledger")

    def __init__(self) -> None:
        self.at_s: float | None = None
        self.cpu_s: dict[tuple[int, str], float] = {}
        self.ledger: list[tuple[float, int, int]] = []  # when, slots done, bytes


GROWTH_S: Final = 60.0
"""The ledger's growth is that of so many seconds: it grows in steps of pages and of its log."""


def record_of(
    slots: Slots,
    status: Mapping[str, Any] | None,
    problem: str,
    uses: Sequence[Use],
    unit_restarts: int,
    before: Before,
    now_s: float,
) -> dict[str, Any]:
    """The figures of now. `status` is None where the market does not answer, and `problem` says why."""
    said = status or {}
    snapshot = slots.last
    homes = int(said.get("homes") or snapshot.get("homes") or 0)
    rate, reached = slots.rate_per_s(now_s), slots.reached_speed(now_s)
    own_bytes = sum(use.own_bytes for use in uses if use.is_of_homes)
    market = said.get("market") or {}
    return {
        "type": "top",
        "state": said.get("state") if status is not None else "unreachable",
        "problem": problem or None,
        "notes": list(said.get("notes") or ()),
        "slot": snapshot.get("slot"),
        "time": snapshot.get("time"),
        "local_time": snapshot.get("local_time"),
        "homes": homes,
        "homes_joined": said.get("homes_joined"),
        "slots_per_s": _rounded(rate),
        "home_slots_per_s": None if rate is None else round(rate * homes, 1),
        "speed": snapshot.get("speed"),
        "speed_reached": _rounded(reached),
        "lateness": slots.lateness() | {"overdue_ms": said.get("late_ms")},
        "per_slot": {name: _rounded(mean) for name, mean in slots.means(now_s).items()},
        "counts": said.get("counts"),
        "queue": said.get("queue"),
        "transactions": said.get("transactions"),
        "ledger": _ledger(said, before, now_s),
        "memory": {
            "resident_bytes": sum(use.resident_bytes for use in uses),
            "own_bytes": sum(use.own_bytes for use in uses),
            "homes_own_bytes": own_bytes,
            "own_bytes_per_home": round(own_bytes / homes) if homes and own_bytes else None,
        },
        "restarts": {
            "units": unit_restarts,
            "external": max(0, int(market.get("external_starts") or 1) - 1),
            "market": max(0, int(market.get("generation") or 1) - 1),
        },
        "processes": _processes(uses, before, now_s),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _ledger(said: Mapping[str, Any], before: Before, now_s: float) -> dict[str, Any]:
    """Size and growth, per second and per slot."""
    size = (said.get("ledger") or {}).get("bytes")
    done = (said.get("counts") or {}).get("slots_done")
    found: dict[str, Any] = {"bytes": size, "bytes_per_s": None, "bytes_per_slot": None}
    if not isinstance(size, int) or not isinstance(done, int):
        return found
    if before.ledger and done < before.ledger[-1][1]:
        before.ledger.clear()  # another market
    before.ledger.append((now_s, done, size))
    while len(before.ledger) > 2 and now_s - before.ledger[1][0] > GROWTH_S:
        before.ledger.pop(0)
    at_s, done_then, size_then = before.ledger[0]
    if now_s > at_s:
        found["bytes_per_s"] = round((size - size_then) / (now_s - at_s), 1)
    if done > done_then:
        found["bytes_per_slot"] = round((size - size_then) / (done - done_then), 1)
    return found


def _processes(uses: Sequence[Use], before: Before, now_s: float) -> list[dict[str, Any]]:
    """A row per process; `cpu` is its share of one processor since the last refresh."""
    passed_s = None if before.at_s is None else now_s - before.at_s
    rows = []
    for use in uses:
        then_s = before.cpu_s.get((use.pid, use.start))
        cpu = None
        if passed_s and then_s is not None:
            cpu = round(max(0.0, use.cpu_s - then_s) / passed_s, 4)
        rows.append(
            {
                "name": use.name,
                "pid": use.pid,
                "cpu": cpu,
                "cpu_s": round(use.cpu_s, 2),
                "resident_bytes": use.resident_bytes,
                "own_bytes": use.own_bytes,
            }
        )
    before.at_s = now_s
    before.cpu_s = {(use.pid, use.start): use.cpu_s for use in uses}
    return rows
