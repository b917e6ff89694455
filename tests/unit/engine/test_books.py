"""The rows of a run are those of a live market, though most of their text is made only once."""

from __future__ import annotations

import json
from dataclasses import replace

from energymarket.core.matching import VoidClaim
from energymarket.core.parameters import Rule
from energymarket.core.refusals import Refusal
from energymarket.core.totals import TOTALS, Totals
from energymarket.engine.books import TOTALS_TEXT, MetaText
from energymarket.market import snapshot
from tests.unit.core.made_market import CALM, FIRST, fresh

EVERYONE = ((1, 4, "all"),)
LATE = ((1, 2, 'a "shard"'), (3, 2, "Ä"))
VOIDS = (VoidClaim(1, 0, 3, 250, Refusal.OFFER_UNKNOWN),)


def test_what_a_row_says_of_its_slot_is_what_a_market_writes() -> None:
    """In turn: the same again, other contributions, other batches, a void claim, another model, and back."""
    opening = fresh().open_slot(FIRST, CALM)
    other = replace(opening, model=replace(opening.model, gamma=0.25))
    said = MetaText(Rule.QUEUE)
    for now, batches, voids, contributions in (
        (opening, EVERYONE, (), ()),
        (opening, EVERYONE, (), (0.1 + 0.2, -0.0)),
        (opening, LATE, (), (1e-300, 7.0)),
        (opening, LATE, VOIDS, (1e-300, 7.0)),
        (other, LATE, VOIDS, (0.0, 0.0)),
        (opening, EVERYONE, (), (0.0, 0.0)),
    ):
        meta = snapshot.meta_of(
            now, batches, voids, rule=Rule.QUEUE, contributions=contributions, reloaded=None
        )
        assert said.of(now, batches, voids, contributions) == json.dumps(meta)


def test_totals_are_written_as_json_writes_them() -> None:
    """All of them, in order, also below zero and beyond 64 bits."""
    totals = Totals(*(number**13 * (-1) ** number for number in range(len(TOTALS))))
    assert TOTALS_TEXT % tuple(totals.by_name().values()) == json.dumps(totals.by_name())
