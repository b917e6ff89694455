"""The limits of the market, one page: each with its unit and its reason.

Together they make an overflow of int64 impossible: whatever passes `settlement.check` can be added up
for the largest neighbourhood at the highest price.
"""

from __future__ import annotations

from typing import Final

HOMES_MAX: Final = 4_000_000
"""Homes of one market: four times the million that one machine is asked to carry."""

SLOT_S_MAX: Final = 3_600
"""Length of a slot: balancing markets settle by the hour at the coarsest."""

POWER_W_MAX: Final = 10_000_000
"""Power of one home: ten megawatts is a small town on one meter, more is a typing error."""

ENERGY_WH_MAX: Final = POWER_W_MAX * SLOT_S_MAX // 3_600
"""Each of a home's offer, return, sale, purchase and sum of claims in one slot: full power, longest slot."""

ORDERS_PER_HOME_MAX: Final = 10
"""Single orders of one home in one slot, each of at most ENERGY_WH_MAX: a person clicks, a fleet batches."""

REGISTER_WH_MAX: Final = 10**15
"""A cumulative register: full power for eleven thousand years; differences of two fit int64."""

REGISTER_JUMP_WH_MAX: Final = 10**9
"""Growth of a register between two readings: a 30 kW home that was away for nearly four years.

The imbalance of a slot, jump plus everything agreed, then still fits the receipt's int32.
"""

CLAIMS_PER_HOME_MAX: Final = 2
"""Claims of one slot per home of the market: a claim uses up its offer or its taker's need."""

INDEX_MAX: Final = 65_535
"""Index of an offer's part (u2 in the records): an offer is split at most so often in one slot."""

PRICE_UEUR_PER_KWH_MAX: Final = 100_000_000
"""Any price, either sign: 100 €/kWh, 25 times what the European day-ahead auction allows (4 €/kWh)."""

NAME_BYTES_MAX: Final = 63
"""Name of a term or of a kind of event, in UTF-8."""
