"""A scenario as a file says it: one frozen class per table, each key with its kind, default and words."""

# ruff: noqa: RUF009 - fields are declared by functions that answer a dataclass field

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from energymarket.core.parameters import Excess, Period, PriceModel, Rule, Sharing, Take, Tariff, Turn
from energymarket.scenario import kinds
from energymarket.scenario.homes_schema import Group, Home, PolicyShares, shares_kind
from energymarket.scenario.kinds import Range, key, optional, optional_section, section, sections
from energymarket.scenario.meters_schema import Broker, Meters
from energymarket.scenario.service_schema import Dispatch, Service

SCHEMA: Final = 1
SLOTS_MAX: Final = 4_000_000  # tables of a year of slots of 8 s, or 46 days of slots of 1 s


class PriceForm(StrEnum):
    """How the coefficients of the price are written."""

    RAW = "raw"  # gamma, and alpha, beta as what is added in one slot
    SCALED = "scaled"  # half_life_h, and alpha, beta as steady effects


class FactorName(StrEnum):
    """Internal factors of the price."""

    BASE = "base"  # 1
    HEATING_DEGREES = "heating_degrees"  # max(0, reference_c - T) in K
    COOLING_DEGREES = "cooling_degrees"  # max(0, T - reference_c) in K
    INVERSE_TEMPERATURE = "inverse_temperature"  # 1 / max(T, 1 °C)
    IMBALANCE = "imbalance"  # (consumed - produced) / (consumed + produced)


class WeatherSource(StrEnum):
    """Where the weather comes from."""

    TRY = "try"
    TMY3 = "tmy3"
    EPW = "epw"
    CSV = "csv"
    SYNTHETIC = "synthetic"
    CONSTANT = "constant"
    LIVE = "live"


class LiveProvider(StrEnum):
    """Who answers for the weather of now."""

    OPEN_METEO = "open-meteo"
    OPENWEATHERMAP = "openweathermap"


class DataLayout(StrEnum):
    """How a data set of a community is laid out."""

    COMMUNITY = "community"  # one CSV: load1_kwh .. loadN_kwh, pv1_kwh .. pvN_kwh, weather, price
    METERS = "meters"  # one CSV by `energyctl import`: time, load1_wh .., pv1_wh .., prices, carbon
    CITYLEARN = "citylearn"  # a directory with schema.json, weather.csv, pricing.csv, Building_N.csv


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """[time]: when the scenario plays and how fast."""

    start: datetime = key(
        kinds.moment(), "local date, or local date and time, of the first slot", required=True
    )
    timezone: str = key(kinds.text(60), "name of the zone in the IANA data base", "Europe/Berlin")
    slot_s: int = key(kinds.span(), "length of a slot; a day is a whole number of slots", 900, name="slot")
    days: float = key(kinds.real(0, 3_660, "days"), "length of the tables; beyond it they repeat", 365.0)
    slots: int | None = optional(kinds.whole(1, SLOTS_MAX, "slots"), "length in slots, instead of days", "96")
    speed: float = key(
        kinds.real(0.001, 1e6), "market seconds per real second: 86400 / seconds per day", 900.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """[place]: where the neighbourhood is."""

    latitude: float = key(kinds.real(-90, 90, "degrees"), "north is above zero", 49.49)
    longitude: float = key(kinds.real(-180, 180, "degrees"), "east is above zero", 8.47)
    altitude_m: float = key(kinds.real(-450, 9_000, "m"), "above sea level", 96.0)
    roughness_m: float = key(
        kinds.real(0.0001, 3, "m"), "roughness length of the ground: suburbs 0.3 .. 1", 0.4
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """[weather]: its source and what the source needs."""

    source: WeatherSource = key(
        kinds.choice(WeatherSource), "try, tmy3, epw, csv, synthetic, constant or live", required=True
    )
    region: int = key(kinds.whole(1, 15), "try: region of the DWD test reference years (12 is Mannheim)", 12)
    file: str | None = optional(kinds.text(), "tmy3, epw, csv: file beside the scenario", '"station.epw"')
    temperature_c: tuple[float, ...] = key(
        kinds.series(-60, 60, "°C"),
        "constant: for all slots or one per slot; synthetic: mean of the year",
        (10.0,),
    )
    wind_m_per_s: tuple[float, ...] = key(
        kinds.series(0, 60, "m/s"), "constant: at 10 m; synthetic: mean of the year", (3.0,)
    )
    ghi_w_per_m2: tuple[float, ...] = key(
        kinds.series(0, 1_500, "W/m²"), "constant: global horizontal", (0.0,)
    )
    dni_w_per_m2: tuple[float, ...] = key(kinds.series(0, 1_500, "W/m²"), "constant: direct normal", (0.0,))
    dhi_w_per_m2: tuple[float, ...] = key(
        kinds.series(0, 1_500, "W/m²"), "constant: diffuse horizontal", (0.0,)
    )
    rain_mm_per_h: tuple[float, ...] = key(kinds.series(0, 200, "mm/h"), "constant: rain", (0.0,))
    cloud: tuple[float, ...] = key(
        kinds.series(0, 1, "sky"), "constant: covered share; synthetic: mean", (0.5,)
    )
    year_amplitude_c: float = key(kinds.real(0, 40, "K"), "synthetic: half the swing of the year", 9.0)
    day_amplitude_c: float = key(kinds.real(0, 20, "K"), "synthetic: half the swing of the day", 4.0)
    rain_share: float = key(kinds.real(0, 1), "synthetic: share of the hours with rain", 0.08)
    provider: LiveProvider = key(
        kinds.choice(LiveProvider), "live: open-meteo or openweathermap", LiveProvider.OPEN_METEO
    )
    url: str | None = optional(
        kinds.text(), "live: address to ask instead of the provider's", '"http://127.0.0.1:8080/"'
    )
    key_file: str | None = optional(
        kinds.text(), "live: file with the provider's key", '"openweathermap.key"'
    )
    every_s: int = key(kinds.span(), "live: time between two questions", 900, name="every")
    silent_slots: tuple[int, ...] = key(
        kinds.wholes(0, 1 << 40), "teaching aid: slots, from 0, in which the weather posts nothing", ()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffSection:
    """[tariff]: what the grid asks and pays. The import price is energy + grid_fee + tax."""

    energy_ueur_per_kwh: int = key(kinds.price(), "€/kWh: energy in the import price", 140_000, name="energy")
    grid_fee_ueur_per_kwh: int = key(
        kinds.price(), "€/kWh: grid fee in the import price", 110_000, name="grid_fee"
    )
    tax_ueur_per_kwh: int = key(
        kinds.price(), "€/kWh: taxes and levies in the import price", 80_000, name="tax"
    )
    export_ueur_per_kwh: int = key(kinds.price(), "€/kWh: what the grid pays", 80_000, name="export")
    gift_fee_ueur_per_kwh: int = key(
        kinds.price(0, 10), "€/kWh: local grid fee of a gift, paid by its taker", 0, name="gift_fee"
    )
    follows_price: bool = key(
        kinds.flag(), "import and export price are the local price (the assignment)", default=False
    )
    import_list: tuple[int, ...] | None = optional(
        kinds.prices(),
        "€/kWh: import price per slot instead of the sum",
        "[0.36, 0.24]",
        name="import_prices",
    )
    export_list: tuple[int, ...] | None = optional(
        kinds.prices(), "€/kWh: export price per slot", "[0.08, 0.04]", name="export_prices"
    )
    file: str | None = optional(
        kinds.text(), "CSV file beside the scenario, one row per hour or slot", '"tariff.csv"'
    )
    import_column: str | None = optional(kinds.text(), "its column of import prices in €/kWh", '"price"')
    export_column: str | None = optional(kinds.text(), "its column of export prices in €/kWh", '"feed_in"')


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSection:
    """[grid]: what the grid's electricity emits. Indicators only: no price and no home sees it."""

    co2_g_per_kwh: tuple[float, ...] | None = optional(
        kinds.series(0, 5_000, "g/kWh"), "average carbon intensity: for all slots or one per slot", "363"
    )
    co2_marginal_g_per_kwh: tuple[float, ...] | None = optional(
        kinds.series(0, 5_000, "g/kWh"), "carbon intensity of one kWh more or less, likewise", "700"
    )
    file: str | None = optional(
        kinds.text(), "CSV file beside the scenario, one row per hour or slot", '"carbon.csv"'
    )
    co2_column: str | None = optional(kinds.text(), "its column of average intensities in g/kWh", '"average"')
    co2_marginal_column: str | None = optional(
        kinds.text(), "its column of marginal intensities in g/kWh", '"marginal"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorSection:
    """[[price.factor]]: an internal factor."""

    name: FactorName = key(
        kinds.choice(FactorName),
        "base, heating_degrees, cooling_degrees, inverse_temperature or imbalance",
        required=True,
    )
    alpha: float = key(
        kinds.real(-100, 100, "€/kWh"),
        "€/kWh per unit: steady effect (scaled) or added per slot (raw)",
        required=True,
    )
    reference_c: float = key(kinds.real(-20, 40, "°C"), "of heating and cooling degrees", 15.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSection:
    """[price.events.KIND]: a kind of external event."""

    beta: float = key(
        kinds.real(-100, 100, "€/kWh"),
        "€/kWh at intensity 1: steady effect (scaled) or per slot (raw)",
        required=True,
    )
    per_year: float = key(kinds.real(0, 1e6), "mean number of events in a year; 0: only raised by hand", 0.0)
    probability_per_slot: float | None = optional(
        kinds.real(0, 1), "mean number of events in a slot, instead of per_year", "0.001"
    )
    duration_s: int = key(kinds.span(), "mean duration", 21_600, name="duration")
    intensity: Range = key(kinds.between(0.001, 100), "drawn for each event", Range(1, 1))
    rain_factor: float = key(kinds.real(0, 100), "the rate is multiplied by it while it rains", 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsSection:
    """[price.events]: the kinds of external events of the scenario, in this order."""

    gas_shortage: EventSection | None = optional_section(EventSection, "less gas arrives")
    law: EventSection | None = optional_section(EventSection, "a law changes")
    diplomatic_tension: EventSection | None = optional_section(EventSection, "states quarrel")
    strike: EventSection | None = optional_section(EventSection, "workers strike")
    war: EventSection | None = optional_section(EventSection, "a war")
    fuel_price_jump: EventSection | None = optional_section(EventSection, "fuel gets dearer at once")
    carbon_price_change: EventSection | None = optional_section(EventSection, "allowances change their price")
    plant_outage: EventSection | None = optional_section(EventSection, "a power station fails")
    heat_wave: EventSection | None = optional_section(EventSection, "a heat wave")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSection:
    """[price]: the linear price. Numbers as in the file; `Scenario.market.price` has them per slot."""

    form: PriceForm = key(
        kinds.choice(PriceForm), "scaled (steady effects) or raw (per slot)", PriceForm.SCALED
    )
    initial_ueur_per_kwh: int = key(kinds.price(), "€/kWh: before the first slot", 250_000, name="initial")
    gamma: float | None = optional(kinds.real(-1e9, 1e9), "raw: share of the last price that stays", "0.99")
    half_life_h: float | None = optional(
        kinds.real(0.001, 1e5, "hours"), "scaled: an effect has halved after this", "6"
    )
    floor_ueur_per_kwh: int = key(kinds.price(), "€/kWh: never below", 0, name="floor")
    cap_ueur_per_kwh: int = key(kinds.price(), "€/kWh: never above", 1_000_000, name="cap")
    factor: tuple[FactorSection, ...] = sections(FactorSection, "internal factors, each by its name once")
    events: EventsSection = section(EventsSection, "kinds of external events")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingSection:
    """[sharing]: the sharing rule, and how gifts over the queue go."""

    rule: Rule = key(
        kinds.choice(Rule),
        "gifts: queue, pro_rata, need_first; trade: static_key, dynamic_key, mid_market (in place of "
        "[price]), grid_only",
        Rule.QUEUE,
    )
    take: Take = key(
        kinds.choice(Take), "queue: exact (what is lacking) or greedy (whole offers)", Take.EXACT
    )
    turn: Turn = key(
        kinds.choice(Turn), "queue: fair (one offer per turn) or selfish (until satisfied)", Turn.SELFISH
    )
    excess: Excess = key(
        kinds.choice(Excess), "greedy: mean (taker trades it) or neutral (giver gets it back)", Excess.NEUTRAL
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Elasticity:
    """[elasticity]: how consumption answers to the local price."""

    reference_ueur_per_kwh: int = key(
        kinds.price(0.001), "€/kWh: price of unchanged consumption", 250_000, name="reference"
    )
    slope: float = key(kinds.real(-10, 0), "relative change of consumption per relative change of price", 0.0)
    factor_min: float = key(kinds.real(0, 1), "consumption never falls below this share", 0.5)
    factor_max: float = key(kinds.real(1, 10), "consumption never rises above this share", 1.5)
    points: tuple[tuple[int, float], ...] | None = optional(
        kinds.points(), "[[price, factor], ...] instead of the slope", "[[0.10, 1.1], [0.25, 1], [0.5, 0.8]]"
    )
    shift_share: float = key(kinds.real(0, 1), "share of the change that is shifted to later, not saved", 0.5)
    shift_h: float = key(kinds.real(0.01, 168, "hours"), "mean time by which it is shifted", 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadModel:
    """[load]: how household loads are made."""

    archetypes: int = key(kinds.whole(1, 256), "number of different household load shapes", 48)
    step_share: float = key(kinds.real(0, 0.9), "share of the energy that comes in appliance steps", 0.35)
    step_w: Range = key(kinds.between(50, 12_000, "W"), "power of an appliance", Range(500, 2_500))
    step_duration_s: int = key(
        kinds.span(), "mean time an appliance stays on (autocorrelation)", 2_700, name="step_duration"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """[data]: homes, and on demand weather and tariff, from a data set of a community."""

    file: str = key(kinds.text(), "file or directory beside the scenario", required=True)
    layout: DataLayout = key(kinds.choice(DataLayout), "community, citylearn or meters", DataLayout.COMMUNITY)
    exclude: tuple[int, ...] = key(kinds.wholes(1, 100_000), "numbers of homes to leave out", ())
    homes: int = key(kinds.whole(1, 100_000, "homes"), "number of homes in the set, before exclude", 17)
    policy: PolicyShares = key(
        shares_kind(), "policies of the homes", PolicyShares(give=0.0, sell=0.0, give_then_sell=1.0)
    )
    use_weather: bool = key(
        kinds.flag(), "temperature and irradiance of the set replace [weather]", default=True
    )
    use_tariff: bool = key(kinds.flag(), "its price is the import price", default=False)
    use_carbon: bool = key(
        kinds.flag(), "its carbon intensity, if it has one and [grid] says none, is the average", default=True
    )


@dataclass(frozen=True, slots=True)
class MarketParameters:
    """The parameters as the core uses them: resolved, per slot."""

    period: Period
    price: PriceModel
    tariff: Tariff
    sharing: Sharing
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The file as it is written."""

    schema: int = key(kinds.whole(SCHEMA, SCHEMA), "version of this layout", required=True)
    title: str = key(kinds.text(120), "one line about the scenario", required=True)
    seed: int = key(kinds.whole(0, (1 << 63) - 1), "of all chance; live, arrival counts too", 1)
    time: Time | None = optional_section(Time, "when it plays and how fast")
    place: Place = section(Place, "where it plays")
    weather: Weather | None = optional_section(Weather, "where the weather comes from")
    tariff: TariffSection = section(
        TariffSection, "what the grid asks and pays; import price > local price > export price"
    )
    grid: GridSection = section(GridSection, "what the grid emits, for indicators only")
    price: PriceSection = section(PriceSection, "the local price")
    sharing: SharingSection = section(SharingSection, "the sharing rule, and how gifts over the queue go")
    elasticity: Elasticity = section(Elasticity, "how consumption answers to the price")
    load: LoadModel = section(LoadModel, "how household loads are made")
    service: Service = section(Service, "settings of the daemons")
    dispatch: Dispatch = section(Dispatch, "the dispatcher and its workers")
    broker: Broker | None = optional_section(Broker, "the RabbitMQ broker of meters and PV")
    meters: Meters | None = optional_section(Meters, "households whose meters speak over the broker")
    data: DataSet | None = optional_section(DataSet, "homes from a data set")
    home: tuple[Home, ...] = sections(Home, "homes written by hand: ids 1 .. their number")
    homes: tuple[Group, ...] = sections(
        Group, "groups of homes: ids follow, in order of the file; then those of [data]"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario that has passed every check."""

    title: str
    seed: int
    market: MarketParameters
    time: Time
    place: Place
    weather: Weather
    tariff: TariffSection
    grid: GridSection
    price: PriceSection
    sharing: SharingSection
    elasticity: Elasticity
    load: LoadModel
    service: Service
    dispatch: Dispatch = field(compare=False)  # what it says makes no other run
    broker: Broker | None = field(compare=False)  # likewise
    meters: Meters | None = field(compare=False)  # likewise
    data: DataSet | None
    homes: tuple[Home, ...]  # by hand, sorted by id: home k+1 is homes[k]; their ids are all set
    groups: tuple[Group, ...]
    homes_count: int  # by hand + groups + data set, in this order of ids
    name: str = field(compare=False)  # "default", or the stem of the file
    path: str = field(compare=False)  # of the file; files it names lie beside it
    text: str = field(compare=False, repr=False)  # as read
