"""The expected ledger in the comment of a pencil scene: lines `#= slot row column value`."""

from __future__ import annotations

from dataclasses import dataclass, field

Rows = dict[int, dict[str, int]]


@dataclass
class PencilSlot:
    """What a slot has to be: rows of homes, sums, facts of the market; absent homes have no row."""

    homes: Rows = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)
    market: dict[str, int] = field(default_factory=dict)
    absent: set[int] = field(default_factory=set)


def read(text: str) -> dict[int, PencilSlot]:
    """Slot (counted from 0) -> what it has to be."""
    slots: dict[int, PencilSlot] = {}
    for line in text.splitlines():
        if not line.startswith("#= "):
            continue
        number, row, column, value = line.removeprefix("#= ").split()
        slot = slots.setdefault(int(number), PencilSlot())
        if row == "total":
            slot.total[column] = int(value)
        elif row == "market":
            slot.market[column] = int(value)
        elif (column, value) == ("row", "0"):
            slot.absent.add(int(row))
        else:
            slot.homes.setdefault(int(row), {})[column] = int(value)
    return slots
