"""What metered homes said of the readings in their batches: per slot for the ledger, in sum for operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

READINGS_MAX: Final = 1_000
"""Of a slot: each is of a home that is a process of its own, and so many are started at most."""
METER_CHARACTERS_MAX: Final = 64
TIME_S_MAX: Final = 4_102_444_800
SAID_WH_MAX: Final = 10**9


@dataclass(slots=True)
class Meters:
    """The readings of the slot, the last one of each home, and counts since the start."""

    of_slot: dict[int, dict[str, Any]] = field(default_factory=dict)  # by home
    last: dict[int, dict[str, Any]] = field(default_factory=dict)  # of each metered home; replaced whole
    estimated: int = 0  # readings of which a part was not there in time
    missing: int = 0  # of which nothing was there
    corrected: int = 0  # that moved by more or less than what was traded
    slot_s: int = 0

    def hear(self, homes: range, said: Sequence[Mapping[str, Any]], slot_s: int) -> None:
        """Keep what a batch of these homes says (MeterReading of the interface); of others nothing."""
        self.slot_s = slot_s
        for each in said[:READINGS_MAX]:
            home = each["home"]
            if home not in homes or (home not in self.of_slot and len(self.of_slot) >= READINGS_MAX):
                continue
            heard_s = each.get("heard_s")
            self.of_slot[home] = {
                "home": home,
                "meter": each["meter"][:METER_CHARACTERS_MAX],
                "estimated_s": min(max(each["estimated_s"], 0), slot_s),
                "corrected_wh": min(max(each["corrected_wh"], -SAID_WH_MAX), SAID_WH_MAX),
                "heard_s": None if heard_s is None else min(max(heard_s, 0), TIME_S_MAX),
            }

    def commit(self) -> None:
        """The slot is durable."""
        for each in self.of_slot.values():
            self.estimated += 0 < each["estimated_s"] < self.slot_s
            self.missing += each["estimated_s"] >= self.slot_s
            self.corrected += each["corrected_wh"] != 0
        self.last = self.last | self.of_slot

    def start_anew(self) -> None:
        """What comes now is the next slot's."""
        self.of_slot = {}

    def notes(self) -> dict[str, Any]:
        """For the slot's row in the ledger: of every metered home; nothing where there is none."""
        rows = [self.of_slot[home] for home in sorted(self.of_slot)]
        return {"readings": rows} if rows else {}

    def counts(self) -> dict[str, int]:
        """Since the start, by name."""
        return {
            "readings_estimated": self.estimated,
            "readings_missing": self.missing,
            "readings_corrected": self.corrected,
        }

    def standing(self, now_s: int) -> list[dict[str, Any]]:
        """The last reading of each metered home, and how long before now (market time) it was heard."""
        last = self.last
        return [
            each | {"behind_s": None if each["heard_s"] is None else max(0, now_s - each["heard_s"])}
            for _, each in sorted(last.items())
        ]
