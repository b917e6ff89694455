"""The balance of a run: where every Wh and every micro-euro went, from the totals of the ledger's slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from energymarket.audit.figures import Figures

ACCOUNTS = ("homes", "operator", "grid", "fees")


@dataclass(frozen=True, slots=True)
class Balance:
    """Sums over slots: energy in Wh, money in µ€ per account."""

    produced_wh: int
    consumed_wh: int
    imported_wh: int  # over the homes' meters
    exported_wh: int
    given_wh: int
    traded_wh: int
    bought_from_grid_wh: int
    sold_to_grid_wh: int
    expired_wh: int
    short_wh: int
    long_wh: int
    energy_wh: dict[str, int]  # by account; above zero has come to it
    money_ueur: dict[str, int]  # by account; above zero is income

    @property
    def in_batteries_wh(self) -> int:
        """What went into the homes' batteries less what came out: stored, or lost there."""
        return self.produced_wh + self.imported_wh - self.consumed_wh - self.exported_wh

    @property
    def exchanged_wh(self) -> int:
        """All energy that changed hands: gifts, trade with neighbours, and everything with the grid."""
        within = self.given_wh + self.traded_wh
        grid = self.bought_from_grid_wh + self.sold_to_grid_wh + self.expired_wh
        return within + grid + self.short_wh + self.long_wh

    @property
    def gifts_share(self) -> float:
        """Gifts of all energy exchanged."""
        return self.given_wh / self.exchanged_wh if self.exchanged_wh else 0.0

    @property
    def grid_difference_wh(self) -> int:
        """What the meters say less what the contracts say went over the line to the grid: 0."""
        meters = self.imported_wh - self.exported_wh
        contracts = self.bought_from_grid_wh + self.short_wh
        contracts -= self.sold_to_grid_wh + self.expired_wh + self.long_wh
        return meters - contracts


def balance_of(slots: Figures) -> Balance:
    """Add up the slots."""

    def total(name: str) -> int:
        return int(slots.of(name).sum())

    return Balance(
        produced_wh=total("produced_wh"),
        consumed_wh=total("consumed_wh"),
        imported_wh=total("imported_wh"),
        exported_wh=total("exported_wh"),
        given_wh=total("taken_wh"),
        traded_wh=int(slots.traded_wh.sum()),
        bought_from_grid_wh=int(slots.bought_from_grid_wh.sum()),
        sold_to_grid_wh=int(slots.sold_to_grid_wh.sum()),
        expired_wh=total("expired_wh"),
        short_wh=total("short_wh"),
        long_wh=total("long_wh"),
        energy_wh={name: total(f"{name}_energy_wh") for name in ACCOUNTS},
        money_ueur={name: total(f"{name}_money_ueur") for name in ACCOUNTS},
    )
