"""Every record that travels between processes or rests in the ledger, once: its array schema.

All little-endian and free of padding, so that the same bytes are the message, the file and the
hash's input. Home ids start at 1.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np


class Policy(IntEnum):
    """What a home does with its surplus."""

    GIVE = 1
    SELL = 2
    GIVE_THEN_SELL = 3


class Phase(IntEnum):
    """Where a slot is, as the clock page says it."""

    STARTING = 0
    EXCHANGE = 1
    TRADE = 2
    CLEARING = 3
    ENDED = 4
    STOPPED = 5


class OfferState(IntEnum):
    """How an offer ended. Exactly one holds."""

    TAKEN = 1
    RETURNED = 2
    SOLD = 3
    EXPIRED = 4


OFFER: Final = np.dtype(
    [
        ("giver", "<u4"),  # home id
        ("energy_wh", "<u4"),
        ("index", "<u2"),  # 0 as offered; a rest is its parent's index + 1
        ("flags", "<u2"),  # 0; reserved
        ("position", "<u4"),  # ring position of the giver in this slot
    ]
)
"""An offer of a gift as it lies in the queue. (giver, slot, index) is its id."""

CLAIM: Final = np.dtype(
    [
        ("giver", "<u4"),
        ("taker", "<u4"),
        ("energy_wh", "<u4"),
        ("index", "<u2"),  # of the offer that was taken
        ("flags", "<u2"),
    ]
)
"""A gift that a taker says it has taken."""

BATCH_COLUMNS: Final[tuple[tuple[str, np.dtype], ...]] = (
    # cumulative registers at the end of the slot
    ("production_wh", np.dtype("<i8")),
    ("consumption_wh", np.dtype("<i8")),
    ("import_wh", np.dtype("<i8")),
    ("export_wh", np.dtype("<i8")),
    # what was agreed or asked in this slot
    ("offered_wh", np.dtype("<i4")),  # put up as gift
    ("returned_wh", np.dtype("<i4")),  # of it, taken back from the queue
    ("sold_wh", np.dtype("<i4")),  # order to sell, what was taken back included
    ("bought_wh", np.dtype("<i4")),  # order to buy
    ("policy", np.dtype("u1")),  # decides what becomes of an unclaimed rest
)
"""A batch: one value per home of the range in each column, then the claims."""

RECEIPT_COLUMNS: Final[tuple[tuple[str, np.dtype], ...]] = (
    ("given_wh", np.dtype("<i4")),  # taken by others
    ("returned_wh", np.dtype("<i4")),
    ("rest_sold_wh", np.dtype("<i4")),  # sold by the market at the gate
    ("expired_wh", np.dtype("<i4")),
    ("received_wh", np.dtype("<i4")),  # claims that counted
    ("imbalance_wh", np.dtype("<i4")),  # metered net minus contract: below zero is short
    ("money_ueur", np.dtype("<i8")),  # above zero is income
)
"""The answer to a batch: how the slot ended for each home of the range."""

SLOT_COLUMNS: Final[tuple[str, ...]] = (
    "home",
    "produced_wh",  # register differences since the home's last committed reading
    "consumed_wh",
    "imported_wh",
    "exported_wh",
    "given_wh",  # offers taken by others
    "returned_wh",  # offers taken back
    "rest_sold_wh",  # offers sold by the market at the gate
    "expired_wh",  # offers fed in unpaid: given to the grid
    "received_wh",
    "sold_wh",  # all sales at p: orders, returned and rest_sold included
    "bought_wh",
    "money_ueur",  # the home's balance of the slot: above zero is income
)
"""Columns of a slot in the ledger, int64 in memory: a row per home with a reading or an order, by home."""

GIFT_COLUMNS: Final[tuple[str, ...]] = ("giver", "index", "taker", "energy_wh")
"""Claims that counted, sorted by (giver, index)."""

ORDER_COLUMNS: Final[tuple[str, ...]] = ("home", "energy_wh", "total_ueur")
"""Single orders in order of receipt: energy and total are above zero for a sale, below for a purchase."""

REGISTERS: Final[tuple[str, ...]] = (
    "production_wh",
    "consumption_wh",
    "import_wh",
    "export_wh",
    "battery_in_wh",
    "battery_out_wh",
    "losses_wh",
    "given_wh",
    "received_wh",
)
"""Cumulative registers of a home (int64), kept in a file that the market never reads."""
