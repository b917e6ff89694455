"""The pencil scenes through the real processes: the ledger on the disk is the one computed by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from energymarket.scenario import toml
from tests.simulation.by_hand import wrong
from tests.simulation.market_place import LedgerSlot, Place
from tests.unit.scenario import pencil_ledger
from tests.unit.scenario.pencil_ledger import PencilSlot

PENCILS = [name for name in toml.shipped() if name.startswith("pencil-")]

SLOTS_S = (0.45, 2.0)
"""How long a slot lasts; the second where the machine was too busy for the first and said so."""


def _too_late(
    ledger: dict[int, LedgerSlot], scenario: toml.Scenario, wanted: Mapping[int, PencilSlot]
) -> bool:
    """Whether batches came after the gate, or not at all, or offers were shed, that the scene did not plan.

    A batch that is late for the last slot has no slot to be told with: it is a row that is not there.
    """
    if any(slot.homes.keys() - ledger[k].homes.keys() for k, slot in wanted.items() if k in ledger):
        return True
    planned = sum(len(home.scene.late_slots) for home in scenario.homes)
    late = sum(slot.notes["late_batches"] for slot in ledger.values())
    return late != planned or any(slot.notes["shed_offers"] for slot in ledger.values())


def _play(place: Place, scenario: toml.Scenario, wanted: Mapping[int, PencilSlot]) -> dict[int, LedgerSlot]:
    """Run the scene; on a busy machine a second time, slower: live mode promises no more than that."""
    period = scenario.market.period
    played: dict[int, LedgerSlot] = {}
    for slot_s in SLOTS_S:
        done = place.up(scenario.name, period.slots, period.slot_s / slot_s)
        assert done.returncode == 0, done.stderr
        played = place.ledger()
        if not _too_late(played, scenario, wanted):
            break
    return played


def _the_void_claim_says_why(slots: list[LedgerSlot]) -> None:
    """Slot 0 keeps one void claim: giver 1, 200 Wh, taker 2, OfferUnknown."""
    (void,) = slots[0].notes["voids"]
    assert (void["giver"], void["taker"], void["energy_wh"], void["reason"]) == (1, 2, 200, "OfferUnknown")
    assert [slot.head.void_claims for slot in slots[:2]] == [1, 0]


def _the_late_batch_is_told_by_name(slots: list[LedgerSlot], first: int) -> None:
    """The batch of slot 1 comes after the commit: slot 2 tells of one late batch, home 1, GateClosed."""
    assert [slot.notes["late_batches"] for slot in slots] == [0, 0, 1]
    (refusal,) = slots[2].notes["refusals"]
    assert refusal == {"first": 1, "count": 1, "reason": "GateClosed", "detail": f"slot {first + 1}"}


@pytest.mark.parametrize("name", PENCILS)
def test_a_pencil_scene_through_the_real_processes_ends_as_computed_by_hand(place: Place, name: str) -> None:
    """Every row, sum and price of the file's comment is in the ledger; the checker finds nothing wrong.

    A claim without an offer and a late batch are told with the slot, by name.
    """
    scenario, _ = toml.read(name)
    assert scenario is not None
    first = scenario.market.period.first_slot
    wanted = {first + k: slot for k, slot in pencil_ledger.read(scenario.text).items()}
    played = _play(place, scenario, wanted)
    assert sorted(played) == sorted(wanted) != []
    assert {k: wrong(played[k], slot) for k, slot in wanted.items()} == {k: [] for k in wanted}
    if name == "pencil-phantom-claim":
        _the_void_claim_says_why(list(played.values()))
    if name == "pencil-late":
        _the_late_batch_is_told_by_name(list(played.values()), first)
    place.compile(name)
    checked = place.check()
    assert checked.returncode == 0, checked.stdout
    assert place.processes() == []
    assert not place.run.exists()
