"""Key figures as tiles: a name, a number with its unit, and the definition that it stands on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energymarket.daybook import amounts
from energymarket.daybook.duration import net_load_wh
from energymarket.daybook.markup import Markup, tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.audit.figures import Figures
    from energymarket.daybook.balance import Balance
    from energymarket.daybook.local_days import Calendar


@dataclass(frozen=True, slots=True)
class Tile:
    """One key figure."""

    name: str
    value: str  # with its unit, as people read it
    definition: str


def tiles_of(slots: Figures, balance: Balance, calendar: Calendar | None, homes: int) -> list[Tile]:
    """What the totals of the ledger alone can say of the neighbourhood as a whole."""
    net = net_load_wh(slots)
    drawn = int(net[net > 0].sum())
    fed = -int(net[net < 0].sum())
    consumed, produced = balance.consumed_wh, balance.produced_wh
    found = [
        Tile("homes", f"{homes:,}", "Homes with a row in the ledger."),
        Tile("produced", amounts.energy(produced), "By the homes' meters: sun and wind."),
        Tile("consumed", amounts.energy(consumed), "By the homes' meters."),
        Tile(
            "met locally",
            amounts.share(1 - drawn / consumed if consumed else math.nan),
            "Share of the consumption that the neighbourhood as a whole did not draw from the grid in the"
            " slot itself: 1 − net import ÷ consumption. What batteries held at first counts as local.",
        ),
        Tile(
            "used locally",
            amounts.share(1 - fed / produced if produced else math.nan),
            "Share of the production that the neighbourhood as a whole did not feed into the grid in the"
            " slot itself: 1 − net export ÷ production. Losses of batteries count as used.",
        ),
        Tile(
            "given",
            amounts.energy(balance.given_wh),
            f"Gifts that neighbours took: {amounts.share(balance.gifts_share)} of all energy that changed"
            " hands.",
        ),
        Tile(
            "mean price",
            amounts.price(float(slots.price_ueur_per_kwh.mean())),
            "The local price, each slot counted alike.",
        ),
        Tile(
            "homes' balance",
            amounts.money(balance.money_ueur["homes"] / 1e6),
            "What all homes together got less what they paid, gifts at the local fee; below zero they paid.",
        ),
    ]
    if calendar is not None:
        peak = float(calendar.power_kw(net).max())
        found.append(
            Tile(
                "highest draw",
                amounts.power(max(peak, 0.0)),
                "The highest mean power of a slot that the neighbourhood as a whole drew from the grid.",
            )
        )
    return found


def shown(tiles: Sequence[Tile]) -> Markup:
    """Tiles in a grid. The definition opens by a click or a key, and stands in the tile for who hovers."""
    parts = [
        tag(
            "details",
            [
                tag(
                    "summary",
                    [tag("span", each.name, class_="name"), tag("span", each.value, class_="value")],
                ),
                tag("p", each.definition),
            ],
            class_="tile",
            title=each.definition,
        )
        for each in tiles
    ]
    return tag("div", parts, class_="tiles")
