"""Receipts of batches that the ledger holds: built again from the slot's columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from energymarket.core import ledger
from energymarket.core.records import RECEIPT_COLUMNS
from energymarket.market.audit_chain import sound_slot
from energymarket.wire import batch as batch_wire

if TYPE_CHECKING:
    from energymarket.transport.store import LedgerStore


def stands_in(store: LedgerStore, slot: int, key: tuple[int, int, str]) -> bool:
    """Whether a batch (first home, count, id) stands in a committed slot."""
    row = sound_slot(store, slot)
    return row is not None and list(key) in json.loads(row.meta)["batches"]


def from_ledger(store: LedgerStore, slot: int, first: int, count: int) -> bytearray | None:
    """The packed receipt of a range of homes in a committed slot; None once its detail is compacted."""
    row = store.slot(slot)
    if row is None or row.body is None:
        return None
    _, columns, _, _ = ledger.unpack(row.body)
    home = columns["home"]
    low, high = np.searchsorted(home, (first, first + count))
    at = home[low:high] - first
    contract = (
        columns["given_wh"]
        + columns["expired_wh"]
        - columns["received_wh"]
        + columns["sold_wh"]
        - columns["bought_wh"]
    )
    facts = columns | {"imbalance_wh": columns["exported_wh"] - columns["imported_wh"] - contract}
    answer = {}
    for name, kind in RECEIPT_COLUMNS:
        column = np.zeros(count, kind)
        column[at] = facts[name][low:high]
        answer[name] = column
    return batch_wire.pack_receipt(answer, slot=slot, epoch=0, first=first)
