"""Whether what a scenario leaves behind the gate is enough, and what would be."""

from __future__ import annotations

import logging

import pytest

from energymarket.market.pace import CLOSES_KEPT, Pace
from energymarket.market.timetable import Timetable

SECOND = Timetable(900, 900.0, 0.5, 0.8)  # a slot of a second: 200 ms behind the gate


@pytest.mark.parametrize(
    ("close_ms", "better"),
    [
        (0, None),
        (200, None),
        (240, (0.34, 0.64)),  # 1.5 times as much: the gate 160 ms earlier, the exchange too
        (334, (0.2, 0.5)),
        (5_000, (0.2, 0.5)),  # no slot is that long: homes keep half of it
    ],
)
def test_a_gate_that_leaves_room_to_close(close_ms: int, better: tuple[float, float] | None) -> None:
    """Worked out by hand for a slot of one second."""
    assert SECOND.earlier(close_ms * 10**6) == better


def test_a_slot_that_is_never_closed_in_time_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """One that is in time among the last eight is enough to say nothing; the word names what would do."""
    pace = Pace(SECOND)
    with caplog.at_level(logging.WARNING):
        for close_ms in (150, *([240] * (CLOSES_KEPT - 1))):
            pace.closed(close_ms * 10**6)
        assert not caplog.records
        for _ in range(3):
            pace.closed(250 * 10**6)
    (said,) = caplog.messages
    assert "takes 0.24 s" in said
    assert "exchange_until = 0.34 and gate_at = 0.64" in said
