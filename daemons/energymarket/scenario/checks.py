"""What single values do not show: settings that contradict each other, in time, weather, tariff and price."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from energymarket.core.limits import SLOT_S_MAX
from energymarket.core.parameters import Rule
from energymarket.scenario import resolve
from energymarket.scenario.homes_checks import check_homes
from energymarket.scenario.kinds import UEUR_PER_EUR
from energymarket.scenario.problems import Path, did_you_mean
from energymarket.scenario.reader import Findings
from energymarket.scenario.schema import (
    SLOTS_MAX,
    Document,
    GridSection,
    LiveProvider,
    PriceForm,
    PriceSection,
    TariffSection,
    Time,
    Weather,
    WeatherSource,
)
from energymarket.scenario.uses import idle

if TYPE_CHECKING:
    from collections.abc import Mapping

RATE_PER_SLOT_MAX: Final = 4.0  # as in core.events, which needs NumPy; tests compare the two


def check(document: Document, raw: Mapping[str, object], findings: Findings) -> None:
    """Note every contradiction of a document; `raw` is what the file says, without defaults."""
    for name in ("time", "weather"):
        if getattr(document, name) is None:
            findings.conclude((name,), "is missing", f"write [{name}]")
    check_uses(document, raw, (), findings)
    if document.time is not None:
        _check_time(document.time, findings)
    if document.weather is not None:
        _check_weather(document.weather, findings)
    _check_tariff(document.tariff, findings)
    _check_grid(document.grid, findings)
    if document.sharing.rule is Rule.MID_MARKET and document.tariff.follows_price:
        hint = "give the grid prices of its own, or choose another rule"
        findings.conclude(("sharing", "rule"), "mid_market is half way between import and export price", hint)
    slot_s = document.time.slot_s if document.time is not None else 900
    _check_price(document, slot_s, findings)
    service = document.service
    if service.exchange_until >= service.gate_at:
        findings.conclude(("service", "exchange_until"), "the exchange has to end before gate_at")
    check_homes(document, findings)


def check_uses(section: object, raw: Mapping[str, object], path: Path, findings: Findings) -> None:
    """Refuse keys that are known but have no effect where they stand."""
    for there, why in list(idle(section, raw, path, findings.refused)):
        findings.add(there, f"has no effect with {why}", "leave it out")


def _check_time(time: Time, findings: Findings) -> None:
    if time.slot_s > SLOT_S_MAX or resolve.DAY_S % time.slot_s:
        findings.conclude(
            ("time", "slot"),
            f"a slot of {time.slot_s} s does not fit",
            "at most 1h, and a whole part of a day",
        )
        return
    try:
        zone = ZoneInfo(time.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(
            time.timezone, ("Europe/Berlin", "Europe/Paris", "Europe/London", "America/New_York", "UTC")
        )
        findings.conclude(
            ("time", "timezone"), f'there is no time zone "{time.timezone}"', hint or "as in Europe/Berlin"
        )
        return
    local = time.start.replace(tzinfo=zone)
    if not 0 <= local.year - 1970 < 1000:
        findings.conclude(("time", "start"), "the year is not between 1970 and 2969")
        return
    if resolve.start_utc_s(time) % time.slot_s:
        findings.conclude(
            ("time", "start"),
            "does not fall on the beginning of a slot",
            "slots begin at whole multiples in UTC",
        )
    slots = resolve.period(time).slots
    if slots > SLOTS_MAX:
        findings.conclude(
            ("time", "days"),
            f"{slots:,} slots are too many",
            f"at most {SLOTS_MAX:,}; beyond it tables repeat",
        )


def _check_weather(weather: Weather, findings: Findings) -> None:
    if weather.source in (WeatherSource.TMY3, WeatherSource.EPW, WeatherSource.CSV) and weather.file is None:
        findings.conclude(("weather", "file"), f'is missing with source = "{weather.source}"')
    if (
        weather.source is WeatherSource.LIVE
        and weather.provider is LiveProvider.OPENWEATHERMAP
        and weather.key_file is None
    ):
        findings.conclude(
            ("weather", "key_file"), "openweathermap wants a key", "write it to a file of its own"
        )


def _check_tariff(tariff: TariffSection, findings: Findings) -> None:
    if tariff.file is None and (tariff.import_column or tariff.export_column):
        findings.conclude(("tariff", "file"), "is missing, but a column of it is named")
    if tariff.file is not None and not (tariff.import_column or tariff.export_column):
        findings.conclude(("tariff", "import_column"), "is missing, but a file is named", "or export_column")
    if tariff.follows_price or tariff.file is not None:
        return
    flat = resolve.tariff(tariff)
    asked = tariff.import_list or (flat.import_ueur_per_kwh,)
    paid = tariff.export_list or (flat.export_ueur_per_kwh,)
    for slot in range(min(math.lcm(len(asked), len(paid)), SLOTS_MAX)):
        import_, export = asked[slot % len(asked)], paid[slot % len(paid)]
        if import_ < export:
            place = f" in slot {slot}" if len(asked) + len(paid) > 2 else ""
            findings.conclude(
                ("tariff", "export_prices" if tariff.export_list else "export"),
                f"the import price {_eur(import_)} is below the export price {_eur(export)}{place}",
                "else a home earns by moving energy in a circle",
            )
            return


def _check_grid(grid: GridSection, findings: Findings) -> None:
    columns = {"co2": grid.co2_column, "co2_marginal": grid.co2_marginal_column}
    given = {"co2": grid.co2_g_per_kwh, "co2_marginal": grid.co2_marginal_g_per_kwh}
    named = [name for name, column in columns.items() if column is not None]
    if grid.file is None and named:
        findings.conclude(("grid", f"{named[0]}_column"), "names a column, but there is no file", "give file")
    if grid.file is not None and not named:
        findings.conclude(("grid", "file"), "no column of it is named", "give co2_column")
    for name in named:
        if given[name] is not None:
            findings.conclude(("grid", f"{name}_column"), f"{name}_g_per_kwh is given too", "keep one")


def _check_price(document: Document, slot_s: int, findings: Findings) -> None:
    price = document.price
    there: Path = ("price",)
    needed = "gamma" if price.form is PriceForm.RAW else "half_life_h"
    if getattr(price, needed) is None:
        findings.conclude((*there, needed), f'is missing with form = "{price.form}"')
        return
    if price.floor_ueur_per_kwh >= price.cap_ueur_per_kwh:
        message = (
            f"the floor {_eur(price.floor_ueur_per_kwh)} is not below the cap {_eur(price.cap_ueur_per_kwh)}"
        )
        findings.conclude((*there, "floor"), message)
    elif not price.floor_ueur_per_kwh <= price.initial_ueur_per_kwh <= price.cap_ueur_per_kwh:
        findings.conclude((*there, "initial"), f"{_eur(price.initial_ueur_per_kwh)} is outside floor .. cap")
    if not price.factor:
        findings.conclude(
            (*there, "factor"), "a price without any factor decays to zero", "write [[price.factor]]"
        )
    names = [entry.name for entry in price.factor]
    for index, name in enumerate(names):
        if name in names[:index]:
            findings.conclude((*there, "factor", index, "name"), f'the factor "{name}" is there twice')
    for kind in resolve.price_model(price, slot_s).events:
        if kind.arrivals_per_slot * max(1.0, kind.rain_factor) > RATE_PER_SLOT_MAX:
            message = f"more than {RATE_PER_SLOT_MAX:g} events in a slot"
            findings.conclude(
                (*there, "events", kind.name, "per_year"), message, "fewer events, each stronger"
            )
    _check_stability(document, price, slot_s, findings)


def _check_stability(document: Document, price: PriceSection, slot_s: int, findings: Findings) -> None:
    if findings.refused(("price",)) or findings.refused(("elasticity",)):
        return
    found = resolve.analyse(resolve.price_model(price, slot_s), document.elasticity)
    if found.ok:
        return
    by_gamma = math.isnan(found.closed_loop_gain)
    if by_gamma:
        where: Path = ("price", "gamma" if price.form is PriceForm.RAW else "half_life_h")
        findings.conclude(where, found.reason, "give a gamma between -1 and 1, such as 0.99")
        return
    index = next((i for i, entry in enumerate(price.factor) if entry.name == "imbalance"), 0)
    hint = "lower alpha of the imbalance, or the slope of [elasticity]"
    findings.conclude(("price", "factor", index, "alpha"), found.reason, hint)


def _eur(price_ueur_per_kwh: int) -> str:
    return f"{price_ueur_per_kwh / UEUR_PER_EUR:g} €/kWh"
