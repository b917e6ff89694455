"""What the record of a slot's inputs need not say, because the body of the slot says it already.

A body has what flowed, how each offer ended, and the gifts that counted. From that, all that the batches
stated can be read back, if every claim counted and nothing was said that settlement has cut down: then
`follows` is true, and the record says of each batch only whose it was, and its policies. The claims of a
batch are read back by (giver, index): in which order they came, no result depends on, and is not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from energymarket.core import ledger
from energymarket.core.admission import READING_COLUMNS
from energymarket.core.packed import CorruptError
from energymarket.core.rows import rows_of
from energymarket.core.settlement import FLOWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from energymarket.core.settlement import Batch, Settlement
    from energymarket.core.units import I64

    Tables: TypeAlias = dict[str, dict[str, I64]]
    Head: TypeAlias = tuple[int, int, int, int, str]  # first home, count, claims, shed offers, id

SAID_BY_THE_BODY: Final = frozenset(
    {("batch", name) for name in (*READING_COLUMNS, "offered_wh", "returned_wh", "sold_wh", "bought_wh")}
    | {("claim", name) for name in ("giver", "taker", "energy_wh", "index", "flags")}
)
"""Columns of a record of inputs that `read_back` has from the body."""


class NotFollowing(CorruptError):
    """The body is not of a slot in which these batches were handed in: in what."""

    thing = "body of the slot"


def follows(batches: Sequence[Batch], settled: Settlement) -> bool:
    """Whether `read_back` finds in the body of this settlement what these batches, as they came, stated.

    Only of a slot whose batches were settled as they came (`Rule.QUEUE`).
    """
    if settled.void_claims:
        return False
    home, returned_wh = settled.columns["home"], settled.columns["returned_wh"]
    for batch in batches:
        rows = rows_of(home, batch.first, batch.count)
        if not np.array_equal(batch.columns["returned_wh"], returned_wh[rows]):
            return False  # more was taken back than was left
        if batch.claims_seen().flagged:
            return False
    return True


def read_back(body: bytes | None, batches: Sequence[Head]) -> Tables:
    """The columns of SAID_BY_THE_BODY, batch after batch.

    Raises LedgerCorrupt, and NotFollowing where there is no body, or one of other homes or gifts.
    """
    if body is None:
        raise NotFollowing("it is not there", 0)
    _, columns, gifts, orders = ledger.unpack(body)
    stated = dict(zip(READING_COLUMNS, (columns[flow] for flow in FLOWS), strict=True))
    parts = ("given_wh", "returned_wh", "rest_sold_wh", "expired_wh")
    stated["offered_wh"] = sum((columns[name] for name in parts), np.zeros_like(columns["home"]))
    stated["returned_wh"] = columns["returned_wh"]
    row = np.searchsorted(columns["home"], orders["home"])
    stated["sold_wh"] = columns["sold_wh"] - columns["rest_sold_wh"]
    np.subtract.at(stated["sold_wh"], row, np.maximum(orders["energy_wh"], 0))
    stated["bought_wh"] = columns["bought_wh"].copy()
    np.subtract.at(stated["bought_wh"], row, np.maximum(-orders["energy_wh"], 0))
    rows = [*_rows(columns["home"], batches)]
    taken = [*_taken(gifts["taker"], batches)]
    claims = gifts | {"flags": np.zeros_like(gifts["giver"])}
    return {
        "batch": {name: _gathered(column, rows) for name, column in stated.items()},
        "claim": {name: _gathered(column, taken) for name, column in claims.items()},
    }


def _rows(home: I64, batches: Sequence[Head]) -> Iterator[slice]:
    for first, count, *_ in batches:
        rows = rows_of(home, first, count)
        if not np.array_equal(home[rows], np.arange(first, first + count)):
            raise NotFollowing(f"not all of the homes {first} to {first + count - 1} have a row", 0)
        yield rows


def _taken(taker: I64, batches: Sequence[Head]) -> Iterator[npt.NDArray[np.intp]]:
    for first, count, claims, *_ in batches:
        found = np.flatnonzero((taker >= first) & (taker < first + count))
        if len(found) != claims:
            raise NotFollowing(f"batch of home {first} has {len(found)} gifts, not {claims}", 0)
        yield found


def _gathered(column: I64, parts: Sequence[Any]) -> I64:
    return np.concatenate([column[part] for part in parts]) if parts else np.zeros(0, np.int64)
