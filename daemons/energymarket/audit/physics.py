"""Registers against physics: no energy is made, none is lost but in the battery, no register goes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from energymarket.audit.findings import Findings, Kind
from energymarket.audit.register_files import columns_of
from energymarket.core.records import REGISTERS

if TYPE_CHECKING:
    from energymarket.audit.opened import Opened
    from energymarket.audit.register_files import Registers
    from energymarket.core.units import I64
    from energymarket.scenario.compiled import Compiled


def check_state(registers: Registers, compiled: Compiled | None, findings: Findings) -> None:
    """One generation: the balance at the meter and the battery's content."""
    home, slot, have = registers.home, registers.slot, columns_of(registers.state)
    came = have["production_wh"] + have["battery_out_wh"] + have["import_wh"]
    went = have["consumption_wh"] + have["battery_in_wh"] + have["export_wh"]
    findings.same_by_home(
        Kind.PHYSICS_UNBALANCED,
        "production + battery out + import is not consumption + battery in + export",
        home,
        went,
        came,
        slot=slot,
        account="registers_wh",
    )
    for name in (*REGISTERS, "battery_wh"):
        findings.at_homes(Kind.REGISTERS_BACKWARDS, f"{name} is below zero", home, have[name] < 0, slot=slot)
    if compiled is None:
        return
    stored = _of(compiled, "battery_initial_wh", home) + have["battery_in_wh"]
    stored -= have["battery_out_wh"] + have["losses_wh"]
    findings.same_by_home(
        Kind.BATTERY_IMPOSSIBLE,
        "the content is not what was put in, less out, less losses",
        home,
        stored,
        have["battery_wh"],
        slot=slot,
        account="battery_wh",
    )
    too_full = have["battery_wh"] > _of(compiled, "battery_capacity_wh", home)
    findings.at_homes(Kind.BATTERY_IMPOSSIBLE, "more in the battery than it holds", home, too_full, slot=slot)


def check_pair(older: Registers, newer: Registers, findings: Findings) -> None:
    """Two generations of one file: registers only grow, the battery follows them."""
    before, after = columns_of(older.state), columns_of(newer.state)
    for name in REGISTERS:
        back = after[name] < before[name]
        text = f"{name} was larger in slot {older.slot}"
        findings.at_homes(Kind.REGISTERS_BACKWARDS, text, newer.home, back, slot=newer.slot)
    moved = {name: after[name] - before[name] for name in before}
    findings.same_by_home(
        Kind.BATTERY_IMPOSSIBLE,
        "the content does not follow from in, out and losses",
        newer.home,
        moved["battery_in_wh"] - moved["battery_out_wh"] - moved["losses_wh"],
        moved["battery_wh"],
        slot=newer.slot,
        account="battery_wh",
    )


def check_meters(slot: Opened, compiled: Compiled, findings: Findings) -> None:
    """A home without battery: what it produced and imported, it consumed or exported, in every slot."""
    columns, home = slot.columns, slot.home
    inside = home <= compiled.homes_count
    findings.at_homes(Kind.METER_UNBALANCED, "no such home in the scenario", home, ~inside, slot=slot.slot)
    bare = inside.copy()
    bare[inside] = _of(compiled, "battery_capacity_wh", home[inside]) == 0
    came = columns["produced_wh"] + columns["imported_wh"]
    went = columns["consumed_wh"] + columns["exported_wh"]
    findings.same_by_home(
        Kind.METER_UNBALANCED,
        "produced + imported is not consumed + exported, and there is no battery",
        home[bare],
        went[bare],
        came[bare],
        slot=slot.slot,
        account="readings_wh",
    )


def _of(compiled: Compiled, name: str, home: I64) -> I64:
    """A static column of these homes; 0 for homes that the scenario does not have."""
    column = np.asarray(compiled.homes[name])
    inside = home <= len(column)
    found = np.zeros(len(home), np.int64)
    found[inside] = column[home[inside] - 1]
    return found
