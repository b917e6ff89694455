"""Registers as growth: the same slot to the byte, refused where they grow from another reading."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from energymarket.core.admission import READING_COLUMNS
from energymarket.core.heard import Heard
from energymarket.core.inputs import Before, Inputs, World, pack
from energymarket.core.limits import REGISTER_JUMP_WH_MAX, REGISTER_WH_MAX
from energymarket.core.parameters import Rule
from energymarket.core.refusals import Refusal
from tests.unit.core.made_market import CALM, FIRST, HOMES, Meters, fresh, play

if TYPE_CHECKING:
    from energymarket.core.market import Market
    from energymarket.core.settlement import Batch

FLOWED = (300, -200, 0, 40)
SECOND = (-127, 20_000, 128, -40_000)


def grown(batch: Batch, market: Market, since: int = FIRST, narrow: type = np.int32) -> Batch:
    """What a batch says, its registers as growth since what the market knows."""
    before, here = market.accounts.readings, slice(batch.first - 1, batch.first - 1 + batch.count)
    columns = dict(batch.columns)
    for name in READING_COLUMNS:
        columns[name] = (batch.columns[name] - getattr(before, name)[here]).astype(narrow)
    total = sum(int(batch.columns[name].sum()) for name in READING_COLUMNS)
    return replace(batch, columns=columns, since=since, registers=total % 2**64)


def after_one_slot() -> tuple[Market, Meters]:
    """A market that has read all meters once."""
    market, meters = fresh(), Meters()
    meters.run(FLOWED)
    play(market, FIRST, meters.batch(sold_wh=(300, 0, 0, 40), bought_wh=(0, 200, 0, 0)))
    meters.run(SECOND)
    return market, meters


@pytest.mark.parametrize("rule", [Rule.QUEUE, Rule.STATIC_KEY])
def test_growth_settles_as_whole_registers_do(rule: Rule) -> None:
    """Two slots, in two ranges of which one still says whole registers: hash, readings and record agree."""
    found = []
    for growing in (False, True):
        market, meters = after_one_slot()
        market.rules = replace(market.rules, sharing=rule)
        batches = [meters.batch(1, 1), meters.batch(2, 3, bought_wh=(0, 0, 10), sold_wh=(9_000, 100, 0))]
        if growing:
            batches[1] = grown(batches[1], market)
        closed = play(market, FIRST + 1, *batches)
        world = World(FIRST + 1, 0, raining=False, weather_stale=False, sample=None, import_ueur_per_kwh=0,
                      export_ueur_per_kwh=0)  # fmt: skip
        before = Before(after_one_slot()[0].accounts.readings, np.zeros(HOMES, np.uint8))
        record = pack(Inputs(world, batches=tuple(batches), shed=(0, 0)), before)
        meters.run(FLOWED)
        last = meters.batch()
        third = play(market, FIRST + 2, grown(last, market, FIRST + 1) if growing else last)
        read = [column.tolist() for column in market.accounts.columns()]
        found.append((closed.body, record, third.hash, read))
    assert found[0] == found[1]


def wrong_since(batch: Batch) -> Batch:
    """It grows from a slot that the market has not heard of."""
    return replace(batch, since=FIRST - 1)


def wrong_sum(batch: Batch) -> Batch:
    """A home's register is one less than what it grew from and by."""
    return replace(batch, registers=batch.registers - 1)


def backwards(batch: Batch) -> Batch:
    """A register has shrunk."""
    return replace(batch, columns={**batch.columns, "import_wh": np.array([0, -1, 0, 0], np.int8)})


def jump(batch: Batch) -> Batch:
    """A register has grown by more than a home can move."""
    much = np.array([0, 0, 0, REGISTER_JUMP_WH_MAX + 1], np.int32)
    return replace(batch, columns={**batch.columns, "export_wh": much})


@pytest.mark.parametrize(
    ("spoil", "refusal"),
    [
        (wrong_since, Refusal.REGISTERS_UNKNOWN),
        (wrong_sum, Refusal.REGISTERS_UNKNOWN),
        (backwards, Refusal.REGISTER_RUNS_BACKWARDS),
        (jump, Refusal.REGISTER_JUMPS),
    ],
)
def test_growth_that_cannot_be_is_refused_and_whole_registers_are_taken(
    spoil: object, refusal: Refusal
) -> None:
    """Each guard by its name; the same slot, said whole, is then booked."""
    market, meters = after_one_slot()
    market.open_slot(FIRST + 1, CALM)
    batch = meters.batch()
    assert market.hear_batch(spoil(grown(batch, market))) == [refusal]  # type: ignore[operator]
    assert market.hear_batch(batch) == []


def test_homes_that_were_last_heard_in_different_slots_cannot_grow() -> None:
    """One of the range missed the last slot, so that no slot is right for all."""
    market, meters = after_one_slot()
    play(market, FIRST + 1, meters.batch(1, 3))
    market.open_slot(FIRST + 2, CALM)
    assert market.hear_batch(grown(meters.batch(), market, FIRST + 1)) == [Refusal.REGISTERS_UNKNOWN]
    assert market.hear_batch(grown(meters.batch(), market, FIRST)) == [Refusal.REGISTERS_UNKNOWN]


def test_a_register_does_not_grow_beyond_its_end() -> None:
    """A meter just below the largest register that there is: one more Wh is refused."""
    market, meters = fresh(), Meters()
    market.accounts.readings.import_wh[2] = REGISTER_WH_MAX - 128
    market.accounts.heard = Heard(HOMES, FIRST)
    meters.import_wh[2] = REGISTER_WH_MAX - 128
    meters.run((0, 0, -128, 0))
    market.open_slot(FIRST + 1, CALM)
    assert market.hear_batch(grown(meters.batch(), market)) == []
    meters.run((0, 0, -1, 0))
    assert market.hear_batch(grown(meters.batch(), market)) == [Refusal.REGISTER_OUT_OF_RANGE]
