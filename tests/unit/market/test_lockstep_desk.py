"""What watchers are shown in lockstep: ten slots a second, and always the last one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from energymarket.core.records import Phase
from energymarket.market import lockstep_desk
from energymarket.market.lockstep_desk import LockstepControl

MS = 1_000_000


class Shown(LockstepControl):
    """A desk whose snapshots are numbers, and which notes what it tells."""

    def __init__(self) -> None:
        owner: Any = SimpleNamespace(phase=Phase.EXCHANGE)
        nothing: Any = None
        super().__init__(owner, nothing, nothing, nothing, "")
        self.slot = 0
        self.told: list[int] = []

    def note_commit(self, now_ns: int) -> None:
        """Settle another slot."""
        del now_ns
        self.slot += 1
        self.shown = {"slot": self.slot}

    def tell(self, answer: dict[str, Any], *, only: set[int] | None = None) -> None:
        """Note which slot is told."""
        del only
        self.told.append(answer["snapshot"]["slot"])

    def _tell_phase(self, *, everybody: bool) -> None:
        del everybody


def test_of_slots_in_quick_succession_the_last_is_shown_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One per ms: the first at once, the 101st when 100 ms are over, then the 150th when it is asked for."""
    now = SimpleNamespace(ns=1_000 * MS)
    monkeypatch.setattr(lockstep_desk, "boottime_ns", lambda: now.ns)
    desk = Shown()
    for _ in range(150):
        desk.publish_commit()
        now.ns += MS
    assert desk.told == [1, 101]
    assert desk.due_ns == 1_200 * MS
    desk.publish_due(1_199 * MS)
    desk.publish_due(1_200 * MS)
    assert desk.told == [1, 101, 150]
    assert desk.due_ns is None


@pytest.mark.parametrize("phase", [Phase.ENDED, Phase.STOPPED])
def test_at_the_end_nothing_is_left_unshown(phase: Phase) -> None:
    """The last slot before the market ends comes before the word that it has ended."""
    desk = Shown()
    desk.publish_commit()
    desk.publish_commit()
    desk.owner.phase = phase
    desk.publish_phase()
    assert desk.told == [1, 2]
