"""What homes consume: load profiles, noise, the weather's pull, and elasticity with shifting."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, cast

import numpy as np

from energymarket.core.block import (
    F32,
    I32,
    I64,
    Column,
    Scratch,
    Spare,
    keepers_or_none,
    owners_or_none,
    split_wh,
)
from energymarket.core.noise import noise_or_none
from energymarket.core.owned import SERIES_NONE
from energymarket.core.state import Work
from energymarket.core.weather import Samples

_SECONDS_PER_HOUR: Final = 3_600
_MILLI: Final = 1_000.0


class Response(IntEnum):
    """How a home's load follows the weather."""

    NONE = 0
    DEGREES = 1
    U_CURVE = 2


@dataclass(frozen=True, slots=True)
class UCurve:
    """Consumption c * (1 + k * (T - T0)**2), times a factor when it rains: the statement's household.

    The statement has k = 0.002, T0 = 17 °C and a rain factor of 1.2; c is the home's own load.
    """

    curvature: float = 0.002
    comfort_c: float = 17.0
    rain_factor: float = 1.2

    def factor(self, temperature_mc: int, rain_um_per_h: int) -> float:
        """What c is multiplied by in this weather."""
        distance_k = temperature_mc / _MILLI - self.comfort_c
        factor = 1.0 + self.curvature * (distance_k * distance_k)
        return factor * self.rain_factor if rain_um_per_h > 0 else factor


@dataclass(frozen=True, slots=True)
class Degrees:
    """Heating and cooling degrees: how far the air is below the one and above the other limit, in K."""

    heating_limit_c: float = 15.0
    cooling_limit_c: float = 24.0

    def heating_k(self, temperature_mc: int) -> float:
        """Kelvin below the heating limit, or 0."""
        return max(0.0, self.heating_limit_c - temperature_mc / _MILLI)

    def cooling_k(self, temperature_mc: int) -> float:
        """Kelvin above the cooling limit, or 0."""
        return max(0.0, temperature_mc / _MILLI - self.cooling_limit_c)


@dataclass(frozen=True, slots=True)
class Elasticity:
    """How a class of homes answers the price.

    Between the points of the grid the factor is interpolated, beyond them it stays. Of what a factor
    below 1 saves, `shift_share` is consumed later: each slot pays back 1 / `shift_slots` of what is
    still owed (rounded up to whole Wh, so that a debt ends), whatever the price is then: the mean delay
    is `shift_slots`.
    """

    reference_ueur_per_kwh: int
    grid_ueur_per_kwh: tuple[int, ...]
    factor_permille: tuple[int, ...]
    shift_share_permille: int = 0
    shift_slots: int = 1

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Elasticity:
        """The class that a compiled scenario describes with these names."""
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
        return cls(**cast("dict[str, Any]", values))

    def factor(self, price_ueur_per_kwh: int | None) -> float:
        """What the load is multiplied by at a price; None is the reference price."""
        price = self.reference_ueur_per_kwh if price_ueur_per_kwh is None else price_ueur_per_kwh
        grid, factors = self.grid_ueur_per_kwh, self.factor_permille
        right = bisect_right(grid, price)
        if right in {0, len(grid)}:
            return factors[0 if right == 0 else -1] / _MILLI
        left = right - 1
        share = (price - grid[left]) / (grid[right] - grid[left])
        return (factors[left] + (factors[right] - factors[left]) * share) / _MILLI

    def later(self, factor: float) -> float:
        """The share of the load that is put off when the load is multiplied by `factor`."""
        return max(0.0, 1.0 - factor) * self.shift_share_permille / _MILLI


@dataclass(frozen=True, slots=True)
class DemandOfSlots:
    """What the demand of K slots depends on but the price, the same for all homes."""

    seed: int
    slots: range
    hours: tuple[int, ...]  # of the slots, ascending: several slots may lie in one
    profile_wh: F32  # (K, profiles): per profile key, at 1 MWh a year
    series_wh: F32  # (K, series + 1)
    u_factor: F32  # (K, 2): of those who do not follow the U curve, and of those who do
    heating_k: F32  # (K, 1): weighted by the hour of the day
    cooling_k: F32  # (K, 1)


@dataclass(frozen=True, slots=True)
class Answer:
    """How the classes of elasticity answer a price: class 0 does not."""

    now: F32  # the share of the load that stays
    later: F32  # the share that is put off
    elastic: bool  # whether any class differs from 1 at this price


class Demand:
    """What the demand of a fleet depends on, homes aside; cut down to the profiles that occur in it."""

    def __init__(
        self, tables: Mapping[str, Column], settings: Mapping[str, Any], slot_s: int, seed: int
    ) -> None:
        self._slot_s = slot_s
        self._seed = seed
        self._load_wh = np.asarray(tables["load_wh"])
        self._series_wh = np.asarray(tables["series_consumption_wh"])
        self._heat_shape = np.asarray(tables["heat_shape"])
        self._u_curve = UCurve(**settings.get("u_curve", {}))
        self._degrees = Degrees(**settings.get("degrees", {}))
        self._classes = tuple(Elasticity.of(each) for each in settings.get("elasticity", ()))
        self._profile_shift = np.zeros(0, np.int64)
        self._profile_class = np.zeros(0, np.int64)
        self.series_count: int = self._series_wh.shape[1]
        # Class 0 is inelastic: it puts nothing off and owes nothing.
        self.shift_slots: I32 = np.array([1, *(each.shift_slots for each in self._classes)], np.int32)

    def key_profiles(self, homes: Mapping[str, Column]) -> Column:
        """One key per home for its (class, shift): a slot looks each profile up once, not once per home."""
        classes = max(self._load_wh.shape[1], 1)
        owns = homes["load_scale"] > 0
        shift = np.where(owns, homes["load_shift"], 0).astype(np.int64)
        pairs, keys = np.unique(shift * classes + np.where(owns, homes["load_class"], 0), return_inverse=True)
        self._profile_shift, self._profile_class = np.divmod(pairs, classes)
        return keys.astype(np.min_scalar_type(max(pairs.size - 1, 0)))

    def of_slots(self, slots: range, rows: I64, weather: Samples) -> DemandOfSlots:
        """Everything that homes share but the price; factors are rounded to float32 once, here.

        `rows` (K) are those of the tables, `weather` (K) the samples. A home with `load_shift` s lives s
        slots later than its archetype. The heat shape begins at midnight UTC.
        """
        temperatures_mc = weather["temperature_mc"].tolist()
        rains = weather["rain_um_per_h"].tolist()
        shape = self._heat_shape
        shapes = [float(shape[slot % shape.size]) if shape.size else 1.0 for slot in slots]
        heating_k = [self._degrees.heating_k(t) * s for t, s in zip(temperatures_mc, shapes, strict=True)]
        bends = [self._u_curve.factor(t, rain) for t, rain in zip(temperatures_mc, rains, strict=True)]
        profile = np.zeros((len(slots), self._profile_class.size), np.float32)
        if self._load_wh.size:
            at = (rows[:, None] - self._profile_shift) % self._load_wh.shape[0]
            profile[:] = self._load_wh[at, self._profile_class]
        series = np.zeros((len(slots), self.series_count + 1), np.float32)
        if self.series_count:
            series[:, :-1] = self._series_wh[rows]
        return DemandOfSlots(
            seed=self._seed,
            slots=slots,
            hours=tuple(slot * self._slot_s // _SECONDS_PER_HOUR for slot in slots),
            profile_wh=profile,
            series_wh=series,
            u_factor=np.array([(1.0, bend) for bend in bends], np.float32),
            heating_k=np.array(heating_k, np.float32)[:, None],
            cooling_k=np.array([self._degrees.cooling_k(t) for t in temperatures_mc], np.float32)[:, None],
        )

    def answer(self, price_ueur_per_kwh: int | None) -> Answer:
        """How the classes answer a price; None is each class's reference price."""
        factors = [each.factor(price_ueur_per_kwh) for each in self._classes]
        later = [each.later(factor) for each, factor in zip(self._classes, factors, strict=True)]
        return Answer(
            now=np.array([1.0, *factors], np.float32),
            later=np.array([0.0, *later], np.float32),
            elastic=any(factor != 1.0 for factor in factors),
        )


class DemandBlock:
    """The load of a block of homes: static columns in, whole Wh of a slot out."""

    def __init__(self, homes: Mapping[str, Column], first: int, demand: Demand, profile: Column) -> None:
        """`homes` and `profile` (from `demand.key_profiles`) are those of the block, `first` its first id."""
        self._homes = len(profile)
        self._load = owners_or_none(homes["load_scale"] > 0)
        if self._load is not None:
            self._profile = self._load.column(profile)
            self._scale = self._load.column(np.maximum(homes["load_scale"], 0).astype(np.float32))
        self._series = owners_or_none(homes["series"] != SERIES_NONE)
        if self._series is not None:
            # A home without a series reads the zero that stands behind the last one.
            keys = np.minimum(homes["series"], demand.series_count)
            self._series_key = self._series.column(keys.astype(np.uint16))
        self.noise = noise_or_none(homes, first)
        self._take_weather(homes)
        self._elastic = keepers_or_none(homes["elasticity_class"] > 0)
        if self._elastic is not None:
            classes = self._elastic.column(homes["elasticity_class"].astype(np.uint8))
            kinds = np.unique(classes)
            self._class: int | Column = classes if kinds.size > 1 else int(kinds[0])
            self._shift_slots = demand.shift_slots
            shifts = np.unique(demand.shift_slots[1:])
            # NumPy divides by one number nine times as fast as by an array of them.
            self._one_shift: int | None = int(shifts[0]) if shifts.size == 1 else None

    def _take_weather(self, homes: Mapping[str, Column]) -> None:
        bends = homes["load_response"] == Response.U_CURVE
        self._u_curve = owners_or_none(bends)
        if self._u_curve is not None:
            self._bends = self._u_curve.column(bends.astype(np.uint8))
        degrees = homes["load_response"] == Response.DEGREES
        heat = np.where(degrees, homes["heat_wh_per_k"], 0).astype(np.float32)
        self._heat = owners_or_none(heat > 0)
        if self._heat is not None:
            self._heat_wh_per_k = self._heat.column(heat)
        cool = np.where(degrees, homes["cool_wh_per_k"], 0).astype(np.float32)
        self._cool = owners_or_none(cool > 0)
        if self._cool is not None:
            self._cool_wh_per_k = self._cool.column(cool)

    def want(self, shared: DemandOfSlots, wanted: F32, spare: Spare) -> None:
        """Fill `wanted` (K, homes of the block) with the Wh that each home wants, whatever the price is."""
        self._add_load(shared, wanted, spare)
        self._add_degrees(shared, wanted, spare)

    def consume(self, wanted: F32, answer: Answer, work: Work) -> I32:
        """Whole Wh that each home consumes in a slot; what is carried and what is owed moves on.

        `wanted` is the slot's row of `want`, and is used up.
        """
        before, after, scratch = work.before, work.after, work.scratch
        later_wh = self._put_off(answer, wanted, work)
        consumption_wh = scratch.consumption_wh[: before.count]
        carry = (before.load_carry_wh, after.load_carry_wh)
        split_wh(wanted, carry, consumption_wh, scratch.floats[1][: before.count])
        self._make_up(consumption_wh, later_wh, work)
        return consumption_wh

    def _add_load(self, shared: DemandOfSlots, wanted: F32, spare: Spare) -> None:
        """Profile and series, bent by the U curve, roughened by noise."""
        if self._load is None or self._load.count < wanted.shape[1]:
            wanted.fill(0)
        if self._load is not None:
            part = self._load.place(wanted, spare.floats[0])
            spare.look_up(shared.profile_wh, self._profile, part)
            part *= self._scale
            self._load.write(wanted, part)
        if self._series is not None:
            part = self._series.read(wanted, spare.floats[0])
            part += spare.look_up(shared.series_wh, self._series_key, spare.like(part, 1))
            self._series.write(wanted, part)
        if self._u_curve is not None:
            part = self._u_curve.read(wanted, spare.floats[0])
            part *= spare.look_up(shared.u_factor, self._bends, spare.like(part, 1))
            self._u_curve.write(wanted, part)
        if self.noise is not None:
            self.noise.roughen(wanted, shared, spare)

    def _add_degrees(self, shared: DemandOfSlots, wanted: F32, spare: Spare) -> None:
        """Heating and cooling."""
        if self._heat is not None and bool(shared.heating_k.any()):
            part = self._heat.read(wanted, spare.floats[0])
            part += np.multiply(self._heat_wh_per_k, shared.heating_k, out=spare.like(part, 1))
            self._heat.write(wanted, part)
        if self._cool is not None and bool(shared.cooling_k.any()):
            part = self._cool.read(wanted, spare.floats[0])
            part += np.multiply(self._cool_wh_per_k, shared.cooling_k, out=spare.like(part, 1))
            self._cool.write(wanted, part)

    def _put_off(self, answer: Answer, wanted: F32, work: Work) -> I32 | None:
        """Answer the price: what is wanted now changes; answers the whole Wh put off per elastic home."""
        before, after, scratch = work.before, work.after, work.scratch
        elastic = self._elastic
        if elastic is None or not answer.elastic:
            work.keep("deferred_carry_wh")
            return None
        part = elastic.read(wanted, scratch.floats[1])
        later = np.multiply(self._of_class(answer.later, scratch), part, out=scratch.floats[2][: part.size])
        part *= self._of_class(answer.now, scratch)
        elastic.write(wanted, part)
        if elastic.count < wanted.size:
            work.keep("deferred_carry_wh")
        carry = elastic.read(before.deferred_carry_wh, scratch.floats[3])
        carry_after = elastic.place(after.deferred_carry_wh, scratch.floats[4])
        later_wh = scratch.integers[0][: elastic.count]
        split_wh(later, (carry, carry_after), later_wh, scratch.floats[5][: elastic.count])
        elastic.write(after.deferred_carry_wh, carry_after)
        return later_wh

    def _of_class(self, shares: F32, scratch: Scratch) -> F32 | np.float32:
        """What a table has for the class of each home, or of all of them."""
        one: np.float32 | None = shares[self._class] if isinstance(self._class, int) else None
        return scratch.look_up(shares, np.asarray(self._class), scratch.floats[3]) if one is None else one

    def _make_up(self, consumption_wh: I32, later_wh: I32 | None, work: Work) -> None:
        """Consume a part of what is owed since earlier slots; then add what was put off in this one."""
        after, scratch = work.after, work.scratch
        work.keep("deferred_wh")
        elastic = self._elastic
        if elastic is None:
            return
        owed_wh = elastic.read(after.deferred_wh, scratch.integers[1])
        if bool(owed_wh.any()):
            due_wh = self._due(owed_wh, scratch)
            owed_wh -= due_wh
            part = elastic.read(consumption_wh, scratch.integers[3])
            part += due_wh
            elastic.write(consumption_wh, part)
        if later_wh is not None:
            owed_wh += later_wh
        elastic.write(after.deferred_wh, owed_wh)

    def _due(self, owed_wh: I32, scratch: Scratch) -> I32:
        """One `shift_slots`-th of what is owed, rounded up: never more than is owed, and 0 if nothing is."""
        due_wh = scratch.integers[2][: owed_wh.size]
        divisor: int | I32
        if self._one_shift is not None:
            divisor = self._one_shift
        else:
            divisor = scratch.look_up(self._shift_slots, np.asarray(self._class), scratch.integers[3])
        np.add(owed_wh, divisor, out=due_wh)
        due_wh -= 1
        due_wh //= divisor
        return due_wh
