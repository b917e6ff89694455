"""Words by which columns of meter files are known, in English and German."""

from __future__ import annotations

import re
from typing import Final

from energymarket.intake.quantities import Role


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


QUANTITIES: Final[dict[Role, frozenset[str]]] = {
    Role.IMPORT: _words("import imported bezug netzbezug purchase"),
    Role.EXPORT: _words("export exported feed feedin einspeisung netzeinspeisung"),
    Role.NET: _words("net netload netto residual saldo"),
    Role.PV: _words("pv solar generation production photovoltaic erzeugung produced gen"),
    Role.LOAD: _words(
        "load consumption consumed demand usage verbrauch last lastgang strom energy electricity arbeit "
        "wirkarbeit leistung wirkleistung"
    ),
}
"""Of a home; the first that a name has a word of counts, so that "solar energy" is PV."""

OBIS: Final = re.compile(r"(?:^|[^\d.])([12])\.(?:6|7|8|9|29)\.\d")
"""Codes of meters (IEC 62056-61): 1 is active energy or power from the grid, 2 into it; 1.8.0, 1-1:2.29.0."""

FILL: Final = _words(
    "grid in of power energy total active home house household haus haushalt building non shiftable"
)
"""Words of a column's name that are no part of the home's."""

PLACE: Final[dict[Role, re.Pattern[str]]] = {
    Role.TARIFF: re.compile(r"(price|tariff|import_price|strompreis|electricity_pricing|preis)(_.*)?"),
    Role.FEED_IN: re.compile(r"(export_price|feed_in_price|feed_in_tariff|feedin_tariff)(_.*)?"),
    Role.CARBON: re.compile(r"(co2|carbon|carbon_intensity|kg_co2)(_.*)?"),
}
"""Of the place: the whole name, in small letters with _ for spaces."""

TIMES: Final = _words(
    "time timestamp datetime date_time zeit zeitstempel time_utc utc_timestamp tstp zeitpunkt begin start "
    "time_begin interval_start ts zeit_von"
)
DATES: Final = _words("date datum tag day")
TIMES_OF_DAY: Final = _words("time uhrzeit zeit von clock time_of_day")
HOMES: Final = _words(
    "home household house meter meter_id home_id household_id house_id customer customer_id building id "
    "lclid haushalt zaehler zähler zählpunkt zaehlpunkt messlokation site dataid user"
)
"""The column of homes, where each line is one home's."""

IGNORED: Final = re.compile(
    r"bis|until|end|zeit_bis|time_end|interval_end|"
    r"i|index|month|monat|hour|stunde|day_type|daylight_savings_status|weekday|wochentag|day|unnamed.*|"
    r"cet_cest_timestamp|interpolated|quality|status|.*predicted.*|"
    r"temp|temperature|temp_c|temperature_c|rh_pct|.*humidity.*|[dg][hn]i|[dg][hn]i_w_m2|.*irradiance.*|"
)
"""Known and not needed: counters, calendars, flags, weather; and columns without a name."""
