"""From measured quantities to what a scenario needs: load and generation of homes in whole Wh per slot."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from energymarket.exits import ConfigError, Failure
from energymarket.intake.faults import F64, I64, SPANS_MAX, Cause, Fault, Finding, Quality
from energymarket.intake.framing import Frame, spans_of
from energymarket.intake.gridding import Course
from energymarket.intake.quantities import HOME_ROLES, Role

_ROUNDING_WH = 0.5


@dataclass(frozen=True, slots=True)
class Households:
    """Homes in the order of the file; columns are homes, rows the frame's slots.

    `place` are what the file says of prices (€/kWh) and carbon (g/kWh), per slot.
    """

    names: tuple[str, ...]
    frame: Frame
    load_wh: F64
    pv_wh: F64
    place: dict[Role, F64]
    metered: tuple[str, ...]  # of each home: which quantities it was made of


def households_of(courses: list[Course], frame: Frame, quality: Quality) -> Households:
    """Load and generation of each home from what was measured. A Failure names what does not suffice."""
    names = list(dict.fromkeys(course.home for course in courses if course.role in HOME_ROLES))
    loads, plants, metered = [], [], []
    for name in names:
        known: dict[Role, F64] = {
            course.role: course.values
            for course in courses
            if course.home == name and course.role in HOME_ROLES
        }
        load, plant = _derived(name, known, quality)
        loads.append(_not_below_zero(name, Role.LOAD, load, frame, quality))
        plants.append(_not_below_zero(name, Role.PV, plant, frame, quality))
        metered.append(" + ".join(known))
    place: dict[Role, F64] = {
        course.role: course.values for course in courses if course.role not in HOME_ROLES
    }
    named = tuple(name or "1" for name in names)
    return Households(named, frame, np.stack(loads, axis=1), np.stack(plants, axis=1), place, tuple(metered))


def _derived(name: str, known: dict[Role, F64], quality: Quality) -> tuple[F64, F64]:
    """Load and PV: as measured; else by load = import + PV - export; else what passes the meter."""
    nothing = np.zeros_like(next(iter(known.values())))
    load, plant = known.get(Role.LOAD), known.get(Role.PV)
    net = known.get(Role.NET)
    bought, fed = known.get(Role.IMPORT), known.get(Role.EXPORT)
    if net is None and (bought is not None or fed is not None):
        net = (nothing if bought is None else bought) - (nothing if fed is None else fed)
    if load is not None and plant is not None:
        if net is not None:
            quality.note("load and PV are measured: net, import and export are not needed and not used")
        return load, plant
    if load is not None:
        if net is None:
            return load, nothing
        quality.note("PV is load minus net where only these two are measured")
        return load, load - net
    if (
        plant is not None
        and net is not None
        and not (bought is None and fed is not None and Role.NET not in known)
    ):
        quality.note("load is PV + import - export where these are measured")
        if Role.NET not in known and fed is None:
            quality.note(f"home {name} has PV and import, but no export: taken as if it never fed in")
        return net + plant, plant
    if net is not None and (bought is not None or Role.NET in known):
        if np.any(net < 0) or fed is not None:
            quality.note(
                "of homes with import and export (or net) only, what passes the meter is load and PV: "
                "what they use of their own sun behind it is in neither"
            )
        if bought is not None and fed is not None and Role.NET not in known:
            return bought, fed
        return np.maximum(net, 0.0), np.maximum(-net, 0.0)
    if plant is not None and fed is None:
        quality.note("homes with PV only have no load: they are plants")
        return nothing, plant
    raise ConfigError(
        f'home "{name}": {" and ".join(known)} alone do not say what it consumes',
        "name --load, --import or --net",
    )


def _not_below_zero(name: str, role: Role, values: F64, frame: Frame, quality: Quality) -> F64:
    below = values < -_ROUNDING_WH
    if np.any(below):
        text = f"down to {values.min():,.1f} Wh where it follows from the other columns: set to zero"
        spans = spans_of(below, frame)[:SPANS_MAX]
        rows = np.flatnonzero(below)
        quality.found(Finding(Fault.NEGATIVE, name, str(role), len(rows), spans, text))
        quality.changed(
            name, str(role), Cause.NEGATIVE_TO_ZERO, frame.times_s()[rows], values[rows], np.zeros(len(rows))
        )
    positive: F64 = np.maximum(values, 0.0)
    return positive


def slots_of(homes: Households, slot_s: int | None) -> Households:
    """The same energy in slots that begin at whole multiples of their length in UTC.

    Without a length it is the data's own; where intervals begin between such multiples (a zone of half
    hours), it is the longest that fits both. Parts of an interval have its mean power. A Failure says
    that the data do not fill one slot.
    """
    frame = homes.frame
    wanted = slot_s or math.gcd(frame.step_s, frame.start_s % frame.step_s or frame.step_s)
    if wanted == frame.step_s and frame.start_s % wanted == 0:
        return homes
    first = -(-frame.start_s // wanted)
    end = (frame.start_s + frame.count * frame.step_s) // wanted
    if end - first < 1:
        raise Failure(f"the data do not fill one slot of {wanted} s", "choose a shorter --slot")
    slots = Frame(first * wanted, wanted, end - first)
    edges_s = slots.start_s - frame.start_s + wanted * np.arange(slots.count + 1, dtype=np.int64)
    middle = (edges_s[:-1] + wanted // 2) // frame.step_s
    place = {role: values[middle] for role, values in homes.place.items()}
    load, pv = _laid(homes.load_wh, edges_s, frame), _laid(homes.pv_wh, edges_s, frame)
    return Households(homes.names, slots, load, pv, place, homes.metered)


def _laid(energy_wh: F64, edges_s: I64, frame: Frame) -> F64:
    row, rest_s = np.divmod(edges_s, frame.step_s)
    before = np.concatenate([np.zeros((1, energy_wh.shape[1])), np.cumsum(energy_wh, axis=0)])
    padded = np.concatenate([energy_wh, np.zeros((1, energy_wh.shape[1]))])
    total = before[row] + padded[row] * (rest_s / frame.step_s)[:, None]
    laid: F64 = np.maximum(np.diff(total, axis=0), 0.0)
    return laid


def whole_wh(energy_wh: F64) -> I64:
    """Whole Wh per slot whose running sum is that of the energies, rounded: no fraction is ever lost.

    Columns are homes. Over any stretch of time it is less than 1 Wh away, over the whole period half.
    """
    running = np.rint(np.cumsum(energy_wh, axis=0) + 0.0).astype(np.int64)
    whole: I64 = np.diff(running, axis=0, prepend=0)
    return whole
