"""A record that follows from its slot's body says what the batches said, or does not follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core import ledger
from energymarket.core.following import follows
from energymarket.core.inputs import Asked, Before, Inputs, InputsCorrupt, World, is_following, pack, unpack
from energymarket.core.records import BATCH_COLUMNS
from energymarket.core.settlement import Batch, Readings, settle
from tests.unit.core.made_batches import GIVE, Claim, Home, P, batch_of, cut, orders_of, slots

WORLD = World(7, 0, raining=False, weather_stale=False, sample=None,
              import_ueur_per_kwh=0, export_ueur_per_kwh=0)  # fmt: skip


@dataclass(frozen=True)
class Slot:
    """A settled slot: what came, its body, and whether it is claimed that one says the other."""

    inputs: Inputs
    before: Before
    body: bytes
    follows: bool

    def read_back(self, body: bytes | None = None) -> tuple[Batch, ...]:
        """The batches as the short record and a body say them."""
        record = pack(self.inputs, self.before, follows=True)
        assert is_following(record)
        assert not is_following(pack(self.inputs, self.before))
        return unpack(record, self.before, self.body if body is None else body).batches


def slot_of(batches: list[Batch], orders: list[tuple[int, int, int]], homes: int) -> Slot:
    """What a market makes of them."""
    readings = Readings.zero(homes)
    columns = orders_of(*orders)
    settled = settle(readings, batches, columns, P, homes)
    body = ledger.pack(ledger.SlotHead(7, 0, 0, 0, 0, 0, 0), settled.columns, settled.gifts, columns)
    asked = tuple(Asked(home, energy, f"o{at}") for at, (home, energy, _) in enumerate(orders))
    inputs = Inputs(WORLD, batches=tuple(batches), shed=(0,) * len(batches), orders=asked)
    return Slot(inputs, Before(readings, np.zeros(homes, np.uint8)), body, follows(batches, settled))


def said(batch: Batch) -> tuple[Any, ...]:
    """All that a batch says, its claims by (giver, index, taker)."""
    columns = [(name, batch.columns[name].tolist(), batch.columns[name].dtype) for name, _ in BATCH_COLUMNS]
    return batch.id, batch.first, batch.count, columns, sorted(batch.claims.tolist()), batch.claims.dtype


@given(
    slot=slots(),
    orders=st.lists(st.tuples(st.integers(1, 9), st.sampled_from((-70, 40)), st.integers(-9, 9)), max_size=3),
    twist=st.randoms(use_true_random=False),
)
def test_what_follows_is_read_back_as_it_was_said(slot: Any, orders: Any, twist: Any) -> None:
    """Any batches in any order, some missing, with orders, also of homes alone; claims count or do not."""
    homes, claims, cuts, come, _ = slot
    orders = [each for each in orders if each[0] <= len(homes)]
    for kept in (claims, counting(homes, claims)):
        batches = [batch for batch, comes in zip(cut(homes, kept, cuts), come, strict=False) if comes]
        twist.shuffle(batches)
        made = slot_of(batches, orders, len(homes))
        if made.follows:
            assert [said(batch) for batch in made.read_back()] == [said(batch) for batch in batches]


def counting(homes: list[Home], claims: list[Claim]) -> list[Claim]:
    """Those of the claims that count where everybody hands in."""
    gifts = settle(Readings.zero(len(homes)), [batch_of(1, homes, claims)], orders_of(), P, len(homes)).gifts
    return list(
        zip(*(gifts[name].tolist() for name in ("giver", "index", "taker", "energy_wh")), strict=True)
    )


GIFT = [Home(100, GIVE, offered=100, returned=30), Home(-70)]


def test_a_usual_slot_follows() -> None:
    """Two batches, a gift from one to the other, a part taken back, an order: the body says it all."""
    batches = [batch_of(2, GIFT[1:], [(1, 0, 2, 70)]), batch_of(1, GIFT[:1])]
    made = slot_of(batches, [(2, 500, 100_000)], 2)
    assert made.follows
    assert [said(batch) for batch in made.read_back()] == [said(batch) for batch in batches]


@pytest.mark.parametrize("energy", [71, 101])
def test_what_settlement_cuts_down_does_not_follow(energy: int) -> None:
    """A claim of more than is left, so that less is taken back than was said, or of more than was offered."""
    assert not slot_of([batch_of(1, GIFT, [(1, 0, 2, energy)])], [], 2).follows


def test_a_flag_that_no_body_has_does_not_follow() -> None:
    """Claims may carry flags, gifts do not."""
    batch = batch_of(1, GIFT, [(1, 0, 2, 70)])
    batch.claims["flags"] = 1
    assert not slot_of([batch], [], 2).follows


def test_the_body_of_another_slot_is_named() -> None:
    """Without a body, with one in which a home is missing, or a gift, and with bytes that are none."""
    made = slot_of([batch_of(1, GIFT, [(1, 0, 2, 70)])], [], 2)
    others = {
        "not all of the homes": slot_of([batch_of(1, GIFT[:1])], [], 2).body,
        "has 0 gifts, not 1": slot_of([batch_of(1, GIFT)], [], 2).body,
        "ledger body": b"rubbish",
    }
    for text, body in others.items():
        with pytest.raises(InputsCorrupt, match=text):
            made.read_back(body)
    with pytest.raises(InputsCorrupt, match="it is not there"):
        unpack(pack(made.inputs, made.before, follows=True), made.before)


def test_a_record_that_follows_says_no_energy() -> None:
    """However much was traded, it is as long as that of a slot in which nothing was."""
    busy = slot_of([batch_of(1, GIFT, [(1, 0, 2, 70)])], [], 2)
    idle = slot_of([batch_of(1, [Home(policy=GIVE), Home()])], [], 2)
    assert busy.follows
    assert len(pack(busy.inputs, busy.before, follows=True)) == len(
        pack(idle.inputs, idle.before, follows=True)
    )
