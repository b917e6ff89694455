"""The homes of a scenario: groups, homes written by hand, their loads, plants and teaching scenes."""

# ruff: noqa: RUF009 - fields are declared by functions that answer a dataclass field

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from energymarket.core.limits import ENERGY_WH_MAX, HOMES_MAX, POWER_W_MAX
from energymarket.scenario.kinds import (
    Kind,
    Range,
    RefusedError,
    between,
    choice,
    flag,
    key,
    number,
    optional,
    optional_section,
    quoted,
    real,
    section,
    series,
    text,
    whole,
    wholes,
)

VARIED: Final = Range(-1.0, -1.0)
"""Stands for "varied" roofs: the compiler spreads tilts and azimuths as roofs are built."""
KEY_SHARE_MAX: Final = 1_000_000
"""Of a home in the static key: in thousandths it fits a column of 32 bits."""


class PolicyName(StrEnum):
    """What a home does with its surplus; `number` is the one of core.records.Policy."""

    GIVE = "give"
    SELL = "sell"
    GIVE_THEN_SELL = "give_then_sell"

    @property
    def number(self) -> int:
        """1, 2 or 3."""
        return list(PolicyName).index(self) + 1


class LoadKind(StrEnum):
    """Where the consumption of a home comes from."""

    HOUSEHOLD = "household"  # VDI 4655 days of a single house, appliance steps, annual_kwh
    BDEW = "bdew"  # standard load profile, for clusters of homes only; profile, annual_kwh
    CONSTANT = "constant"  # power_w
    SERIES = "series"  # series_w, repeats
    U_CURVE = "u_curve"  # power_w * (1 + curvature * (T - comfort_c)^2) * rain_factor while it rains
    CSV = "csv"  # file, column, scale_w


class ProcessName(StrEnum):
    """Which process a home lives in."""

    POOL = "pool"  # a shard of energy-homesd
    SINGLE = "single"  # an energy-homed of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyShares:
    """How the homes of a group are spread over the policies; the shares sum to 1."""

    give: float
    sell: float
    give_then_sell: float


def policy_kind() -> Kind[PolicyName]:
    """A policy by its word or its number."""
    words = choice(PolicyName)

    def read(value: object) -> PolicyName:
        if isinstance(value, int) and not isinstance(value, bool):
            if not 1 <= value <= len(PolicyName):
                raise RefusedError(f"there is no policy {value}", "1 give, 2 sell, 3 give_then_sell")
            return list(PolicyName)[value - 1]
        return words.read(value)

    return Kind(words.words, read, words.write)


def shares_kind() -> Kind[PolicyShares]:
    """One policy for all homes of a group, or {give = 0.3, sell = 0.3, give_then_sell = 0.4}."""
    one = policy_kind()
    share = real(0, 1)

    def read(value: object) -> PolicyShares:
        if not isinstance(value, dict):
            value = {str(one.read(value)): 1.0}
        names = tuple(str(name) for name in PolicyName)
        for name in value:
            if name not in names:
                raise RefusedError(f'"{name}" is no policy', choices=names, found=name)
        parts = {name: share.read(value.get(name, 0)) for name in names}
        if abs(sum(parts.values()) - 1) > 1e-9:
            raise RefusedError(f"the shares sum to {sum(parts.values()):g}, not to 1")
        return PolicyShares(**parts)

    def write(value: PolicyShares) -> str:
        parts = [(name, getattr(value, name)) for name in map(str, PolicyName) if getattr(value, name)]
        if len(parts) == 1:
            return quoted(parts[0][0])
        return "{ " + ", ".join(f"{name} = {number(part)}" for name, part in parts) + " }"

    return Kind("a policy or shares of policies", read, write)


def azimuth_kind() -> Kind[Range]:
    """Degrees from north over east, a range of them, or "varied"."""
    degrees = between(0, 360, "degrees")

    def read(value: object) -> Range:
        if isinstance(value, str):
            if value != "varied":
                raise RefusedError(
                    f'expected degrees, [from, to] or "varied", found "{value}"',
                    choices=("varied",),
                    found=value,
                )
            return VARIED
        return degrees.read(value)

    return Kind(
        'degrees, [from, to] or "varied"',
        read,
        lambda value: '"varied"' if value == VARIED else degrees.write(value),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Consumption of a home (of each home of a group; ranges are drawn per home)."""

    kind: LoadKind = key(choice(LoadKind), "household, bdew, constant, series, u_curve or csv", required=True)
    annual_kwh: Range = key(
        between(0, 100_000, "kWh"), "household, bdew: electricity in a year", Range(2000, 5500)
    )
    persons: Range = key(between(1, 12), "household: people in the house (VDI 4655)", Range(1, 5))
    profile: str = key(text(8), "bdew: the standard load profile", "h0")
    power_w: float = key(real(0, POWER_W_MAX, "W"), "constant, u_curve: mean power", 400.0)
    series_w: tuple[float, ...] = key(series(0, POWER_W_MAX, "W"), "series: one mean power per slot", (0.0,))
    curvature: float = key(real(0, 1), "u_curve: rise per squared degree from comfort_c", 0.002)
    comfort_c: float = key(real(-20, 50, "°C"), "u_curve: temperature of least consumption", 17.0)
    rain_factor: float = key(real(0, 10), "u_curve: consumption is multiplied by it while it rains", 1.0)
    file: str | None = optional(text(), "csv: file beside the scenario", '"load.csv"')
    column: str | None = optional(text(), "csv: column with one value per hour or slot", '"load_w"')
    scale_w: float = key(real(0, POWER_W_MAX, "W"), "csv: watts per unit of the column", 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pv:
    """A photovoltaic plant on the roof."""

    share: float = key(real(0, 1), "share of the homes that have one", 1.0)
    kwp: Range = key(between(0, 1000, "kWp"), "peak power", Range(4, 10))
    tilt_deg: Range = key(between(0, 90, "degrees"), "0 is flat", Range(25, 45))
    azimuth_deg: Range = key(
        azimuth_kind(), 'from north over east: 180 is south; or "varied" as roofs are', VARIED
    )
    losses: float = key(real(0, 0.9), "share lost to soiling, wiring, mismatch, inverter", 0.14)
    inverter_ratio: float = key(real(0.3, 2), "inverter power over peak power: clips above it", 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wind:
    """A small wind turbine."""

    share: float = key(real(0, 1), "share of the homes that have one", 1.0)
    kw: Range = key(
        between(0, 1000, "kW"),
        "rated power; the shape of the curve is the cited small turbine's",
        Range(2, 5),
    )
    hub_height_m: float = key(real(5, 100, "m"), "height of the hub", 15.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """A battery behind the meter."""

    share: float = key(real(0, 1), "share of the homes that have one", 1.0)
    kwh: Range = key(between(0, 10_000, "kWh"), "usable capacity", Range(5, 10))
    kw: Range = key(between(0, 1000, "kW"), "largest charging and discharging power", Range(2.5, 5))
    efficiency: float = key(real(0.1, 1), "round trip, as a share", 0.9)
    standby_w: float = key(real(0, 1000, "W"), "what the electronics take from it for ever", 0.0)
    initial: float = key(real(0, 1), "charge at the first slot, as a share of the capacity", 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatPump:
    """A heat pump: its electricity is added to the load."""

    share: float = key(real(0, 1), "share of the homes that have one", 1.0)
    heat_kwh: Range = key(between(0, 200_000, "kWh"), "heat in a year, space and water", Range(6000, 14000))
    cop_at_7c: float = key(real(1, 10), "coefficient of performance at 7 °C outside", 3.6)
    cop_per_k: float = key(real(0, 1), "its rise per degree outside", 0.08)
    cop_min: float = key(real(1, 10), "never below this (heating rod)", 1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """[[homes]]: many homes of one kind. Ids follow the homes written by hand, in order of the file."""

    name: str = key(text(60), "name of the group", required=True)
    count: int = key(whole(1, HOMES_MAX, "homes"), "number of homes", required=True)
    policy: PolicyShares = key(
        shares_kind(),
        "give (1), sell (2), give_then_sell (3), or shares of them",
        PolicyShares(give=0.0, sell=0.0, give_then_sell=1.0),
    )
    elastic_share: float = key(real(0, 1), "share of the homes that answer to the price", 1.0)
    key_share: float = key(
        real(0, KEY_SHARE_MAX), "part of each of them in the static key, relative to others", 1.0
    )
    production_w: tuple[float, ...] | None = optional(
        series(0, POWER_W_MAX, "W"),
        "mean power per slot that each of them produces, besides pv and wind",
        "400",
    )
    load: Load | None = optional_section(Load, "consumption")
    pv: Pv | None = optional_section(Pv, "sun")
    wind: Wind | None = optional_section(Wind, "wind")
    battery: Battery | None = optional_section(Battery, "storage")
    heat_pump: HeatPump | None = optional_section(HeatPump, "heat")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomClaim:
    """A claim on an offer that was never made."""

    giver: int = key(whole(1, HOMES_MAX), "home id that is said to have offered", required=True)
    energy_wh: int = key(whole(1, ENERGY_WH_MAX, "Wh"), "energy of the claim", required=True)
    slots: tuple[int, ...] = key(wholes(0, 1 << 40), "slots of it, counted from 0", required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """[home.scene]: teaching aids. They make one home misbehave so that the rule for it is seen."""

    misreports_wh: tuple[float, ...] = key(
        series(-ENERGY_WH_MAX, ENERGY_WH_MAX, "Wh"),
        "added to sold minus bought of the slot's order: above zero sells too much or buys too little",
        (0.0,),
    )
    late_slots: tuple[int, ...] = key(
        wholes(0, 1 << 40), "slots, from 0, whose batch comes after the gate: that of its whole shard", ()
    )
    phantom_claim: PhantomClaim | None = optional_section(PhantomClaim, "a claim without an offer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """[[home]]: one home written by hand. Their ids are 1 .. H; without `id` in order of the file."""

    id: int | None = optional(
        whole(1, HOMES_MAX), "home id; the homes written by hand take 1 .. their number", "1"
    )
    name: str = key(text(60), "name for people", required=True)
    policy: PolicyName = key(
        policy_kind(), "give (1), sell (2) or give_then_sell (3)", PolicyName.GIVE_THEN_SELL
    )
    process: ProcessName = key(choice(ProcessName), "pool, or single: a process of its own", ProcessName.POOL)
    meter: str | None = optional(
        text(64),
        "meter whose readings it lives by when the market is live; it is a process of its own",
        '"Meter_0"',
    )
    elastic: bool = key(flag(), "answers to the price", default=False)
    key_share: float = key(real(0, KEY_SHARE_MAX), "its part of the static key, relative to others", 1.0)
    production_wh: tuple[float, ...] | None = optional(
        series(0, ENERGY_WH_MAX, "Wh"), "production per slot, besides pv and wind", "[0, 250]"
    )
    consumption_wh: tuple[float, ...] | None = optional(
        series(0, ENERGY_WH_MAX, "Wh"), "consumption per slot, instead of a load", "[250, 0]"
    )
    production_w: tuple[float, ...] | None = optional(
        series(0, POWER_W_MAX, "W"), "as production_wh, as mean power", "1000"
    )
    consumption_w: tuple[float, ...] | None = optional(
        series(0, POWER_W_MAX, "W"), "as consumption_wh, as mean power", "1000"
    )
    load: Load | None = optional_section(Load, "consumption")
    pv: Pv | None = optional_section(Pv, "sun")
    wind: Wind | None = optional_section(Wind, "wind")
    battery: Battery | None = optional_section(Battery, "storage")
    heat_pump: HeatPump | None = optional_section(HeatPump, "heat")
    scene: Scene = section(Scene, "teaching aids")

    @property
    def is_single(self) -> bool:
        """Whether it is a process of its own."""
        return self.process is ProcessName.SINGLE or self.meter is not None
