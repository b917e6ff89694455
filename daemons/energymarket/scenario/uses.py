"""Which keys a source of weather, a kind of load or a form of the price uses; others have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from energymarket.core.parameters import Rule
from energymarket.scenario.homes_schema import Load, LoadKind
from energymarket.scenario.reader import keys_of
from energymarket.scenario.schema import (
    DataLayout,
    DataSet,
    Elasticity,
    PriceForm,
    PriceSection,
    SharingSection,
    Weather,
    WeatherSource,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from energymarket.scenario.problems import Path

_CONSTANT: Final = frozenset(
    {
        "temperature_c",
        "wind_m_per_s",
        "ghi_w_per_m2",
        "dni_w_per_m2",
        "dhi_w_per_m2",
        "rain_mm_per_h",
        "cloud",
    }
)
_SYNTHETIC: Final = frozenset(
    {"temperature_c", "wind_m_per_s", "cloud", "year_amplitude_c", "day_amplitude_c", "rain_share"}
)

WEATHER: Final[dict[WeatherSource, frozenset[str]]] = {
    WeatherSource.TRY: frozenset({"region"}),
    WeatherSource.TMY3: frozenset({"file"}),
    WeatherSource.EPW: frozenset({"file"}),
    WeatherSource.CSV: frozenset({"file"}),
    WeatherSource.SYNTHETIC: _SYNTHETIC,
    WeatherSource.CONSTANT: _CONSTANT,
    WeatherSource.LIVE: frozenset({"provider", "url", "key_file", "every"}) | _SYNTHETIC,
}
"""Live weather keeps the synthetic model for the slots before the first answer."""

LOAD: Final[dict[LoadKind, frozenset[str]]] = {
    LoadKind.HOUSEHOLD: frozenset({"annual_kwh", "persons"}),
    LoadKind.BDEW: frozenset({"annual_kwh", "profile"}),
    LoadKind.CONSTANT: frozenset({"power_w"}),
    LoadKind.SERIES: frozenset({"series_w"}),
    LoadKind.U_CURVE: frozenset({"power_w", "curvature", "comfort_c", "rain_factor"}),
    LoadKind.CSV: frozenset({"file", "column", "scale_w"}),
}

PRICE: Final[dict[PriceForm, frozenset[str]]] = {
    PriceForm.RAW: frozenset({"gamma"}),
    PriceForm.SCALED: frozenset({"half_life_h"}),
}

_ALWAYS: Final[dict[type, frozenset[str]]] = {
    Weather: frozenset({"source", "silent_slots"}),
    Load: frozenset({"kind"}),
    PriceSection: frozenset(keys_of(PriceSection)) - {"gamma", "half_life_h"},
}


def used(section: object) -> frozenset[str]:
    """The keys that have an effect in a table, given what the table says."""
    match section:
        case Weather():
            return _ALWAYS[Weather] | WEATHER[section.source]
        case Load():
            return _ALWAYS[Load] | LOAD[section.kind]
        case PriceSection():
            return _ALWAYS[PriceSection] | PRICE[section.form]
        case SharingSection() if section.rule is not Rule.QUEUE:
            return frozenset({"rule"})
        case Elasticity() if section.points is not None:
            return frozenset(keys_of(Elasticity)) - {"slope", "factor_min", "factor_max"}
        case DataSet() if section.layout is DataLayout.METERS:
            return frozenset(keys_of(DataSet)) - {"use_weather"}
        case _:
            return frozenset(keys_of(type(section)))


def switch(section: object) -> str:
    """The key whose value decides which others are used, as `kind = "constant"`; "" where none does."""
    match section:
        case Weather():
            return f'source = "{section.source}"'
        case Load():
            return f'kind = "{section.kind}"'
        case PriceSection():
            return f'form = "{section.form}"'
        case SharingSection():
            return f'rule = "{section.rule}"'
        case Elasticity():
            return "points"
        case DataSet():
            return f'layout = "{section.layout}"'
        case _:
            return ""


def idle(
    section: object,
    raw: Mapping[str, object],
    path: Path = (),
    is_skipped: Callable[[Path], bool] = lambda _path: False,
) -> Iterator[tuple[Path, str]]:
    """Where keys of a file stand that have no effect there, and what makes them so; nothing inside others.

    `section` is what was read from `raw`.
    """
    known = keys_of(type(section))
    effective = used(section)
    for name, value in raw.items():
        there = (*path, name)
        if name not in known or is_skipped(there):
            continue
        if name not in effective:
            yield there, switch(section)
        entry, noted = known[name]
        inner = getattr(section, entry.name)
        if noted.table is None or inner is None:
            continue
        if not noted.many and isinstance(value, dict):
            yield from idle(inner, value, there, is_skipped)
        elif isinstance(value, list) and len(value) == len(inner):
            for index, (item, item_raw) in enumerate(zip(inner, value, strict=True)):
                yield from idle(item, item_raw, (*there, index), is_skipped)
