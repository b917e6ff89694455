"""Messages: what a meter says comes back as it was said, and everything else is put aside by its name."""

from __future__ import annotations

import json

import pytest

from energymarket.meters.message import Message, Refusal, Sample, decode, encode
from energymarket.meters.rows import day_of, line_of

SERIES = "5c0f" * 8


def body(**changes: object) -> bytes:
    """A message as another program would write it."""
    whole = {"meter_id": "Meter_0", "series": SERIES, "samples": [[1, 1_795_680_902, 3600, 431.25]]}
    return json.dumps({**whole, **changes}).encode()


def sample(*values: object) -> bytes:
    return body(samples=[list(values)])


def test_what_is_encoded_is_json_and_comes_back() -> None:
    """The bytes are those that the document shows."""
    message = Message("Meter_0", SERIES, [Sample(1, 1_795_680_902, 3600, 431.25)])
    assert json.loads(encode(message)) == json.loads(body())
    assert decode(encode(message), "Meter_0") == message
    assert decode(body(), "Meter_0") == message


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        (b"", Refusal.MALFORMED),
        (b"\xff\xfe{}", Refusal.MALFORMED),
        (b'{"meter_id": "Meter_0"', Refusal.MALFORMED),
        (b"[1, 2]", Refusal.MALFORMED),
        (json.dumps({"meter_id": "Meter_0", "series": SERIES}).encode(), Refusal.MALFORMED),
        (body(more=1), Refusal.MALFORMED),
        (sample("1", 1_795_680_902, 3600, 431.25), Refusal.MALFORMED),
        (sample(1, 1_795_680_902, 3600, "431.25"), Refusal.MALFORMED),
        (sample(1, 1_795_680_902, 3600, float("nan")), Refusal.MALFORMED),
        (sample(1, 1_795_680_902, 3600, None), Refusal.MALFORMED),
        (sample(1, 1_795_680_902, 3600, True), Refusal.MALFORMED),
        (sample(1, 1_795_680_902, 3600), Refusal.MALFORMED),
        (body().replace(b"431.25", b"1e999"), Refusal.MALFORMED),
        (body(samples=[[1, 2, 3, 4.0]] * 2000), Refusal.MALFORMED),
        (body(meter_id="Meter_1"), Refusal.ALIEN),
        (sample(1, 1_795_680_902, 3600, 1e12), Refusal.ABSURD),
        (sample(1, 1_795_680_902, 3600, -0.5), Refusal.ABSURD),
        (sample(1, 1_795_680_902_000, 3600, 431.25), Refusal.ABSURD),
        (sample(1, 60, 3600, 431.25), Refusal.ABSURD),
        (sample(1, 1_795_680_902, 100_000, 431.25), Refusal.ABSURD),
        (sample(-1, 1_795_680_902, 3600, 431.25), Refusal.ABSURD),
        (body(series="no name"), Refusal.ABSURD),
        (body(samples=[]), Refusal.ABSURD),
    ],
    ids=lambda each: str(each)[:60],
)
def test_everything_else_is_put_aside_by_its_name(said: bytes, refusal: Refusal) -> None:
    """No JSON, a key missing, strings, NaN, another meter's id, 1e12 W, milliseconds for seconds."""
    assert decode(said, "Meter_0") == refusal


def plain(**changes: object) -> bytes:
    """One sample as a meter of somebody else's would say it."""
    whole = {"meter_id": "Meter_0", "sequence": 17, "time_s": 1_795_680_902, "power_w": 431.25}
    return json.dumps({key: value for key, value in {**whole, **changes}.items() if value != "-"}).encode()


def test_one_sample_may_be_a_plain_object() -> None:
    """Without a series it is the empty one; without an offset the reader's zone decides, at that time."""
    offsets = {1_795_680_902: -3600}
    said = decode(plain(voltage_v=229.8), "Meter_0", lambda time_s: offsets[int(time_s)])
    assert said == Message("Meter_0", "", [Sample(17, 1_795_680_902, -3600, 431.25)])
    said = decode(plain(sequence=0, series="attic-2", utc_offset_s=7200, power_w=5), "Meter_0")
    assert said == Message("Meter_0", "attic-2", [Sample(0, 1_795_680_902, 7200, 5.0)])
    by_column = decode(plain(power_w="-", meter_power_value_w=5), "Meter_0")
    assert by_column == Message("Meter_0", "", [Sample(17, 1_795_680_902, 0, 5.0)])


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        (plain(sequence="-"), Refusal.MALFORMED),
        (plain(power_w="-"), Refusal.MALFORMED),
        (plain(meter_power_value_w=431.25), Refusal.MALFORMED),  # which of the two?
        (plain(power_w="-", meter_power_value_w=True), Refusal.MALFORMED),
        (plain(power_w="-", meter_power_value_w=1e12), Refusal.ABSURD),
        (plain(sequence="17"), Refusal.MALFORMED),
        (plain(sequence=17.5), Refusal.MALFORMED),
        (plain(time_s="2026-11-26T07:35:02Z"), Refusal.MALFORMED),
        (plain(power_w=float("nan")), Refusal.MALFORMED),
        (plain(samples=[[1, 1_795_680_902, 3600, 431.25]]), Refusal.MALFORMED),
        (plain(meter_id="Meter_00"), Refusal.ALIEN),
        (plain(power_w=1e12), Refusal.ABSURD),
        (plain(power_w=-1), Refusal.ABSURD),
        (plain(time_s=1_795_680_902_000), Refusal.ABSURD),
        (plain(sequence=-1), Refusal.ABSURD),
        (plain(series="../x"), Refusal.ABSURD),
        (plain(utc_offset_s=100_000), Refusal.ABSURD),
    ],
    ids=lambda each: str(each)[:90],
)
def test_plain_nonsense_has_the_same_names(said: bytes, refusal: Refusal) -> None:
    """A key missing, another kind, both forms at once; another meter; what cannot be."""
    assert decode(said, "Meter_0") == refusal


def test_a_row_belongs_to_the_day_of_the_meter_s_clock() -> None:
    """23:30 UTC is tomorrow in Berlin and today in New York; the date is not padded."""
    at_s = 1_772_926_200  # 2026-03-07T23:30:00Z
    assert day_of(Sample(1, at_s, 3600, 0.0)) == "2026-3-8"
    assert day_of(Sample(1, at_s, 0, 0.0)) == "2026-3-7"
    assert day_of(Sample(1, at_s, -5 * 3600, 0.0)) == "2026-3-7"


def test_a_line_has_the_meter_s_time_and_the_sum() -> None:
    """Sum in W = meter W + 1000 times PV kW; milliseconds are kept where there are any."""
    line = line_of("Meter_0", Sample(1, 1_772_926_200, 0, 431.1), 2.345678)
    assert line == "Meter_0,1772926200,431.1,2.345678,2776.778\n"
    assert line_of("Meter_0", Sample(1, 1_772_926_200.25, 0, 0.0), 0.0).split(",")[1] == "1772926200.250"
    assert line_of("Meter_0", Sample(1, 1_772_926_200, 0, -0.0), 0.0).endswith(",0.0,0.0,0.0\n")
