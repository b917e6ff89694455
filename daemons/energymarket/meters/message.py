"""The message of a meter: consecutive samples as JSON, judged before they are believed.

    {"meter_id": "Meter_0", "series": "5c0f...", "samples": [[17, 1795680902, 3600, 431.25], ...]}

A sample is its sequence, its time in UTC seconds since 1970, what the meter's own clock was ahead of UTC
then, and the power in W. The offset travels with each sample because a day, and the reference day's sun,
are of the meter's clock: whoever reads needs no table of time zones, nor the same version of one. The
series names the memory that sequences are counted in: a meter that has lost it counts from 1 again, in
another series.

Meters that are none of ours may say one sample as a plain object; keys that are not known are passed over:

    {"meter_id": "Meter_0", "sequence": 17, "time_s": 1795680902, "power_w": 431.25}

`series` and `utc_offset_s` may be added. Without them the series is the empty one, and the clock is that of
the zone of whoever reads. The power may have the name of its column, `meter_power_value_w`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from energymarket.meters.limits import (
    MESSAGE_BYTES_MAX,
    POWER_W_MAX,
    SAMPLES_PER_MESSAGE_MAX,
    SEQUENCE_MAX,
    TIME_S_MAX,
    TIME_S_MIN,
    UTC_OFFSET_S_MAX,
)

Sequence = Annotated[int, msgspec.Meta(ge=0, le=SEQUENCE_MAX)]
Series = Annotated[str, msgspec.Meta(pattern="^[0-9A-Za-z._-]{0,64}$")]
TimeS = Annotated[float, msgspec.Meta(ge=TIME_S_MIN, lt=TIME_S_MAX)]
OffsetS = Annotated[int, msgspec.Meta(ge=-UTC_OFFSET_S_MAX, le=UTC_OFFSET_S_MAX)]
PowerW = Annotated[float, msgspec.Meta(ge=0, le=POWER_W_MAX)]


class Refusal(StrEnum):
    """Why a message is put aside, by the name that counters, log, page and tests use."""

    MALFORMED = "malformed"  # no JSON, a key that is missing or of another kind, NaN
    ALIEN = "alien"  # of another meter than the queue's
    ABSURD = "absurd"  # a power, time or sequence that cannot be
    TOO_LATE = "too_late"  # of a gap so old that it is not known any more what was in it


class Sample(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """One sample as it travels."""

    sequence: Sequence
    time_s: TimeS
    utc_offset_s: OffsetS
    power_w: PowerW


class Message(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """Samples of one meter."""

    meter_id: str
    series: Series
    samples: Annotated[list[Sample], msgspec.Meta(min_length=1, max_length=SAMPLES_PER_MESSAGE_MAX)]


def _one_power(*named_w: float | None) -> float:
    """The power of a plain sample under one of its names. ValueError: under none, or under both."""
    (power_w,) = (each for each in named_w if each is not None)
    return power_w


class Plain(msgspec.Struct, frozen=True, gc=False):
    """One sample of a meter that is none of ours."""

    meter_id: str
    sequence: Sequence
    time_s: TimeS
    power_w: PowerW | None = None
    meter_power_value_w: PowerW | None = None
    series: Series = ""
    utc_offset_s: OffsetS | None = None
    samples: None = None  # of the other form: a message is of one of them

    def __post_init__(self) -> None:
        _one_power(self.power_w, self.meter_power_value_w)


class Reading(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """A sample with the sun added, as the PV service passes it on."""

    sequence: Sequence
    time_s: Annotated[float, msgspec.Meta(ge=0, lt=TIME_S_MAX)]
    power_w: PowerW
    pv_kw: Annotated[float, msgspec.Meta(ge=0, le=POWER_W_MAX / 1000)]


class Readings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """Readings of one meter."""

    meter_id: str
    series: Series
    samples: Annotated[list[Reading], msgspec.Meta(min_length=1, max_length=SAMPLES_PER_MESSAGE_MAX)]


class _Shape(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The same without its limits: what has this shape and is refused is absurd, not malformed."""

    meter_id: str
    series: str
    samples: list[tuple[int, float, int, float]]


class _PlainShape(msgspec.Struct, frozen=True):
    """Likewise."""

    meter_id: str
    sequence: int
    time_s: float
    power_w: float | None = None
    meter_power_value_w: float | None = None
    series: str = ""
    utc_offset_s: int | None = None
    samples: None = None

    def __post_init__(self) -> None:
        _one_power(self.power_w, self.meter_power_value_w)


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Message)
_PLAIN: Final = msgspec.json.Decoder(Plain)
_READINGS: Final = msgspec.json.Decoder(Readings)
_SHAPES: Final = (msgspec.json.Decoder(_Shape), msgspec.json.Decoder(_PlainShape))


def encode(message: Message | Readings) -> bytes:
    """The bytes that are published."""
    return _ENCODER.encode(message)


def _utc(_time_s: float) -> int:
    return 0


def decode(body: bytes, meter_id: str, offset_s: Callable[[float], int] = _utc) -> Message | Refusal:
    """A message from the queue of a meter, or why it is put aside.

    `offset_s` answers what the clock of a meter that does not say so is ahead of UTC, at a time in UTC s.
    """
    if len(body) > MESSAGE_BYTES_MAX:
        return Refusal.MALFORMED
    try:
        message = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            message = _of_plain(_PLAIN.decode(body), offset_s)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _refusal(body)
    if message.meter_id != meter_id:
        return Refusal.ALIEN
    return message


def _of_plain(plain: Plain, offset_s: Callable[[float], int]) -> Message:
    ahead_s = offset_s(plain.time_s) if plain.utc_offset_s is None else plain.utc_offset_s
    power_w = _one_power(plain.power_w, plain.meter_power_value_w)
    sample = Sample(plain.sequence, plain.time_s, ahead_s, power_w)
    return Message(plain.meter_id, plain.series, [sample])


def _refusal(body: bytes) -> Refusal:
    for shape in _SHAPES:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            shape.decode(body)
            return Refusal.ABSURD
    return Refusal.MALFORMED


def decode_readings(body: bytes, meter_id: str) -> Readings | Refusal:
    """Readings from the queue of a home, or why they are put aside."""
    try:
        message = _READINGS.decode(body if len(body) <= MESSAGE_BYTES_MAX else b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refusal.MALFORMED
    return message if message.meter_id == meter_id else Refusal.ALIEN
