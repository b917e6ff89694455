"""Homes as columns: those written by hand, then the groups, then those of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from energymarket.core import chance
from energymarket.core.chance import Purpose
from energymarket.scenario.compile_columns import COLUMNS, Column, drawn_between, shared_out
from energymarket.scenario.compile_community import Community
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_heat import Heat
from energymarket.scenario.compile_loads import TYPICAL_KWH
from energymarket.scenario.compile_roofs import Catalogue
from energymarket.scenario.compile_series import SeriesBook
from energymarket.scenario.compile_sun import F64, I64
from energymarket.scenario.homes_schema import (
    Battery,
    Group,
    HeatPump,
    Home,
    Load,
    LoadKind,
    PolicyName,
    PolicyShares,
    Pv,
    Wind,
)
from energymarket.scenario.schema import Scenario

KEY_PER_SHARE: Final = 1_000
"""Weight of a home of share 1 in the static key: shares have three decimals."""
NOISE_PERMILLE: Final = 100
"""Homes that share an archetype differ by this much in each slot, besides their shift and scale."""
RESPONSE_DEGREES: Final = 1
RESPONSE_U_CURVE: Final = 2
SHIFT_MAX: Final = 32_000  # of a 16-bit column
WEEK_S: Final = 7 * 86_400


class HomesCompiler:
    """Turns the homes of a scenario into columns, and notes what tables they need."""

    def __init__(self, scenario: Scenario, persons: I64, heat: Heat) -> None:
        self._scenario = scenario
        self._period = scenario.market.period
        self._persons = persons  # per archetype
        self._heat = heat
        self.catalogue = Catalogue(scenario.place.roughness_m)
        self.series = SeriesBook(self._period)
        self.profiles: list[str] = []  # BDEW's, numbered after the archetypes
        self.u_curve: dict[str, float] | None = None
        self.columns: dict[str, Column] = {
            name: np.zeros(scenario.homes_count, kind) for name, kind in COLUMNS.items()
        }
        self.columns["series"][:] = np.iinfo(np.uint16).max
        self.columns["battery_charge_efficiency"][:] = 1
        self.columns["battery_discharge_efficiency"][:] = 1

    def compile(self, community: Community | None) -> None:
        """Fill the columns."""
        for home in self._scenario.homes:
            self._by_hand(home)
        first = len(self._scenario.homes)
        for group in self._scenario.groups:
            self._group(group, np.arange(first, first + group.count))
            first += group.count
        if community is not None:
            self._community(community, np.arange(first, self._scenario.homes_count))
        self._static_key()

    def _static_key(self) -> None:
        """Weights in thousandths, where homes differ; those of a data set have a share of 1."""
        weights = np.full(self._scenario.homes_count, KEY_PER_SHARE, np.int64)
        by_hand = [home.key_share for home in self._scenario.homes]
        groups = [(group.key_share, group.count) for group in self._scenario.groups]
        shares = np.concatenate((by_hand, *(np.full(count, share) for share, count in groups)))
        weights[: len(shares)] = np.rint(shares * KEY_PER_SHARE)
        if (weights != weights[0]).any():
            self.columns["key_weight"] = weights.astype("<i4")

    def _draw(self, what: int, homes: I64) -> F64:
        """A number in (0, 1) for each home: a function of seed, what and home id."""
        ids = (homes + 1).astype(np.uint32)
        drawn = chance.draw_u32(self._scenario.seed, Purpose.HOME, what, ids)
        return (drawn.astype(np.float64) + 0.5) / 2.0**32

    def _some(self, share: float, what: int, homes: I64) -> I64:
        """That share of the homes, chosen by lot; the number is exact to half a home."""
        order = np.argsort(self._draw(what, homes), kind="stable")
        return np.sort(homes[order[: round(share * len(homes))]])

    def _put(self, name: str, homes: I64, values: npt.ArrayLike) -> None:
        self.columns[name][homes] = np.asarray(values)

    def _by_hand(self, home: Home) -> None:
        row = np.array([(home.id or 0) - 1])
        shares = {str(name): float(name is home.policy) for name in PolicyName}
        self._policies(PolicyShares(**shares), row)
        self._put("single", row, home.is_single)
        self._put("elasticity_class", row, int(home.elastic))
        production = self._given(home.production_wh, home.production_w)
        consumption = self._given(home.consumption_wh, home.consumption_w)
        self._load(home.load, row, consumption=consumption, production=production)
        self._plants(row, home.pv, home.wind, home.battery, home.heat_pump)

    def _given(self, energy_wh: tuple[float, ...] | None, power_w: tuple[float, ...] | None) -> F64 | None:
        if energy_wh is not None:
            return np.array(energy_wh)
        return None if power_w is None else self.series.energy_wh(np.array(power_w))

    def _group(self, group: Group, homes: I64) -> None:
        self._policies(group.policy, homes)
        self._put("elasticity_class", self._some(group.elastic_share, 2, homes), 1)
        production = self._given(None, group.production_w)
        self._load(group.load, homes, consumption=None, production=production)
        self._plants(homes, group.pv, group.wind, group.battery, group.heat_pump)

    def _policies(self, shares: PolicyShares, homes: I64) -> None:
        parts = (shares.give, shares.sell, shares.give_then_sell)
        self._put("policy", homes, shared_out(parts, self._draw(1, homes)) + 1)

    def _plants(
        self,
        homes: I64,
        pv: Pv | None,
        wind: Wind | None,
        battery: Battery | None,
        heat_pump: HeatPump | None,
    ) -> None:
        if pv is not None and (owners := self._some(pv.share, 10, homes)).size:
            self._put("pv_kwp", owners, drawn_between(pv.kwp, self._draw(11, owners), 0.01))
            roofs = self.catalogue.roofs(pv, (self._draw(12, owners), self._draw(13, owners)))
            self._put("pv_roof", owners, roofs)
        if wind is not None and (owners := self._some(wind.share, 20, homes)).size:
            self._put("wind_kw", owners, drawn_between(wind.kw, self._draw(21, owners), 0.01))
            self._put("wind_site", owners, self.catalogue.site(wind.hub_height_m))
        if battery is not None and (owners := self._some(battery.share, 30, homes)).size:
            self._batteries(battery, owners)
        if heat_pump is not None and (owners := self._some(heat_pump.share, 40, homes)).size:
            self._heat_pumps(heat_pump, owners)

    def _batteries(self, battery: Battery, owners: I64) -> None:
        capacity_wh = np.rint(drawn_between(battery.kwh, self._draw(31, owners), 0.01) * 1e3)
        power_w = np.rint(drawn_between(battery.kw, self._draw(32, owners), 0.01) * 1e3)
        one_way = round(float(np.sqrt(battery.efficiency)), 4)  # of a round trip, half of the loss each way
        self._put("battery_capacity_wh", owners, capacity_wh)
        self._put("battery_charge_w", owners, power_w)
        self._put("battery_discharge_w", owners, power_w)
        self._put("battery_charge_efficiency", owners, one_way)
        self._put("battery_discharge_efficiency", owners, one_way)
        self._put("battery_initial_wh", owners, np.rint(capacity_wh * battery.initial))
        self._put("battery_standby_w", owners, battery.standby_w)

    def _heat_pumps(self, heat_pump: HeatPump, owners: I64) -> None:
        if np.any(self.columns["load_response"][owners] == RESPONSE_U_CURVE):
            raise CompileError(
                "a load that follows the U curve has its heating in it: take the heat_pump away"
            )
        heat_kwh = drawn_between(heat_pump.heat_kwh, self._draw(41, owners), 1.0)
        self._put("heat_wh_per_k", owners, heat_kwh * self._heat.wh_per_k_and_kwh(heat_pump))
        self._put("load_response", owners, RESPONSE_DEGREES)

    def _load(
        self, load: Load | None, homes: I64, *, consumption: F64 | None, production: F64 | None
    ) -> None:
        match load.kind if load is not None else None:
            case None:
                pass
            case LoadKind.HOUSEHOLD:
                self._household(load or Load(kind=LoadKind.HOUSEHOLD), homes)
            case LoadKind.BDEW:
                self._standard(load or Load(kind=LoadKind.BDEW), homes)
            case _ as kind:
                assert load is not None  # noqa: S101 - it has a kind
                consumption = self._series_of(load, kind)
                if kind is LoadKind.U_CURVE:
                    self._follow_u_curve(load, homes)
        if consumption is not None or production is not None:
            self._put("series", homes, self.series.add(production, consumption))

    def _series_of(self, load: Load, kind: LoadKind) -> F64:
        if kind is LoadKind.SERIES:
            return self.series.energy_wh(np.array(load.series_w))
        if kind is LoadKind.CSV:
            path = Path(self._scenario.path).parent / (load.file or "")
            return self.series.from_file(path, load.column or "", load.scale_w)
        return self.series.energy_wh(np.array([load.power_w]))

    def _follow_u_curve(self, load: Load, homes: I64) -> None:
        curve = {
            "curvature": load.curvature,
            "comfort_c": load.comfort_c,
            "rain_factor": load.rain_factor,
        }
        if self.u_curve not in (None, curve):
            raise CompileError("all U curves need the same curvature, comfort_c and rain_factor")
        self.u_curve = curve
        self._put("load_response", homes, RESPONSE_U_CURVE)

    def _household(self, load: Load, homes: I64) -> None:
        """Persons and consumption by the same lot: more people in the house, more consumption."""
        lot = self._draw(3, homes)
        persons = np.rint(drawn_between(load.persons, lot, 0.0)).astype(np.int64)
        within = 0.75 * lot + 0.25 * self._draw(4, homes)
        annual_kwh = drawn_between(load.annual_kwh, within, 1.0)
        self._put("load_scale", homes, annual_kwh / 1e3)
        persons = np.clip(persons, 1, len(TYPICAL_KWH))
        self._put("load_class", homes, self._archetype(persons, self._draw(5, homes)))
        self._put("load_shift", homes, self._shift(homes))
        self._put("noise_permille", homes, NOISE_PERMILLE)

    def _archetype(self, persons: I64, draw: F64) -> I64:
        """One of the archetypes whose number of persons is nearest, by lot."""
        distance = np.abs(self._persons[None, :] - persons[:, None])
        nearest = distance == distance.min(axis=1, keepdims=True)
        chosen = np.floor(draw * nearest.sum(axis=1)).astype(np.int64)
        found: I64 = np.argmax(np.cumsum(nearest, axis=1) > chosen[:, None], axis=1)
        return found

    def _shift(self, homes: I64) -> I64:
        """Up to two whole weeks and half an hour either way: homes of one archetype are not in step."""
        hour = 3600 / self._period.slot_s
        minutes: I64 = np.rint((self._draw(6, homes) - 0.5) * hour).astype(np.int64)
        week = WEEK_S // self._period.slot_s
        if 4 * week > self._period.slots or 3 * week > SHIFT_MAX:
            return minutes
        weeks: I64 = np.floor(self._draw(7, homes) * 5 - 2).astype(np.int64)
        return minutes + week * weeks

    def _standard(self, load: Load, homes: I64) -> None:
        if load.profile not in self.profiles:
            self.profiles.append(load.profile)
        self._put("load_class", homes, len(self._persons) + self.profiles.index(load.profile))
        self._put("load_scale", homes, drawn_between(load.annual_kwh, self._draw(3, homes), 1.0) / 1e3)

    def _community(self, community: Community, homes: I64) -> None:
        data = self._scenario.data
        assert data is not None  # noqa: S101 - there is a community
        self._policies(data.policy, homes)
        for column, home in enumerate(homes.tolist()):
            production, consumption = community.energy_wh(self._period, column)
            self._put("series", np.array([home]), self.series.add(production, consumption))
