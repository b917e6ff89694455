"""Key figures as tiles: a name, a number with its unit, and the definition that it stands on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from energymarket.core.kpi.definitions import SECTIONS
from energymarket.daybook import amounts
from energymarket.daybook.duration import net_load_wh
from energymarket.daybook.markup import Markup, tag
from energymarket.daybook.plate import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from energymarket.audit.figures import Figures
    from energymarket.daybook.balance import Balance
    from energymarket.daybook.local_days import Calendar


@dataclass(frozen=True, slots=True)
class Tile:
    """One key figure."""

    name: str
    value: str  # with its unit, as people read it
    definition: str


def of_totals(slots: Figures, balance: Balance, calendar: Calendar | None, homes: int) -> list[Tile]:
    """What the totals of the ledger alone can say, where the scenario is not known."""
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


_CHOSEN: Final = (
    # (what the tile is called, where it stands in the document)
    ("homes", "kpi.homes"),
    ("produced", "energy.produced_kwh"),
    ("consumed", "energy.consumed_kwh"),
    ("self-sufficiency", "kpi.self_sufficiency.community"),
    ("self-consumption", "kpi.self_consumption.community"),
    ("given to neighbours", "energy.given_kwh"),
    ("traded", "energy.traded_kwh"),
    ("mean price", "kpi.price.mean_eur_per_kwh"),
    ("all homes' bill", "money.bill_eur"),
    ("alone it would be", "money.alone_eur"),
    ("worse off than alone", "kpi.spread.worse_off_share"),
    ("Jain's index of €/kWh", "kpi.spread.jain_eur_per_kwh"),
    ("largest draw", "kpi.peaks.line_import_kw"),
    ("largest feed-in", "kpi.peaks.line_export_kw"),
    ("CO₂ of the line, average", "kpi.co2.line_import_average_kg"),
)
_OPTIONAL: Final = frozenset({"kpi.co2.line_import_average_kg"})
"""Left out where it is not known: most scenarios have no carbon intensity."""

_MEANINGS: Final = {
    f"{section}.{each.name}": each for section, definitions in SECTIONS.items() for each in definitions
}
_SHARES: Final = ("_share", "community", "household", "_as_metered")


def of_document(document: Mapping[str, Any]) -> list[Tile]:
    """The chosen ones of the document of indicators, with the definitions that it is made by."""
    tiles = []
    for name, place in _CHOSEN:
        value = _at(document, place)
        if value is not None or place not in _OPTIONAL:
            tiles.append(Tile(name, _value(place, value), _meaning(document, place)))
    return tiles


def _at(document: Mapping[str, Any], place: str) -> Any:  # noqa: ANN401 whatever stands there
    found: Any = document
    for name in place.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _meaning(document: Mapping[str, Any], place: str) -> str:
    known = _MEANINGS[place]
    text = known.meaning[:1].upper() + known.meaning[1:] + (f" ({known.source})" if known.source else "")
    if place.startswith("kpi.self_"):
        other = place.replace("community", "household")
        minutes = document["kpi"]["slot_s"] / 60
        text += f". Each home by itself: {_value(other, _at(document, other))}. In slots of {minutes:g} min."
    if place == "kpi.price.mean_eur_per_kwh":
        expected = place.replace("mean_", "expected_mean_")
        text += f". Expected by the model: {_value(expected, _at(document, expected))}."
    return text


def _value(place: str, value: float | None) -> str:
    """A number with its unit, by the ending of its name; in energies and money few digits."""
    if value is None:
        return "not known"
    if place.endswith(_SHARES):
        return amounts.share(value)
    if place.endswith("eur_per_kwh") and "jain" not in place:
        return amounts.price(value * 1e6)
    if "eur_per_kwh_p" in place:
        return amounts.price(value * 1e6)
    if place.endswith("_kwh") and "jain" not in place:
        return amounts.energy(value * 1e3)
    if place.endswith("_eur"):
        return amounts.money(value)
    for ending, unit in (("_kw", "kW"), ("_kg", "kg"), ("_h", "h"), ("_s", "s")):
        if place.endswith(ending):
            return f"{value:,.{0 if unit == 's' else 1}f} {unit}".replace("-", "−")
    return f"{value:,.4f}".replace("-", "−").removesuffix(".0000")


def rows_of(document: Mapping[str, Any]) -> list[Rows]:
    """Every indicator with its definition: a table for each section."""
    found = []
    for section, definitions in SECTIONS.items():
        if section == "kpi.home_table":
            continue
        rows = [
            [each.name.replace("_", " "), _value(f"{section}.{each.name}", value), each.meaning]
            for each, value in ((each, _at(document, f"{section}.{each.name}")) for each in definitions)
            if not isinstance(value, list)
        ]
        found.append(Rows([section.removeprefix("kpi.").replace("_", "-"), "", "meaning"], rows))
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
