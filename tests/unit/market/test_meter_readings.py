"""What the market keeps of what metered homes say: of their own readings, bounded, in the slot's row."""

from __future__ import annotations

from typing import Any

from energymarket.market.meters import READINGS_MAX, Meters


def said(home: int, **changes: Any) -> dict[str, Any]:
    return {
        "home": home, "meter": "Meter_0", "estimated_s": 0, "corrected_wh": 0, "heard_s": 1_000,
    } | changes  # fmt: skip


def test_a_batch_speaks_of_its_own_homes_only() -> None:
    """What is said of another home is not kept."""
    meters = Meters()
    meters.hear(range(3, 5), [said(3), said(5), said(2)], 900)
    assert [each["home"] for each in meters.notes()["readings"]] == [3]


def test_absurd_figures_are_bounded_and_so_is_their_number() -> None:
    """A peer cannot fill a row of the ledger, nor put a number into it that no reader expects."""
    meters = Meters()
    meters.hear(
        range(1, 2),
        [said(1, estimated_s=10**12, corrected_wh=-(10**15), heard_s=-5, meter="x" * 10_000)],
        900,
    )
    assert meters.notes()["readings"] == [
        {"home": 1, "meter": "x" * 64, "estimated_s": 900, "corrected_wh": -(10**9), "heard_s": 0}
    ]
    meters.hear(range(1, 9_999), [said(home) for home in range(1, 9_999)], 900)
    assert len(meters.notes()["readings"]) == READINGS_MAX


def test_readings_are_counted_when_their_slot_is_durable_and_the_last_ones_stay() -> None:
    """Late in part, missing altogether, corrected: a batch that is handed in twice counts once."""
    meters = Meters()
    for _ in range(2):
        meters.hear(range(1, 4), [said(1, estimated_s=899), said(2, estimated_s=900, heard_s=None)], 900)
    meters.commit()
    meters.start_anew()
    assert meters.notes() == {}
    meters.hear(range(1, 4), [said(1, corrected_wh=-3)], 900)
    meters.commit()
    counts = {"readings_estimated": 1, "readings_missing": 1, "readings_corrected": 1}
    assert meters.counts() == counts
    assert [(each["home"], each["behind_s"]) for each in meters.standing(1_060)] == [(1, 60), (2, None)]
