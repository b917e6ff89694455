"""The model of a home and of its market, as one would write it by hand: an object per home, no arrays.

The anchor of the benchmarks. It imports nothing of energy-market, so that it runs in an environment of
its own beside other frameworks. What homes share in a slot (light on the roofs, profile values, the
draws) is handed to it ready made, which favours it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

GIVE: Final = 1
SELL: Final = 2
SERIES_NONE: Final = 65_535
FLOWS: Final = ("production_wh", "consumption_wh", "import_wh", "export_wh", "losses_wh", "battery_wh")
TRADES: Final = ("given_wh", "received_wh", "sold_wh", "bought_wh", "money_ueur")


class TwinHome:
    """One home as an object: load, weather, elasticity with shifting, PV, wind, battery."""

    __slots__ = (*FLOWS, *TRADES, "carries", "dues", "fraction", "left_wh", "o")

    production_wh: int
    consumption_wh: int
    import_wh: int
    export_wh: int
    losses_wh: int
    battery_wh: int
    given_wh: int
    received_wh: int
    sold_wh: int
    bought_wh: int
    money_ueur: int

    def __init__(self, own: dict[str, Any], shift_slots: Sequence[int]) -> None:
        self.o = own
        for name in (*FLOWS, *TRADES):
            setattr(self, name, 0)
        self.battery_wh = own["battery_initial_wh"]
        self.carries = [0.0, 0.0, 0.0, 0.0]
        self.fraction = 0
        self.left_wh = 0  # above zero a surplus, below a need that the market has not served yet
        level = own["elasticity_class"]
        self.dues = (0, shift_slots[level - 1] if level else 1)

    def whole(self, stream: int, energy: float) -> int:
        """Whole Wh; the fraction stays."""
        energy += self.carries[stream]
        whole = int(energy)
        self.carries[stream] = energy - whole
        return whole

    def consume(self, shared: Any, wanted: float, noise: float) -> int:
        """Load of the slot: `wanted` at the profile's value, times `noise`."""
        o = self.o
        wanted *= o["load_scale"]
        if o["series"] != SERIES_NONE:
            wanted += shared.series_out[o["series"]]
        if o["load_response"] == 2:
            wanted *= shared.u_factor
        wanted *= noise
        if o["load_response"] == 1:
            wanted += shared.heating_k * o["heat_wh_per_k"] + shared.cooling_k * o["cool_wh_per_k"]
        owed, slots = self.dues
        due = later = 0
        if o["elasticity_class"]:
            factor = shared.factors[o["elasticity_class"]]
            due = -(-owed // slots)
            later = self.whole(3, wanted * max(0.0, 1 - factor) * 0.5)
            wanted *= factor
        self.dues = (owed - due + later, slots)
        return self.whole(0, wanted) + due

    def produce(self, shared: Any) -> int:
        """PV, series and wind of the slot."""
        o = self.o
        energy = shared.pv_wh[o["pv_roof"]] * o["pv_kwp"] if o["pv_kwp"] else 0.0
        if o["series"] != SERIES_NONE:
            energy += shared.series_in[o["series"]]
        produced = self.whole(1, energy)
        if o["wind_kw"]:
            produced += self.whole(2, shared.wind_wh[o["wind_site"]] * o["wind_kw"])
        return produced

    def store(self, net: int, turn: int) -> int:
        """Net at the meter after the battery."""
        o = self.o
        if not o["battery_capacity_wh"] or not net:
            return net
        which = "charge" if net > 0 else "discharge"
        energy, q = o[f"battery_{which}_w"] * 900, o[f"{which}_q"]
        limit = energy * (turn + 1) // 3600 - energy * turn // 3600
        if net > 0:
            most, target = min(net, limit), min(o["battery_capacity_wh"] - self.battery_wh, limit)
        else:
            most, target = self.battery_wh, min(-net, limit)
        moved = max(0, min(most, -(-(target * 10_000 - self.fraction) // q)))
        arrived, self.fraction = divmod(moved * q + self.fraction, 10_000)
        self.losses_wh += moved - arrived
        self.battery_wh += arrived if net > 0 else -moved
        return int(net - moved if net > 0 else net + arrived)

    def step(self, shared: Any, wanted: float, noise: float) -> None:
        """One slot.

        `shared` has turn, heating_k, cooling_k, u_factor, series_in and _out, pv_wh by roof, wind_wh by
        site and factors by class of elasticity.
        """
        consumed = self.consume(shared, wanted, noise)
        produced = self.produce(shared)
        self.consumption_wh += consumed
        self.production_wh += produced
        net = self.store(produced - consumed, shared.turn)
        self.left_wh = net
        if net > 0:
            self.export_wh += net
        else:
            self.import_wh -= net


def columns_as_homes(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Columns of homes as one dictionary per home, efficiencies in 1/10,000 as `charge_q`, `discharge_q`."""
    columns = dict(columns)
    for which in ("charge", "discharge"):
        columns[f"{which}_q"] = [round(e * 10_000) for e in columns[f"battery_{which}_efficiency"]]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def factor_of(grid: Sequence[int], factor_permille: Sequence[int], price: int) -> float:
    """How a class of elasticity answers a price: linear between its points, flat beyond."""
    if price <= grid[0]:
        return factor_permille[0] / 1000
    for left, right in zip(range(len(grid)), range(1, len(grid)), strict=False):
        if price < grid[right]:
            share = (price - grid[left]) / (grid[right] - grid[left])
            low, high = factor_permille[left], factor_permille[right]
            return (low + (high - low) * share) / 1000
    return factor_permille[-1] / 1000


def share_out(ring: Iterable[TwinHome]) -> None:
    """Gifts of a slot, exact and fair: round by round each home in need has one offer, or its part of it."""
    offers: deque[TwinHome] = deque()
    takers: list[TwinHome] = []
    for home in ring:
        if home.left_wh < 0:
            takers.append(home)
        elif home.left_wh > 0 and home.o["policy"] != SELL:
            offers.append(home)
    while takers and offers:
        wanting = []
        for taker in takers:
            if not offers:
                break
            giver = offers[0]
            part = min(-taker.left_wh, giver.left_wh)
            giver.left_wh -= part
            giver.given_wh += part
            taker.left_wh += part
            taker.received_wh += part
            if not giver.left_wh:
                offers.popleft()
            if taker.left_wh:
                wanting.append(taker)
        takers = wanting


def trade_rest(homes: Iterable[TwinHome], price_ueur_per_kwh: int) -> None:
    """What gifts have left is bought, sold, or (of those who only give) let go."""
    for home in homes:
        left = home.left_wh
        if left < 0:
            home.bought_wh -= left
            home.money_ueur -= (-left * price_ueur_per_kwh + 500) // 1000
        elif left > 0 and home.o["policy"] != GIVE:
            home.sold_wh += left
            home.money_ueur += (left * price_ueur_per_kwh + 500) // 1000


def totals_of(homes: Sequence[TwinHome]) -> dict[str, int]:
    """Sums over all homes."""
    return {name: sum(getattr(home, name) for home in homes) for name in (*FLOWS, *TRADES)}
