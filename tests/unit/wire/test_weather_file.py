"""The fetcher's file, and the answers of providers in their documented forms."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.weather import LIMITS, sample_of
from energymarket.wire.weather_answers import AnswerError, Provider, Question
from energymarket.wire.weather_file import BYTES_MAX, Observation, WeatherFileError, pack, unpack

# As open-meteo.com/en/docs describes `current` with timeformat=unixtime and wind_speed_unit=ms.
OPEN_METEO = {
    "latitude": 49.5, "longitude": 8.46, "generationtime_ms": 0.1, "utc_offset_seconds": 0,
    "timezone": "GMT", "timezone_abbreviation": "GMT", "elevation": 96.0,
    "current_units": {"time": "unixtime", "interval": "seconds", "temperature_2m": "°C"},
    "current": {
        "time": 1_750_420_800, "interval": 900, "temperature_2m": 27.4, "wind_speed_10m": 2.31,
        "cloud_cover": 25, "rain": 0.5, "shortwave_radiation": 812.0,
        "direct_normal_irradiance": 701.5, "diffuse_radiation": 178.0,
    },
}  # fmt: skip

# As openweathermap.org/current describes the answer with units=metric.
OPENWEATHERMAP = {
    "coord": {"lon": 8.47, "lat": 49.49},
    "weather": [{"id": 501, "main": "Rain", "description": "moderate rain", "icon": "10d"}],
    "base": "stations",
    "main": {"temp": 16.2, "feels_like": 16.1, "pressure": 1015, "humidity": 64},
    "visibility": 10000, "wind": {"speed": 4.09, "deg": 121, "gust": 3.47}, "rain": {"1h": 2.73},
    "clouds": {"all": 83}, "dt": 1_750_420_800,
    "sys": {"type": 1, "id": 6736, "country": "DE", "sunrise": 1, "sunset": 2},
    "timezone": 7200, "id": 2873891, "name": "Mannheim", "cod": 200,
}  # fmt: skip

METEO = Question(Provider.OPEN_METEO, 49.49, 8.47)
OWM = Question(Provider.OPENWEATHERMAP, 49.49, 8.47, key="secret")


@given(
    st.fixed_dictionaries({name: st.integers(low, high) for name, (low, high) in LIMITS.items()}),
    st.integers(0, 1 << 39),
)
def test_what_is_left_is_found(values: dict[str, int], observed: int) -> None:
    """Every possible observation comes back from its bytes."""
    found = unpack(pack(Observation(observed, "test", sample_of(values, 0))))
    assert (found.observed_utc_s, found.source) == (observed, "test")
    assert {name: int(found.sample[name]) for name in LIMITS} == values
    assert found.at(7)["slot"] == 7


@given(st.binary(max_size=200))
def test_rubbish_is_refused_by_name(raw: bytes) -> None:
    """No bytes crash the reader."""
    with pytest.raises(WeatherFileError):
        unpack(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"observed_utc_s": -1},
        {"observed_utc_s": 1.5},
        {"observed_utc_s": True},
        {"source": 3},
        {"sample": []},
        {"sample": {}},
        {"sample": dict.fromkeys(LIMITS, 1e308)},
        {"sample": dict.fromkeys(LIMITS, 1 << 40)},
    ],
)
def test_each_wrong_field_is_refused(change: dict[str, object]) -> None:
    """A file of another version, or with a value that cannot be, is none."""
    good = json.loads(pack(Observation(1, "test", sample_of({}, 0))))
    with pytest.raises(WeatherFileError):
        unpack(json.dumps(good | change).encode())


def test_a_long_file_is_refused() -> None:
    """A file beyond the bound is not parsed."""
    with pytest.raises(WeatherFileError, match="longer"):
        unpack(b" " * (BYTES_MAX + 1))


def test_open_meteo_is_read() -> None:
    """By hand: 27.4 °C, 2.31 m/s, 812 W/m², 0.5 mm in 15 min are 2 mm/h, a quarter of the sky."""
    found = METEO.read(json.dumps(OPEN_METEO).encode())
    assert found.observed_utc_s == 1_750_420_800
    assert {name: int(found.sample[name]) for name in LIMITS} == {
        "temperature_mc": 27_400, "trend_mc_per_h": 0, "wind_mm_per_s": 2_310, "ghi_dw_per_m2": 8_120,
        "dni_dw_per_m2": 7_015, "dhi_dw_per_m2": 1_780, "rain_um_per_h": 2_000, "cloud_permille": 250,
    }  # fmt: skip


def test_openweathermap_is_read() -> None:
    """By hand: 16.2 °C, 4.09 m/s, 2.73 mm/h, 83 %; light at noon from the clouds, mostly diffuse."""
    sample = OWM.read(json.dumps(OPENWEATHERMAP).encode()).sample
    assert int(sample["temperature_mc"]) == 16_200
    assert int(sample["wind_mm_per_s"]) == 4_090
    assert int(sample["rain_um_per_h"]) == 2_730
    assert int(sample["cloud_permille"]) == 830
    assert 3_000 < int(sample["ghi_dw_per_m2"]) < 7_000


def test_openweathermap_without_rain_is_dry() -> None:
    """The answer leaves `rain` out when there is none."""
    dry = {key: value for key, value in OPENWEATHERMAP.items() if key != "rain"}
    assert int(OWM.read(json.dumps(dry).encode()).sample["rain_um_per_h"]) == 0


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"[1]", b"{}", b'{"current": 5}', b"\xff\xfe", b'{"current": {"time": NaN}}'],
)
def test_an_answer_of_another_form_is_refused(raw: bytes) -> None:
    """Neither provider's reader crashes on what is not its answer."""
    for question in (METEO, OWM):
        with pytest.raises(AnswerError):
            question.read(raw)


@pytest.mark.parametrize("value", ["1", None, 1e308, float("nan"), 4_000.0, "x"])
def test_an_impossible_value_is_refused(value: object) -> None:
    """Text, nothing, infinity and a wind of 4 km/s are no weather."""
    answer = OPEN_METEO | {"current": {**OPEN_METEO["current"], "wind_speed_10m": value}}  # type: ignore[dict-item]
    with pytest.raises(AnswerError):
        METEO.read(json.dumps(answer).encode())


def test_the_questions_ask_for_what_is_read() -> None:
    """Open-Meteo is asked for every field that is read, in m/s; OpenWeatherMap with the key, metric."""
    asked = parse_qs(urlsplit(METEO.url()).query)
    fields = set(OPEN_METEO["current"]) - {"time", "interval"}  # type: ignore[call-overload]
    assert set(asked["current"][0].split(",")) == fields
    assert (asked["wind_speed_unit"], asked["timeformat"]) == (["ms"], ["unixtime"])
    asked = parse_qs(urlsplit(OWM.url()).query)
    assert (asked["appid"], asked["units"]) == (["secret"], ["metric"])
