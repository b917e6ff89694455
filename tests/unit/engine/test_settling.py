"""Settled columns are as narrow as most slots allow, and as wide as a large home needs."""

from __future__ import annotations

import numpy as np
import pytest

from energymarket.core import ledger
from energymarket.core.course import Lived
from energymarket.engine import api, settling
from energymarket.engine.settling import Room, Settler, Width
from energymarket.engine.track import Track, market_of

HOMES = 40


@pytest.mark.parametrize(
    ("largest_wh", "width"), [(32_767, Width.NARROW), (32_768, Width.WIDE), (9_000_000, Width.WIDE)]
)
@pytest.mark.parametrize("side", [1, -1])
def test_a_home_of_any_size_is_settled_in_columns_that_hold_it(
    monkeypatch: pytest.MonkeyPatch, largest_wh: int, width: Width, side: int
) -> None:
    """What went in comes out of the ledger, whoever is settled before and after: all in turn on one room."""
    monkeypatch.setattr(settling, "BLOCK_VALUES", 7)
    compiled = api.compiled_of("default", HOMES, None)
    track = Track(compiled, market_of(compiled, homes=0))
    first, settler, room = compiled.period.first_slot, Settler(compiled), Room(1, HOMES)
    kinds = []
    for slot, size_wh in ((first, 700), (first + 1, largest_wh), (first + 2, 700)):
        net = np.full((1, HOMES), -300, np.int32)
        net[0, 7], net[0, 30] = side * size_wh, 500
        lived = Lived(np.maximum(-net, 0), np.maximum(net, 0), net)
        track.look(range(slot, slot + 1))
        settled = settler.settle([track.open(0)], lived, room)
        track.close(0, 0)
        columns = ledger.unpack(b"".join(settled.bodies[0]))[1]
        assert (columns["exported_wh"] - columns["imported_wh"]).tolist() == net[0].tolist()
        assert columns["produced_wh"].tolist() == lived.production_wh[0].tolist()
        assert columns["consumed_wh"].tolist() == lived.consumption_wh[0].tolist()
        bought_wh = columns["imported_wh"] - columns["received_wh"]
        assert columns["bought_wh"].tolist() == bought_wh.tolist()
        for name, column in settled.passage.columns.items():
            assert column.tolist() == [columns[name].tolist()], name
        kinds.append(settled.passage.columns["imported_wh"].dtype)
    assert kinds == [Width.NARROW.of("imported_wh"), width.of("imported_wh"), width.of("imported_wh")]
