"""The scenario of imported homes as a file: every default with its reason, and what to edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from energymarket.intake.faults import Fault
from energymarket.intake.households import Households
from energymarket.intake.quantities import Role
from energymarket.intake.survey import Survey
from energymarket.scenario import kinds

FILE: Final = "homes.csv"
IMPORT_EUR: Final = (0.14, 0.11, 0.08)  # energy, grid fee, tax: a household in Germany, 2025, rounded
EXPORT_EUR: Final = 0.08  # feed-in of small roofs in Germany, 2025, rounded
MARGIN_EUR: Final = 0.01  # floor and cap lie this far inside export and import price
CHEAP_SHARE: Final = 0.05  # of the slots, in which a changing import price may be below the local one
MANNHEIM: Final = (49.49, 8.47)
PRICE_DECIMALS: Final = 4


@dataclass(frozen=True, slots=True)
class Placing:
    """Where the homes are: degrees, and the region of the German test reference years."""

    latitude: float | None
    longitude: float | None


def scenario_text(survey: Survey, placing: Placing) -> str:
    """The text of scenario.toml."""
    homes = survey.homes
    return "\n".join(
        [*_head(survey), *_time(survey), *_place(placing), *_tariff(homes), *_price(homes), *_data(survey)]
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _plain(text: str) -> str:
    """Without what must not stand in a comment or a title."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _head(survey: Survey) -> list[str]:
    title = _plain(f"{len(survey.homes.names)} measured homes of {survey.path.name}")[:120]
    return [
        "# Written by energyctl import; yours to edit. What every key means: man energy-market.toml",
        "#   energyctl scenario compile FILE     turns it into arrays",
        "#   energyctl simulate FILE             plays it through, as fast as it goes",
        "#   energyctl up FILE                   runs it live, on real daemons",
        "",
        "schema = 1",
        f"title = {_quoted(title)}",
        "seed = 1",
        "",
    ]


def _time(survey: Survey) -> list[str]:
    frame = survey.homes.frame
    local = datetime.fromtimestamp(frame.start_s, UTC).astimezone(survey.zone)
    zone = survey.zone.key
    if local.fold:  # the repeated hour of autumn: a local time would mean the earlier one
        local, zone = local.astimezone(UTC), "UTC"
    slot = kinds.span().write(frame.step_s)
    return [
        "# The period of the data; beyond their end they repeat. Another slot keeps their energy.",
        "[time]",
        f"start = {local:%Y-%m-%dT%H:%M:%S}",
        f"timezone = {_quoted(zone)}",
        f"slot = {slot}",
        f"slots = {frame.count}",
        f"speed = {frame.step_s} # market seconds per second of a live run: a slot in a second",
        "",
    ]


def _place(placing: Placing) -> list[str]:
    latitude = MANNHEIM[0] if placing.latitude is None else placing.latitude
    longitude = MANNHEIM[1] if placing.longitude is None else placing.longitude
    said = "" if placing.latitude is not None else " # not said: Mannheim; --latitude, --longitude"
    return [
        f"[place]{said}",
        f"latitude = {latitude}",
        f"longitude = {longitude}",
        "",
        "# Loads and PV are measured: weather moves the price only if you add a [[price.factor]] for it.",
        "# The default is a typical year of the German weather service (region 12: Mannheim,",
        '# wherever the homes are); source = "epw" or "csv" with file = "..." takes a station of yours.',
        "[weather]",
        'source = "try"',
        "region = 12",
        "",
    ]


def _tariff(homes: Households) -> list[str]:
    """[tariff]: what the file says is in homes.csv; the rest is a default."""
    lines = ["[tariff]"]
    if Role.TARIFF in homes.place:
        price = homes.place[Role.TARIFF]
        lines.append(
            f"# Import price: the file's, {price.min():.4f} to {price.max():.4f} per kWh (use_tariff);"
        )
        lines.append("# its currency is taken as it is, and written as €.")
    else:
        energy, fee, tax = IMPORT_EUR
        lines.append("# No import price was in the file. A household in Germany, 2025, rounded: 0.33 €/kWh.")
        lines += [f"energy = {energy}", f"grid_fee = {fee}", f"tax = {tax}"]
    if Role.FEED_IN in homes.place:
        lines.append("# Export price: the file's (data.use_tariff).")
    else:
        lines.append("# No export price was in the file. Feed-in of small roofs in Germany, 2025, rounded:")
        lines.append(f"export = {_export_eur(homes)}")
    return [*lines, ""]


def _import_eur(homes: Households) -> float:
    """What the grid asks in all but the cheapest twentieth of the slots."""
    if Role.TARIFF not in homes.place:
        return sum(IMPORT_EUR)
    return float(np.quantile(homes.place[Role.TARIFF], CHEAP_SHARE))


def _export_eur(homes: Households) -> float:
    """What the grid pays: the most in the file; else the default, or a quarter of a low import price."""
    if Role.FEED_IN in homes.place:
        return float(homes.place[Role.FEED_IN].max())
    least = _import_eur(homes)
    return EXPORT_EUR if least > EXPORT_EUR + 4 * MARGIN_EUR else round(max(0.0, least / 4), PRICE_DECIMALS)


def _price(homes: Households) -> list[str]:
    floor = round(max(0.0, _export_eur(homes) + MARGIN_EUR), PRICE_DECIMALS)
    cap = round(max(_import_eur(homes) - MARGIN_EUR, floor + MARGIN_EUR), PRICE_DECIMALS)
    base = round((floor + cap) / 2, PRICE_DECIMALS)
    swing = round((cap - floor) / 4, PRICE_DECIMALS)
    return [
        "# The local price lies between what the grid pays and what it asks in all but its cheapest hours,",
        "# so that trade among neighbours pays both sides: floor and cap are a cent inside. Base is their",
        "# middle; the imbalance of the community swings the price by a quarter of the room to either side.",
        "[price]",
        'form = "scaled"',
        f"initial = {base}",
        "half_life_h = 2",
        f"floor = {floor}",
        f"cap = {cap}",
        "",
        "[[price.factor]]",
        'name = "base"',
        f"alpha = {base}",
        "",
        "[[price.factor]]",
        'name = "imbalance"',
        f"alpha = {swing}",
        "",
    ]


def _data(survey: Survey) -> list[str]:
    homes = survey.homes
    suspects = [
        number
        for number, name in enumerate(homes.names, 1)
        if any(each.fault is Fault.FOLLOWS_PV and each.home == name for each in survey.quality.findings)
    ]
    lines = ["# Homes by their numbers, with their names in the file:"]
    lines += [f"#   {number} {_plain(name)}" for number, name in enumerate(homes.names, 1)]
    lines += [
        "[data]",
        f'file = "{FILE}"',
        'layout = "meters"',
        f"homes = {len(homes.names)}",
        f"use_tariff = {'true' if {Role.TARIFF, Role.FEED_IN} & set(homes.place) else 'false'}",
    ]
    if suspects:
        lines.append("# The quality report doubts these; without the # they are left out: see quality.md")
        lines.append(f"# exclude = {suspects}")
    lines += [
        "# 1 give, 2 sell, 3 give first and sell the rest; shares of the homes, drawn by the seed",
        "policy = { give = 0.0, sell = 0.0, give_then_sell = 1.0 }",
        "",
    ]
    return lines
