"""In what a slot differs from what the ledger has of it: head, homes, gifts, orders; the first is named."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from energymarket.core import ledger
from energymarket.core.records import GIFT_COLUMNS, ORDER_COLUMNS, SLOT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from energymarket.core.market import Closed
    from energymarket.core.units import I64
    from energymarket.transport.ledger_rows import SlotRow


def difference_of(closed: Closed, row: SlotRow) -> str:
    """The first value that differs, and how many do."""
    if row.body is None:
        return "the hash differs; the ledger's detail of this slot is gone, so that more cannot be said"
    try:
        head, *tables = ledger.unpack(row.body)
    except ledger.LedgerCorrupt as error:
        return f"the hash differs, and the ledger's own body cannot be read: {error}"
    told = list(_of_heads(closed.head, head))
    played = (closed.settlement.columns, closed.settlement.gifts, closed.orders)
    for names, key, mine, theirs in zip(
        (SLOT_COLUMNS, GIFT_COLUMNS, ORDER_COLUMNS), ("home", "giver", "home"), played, tables, strict=True
    ):
        told += _of_tables(names, key, mine, theirs)
    if not told:
        return "the hash differs, though every value of the slot is the same: so it is of another slot before"
    more = f" ({len(told)} values differ in all)" if len(told) > 1 else ""
    return told[0] + more


def _of_heads(mine: ledger.SlotHead, theirs: ledger.SlotHead) -> Iterator[str]:
    for each in fields(mine):
        here, there = getattr(mine, each.name), getattr(theirs, each.name)
        if here != there:
            yield f"{each.name} is {here} in the replay, {there} in the ledger"


def _of_tables(
    names: tuple[str, ...], key: str, mine: Mapping[str, I64], theirs: Mapping[str, I64]
) -> Iterator[str]:
    what = {SLOT_COLUMNS: "row of home", GIFT_COLUMNS: "gift of home", ORDER_COLUMNS: "order of home"}[names]
    if not np.array_equal(mine[key], theirs[key]):
        here, there = set(mine[key].tolist()), set(theirs[key].tolist())
        for home in sorted(here - there):
            yield f"the {what} {home} is in the replay, not in the ledger"
        for home in sorted(there - here):
            yield f"the {what} {home} is in the ledger, not in the replay"
        if here == there:
            yield f"the {what}s are not as many, or in another order"
        return
    for name in names:
        for at in np.flatnonzero(mine[name] != theirs[name]).tolist():
            place = f"{what} {mine[key][at]}"
            yield f"{name} in the {place} is {mine[name][at]} in the replay, {theirs[name][at]} in the ledger"
