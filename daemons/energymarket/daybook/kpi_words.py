"""Indicators in words: a screen of the community, or of one home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from energymarket.daybook.words import when

if TYPE_CHECKING:
    from energymarket.scenario.compiled import Compiled

WIDTH: Final = 40
_UNITS: Final = (
    ("_eur_per_kwh", "€/kWh", 4),
    ("_kwh", "kWh", 3),
    ("_kw", "kW", 2),
    ("_eur", "€", 2),
    ("_kg", "kg", 1),
)

_ENERGY: Final = (
    "produced_kwh", "consumed_kwh", "imported_kwh", "exported_kwh", "given_kwh", "received_kwh",
    "bought_kwh", "sold_kwh", "short_kwh", "long_kwh",
)  # fmt: skip
_PARTS: Final = ("purchases_eur", "sales_eur", "fees_eur", "imbalance_eur", "alone_eur")


def lines_of(made: dict[str, Any], compiled: Compiled) -> list[str]:
    """The community."""
    energy, money, kpi = made["energy"], made["money"], made["kpi"]
    span = f"{when(kpi['first_slot'], compiled)} to {when(kpi['last_slot'] + 1, compiled)}"
    title = f"{span} ({compiled.period.timezone}): {kpi['slots']} slots of {kpi['slot_s'] / 60:g} min"
    parts = (
        [f"{title}, {kpi['homes']} homes"],
        ["Energy of the homes", *_rows(energy, _ENERGY)],
        [
            "The community's connection",
            *_rows(energy, ("line_import_kwh", "line_export_kwh", "traded_kwh")),
            _line("largest import", kpi["peaks"]["line_import_kw"], "kW", 2),
            _line("largest export", kpi["peaks"]["line_export_kw"], "kW", 2),
            _line("coincidence of imports", kpi["peaks"]["coincidence_factor"], ""),
        ],
        ["Met locally                                 household  community", *_shares(kpi)],
        [
            "Money (above zero: paid)",
            *_rows(money, ("bill_eur", *_PARTS)),
            *_rows(money, ("eur_per_kwh",)),
        ],
        [
            "Between homes                                     P10        P50        P90",
            *_spread(kpi["spread"]),
        ],
        ["Price", *_price(kpi["price"])],
        ["Carbon of imports, exports not credited", *_carbon(kpi["co2"])],
        [f"note: {note}" for note in kpi["notes"]],
    )
    return [line for part in parts if part for line in (*part, "")][:-1]


def home_lines(row: dict[str, Any], made: dict[str, Any], compiled: Compiled) -> list[str]:
    """One home."""
    kpi = made["kpi"]
    span = f"{when(kpi['first_slot'], compiled)} to {when(kpi['last_slot'] + 1, compiled)}"
    whole = kpi["slots"] == kpi["detail_slots"]
    names = [name for name in row if name != "home" and not (whole and name == "detail_bill_eur")]
    notes = [f"note: {note}" for note in kpi["notes"]]
    return [f"home {row['home']}, {span}", *_rows(row, names), *notes]


def _rows(values: dict[str, Any], names: tuple[str, ...] | list[str]) -> list[str]:
    return [_named(name, values[name]) for name in names]


def _named(name: str, value: float | None) -> str:
    """A line by the unit that its name ends with."""
    for ending, unit, digits in _UNITS:
        if name.endswith(ending) or name == ending[1:]:
            label = name.removesuffix(ending).replace("line_", "").replace("_", " ")
            return _line("paid per kWh" if name == "eur_per_kwh" else label, value, unit, digits)
    if name.startswith("self_"):
        return f"  {name.replace('_', '-'):<{WIDTH}}{_percent(value):>14}"
    return _line(name.replace("_", " "), value, "", 4)


def _line(label: str, value: float | None, unit: str, digits: int = 3) -> str:
    return f"  {label:<{WIDTH}}{_number(value, digits):>14}{' ' + unit if unit else ''}"


def _number(value: float | None, digits: int) -> str:
    return "not known" if value is None else f"{value:,.{digits}f}".replace("-", "−")


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{share:.1%}"


def _shares(kpi: dict[str, Any]) -> list[str]:
    lines = []
    for name in ("self_sufficiency", "self_consumption"):
        found = kpi[name]
        for label, ending in ((name.replace("_", "-"), ""), ("  as metered", "_as_metered")):
            pair = [_percent(found[f"{who}{ending}"]) for who in ("household", "community")]
            lines.append(f"  {label:<{WIDTH}}{pair[0]:>11}{pair[1]:>11}")
    return lines


def _spread(spread: dict[str, Any]) -> list[str]:
    lines = []
    for label, name in (("bill in €", "bill_{}_eur"), ("€/kWh", "eur_per_kwh_{}")):
        digits = 2 if name.startswith("bill") else 4
        cells = "".join(f"{_number(spread[name.format(q)], digits):>11}" for q in ("p10", "p50", "p90"))
        lines.append(f"  {label:<{WIDTH}}{cells}")
    worse = f"  {'worse off than alone':<{WIDTH}}{_percent(spread['worse_off_share']):>14}"
    return [*lines, worse, _line("Jain's index of €/kWh", spread["jain_eur_per_kwh"], "")]


def _price(price: dict[str, Any]) -> list[str]:
    limits = f"{_percent(price['at_floor_share']):>14} {_percent(price['at_cap_share'])}"
    return [
        _line("mean", price["mean_eur_per_kwh"], "€/kWh", 4),
        _line("  expected by the model", price["expected_mean_eur_per_kwh"], "€/kWh", 4),
        _line("standard deviation", price["std_eur_per_kwh"], "€/kWh", 4),
        _line("  of the change per slot", price["std_of_changes_eur_per_kwh"], "€/kWh", 4),
        _line("half-life, from the series", price["half_life_h"], "h", 2),
        _line("  of the model", price["expected_half_life_h"], "h", 2),
        f"  {'slots at floor, at cap':<{WIDTH}}{limits}",
    ]


def _carbon(co2: dict[str, Any]) -> list[str]:
    return [
        _line(f"{where}, {kind} intensity", co2[f"{name}_{kind}_kg"], "kg", 1)
        for kind in ("average", "marginal")
        for where, name in (("the connection", "line_import"), ("all homes' meters", "home_imports"))
        if co2[f"{name}_{kind}_kg"] is not None
    ] or ["  not known: the scenario has no [grid] with a carbon intensity"]
