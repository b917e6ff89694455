"""When a slot's exchange and gate end: as the scenario says, and earlier where closing takes longer."""

from __future__ import annotations

import pytest

from energymarket.market.timetable import Timetable

SECOND = 10**9


@pytest.mark.parametrize(
    ("close_ms", "exchange_ms", "gate_ms"),
    [
        (0, 500, 800),  # nothing is known yet
        (160, 500, 800),  # 1.25 times as much is just what is left behind the gate
        (320, 375, 600),  # 400 ms are needed; the exchange keeps five eighths of what is before the gate
        (400, 312.5, 500),
        (5_000, 312.5, 500),  # no slot is that long: homes keep half of it
    ],
)
def test_the_gate_leaves_room_to_close(close_ms: float, exchange_ms: float, gate_ms: float) -> None:
    """A slot of one second, exchange until half of it and gate at four fifths, opened at second 7."""
    found = Timetable(900, 900.0, 0.5, 0.8).moments(7 * SECOND, round(close_ms * 1e6))
    assert found.open_ns == 7 * SECOND
    assert found.exchange_ns == pytest.approx(7 * SECOND + exchange_ms * 1e6, abs=2)
    assert found.gate_ns == pytest.approx(7 * SECOND + gate_ms * 1e6, abs=2)
    assert found.next_open_ns == 8 * SECOND


def test_a_gate_that_is_early_enough_stays() -> None:
    """A scenario that leaves half of the slot gets what it says, however long closing takes."""
    found = Timetable(900, 900.0, 0.2, 0.3).moments(0, 10 * SECOND)
    assert (found.exchange_ns, found.gate_ns) == (0.2 * SECOND, 0.3 * SECOND)
