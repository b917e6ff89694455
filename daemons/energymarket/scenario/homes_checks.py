"""Impossible homes: what single values of a home or a group do not show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from energymarket.core.limits import HOMES_MAX, POWER_W_MAX
from energymarket.scenario import resolve
from energymarket.scenario.homes_schema import Battery, Group, HeatPump, Home, Load, LoadKind
from energymarket.scenario.meters_schema import METER_ID

if TYPE_CHECKING:
    from energymarket.scenario.problems import Path
    from energymarket.scenario.reader import Findings
    from energymarket.scenario.schema import Document


def check_homes(document: Document, findings: Findings) -> None:
    """Note every home that cannot be."""
    slot_s = document.time.slot_s if document.time is not None else 900
    for index, group in enumerate(document.homes):
        _check_group(group, ("homes", index), findings)
    for index, home in enumerate(document.home):
        _check_home(home, ("home", index), slot_s, findings)
    if document.data is not None:
        for position, number in enumerate(document.data.exclude):
            if number > document.data.homes:
                findings.conclude(
                    ("data", "exclude"), f"there is no home {number} in the set", f"item {position + 1}"
                )
    if findings.refused(("home",)) or findings.refused(("homes",)) or findings.refused(("data",)):
        return
    _check_ids(document.home, findings)
    _check_names(document, findings)
    _check_meters(document.home, findings)
    count = (
        len(document.home) + sum(group.count for group in document.homes) + resolve.data_homes(document.data)
    )
    if count == 0:
        findings.conclude(("homes",), "there is no home", "write [[homes]] or [[home]]")
    if count > HOMES_MAX:
        findings.conclude(("homes",), f"{count:,} homes are too many", f"at most {HOMES_MAX:,}")
    _check_scenes(document, count, findings)


def _check_ids(homes: tuple[Home, ...], findings: Findings) -> None:
    seen: set[int] = set()
    for index, home in enumerate(homes):
        there: Path = ("home", index, "id")
        if home.id is None:
            continue
        if home.id in seen:
            findings.conclude(
                there, f"two homes have the id {home.id}", "leave ids out: they are given in order"
            )
        elif home.id > len(homes):
            message = f"the id {home.id} is beyond the {len(homes)} homes written by hand"
            findings.conclude(there, message, f"their ids are 1 .. {len(homes)}, groups follow")
        seen.add(home.id)


def _check_names(document: Document, findings: Findings) -> None:
    lists = {"home": [home.name for home in document.home], "homes": [group.name for group in document.homes]}
    for key, names in lists.items():
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name in seen:
                findings.conclude((key, index, "name"), f'the name "{name}" is there twice')
            seen.add(name)


def _check_group(group: Group, path: Path, findings: Findings) -> None:
    parts = (group.production_w, group.load, group.pv, group.wind, group.battery, group.heat_pump)
    if all(part is None for part in parts):
        findings.conclude(path, "homes that neither consume nor produce", "write [homes.load] below it")
    _check_parts(group, path, findings)


def _check_home(home: Home, path: Path, slot_s: int, findings: Findings) -> None:
    parts = (home.load, home.pv, home.wind, home.battery, home.heat_pump)
    series = (home.production_wh, home.consumption_wh, home.production_w, home.consumption_w)
    if all(part is None for part in (*parts, *series)):
        findings.conclude(
            path, "a home that neither consumes nor produces", "write consumption_wh or [home.load]"
        )
    for name in ("production", "consumption"):
        energy, power = getattr(home, f"{name}_wh"), getattr(home, f"{name}_w")
        if energy is not None and power is not None:
            findings.conclude(
                (*path, f"{name}_w"), f"{name}_wh and {name}_w exclude each other", "leave one out"
            )
        limit_wh = POWER_W_MAX * slot_s / 3600
        if energy is not None and max(energy) > limit_wh:
            message = f"{max(energy):g} Wh in {slot_s} s are more than {POWER_W_MAX:,} W"
            findings.conclude((*path, f"{name}_wh"), message)
    if home.load is not None and (home.consumption_wh or home.consumption_w):
        findings.conclude(
            (*path, "load"), "a load and a written consumption exclude each other", "leave one out"
        )
    if home.meter is not None:
        _check_metered(home, path, findings)
    _check_parts(home, path, findings)


def _check_metered(home: Home, path: Path, findings: Findings) -> None:
    """What the meter's house has is in what it says: a simulated plant beside it would not be."""
    if not re.fullmatch(METER_ID, home.meter or ""):
        hint = "letters, digits, '_', '.' and '-', at most 64, no dot first"
        findings.conclude((*path, "meter"), f"{home.meter!r} is no meter's id", hint)
    for name in ("battery", "wind", "heat_pump"):
        if getattr(home, name) is not None:
            findings.conclude(
                (*path, name), f"a metered home has no {name} beside its meter", "leave it out, or the meter"
            )
    if home.elastic:
        findings.conclude((*path, "elastic"), "a metered home does not answer to the price", "leave it out")


def _check_meters(homes: tuple[Home, ...], findings: Findings) -> None:
    seen: set[str] = set()
    for index, home in enumerate(homes):
        if home.meter is None:
            continue
        if home.meter in seen:
            findings.conclude(("home", index, "meter"), f"two homes live by {home.meter}")
        seen.add(home.meter)


def _check_parts(owner: Group | Home, path: Path, findings: Findings) -> None:
    if owner.load is not None:
        _check_load(owner.load, (*path, "load"), findings)
    if owner.battery is not None:
        _check_battery(owner.battery, (*path, "battery"), findings)
    if owner.heat_pump is not None:
        _check_heat_pump(owner.heat_pump, (*path, "heat_pump"), findings)


def _check_load(load: Load, path: Path, findings: Findings) -> None:
    if load.kind is not LoadKind.CSV:
        return
    for name in ("file", "column"):
        if getattr(load, name) is None:
            findings.conclude((*path, name), 'is missing with kind = "csv"')


def _check_battery(battery: Battery, path: Path, findings: Findings) -> None:
    if battery.kwh.low == 0:
        findings.conclude(
            (*path, "kwh"), "a battery without capacity", "leave the battery out, or lower its share"
        )
    if battery.kw.low == 0:
        findings.conclude((*path, "kw"), "a battery without power can neither charge nor discharge")


def _check_heat_pump(heat_pump: HeatPump, path: Path, findings: Findings) -> None:
    if heat_pump.cop_min > heat_pump.cop_at_7c:
        findings.conclude((*path, "cop_min"), "is above cop_at_7c")


def _check_scenes(document: Document, count: int, findings: Findings) -> None:
    if document.time is None or findings.refused(("time",)):
        return
    slots = resolve.period(document.time).slots
    places: list[tuple[Path, tuple[int, ...]]] = []
    if document.weather is not None:
        places.append((("weather", "silent_slots"), document.weather.silent_slots))
    for index, home in enumerate(document.home):
        there: Path = ("home", index, "scene")
        places.append(((*there, "late_slots"), home.scene.late_slots))
        claim = home.scene.phantom_claim
        if claim is None:
            continue
        places.append(((*there, "phantom_claim", "slots"), claim.slots))
        if claim.giver > count:
            message = f"there is no home {claim.giver}"
            findings.conclude((*there, "phantom_claim", "giver"), message, f"ids are 1 .. {count}")
    for path, listed in places:
        beyond = [slot for slot in listed if slot >= slots]
        if beyond:
            findings.conclude(
                path, f"slot {beyond[0]} is after the end", f"slots are counted 0 .. {slots - 1}"
            )
