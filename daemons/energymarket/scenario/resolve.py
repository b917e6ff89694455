"""From a file's sections to the market's parameters: per slot, in µ€/kWh, scaled coefficients made raw."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from energymarket.core.parameters import EventKind, Factor, Period, PriceModel, Rule, Sharing, Tariff
from energymarket.core.sharing import mid_price
from energymarket.core.stability import Stability, stability, steepest_slope
from energymarket.scenario.kinds import UEUR_PER_EUR
from energymarket.scenario.schema import (
    Elasticity,
    EventSection,
    MarketParameters,
    PriceForm,
    PriceSection,
    Scenario,
    SharingSection,
    TariffSection,
    Time,
)

if TYPE_CHECKING:
    from energymarket.scenario.homes_schema import Home
    from energymarket.scenario.schema import DataSet, Document

DAY_S: Final = 86_400
YEAR_S: Final = 365 * DAY_S
GAMMA_DECIMALS: Final = 12
"""Powers differ between processors in their last bits; a rounded gamma is the same everywhere."""


def start_utc_s(time: Time) -> int:
    """The first instant of the scenario."""
    local = datetime.combine(time.start.date(), time.start.time(), ZoneInfo(time.timezone))
    return int(local.timestamp())


def period(time: Time) -> Period:
    """Slots as numbers since the epoch."""
    slots = time.slots if time.slots is not None else max(1, round(time.days * DAY_S / time.slot_s))
    return Period(time.slot_s, start_utc_s(time) // time.slot_s, slots, time.speed, time.timezone)


def gamma(price: PriceSection, slot_s: int) -> float:
    """What stays of the price after a slot: 2**(-slot / half-life) in the scaled form."""
    if price.form is PriceForm.RAW:
        return price.gamma if price.gamma is not None else 0.0
    hours = price.half_life_h if price.half_life_h is not None else 1.0
    return round(float(2.0 ** (-slot_s / 3600 / hours)), GAMMA_DECIMALS)


def price_model(price: PriceSection, slot_s: int) -> PriceModel:
    """Coefficients per slot. A steady effect alpha is alpha (1 - gamma) per slot: that sums to alpha."""
    kept = gamma(price, slot_s)
    per_slot = UEUR_PER_EUR * (1 - kept if price.form is PriceForm.SCALED else 1.0)
    factors = tuple(
        Factor(str(entry.name), _decimal(entry.alpha * per_slot), entry.reference_c) for entry in price.factor
    )
    return PriceModel(
        initial_ueur_per_kwh=price.initial_ueur_per_kwh,
        gamma=kept,
        factors=factors,
        events=tuple(_kind(name, entry, slot_s, per_slot) for name, entry in event_sections(price)),
        floor_ueur_per_kwh=price.floor_ueur_per_kwh,
        cap_ueur_per_kwh=price.cap_ueur_per_kwh,
    )


def slot_price(price: PriceSection, rule: Rule, slot_s: int) -> PriceModel:
    """The price that holds: the linear one, or under the mid-market rate half way between the grid's."""
    if rule is Rule.MID_MARKET:
        return mid_price.price_model(price.initial_ueur_per_kwh)
    return price_model(price, slot_s)


def event_sections(price: PriceSection) -> list[tuple[str, EventSection]]:
    """The kinds of events that the scenario has, in the order of the schema: their index is their number."""
    named = [(entry.name, getattr(price.events, entry.name)) for entry in fields(price.events)]
    return [(name, found) for name, found in named if found is not None]


def _kind(name: str, entry: EventSection, slot_s: int, per_slot: float) -> EventKind:
    rate = entry.per_year * slot_s / YEAR_S
    if entry.probability_per_slot is not None:
        rate = entry.probability_per_slot
    return EventKind(
        name=name,
        beta_ueur_per_kwh=_decimal(entry.beta * per_slot),
        arrivals_per_slot=rate,
        duration_slots_mean=max(1.0, entry.duration_s / slot_s),
        intensity_min=entry.intensity.low,
        intensity_max=entry.intensity.high,
        rain_factor=entry.rain_factor,
    )


def _decimal(coefficient_ueur_per_kwh: float) -> float:
    """Rounded far below a µ€, so that 0.001 €/kWh is 1000 µ€/kWh whatever the product's last bit says."""
    return round(coefficient_ueur_per_kwh, 9)


def tariff(section: TariffSection) -> Tariff:
    """The import price is the sum of its parts; per-slot lists are the compiler's."""
    import_ueur = section.energy_ueur_per_kwh + section.grid_fee_ueur_per_kwh + section.tax_ueur_per_kwh
    return Tariff(
        import_ueur_per_kwh=section.import_list[0] if section.import_list else import_ueur,
        export_ueur_per_kwh=section.export_list[0] if section.export_list else section.export_ueur_per_kwh,
        gift_fee_ueur_per_kwh=section.gift_fee_ueur_per_kwh,
        follows_price=section.follows_price,
    )


def sharing(section: SharingSection) -> Sharing:
    """The sharing rule and model of the core."""
    return Sharing(section.take, section.turn, section.excess, section.rule)


def demand_points(elasticity: Elasticity) -> tuple[tuple[int, float], ...]:
    """The demand curve as (price, factor), linear between points and level beyond both ends.

    A slope is the line 1 + slope (p/reference - 1), cut at factor_max and factor_min. One point
    stands for demand that does not answer.
    """
    if elasticity.points is not None:
        return elasticity.points
    reference = elasticity.reference_ueur_per_kwh
    if elasticity.slope == 0 or elasticity.factor_min == elasticity.factor_max:
        return ((reference, 1.0),)
    ends = (elasticity.factor_max, elasticity.factor_min)
    return tuple((round(reference * (1 + (factor - 1) / elasticity.slope)), factor) for factor in ends)


def analyse(price: PriceModel, elasticity: Elasticity, grid: Tariff | None = None) -> Stability:
    """Stability of a price with a neighbourhood whose whole consumption answers to it.

    The grid's prices matter under the mid-market rate only.
    """
    asked, paid = (0, 0) if grid is None else (grid.import_ueur_per_kwh, grid.export_ueur_per_kwh)
    return stability(price, steepest_slope(demand_points(elasticity)), asked, paid)


def data_homes(data: DataSet | None) -> int:
    """How many homes a data set gives."""
    return 0 if data is None else data.homes - len(set(data.exclude))


def numbered(homes: tuple[Home, ...]) -> tuple[Home, ...]:
    """Homes written by hand, sorted by id: those without one take what is free, in order of the file."""
    taken = {home.id for home in homes}
    free = (number for number in range(1, len(homes) + 1) if number not in taken)
    return tuple(
        sorted(
            (home if home.id is not None else replace(home, id=next(free)) for home in homes),
            key=lambda home: home.id or 0,
        )
    )


def scenario(document: Document, name: str, path: str, text: str) -> Scenario:
    """The scenario of a document that has passed every check."""
    assert document.time is not None  # noqa: S101 - checked
    assert document.weather is not None  # noqa: S101 - checked
    market = MarketParameters(
        period=period(document.time),
        price=slot_price(document.price, document.sharing.rule, document.time.slot_s),
        tariff=tariff(document.tariff),
        sharing=sharing(document.sharing),
        seed=document.seed,
    )
    by_hand = numbered(document.home)
    return Scenario(
        title=document.title,
        seed=document.seed,
        market=market,
        time=document.time,
        place=document.place,
        weather=document.weather,
        tariff=document.tariff,
        grid=document.grid,
        price=document.price,
        sharing=document.sharing,
        elasticity=document.elasticity,
        load=document.load,
        service=document.service,
        broker=document.broker,
        meters=document.meters,
        dispatch=document.dispatch,
        data=document.data,
        homes=by_hand,
        groups=document.homes,
        homes_count=len(by_hand) + sum(group.count for group in document.homes) + data_homes(document.data),
        name=name,
        path=path,
        text=text,
    )
