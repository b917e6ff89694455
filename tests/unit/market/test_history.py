"""What the control desk answers about slots that are over: the ledger's words, not today's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np

from energymarket.core.records import SLOT_COLUMNS
from energymarket.market import history
from tests.unit.core.made_market import CALM, FIRST, MODEL
from tests.unit.market.made_ledger import NETS, MadeLedger

if TYPE_CHECKING:
    from energymarket.market.owner import Owner


def test_a_sealed_slot_is_explained_by_the_events_that_acted_on_it(tmp_path: Path) -> None:
    """A storm of 1.5 acts on the second of four slots: its term and its event stand there and nowhere else.

    The book has forgotten it by then, and knows one that begins later.
    """
    made = MadeLedger(tmp_path / "ledger.db", FIRST)
    made.market.book.raise_by_operator(0, 1500, FIRST + 1, 1)
    made.play(4)
    made.market.book.forget(FIRST + 4)
    made.market.book.raise_by_operator(0, 1000, FIRST + 7)
    found = [history.explain_slot(made.store, MODEL, FIRST + at) for at in range(4)]
    told = [[(row["kind"], row["intensity_permille"]) for row in each["events"]] for each in found if each]
    assert told == [[], [("storm", 1500)], [], []]
    named = ["storm" in {term["name"] for term in each["terms"]} for each in found if each]
    assert named == [False, True, False, False]
    made.die()


def test_the_open_slot_is_explained_without_what_begins_later(tmp_path: Path) -> None:
    """A storm from the open slot on is told with its end; one of the next slot is not yet."""
    made = MadeLedger(tmp_path / "ledger.db", FIRST)
    made.market.book.raise_by_operator(0, 1500, FIRST, 3)
    made.market.book.raise_by_operator(0, 1000, FIRST + 1)
    made.market.open_slot(FIRST, CALM)
    found = history.explain_open(cast("Owner", SimpleNamespace(market=made.market, books=made.books)))
    assert found is not None
    told = [(row["intensity_permille"], row["from_slot"], row["until_slot"]) for row in found["events"]]
    assert told == [(1500, FIRST, FIRST + 3)]
    made.die()


def test_a_page_of_homes_says_what_the_last_slot_has_brought_them(tmp_path: Path) -> None:
    """By the meter, by contract and beside it: 10 Wh of home 1 were sold, home 2 bought 50 by an order."""
    made = MadeLedger(tmp_path / "ledger.db", FIRST)
    made.open(orders=True)
    closed = made.market.close_slot()
    made.market.commit_slot(closed)
    desk, nobody = SimpleNamespace(leases=[]), np.ones(4, np.int64)
    owner = SimpleNamespace(market=made.market, last=closed.for_receipts(), trade=desk, policies=nobody)
    page = history.homes(cast("Owner", owner), 1, 9)
    nets_wh = NETS[FIRST % len(NETS)]
    assert [row["net_wh"] for row in page] == list(nets_wh)
    beside_wh = [nets_wh[0] - 10, nets_wh[1] + 50, *nets_wh[2:]]
    assert [row["imbalance_wh"] for row in page] == beside_wh
    assert [(row["sold_wh"], row["bought_wh"]) for row in page] == [(10, 0), (0, 50), (0, 0), (0, 0)]
    made.die()


def test_a_row_of_a_large_home_is_added_up_in_full() -> None:
    """Energies that fit 16 bits come to more than 16 bits hold: 30,000 given, fed in and sold each."""
    columns = {name: np.zeros(1, np.int16) for name in SLOT_COLUMNS} | {"home": np.array([7], np.int32)}
    columns |= {name: np.array([30_000], np.int16) for name in ("exported_wh", "given_wh", "sold_wh")}
    (row,) = history.home_rows(columns, 1, 9)
    assert (row["net_wh"], row["imbalance_wh"]) == (30_000, -30_000)
