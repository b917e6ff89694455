"""The record of a slot's inputs: what was packed is what is unpacked, and damage is named."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.events import Event, EventBook, Origin
from energymarket.core.inputs import Asked, Before, Inputs, InputsCorrupt, Refused, World, pack, unpack
from energymarket.core.limits import ENERGY_WH_MAX, REGISTER_JUMP_WH_MAX
from energymarket.core.records import BATCH_COLUMNS, CLAIM
from energymarket.core.settlement import Batch, Readings
from energymarket.core.weather import sample_of
from tests.unit.core.made_market import MODEL

HOMES = 7
REGISTERS = ("production_wh", "consumption_wh", "import_wh", "export_wh")
energies = st.one_of(st.just(0), st.integers(0, 900), st.integers(0, ENERGY_WH_MAX))
names = st.text(min_size=1, max_size=12)


@st.composite
def readings(draw: st.DrawFn) -> Readings:
    """Registers of all homes, from nothing to the largest."""
    columns = [
        np.array(draw(st.lists(st.integers(0, 10**12), min_size=HOMES, max_size=HOMES))) for _ in REGISTERS
    ]
    return Readings(*columns)


@st.composite
def batches(draw: st.DrawFn, last: Readings) -> tuple[Batch, ...]:
    """Ranges that do not overlap, in any order of arrival, with claims in any order."""
    cuts = sorted(draw(st.sets(st.integers(1, HOMES + 1), min_size=2, max_size=5)))
    made = [draw(batch(first, end - first, last)) for first, end in pairwise(cuts)]
    kept = draw(st.lists(st.sampled_from(range(len(made))), unique=True))
    return tuple(made[at] for at in kept)


@st.composite
def batch(draw: st.DrawFn, first: int, count: int, last: Readings) -> Batch:
    """A batch of a range."""
    columns: dict[str, npt.NDArray[Any]] = {}
    for name, kind in BATCH_COLUMNS:
        if name in REGISTERS:
            grown = draw(st.lists(st.integers(0, REGISTER_JUMP_WH_MAX), min_size=count, max_size=count))
            columns[name] = getattr(last, name)[first - 1 : first - 1 + count] + np.array(grown, np.int64)
        else:
            values = st.integers(1, 3) if name == "policy" else energies
            columns[name] = np.array(draw(st.lists(values, min_size=count, max_size=count)), kind)
    rows = st.tuples(*(st.integers(0, 2**32 - 1) for _ in range(3)), st.integers(0, 65_535), st.just(0))
    claims = np.array(draw(st.lists(rows, max_size=4)), CLAIM)
    return Batch(draw(names), first, count, columns, claims)


@st.composite
def records(draw: st.DrawFn) -> tuple[Inputs, Before]:
    """A record, and what it is a difference to."""
    last, anew = draw(readings()), draw(st.booleans())
    policy = np.array(draw(st.lists(st.integers(0, 3), min_size=HOMES, max_size=HOMES)), np.uint8)
    handed_in = draw(batches(last))
    book = EventBook(1, {(Origin.OPERATOR, 0, 4): Event(Origin.OPERATOR, 0, 4, 1_500, 90, None, 95)}, 4)
    world = World(
        slot=draw(st.integers(0, 2**40)),
        temperature_mc=draw(st.integers(-90_000, 60_000)),
        raining=draw(st.booleans()),
        weather_stale=draw(st.booleans()),
        sample=draw(st.one_of(st.none(), st.just(sample_of({"temperature_mc": -5, "cloud_permille": 7}, 9)))),
        import_ueur_per_kwh=draw(st.integers(-(10**8), 10**8)),
        export_ueur_per_kwh=draw(st.integers(-(10**8), 10**8)),
        book=draw(st.one_of(st.none(), st.just(book))),
        model=draw(st.one_of(st.none(), st.just(MODEL))),
    )
    orders = st.builds(Asked, st.integers(1, HOMES), st.integers(-(10**7), 10**7), names)
    refused = st.builds(
        Refused, st.integers(1, HOMES), st.integers(1, HOMES), st.integers(0, 2**40), st.just("GateClosed")
    )
    inputs = Inputs(
        world=world,
        gap=draw(st.booleans()),
        reopened=draw(st.booleans()),
        anew=anew,
        batches=handed_in,
        shed=tuple(draw(st.integers(0, 99)) for _ in handed_in),
        orders=tuple(draw(st.lists(orders, max_size=3))),
        refused=tuple(draw(st.lists(refused, max_size=3))),
        late_batches=draw(st.integers(0, 1_000)),
        shed_offers=draw(st.integers(0, 1_000)),
    )
    return inputs, Before(last, policy)


def plain(inputs: Inputs) -> tuple[object, ...]:
    """The record without arrays, which do not compare as a whole."""
    handed_in = [
        (
            (each.id, each.first, each.count, each.claims.tolist(), each.claims.dtype),
            [(name, each.columns[name].tolist(), each.columns[name].dtype) for name, _ in BATCH_COLUMNS],
        )
        for each in inputs.batches
    ]
    world, sample = inputs.world, inputs.world.sample
    facts = [getattr(world, name) for name in World.__dataclass_fields__ if name != "sample"]
    rest = [getattr(inputs, name) for name in Inputs.__dataclass_fields__ if name not in {"world", "batches"}]
    return handed_in, facts, None if sample is None else sample.tolist(), rest


@given(records())
def test_a_record_is_read_as_it_was_packed(made: tuple[Inputs, Before]) -> None:
    """Batches in the order of arrival, claims in theirs, with every type and value."""
    inputs, before = made
    assert plain(unpack(pack(inputs, before), before)) == plain(inputs)


@given(records(), st.data())
def test_a_record_that_is_cut_or_longer_is_refused_by_name(
    made: tuple[Inputs, Before], data: st.DataObject
) -> None:
    """Whatever is missing, and whatever follows, is an InputsCorrupt that says where."""
    inputs, before = made
    body = pack(inputs, before)
    cut = data.draw(st.integers(0, len(body) - 1))
    for wrong in (body[:cut], body + b"\0"):
        with pytest.raises(InputsCorrupt) as caught:
            unpack(wrong, before)
        assert "record of inputs" in str(caught.value)


@given(records(), st.data())
def test_flipped_bytes_are_read_or_refused_and_never_anything_else(
    made: tuple[Inputs, Before], data: st.DataObject
) -> None:
    """No other exception leaves the reader, and what is read is a record that packs to the same bytes."""
    inputs, before = made
    body = bytearray(pack(inputs, before))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = unpack(bytes(body), before)
    except InputsCorrupt:
        return
    assert plain(unpack(pack(read, before), before)) == plain(read)


def test_what_the_record_before_tells_takes_no_byte() -> None:
    """Policies that stay as they were cost nothing, others a byte per home."""
    last = Readings.zero(HOMES)
    columns: dict[str, npt.NDArray[Any]] = {name: np.zeros(HOMES, kind) for name, kind in BATCH_COLUMNS}
    columns["policy"][:] = 3
    world = World(5, 0, raining=False, weather_stale=False, sample=None,
                  import_ueur_per_kwh=0, export_ueur_per_kwh=0)  # fmt: skip
    inputs = Inputs(world, batches=(Batch("b", 1, HOMES, columns, np.zeros(0, CLAIM)),), shed=(0,))
    same = pack(inputs, Before(last, columns["policy"]))
    other = pack(inputs, Before(last, np.zeros(HOMES, np.uint8)))
    assert len(other) == len(same) + HOMES
