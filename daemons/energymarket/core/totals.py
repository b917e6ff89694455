"""The totals of a slot per account, and the double entry that must cancel.

Accounts: homes, operator, grid, fees. Energy above zero has come to the account, money above zero is
its income. The homes' energy is what the registers say, the grid's is what the contracts say.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Final


class UnbalancedError(Exception):
    """A sum that must be zero is not: a bug of ours."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of a slot over all homes, exact."""

    homes: int  # rows
    gifts: int  # claims that counted
    void_claims: int
    # gifts
    offered_wh: int  # a giver's mean excess included
    taken_wh: int
    returned_wh: int
    rest_sold_wh: int
    expired_wh: int
    received_wh: int
    # registers
    produced_wh: int
    consumed_wh: int
    imported_wh: int
    exported_wh: int
    # trade and imbalance
    sold_wh: int
    bought_wh: int
    short_wh: int
    long_wh: int
    # the double entry
    homes_energy_wh: int
    operator_energy_wh: int
    grid_energy_wh: int
    fees_energy_wh: int
    homes_money_ueur: int
    operator_money_ueur: int
    grid_money_ueur: int
    fees_money_ueur: int

    def check(self) -> None:
        """Raise UnbalancedError, naming the first sum that does not cancel."""
        sums = {
            "offers that ended in no state or in two": (
                self.offered_wh - self.taken_wh - self.returned_wh - self.rest_sold_wh - self.expired_wh
            ),
            "gifts given but not received": self.taken_wh - self.received_wh,
            "energy over all accounts": (
                self.homes_energy_wh + self.operator_energy_wh + self.grid_energy_wh + self.fees_energy_wh
            ),
            "money over all accounts": (
                self.homes_money_ueur + self.operator_money_ueur + self.grid_money_ueur + self.fees_money_ueur
            ),
        }
        for what, value in sums.items():
            if value:
                raise UnbalancedError(f"{what}: {value} instead of 0")

    def by_name(self) -> dict[str, int]:
        """Every total by its name, as the ledger's row keeps it."""
        return dict(zip(TOTALS, _ALL(self), strict=True))


TOTALS: Final = tuple(field.name for field in fields(Totals))
"""The names of the totals, in order."""

_ALL: Final = attrgetter(*TOTALS)
